/**
 * The handles of a skeleton's maps by their kinds: typed maps and event streams with the codecs that the module has.
 *
 * A skeleton names only the kinds that its object has, so that a bundler leaves the others out.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AttachFailure } from "../attach/AttachError.ts"
import type { Link } from "../attach/Link.ts"
import * as StructOps from "../attach/StructOps.ts"
import { type Codec, CodecError } from "../btf/Codec.ts"
import * as Losses from "../events/Losses.ts"
import * as PerfBuffer from "../events/PerfBuffer.ts"
import type { PerfBufferError } from "../events/perf/PerfError.ts"
import type { PerfItem } from "../events/perf/PerfDecode.ts"
import * as RingReader from "../events/RingReader.ts"
import * as UserRingBuffer from "../events/UserRingBuffer.ts"
import * as ArrayMap from "../maps/ArrayMap.ts"
import * as BloomFilter from "../maps/BloomFilter.ts"
import * as LpmTrie from "../maps/LpmTrie.ts"
import type { MapError } from "../maps/MapError.ts"
import * as PerCpuMap from "../maps/PerCpuMap.ts"
import * as QueueMap from "../maps/QueueMap.ts"
import * as SlotMap from "../maps/SlotMap.ts"
import * as StorageMap from "../maps/StorageMap.ts"
import * as TypedMap from "../maps/TypedMap.ts"
import { MapType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import type * as Globals from "../stages/load/Globals.ts"
import type { MapDescription, MapHandle } from "./Maps.ts"

export type { ArrayMap } from "../maps/ArrayMap.ts"
export type { BloomFilter } from "../maps/BloomFilter.ts"
export type { LpmTrie } from "../maps/LpmTrie.ts"
export type { PerCpuArray, PerCpuMap } from "../maps/PerCpuMap.ts"
export type { QueueMap } from "../maps/QueueMap.ts"
export type { ProgArray } from "../maps/SlotMap.ts"
export type { StorageMap } from "../maps/StorageMap.ts"
export type { TypedMap } from "../maps/TypedMap.ts"

/** Maps of keys and values. */
export const table = <K, V>(
  name: string,
  type: number,
  key: Codec<K>,
  value: Codec<V>
): MapDescription<TypedMap.TypedMap<K, V>> => ({
  name,
  type,
  keySize: key.size,
  valueSize: value.size,
  make: ({ session }, ref) => TypedMap.make(session, ref, { key, value, name })
})

/** Tries of prefixes. */
export const lpmTrie = <P, V>(name: string, key: Codec<P>, value: Codec<V>): MapDescription<LpmTrie.LpmTrie<P, V>> => ({
  name,
  type: MapType.BPF_MAP_TYPE_LPM_TRIE,
  keySize: key.size,
  valueSize: value.size,
  make: ({ session }, ref) => LpmTrie.make(session, ref, { key, value, name })
})

/** Maps of keys and values of which each CPU has one. */
export const perCpu = <K, V>(
  name: string,
  type: number,
  key: Codec<K>,
  value: Codec<V>
): MapDescription<PerCpuMap.PerCpuMap<K, V>> => ({
  name,
  type,
  keySize: key.size,
  valueSize: value.size,
  make: ({ session }, ref) => PerCpuMap.make(session, ref, { key, value, name })
})

/** Arrays. */
export const array = <V>(name: string, value: Codec<V>): MapDescription<ArrayMap.ArrayMap<V>> => ({
  name,
  type: MapType.BPF_MAP_TYPE_ARRAY,
  keySize: 4,
  valueSize: value.size,
  make: ({ session }, ref) => ArrayMap.make(session, ref, { value, name })
})

/** Arrays of which each CPU has one. */
export const perCpuArray = <V>(name: string, value: Codec<V>): MapDescription<PerCpuMap.PerCpuArray<V>> => ({
  name,
  type: MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  keySize: 4,
  valueSize: value.size,
  make: ({ session }, ref) => PerCpuMap.array(session, ref, { value, name })
})

/** Queues and stacks. */
export const queue = <V>(name: string, type: number, value: Codec<V>): MapDescription<QueueMap.QueueMap<V>> => ({
  name,
  type,
  keySize: 0,
  valueSize: value.size,
  make: ({ session }, ref) => QueueMap.make(session, ref, { value, name })
})

/** Bloom filters. */
export const bloomFilter = <V>(name: string, value: Codec<V>): MapDescription<BloomFilter.BloomFilter<V>> => ({
  name,
  type: MapType.BPF_MAP_TYPE_BLOOM_FILTER,
  keySize: 0,
  valueSize: value.size,
  make: ({ session }, ref) => BloomFilter.make(session, ref, { value, name })
})

/** Storage that hangs on tasks, sockets, cgroups or files. */
export const storage = <V>(name: string, type: number, value: Codec<V>): MapDescription<StorageMap.StorageMap<V>> => ({
  name,
  type,
  keySize: 4,
  valueSize: value.size,
  make: ({ session }, ref) => StorageMap.make(session, ref, { value, name })
})

/** Arrays of programs, for tail calls. */
export const progArray = (name: string): MapDescription<SlotMap.ProgArray> => ({
  name,
  type: MapType.BPF_MAP_TYPE_PROG_ARRAY,
  keySize: 4,
  valueSize: 4,
  make: ({ session }, ref) => SlotMap.progArray(session, ref, { name })
})

/** A map of maps, whose maps have handles of type `H`. */
export interface MapOfMaps<K, H> extends SlotMap.MapOfMaps<K> {
  /** The map that is there, for as long as the scope; `undefined` for an empty slot. Needs `CAP_SYS_ADMIN`. */
  readonly inner: (key: K) => Effect.Effect<H | undefined, MapError, Kernel | Scope.Scope>
}

const withInner = <K, H>(
  outer: Effect.Effect<SlotMap.MapOfMaps<K>, MapError>,
  make: (ref: MapRef) => Effect.Effect<H, MapError, Kernel | Scope.Scope>
): Effect.Effect<MapOfMaps<K, H>, MapError> =>
  Effect.map(outer, (slots) => ({
    ...slots,
    inner: (key) =>
      Effect.flatMap(slots.open(key), (ref): Effect.Effect<H | undefined, MapError, Kernel | Scope.Scope> =>
        ref === undefined ? Effect.succeed(undefined) : make(ref))
  }))

/** Arrays of maps. */
export const arrayOfMaps = <H>(name: string, inner: MapDescription<H>): MapDescription<MapOfMaps<number, H>> => ({
  name,
  type: MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  keySize: 4,
  valueSize: 4,
  make: (loaded, ref) =>
    withInner(SlotMap.arrayOfMaps(loaded.session, ref, { name }), (slot) => inner.make(loaded, slot))
})

/** Tables of maps. */
export const hashOfMaps = <K, H>(
  name: string,
  key: Codec<K>,
  inner: MapDescription<H>
): MapDescription<MapOfMaps<K, H>> => ({
  name,
  type: MapType.BPF_MAP_TYPE_HASH_OF_MAPS,
  keySize: key.size,
  valueSize: 4,
  make: (loaded, ref) =>
    withInner(SlotMap.hashOfMaps(loaded.session, ref, { key, name }), (slot) => inner.make(loaded, slot))
})

/** A struct of functions that the kernel calls; `S` has the members that can be changed before the load. */
export interface StructOpsMap<out S extends object = object> extends MapHandle {
  /** Never there: the type of what `maps` of the opened skeleton has. A registered struct is not changed any more. */
  readonly members?: S
  /** Registers it for as long as the scope. */
  readonly attach: Effect.Effect<Link, AttachFailure, Scope.Scope>
}

/** Structs of functions that the kernel calls. */
export const structOps = <S extends object>(
  name: string,
  members: ReadonlyArray<keyof S & string>
): MapDescription<StructOpsMap<S>> => ({
  name,
  members,
  type: MapType.BPF_MAP_TYPE_STRUCT_OPS,
  keySize: 4,
  valueSize: undefined,
  make: (loaded, ref) => Effect.succeed({ name, ref, attach: StructOps.attach(loaded, name) })
})

// Events.

/** What reading takes of a codec. */
type Readable<A> = Pick<Codec<A>, "name" | "size" | "flexible" | "read">

/** A ring buffer whose records are of type `A`. */
export interface RingBufferMap<out A> extends MapHandle {
  /** Opens it for reading, until the scope closes. There must be one reader at a time. */
  readonly open: (
    options?: RingReader.ReaderOptions
  ) => Effect.Effect<
    RingReader.RingReader<A>,
    CallError | RingReader.RingBufferError | Globals.AccessError,
    Kernel | Scope.Scope
  >
  /** Its records as they come. Records that programs count as lost are in `lost` of a reader (see `open`). */
  readonly stream: (
    options?: RingReader.ReaderOptions
  ) => Stream.Stream<A, RingReader.ReadError | Globals.AccessError, Kernel>
}

/** Ring buffers, whose records are of one of these types; without any, bytes. */
export const ringBuffer = <A>(
  name: string,
  types: ReadonlyArray<Readable<A>>
): MapDescription<RingBufferMap<A>> => ({
  name,
  type: MapType.BPF_MAP_TYPE_RINGBUF,
  keySize: 0,
  valueSize: 0,
  make: (loaded, ref) =>
    Effect.sync(() => {
      const open = Effect.fnUntraced(function*(options?: RingReader.ReaderOptions) {
        const losses = yield* Losses.ofMap(loaded, name)
        return yield* RingReader.open(loaded.session, [RingReader.source(ref, types, losses)], options)
      })
      return {
        name,
        ref,
        open,
        stream: (options) => Stream.unwrap(Effect.map(open(options), RingReader.stream))
      }
    })
})

/** A perf event array whose records are of type `A`. */
export interface PerfBufferMap<out A> extends MapHandle {
  /** Opens a buffer for each CPU, until the scope closes. */
  readonly open: (
    options?: PerfBuffer.PerfBufferOptions
  ) => Effect.Effect<PerfBuffer.PerfBuffer, CallError | PerfBufferError, Kernel | Scope.Scope>
  /** The records of a buffer that was opened, what was lost among them. */
  readonly items: (
    buffer: PerfBuffer.PerfBuffer,
    options?: PerfBuffer.StreamOptions
  ) => Stream.Stream<PerfItem<A>, PerfBuffer.PerfStreamError>
  /** The same of a buffer of its own. */
  readonly stream: (
    options?: PerfBuffer.PerfBufferOptions & PerfBuffer.StreamOptions
  ) => Stream.Stream<PerfItem<A>, PerfBuffer.PerfStreamError, Kernel>
}

const notWritten = (): Result.Result<never, CodecError> =>
  Result.fail(new CodecError({ reason: "Value", subject: "record", detail: "records are read only" }))

/** Perf event arrays, whose records are of one of these types; without any, bytes. */
export const perfBuffer = <A>(
  name: string,
  types: ReadonlyArray<Readable<A>>
): MapDescription<PerfBufferMap<A>> => ({
  name,
  type: MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
  keySize: 4,
  valueSize: 4,
  make: ({ session }, ref) =>
    Effect.sync(() => {
      const codecs = types.map((type): Codec<A> => ({ ...type, encode: notWritten }))
      const open = (options?: PerfBuffer.PerfBufferOptions) => PerfBuffer.open(session, ref, options)
      const items = (buffer: PerfBuffer.PerfBuffer, options?: PerfBuffer.StreamOptions) =>
        PerfBuffer.stream(buffer, codecs, options)
      return {
        name,
        ref,
        open,
        items,
        stream: (options) => Stream.unwrap(Effect.map(open(options), (buffer) => items(buffer, options)))
      }
    })
})

/** A user ring buffer that is open: what is sent goes to programs. */
export interface UserRing<in A> {
  readonly ring: UserRingBuffer.UserRingBuffer
  /** Sends a value if there is room for it now. */
  readonly offer: (value: A) => Result.Result<void, UserRingBuffer.UserRingBufferError | CodecError>
  /** Sends a value, and waits until there is room for it. */
  readonly send: (
    value: A,
    options?: UserRingBuffer.WaitOptions
  ) => Effect.Effect<void, CallError | UserRingBuffer.UserRingBufferError | CodecError>
}

/** A user ring buffer whose records are of type `A`. */
export interface UserRingBufferMap<in A> extends MapHandle {
  /** Opens it for writing, until the scope closes. There must be one writer at a time. */
  readonly open: Effect.Effect<UserRing<A>, CallError | UserRingBuffer.UserRingBufferError, Kernel | Scope.Scope>
}

/** User ring buffers. */
export const userRingBuffer = <A>(
  name: string,
  codec: Pick<Codec<A>, "encode">
): MapDescription<UserRingBufferMap<A>> => ({
  name,
  type: MapType.BPF_MAP_TYPE_USER_RINGBUF,
  keySize: 0,
  valueSize: 0,
  make: ({ session }, ref) =>
    Effect.succeed({
      name,
      ref,
      open: Effect.map(UserRingBuffer.open(session, ref), (ring) => ({
        ring,
        offer: (value) => UserRingBuffer.offer(ring, codec, value),
        send: (value, options) => UserRingBuffer.send(ring, codec, value, options)
      }))
    })
})

/** Bytes of any number: the records of buffers that say no type. */
export const anyBytes: Codec<Uint8Array> = {
  name: "bytes",
  size: 0,
  flexible: true,
  read: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, view.byteLength - at).slice(),
  encode: (value) => Result.succeed(value.slice())
}
