/**
 * Bloom filters: sets that answer "certainly not" or "perhaps".
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type { BtfValue } from "../btf/BtfValue.ts"
import { MapType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { MapInfo } from "../services/Kernel/KernelCall.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import type { Values } from "./ArrayMap.ts"
import * as Element from "./Element.ts"
import type { MapError } from "./MapError.ts"
import * as OfObject from "./OfObject.ts"
import { refine } from "./SchemaCodec.ts"

/** A bloom filter. Nothing can be taken out of it, and what is in it cannot be listed. */
export interface BloomFilter<V> {
  readonly name: string
  readonly ref: MapRef
  readonly info: MapInfo
  readonly add: (value: V) => Effect.Effect<void, MapError>
  /** Whether a value may have been added; where this is `false` it was not. */
  readonly has: (value: V) => Effect.Effect<boolean, MapError>
}

const types: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_BLOOM_FILTER])

const noKey = new Uint8Array(0)

/** A bloom filter of a session, with the codec of its values. */
export const make: <V>(session: Session, map: MapRef, values: Values<V>) => Effect.Effect<BloomFilter<V>, MapError> =
  Effect.fnUntraced(function*<V>(
    session: Session,
    map: MapRef,
    values: Values<V>
  ): Effect.fn.Return<BloomFilter<V>, MapError> {
    const info = yield* Element.infoOf(
      session,
      map,
      values.name,
      types,
      () => "it is no bloom filter: see the page on maps for what opens it"
    )
    const name = values.name ?? info.name
    const value = yield* Effect.fromResult(Element.half(values.value, "values", name, info.valueSize))
    const source = { session, map, name, info, key: Element.nothing, value }
    return {
      name,
      ref: map,
      info,
      add: (added) => Element.set(source, undefined, added),
      has: (asked) =>
        Effect.suspend((): Effect.Effect<boolean, MapError> => {
          const bytes = value.encode(asked)
          if (Result.isFailure(bytes)) return Effect.fail(bytes.failure)
          const [valueSize, flags] = [value.size, 0n] as const
          return Effect.map(
            session.call({ _tag: "MapLookup", map, key: noKey, value: bytes.success, valueSize, flags }),
            (found) => found !== undefined
          )
        })
    }
  })

/** A bloom filter of a loaded object by its name. */
export const of = (loaded: OfObject.Loaded, name: string): Effect.Effect<BloomFilter<BtfValue>, MapError> =>
  Effect.flatMap(OfObject.open(loaded, name), (opened) => make(opened.session, opened.map, opened))

/** A bloom filter of a loaded object whose values are refined by a schema over what `of` has. */
export const withSchema = <V, VI>(
  loaded: OfObject.Loaded,
  name: string,
  schema: Schema.Codec<V, VI>
): Effect.Effect<BloomFilter<V>, MapError> =>
  Effect.flatMap(
    OfObject.open(loaded, name),
    ({ map, session, value }) => make(session, map, { value: refine(value, schema), name })
  )
