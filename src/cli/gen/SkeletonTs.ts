/**
 * `gen skeleton --lang ts`: skeletons in TypeScript that have the object in them, or beside them.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import { type BpfObject, entryPrograms } from "../../stages/open/BpfObject.ts"
import * as SkeletonTs from "../../stages/gen/SkeletonTs.ts"
import * as SubskeletonTs from "../../stages/gen/SubskeletonTs.ts"
import { InFile } from "../Failure.ts"
import * as ObjectFile from "../ObjectFile.ts"
import * as Packets from "../Packets.ts"
import type { Asked, Written } from "./SkeletonAsked.ts"

/** Where the object is: in the module, or beside it, by its path from there. */
const sourceOf = Effect.fnUntraced(function*({ beside, object, output }: Asked) {
  if (!beside) return { _tag: "Embedded", bytes: yield* Packets.readBytes(object) } as const
  const path = yield* Path.Path
  const folder = Option.match(output, { onNone: () => ".", onSome: (file) => path.dirname(file) })
  return { _tag: "Beside", file: path.relative(folder, object).split(path.sep).join("/") } as const
})

/** What the names in the module are of. */
const partsOf = (object: BpfObject): Pick<Written, "maps" | "programs" | "notes"> => ({
  maps: object.maps.map(({ name }) => name),
  programs: entryPrograms(object).map(({ name }) => name),
  notes: object.notes
})

/** The module of an object. */
export const write = Effect.fnUntraced(function*(asked: Asked, name: string) {
  const object = yield* ObjectFile.open(asked.object)
  const source = yield* sourceOf(asked)
  const text = yield* Effect.mapError(
    Effect.fromResult(SkeletonTs.make(object, { name, source })),
    (cause) => new InFile({ path: asked.object, cause })
  )
  return { ...partsOf(object), text, what: "a module" } satisfies Written
})

/** The module of a library object. */
export const subskeleton = Effect.fnUntraced(function*(path: string, name: string) {
  const object = yield* ObjectFile.open(path)
  const text = yield* Effect.mapError(
    Effect.fromResult(SubskeletonTs.make(object, { name })),
    (cause) => new InFile({ path, cause })
  )
  return { ...partsOf(object), text, what: "a module" } satisfies Written
})
