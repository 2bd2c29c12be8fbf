/** A kernel to probe that exists on paper: which calls it refuses is decided by the test, what it leaves open is counted. */
import * as Result from "effect/Result"
import * as Arena from "../../../../../src/services/Kernel/abi/Arena.ts"
import * as Attr from "../../../../../src/services/Kernel/abi/Attr.ts"
import { Command } from "../../../../../src/services/Kernel/abi/BpfConstants.ts"
import { type Errno, numbers } from "../../../../../src/services/Kernel/abi/Errno.ts"
import { fromErrno } from "../../../../../src/services/Kernel/KernelError.ts"
import type { Facts } from "../../../../../src/services/Kernel/live/Facts.ts"
import type { Host } from "../../../../../src/services/Kernel/live/features/Host.ts"
import type { Files } from "../../../../../src/services/Kernel/live/Files.ts"
import type { Sys } from "../../../../../src/services/Kernel/sys/Sys.ts"
import { facts, make } from "./fakeSys.ts"

/** One entry into the kernel. */
export interface Entry {
  /** Counted from 0. */
  readonly index: number
  readonly name: "bpf" | "bpfCommon" | "perfEventOpen" | "uprobe"
  readonly command: number
  /** A field of 32 bits by its kernel name; 0 where the structure has none. */
  readonly field: (name: string) => number
  /** The text of a name. */
  readonly text: (name: "prog_name" | "map_name") => string
  readonly region: (name: string) => Uint8Array
  /** Writes the verifier's log, as far as one was asked for. */
  readonly log: (text: string) => void
}

/** Answers an entry: an error by its name, a number, or `undefined` for what a kernel with everything answers. */
export type Answer = (entry: Entry) => Errno | number | undefined

const layouts: Readonly<Record<number, Readonly<Record<string, Arena.Field>>>> = {
  [Command.BPF_PROG_LOAD]: Attr.ProgLoad.fields,
  [Command.BPF_MAP_CREATE]: Attr.MapCreate.fields
}

/** What a kernel with everything answers; a descriptor is `"open"`. */
const modern = (entry: Entry): Errno | "open" | 0 => {
  if (entry.name === "bpfCommon") return "EFAULT"
  if (entry.name === "uprobe") return "ENXIO"
  switch (entry.command) {
    case Command.BPF_LINK_CREATE:
      return entry.field("pid") === 0xffff_ffff ? "EINVAL" : entry.field("syms") !== 0 ? "ESRCH" : "EBADF"
    case Command.BPF_PROG_ATTACH:
      return "EBADF"
    case Command.BPF_MAP_CREATE:
      return entry.field("btf_vmlinux_value_type_id") === 0 ? "open" : "ENOTSUPP"
    case Command.BPF_PROG_LOAD:
      if (entry.text("prog_name") === "global_reloc") {
        entry.log("invalid access to map value pointer, value_size=1 off=1073741824\n")
        return "EACCES"
      }
      if (entry.field("attach_btf_id") === 1) {
        entry.log(
          entry.field("prog_type") === 28 ? "Cannot replace kernel functions\n" : "attach_btf_id 1 is not a function\n"
        )
        return "EINVAL"
      }
      return entry.field("prog_type") === 27 ? "ENOTSUPP" : "open"
    case Command.BPF_BTF_LOAD:
      return "open"
    default:
      return 0
  }
}

/** A kernel to be probed. */
export interface Probed {
  readonly host: Host
  /** What was entered so far. */
  readonly entries: ReadonlyArray<Entry>
  /** The descriptors that are open. */
  readonly open: ReadonlySet<number>
  /** Descriptors that were closed without being open. */
  readonly strayCloses: ReadonlyArray<number>
}

/** What differs from the machine of `fakeSys`. */
export interface Machine {
  readonly facts?: Partial<Facts>
  readonly files?: Files
  readonly architecture?: string
}

const noFiles: Files = { read: () => Result.fail(numbers.ENOENT), list: () => Result.fail(numbers.ENOENT) }

/** A kernel that has everything, but for what `answer` answers. */
export const probed = (answer: Answer = () => undefined, machine: Machine = {}): Probed => {
  const entries: Array<Entry> = []
  const open = new Set<number>()
  const strayCloses: Array<number> = []
  let next = 10
  const enter = (name: Entry["name"], command: number, arena: Arena.Arena | undefined): number => {
    const fields = arena?.layout.fields ?? layouts[command] ?? {}
    const whole = new Uint8Array(arena?.buffer ?? new ArrayBuffer(0))
    const region = (field: string): Uint8Array => arena === undefined ? whole : Arena.region(arena, field)
    const entry: Entry = {
      index: entries.length,
      name,
      command,
      field: (field) => {
        const found = fields[field]
        return found === undefined ? 0 : Arena.readNumber(whole, found)
      },
      text: (field) => {
        const found = fields[field]
        return found?.kind === "name" ? Arena.cString(whole.subarray(found.offset, found.offset + found.size)) : ""
      },
      region,
      log: (text) => {
        const room = region("log_buf")
        room.set(new TextEncoder().encode(text).subarray(0, Math.max(0, room.length - 1)))
      }
    }
    entries.push(entry)
    const answered = answer(entry) ?? modern(entry)
    if (typeof answered === "number") {
      if (answered > 0) open.add(answered)
      return answered
    }
    if (answered !== "open") return -numbers[answered]
    open.add(next)
    return next++
  }
  const sys: Sys = {
    ...make(() => -numbers.EIO, []),
    bpf: (command, arena) => enter("bpf", command, arena),
    bpfDescriptor: (command, arena) => enter("bpf", command, arena),
    bpfCommon: (command, arena) => enter("bpfCommon", command, arena),
    perfEventOpen: (arena) => enter("perfEventOpen", -1, arena),
    uprobe: () => enter("uprobe", -1, undefined),
    close: (fd) => {
      if (!open.delete(fd)) strayCloses.push(fd)
    }
  }
  return {
    host: {
      sys,
      facts: {
        ...facts,
        vmlinux: () => Result.fail(fromErrno("VmlinuxTypes", "vmlinux", numbers.ENOENT)),
        ...machine.facts
      },
      files: machine.files ?? noFiles,
      architecture: machine.architecture ?? "x64"
    },
    entries,
    open,
    strayCloses
  }
}
