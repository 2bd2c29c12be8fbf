/**
 * Goes through the elements of a map while programs go on changing it.
 *
 * - **Hashes** are read bucket by bucket, in batches. A bucket is read under its lock, and elements never change buckets: an
 *   element that is there all the time is met exactly once, whatever is set or removed meanwhile, itself included.
 * - **Arrays** are read index by index: each element exactly once.
 * - **Other maps**, and hashes of kernels without batches, are read key by key. When the key that the kernel should go on from
 *   has been removed it begins again, which is noticed: no key is met twice. An element that is there all the time is met
 *   exactly once, unless it is set anew meanwhile, which can move it to where the walk has been (programs that
 *   change a value in place do not move it).
 *
 * In all of them elements that come or go meanwhile are met once or not at all, and the work has an end: a walk by keys that
 * has met the same ones too often, or more than the map can hold twice over, fails with `Unsteady`.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import { hostIsLittle } from "../services/Kernel/abi/Arena.ts"
import { MapType } from "../services/Kernel/abi/BpfConstants.ts"
import type { MapBatch } from "../services/Kernel/KernelCall.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import { type Half, isCodecError, isErrno, isUnable, type Source } from "./Element.ts"
import { type MapError, mistake } from "./MapError.ts"

/** What a walk needs of a map: the bytes, not what they mean. */
export type Bytes = Pick<Source<unknown, unknown>, "session" | "map" | "name" | "info"> & {
  readonly key: Pick<Half<never>, "size">
  readonly value: Pick<Half<never>, "size">
}

/** Elements, one after another in one piece of memory each. */
export interface Chunk {
  readonly count: number
  readonly keys: Uint8Array
  readonly values: Uint8Array
}

/** The next elements of a walk; `undefined` at its end. A chunk may be empty. */
export type Next = Effect.Effect<Chunk | undefined, MapError>

/** Maps that are read bucket by bucket. */
const hashes: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_LRU_HASH,
  MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_HASH_OF_MAPS
])

/** Maps whose keys are indices, which no change can take away. */
const arrays: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_ARRAY,
  MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS
])

/** Bytes of elements that one batch is made for, and how many elements at most. */
const batchBytes = 1 << 20
const batchElements = 4096

/** How often a bucket is tried that a program on this CPU has locked. */
const patience = 16

/** How many elements a batch of a map asks for. */
export const batchCount = ({ info, key, value }: Bytes): number =>
  Math.max(1, Math.min(batchElements, info.maxEntries, Math.floor(batchBytes / Math.max(1, key.size + value.size))))

/** Whether the elements of a map can be read, perhaps, in batches that survive changes. */
const hasBatches = ({ info }: Bytes): boolean => hashes.has(info.type) || arrays.has(info.type)

/** Starts a walk; `remove` takes elements away as they are met. */
export const start = (bytes: Bytes, remove: boolean = false): Next =>
  hasBatches(bytes) && (!remove || hashes.has(bytes.info.type)) ? byBatches(bytes, remove) : onceByKeys(bytes, remove)

const onceByKeys = (bytes: Bytes, remove: boolean): Next => remove ? takingByKeys(bytes) : byKeys(bytes)

const byBatches = (bytes: Bytes, remove: boolean): Next => {
  const { info, key, map, session, value } = bytes
  let count = batchCount(bytes)
  let after: Uint8Array | undefined
  let over = false
  /** How the walk goes on where the kernel has no batches. */
  let instead: Next | undefined
  let tries = 0
  const most = 2 * info.maxEntries + batchElements
  const next: Next = Effect.suspend(() => {
    if (over) return Effect.succeed(undefined)
    if (instead !== undefined) return instead
    return Effect.catch(
      Effect.map(
        session.call({
          _tag: "MapLookupBatch",
          map,
          remove,
          ...(after === undefined ? {} : { after }),
          count,
          keySize: key.size,
          valueSize: value.size,
          flags: 0n
        }),
        (batch: MapBatch): Chunk => {
          tries = 0
          after = batch.next
          over = after === undefined
          return batch
        }
      ),
      (error): Next => {
        if (isErrno(error, "ENOSPC") && count < most) {
          count = Math.min(most, 2 * count)
          return next
        }
        if (isErrno(error, "EBUSY", "EINTR") && tries++ < patience) return next
        if (after !== undefined || !isUnable(error)) return Effect.fail(error)
        instead = onceByKeys(bytes, remove)
        return instead
      }
    )
  })
  return next
}

/** Elements that are gathered one by one before they are handed on. */
const gathered = 64

/** A key as something that a set can hold. */
const textOf = (key: Uint8Array): string => {
  let text = ""
  for (let at = 0; at < key.length; at += 2) text += String.fromCharCode((key[at] ?? 0) | ((key[at + 1] ?? 0) << 8))
  return text
}

/** A walk's steps from key to key, each key once. */
const keysOf = ({ info, key, map, name, session }: Bytes) => {
  const seen = new Set<string>()
  let before: Uint8Array | undefined
  let again = 0
  const isOver = () => seen.size > 2 * info.maxEntries + 1024 || again > 16 * (seen.size + 64)
  const next: Effect.Effect<Uint8Array | undefined, MapError> = Effect.suspend(() =>
    Effect.flatMap(
      session.call({ _tag: "MapNextKey", map, keySize: key.size, ...(before === undefined ? {} : { key: before }) }),
      (found): typeof next => {
        if (found === undefined) return Effect.succeed(undefined)
        before = found
        const text = textOf(found)
        const isKnown = seen.has(text)
        if (isKnown) again++
        else seen.add(text)
        if (isOver()) {
          const detail =
            `programs change it faster than it is read: ${seen.size} elements were met, and the walk began again ` +
            "and again"
          return Effect.fail(
            mistake("Unsteady", name, detail, "read what is needed by key, or stop the programs first")
          )
        }
        return isKnown ? next : Effect.succeed(found)
      }
    )
  )
  return next
}

const byKeys = (bytes: Bytes): Next => {
  const { info, key, map, session, value } = bytes
  const next = arrays.has(info.type) ? indices(info.maxEntries) : keysOf(bytes)
  return gather(
    bytes,
    next,
    (of) => session.call({ _tag: "MapLookup", map, key: of, valueSize: value.size, flags: 0n }),
    key.size
  )
}

const indices = (length: number): Effect.Effect<Uint8Array | undefined> => {
  let index = 0
  return Effect.sync(() => {
    if (index >= length) return undefined
    const key = new Uint8Array(4)
    new DataView(key.buffer).setUint32(0, index++, hostIsLittle)
    return key
  })
}

/** Elements of the keys that are told one by one. */
const gather = (
  { value }: Bytes,
  next: Effect.Effect<Uint8Array | undefined, MapError>,
  read: (key: Uint8Array) => Effect.Effect<Uint8Array | undefined, CallError>,
  keySize: number
): Next => {
  let over = false
  return Effect.gen(function*() {
    if (over) return undefined
    const keys = new Uint8Array(gathered * keySize)
    const values = new Uint8Array(gathered * value.size)
    let count = 0
    while (count < gathered) {
      const key = yield* next
      if (key === undefined) {
        over = true
        break
      }
      const found = yield* read(key)
      // Gone meanwhile, or an empty slot.
      if (found === undefined) continue
      keys.set(key, count * keySize)
      values.set(found, count * value.size)
      count++
    }
    return { count, keys: keys.subarray(0, count * keySize), values: values.subarray(0, count * value.size) }
  })
}

/** All keys first: taking elements away while one goes from key to key would begin again each time. */
const takingByKeys = (bytes: Bytes): Next => {
  const { key, map, session, value } = bytes
  const step = arrays.has(bytes.info.type) ? indices(bytes.info.maxEntries) : keysOf(bytes)
  let keys: ReadonlyArray<Uint8Array> | undefined
  let at = 0
  const all = Effect.gen(function*() {
    const found: Array<Uint8Array> = []
    for (let next = yield* step; next !== undefined; next = yield* step) found.push(next)
    keys = found
  })
  const next = Effect.flatMap(
    Effect.suspend(() => keys === undefined ? all : Effect.void),
    () => Effect.sync(() => keys?.[at++])
  )
  const read = (of: Uint8Array): Effect.Effect<Uint8Array | undefined, CallError> => {
    const element = { map, key: of, valueSize: value.size, flags: 0n }
    const apart = Effect.flatMap(
      session.call({ _tag: "MapLookup", ...element }),
      (found) =>
        found === undefined ? Effect.succeed(undefined) : Effect.catch(
          Effect.as(session.call({ _tag: "MapDelete", map, key: of }), found),
          (error) => isErrno(error, "ENOENT") ? Effect.succeed(undefined) : Effect.fail(error)
        )
    )
    return Effect.catch(
      session.call({ _tag: "MapLookupAndDelete", ...element }),
      (error) => isUnable(error) ? apart : Effect.fail(error)
    )
  }
  return gather(bytes, next, read, key.size)
}

/**
 * The elements that a walk meets, as values. Each run of the stream is a walk of its own. A value that its schema does not take
 * is the stream's error, after all those before it.
 */
export const stream = <K, V, A>(
  source: Source<K, V>,
  of: (source: Source<K, V>, keys: DataView, values: DataView, index: number) => A,
  remove: boolean = false
): Stream.Stream<A, MapError> =>
  Stream.fromPull(Effect.sync((): Pull.Pull<Arr.NonEmptyReadonlyArray<A>, MapError> => {
    const next = start(source, remove)
    let failed: MapError | undefined
    const pull: Pull.Pull<Arr.NonEmptyReadonlyArray<A>, MapError> = Effect.suspend(() => {
      if (failed !== undefined) return Effect.fail(failed)
      return Effect.flatMap(next, (chunk): typeof pull => {
        if (chunk === undefined) return Cause.done()
        const decoded: Array<A> = []
        try {
          const keys = viewOf(chunk.keys)
          const values = viewOf(chunk.values)
          for (let index = 0; index < chunk.count; index++) decoded.push(of(source, keys, values, index))
        } catch (thrown) {
          if (!isCodecError(thrown)) throw thrown
          failed = thrown
        }
        // Nothing was met, or nothing that could be read: what comes next says which.
        return Arr.isReadonlyArrayNonEmpty(decoded) ? Effect.succeed(decoded) : pull
      })
    })
    return pull
  }))

const viewOf = ({ buffer, byteLength, byteOffset }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength)

/** The elements of a map. */
export const entries = <K, V>(
  source: Source<K, V>,
  remove: boolean = false
): Stream.Stream<readonly [K, V], MapError> =>
  stream(
    source,
    ({ key, value }, keys, values, index): readonly [K, V] => [
      key.read(keys, index * key.size),
      value.read(values, index * value.size)
    ],
    remove
  )

/** The keys of a map. */
export const keys = <K, V>(source: Source<K, V>): Stream.Stream<K, MapError> =>
  stream(source, ({ key }, keys, _, index) => key.read(keys, index * key.size))

/** The values of a map. */
export const values = <K, V>(source: Source<K, V>): Stream.Stream<V, MapError> =>
  stream(source, ({ value }, _, values, index) => value.read(values, index * value.size))

/** How many elements a walk meets. */
export const count = (bytes: Bytes): Effect.Effect<number, MapError> =>
  Effect.gen(function*() {
    const next = start(bytes)
    let sum = 0
    for (let chunk = yield* next; chunk !== undefined; chunk = yield* next) sum += chunk.count
    return sum
  })

/** Removes every element that a walk meets. */
export const clear = (bytes: Bytes): Effect.Effect<void, MapError> =>
  Effect.gen(function*() {
    const next = start(bytes, true)
    for (let chunk = yield* next; chunk !== undefined;) chunk = yield* next
  })
