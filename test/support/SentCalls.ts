/**
 * What the live kernel is really sent: the bpf(2) calls of our sessions, read from the memory that goes into the kernel,
 * in the words in which the C peer tells of libbpf's.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Arena from "../../src/services/Kernel/abi/Arena.ts"
import * as Attr from "../../src/services/Kernel/abi/Attr.ts"
import { Command } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import type { KernelShape, Session } from "../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Facts from "../../src/services/Kernel/live/Facts.ts"
import type * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Sys from "../../src/services/Kernel/sys/Sys.ts"
import * as Insn from "../../src/insn/Insn.ts"
import { BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE } from "../../src/insn/InsnConstants.ts"
import { holdsMaps } from "../../src/stages/open/BpfObject.ts"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { type Call, toHex } from "./Peer.ts"

/** A call of ours; CO-RE records, which libbpf never sends, in hexadecimal. */
export interface Sent extends Call {
  readonly core_relos?: string
  readonly core_relo_rec_size?: number
}

interface Described {
  readonly name: string
  readonly mapType: number
}

type Fields = Readonly<Record<string, Arena.Field>>

/** The maps that instructions refer to. */
const mapReferences = (
  insns: Uint8Array,
  nameOf: (fd: number) => string | null
): NonNullable<Call["map_references"]> => {
  const found: Array<{ readonly at: number; readonly fd: number; readonly map: string | null }> = []
  for (let at = 0; at < Insn.count(insns); at = Insn.nextSlot(insns, at)) {
    if (!Insn.isLdImm64(insns, at)) continue
    const source = Insn.src(insns, at)
    if (source !== BPF_PSEUDO_MAP_FD && source !== BPF_PSEUDO_MAP_VALUE) continue
    found.push({ at, fd: Insn.imm(insns, at), map: nameOf(Insn.imm(insns, at)) })
  }
  return found
}

/** A live kernel, and the calls that its sessions have made so far. */
export const make = (
  options: { readonly listedOrder: boolean }
): { readonly kernel: KernelShape; readonly sent: ReadonlyArray<Sent> } => {
  const sent: Array<Sent> = []
  const described = new Map<number, Described>()
  // The stages ask before they make a call of their own, so what is sent meanwhile is a probe.
  let asking = 0
  const probing = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.acquireUseRelease(
      Effect.sync(() => asking++),
      () => effect,
      () => Effect.sync(() => asking--)
    )
  // What no plan has a name for is tried, to find out why the kernel refused a map.
  const withTries = (session: Session): Session => {
    const tried = new Set<Ref.Ref>()
    const fresh = <T extends Ref.RefTag>(kind: T) => {
      const ref = session.fresh(kind)
      tried.add(ref)
      return ref
    }
    const isTry = (call: KernelCall): boolean => "as" in call && tried.has(call.as)
    return { ...session, fresh, call: (call) => isTry(call) ? probing(session.call(call)) : session.call(call) }
  }
  const nameOf = (fd: number): string | null => fd === 0 ? null : described.get(fd)?.name ?? null

  const record = (command: number, arena: Arena.Arena, result: number): void => {
    const whole = new Uint8Array(arena.buffer)
    const fields: Fields = arena.layout.fields
    const number = (name: string): number => fields[name] === undefined ? 0 : Arena.readNumber(whole, fields[name])
    const long = (name: string): string =>
      fields[name] === undefined ? "0" : String(Arena.readBigInt(whole, fields[name]))
    const name = (at: Arena.Field<"name">): string => Arena.readName(whole, at)
    const region = (field: string): Uint8Array => Arena.region(arena, field)
    const common = { result, probe: asking > 0 }
    const describe = (what: string, mapType = 0): void => {
      if (result >= 0) described.set(result, { name: what, mapType })
    }
    switch (command) {
      case Command.BPF_BTF_LOAD:
        describe("btf")
        sent.push({ command: "BTF_LOAD", ...common, btf: toHex(region("btf")), log_level: number("btf_log_level") })
        return
      case Command.BPF_MAP_CREATE: {
        const named = name(Attr.MapCreate.fields.map_name)
        describe(`map:${named}`, number("map_type"))
        sent.push({
          command: "MAP_CREATE",
          ...common,
          name: named,
          map_type: number("map_type"),
          key_size: number("key_size"),
          value_size: number("value_size"),
          max_entries: number("max_entries"),
          map_flags: number("map_flags"),
          map_extra: long("map_extra"),
          numa_node: number("numa_node"),
          ifindex: number("map_ifindex"),
          inner_map: nameOf(number("inner_map_fd")),
          btf: nameOf(number("btf_fd")),
          btf_key_type_id: number("btf_key_type_id"),
          btf_value_type_id: number("btf_value_type_id"),
          btf_vmlinux_value_type_id: number("btf_vmlinux_value_type_id")
        })
        return
      }
      case Command.BPF_PROG_LOAD: {
        const named = name(Attr.ProgLoad.fields.prog_name)
        describe(`prog:${named}`)
        const insns = region("insns")
        sent.push({
          command: "PROG_LOAD",
          ...common,
          name: named,
          prog_type: number("prog_type"),
          expected_attach_type: number("expected_attach_type"),
          license: Arena.cString(region("license")),
          prog_flags: number("prog_flags"),
          kern_version: number("kern_version"),
          ifindex: number("prog_ifindex"),
          attach_btf_id: number("attach_btf_id"),
          attach_to: nameOf(number("attach_prog_fd")),
          log_level: number("log_level"),
          btf: nameOf(number("prog_btf_fd")),
          func_info_rec_size: number("func_info_rec_size"),
          func_info: toHex(region("func_info")),
          line_info_rec_size: number("line_info_rec_size"),
          line_info: toHex(region("line_info")),
          fd_array: region("fd_array").length > 0,
          insns: toHex(insns),
          map_references: mapReferences(insns, nameOf),
          core_relos: toHex(region("core_relos")),
          core_relo_rec_size: number("core_relo_rec_size")
        })
        return
      }
      case Command.BPF_MAP_UPDATE_ELEM: {
        const map = described.get(number("map_fd"))
        const value = region("value")
        const holds = map !== undefined && (holdsMaps(map.mapType) || map.mapType === MapType.BPF_MAP_TYPE_PROG_ARRAY)
        sent.push({
          command: "MAP_UPDATE_ELEM",
          ...common,
          map: map?.name ?? null,
          flags: long("flags"),
          key: toHex(region("key")),
          value: toHex(value),
          ...(holds ? { refers_to: nameOf(Arena.readNumber(value, Arena.u32(0))) } : {})
        })
        return
      }
      case Command.BPF_MAP_FREEZE:
        sent.push({ command: "MAP_FREEZE", ...common, map: nameOf(number("map_fd")) })
        return
      case Command.BPF_PROG_BIND_MAP:
        sent.push({
          command: "PROG_BIND_MAP",
          ...common,
          prog: nameOf(number("prog_fd")),
          map: nameOf(number("map_fd"))
        })
        return
      case Command.BPF_OBJ_PIN:
        sent.push({
          command: "OBJ_PIN",
          ...common,
          pinned: nameOf(number("bpf_fd")),
          path: Arena.cString(region("pathname"))
        })
        return
      case Command.BPF_OBJ_GET: {
        const path = Arena.cString(region("pathname"))
        describe(`pin:${path}`)
        sent.push({ command: "OBJ_GET", ...common, path })
        return
      }
      case Command.BPF_OBJ_GET_INFO_BY_FD:
        sent.push({ command: "OBJ_GET_INFO_BY_FD", ...common, of: nameOf(number("bpf_fd")) })
        return
      default:
        sent.push({ command: `command ${command}`, ...common })
    }
  }

  const watch = (sys: Sys.Sys): Sys.Sys => {
    const now = (bpf: Sys.Sys["bpf"]): Sys.Sys["bpf"] => (command, arena) => {
      const result = bpf(command, arena)
      record(command, arena, result)
      return result
    }
    const later = (bpf: Sys.Sys["bpfAsync"]): Sys.Sys["bpfAsync"] => (command, arena, done) =>
      bpf(command, arena, (result, answered) => {
        record(command, answered, result)
        done(result, answered)
      })
    return {
      ...sys,
      // A session asks whether the limit matters by a probe, which would be told as a call of the load.
      memlock: () => Errno.numbers.ENOSYS,
      bpf: now(sys.bpf),
      bpfAsync: later(sys.bpfAsync),
      bpfDescriptor: now(sys.bpfDescriptor),
      bpfDescriptorAsync: later(sys.bpfDescriptorAsync)
    }
  }

  const kernel = KernelLive.fromParts({
    sys: () => Result.map(Sys.make(), watch),
    facts: Facts.make(),
    architecture: process.arch
  })
  return {
    kernel: {
      ...kernel,
      ask: (requirements) => probing(kernel.ask(requirements)),
      session: (more) => Effect.map(kernel.session({ ...more, ...options }), withTries)
    },
    sent
  }
}
