/**
 * The typed maps of light skeletons: each function opens a map of the loaded object with the codecs that the generated module
 * has for it. A module names those that it needs, and a bundler leaves the others out.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Codec } from "../btf/Codec.ts"
import * as RingReader from "../events/RingReader.ts"
import * as ArrayMap from "../maps/ArrayMap.ts"
import * as BloomFilter from "../maps/BloomFilter.ts"
import * as LpmTrie from "../maps/LpmTrie.ts"
import type { MapError } from "../maps/MapError.ts"
import * as PerCpuMap from "../maps/PerCpuMap.ts"
import * as QueueMap from "../maps/QueueMap.ts"
import * as TypedMap from "../maps/TypedMap.ts"
import { Kernel, type KernelShape, type Session } from "../services/Kernel/Kernel.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"

export type { RingReader } from "../events/RingReader.ts"
export { asyncIterable, stream } from "../events/RingReader.ts"
export type { ArrayMap } from "../maps/ArrayMap.ts"
export type { BloomFilter } from "../maps/BloomFilter.ts"
export type { LpmTrie } from "../maps/LpmTrie.ts"
export type { MapError } from "../maps/MapError.ts"
export type { PerCpuArray, PerCpuMap } from "../maps/PerCpuMap.ts"
export type { QueueMap } from "../maps/QueueMap.ts"
export type { TypedMap } from "../maps/TypedMap.ts"

/** What is needed of a loaded skeleton. */
export interface Loaded {
  readonly session: Session
  readonly kernel: KernelShape
  /** The loader's map of this number. */
  readonly map: (number: number) => MapRef
}

/** What keys and values of a map are, and what it is called in C. */
export interface Elements<K, V> {
  readonly name: string
  readonly key: Codec<K>
  readonly value: Codec<V>
}

/** What the values of a map are, and what it is called in C. */
export interface Values<V> {
  readonly name: string
  readonly value: Codec<V>
}

/** A table of keys and values. */
export const table = <K, V>(
  { map, session }: Loaded,
  number: number,
  elements: Elements<K, V>
): Effect.Effect<TypedMap.TypedMap<K, V>, MapError> => TypedMap.make(session, map(number), elements)

/** An array. */
export const array = <V>(
  { map, session }: Loaded,
  number: number,
  values: Values<V>
): Effect.Effect<ArrayMap.ArrayMap<V>, MapError> => ArrayMap.make(session, map(number), values)

/** A table with a value for each CPU. */
export const perCpu = <K, V>(
  { kernel, map, session }: Loaded,
  number: number,
  elements: Elements<K, V>
): Effect.Effect<PerCpuMap.PerCpuMap<K, V>, MapError> =>
  Effect.provideService(PerCpuMap.make(session, map(number), elements), Kernel, kernel)

/** An array with a value for each CPU. */
export const perCpuArray = <V>(
  { kernel, map, session }: Loaded,
  number: number,
  values: Values<V>
): Effect.Effect<PerCpuMap.PerCpuArray<V>, MapError> =>
  Effect.provideService(PerCpuMap.array(session, map(number), values), Kernel, kernel)

/** A trie of prefixes. */
export const trie = <K, V>(
  { map, session }: Loaded,
  number: number,
  elements: Elements<K, V>
): Effect.Effect<LpmTrie.LpmTrie<K, V>, MapError> => LpmTrie.make(session, map(number), elements)

/** A queue or stack. */
export const queue = <V>(
  { map, session }: Loaded,
  number: number,
  values: Values<V>
): Effect.Effect<QueueMap.QueueMap<V>, MapError> => QueueMap.make(session, map(number), values)

/** A bloom filter. */
export const bloom = <V>(
  { map, session }: Loaded,
  number: number,
  values: Values<V>
): Effect.Effect<BloomFilter.BloomFilter<V>, MapError> => BloomFilter.make(session, map(number), values)

/** A ring buffer whose records have types. */
export interface EventRing<A> {
  /** What it is called in C. */
  readonly name: string
  /** The map in its session. */
  readonly ref: MapRef
  /** Begins to read, for as long as the scope: one reader at a time. `stream` and `asyncIterable` make more of a reader. */
  readonly open: (
    options?: RingReader.ReaderOptions
  ) => Effect.Effect<RingReader.RingReader<A>, OpenError, Scope.Scope>
}

/** Why a ring buffer could not be opened. */
export type OpenError = Effect.Error<ReturnType<typeof RingReader.open>>

/** A ring buffer whose records are of these types, which are told apart by their sizes. */
export const events = <A>(
  { kernel, map, session }: Loaded,
  number: number,
  name: string,
  types: ReadonlyArray<Pick<Codec<A>, "name" | "size" | "flexible" | "read">>
): Effect.Effect<EventRing<A>> => {
  const ref = map(number)
  return Effect.succeed({
    name,
    ref,
    open: (options) =>
      Effect.provideService(RingReader.open(session, [RingReader.source(ref, types)], options), Kernel, kernel)
  })
}
