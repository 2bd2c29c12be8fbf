/**
 * Files as the facts of a kernel are read: whole, bounded, and never waited for.
 *
 * The files of the kernel say nothing true of their size before they are read (0 in procfs), deliver a page per call, and
 * may be anything where a folder is somebody else's: a device, a pipe that nobody writes to, a file without end.
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Errno from "../abi/Errno.ts"
import { errnoOf } from "../sys/Sys.ts"

/** A machine's files. Failures are error numbers, positive. */
export interface Files {
  /** All bytes of a regular file; `EFBIG` where it has more than `limit`, `EINVAL` where it is no regular file. */
  readonly read: (path: string, limit: number) => Result.Result<Uint8Array, number>
  /** The names in a folder, in no order. */
  readonly list: (folder: string) => Result.Result<ReadonlyArray<string>, number>
}

/** Room for a file that does not tell its size, bytes. */
const firstRoom = 65_536

const readOpen = (fd: number, limit: number): Result.Result<Uint8Array, number> => {
  const stat = Fs.fstatSync(fd)
  if (!stat.isFile()) return Result.fail(Errno.numbers.EINVAL)
  if (stat.size > limit) return Result.fail(Errno.numbers.EFBIG)
  // One byte more than the size: the end shows in a read that leaves room.
  let room = new Uint8Array(Math.max(stat.size + 1, firstRoom))
  let length = 0
  for (;;) {
    const count = Fs.readSync(fd, room, length, room.length - length, null)
    if (count === 0) return Result.succeed(room.subarray(0, length))
    length += count
    if (length > limit) return Result.fail(Errno.numbers.EFBIG)
    if (length < room.length) continue
    const larger = new Uint8Array(Math.min(room.length * 2, limit + 1))
    larger.set(room)
    room = larger
  }
}

const read = (path: string, limit: number): Result.Result<Uint8Array, number> => {
  let fd: number | undefined
  try {
    // Without O_NONBLOCK, opening a pipe waits for a writer.
    fd = Fs.openSync(path, Fs.constants.O_RDONLY | Fs.constants.O_NONBLOCK)
    return readOpen(fd, limit)
  } catch (thrown) {
    return Result.fail(-errnoOf(thrown))
  } finally {
    if (fd !== undefined) Fs.closeSync(fd)
  }
}

const list = (folder: string): Result.Result<ReadonlyArray<string>, number> => {
  try {
    return Result.succeed(Fs.readdirSync(folder))
  } catch (thrown) {
    return Result.fail(-errnoOf(thrown))
  }
}

/** The files of the machine that this process runs on. */
export const machine: Files = { read, list }
