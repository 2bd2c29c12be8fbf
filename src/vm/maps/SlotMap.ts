/**
 * Maps whose values stand for something else: `PROG_ARRAY`, `ARRAY_OF_MAPS`, `PERF_EVENT_ARRAY`, `HASH_OF_MAPS`.
 *
 * User space writes descriptors and reads ids; here it hands over what the descriptor stands for, as a `Slot`.
 *
 * Semantics: `kernel/bpf/arraymap.c` (`bpf_fd_array_map_*`), `kernel/bpf/hashtab.c` (`bpf_fd_htab_map_*`).
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import * as HashTable from "./HashTable.ts"
import { BPF_ANY, BPF_EXIST, BPF_NOEXIST, type MapShape, readU32, type Slot, u32Bytes } from "./MapModel.ts"

/** The slots of an array. Only those that hold something take memory. */
export interface SlotArrayStore<H> {
  readonly _tag: "SlotArray"
  readonly shape: MapShape
  readonly slots: Map<number, Slot<H>>
  /** Whether user space may read the ids. */
  readonly readable: boolean
}

/** The slots of a hash. */
export interface SlotHashStore<H> {
  readonly _tag: "SlotHash"
  readonly shape: MapShape
  readonly table: HashTable.HashTable
  readonly slots: Array<Slot<H> | undefined>
  readonly places: number
}

/** An empty array of slots. */
export const makeArray = <H>(shape: MapShape, readable: boolean): SlotArrayStore<H> => ({
  _tag: "SlotArray",
  shape,
  slots: new Map(),
  readable
})

/** An empty hash of slots; it refuses elements beyond `places`. */
export const makeHash = <H>(shape: MapShape, places: number, seed: number): SlotHashStore<H> => ({
  _tag: "SlotHash",
  shape,
  table: HashTable.make(shape.attr.keySize, places, seed),
  slots: [],
  places
})

/** What the slot of an array holds. */
export const at = <H>(store: SlotArrayStore<H>, index: number): Slot<H> | undefined => store.slots.get(index)

/** What the slot of the key at `at` holds. */
export const find = <H>(
  store: SlotArrayStore<H> | SlotHashStore<H>,
  key: Uint8Array,
  at: number
): Slot<H> | undefined => {
  if (store._tag === "SlotArray") return store.slots.get(readU32(key, at))
  const place = HashTable.find(store.table, key, at, HashTable.hashOf(store.table, key, at))
  return place < 0 ? undefined : store.slots[place]
}

/** The id of what a slot holds, as 4 bytes; `-ENOENT` for an empty one, `-ENOTSUPP` where there are no ids. */
export const lookup = <H>(store: SlotArrayStore<H> | SlotHashStore<H>, key: Uint8Array): Uint8Array | number => {
  if (store._tag === "SlotArray" && !store.readable) return -numbers.ENOTSUPP
  const slot = find(store, key, 0)
  return slot === undefined ? -numbers.ENOENT : u32Bytes(slot.id)
}

/** Fills a slot of an array; `slot` is a negative error number where the descriptor stands for nothing that fits. */
export const updateArray = <H>(
  store: SlotArrayStore<H>,
  key: Uint8Array,
  slot: Slot<H> | number,
  flags: number
): number => {
  if (flags !== BPF_ANY) return -numbers.EINVAL
  const index = readU32(key, 0)
  if (index >= store.shape.attr.maxEntries) return -numbers.E2BIG
  if (typeof slot === "number") return slot
  store.slots.set(index, slot)
  return 0
}

/** Fills a slot of a hash; `slot` is a negative error number where the descriptor stands for nothing that fits. */
export const updateHash = <H>(
  store: SlotHashStore<H>,
  key: Uint8Array,
  slot: Slot<H> | number,
  flags: number
): number => {
  if (typeof slot === "number") return slot
  if (flags > BPF_EXIST) return -numbers.EINVAL
  const { table } = store
  const hash = HashTable.hashOf(table, key, 0)
  const old = HashTable.find(table, key, 0, hash)
  if (old >= 0) {
    if (flags === BPF_NOEXIST) return -numbers.EEXIST
    store.slots[old] = slot
    return 0
  }
  if (flags === BPF_EXIST) return -numbers.ENOENT
  if (table.count >= store.shape.attr.maxEntries) return -numbers.E2BIG
  if (table.count >= store.places) return -numbers.ENOMEM
  const place = HashTable.take(table)
  HashTable.insert(table, place, key, 0, hash)
  store.slots[place] = slot
  return 0
}

/** Empties the slot of a key. */
export const remove = <H>(store: SlotArrayStore<H> | SlotHashStore<H>, key: Uint8Array): number => {
  if (store._tag === "SlotArray") {
    const index = readU32(key, 0)
    if (index >= store.shape.attr.maxEntries) return -numbers.E2BIG
    return store.slots.delete(index) ? 0 : -numbers.ENOENT
  }
  const { table } = store
  const place = HashTable.find(table, key, 0, HashTable.hashOf(table, key, 0))
  if (place < 0) return -numbers.ENOENT
  HashTable.remove(table, place)
  HashTable.give(table, place)
  store.slots[place] = undefined
  return 0
}

/** Everything that slots hold, each as often as it stands in one: what the map keeps alive. */
export const held = <H>(store: SlotArrayStore<H> | SlotHashStore<H>): ReadonlyArray<Slot<H>> =>
  [...store.slots.values()].filter((slot) => slot !== undefined)

/** The key after this one in the order of insertion, the first one if there is no such key; `-ENOENT` after the last. */
export const nextKey = <H>(store: SlotHashStore<H>, key: Uint8Array | undefined): Uint8Array | number => {
  const place = HashTable.following(store.table, key)
  return place < 0 ? -numbers.ENOENT : HashTable.keyAt(store.table, place)
}
