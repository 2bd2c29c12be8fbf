/** The service that opens ELF files by path, over any file system: the host's, or one in memory in a browser. */
import * as ByteSize from "effect/ByteSize"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type { PlatformError } from "effect/PlatformError"
import * as Schema from "effect/Schema"
import type { ElfError } from "./ElfError.ts"
import type { ElfFile } from "./ElfModel.ts"
import { ElfLimits } from "./ElfModel.ts"
import { parse } from "./ElfParse.ts"

/**
 * A file that cannot be read as a whole.
 *
 * - `NotFound`, `PermissionDenied`: as the file system says
 * - `NotAFile`: a directory, device, pipe or socket, whose size says nothing about what it delivers
 * - `TooLarge`: more than `ElfLimits.fileBytes`; `size` is in bytes
 * - `Io`: any other failure; `detail` is the file system's own text
 */
export class FileReadError extends Schema.TaggedError<FileReadError>()("FileReadError", {
  path: Schema.String,
  reason: Schema.Literals(["NotFound", "PermissionDenied", "NotAFile", "TooLarge", "Io"]),
  size: Schema.optionalKey(Schema.Number),
  detail: Schema.optionalKey(Schema.String),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const hint = this.hint === undefined ? "" : `; ${this.hint}`
    return `${this.path}: ${describe(this)}${hint}`
  }
}

const describe = (error: FileReadError): string => {
  switch (error.reason) {
    case "NotFound":
      return "no such file"
    case "PermissionDenied":
      return "permission denied"
    case "NotAFile":
      return `not a regular file${error.detail === undefined ? "" : ` but a ${error.detail}`}`
    case "TooLarge":
      return `${error.size ?? "too many"} bytes, the limit is ${ElfLimits.fileBytes}`
    case "Io":
      return error.detail ?? "cannot be read"
  }
}

/** Opens ELF files by path. */
export class Elf extends Context.Service<Elf, {
  /**
   * Reads and parses the file at `path`. The file is looked at first, so that a huge one or a device is refused unread;
   * the model's byte arrays are views of the one copy that was read.
   */
  readonly open: (path: string) => Effect.Effect<ElfFile, ElfError | FileReadError>
}>()("effect-bpf/Elf") {
  /** The service over the `FileSystem` of the environment, of which it uses `stat` and `readFile` only. */
  static readonly layer: Layer.Layer<Elf, never, FileSystem.FileSystem> = Layer.effect(
    Elf,
    Effect.gen(function*() {
      const fileSystem = yield* FileSystem.FileSystem
      const open = Effect.fn("Elf.open")(function*(path: string) {
        const bytes = yield* readFile(fileSystem, path)
        return yield* Effect.fromResult(parse(bytes))
      })
      return Elf.of({ open })
    })
  )
}

/** Reads a regular file of at most `ElfLimits.fileBytes` as a whole; it is looked at first, so that others stay unread. */
export const readFile = Effect.fnUntraced(function*(fileSystem: FileSystem.FileSystem, path: string) {
  const { size, type } = yield* Effect.mapError(fileSystem.stat(path), fromPlatformError(path))
  if (type !== "File") return yield* new FileReadError({ path, reason: "NotAFile", detail: type })
  yield* checkSize(path, Number(ByteSize.toBigInt(size)))
  const bytes = yield* Effect.mapError(fileSystem.readFile(path), fromPlatformError(path))
  yield* checkSize(path, bytes.length) // it may have grown meanwhile
  return bytes
})

const checkSize = (path: string, size: number): Effect.Effect<void, FileReadError> =>
  size > ElfLimits.fileBytes ? Effect.fail(new FileReadError({ path, reason: "TooLarge", size })) : Effect.void

const fromPlatformError = (path: string) => (error: PlatformError): FileReadError => {
  const tag = error.reason._tag
  return tag === "NotFound" || tag === "PermissionDenied"
    ? new FileReadError({ path, reason: tag })
    : new FileReadError({ path, reason: "Io", detail: error.message })
}
