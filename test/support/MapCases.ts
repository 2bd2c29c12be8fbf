/** Maps, keys and operations for tests that do the same to a simulated map and to something that judges it. */
import * as fc from "fast-check"
import { MapFlag, MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { MapAttributes } from "../../src/services/Kernel/KernelCall.ts"
import { u32 } from "./LiveKernel.ts"

/** A hash of 4-byte keys and 8-byte values, unless told otherwise. */
export const attributes = (attr: Partial<MapAttributes> = {}): MapAttributes => ({
  name: "simulated",
  type: MapType.BPF_MAP_TYPE_HASH,
  keySize: 4,
  valueSize: 8,
  maxEntries: 4,
  flags: 0,
  numaNode: 0,
  ifindex: 0,
  extra: 0n,
  ...attr
})

/** What is done to a map. Numbers stand for keys and values, see `keyOf` and `valueOf`. */
export type Operation =
  | { readonly _tag: "Lookup"; readonly key: number; readonly value: number; readonly flags: bigint }
  | { readonly _tag: "Update"; readonly key: number; readonly value: number; readonly flags: bigint }
  | { readonly _tag: "Delete"; readonly key: number }
  | { readonly _tag: "NextKey"; readonly key: number | undefined }
  | { readonly _tag: "LookupAndDelete"; readonly key: number; readonly flags: bigint }
  | { readonly _tag: "Freeze" }

/** Types that user space can operate on by itself. */
export const operableTypes: ReadonlyArray<number> = [
  MapType.BPF_MAP_TYPE_HASH,
  MapType.BPF_MAP_TYPE_ARRAY,
  MapType.BPF_MAP_TYPE_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  MapType.BPF_MAP_TYPE_LRU_HASH,
  MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_LPM_TRIE,
  MapType.BPF_MAP_TYPE_QUEUE,
  MapType.BPF_MAP_TYPE_STACK,
  MapType.BPF_MAP_TYPE_BLOOM_FILTER,
  MapType.BPF_MAP_TYPE_DEVMAP,
  MapType.BPF_MAP_TYPE_DEVMAP_HASH,
  MapType.BPF_MAP_TYPE_CPUMAP,
  MapType.BPF_MAP_TYPE_PROG_ARRAY,
  MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  MapType.BPF_MAP_TYPE_HASH_OF_MAPS,
  MapType.BPF_MAP_TYPE_RINGBUF,
  MapType.BPF_MAP_TYPE_USER_RINGBUF
]

const { BPF_F_NO_COMMON_LRU, BPF_F_NO_PREALLOC, BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_WRONLY, BPF_F_ZERO_SEED } =
  MapFlag

const isHash = (type: number): boolean =>
  type === MapType.BPF_MAP_TYPE_HASH || type === MapType.BPF_MAP_TYPE_PERCPU_HASH || isLru(type) ||
  type === MapType.BPF_MAP_TYPE_HASH_OF_MAPS

/** Whether a map of this type evicts. */
export const isLru = (type: number): boolean =>
  type === MapType.BPF_MAP_TYPE_LRU_HASH || type === MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH

/** Whether the order of a type's keys depends on a seed of the kernel's. */
export const isUnordered = (type: number): boolean => isHash(type) || type === MapType.BPF_MAP_TYPE_DEVMAP_HASH

/** Whether the values of a type are references. */
export const hasSlots = (type: number): boolean =>
  type === MapType.BPF_MAP_TYPE_PROG_ARRAY || type === MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS ||
  type === MapType.BPF_MAP_TYPE_HASH_OF_MAPS

const keySizes = (type: number): ReadonlyArray<number> => {
  if (type === MapType.BPF_MAP_TYPE_LPM_TRIE) return [5, 6, 8, 12]
  if (isHash(type)) return [1, 2, 3, 4, 5, 8, 13, 16, 33]
  const isWithout = type === MapType.BPF_MAP_TYPE_QUEUE || type === MapType.BPF_MAP_TYPE_STACK ||
    type === MapType.BPF_MAP_TYPE_BLOOM_FILTER || isRing(type)
  return isWithout ? [0] : [4]
}

const isRing = (type: number): boolean =>
  type === MapType.BPF_MAP_TYPE_RINGBUF || type === MapType.BPF_MAP_TYPE_USER_RINGBUF

const valueSizes = (type: number): ReadonlyArray<number> => {
  if (hasSlots(type)) return [4]
  if (isRing(type)) return [0]
  const isTarget = type === MapType.BPF_MAP_TYPE_DEVMAP || type === MapType.BPF_MAP_TYPE_DEVMAP_HASH ||
    type === MapType.BPF_MAP_TYPE_CPUMAP
  return isTarget ? [4, 8] : [1, 3, 4, 8, 12, 13, 40]
}

const flagsOf = (type: number): fc.Arbitrary<number> => {
  const isSlots = hasSlots(type)
  const access = isRing(type) || type === MapType.BPF_MAP_TYPE_CPUMAP
    ? [0]
    : isSlots || type === MapType.BPF_MAP_TYPE_DEVMAP || type === MapType.BPF_MAP_TYPE_DEVMAP_HASH
    ? [0, 0, 0, 0, BPF_F_RDONLY, BPF_F_WRONLY]
    : [0, 0, 0, 0, 0, 0, BPF_F_RDONLY, BPF_F_WRONLY, BPF_F_RDONLY_PROG]
  const own = isLru(type)
    ? [0, BPF_F_NO_COMMON_LRU]
    : isHash(type)
    ? [0, BPF_F_NO_PREALLOC]
    : type === MapType.BPF_MAP_TYPE_LPM_TRIE
    ? [BPF_F_NO_PREALLOC]
    : type === MapType.BPF_MAP_TYPE_BLOOM_FILTER
    ? [BPF_F_ZERO_SEED]
    : [0]
  return fc.tuple(fc.constantFrom(...access), fc.constantFrom(...own)).map(([a, b]) => a | b)
}

/** Attributes that the kernel takes, of small maps of this type. */
export const validAttributes = (type: number): fc.Arbitrary<MapAttributes> =>
  fc.record({
    keySize: fc.constantFrom(...keySizes(type)),
    valueSize: fc.constantFrom(...valueSizes(type)),
    maxEntries: isRing(type)
      ? fc.constant(4096)
      : isLru(type)
      ? fc.integer({ min: 1, max: 40 })
      : fc.integer({ min: 1, max: 5 }),
    flags: flagsOf(type),
    extra: type === MapType.BPF_MAP_TYPE_BLOOM_FILTER ? fc.bigInt({ min: 0n, max: 15n }) : fc.constant(0n)
  }).map((attr) => attributes({ type, ...attr }))

const anyOf = (values: ReadonlyArray<number>): fc.Arbitrary<number> =>
  fc.integer({ min: 0, max: 0xffff_ffff }).map((n) => values[n % values.length] ?? 0)

/** Attributes that the kernel takes, one map of each type that it can create for us. */
const plainMaps: ReadonlyArray<
  readonly [type: number, keySize: number, valueSize: number, maxEntries: number, flags: number]
> = [
  [MapType.BPF_MAP_TYPE_HASH, 4, 8, 1, 0],
  [MapType.BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0],
  [MapType.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0],
  [MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 1, 0],
  [MapType.BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 1, 0],
  [MapType.BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 1, 0],
  [MapType.BPF_MAP_TYPE_STACK_TRACE, 4, 64, 1, 0],
  [MapType.BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, 1, 0],
  [MapType.BPF_MAP_TYPE_LRU_HASH, 4, 8, 1, 0],
  [MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 8, 1, 0],
  [MapType.BPF_MAP_TYPE_LPM_TRIE, 8, 8, 1, BPF_F_NO_PREALLOC],
  [MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 1, 0],
  [MapType.BPF_MAP_TYPE_HASH_OF_MAPS, 4, 4, 1, 0],
  [MapType.BPF_MAP_TYPE_DEVMAP, 4, 4, 1, 0],
  [MapType.BPF_MAP_TYPE_SOCKMAP, 4, 4, 1, 0],
  [MapType.BPF_MAP_TYPE_CPUMAP, 4, 4, 1, 0],
  [MapType.BPF_MAP_TYPE_XSKMAP, 4, 4, 1, 0],
  [MapType.BPF_MAP_TYPE_SOCKHASH, 4, 4, 1, 0],
  [MapType.BPF_MAP_TYPE_CGROUP_STORAGE, 16, 8, 0, 0],
  [MapType.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 4, 1, 0],
  [MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, 16, 8, 0, 0],
  [MapType.BPF_MAP_TYPE_QUEUE, 0, 8, 1, 0],
  [MapType.BPF_MAP_TYPE_STACK, 0, 8, 1, 0],
  [MapType.BPF_MAP_TYPE_SK_STORAGE, 4, 8, 0, BPF_F_NO_PREALLOC],
  [MapType.BPF_MAP_TYPE_DEVMAP_HASH, 4, 4, 1, 0],
  [MapType.BPF_MAP_TYPE_STRUCT_OPS, 4, 8, 1, 0],
  [MapType.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0],
  [MapType.BPF_MAP_TYPE_INODE_STORAGE, 4, 8, 0, BPF_F_NO_PREALLOC],
  [MapType.BPF_MAP_TYPE_TASK_STORAGE, 4, 8, 0, BPF_F_NO_PREALLOC],
  [MapType.BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 1, 0],
  [MapType.BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0],
  [MapType.BPF_MAP_TYPE_CGRP_STORAGE, 4, 8, 0, BPF_F_NO_PREALLOC],
  [MapType.BPF_MAP_TYPE_ARENA, 0, 0, 1, MapFlag.BPF_F_MMAPABLE],
  [MapType.BPF_MAP_TYPE_INSN_ARRAY, 4, 16, 1, 0],
  [MapType.BPF_MAP_TYPE_RHASH, 4, 8, 1, BPF_F_NO_PREALLOC],
  [0, 4, 8, 1, 0],
  [36, 4, 8, 1, 0]
]

type Change = (attr: MapAttributes) => MapAttributes

const changes: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 3,
    arbitrary: anyOf([0, 1, 3, 4, 5, 8, 16, 260, 261, 512, 513, 4096]).map((keySize): Change => (attr) => ({
      ...attr,
      keySize
    }))
  },
  {
    weight: 3,
    arbitrary: anyOf([
      0,
      1,
      3,
      4,
      8,
      16,
      32,
      1016,
      1024,
      4064,
      4096,
      32768,
      32769,
      65407,
      65408,
      4194024,
      4194025,
      4194304,
      4194305,
      2 ** 31,
      2 ** 32 - 1
    ])
      .map((valueSize): Change => (attr) => ({ ...attr, valueSize }))
  },
  {
    weight: 3,
    arbitrary: anyOf([0, 1, 2, 3, 5, 256, 257, 1000, 4096, 8192, 12288]).map((maxEntries): Change => (attr) => ({
      ...attr,
      maxEntries
    }))
  },
  {
    weight: 6,
    arbitrary: fc.uniqueArray(fc.integer({ min: 0, max: 19 }), { minLength: 1, maxLength: 3 }).map(
      (bits): Change => (attr) => ({
        ...attr,
        flags: bits.reduce((all, bit) => (all ^ (1 << bit)) >>> 0, attr.flags)
      })
    )
  },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 0, max: 31 }).map((bit): Change => (attr) => ({
      ...attr,
      flags: (attr.flags ^ (1 << bit)) >>> 0
    }))
  },
  {
    weight: 2,
    arbitrary: anyOf([0, 1, 0xffff_ffff]).map((numaNode): Change => (attr) => ({
      ...attr,
      numaNode,
      flags: attr.flags | MapFlag.BPF_F_NUMA_NODE
    }))
  },
  { weight: 1, arbitrary: fc.constant<Change>((attr) => ({ ...attr, ifindex: 1 })) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(1n, 15n, 16n, 4096n, 0xffff_f000n, 1n << 40n).map((extra): Change => (attr) => ({
      ...attr,
      extra
    }))
  }
)

/**
 * Attributes at and beyond the limits of the kernel: those of a plain map with up to three changes. Nothing large can be
 * created of them, since the live kernel would really take the memory.
 */
export const oddAttributes: fc.Arbitrary<MapAttributes> = fc.record({
  plain: fc.constantFrom(...plainMaps),
  changes: fc.array(changes, { maxLength: 3 })
}).map(({ changes, plain: [type, keySize, valueSize, maxEntries, flags] }) => {
  const attr = changes.reduce(
    (attr, change) => change(attr),
    attributes({ type, keySize, valueSize, maxEntries, flags })
  )
  return (attr.valueSize + attr.keySize) * attr.maxEntries > 2 ** 26 ? { ...attr, maxEntries: 1 } : attr
})

const elementFlags = fc.constantFrom(0n, 0n, 0n, 0n, 1n, 1n, 2n, 2n, 3n, 4n, 5n, 8n, 16n, 1n << 32n, 1n << 63n)

/** Operations on a map with so many keys to choose from. */
export const operations = (keys: number, maxLength: number): fc.Arbitrary<ReadonlyArray<Operation>> => {
  const key = fc.integer({ min: 0, max: keys - 1 })
  const value = fc.integer({ min: 0, max: 255 })
  const readFlags = fc.constantFrom(0n, 0n, 0n, 0n, 0n, 0n, 1n, 4n, 8n, 1n << 40n)
  return fc.array(
    fc.oneof(
      { weight: 8, arbitrary: fc.record({ _tag: fc.constant("Update" as const), key, value, flags: elementFlags }) },
      { weight: 4, arbitrary: fc.record({ _tag: fc.constant("Lookup" as const), key, value, flags: readFlags }) },
      { weight: 3, arbitrary: fc.record({ _tag: fc.constant("Delete" as const), key }) },
      {
        weight: 2,
        arbitrary: fc.record({ _tag: fc.constant("NextKey" as const), key: fc.option(key, { nil: undefined }) })
      },
      { weight: 2, arbitrary: fc.record({ _tag: fc.constant("LookupAndDelete" as const), key, flags: readFlags }) },
      {
        weight: 1,
        arbitrary: fc.integer({ min: 0, max: 9 }).map((n) =>
          n === 0 ? { _tag: "Freeze" as const } : { _tag: "NextKey" as const, key: undefined }
        )
      }
    ),
    { maxLength, size: "max" }
  )
}

/**
 * The key that a number stands for: indices around the ends of an array, prefixes of a few bits, bytes for
 * hashes. Numbers beyond 255 are for hashes of 4-byte keys alone.
 */
export const keyOf = (attr: MapAttributes, number: number): Uint8Array => {
  if (attr.type === MapType.BPF_MAP_TYPE_LPM_TRIE) {
    const key = new Uint8Array(attr.keySize)
    const maximum = (attr.keySize - 4) * 8
    const lengths = [0, 1, 2, 3, 4, 7, 8, 9, maximum - 1, maximum, maximum + 1, 0xffff_ffff]
    key.set(u32(lengths[number % lengths.length] ?? 0))
    const patterns = [0x00, 0xff, 0xa5, 0x80, 0x40, 0xb0, 0x0f]
    for (let i = 4; i < key.length; i++) {
      key[i] = patterns[(Math.floor(number / lengths.length) + i) % patterns.length] ?? 0
    }
    return key
  }
  if (isHash(attr.type)) {
    if (number > 0xff) return u32(number)
    // Keys differ in one byte, which is not always the first.
    return Uint8Array.from({ length: attr.keySize }, (_, at) => at === number % attr.keySize ? number : 7)
  }
  if (attr.keySize !== 4) return new Uint8Array(attr.keySize)
  const { maxEntries } = attr
  const indices = [0, 1, 2, maxEntries - 2, maxEntries - 1, maxEntries, maxEntries + 1, 0xffff_ffff]
  return u32((indices[number % indices.length] ?? 0) >>> 0)
}

/** The value that a number stands for, of this many bytes. */
export const valueOf = (length: number, number: number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => (number * (at + 1) + at * at * 3) & 0xff)

/** A value of a device or CPU map: 0, the loopback interface, one that does not exist; no program. */
export const targetValue = (length: number, number: number): Uint8Array => {
  const value = new Uint8Array(length)
  value.set(u32([0, 1, 1, 1, 16384, 16385, 4_000_000][number % 7] ?? 0))
  return value
}
