/**
 * Arrays: elements by index from 0, all of which are always there.
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { BtfValue } from "../btf/BtfValue.ts"
import { MapType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { MapInfo } from "../services/Kernel/KernelCall.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import * as Element from "./Element.ts"
import type { MapError } from "./MapError.ts"
import * as OfObject from "./OfObject.ts"
import { refine } from "./SchemaCodec.ts"
import { writable, type WritableMap } from "./TypedMap.ts"

/** An array. No element of it can be removed: write zeros over it. */
export interface ArrayMap<V> extends WritableMap<number, V> {
  /** How many elements there are. */
  readonly length: number
}

/** What the values of an array are. */
export interface Values<V> {
  readonly value: Element.ElementCodec<V>
  /** What the map is called in messages: its name in the kernel unless given. */
  readonly name?: string
}

const types: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_ARRAY])

const otherwise = ({ type }: MapInfo): string =>
  type === MapType.BPF_MAP_TYPE_PERCPU_ARRAY
    ? "arrays with a value for each CPU are opened with PerCpuMap.array"
    : "it is no array: see the page on maps for what opens it"

/** An array of a session, with the codec of its values. */
export const make: <V>(session: Session, map: MapRef, values: Values<V>) => Effect.Effect<ArrayMap<V>, MapError> =
  Effect.fnUntraced(function*<V>(
    session: Session,
    map: MapRef,
    values: Values<V>
  ): Effect.fn.Return<ArrayMap<V>, MapError> {
    const info = yield* Element.infoOf(session, map, values.name, types, otherwise)
    const name = values.name ?? info.name
    const value = yield* Effect.fromResult(Element.half(values.value, "values", name, info.valueSize))
    const key = Element.index(name, info.maxEntries)
    return { ...writable({ session, map, name, info, key, value }), length: info.maxEntries }
  })

/** An array of a loaded object by its name. */
export const of = (loaded: OfObject.Loaded, name: string): Effect.Effect<ArrayMap<BtfValue>, MapError> =>
  Effect.flatMap(OfObject.open(loaded, name), (opened) => make(opened.session, opened.map, opened))

/** An array of a loaded object whose values are refined by a schema over what `of` has. */
export const withSchema = <V, VI>(
  loaded: OfObject.Loaded,
  name: string,
  schema: Schema.Codec<V, VI>
): Effect.Effect<ArrayMap<V>, MapError> =>
  Effect.flatMap(
    OfObject.open(loaded, name),
    ({ map, session, value }) => make(session, map, { value: refine(value, schema), name })
  )
