/**
 * Where packets are redirected: `DEVMAP`, `DEVMAP_HASH` and `CPUMAP`, as plain storage.
 *
 * A value is 4 bytes, an interface index or the length of a CPU's queue, or 8 with a program to run there: user space
 * writes its descriptor and reads its id. Which interfaces there are is the host's to say.
 *
 * Semantics: `kernel/bpf/devmap.c`, `kernel/bpf/cpumap.c`.
 */
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import { nextIndex } from "./ArrayMap.ts"
import * as HashTable from "./HashTable.ts"
import { BPF_EXIST, BPF_NOEXIST, type MapShape, readU32, type Slot, writeU32 } from "./MapModel.ts"
import * as Slabs from "./Slabs.ts"

/** The packets that a CPU's queue may hold at most. */
const maximumQueue = 16384

/** An element: interface index or queue length, and perhaps a program. */
export interface Target<H> {
  readonly number: number
  readonly program: Slot<H> | undefined
}

/** The elements of a map of devices or CPUs. */
export interface DeviceStore<H> {
  readonly _tag: "Device"
  readonly shape: MapShape
  readonly kind: "Devices" | "DevicesByKey" | "Cpus"
  readonly table: HashTable.HashTable
  /** Per place of the table: what it stands for, and the value as programs that look it up see it. */
  readonly values: Slabs.Slabs
  readonly targets: Array<Target<H> | undefined>
  readonly hasDevice: (index: number) => boolean
}

/** An empty map of devices or CPUs. */
export const make = <H>(
  shape: MapShape,
  hasDevice: (index: number) => boolean,
  seed: number
): DeviceStore<H> => {
  const { type } = shape.attr
  return {
    _tag: "Device",
    shape,
    kind: type === MapType.BPF_MAP_TYPE_CPUMAP
      ? "Cpus"
      : type === MapType.BPF_MAP_TYPE_DEVMAP
      ? "Devices"
      : "DevicesByKey",
    table: HashTable.make(4, shape.attr.maxEntries, seed),
    values: Slabs.make(8, shape.attr.maxEntries),
    targets: [],
    hasDevice
  }
}

/** The place of the key at `at`, or -1. */
export const placeOf = <H>(store: DeviceStore<H>, key: Uint8Array, at: number): number =>
  HashTable.find(store.table, key, at, HashTable.hashOf(store.table, key, at))

/** What the key at `at` stands for. */
export const find = <H>(store: DeviceStore<H>, key: Uint8Array, at: number): Target<H> | undefined =>
  store.targets[placeOf(store, key, at)]

/** The value of a key, in memory of its own; or `-ENOENT`. */
export const lookup = <H>(store: DeviceStore<H>, key: Uint8Array): Uint8Array | number => {
  const place = placeOf(store, key, 0)
  if (place < 0) return -numbers.ENOENT
  const start = Slabs.offsetOf(store.values, place)
  return Slabs.slabOf(store.values, place).slice(start, start + store.shape.attr.valueSize)
}

const drop = <H>(store: DeviceStore<H>, place: number): void => {
  HashTable.remove(store.table, place)
  HashTable.give(store.table, place)
  store.targets[place] = undefined
}

/**
 * Sets the value of a key. `program` is what the descriptor behind the number stands for, a negative error number where
 * it stands for nothing that fits, undefined where the value names none.
 */
export const update = <H>(
  store: DeviceStore<H>,
  key: Uint8Array,
  value: Uint8Array,
  program: Slot<H> | number | undefined,
  flags: number
): number => {
  const { attr, possibleCpus } = store.shape
  if (flags > BPF_EXIST) return -numbers.EINVAL
  const index = readU32(key, 0)
  const number = readU32(value, 0)
  const old = placeOf(store, key, 0)
  if (store.kind === "DevicesByKey") {
    if (number === 0) return -numbers.EINVAL
    if (old >= 0 && flags === BPF_NOEXIST) return -numbers.EEXIST
  } else {
    if (index >= attr.maxEntries) return -numbers.E2BIG
    if (flags === BPF_NOEXIST) return -numbers.EEXIST
  }
  if (store.kind === "Cpus") {
    if (number > maximumQueue) return -numbers.EOVERFLOW
    if (index >= possibleCpus) return -numbers.ENODEV
  }
  if (number === 0) {
    if (store.kind === "Devices" && program !== undefined) return -numbers.EINVAL
    if (old >= 0) drop(store, old)
    return 0
  }
  if (store.kind !== "Cpus" && !store.hasDevice(number)) return -numbers.EINVAL
  if (typeof program === "number") return program
  if (old < 0 && store.table.count >= attr.maxEntries) return -numbers.E2BIG
  const place = old >= 0 ? old : HashTable.take(store.table)
  if (old < 0) HashTable.insert(store.table, place, key, 0, HashTable.hashOf(store.table, key, 0))
  const slab = Slabs.slabOf(store.values, place)
  const start = Slabs.offsetOf(store.values, place)
  writeU32(slab, start, number)
  writeU32(slab, start + 4, program?.id ?? 0)
  store.targets[place] = { number, program }
  return 0
}

/** Deletes an element. Arrays answer 0 for an empty one as well. */
export const remove = <H>(store: DeviceStore<H>, key: Uint8Array): number => {
  const place = placeOf(store, key, 0)
  if (store.kind !== "DevicesByKey" && readU32(key, 0) >= store.shape.attr.maxEntries) return -numbers.EINVAL
  if (place < 0) return store.kind === "DevicesByKey" ? -numbers.ENOENT : 0
  drop(store, place)
  return 0
}

/** The key after this one: the next index of an array, the next key of a hash in the order of insertion. */
export const nextKey = <H>(store: DeviceStore<H>, key: Uint8Array | undefined): Uint8Array | number => {
  if (store.kind !== "DevicesByKey") return nextIndex(store.shape.attr.maxEntries, key)
  const place = HashTable.following(store.table, key)
  return place < 0 ? -numbers.ENOENT : HashTable.keyAt(store.table, place)
}

/** The programs of all elements: what the map keeps alive. */
export const held = <H>(store: DeviceStore<H>): ReadonlyArray<Slot<H>> =>
  store.targets.flatMap((target) => target?.program === undefined ? [] : [target.program])
