/**
 * System calls that take everything, but for one that answers as a test wants: what the live kernel may say at any time.
 * Descriptors and mappings are counted.
 */
import * as Arena from "../../src/services/Kernel/abi/Arena.ts"
import type * as Attr from "../../src/services/Kernel/abi/Attr.ts"
import { Command } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../src/services/Kernel/abi/Errno.ts"
import type { DescriptorKind, Sys } from "../../src/services/Kernel/sys/Sys.ts"

/** What goes wrong. */
export interface Fault {
  /** Which entry into the kernel, from 0. */
  readonly at: number
  /** The error number, positive. */
  readonly errno: number
  /** Only that entry, or every one from there on. */
  readonly times: "once" | "always"
}

/** A machine, and what became of it. */
export interface FaultyMachine {
  readonly sys: Sys
  /** Entries into the kernel so far. */
  readonly entries: () => number
  /** The commands that were answered with the fault. */
  readonly faulted: ReadonlyArray<number>
  /** What is left, and what was given back that was not held: nothing, when all is well. */
  readonly mistakes: () => ReadonlyArray<string>
}

const kinds: ReadonlyMap<number, DescriptorKind> = new Map([
  [Command.BPF_BTF_LOAD, "Btf"],
  [Command.BPF_MAP_CREATE, "Map"],
  [Command.BPF_PROG_LOAD, "Prog"],
  [Command.BPF_BTF_GET_FD_BY_ID, "Btf"]
])

/** A machine with this fault. */
export const make = (fault: Fault | undefined): FaultyMachine => {
  const open = new Map<number, DescriptorKind>()
  const mistakes: Array<string> = []
  const faulted: Array<number> = []
  let entries = 0
  let mapped = 0
  let next = 100
  const bpf = (command: number, arena: Arena.Arena): number => {
    const entry = entries++
    if (fault !== undefined && (fault.times === "once" ? entry === fault.at : entry >= fault.at)) {
      faulted.push(command)
      return -fault.errno
    }
    if (command === Command.BPF_OBJ_GET) return -numbers.ENOENT
    // Identifiers of modules: there are none.
    if (command === Command.BPF_BTF_GET_NEXT_ID) return -numbers.ENOENT
    if (command === Command.BPF_OBJ_GET_INFO_BY_FD) return 0
    // A map that a program uses must be there while it is loaded.
    if (command === Command.BPF_PROG_LOAD) {
      const btf = Arena.field(arena as Arena.Arena<typeof Attr.ProgLoad>, "prog_btf_fd")
      if (btf !== 0 && open.get(btf) !== "Btf") mistakes.push(`descriptor ${btf} is no BTF`)
    }
    const kind = kinds.get(command)
    if (kind === undefined) return 0
    open.set(next, kind)
    return next++
  }
  const later: Sys["bpfAsync"] = (command, arena, done) => {
    const result = bpf(command, arena)
    queueMicrotask(() => done(result, arena))
  }
  const sys: Sys = {
    bpf,
    bpfDescriptor: bpf,
    bpfCommon: bpf,
    perfEventOpen: () => -numbers.EPERM,
    ioctl: () => -1,
    duplicate: () => -1,
    uprobe: () => -numbers.ENOSYS,
    bpfAsync: later,
    bpfDescriptorAsync: later,
    map: (fd, offset, length) => {
      if (!open.has(fd)) mistakes.push(`mapped descriptor ${fd}, which is not open`)
      mapped++
      return { address: BigInt(offset), length, buffer: new ArrayBuffer(length) }
    },
    unmap: () => {
      mapped--
    },
    close: (fd) => {
      if (!open.delete(fd)) mistakes.push(`closed ${fd}, which is not open`)
    },
    kindOf: (fd) => open.get(fd) ?? -numbers.EBADF,
    memlock: () => ({ soft: 0xffff_ffff_ffff_ffffn, hard: 0xffff_ffff_ffff_ffffn }),
    setMemlock: () => -numbers.EPERM,
    pageSize: 4096
  }
  return {
    sys,
    entries: () => entries,
    faulted,
    mistakes: () => [
      ...mistakes,
      ...[...open].map(([fd, kind]) => `${kind} ${fd} is open`),
      ...(mapped === 0 ? [] : [`${mapped} mappings are left`])
    ]
  }
}
