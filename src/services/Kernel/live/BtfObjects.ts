/**
 * The BTF objects of the running kernel through bpf(2): which there are, and the types of the kernel's own.
 *
 * One call copies all types of vmlinux into memory of ours, where sysfs hands them out a page at a time. It needs
 * `CAP_SYS_ADMIN`; who may not do it reads sysfs.
 *
 * Source: reference pages `load` (section 3) and `peers-btf` (section 3).
 */
import * as Result from "effect/Result"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import type { Sys } from "../sys/Sys.ts"

/** What a BTF object is. Its types never change: a module that comes back has an object of another id. */
export interface BtfObject {
  readonly id: number
  /** `vmlinux`, the name of a module, or `""`. */
  readonly name: string
  /** The kernel's own or a module's, not one that a program brought. */
  readonly isKernels: boolean
  /** Bytes of the blob. */
  readonly size: number
}

/** The name under which the kernel lists its own types. */
export const vmlinux = "vmlinux"

/** Room for a name, bytes: `MODULE_NAME_LEN`, with the closing NUL. */
const nameLength = 64

/** The largest blob that room is made for, bytes: the kernel's own limit is far below. */
const maximumSize = 0x1000_0000

const call = <L extends Arena.Layout>(
  sys: Sys,
  command: number,
  layout: L,
  values: Arena.Values<L>
): Result.Result<{ readonly result: number; readonly arena: Arena.Arena<L> }, number> => {
  const arena = Arena.make(layout, values)
  if (Result.isFailure(arena)) return Result.fail(Errno.numbers.EINVAL)
  const enter = command === Command.BPF_BTF_GET_FD_BY_ID ? sys.bpfDescriptor : sys.bpf
  const result = enter(command, arena.success)
  return result < 0 ? Result.fail(-result) : Result.succeed({ result, arena: arena.success })
}

/** The ids of all BTF objects, in order; or the number of the error why they cannot be listed, `EPERM` above all. */
export const ids = (sys: Sys): Result.Result<ReadonlyArray<number>, number> => {
  const found: Array<number> = []
  for (let id = 0;;) {
    const next = call(sys, Command.BPF_BTF_GET_NEXT_ID, Attr.Ids, { start_id: id })
    if (Result.isFailure(next)) {
      return next.failure === Errno.numbers.ENOENT ? Result.succeed(found) : Result.fail(next.failure)
    }
    const nextId = Arena.field(next.success.arena, "next_id")
    // Ids only rise; another answer would never end.
    if (nextId <= id) return Result.fail(Errno.numbers.EIO)
    id = nextId
    found.push(id)
  }
}

/** Opens an object for as long as `use` runs; `undefined` where it has gone since its id was read. */
const withObject = <A>(
  sys: Sys,
  id: number,
  use: (fd: number) => Result.Result<A, number>
): Result.Result<A | undefined, number> => {
  const opened = call(sys, Command.BPF_BTF_GET_FD_BY_ID, Attr.BtfGetFdById, { btf_id: id })
  if (Result.isFailure(opened)) {
    return opened.failure === Errno.numbers.ENOENT ? Result.succeed(undefined) : Result.fail(opened.failure)
  }
  try {
    return use(opened.success.result)
  } finally {
    sys.close(opened.success.result)
  }
}

const describeOpen = (sys: Sys, id: number, fd: number): Result.Result<BtfObject, number> => {
  const info = call(sys, Command.BPF_OBJ_GET_INFO_BY_FD, Attr.GetInfo, {
    bpf_fd: fd,
    info_len: Attr.BtfInfo.size,
    info: Arena.struct(Attr.BtfInfo, { name: Arena.room(nameLength), name_len: nameLength })
  })
  if (Result.isFailure(info)) {
    // A name that does not fit is not the kernel's or a module's.
    return info.failure === Errno.numbers.ENOSPC
      ? Result.succeed({ id, name: "", isKernels: false, size: 0 })
      : Result.fail(info.failure)
  }
  const { arena } = info.success
  const structure = Arena.region(arena, "info")
  return Result.succeed({
    id,
    name: Arena.cString(Arena.region(arena, "info", "name")),
    isKernels: Arena.readNumber(structure, Attr.BtfInfo.fields.kernel_btf) !== 0,
    size: Arena.readNumber(structure, Attr.BtfInfo.fields.btf_size)
  })
}

/** What the object of an id is; `undefined` where it has gone. */
export const describe = (sys: Sys, id: number): Result.Result<BtfObject | undefined, number> =>
  withObject(sys, id, (fd) => describeOpen(sys, id, fd))

/**
 * The blob of an object of the kernel's, by one call into memory of its size; `undefined` where it has gone. What is
 * read is looked at once more: `ESTALE` where the id is not that object, or where bytes are missing.
 */
export const read = (sys: Sys, object: BtfObject): Result.Result<Uint8Array | undefined, number> => {
  if (object.size === 0 || object.size > maximumSize) return Result.fail(Errno.numbers.EFBIG)
  return withObject(sys, object.id, (fd) =>
    Result.flatMap(
      call(sys, Command.BPF_OBJ_GET_INFO_BY_FD, Attr.GetInfo, {
        bpf_fd: fd,
        info_len: Attr.BtfInfo.size,
        info: Arena.struct(Attr.BtfInfo, {
          btf: Arena.room(object.size),
          btf_size: object.size,
          name: Arena.room(nameLength),
          name_len: nameLength
        })
      }),
      ({ arena }) => {
        const structure = Arena.region(arena, "info")
        const isSame = Arena.readNumber(structure, Attr.BtfInfo.fields.kernel_btf) !== 0 &&
          Arena.readNumber(structure, Attr.BtfInfo.fields.btf_size) === object.size &&
          Arena.cString(Arena.region(arena, "info", "name")) === object.name
        return isSame
          ? Result.succeed(Arena.region(arena, "info", "btf"))
          : Result.fail(Errno.numbers.ESTALE)
      }
    ))
}
