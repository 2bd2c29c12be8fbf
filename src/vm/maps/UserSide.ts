/**
 * What user space does with maps: the element commands of bpf(2), freezing, and mapping memory.
 *
 * Keys and values must have the map's sizes (`userValueSize`): bpf(2) is told no lengths, so another length is answered
 * with `EINVAL` before anything else. Semantics: `kernel/bpf/syscall.c`.
 */
import * as Result from "effect/Result"
import { MapFlag, MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../services/Kernel/abi/Errno.ts"
import type { MapAttributes } from "../../services/Kernel/KernelCall.ts"
import * as ArrayMap from "./ArrayMap.ts"
import * as BloomFilter from "./BloomFilter.ts"
import * as DeviceMap from "./DeviceMap.ts"
import * as HashMap from "./HashMap.ts"
import * as LpmTrie from "./LpmTrie.ts"
import { type Slot, UnsupportedMap } from "./MapModel.ts"
import * as Memory from "./Memory.ts"
import * as QueueStack from "./QueueStack.ts"
import type { SimulatedMap } from "./SimulatedMap.ts"
import * as SlotMap from "./SlotMap.ts"

/** Why a map did not do what it was asked: the error of the kernel, or a type of which only the creation is simulated. */
export type MapFailure = Errno.Errno | UnsupportedMap

const { numbers } = Errno

/** Flags of commands that the kernel knows at all: none but the spin lock's, which no map here has. */
const lockFlag = 4n

/** The refusal of a map type of which only the creation is simulated; undefined for all others. */
export const refusal = (map: SimulatedMap, operation: string): UnsupportedMap | undefined => {
  if (map.store._tag !== "Refused") return undefined
  const { name, type } = map.shape.attr
  return new UnsupportedMap({
    type,
    name,
    operation,
    hint: "run this object on the live kernel, or replace the helper that uses the map by one of yours"
  })
}

const answer = <A>(map: SimulatedMap, operation: string, value: A | number): Result.Result<A, MapFailure> => {
  if (typeof value !== "number") return Result.succeed(value)
  const refused = refusal(map, operation)
  return Result.fail(refused ?? Errno.fromNumber(-value))
}

const acknowledge = (map: SimulatedMap, operation: string, number: number): Result.Result<void, MapFailure> =>
  number < 0 ? answer<void>(map, operation, number) : Result.succeed(undefined)

const mayRead = (map: SimulatedMap): boolean => map.userReads
const mayWrite = (map: SimulatedMap): boolean => map.userWrites && !map.frozen

const isKey = (map: SimulatedMap, key: Uint8Array): boolean => key.length === map.shape.attr.keySize

/**
 * Reads an element (`BPF_MAP_LOOKUP_ELEM`): all CPUs' values of a per-CPU map, the id of what a slot holds, the next
 * value of a queue or stack, which stays. A bloom filter is asked for `value` and answers it if it was perhaps pushed.
 * `ENOENT` where there is none.
 */
export const userLookup = (
  map: SimulatedMap,
  key: Uint8Array,
  flags: bigint = 0n,
  value?: Uint8Array
): Result.Result<Uint8Array, MapFailure> => answer(map, "MapLookup", lookup(map, key, flags, value))

const lookup = (
  map: SimulatedMap,
  key: Uint8Array,
  flags: bigint,
  value: Uint8Array | undefined
): Uint8Array | number => {
  if (!isKey(map, key) || (flags & ~lockFlag) !== 0n) return -numbers.EINVAL
  if (!mayRead(map)) return -numbers.EPERM
  if (flags !== 0n) return -numbers.EINVAL
  const { store } = map
  switch (store._tag) {
    case "Array":
      return ArrayMap.lookup(store, key)
    case "Hash":
      return HashMap.lookup(store, key)
    case "Trie":
      return LpmTrie.lookup(store, key)
    case "SlotArray":
    case "SlotHash":
      return SlotMap.lookup(store, key)
    case "Device":
      return DeviceMap.lookup(store, key)
    case "Queue": {
      const bytes = new Uint8Array(map.shape.attr.valueSize)
      const found = QueueStack.peek(store, bytes, 0)
      return found < 0 ? found : bytes
    }
    case "Bloom": {
      const asked = value ?? new Uint8Array(map.shape.attr.valueSize)
      if (asked.length !== map.shape.attr.valueSize) return -numbers.EINVAL
      const found = BloomFilter.peek(store, asked, 0)
      return found < 0 ? found : asked.slice()
    }
    case "Ring":
    case "Refused":
      return -numbers.ENOTSUPP
  }
}

/**
 * Sets an element (`BPF_MAP_UPDATE_ELEM`), or pushes a value of a map without keys. Slots take what they hold by
 * `userUpdateSlot`; here they answer `EBADF`, since bytes are no descriptor.
 */
export const userUpdate = (
  map: SimulatedMap,
  key: Uint8Array,
  value: Uint8Array,
  flags: bigint = 0n
): Result.Result<void, MapFailure> => acknowledge(map, "MapUpdate", update(map, key, value, undefined, flags))

/**
 * Fills a slot of a program array, map of maps or perf event array, or sets an element of a device or CPU map with a
 * program, whose `value` has the number. `slot` is what the descriptor stands for, or why it stands for nothing:
 * `EBADF` where no such descriptor is open, `EINVAL` where it is of another kind or the program does not fit.
 */
export const userUpdateSlot = <H>(
  map: SimulatedMap<H>,
  key: Uint8Array,
  slot: Slot<H> | Errno.Errno,
  flags: bigint = 0n,
  value: Uint8Array = new Uint8Array(map.shape.userValueSize)
): Result.Result<void, MapFailure> =>
  acknowledge(map, "MapUpdate", update(map, key, value, typeof slot === "string" ? -numbers[slot] : slot, flags))

const update = <H>(
  map: SimulatedMap<H>,
  key: Uint8Array,
  value: Uint8Array,
  slot: Slot<H> | number | undefined,
  flags: bigint
): number => {
  if (!isKey(map, key) || value.length !== map.shape.userValueSize) return -numbers.EINVAL
  if (!mayWrite(map)) return -numbers.EPERM
  if ((flags & lockFlag) !== 0n) return -numbers.EINVAL
  const { store } = map
  const how = Number(flags)
  switch (store._tag) {
    case "Array":
      return ArrayMap.update(store, key, 0, value, 0, how, -1)
    case "Hash":
      return HashMap.update(store, key, 0, value, 0, how, 0, true)
    case "Trie":
      return LpmTrie.update(store, key, 0, value, 0, how)
    case "Queue":
      return QueueStack.push(store, value, 0, how)
    case "Bloom":
      return BloomFilter.push(store, value, 0, how)
    case "SlotArray":
      return SlotMap.updateArray(store, key, fitting(map, slot), how)
    case "SlotHash":
      return SlotMap.updateHash(store, key, fitting(map, slot), how)
    case "Device":
      return DeviceMap.update(store, key, value, slot, how)
    case "Ring":
    case "Refused":
      return -numbers.ENOTSUPP
  }
}

/** What of a slot fits this map: the slot itself or a negative error number. */
const fitting = <H>(map: SimulatedMap<H>, slot: Slot<H> | number | undefined): Slot<H> | number => {
  if (slot === undefined) return -numbers.EBADF
  if (typeof slot === "number") return slot
  const isFit = map.inner !== undefined
    ? slot.map !== undefined && hasShape(map.inner, slot.map.shape.attr)
    : map.shape.attr.type === MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY
    ? slot.perf !== undefined
    : slot.map === undefined && slot.perf === undefined
  return isFit ? slot : -numbers.EINVAL
}

/** Types whose inner maps must have as many entries. */
const ofOneLength: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_ARRAY, MapType.BPF_MAP_TYPE_XSKMAP])

const hasShape = (wanted: MapAttributes, attr: MapAttributes): boolean =>
  wanted.type === attr.type && wanted.keySize === attr.keySize && wanted.valueSize === attr.valueSize &&
  wanted.flags === attr.flags &&
  (!ofOneLength.has(attr.type) || (wanted.flags & MapFlag.BPF_F_INNER_MAP) !== 0 ||
    wanted.maxEntries === attr.maxEntries)

/** Deletes an element (`BPF_MAP_DELETE_ELEM`). `ENOENT` where there is none, `EINVAL` for arrays. */
export const userDelete = (map: SimulatedMap, key: Uint8Array): Result.Result<void, MapFailure> =>
  acknowledge(map, "MapDelete", remove(map, key))

const remove = (map: SimulatedMap, key: Uint8Array): number => {
  if (!isKey(map, key)) return -numbers.EINVAL
  if (!mayWrite(map)) return -numbers.EPERM
  const { store } = map
  switch (store._tag) {
    case "Hash":
      return HashMap.remove(store, key, 0)
    case "Trie":
      return LpmTrie.remove(store, key, 0)
    case "SlotArray":
    case "SlotHash":
      return SlotMap.remove(store, key)
    case "Device":
      return DeviceMap.remove(store, key)
    case "Array":
    case "Queue":
      return -numbers.EINVAL
    case "Bloom":
      return -numbers.EOPNOTSUPP
    case "Ring":
    case "Refused":
      return -numbers.ENOTSUPP
  }
}

/**
 * The key after `key` (`BPF_MAP_GET_NEXT_KEY`); the first one where `key` is absent or not in the map; `ENOENT` after the
 * last. Arrays count up, tries go from longer to shorter prefixes, hashes follow the order of insertion.
 */
export const userNextKey = (map: SimulatedMap, key?: Uint8Array): Result.Result<Uint8Array, MapFailure> =>
  answer(map, "MapNextKey", nextKey(map, key))

const nextKey = (map: SimulatedMap, key: Uint8Array | undefined): Uint8Array | number => {
  if (key !== undefined && !isKey(map, key)) return -numbers.EINVAL
  if (!mayRead(map)) return -numbers.EPERM
  const { store } = map
  switch (store._tag) {
    case "Array":
    case "SlotArray":
      return ArrayMap.nextIndex(map.shape.attr.maxEntries, key)
    case "Hash":
      return HashMap.nextKey(store, key)
    case "SlotHash":
      return SlotMap.nextKey(store, key)
    case "Trie":
      return LpmTrie.nextKey(store, key)
    case "Device":
      return DeviceMap.nextKey(store, key)
    case "Queue":
      return -numbers.EINVAL
    case "Bloom":
      return -numbers.EOPNOTSUPP
    case "Ring":
    case "Refused":
      return -numbers.ENOTSUPP
  }
}

/** Reads and deletes an element of a hash, or pops a value (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`). `ENOTSUPP` for others. */
export const userLookupAndDelete = (
  map: SimulatedMap,
  key: Uint8Array,
  flags: bigint = 0n
): Result.Result<Uint8Array, MapFailure> => answer(map, "MapLookupAndDelete", lookupAndDelete(map, key, flags))

const lookupAndDelete = (map: SimulatedMap, key: Uint8Array, flags: bigint): Uint8Array | number => {
  if (!isKey(map, key) || (flags & ~lockFlag) !== 0n) return -numbers.EINVAL
  if (!mayRead(map) || !mayWrite(map)) return -numbers.EPERM
  if (flags !== 0n) return -numbers.EINVAL
  const { store } = map
  if (store._tag === "Hash") return HashMap.lookupAndDelete(store, key)
  if (store._tag !== "Queue") return -numbers.ENOTSUPP
  const bytes = new Uint8Array(map.shape.attr.valueSize)
  const found = QueueStack.pop(store, bytes, 0)
  return found < 0 ? found : bytes
}

/** Makes a map read-only for user space, for good. `EPERM` if it is already, `EBUSY` while it is mapped for writing. */
export const userFreeze = (map: SimulatedMap): Result.Result<void, MapFailure> => {
  if (!mayWrite(map)) return Result.fail("EPERM")
  if (map.writableWindows > 0) return Result.fail("EBUSY")
  map.frozen = true
  return Result.succeed(undefined)
}

/** A window that user space maps. Bytes; offset and length are multiples of the page size. */
export interface WindowRequest {
  readonly offset: number
  readonly length: number
  readonly writable: boolean
}

/**
 * Maps memory of an array with `BPF_F_MMAPABLE` or of a ring buffer (mmap(2), shared). Of a ring buffer user space may
 * write to its own page alone, that of a user ring buffer and its data included; the rest is mapped for reading.
 */
export const userMap = (
  map: SimulatedMap,
  request: WindowRequest,
  pageSize: number
): Result.Result<Memory.Window, MapFailure> => {
  const { length, offset, writable } = request
  const isAligned = (bytes: number) => Number.isSafeInteger(bytes) && bytes >= 0 && bytes % pageSize === 0
  if (!isAligned(offset) || !isAligned(length) || length === 0) return Result.fail("EINVAL")
  if (!map.userReads || (writable && !map.userWrites)) return Result.fail("EACCES")
  const { store } = map
  if (store._tag !== "Array" && store._tag !== "Ring") return Result.fail(refusal(map, "MapMmap") ?? "ENOTSUPP")
  // A descriptor that cannot write gives no shared mapping, and maps have no others.
  if (!map.userWrites) return Result.fail("EINVAL")
  if (writable) {
    if (map.frozen) return Result.fail("EPERM")
    if ((map.shape.attr.flags & MapFlag.BPF_F_RDONLY_PROG) !== 0) return Result.fail("EACCES")
    if (store._tag === "Ring") {
      const isOwn = store.isUser ? offset !== 0 : offset === 0 && length === pageSize
      if (!isOwn) return Result.fail("EPERM")
    }
  }
  const { memory } = store
  if (memory === undefined || offset + length > memory.length) return Result.fail("EINVAL")
  if (writable) map.writableWindows++
  return Result.succeed(Memory.window(memory, offset, length, writable, () => {
    if (writable) map.writableWindows--
  }))
}

/** All keys of a map in the order of `userNextKey`; none for maps without keys. */
export const userKeys = (map: SimulatedMap): ReadonlyArray<Uint8Array> => {
  const keys: Array<Uint8Array> = []
  for (let key = nextKey(map, undefined); typeof key !== "number"; key = nextKey(map, key)) keys.push(key)
  return keys
}
