/**
 * What strace saw bpftool do, and what a plan says, in one form: a line of text for each call.
 */
import { Command } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { KernelCall, MapAttributes } from "../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import type { LoadPlan } from "../../src/stages/load/LoadPlan.ts"

/** A call as text, and whether the kernel refused it. */
export interface TracedCall {
  readonly text: string
  readonly failed: boolean
}

/** Options of strace that this module reads: numbers as numbers, strings of at most 200 characters. */
export const straceOptions: ReadonlyArray<string> = ["-f", "-X", "raw", "-s", "200", "-e", "trace=bpf"]

/** Fields that are told, by command; of descriptors, the name of what they stand for. */
const told: Readonly<Record<number, string>> = {
  [Command.BPF_BTF_LOAD]: "btf_size",
  [Command.BPF_MAP_CREATE]:
    "map_name map_type key_size value_size max_entries map_flags map_extra map_ifindex inner_map_fd " +
    "btf_fd btf_key_type_id btf_value_type_id",
  [Command.BPF_PROG_LOAD]:
    "prog_name prog_type expected_attach_type prog_flags prog_ifindex license insn_cnt prog_btf_fd " +
    "func_info_rec_size func_info_cnt line_info_rec_size line_info_cnt",
  [Command.BPF_MAP_UPDATE_ELEM]: "map_fd flags",
  [Command.BPF_MAP_FREEZE]: "map_fd",
  [Command.BPF_OBJ_GET]: "pathname",
  [Command.BPF_OBJ_PIN]: "pathname bpf_fd"
}

/** Looking for modules' types, for which each loader has a time of its own. */
const lookups: ReadonlySet<number> = new Set([
  Command.BPF_BTF_GET_NEXT_ID,
  Command.BPF_BTF_GET_FD_BY_ID,
  Command.BPF_OBJ_GET_INFO_BY_FD
])

const nameOfCommand = (command: number): string =>
  Object.entries(Command).find(([, number]) => number === command)?.[0].slice("BPF_".length) ?? `command ${command}`

const line = (command: number, value: (field: string) => string | number | undefined): string =>
  [nameOfCommand(command), ...(told[command]?.split(" ") ?? []).map((field) => `${field}=${value(field)}`)].join(" ")

/** Reads a trace; probes and bpftool's own pins, those below `pins`, are left out. */
export function readTrace(trace: string, pins: string): ReadonlyArray<TracedCall> {
  const names = new Map<number, string>([[0, "none"]])
  let probedBind = 0
  return trace.split("\n").flatMap((text) => {
    const [, number, body, result] = /bpf\((\w+), (.*), \d+\)\s+= (-?\d+)/.exec(text) ?? []
    if (body === undefined) return []
    const command = Number(number)
    const fields = new Map<string, string>()
    for (const [, field, quoted, plain] of body.matchAll(/(\w+)=(?:"((?:\\.|[^"\\])*)"|([^,}]*))/g)) {
      fields.set(field ?? "", quoted ?? String(Number(plain)))
    }
    const value = (field: string): string => {
      const found = fields.get(field) ?? "0"
      return field.endsWith("_fd") ? names.get(Number(found)) ?? `descriptor ${found}` : found
    }
    const name = fields.get("map_name") ?? fields.get("prog_name") ?? fields.get("pathname") ?? "btf"
    if (Number(result) > 0) names.set(Number(result), name)
    if (name === "libbpf_det_bind") probedBind = 1
    if (command === Command.BPF_PROG_BIND_MAP && probedBind-- === 1) return []
    // Probes have no names, or names of libbpf's, or less BTF than any object.
    if (name === "" || name.startsWith("libbpf_") || Number(fields.get("btf_size")) < 100) return []
    if (name.startsWith(pins) || lookups.has(command)) return []
    return [{ text: line(command, value), failed: Number(result) < 0 }]
  })
}

const mapFields = (attr: MapAttributes): Readonly<Record<string, string | number>> => ({
  map_name: attr.name,
  map_type: attr.type,
  key_size: attr.keySize,
  value_size: attr.valueSize,
  max_entries: attr.maxEntries,
  map_flags: attr.flags,
  map_extra: String(attr.extra),
  map_ifindex: attr.ifindex
})

const count = (info: { readonly recordSize: number; readonly records: Uint8Array } | undefined): number =>
  info === undefined ? 0 : info.records.length / info.recordSize

/** The text of a call of a plan, `undefined` for those that bpf(2) has no command for. `names` learns what refs are. */
const textOf = (call: KernelCall, names: Map<string, string>): string | undefined => {
  const nameOf = (ref: Ref.Ref | undefined): string =>
    ref === undefined ? "none" : names.get(Ref.key(ref)) ?? Ref.key(ref)
  const tell = (command: number, fields: Readonly<Record<string, string | number>>): string =>
    line(command, (field) => fields[field])
  switch (call._tag) {
    case "BtfLoad":
      names.set(Ref.key(call.as), "btf")
      return tell(Command.BPF_BTF_LOAD, { btf_size: call.bytes.length })
    case "MapCreate":
      names.set(Ref.key(call.as), call.attr.name)
      return tell(Command.BPF_MAP_CREATE, {
        ...mapFields(call.attr),
        inner_map_fd: nameOf(call.inner),
        btf_fd: nameOf(call.types?.btf),
        btf_key_type_id: call.types?.key ?? 0,
        btf_value_type_id: call.types?.value ?? 0
      })
    case "ProgLoad":
      names.set(Ref.key(call.as), call.attr.name)
      return tell(Command.BPF_PROG_LOAD, {
        prog_name: call.attr.name,
        prog_type: call.attr.type,
        expected_attach_type: call.attr.expectedAttachType,
        prog_flags: call.attr.flags,
        prog_ifindex: call.attr.ifindex,
        license: call.attr.license,
        insn_cnt: call.code.insns.length / 8,
        prog_btf_fd: nameOf(call.btf),
        func_info_rec_size: call.funcInfo?.recordSize ?? 0,
        func_info_cnt: count(call.funcInfo),
        line_info_rec_size: call.lineInfo?.recordSize ?? 0,
        line_info_cnt: count(call.lineInfo)
      })
    case "MapUpdate":
      return tell(Command.BPF_MAP_UPDATE_ELEM, { map_fd: nameOf(call.map), flags: String(call.flags) })
    case "MapFreeze":
      return tell(Command.BPF_MAP_FREEZE, { map_fd: nameOf(call.map) })
    case "ProgBindMap":
      return tell(Command.BPF_PROG_BIND_MAP, {})
    case "ObjPin":
      return tell(Command.BPF_OBJ_PIN, { pathname: call.path, bpf_fd: nameOf(call.object) })
    case "Close":
      return undefined
    default:
      return call._tag
  }
}

/**
 * The calls of a plan as text, in the branches that a load takes whose calls fail as `failed` says: by their position
 * in what this function answers.
 */
export const followPlan = (plan: LoadPlan, failed: (position: number) => boolean): ReadonlyArray<string> => {
  const names = new Map<string, string>()
  const told: Array<string> = []
  /** Tells a call, and whether it failed. */
  const tell = (text: string | undefined): boolean => text !== undefined && failed(told.push(text) - 1)
  const follow = (steps: LoadPlan): void => {
    for (const step of steps) {
      if (step._tag === "Ensure") {
        if (tell(line(Command.BPF_OBJ_GET, () => step.pinnedAt))) follow(step.otherwise)
      } else if (tell(textOf(step.call, names))) {
        follow(step.otherwise[0]?.steps ?? [])
      }
    }
  }
  follow(plan)
  return told
}
