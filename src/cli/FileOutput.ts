/** Results that are files: a reader never sees half of one, and a failure leaves what was there before. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import { InFile } from "./Failure.ts"

/** Why a file cannot be written, without the temporary name that nobody asked for. */
const reasonOf = (error: PlatformError): Error => {
  switch (error.reason._tag) {
    case "NotFound":
      return new Error("cannot be written: there is no such folder")
    case "PermissionDenied":
      return new Error("cannot be written: permission denied")
    default: {
      const cause: unknown = error.reason.cause
      const code: unknown = typeof cause === "object" && cause !== null ? Reflect.get(cause, "code") : undefined
      return new Error(`cannot be written: ${typeof code === "string" ? code : error.message}`)
    }
  }
}

/**
 * Writes a file under a temporary name beside it, and then gives it its own. A symbolic link stays one; what is no regular
 * file, such as a pipe, is written to as it is.
 */
export const writeFile = Effect.fnUntraced(function*(path: string, bytes: Uint8Array) {
  const fileSystem = yield* FileSystem.FileSystem
  const inFile = (error: PlatformError): InFile => new InFile({ path, cause: reasonOf(error) })
  const existing = yield* Effect.option(fileSystem.stat(path))
  if (existing._tag === "Some" && existing.value.type !== "File") {
    return yield* Effect.mapError(fileSystem.writeFile(path, bytes), inFile)
  }
  const target = existing._tag === "Some" ? yield* Effect.mapError(fileSystem.realPath(path), inFile) : path
  const temporary = `${target}.${crypto.randomUUID()}`
  const mode = existing._tag === "Some" ? { mode: existing.value.mode & 0o777 } : {}
  yield* fileSystem.writeFile(temporary, bytes, { flag: "wx", ...mode }).pipe(
    Effect.andThen(fileSystem.rename(temporary, target)),
    Effect.onError(() => Effect.ignore(fileSystem.remove(temporary))),
    Effect.mapError(inFile)
  )
})
