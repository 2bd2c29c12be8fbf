/**
 * Hashes: `HASH`, `PERCPU_HASH`, `LRU_HASH`, `LRU_PERCPU_HASH`.
 *
 * Semantics: `kernel/bpf/hashtab.c`. Elements are numbered by place, with one number per CPU in per-CPU hashes. As in
 * the kernel, an update of an element of a `HASH` or `LRU_HASH` puts a new element in the place of the old one, so a
 * pointer that a program got before goes on showing the old value; per-CPU hashes are updated in place. Keys are listed
 * in the order of their insertion; in the kernel their order depends on a random seed.
 */
import { MapFlag, MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import * as HashTable from "./HashTable.ts"
import * as Lru from "./Lru.ts"
import { BPF_EXIST, BPF_NOEXIST, copyBytes, type MapShape } from "./MapModel.ts"
import * as Slabs from "./Slabs.ts"

/** The elements of a hash. */
export interface HashStore {
  readonly _tag: "Hash"
  readonly shape: MapShape
  readonly table: HashTable.HashTable
  readonly values: Slabs.Slabs
  readonly lru: Lru.Lru | undefined
  readonly perCpu: boolean
  /** Elements that the map may have: its maximum, or what memory allows if that is less. */
  readonly places: number
}

/** An empty hash of this shape; it refuses elements beyond `places`. */
export const make = (shape: MapShape, places: number, seed: number): HashStore => {
  const { cpus, valueStride } = shape
  const { flags, keySize, maxEntries, type } = shape.attr
  const perCpu = type === MapType.BPF_MAP_TYPE_PERCPU_HASH || type === MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH
  const isLru = type === MapType.BPF_MAP_TYPE_LRU_HASH || type === MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH
  // One more place, for the new element of an update that replaces the old one in a full map.
  const table = HashTable.make(keySize, places + 1, seed)
  const values = Slabs.make(valueStride * cpus, places + 1)
  const own = (flags & MapFlag.BPF_F_NO_COMMON_LRU) !== 0
  const lru = isLru
    ? Lru.make(maxEntries, shape.possibleCpus, own, (place) => HashTable.remove(table, place))
    : undefined
  return { _tag: "Hash", shape, table, values, lru, perCpu, places }
}

/** The element of the key at `at` for this CPU as a program's look-up finds it, or -1. */
export const find = (store: HashStore, key: Uint8Array, at: number, cpu: number): number => {
  const { table } = store
  const place = HashTable.find(table, key, at, HashTable.hashOf(table, key, at))
  if (place < 0) return -1
  if (store.lru !== undefined) Lru.mark(store.lru, place)
  return store.perCpu ? place * store.shape.cpus + cpu : place
}

/** The values of a key, of all CPUs, in memory of their own, as user space reads them; or `-ENOENT`. */
export const lookup = (store: HashStore, key: Uint8Array): Uint8Array | number => {
  const { table } = store
  const place = HashTable.find(table, key, 0, HashTable.hashOf(table, key, 0))
  return place < 0 ? -numbers.ENOENT : valueOf(store, place)
}

const valueOf = (store: HashStore, place: number): Uint8Array => {
  const start = Slabs.offsetOf(store.values, place)
  return Slabs.slabOf(store.values, place).slice(start, start + store.shape.userValueSize)
}

/** What flags say of a key that has an element or has none: 0 or a negative error number. */
const checkFlags = (exists: boolean, flags: number): number =>
  exists && flags === BPF_NOEXIST ? -numbers.EEXIST : !exists && flags === BPF_EXIST ? -numbers.ENOENT : 0

/**
 * Sets the value of one CPU (others of a new element become 0), or with `all` those of all CPUs. `cpu` is the one that
 * does it. Answers 0 or a negative error number; a full LRU hash evicts instead.
 */
export const update = (
  store: HashStore,
  key: Uint8Array,
  keyAt: number,
  value: Uint8Array,
  valueAt: number,
  flags: number,
  cpu: number,
  all: boolean
): number => {
  if (flags > BPF_EXIST) return -numbers.EINVAL
  const { lru, table } = store
  const hash = HashTable.hashOf(table, key, keyAt)
  // An LRU hash takes the new place first, which may evict anything, the element of this very key included.
  let place = -1
  if (lru !== undefined && !(store.perCpu && flags === BPF_EXIST)) {
    place = Lru.pop(lru, cpu)
    if (place < 0) return -numbers.ENOMEM
  }
  const old = HashTable.find(table, key, keyAt, hash)
  const refused = checkFlags(old >= 0, flags)
  if (refused !== 0) {
    if (lru !== undefined && place >= 0) Lru.give(lru, place)
    return refused
  }
  if (old >= 0 && store.perCpu) {
    writeValue(store, old, value, valueAt, cpu, all)
    if (lru !== undefined) {
      Lru.mark(lru, old)
      if (place >= 0) Lru.give(lru, place)
    }
    return 0
  }
  if (lru === undefined) {
    if (old < 0 && table.count >= store.shape.attr.maxEntries) return -numbers.E2BIG
    if (old < 0 && table.count >= store.places) return -numbers.ENOMEM
    place = HashTable.take(table)
  } else reservePlaces(table, place)
  if (old < 0 && store.perCpu && !all) clearValue(store, place)
  writeValue(store, place, value, valueAt, cpu, all)
  if (old < 0) HashTable.insert(table, place, key, keyAt, hash)
  else {
    HashTable.replace(table, old, place)
    if (lru !== undefined) Lru.mark(lru, place)
    giveBack(store, old)
  }
  return 0
}

/** Makes room for a place that was chosen by the LRU lists, which number places as they need them. */
const reservePlaces = (table: HashTable.HashTable, place: number): void => {
  while (table.used <= place) HashTable.take(table)
}

const giveBack = (store: HashStore, place: number): void => {
  if (store.lru === undefined) HashTable.give(store.table, place)
  else Lru.give(store.lru, place)
}

const writeValue = (
  store: HashStore,
  place: number,
  value: Uint8Array,
  valueAt: number,
  cpu: number,
  all: boolean
): void => {
  const { attr, userValueSize, valueStride } = store.shape
  const start = Slabs.offsetOf(store.values, place)
  const slab = Slabs.slabOf(store.values, place)
  if (all || !store.perCpu) copyBytes(value, valueAt, slab, start, userValueSize)
  else copyBytes(value, valueAt, slab, start + cpu * valueStride, attr.valueSize)
}

const clearValue = (store: HashStore, place: number): void => {
  const start = Slabs.offsetOf(store.values, place)
  Slabs.slabOf(store.values, place).fill(0, start, start + store.shape.userValueSize)
}

/** Deletes the element of a key. Answers 0 or `-ENOENT`. */
export const remove = (store: HashStore, key: Uint8Array, at: number): number => {
  const { table } = store
  const place = HashTable.find(table, key, at, HashTable.hashOf(table, key, at))
  if (place < 0) return -numbers.ENOENT
  HashTable.remove(table, place)
  giveBack(store, place)
  return 0
}

/** Reads and deletes the element of a key. */
export const lookupAndDelete = (store: HashStore, key: Uint8Array): Uint8Array | number => {
  const value = lookup(store, key)
  if (typeof value !== "number") remove(store, key, 0)
  return value
}

/** The key after this one in the order of insertion, the first one if there is no such key; `-ENOENT` after the last. */
export const nextKey = (store: HashStore, key: Uint8Array | undefined): Uint8Array | number => {
  const place = HashTable.following(store.table, key)
  return place < 0 ? -numbers.ENOENT : HashTable.keyAt(store.table, place)
}
