/**
 * Ring buffers of a loaded object as sources, by the names of their maps: with the types that annotations name, and with the
 * program's count of losses.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as BtfCodec from "../../btf/BtfCodec.ts"
import type { BtfValue, BtfValueError, ValueOptions } from "../../btf/BtfValue.ts"
import type { Kernel } from "../../services/Kernel/Kernel.ts"
import type { MapRef } from "../../services/Kernel/Ref.ts"
import type { LoadedObject } from "../../stages/load/Execute.ts"
import type * as Globals from "../../stages/load/Globals.ts"
import * as EventTypes from "../../stages/open/EventTypes.ts"
import * as Losses from "../Losses.ts"
import { copy, type Decode, ofTypes, type Readable } from "./Decode.ts"
import { RingBufferError } from "./RingError.ts"

/** A source by its map's name. */
export interface Annotated {
  readonly map: MapRef
  readonly decode: Decode<BtfValue>
  readonly losses: Losses.Losses | undefined
}

/** Why an object has no such source. */
export type AnnotatedError = EventTypes.EventTypeError | BtfValueError | RingBufferError | Globals.AccessError

/** The types that annotations name for a map; none where there is no annotation. */
const typesOf = (
  { object }: LoadedObject,
  name: string,
  options: ValueOptions
): Result.Result<ReadonlyArray<Readable<BtfValue>>, EventTypes.EventTypeError | BtfValueError> =>
  Result.gen(function*() {
    const types = (yield* EventTypes.of(object)).find((map) => map.name === name)?.types ?? []
    const { btf, byteOrder } = object
    if (btf === undefined) return []
    const codecs: Array<Readable<BtfValue>> = []
    for (const { flexible, name, type } of types) {
      codecs.push(yield* BtfCodec.make(btf, type, { byteOrder, ...options, name, flexible }))
    }
    return codecs
  })

/**
 * The source of the records of a map of a loaded object, by its name. Records are values of the types that `event:` annotations
 * name (see `EventTypes`), or copies of their bytes where there are none; losses are what the program counts for the map (see
 * `Losses`). The count is mapped until the scope closes.
 */
export const annotated = Effect.fnUntraced(function*(
  loaded: LoadedObject,
  name: string,
  options: ValueOptions = {}
): Effect.fn.Return<Annotated, AnnotatedError, Kernel | Scope.Scope> {
  const map = loaded.map(name)
  if (map === undefined) {
    return yield* new RingBufferError({ reason: "MapType", detail: `the load made no map of the name ${name}` })
  }
  const types = yield* Effect.fromResult(typesOf(loaded, name, options))
  const losses = yield* Losses.ofMap(loaded, name)
  return { map, decode: types.length === 0 ? copy : ofTypes(types), losses }
})
