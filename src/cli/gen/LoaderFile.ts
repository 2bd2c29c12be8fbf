/**
 * Loaders in files: those of `gen loader`, C light skeletons, and the two pieces of a loader as they are.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Schema from "effect/Schema"
import { readFile } from "../../services/Elf/ElfService.ts"
import * as ForeignLoader from "../../stages/gen/ForeignLoader.ts"
import * as LoaderProgram from "../../stages/gen/LoaderProgram.ts"
import { InFile } from "../Failure.ts"

/** A file that is no loader. */
const notLoader = (path: string, detail: string): InFile =>
  new InFile({ path, cause: new Error(`this is no loader of gen loader: ${detail}`) })

const OPENING_BRACE = 0x7b

/** Whether the first character that says something opens a document of JSON. */
const isJson = (bytes: Uint8Array): boolean => {
  const first = bytes.find((byte) => byte > 0x20)
  return first === OPENING_BRACE
}

/** The loader in a document of JSON. */
const ofJson = Effect.fnUntraced(function*(path: string, bytes: Uint8Array) {
  const json = yield* Effect.try({
    try: (): unknown => JSON.parse(new TextDecoder().decode(bytes)),
    catch: () => notLoader(path, "it is not JSON")
  })
  return yield* Effect.mapError(
    Schema.decodeUnknownEffect(LoaderProgram.codec)(json),
    (error) => notLoader(path, error.message)
  )
})

/** The loader in a file that `gen loader` has written. */
export const readRecorded = Effect.fnUntraced(function*(path: string) {
  return yield* ofJson(path, yield* readFile(yield* FileSystem.FileSystem, path))
})

/** The loader in a file that `gen loader` has written, or in a C light skeleton. */
export const read = Effect.fnUntraced(function*(path: string) {
  const bytes = yield* readFile(yield* FileSystem.FileSystem, path)
  if (isJson(bytes)) return yield* ofJson(path, bytes)
  return yield* Effect.mapError(
    Effect.fromResult(ForeignLoader.ofSkeleton(new TextDecoder("latin1").decode(bytes))),
    (cause) => new InFile({ path, cause })
  )
})

/** The loader of these two files: its instructions, its data. */
export const readPieces = Effect.fnUntraced(function*(insns: string, data: string) {
  const fileSystem = yield* FileSystem.FileSystem
  return yield* Effect.mapError(
    Effect.fromResult(
      ForeignLoader.ofPieces(yield* readFile(fileSystem, insns), yield* readFile(fileSystem, data))
    ),
    (cause) => new InFile({ path: insns, cause })
  )
})
