/**
 * Maps of the simulated kernel: created by the kernel's rules, used by user space (`user*`) and by programs (`helper*`).
 *
 * Everything here is a plain function on a mutable value, never throws, and answers a `Result` to user space, a number
 * to programs (0 or more, or a negative error number as a helper returns it). Keys and values are little-endian bytes.
 *
 * **Elements.** A program's look-up answers the *number* of an element, `helperLookup`, -1 if there is none.
 * `elementBytes` gives its value: always the same view for the same number, valid for the life of the map, so whoever
 * runs programs can give each element an address once. As in the kernel, a deleted element's bytes stay until another
 * takes its place, and an update of an element of a hash or trie makes a new one.
 *
 * **Deliberate differences** to Linux 6.18:
 * - Memory is taken when it is touched. A map that could take more than `memoryLimit` when it is full is refused with
 *   `ENOMEM`, as the kernel does when it has not that much; hashes without preallocation and tries are created, and refuse
 *   elements beyond the limit with `ENOMEM`.
 * - Hashes list keys in the order of their insertion; the kernel's order depends on a random seed.
 * - Bloom filters without `BPF_F_ZERO_SEED` use the seed of the options; the kernel's is random.
 * - Stack trace, cgroup, socket and storage maps, XSK maps and arenas can be created and asked for their attributes; any
 *   other use is an `UnsupportedMap` that names the type, `refusal`.
 * - No map has a spin lock, so `BPF_F_LOCK` is `EINVAL` everywhere, as for kernel maps without one.
 */
import * as Result from "effect/Result"
import type { MapAttributes } from "../../services/Kernel/KernelCall.ts"
import { MapFlag, MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import { ofDescriptors, perCpu } from "../../services/Kernel/abi/ElementSize.ts"
import * as Errno from "../../services/Kernel/abi/Errno.ts"
import { isOfMaps } from "../../services/Kernel/abi/MapShape.ts"
import * as ArrayMap from "./ArrayMap.ts"
import * as BloomFilter from "./BloomFilter.ts"
import * as DeviceMap from "./DeviceMap.ts"
import * as HashMap from "./HashMap.ts"
import * as LpmTrie from "./LpmTrie.ts"
import * as MapCheck from "./MapCheck.ts"
import { type MapShape, roundUp8, type Slot } from "./MapModel.ts"
import * as QueueStack from "./QueueStack.ts"
import * as RingBuffer from "./RingBuffer.ts"
import * as SlotMap from "./SlotMap.ts"

export { UnsupportedMap } from "./MapModel.ts"
export type { MapShape, Slot } from "./MapModel.ts"
export * from "./ProgramSide.ts"
export * from "./UserSide.ts"
export * from "./Batch.ts"

/** What a map holds, by family. */
export type Store<H> =
  | ArrayMap.ArrayStore
  | HashMap.HashStore
  | LpmTrie.TrieStore
  | QueueStack.QueueStore
  | BloomFilter.BloomStore
  | SlotMap.SlotArrayStore<H>
  | SlotMap.SlotHashStore<H>
  | DeviceMap.DeviceStore<H>
  | RingBuffer.RingStore
  | { readonly _tag: "Refused" }

/** A map of the simulated kernel; `H` is what the host puts into slots that stand for programs, maps and perf events. */
export interface SimulatedMap<H = unknown> {
  readonly shape: MapShape
  readonly store: Store<H>
  /** For maps of maps: the attributes that inner maps must have. */
  readonly inner: MapAttributes | undefined
  /** What user space may do through the map's descriptor; freezing forbids writing. */
  readonly userReads: boolean
  readonly userWrites: boolean
  frozen: boolean
  /** Writable windows on the map's memory that are open. */
  writableWindows: number
}

/** What the simulated machine is like. */
export interface CreateOptions<H = unknown> {
  /** 1 or more. */
  readonly possibleCpus: number
  /** Bytes, a power of two of at least 4096. */
  readonly pageSize: number
  /** For maps of maps: the map whose shape inner maps must have. */
  readonly inner?: SimulatedMap<H>
  /** Whether types of key and value come with the map, which storage maps must have. */
  readonly hasTypes?: boolean
  /** For struct_ops maps: bytes of the kernel's struct that the value is. */
  readonly structSize?: number | undefined
  /** What a map may take, bytes; 1 GiB unless told otherwise. */
  readonly memoryLimit?: number
  /** Of hashes and bloom filters, 32 bits, 0 unless told otherwise: give a random one where keys may be hostile. */
  readonly seed?: number
  /** `NR_CPUS` of the kernel, the most entries of a CPU map; 8192 unless told otherwise. */
  readonly maximumCpus?: number
  /** Which network interfaces there are, for device maps; unless told otherwise every index stands for one. */
  readonly hasDevice?: (index: number) => boolean
}

const defaultMemoryLimit = 2 ** 30
const defaultMaximumCpus = 8192
/** What the tables of a hash or trie can count. */
const maximumPlaces = 2 ** 29

const shapeOf = (attr: MapAttributes, possibleCpus: number): MapShape => {
  const cpus = perCpu.has(attr.type) ? possibleCpus : 1
  const valueStride = roundUp8(attr.valueSize)
  const userValueSize = perCpu.has(attr.type) ? valueStride * cpus : ofDescriptors.has(attr.type) ? 4 : attr.valueSize
  return { attr, possibleCpus, cpus, valueStride, userValueSize }
}

/** Zeroed memory in one piece, or undefined where there is not enough. */
const allocate = (bytes: number): Uint8Array | undefined => {
  try {
    return new Uint8Array(bytes)
  } catch {
    // A RangeError is how the engine says that it has not that much.
    return undefined
  }
}

const makeStore = <H>(shape: MapShape, options: CreateOptions<H>): Store<H> | number => {
  const { attr } = shape
  const seed = (options.seed ?? 0) | 0
  const limit = options.memoryLimit ?? defaultMemoryLimit
  const elementBytes = roundUp8(attr.keySize) + shape.valueStride * shape.cpus + 32
  const places = Math.min(attr.maxEntries, maximumPlaces, Math.max(1, Math.floor(limit / elementBytes)))
  switch (attr.type) {
    case MapType.BPF_MAP_TYPE_ARRAY: {
      if ((attr.flags & MapFlag.BPF_F_MMAPABLE) === 0) return ArrayMap.make(shape)
      const bytes = attr.maxEntries * shape.valueStride
      const memory = allocate(Math.ceil(bytes / options.pageSize) * options.pageSize)
      return memory === undefined ? -Errno.numbers.ENOMEM : ArrayMap.make(shape, memory)
    }
    case MapType.BPF_MAP_TYPE_PERCPU_ARRAY:
      return ArrayMap.make(shape)
    case MapType.BPF_MAP_TYPE_HASH:
    case MapType.BPF_MAP_TYPE_PERCPU_HASH:
      return HashMap.make(shape, places, seed)
    case MapType.BPF_MAP_TYPE_LRU_HASH:
    case MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH:
      return HashMap.make(shape, attr.maxEntries, seed)
    case MapType.BPF_MAP_TYPE_LPM_TRIE:
      return LpmTrie.make(shape, places)
    case MapType.BPF_MAP_TYPE_QUEUE:
      return QueueStack.make(shape, false)
    case MapType.BPF_MAP_TYPE_STACK:
      return QueueStack.make(shape, true)
    case MapType.BPF_MAP_TYPE_BLOOM_FILTER:
      return BloomFilter.make(shape, seed)
    case MapType.BPF_MAP_TYPE_PROG_ARRAY:
    case MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS:
      return SlotMap.makeArray(shape, true)
    case MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
      return SlotMap.makeArray(shape, false)
    case MapType.BPF_MAP_TYPE_HASH_OF_MAPS:
      return SlotMap.makeHash(shape, places, seed)
    case MapType.BPF_MAP_TYPE_DEVMAP:
    case MapType.BPF_MAP_TYPE_DEVMAP_HASH:
    case MapType.BPF_MAP_TYPE_CPUMAP:
      return DeviceMap.make(shape, options.hasDevice ?? (() => true), seed)
    case MapType.BPF_MAP_TYPE_RINGBUF:
    case MapType.BPF_MAP_TYPE_USER_RINGBUF: {
      const isUser = attr.type === MapType.BPF_MAP_TYPE_USER_RINGBUF
      const memory = allocate(RingBuffer.memoryOf(attr.maxEntries, options.pageSize))
      return memory === undefined ? -Errno.numbers.ENOMEM : RingBuffer.make(shape, options.pageSize, isUser, memory)
    }
    default:
      return { _tag: "Refused" }
  }
}

/** Types that cannot be inner maps. */
const neverInner: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_PROG_ARRAY,
  MapType.BPF_MAP_TYPE_CGROUP_STORAGE,
  MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
  MapType.BPF_MAP_TYPE_STRUCT_OPS
])

/** Whether a map can give the shape of inner maps: 0 or a negative error number. */
const checkInner = (inner: SimulatedMap | undefined): number => {
  if (inner === undefined || isOfMaps(inner.shape.attr.type)) return -Errno.numbers.EINVAL
  return neverInner.has(inner.shape.attr.type) ? -Errno.numbers.ENOTSUPP : 0
}

/**
 * Creates a map, or answers the error number that `BPF_MAP_CREATE` gives for these attributes (the caller counts as
 * privileged). Takes no more memory at first than the tables of an empty map, except for what can be mapped: ring
 * buffers and arrays with `BPF_F_MMAPABLE` take all of theirs, untouched.
 */
export const create = <H = unknown>(
  attr: MapAttributes,
  options: CreateOptions<H>
): Result.Result<SimulatedMap<H>, Errno.Errno> => {
  const around: MapCheck.Surroundings = {
    possibleCpus: options.possibleCpus,
    pageSize: options.pageSize,
    memoryLimit: options.memoryLimit ?? defaultMemoryLimit,
    maximumCpus: options.maximumCpus ?? defaultMaximumCpus,
    hasTypes: options.hasTypes ?? false,
    structSize: options.structSize
  }
  const fail = (number: number) => Result.fail(Errno.fromNumber(-number))
  const refused = MapCheck.check(attr, around)
  // The kernel looks at the inner map before it takes memory.
  const outOfMemory = refused === -Errno.numbers.ENOMEM
  if (refused !== 0 && !outOfMemory) return fail(refused)
  if (isOfMaps(attr.type)) {
    const unfit = checkInner(options.inner)
    if (unfit !== 0) return fail(unfit)
  }
  if (outOfMemory) return fail(refused)
  const shape = shapeOf(MapCheck.kept(attr, options.possibleCpus), options.possibleCpus)
  const store = makeStore(shape, options)
  if (typeof store === "number") return fail(store)
  return Result.succeed({
    shape,
    store,
    inner: isOfMaps(attr.type) ? options.inner?.shape.attr : undefined,
    userReads: (attr.flags & MapFlag.BPF_F_WRONLY) === 0,
    userWrites: (attr.flags & MapFlag.BPF_F_RDONLY) === 0,
    frozen: false,
    writableWindows: 0
  })
}

/** What the kernel says of a map: the attributes as it took them. The node of memory reads as 0. */
export const info = (map: SimulatedMap): MapAttributes => ({ ...map.shape.attr, numaNode: 0 })

/** How many bytes of value user space gives and gets: all CPUs' values of a per-CPU map, 4 for slots. */
export const userValueSize = (map: SimulatedMap): number => map.shape.userValueSize

/** Everything that the slots of a map hold, which must live as long as the map does. */
export const held = <H>(map: SimulatedMap<H>): ReadonlyArray<Slot<H>> => {
  const { store } = map
  switch (store._tag) {
    case "SlotArray":
    case "SlotHash":
      return SlotMap.held(store)
    case "Device":
      return DeviceMap.held(store)
    default:
      return []
  }
}
