/**
 * Types out of the kernel: of an object of types, of a program, of a map.
 */
import * as Effect from "effect/Effect"
import * as Ref from "../../services/Kernel/Ref.ts"
import * as Objects from "../objects/Objects.ts"
import { UsageError } from "../Usage.ts"
import { type Source, written } from "./Source.ts"

/** Which types of an object are meant: all, where `roots` is empty. */
interface Meant {
  readonly id: number
  readonly roots: ReadonlyArray<number>
}

const meantBy = Effect.fnUntraced(function*(objects: Objects.Objects, source: Exclude<Source, { _tag: "File" }>) {
  switch (source._tag) {
    case "Id":
      return { id: source.id, roots: [] } satisfies Meant
    case "Prog": {
      const { info } = yield* Objects.oneProg(objects, source.reference)
      return { id: info.btfId, roots: [] } satisfies Meant
    }
    case "Map": {
      const { info } = yield* Objects.oneMap(objects, source.reference)
      const { part } = source
      const roots = [
        ...(part === "key" || part === "kv" ? [info.btfKeyTypeId] : []),
        ...(part === "value" || part === "kv" ? [info.btfValueTypeId] : [])
      ].filter((id) => id !== 0)
      return { id: info.btfId, roots } satisfies Meant
    }
  }
})

/** The types that a source names, and which of them are meant. */
export const load = Effect.fnUntraced(function*(objects: Objects.Objects, source: Exclude<Source, { _tag: "File" }>) {
  const { id, roots } = yield* meantBy(objects, source)
  const wrong = (detail: string) => new UsageError({ argument: written(source), detail })
  if (id === 0) return yield* wrong("it has no types")
  // Types that may not be opened are told of with the kernel's reason.
  const ref = Ref.btf(objects.fresh())
  yield* objects.session.call({ _tag: "GetById", as: ref, id })
  yield* objects.session.call({ _tag: "Close", ref })
  const btf = yield* Objects.types(objects, id)
  return btf === undefined ? yield* wrong(`the types of object ${id} cannot be read`) : { btf, roots }
})
