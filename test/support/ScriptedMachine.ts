/**
 * A machine of a test's own: files, and BTF objects behind bpf(2), which come and go as the test says, and which count how
 * often each is read.
 */
import * as Result from "effect/Result"
import * as Arena from "../../src/services/Kernel/abi/Arena.ts"
import type * as Attr from "../../src/services/Kernel/abi/Attr.ts"
import { Command } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../src/services/Kernel/abi/Errno.ts"
import type { Sources } from "../../src/services/Kernel/live/Facts.ts"
import type { Sys } from "../../src/services/Kernel/sys/Sys.ts"

/** A BTF object: its id is its key. */
export interface ScriptedBtf {
  readonly name: string
  readonly bytes: Uint8Array
  /** Brought by a program. */
  readonly isProgram?: boolean
  /** Goes when it is opened: the race of whoever lists before it opens. */
  readonly vanishes?: boolean
}

/** The machine. What is in its maps may be changed between two questions. */
export interface Machine {
  readonly sources: Sources
  readonly sys: Sys
  /** By path: the content, or a positive error number. */
  readonly files: Map<string, Uint8Array | string | number>
  readonly objects: Map<number, ScriptedBtf>
  /** How often a file was read, or the types of an object, by `btf:` and its id. */
  readonly reads: Map<string, number>
  /** Descriptors that are open. */
  readonly open: Set<number>
  /** The answer to every bpf(2) call, as an error number, in place of what the objects say; undefined for them. */
  refusal: number | undefined
}

const view = (arena: Arena.Arena): DataView => new DataView(arena.buffer)

/** A machine with this release and nothing else. */
export const make = (release = "6.1.2-test"): Machine => {
  const reads = new Map<string, number>()
  const count = (what: string): void => void reads.set(what, (reads.get(what) ?? 0) + 1)
  const files: Machine["files"] = new Map()
  const objects: Machine["objects"] = new Map()
  const open = new Set<number>()

  const info = (arena: Arena.Arena): number => {
    const id = view(arena).getUint32(0, Arena.hostIsLittle) - 100
    const object = objects.get(id)
    if (object === undefined) return -numbers.EBADF
    const typed = arena as Arena.Arena<typeof Attr.GetInfo>
    const structure = Arena.region(typed, "info")
    const fields = new DataView(structure.buffer, structure.byteOffset, structure.length)
    const room = Arena.region(typed, "info", "btf")
    if (room.length > 0) {
      count(`btf:${id}`)
      room.set(object.bytes.subarray(0, room.length))
    }
    fields.setUint32(8, object.bytes.length, Arena.hostIsLittle)
    fields.setUint32(12, id, Arena.hostIsLittle)
    fields.setUint32(28, object.isProgram === true ? 0 : 1, Arena.hostIsLittle)
    const name = new TextEncoder().encode(object.name)
    const into = Arena.region(typed, "info", "name")
    if (name.length >= into.length) return -numbers.ENOSPC
    into.set(name)
    return 0
  }

  const bpf = (command: number, arena: Arena.Arena): number => {
    if (machine.refusal !== undefined) return -machine.refusal
    const first = view(arena).getUint32(0, Arena.hostIsLittle)
    switch (command) {
      case Command.BPF_BTF_GET_NEXT_ID: {
        const next = [...objects.keys()].sort((a, b) => a - b).find((id) => id > first)
        if (next === undefined) return -numbers.ENOENT
        view(arena).setUint32(4, next, Arena.hostIsLittle)
        return 0
      }
      case Command.BPF_BTF_GET_FD_BY_ID: {
        const object = objects.get(first)
        if (object === undefined || object.vanishes === true) return -numbers.ENOENT
        open.add(100 + first)
        return 100 + first
      }
      case Command.BPF_OBJ_GET_INFO_BY_FD:
        return info(arena)
      default:
        return -numbers.EINVAL
    }
  }

  const sys: Sys = {
    bpf,
    bpfDescriptor: bpf,
    bpfCommon: bpf,
    perfEventOpen: () => -numbers.EPERM,
    ioctl: () => -1,
    duplicate: () => -1,
    memlock: () => ({ soft: 0xffff_ffff_ffff_ffffn, hard: 0xffff_ffff_ffff_ffffn }),
    setMemlock: () => -1,
    uprobe: () => -numbers.ENOSYS,
    bpfAsync: (command, arena, done) => done(bpf(command, arena), arena),
    bpfDescriptorAsync: (command, arena, done) => done(bpf(command, arena), arena),
    map: () => -numbers.EPERM,
    unmap: () => {},
    close: (fd) => void open.delete(fd),
    kindOf: () => "Btf",
    pageSize: 4096
  }

  const machine: Machine = {
    sources: {
      sys: () => Result.succeed(sys),
      release,
      version: "#1 SMP",
      files: {
        read: (path, limit) => {
          count(path)
          const content = files.get(path) ?? numbers.ENOENT
          if (typeof content === "number") return Result.fail(content)
          const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content
          return bytes.length > limit ? Result.fail(numbers.EFBIG) : Result.succeed(bytes)
        },
        list: (folder) => {
          const names = [...files.keys()].filter((path) => path.startsWith(`${folder}/`))
          return names.length === 0
            ? Result.fail(numbers.ENOENT)
            : Result.succeed(names.map((path) => path.slice(folder.length + 1)))
        }
      }
    },
    sys,
    files,
    objects,
    reads,
    open,
    refusal: undefined
  }
  return machine
}
