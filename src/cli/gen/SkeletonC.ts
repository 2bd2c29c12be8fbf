/**
 * `gen skeleton` and `gen subskeleton` in C: headers over libbpf.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as Result from "effect/Result"
import { readFile } from "../../services/Elf/ElfService.ts"
import * as SkeletonC from "../../stages/gen/SkeletonC.ts"
import * as SubskeletonC from "../../stages/gen/SubskeletonC.ts"
import { type BpfObject, entryPrograms } from "../../stages/open/BpfObject.ts"
import * as Open from "../../stages/open/Open.ts"
import { InFile } from "../Failure.ts"
import type { Written } from "./SkeletonAsked.ts"

/** The header that is made of an object file. */
const header = Effect.fnUntraced(function*(
  path: string,
  make: (object: BpfObject, bytes: Uint8Array) => Result.Result<string, SkeletonC.SkeletonError>
) {
  // Read once: what is embedded is what the names are of.
  const bytes = yield* readFile(yield* FileSystem.FileSystem, path)
  const inFile = (cause: Error): InFile => new InFile({ path, cause })
  const object = yield* Effect.mapError(Effect.fromResult(Open.fromBytes(bytes, { path })), inFile)
  const text = yield* Effect.mapError(Effect.fromResult(make(object, bytes)), inFile)
  return {
    text,
    what: "a header",
    maps: object.maps.map(({ name }) => name),
    programs: entryPrograms(object).map(({ name }) => name),
    notes: object.notes
  } satisfies Written
})

/** A skeleton that has the object in it. */
export const skeleton = (path: string, name: string) =>
  header(path, (object, bytes) => SkeletonC.make(object, bytes, { name }))

/** A subskeleton. */
export const subskeleton = (path: string, name: string) => header(path, (object) => SubskeletonC.make(object, { name }))
