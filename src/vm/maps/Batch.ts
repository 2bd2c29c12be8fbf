/**
 * What user space does with many elements at once: the batch commands of bpf(2).
 *
 * Semantics: `kernel/bpf/syscall.c` (`generic_map_*_batch`) for arrays and tries, `kernel/bpf/hashtab.c` for hashes, which give
 * whole buckets: an element that is there all the time is given once, whatever is removed meanwhile.
 */
import * as Result from "effect/Result"
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import * as HashTable from "./HashTable.ts"
import { powerOfTwoAbove, readU32, u32Bytes } from "./MapModel.ts"
import type { SimulatedMap } from "./SimulatedMap.ts"
import { type MapFailure, refusal, userDelete, userLookup, userNextKey, userUpdate } from "./UserSide.ts"

/** Elements that a batch has given: keys and values one after another. */
export interface Batch {
  readonly count: number
  readonly keys: Uint8Array
  readonly values: Uint8Array
  /** Where the next one begins; `undefined` after the last element. */
  readonly next: Uint8Array | undefined
}

/** What a batch of changes came to: how many elements were done, and what stopped it before the last. */
export interface Changed {
  readonly done: number
  readonly failure: MapFailure | undefined
}

/** What a batch is asked for. */
export interface LookupRequest {
  /** Whether elements are taken away as they are read. */
  readonly remove: boolean
  /** Where the last batch has ended. */
  readonly after: Uint8Array | undefined
  /** How many elements there is room for: 1 or more. */
  readonly count: number
  readonly flags: bigint
}

/** What the kernel's map types let be done in batches, but for those with tables of buckets. */
const generic: ReadonlyMap<number, ReadonlySet<"lookup" | "update" | "delete">> = new Map([
  [MapType.BPF_MAP_TYPE_ARRAY, new Set(["lookup", "update"] as const)],
  [MapType.BPF_MAP_TYPE_PERCPU_ARRAY, new Set(["lookup", "update"] as const)],
  [MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, new Set(["lookup", "update"] as const)],
  [MapType.BPF_MAP_TYPE_LPM_TRIE, new Set(["lookup", "update", "delete"] as const)]
])

const tableOf = (map: SimulatedMap): HashTable.HashTable | undefined =>
  map.store._tag === "Hash" || map.store._tag === "SlotHash" ? map.store.table : undefined

const takes = (map: SimulatedMap, what: "lookup" | "update" | "delete"): boolean =>
  tableOf(map) !== undefined || generic.get(map.shape.attr.type)?.has(what) === true

const unable = (map: SimulatedMap, operation: string): Result.Result<never, MapFailure> =>
  Result.fail(refusal(map, operation) ?? "ENOTSUPP")

/**
 * Reads the next elements (`BPF_MAP_LOOKUP_BATCH`), and removes them where that is asked for
 * (`BPF_MAP_LOOKUP_AND_DELETE_BATCH`). `ENOSPC` where more elements share a bucket than there is room for.
 */
export const userLookupBatch = (
  map: SimulatedMap,
  request: LookupRequest
): Result.Result<Batch, MapFailure> => {
  const { flags, remove } = request
  if (!map.userReads || (remove && (!map.userWrites || map.frozen))) return Result.fail("EPERM")
  const table = tableOf(map)
  if (!takes(map, "lookup") || (remove && table === undefined)) return unable(map, "MapLookupBatch")
  // No map here has a lock.
  if (flags !== 0n) return Result.fail("EINVAL")
  return table === undefined ? byKeys(map, request) : byBuckets(map, table, request)
}

/** Memory for the elements of a batch. */
const roomFor = (map: SimulatedMap, count: number) => {
  const { attr, userValueSize } = map.shape
  const keys: Array<Uint8Array> = []
  const values: Array<Uint8Array> = []
  return {
    keys,
    add: (key: Uint8Array, value: Uint8Array): boolean => {
      keys.push(key)
      values.push(value.slice())
      return keys.length < count
    },
    batch: (next: Uint8Array | undefined): Batch => {
      const flatKeys = new Uint8Array(keys.length * attr.keySize)
      const flatValues = new Uint8Array(keys.length * userValueSize)
      for (const [index, key] of keys.entries()) flatKeys.set(key, index * attr.keySize)
      for (const [index, value] of values.entries()) flatValues.set(value, index * userValueSize)
      return { count: keys.length, keys: flatKeys, values: flatValues, next }
    }
  }
}

/** A place where a batch may end has at least 4 bytes. */
const cursorOf = (key: Uint8Array): Uint8Array => {
  const cursor = new Uint8Array(Math.max(4, key.length))
  cursor.set(key)
  return cursor
}

const byKeys = (map: SimulatedMap, { after, count }: LookupRequest): Result.Result<Batch, MapFailure> => {
  const room = roomFor(map, count)
  let before: Uint8Array | undefined = after?.slice(0, map.shape.attr.keySize)
  for (;;) {
    const next = userNextKey(map, before)
    if (Result.isFailure(next)) {
      return next.failure === "ENOENT" ? Result.succeed(room.batch(undefined)) : Result.fail(next.failure)
    }
    const key = next.success
    before = key
    const value = userLookup(map, key)
    // An empty slot has a key, and nothing behind it.
    if (Result.isFailure(value)) {
      if (value.failure !== "ENOENT") return Result.fail(value.failure)
    } else if (!room.add(key, value.success)) return Result.succeed(room.batch(cursorOf(key)))
  }
}

/** Places are counted up to 2^29, so that bucket and place fit a double. */
const placeLimit = 2 ** 29

const byBuckets = (
  map: SimulatedMap,
  table: HashTable.HashTable,
  { after, count, remove }: LookupRequest
): Result.Result<Batch, MapFailure> => {
  const buckets = powerOfTwoAbove(map.shape.attr.maxEntries)
  const first = after === undefined ? 0 : readU32(after, 0)
  if (first >= buckets) return Result.succeed(roomFor(map, count).batch(undefined))
  const order = new Float64Array(table.count)
  let living = 0
  for (let place = table.first; place >= 0; place = table.after[place] ?? -1) {
    const bucket = (table.hashes[place] ?? 0) & (buckets - 1)
    if (bucket >= first) order[living++] = bucket * placeLimit + place
  }
  const sorted = order.subarray(0, living).sort()
  const bucketAt = (index: number): number => Math.floor((sorted[index] ?? 0) / placeLimit)
  let taken = 0
  while (taken < living) {
    let end = taken
    while (end < living && bucketAt(end) === bucketAt(taken)) end++
    if (end > count) break
    taken = end
  }
  if (taken === 0 && living > 0) return Result.fail("ENOSPC")
  const room = roomFor(map, count)
  for (const each of sorted.subarray(0, taken)) {
    const key = HashTable.keyAt(table, each % placeLimit)
    const value = userLookup(map, key)
    if (Result.isSuccess(value)) room.add(key, value.success)
  }
  // Reading moves nothing; removing does, so it waits until all is read.
  if (remove) { for (const key of room.keys) userDelete(map, key) }
  return Result.succeed(room.batch(taken < living ? u32Bytes(bucketAt(taken)) : undefined))
}

/** Does something to one element after another until one is refused. */
const each = (
  count: number,
  change: (index: number) => Result.Result<void, MapFailure>
): Changed => {
  for (let index = 0; index < count; index++) {
    const changed = change(index)
    if (Result.isFailure(changed)) return { done: index, failure: changed.failure }
  }
  return { done: count, failure: undefined }
}

const refused = (failure: MapFailure): Changed => ({ done: 0, failure })

/** Sets elements (`BPF_MAP_UPDATE_BATCH`), which have keys and values of the map's sizes. No flag but the lock's is taken. */
export const userUpdateBatch = (
  map: SimulatedMap,
  count: number,
  keys: Uint8Array,
  values: Uint8Array,
  flags: bigint
): Changed => {
  const { attr, userValueSize } = map.shape
  if (!map.userWrites || map.frozen) return refused("EPERM")
  if (!takes(map, "update")) return refused(refusal(map, "MapUpdateBatch") ?? "ENOTSUPP")
  if (flags !== 0n) return refused("EINVAL")
  return each(count, (index) =>
    userUpdate(
      map,
      keys.subarray(index * attr.keySize, (index + 1) * attr.keySize),
      values.subarray(index * userValueSize, (index + 1) * userValueSize)
    ))
}

/** Deletes elements (`BPF_MAP_DELETE_BATCH`) until one is missing. `deleting` deletes one. */
export const userDeleteBatch = (
  map: SimulatedMap,
  count: number,
  keys: Uint8Array,
  flags: bigint,
  deleting: (key: Uint8Array) => Result.Result<void, MapFailure> = (key) => userDelete(map, key)
): Changed => {
  const { attr } = map.shape
  if (!map.userWrites || map.frozen) return refused("EPERM")
  if (!takes(map, "delete")) return refused(refusal(map, "MapDeleteBatch") ?? "ENOTSUPP")
  if (flags !== 0n) return refused("EINVAL")
  return each(count, (index) => deleting(keys.subarray(index * attr.keySize, (index + 1) * attr.keySize)))
}
