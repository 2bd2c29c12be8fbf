/**
 * What the verbs of `map` do with maps that have no keys: queues and stacks, and what is put into bloom filters.
 */
import * as Effect from "effect/Effect"
import { MapType, mapTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Objects } from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import { UsageError } from "../Usage.ts"
import * as Elements from "./Elements.ts"
import { type GivenJson, noJson, setElement, target, type Target } from "./Verbs.ts"

const taken: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_QUEUE, MapType.BPF_MAP_TYPE_STACK])
const filled: ReadonlySet<number> = new Set([...taken, MapType.BPF_MAP_TYPE_BLOOM_FILTER])

/** The map of the words, which must be of one of these types. */
const queue = Effect.fnUntraced(function*(objects: Objects, words: Words.Words, types: ReadonlySet<number>) {
  const found: Target = yield* target(objects, words)
  const { info } = found.shape
  if (!types.has(info.type)) {
    return yield* new UsageError({
      argument: `map ${info.id}`,
      detail: `${info.name} is of type ${mapTypeName(info.type)}, and this is for ${
        [...types].map(mapTypeName).join(", ")
      }`,
      hint: types === filled
        ? "effect-bpf map update sets an element of a map with keys"
        : "effect-bpf map lookup reads an element of a map with keys"
    })
  }
  return found
})

/** `map push`: puts a value in. Flags are those of an update: with `exist` a full queue loses its oldest value. */
export const push = Effect.fnUntraced(function*(objects: Objects, words: Words.Words, json: GivenJson = noJson) {
  yield* setElement(objects, yield* queue(objects, words, filled), json)
})

/** `map peek`: the value that would be taken out next; `undefined` where there is none. */
export const peek = Effect.fnUntraced(function*(objects: Objects, words: Words.Words) {
  const { map, rest, shape } = yield* queue(objects, words, taken)
  yield* Effect.fromResult(Words.nothingLeft(rest))
  const value = yield* Elements.read(objects, map, shape, new Uint8Array())
  if (value !== undefined && !(value instanceof Uint8Array)) return yield* value
  return { shape, value }
})

/** `map pop`: takes the next value out; `undefined` where there is none. */
export const pop = Effect.fnUntraced(function*(objects: Objects, words: Words.Words) {
  const { map, rest, shape } = yield* queue(objects, words, taken)
  yield* Effect.fromResult(Words.nothingLeft(rest))
  const value = yield* objects.session.call({
    _tag: "MapLookupAndDelete",
    map: map.ref,
    key: new Uint8Array(),
    valueSize: shape.info.valueSize,
    flags: 0n
  })
  return { shape, value }
})
