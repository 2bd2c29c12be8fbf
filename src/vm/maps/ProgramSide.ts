/**
 * What programs do with maps: the helpers for elements, queues, iteration, slots and events.
 *
 * Answers are those of the helpers: 0 or more, or a negative error number. Keys and values are read at an offset of the
 * bytes that are given, which the caller has checked to be long enough; no memory is allocated on the way to an element.
 * Flags are numbers; give `Infinity` for 64-bit flags with bits beyond 2^53, since all such are refused. The verifier's
 * part (which helper goes with which type, who may write) is not repeated here, except that nothing is written to a map
 * that is read-only for programs. Types of which only the creation is simulated answer `-ENOTSUPP`: ask `refusal` when a
 * program that uses the map is loaded.
 */
import { MapFlag } from "../../services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import * as ArrayMap from "./ArrayMap.ts"
import * as BloomFilter from "./BloomFilter.ts"
import * as DeviceMap from "./DeviceMap.ts"
import * as HashMap from "./HashMap.ts"
import * as HashTable from "./HashTable.ts"
import * as LpmTrie from "./LpmTrie.ts"
import { type Slot, u32Bytes } from "./MapModel.ts"
import * as PerfEvents from "./PerfEvents.ts"
import * as QueueStack from "./QueueStack.ts"
import type { RingStore } from "./RingBuffer.ts"
import type { SimulatedMap } from "./SimulatedMap.ts"
import * as Slabs from "./Slabs.ts"
import * as SlotMap from "./SlotMap.ts"

/** Whether programs may read and write the values of a map. */
export const programAccess = (map: SimulatedMap): { readonly reads: boolean; readonly writes: boolean } => ({
  reads: (map.shape.attr.flags & MapFlag.BPF_F_WRONLY_PROG) === 0,
  writes: (map.shape.attr.flags & MapFlag.BPF_F_RDONLY_PROG) === 0
})

const isReadOnly = (map: SimulatedMap): boolean => (map.shape.attr.flags & MapFlag.BPF_F_RDONLY_PROG) !== 0

/**
 * `bpf_map_lookup_elem` and `bpf_map_lookup_percpu_elem`: the number of the element of the key at `at`, of this CPU's
 * where each has one; -1 if there is none. An LRU hash notes that it was used.
 */
export const helperLookup = (map: SimulatedMap, key: Uint8Array, at: number, cpu: number): number => {
  const { store } = map
  switch (store._tag) {
    case "Array":
      return cpu < store.shape.cpus
        ? ArrayMap.find(store, key, at, cpu)
        : store.shape.cpus === 1
        ? ArrayMap.find(store, key, at, 0)
        : -1
    case "Hash":
      return cpu < store.shape.possibleCpus ? HashMap.find(store, key, at, cpu) : -1
    case "Trie":
      return LpmTrie.find(store, key, at)
    case "Device":
      return DeviceMap.placeOf(store, key, at)
    default:
      return -1
  }
}

/** The values of a map that programs can have pointers to. */
const valuesOf = ({ store }: SimulatedMap): Slabs.Slabs | undefined =>
  store._tag === "Array" || store._tag === "Hash" || store._tag === "Trie" || store._tag === "Device"
    ? store.values
    : undefined

/** The value of an element: the same view at every call, an empty one for a number that is none. */
export const elementBytes = (map: SimulatedMap, element: number): Uint8Array => {
  const values = valuesOf(map)
  if (values === undefined) return new Uint8Array(0)
  const { attr, cpus } = map.shape
  const place = cpus === 1 ? element : Math.floor(element / cpus)
  if (!(place >= 0 && place < values.total)) return new Uint8Array(0)
  return Slabs.viewOf(values, place, element - place * cpus, cpus, attr.valueSize)
}

/**
 * A run of elements whose values lie in one piece of memory, value `n` at byte `(n - first) * stride` of `bytes`. It
 * never moves and never changes its size, so it can be made a region of a program's memory once.
 */
export interface ElementSlab {
  /** 0 or more; elements `number * perSlab` and following are in this slab, `perSlab` being what `elementsPerSlab` says. */
  readonly number: number
  readonly bytes: Uint8Array
  readonly first: number
  readonly count: number
  /** Bytes from one value to the next, and of one value. */
  readonly stride: number
  readonly size: number
}

/** How many elements a slab of this map has, the last one excepted: element `n` is in slab `floor(n / elementsPerSlab)`. */
export const elementsPerSlab = (map: SimulatedMap): number => ((valuesOf(map)?.mask ?? 0) + 1) * map.shape.cpus

/** The slab that an element is in; undefined for maps without elements, and for a number that is none. */
export const elementSlab = (map: SimulatedMap, element: number): ElementSlab | undefined => {
  const values = valuesOf(map)
  const { attr, cpus } = map.shape
  if (values === undefined || !(element >= 0 && element < values.total * cpus)) return undefined
  const perSlab = elementsPerSlab(map)
  const number = Math.floor(element / perSlab)
  const bytes = Slabs.slabOf(values, number * (values.mask + 1))
  const stride = values.stride / cpus
  const first = number * perSlab
  // Memory that can be mapped ends with a page, not with a value.
  const count = Math.min(Math.floor(bytes.length / stride), values.total * cpus - first)
  return { number, bytes, first, count, stride, size: attr.valueSize }
}

/** The key of an element, in memory of its own. */
export const elementKey = (map: SimulatedMap, element: number): Uint8Array => {
  const { store } = map
  const index = Math.floor(element / map.shape.cpus)
  if (store._tag === "Hash" || store._tag === "Device") return HashTable.keyAt(store.table, index)
  return store._tag === "Trie" ? LpmTrie.keyOf(store, element) : u32Bytes(index)
}

/** The element that an address inside global data belongs to: that of index 0. */
export const directElement = (map: SimulatedMap): number => map.store._tag === "Array" ? 0 : -1

/** `bpf_map_update_elem`, on this CPU: of a per-CPU map its value alone is set, those of others in a new element are 0. */
export const helperUpdate = (
  map: SimulatedMap,
  key: Uint8Array,
  keyAt: number,
  value: Uint8Array,
  valueAt: number,
  flags: number,
  cpu: number
): number => {
  if (isReadOnly(map)) return -numbers.EACCES
  const { store } = map
  switch (store._tag) {
    case "Array":
      return ArrayMap.update(store, key, keyAt, value, valueAt, flags, store.shape.cpus === 1 ? 0 : cpu)
    case "Hash":
      return HashMap.update(store, key, keyAt, value, valueAt, flags, cpu, false)
    case "Trie":
      return LpmTrie.update(store, key, keyAt, value, valueAt, flags)
    case "Queue":
    case "Bloom":
      return -numbers.EINVAL
    default:
      return -numbers.ENOTSUPP
  }
}

/** `bpf_map_delete_elem`: 0, `-ENOENT` if there is none, `-EINVAL` for arrays. */
export const helperDelete = (map: SimulatedMap, key: Uint8Array, at: number): number => {
  if (isReadOnly(map)) return -numbers.EACCES
  const { store } = map
  switch (store._tag) {
    case "Hash":
      return HashMap.remove(store, key, at)
    case "Trie":
      return LpmTrie.remove(store, key, at)
    case "Array":
    case "Queue":
      return -numbers.EINVAL
    case "Bloom":
      return -numbers.EOPNOTSUPP
    default:
      return -numbers.ENOTSUPP
  }
}

/** `bpf_map_push_elem` on a queue, stack or bloom filter. */
export const helperPush = (map: SimulatedMap, value: Uint8Array, at: number, flags: number): number => {
  if (isReadOnly(map)) return -numbers.EACCES
  const { store } = map
  if (store._tag === "Queue") return QueueStack.push(store, value, at, flags)
  return store._tag === "Bloom" ? BloomFilter.push(store, value, at, flags) : -numbers.ENOTSUPP
}

/** `bpf_map_pop_elem`: the value goes to `into` at `at`, zeros and `-ENOENT` if there is none. */
export const helperPop = (map: SimulatedMap, into: Uint8Array, at: number): number => {
  if (isReadOnly(map)) return -numbers.EACCES
  const { store } = map
  if (store._tag === "Queue") return QueueStack.pop(store, into, at)
  return store._tag === "Bloom" ? -numbers.EOPNOTSUPP : -numbers.ENOTSUPP
}

/** `bpf_map_peek_elem`: like pop, but the value stays; a bloom filter is asked for the value at `at`. */
export const helperPeek = (map: SimulatedMap, into: Uint8Array, at: number): number => {
  const { store } = map
  if (store._tag === "Queue") return QueueStack.peek(store, into, at)
  return store._tag === "Bloom" ? BloomFilter.peek(store, into, at) : -numbers.ENOTSUPP
}

/** A walk of `bpf_for_each_map_elem`, which the caller's callback may interrupt and change the map in. */
export interface Iteration {
  readonly walk: HashTable.Walk | undefined
  /** Of arrays: the next index. */
  index: number
}

/**
 * Starts `bpf_for_each_map_elem`; a negative error number where the type has none. Elements that are added on the way are
 * not visited, those that are deleted before their turn neither, replaced ones once. At most 16 walks of one hash may be
 * under way, a further one ends the oldest: so those that were given up need no end, though `endIteration` is kind.
 */
export const helperIterate = (map: SimulatedMap, flags: number): Iteration | number => {
  if (flags !== 0) return -numbers.EINVAL
  const { store } = map
  if (store._tag === "Array") return { walk: undefined, index: 0 }
  return store._tag === "Hash" ? { walk: HashTable.walk(store.table), index: 0 } : -numbers.EINVAL
}

/** The next element of an iteration, this CPU's where each has one; -1 when it is over. */
export const iterateNext = (map: SimulatedMap, iteration: Iteration, cpu: number): number => {
  const { shape, store } = map
  const place = store._tag === "Hash" && iteration.walk !== undefined
    ? HashTable.step(store.table, iteration.walk)
    : iteration.index < shape.attr.maxEntries
    ? iteration.index++
    : -1
  return place < 0 || shape.cpus === 1 ? place : place * shape.cpus + cpu
}

/** Ends an iteration before its time. */
export const endIteration = (map: SimulatedMap, iteration: Iteration): void => {
  if (map.store._tag === "Hash" && iteration.walk !== undefined) HashTable.endWalk(map.store.table, iteration.walk)
}

/** What the slot of the key at `at` holds: the inner map of a look-up, for one. */
export const slotOf = <H>(map: SimulatedMap<H>, key: Uint8Array, at: number): Slot<H> | undefined => {
  const { store } = map
  return store._tag === "SlotArray" || store._tag === "SlotHash" ? SlotMap.find(store, key, at) : undefined
}

/** What slot `index` of an array holds: the program of a tail call, for one. */
export const slotAt = <H>(map: SimulatedMap<H>, index: number): Slot<H> | undefined =>
  map.store._tag === "SlotArray" ? SlotMap.at(map.store, index) : undefined

/** Where `bpf_redirect_map` sends a packet: what the key stands for in a device or CPU map. */
export const targetOf = <H>(map: SimulatedMap<H>, key: Uint8Array, at: number): DeviceMap.Target<H> | undefined =>
  map.store._tag === "Device" ? DeviceMap.find(map.store, key, at) : undefined

/** The ring buffer that a map is, for the functions of `RingBuffer.ts`. */
export const ringOf = (map: SimulatedMap): RingStore | undefined => map.store._tag === "Ring" ? map.store : undefined

/**
 * `bpf_perf_event_output`: a record of these parts for the buffer at `index`, or at the CPU's own for
 * `BPF_F_CURRENT_CPU`. `-E2BIG` beyond the array, `-ENOENT` for an empty slot, `-EOPNOTSUPP` for another CPU's buffer,
 * `-ENOSPC` for a record that was lost.
 */
export const helperPerfOutput = (
  map: SimulatedMap,
  index: number,
  cpu: number,
  parts: ReadonlyArray<Uint8Array>
): number => {
  const at = index === PerfEvents.BPF_F_CURRENT_CPU ? cpu : index
  if (at >= map.shape.attr.maxEntries) return -numbers.E2BIG
  const perf = slotAt(map, at)?.perf
  return perf === undefined ? -numbers.ENOENT : PerfEvents.append(perf, cpu, parts)
}
