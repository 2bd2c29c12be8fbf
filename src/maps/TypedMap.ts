/**
 * Maps that are tables from keys to values: hashes, with or without a limit that throws out what was used least, and what works
 * alike (device maps by hash, tables of sockets).
 *
 * ```ts
 * const flows = yield* TypedMap.of(loaded, "flows")
 * yield* flows.set({ port: 443 }, { bytes: 0n })
 * const flow = yield* flows.get({ port: 443 })
 * yield* Stream.runForEach(flows.entries, ([key, value]) => Console.log(key, value))
 * ```
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { BtfValue } from "../btf/BtfValue.ts"
import { MapType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { MapInfo } from "../services/Kernel/KernelCall.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import * as Batches from "./Batches.ts"
import * as Element from "./Element.ts"
import type { BatchError, MapError } from "./MapError.ts"
import * as OfObject from "./OfObject.ts"
import { refine } from "./SchemaCodec.ts"
import * as Walk from "./Walk.ts"

export type { ElementCodec, GetOptions, SetOptions } from "./Element.ts"
export { BatchError, TypedMapError } from "./MapError.ts"
export type { MapError } from "./MapError.ts"

/** What all maps of keys and values have. */
export interface ReadableMap<K, V> {
  /** The name in the object; the kernel's, of at most 15 bytes, for a map that is of none. */
  readonly name: string
  /** The map in its session. */
  readonly ref: MapRef
  /** What the kernel said of it when it was opened. */
  readonly info: MapInfo
  /** The value of a key; `undefined` where the map has none. */
  readonly get: (key: K, options?: Element.GetOptions) => Effect.Effect<V | undefined, MapError>
  /** Whether the map has an element of this key. */
  readonly has: (key: K) => Effect.Effect<boolean, MapError>
  /**
   * All elements, while programs go on changing the map: each element that is there all the time appears exactly once. See
   * `Walk` for what that means of each kind of map. Each run of the stream begins anew.
   */
  readonly entries: Stream.Stream<readonly [key: K, value: V], MapError>
  readonly keys: Stream.Stream<K, MapError>
  readonly values: Stream.Stream<V, MapError>
}

/** Maps whose elements can be set. */
export interface WritableMap<K, V> extends ReadableMap<K, V> {
  /** Sets the element of a key: `EEXIST` and `ENOENT` where that is against `when`, `E2BIG` where the map is full. */
  readonly set: (key: K, value: V, options?: Element.SetOptions) => Effect.Effect<void, MapError>
  /** Sets elements in as few calls as possible; answers how many. */
  readonly setAll: (
    entries: Iterable<readonly [K, V]>,
    options?: Element.SetOptions
  ) => Effect.Effect<number, MapError | BatchError>
}

/** A table from keys to values. */
export interface TypedMap<K, V> extends WritableMap<K, V> {
  /** Removes an element; answers whether there was one. */
  readonly delete: (key: K) => Effect.Effect<boolean, MapError>
  /**
   * Removes an element and answers its value. At once where the kernel does that (from 5.14 on, of hashes); elsewhere it is looked
   * up and then deleted: what a program changes in between is lost, but no two take the same element.
   */
  readonly take: (key: K) => Effect.Effect<V | undefined, MapError>
  /** Removes elements in as few calls as possible; answers how many there were. */
  readonly deleteAll: (keys: Iterable<K>) => Effect.Effect<number, MapError | BatchError>
  /**
   * All elements, each of which is taken away as it is read: in batches, so that whoever stops before the end, or is interrupted,
   * loses what was left of the last one.
   */
  readonly takeAll: Stream.Stream<readonly [key: K, value: V], MapError>
  /** How many elements there are: they are counted, since the kernel does not say. */
  readonly size: Effect.Effect<number, MapError>
  /** Removes all elements that there are; those that programs add meanwhile may stay. */
  readonly clear: Effect.Effect<void, MapError>
}

/** What keys and values of a map are. */
export interface Codecs<K, V> {
  readonly key: Element.ElementCodec<K>
  readonly value: Element.ElementCodec<V>
  /** What the map is called in messages: its name in the kernel unless given. */
  readonly name?: string
}

/** The types of maps that are such tables. */
const types: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_HASH,
  MapType.BPF_MAP_TYPE_LRU_HASH,
  MapType.BPF_MAP_TYPE_RHASH,
  MapType.BPF_MAP_TYPE_DEVMAP,
  MapType.BPF_MAP_TYPE_DEVMAP_HASH,
  MapType.BPF_MAP_TYPE_CPUMAP,
  MapType.BPF_MAP_TYPE_SOCKMAP,
  MapType.BPF_MAP_TYPE_SOCKHASH,
  MapType.BPF_MAP_TYPE_XSKMAP
])

const otherwise = ({ type }: MapInfo): string =>
  type === MapType.BPF_MAP_TYPE_ARRAY
    ? "arrays are opened with ArrayMap"
    : type === MapType.BPF_MAP_TYPE_PERCPU_HASH || type === MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH
    ? "maps with a value for each CPU are opened with PerCpuMap"
    : "open it with what is for this kind of map: see the page on maps"

/** The parts of a map that reading needs. */
export const readable = <K, V>(source: Element.Source<K, V>): ReadableMap<K, V> => ({
  name: source.name,
  ref: source.map,
  info: source.info,
  get: (key, options) => Element.get(source, key, Element.getFlags(options)),
  has: (key) => Element.has(source, key),
  entries: Walk.entries(source),
  keys: Walk.keys(source),
  values: Walk.values(source)
})

/** The parts of a map whose elements can be set. */
export const writable = <K, V>(source: Element.Source<K, V>): WritableMap<K, V> => ({
  ...readable(source),
  set: (key, value, options) => Element.set(source, key, value, Element.setFlags(options)),
  setAll: (entries, options) => Batches.setAll(source, entries, options)
})

/** A table, whatever its type. */
export const table = <K, V>(source: Element.Source<K, V>): TypedMap<K, V> => ({
  ...writable(source),
  delete: (key) => Element.remove(source, key),
  take: (key) => Element.take(source, key),
  deleteAll: (keys) => Batches.deleteAll(source, keys),
  takeAll: Walk.entries(source, true),
  size: Walk.count(source),
  clear: Walk.clear(source)
})

/** A map of a session, with codecs of keys and values. Fails where the map is of another kind, or their sizes are others. */
export const make: <K, V>(
  session: Session,
  map: MapRef,
  codecs: Codecs<K, V>
) => Effect.Effect<TypedMap<K, V>, MapError> = Effect.fnUntraced(function*<K, V>(
  session: Session,
  map: MapRef,
  codecs: Codecs<K, V>
): Effect.fn.Return<TypedMap<K, V>, MapError> {
  const info = yield* Element.infoOf(session, map, codecs.name, types, otherwise)
  const name = codecs.name ?? info.name
  const key = yield* Effect.fromResult(Element.half(codecs.key, "keys", name, info.keySize))
  const value = yield* Effect.fromResult(Element.half(codecs.value, "values", name, info.valueSize))
  return table({ session, map, name, info, key, value })
})

/** A map of a loaded object by its name: keys and values are what their types in the object say. */
export const of = (loaded: OfObject.Loaded, name: string): Effect.Effect<TypedMap<BtfValue, BtfValue>, MapError> =>
  Effect.flatMap(OfObject.open(loaded, name), (opened) => make(opened.session, opened.map, opened))

/** A map of a loaded object whose values, and keys where that is wanted, are refined by schemas over what `of` has. */
export function withSchema<V, VI>(
  loaded: OfObject.Loaded,
  name: string,
  schemas: { readonly value: Schema.Codec<V, VI> }
): Effect.Effect<TypedMap<BtfValue, V>, MapError>
export function withSchema<K, KI, V, VI>(
  loaded: OfObject.Loaded,
  name: string,
  schemas: { readonly key: Schema.Codec<K, KI>; readonly value: Schema.Codec<V, VI> }
): Effect.Effect<TypedMap<K, V>, MapError>
export function withSchema<K, KI, V, VI>(
  loaded: OfObject.Loaded,
  name: string,
  schemas: { readonly key?: Schema.Codec<K, KI>; readonly value: Schema.Codec<V, VI> }
): Effect.Effect<TypedMap<BtfValue, V> | TypedMap<K, V>, MapError> {
  return Effect.flatMap(
    OfObject.open(loaded, name),
    ({ key, map, session, ...opened }): Effect.Effect<TypedMap<BtfValue, V> | TypedMap<K, V>, MapError> => {
      const value = refine(opened.value, schemas.value)
      return schemas.key === undefined
        ? make(session, map, { key, value, name })
        : make(session, map, { key: refine(key, schemas.key), value, name })
    }
  )
}
