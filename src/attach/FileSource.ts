/** Files as sources of bytes: only what is asked for is read, however large they are. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import type { ByteSource } from "../services/Elf/ByteSource.ts"
import { ByteSourceError, isInside, outOfBounds } from "../services/Elf/ByteSource.ts"
import { FileReadError } from "../services/Elf/ElfService.ts"

const codeOf = (thrown: unknown): unknown =>
  typeof thrown === "object" && thrown !== null ? Reflect.get(thrown, "code") : undefined

/** What the system said: the error's name, `EIO`. */
const detailOf = (thrown: unknown): string => String(codeOf(thrown) ?? thrown)

const readFrom = (fd: number, size: number) => (offset: number, length: number) => {
  if (!isInside(offset, length, size)) return outOfBounds(offset, length, size)
  const bytes = new Uint8Array(length)
  try {
    for (let done = 0; done < length;) {
      const count = Fs.readSync(fd, bytes, done, length - done, offset + done)
      if (count === 0) return Result.fail(new ByteSourceError({ reason: "Truncated", offset, length, size }))
      done += count
    }
  } catch (thrown) {
    return Result.fail(new ByteSourceError({ reason: "Io", offset, length, size, detail: detailOf(thrown) }))
  }
  return Result.succeed(bytes)
}

const refusal = (path: string, thrown: unknown): FileReadError => {
  const code = codeOf(thrown)
  if (code === "ENOENT" || code === "ENOTDIR") return new FileReadError({ path, reason: "NotFound" })
  if (code === "EACCES" || code === "EPERM") return new FileReadError({ path, reason: "PermissionDenied" })
  return new FileReadError({ path, reason: "Io", detail: detailOf(thrown) })
}

/** An open file, to be closed with `close`. Only regular files: what a device or a pipe delivers has no offsets. */
const openSync = (path: string): Result.Result<ByteSource & { readonly close: () => void }, FileReadError> => {
  let fd: number | undefined
  try {
    // Without O_NONBLOCK, opening a pipe waits for a writer.
    fd = Fs.openSync(path, Fs.constants.O_RDONLY | Fs.constants.O_NONBLOCK)
    const stat = Fs.fstatSync(fd)
    if (stat.isFile()) {
      const opened = fd
      return Result.succeed({ size: stat.size, read: readFrom(fd, stat.size), close: () => Fs.closeSync(opened) })
    }
    Fs.closeSync(fd)
    const detail = stat.isDirectory() ? { detail: "folder" } : {}
    return Result.fail(new FileReadError({ path, reason: "NotAFile", ...detail }))
  } catch (thrown) {
    if (fd !== undefined) Fs.closeSync(fd)
    return Result.fail(refusal(path, thrown))
  }
}

/** Opens a file for the length of a scope. Reads after that fail (`Io`). */
export const open = (path: string): Effect.Effect<ByteSource, FileReadError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.suspend(() => Effect.fromResult(openSync(path))),
      ({ close }) => Effect.sync(close)
    ),
    ({ read, size }) => ({ read, size })
  )

/** Asks something of a file that is open only meanwhile. */
export const ask = <A, E>(
  path: string,
  question: (source: ByteSource) => Result.Result<A, E>
): Result.Result<A, E | FileReadError> => {
  const opened = openSync(path)
  if (Result.isFailure(opened)) return Result.fail(opened.failure)
  try {
    return question(opened.success)
  } finally {
    opened.success.close()
  }
}
