/**
 * The checks that the kernel makes of a map's attributes before it creates the map, and what the map would take.
 *
 * Every answer is 0 or a negative error number. The order of the checks is the kernel's, since it decides which error
 * a caller sees. The caller counts as privileged. Semantics: `map_create` in `kernel/bpf/syscall.c` and the
 * `map_alloc_check` and `map_alloc` functions of the types, Linux 6.18 on a machine with pages of 4 KiB.
 */
import { MapFlag, MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import type { MapAttributes } from "../../services/Kernel/KernelCall.ts"
import { bitsOf } from "./BloomFilter.ts"
import { powerOfTwoAbove, roundUp8 } from "./MapModel.ts"
import { memoryOf } from "./RingBuffer.ts"

/** What the checks need to know besides the attributes. */
export interface Surroundings {
  readonly possibleCpus: number
  readonly pageSize: number
  /** What a map may take when it is full, bytes. */
  readonly memoryLimit: number
  /** The CPUs that the kernel was built for. */
  readonly maximumCpus: number
  /** Whether types for key and value were given. */
  readonly hasTypes: boolean
  /** Bytes of the kernel's struct that the value of a struct_ops map is; `undefined` where none is named. */
  readonly structSize?: number | undefined
}

const {
  BPF_F_CLONE,
  BPF_F_INNER_MAP,
  BPF_F_MMAPABLE,
  BPF_F_NO_COMMON_LRU,
  BPF_F_NO_PREALLOC,
  BPF_F_NO_USER_CONV,
  BPF_F_NUMA_NODE,
  BPF_F_PRESERVE_ELEMS,
  BPF_F_RDONLY,
  BPF_F_RDONLY_PROG,
  BPF_F_SEGV_ON_FAULT,
  BPF_F_STACK_BUILD_ID,
  BPF_F_TOKEN_FD,
  BPF_F_WRONLY,
  BPF_F_WRONLY_PROG,
  BPF_F_ZERO_SEED
} = MapFlag

const accessFlags = BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG
const programFlags = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG
const userFlags = BPF_F_RDONLY | BPF_F_WRONLY

/** The largest piece of memory that kmalloc gives. */
const kmallocMaximum = 4 * 1024 * 1024
/** What a hash adds to key and value of an element. */
const hashElementBytes = 48
/** The largest per-CPU value. */
const perCpuMaximum = 32768
/** The largest value of a trie, of a storage map. */
const trieValueMaximum = 4_194_024
const storageValueMaximum = 65_407
/** Frames of a stack trace (`kernel.perf_event_max_stack`), bytes of one with a build id. */
const maximumFrames = 127
const buildIdBytes = 32
/** Bytes of stack that a program has, the longest key of a socket hash. */
const stackBytes = 512

const isPowerOfTwo = (n: number): boolean => n > 0 && powerOfTwoAbove(n) === n

const hasOnly = (flags: number, allowed: number): boolean => (flags & ~allowed) === 0

/** Read-only and write-only for programs exclude each other. */
const accessOk = (flags: number): boolean => (flags & programFlags) !== programFlags

const isTrue = (...conditions: ReadonlyArray<boolean>): number => conditions.every(Boolean) ? 0 : -numbers.EINVAL

/** `NUMA_NO_NODE`, as the unsigned number that the attribute is. */
const noNode = 0xffff_ffff

const wantsNode = (attr: MapAttributes): boolean => (attr.flags & BPF_F_NUMA_NODE) !== 0 && attr.numaNode !== noNode

const checkArray = (attr: MapAttributes): number => {
  const isPerCpu = attr.type === MapType.BPF_MAP_TYPE_PERCPU_ARRAY
  const plain = attr.type === MapType.BPF_MAP_TYPE_ARRAY ? BPF_F_MMAPABLE | BPF_F_INNER_MAP : 0
  const preserve = attr.type === MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY ? BPF_F_PRESERVE_ELEMS : 0
  const ok = attr.maxEntries !== 0 && attr.keySize === 4 && attr.valueSize !== 0 &&
    hasOnly(attr.flags, BPF_F_NUMA_NODE | accessFlags | plain | preserve) && accessOk(attr.flags) &&
    !(isPerCpu && wantsNode(attr))
  if (!ok) return -numbers.EINVAL
  return attr.valueSize > 0x7fff_ffff || (isPerCpu && roundUp8(attr.valueSize) > perCpuMaximum) ? -numbers.E2BIG : 0
}

const checkSlots = (attr: MapAttributes): number =>
  attr.valueSize !== 4 || (attr.flags & programFlags) !== 0 ? -numbers.EINVAL : checkArray(attr)

const checkHash = (attr: MapAttributes, possibleCpus: number): number => {
  const { flags, keySize, maxEntries, type, valueSize } = attr
  const isPerCpu = type === MapType.BPF_MAP_TYPE_PERCPU_HASH || type === MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH
  const isLru = type === MapType.BPF_MAP_TYPE_LRU_HASH || type === MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH
  const own = (flags & BPF_F_NO_COMMON_LRU) !== 0
  const allowed = BPF_F_NO_PREALLOC | BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE | accessFlags | BPF_F_ZERO_SEED
  if (!hasOnly(flags, allowed) || !accessOk(flags) || (!isLru && own)) return -numbers.EINVAL
  if (isLru && (flags & BPF_F_NO_PREALLOC) !== 0) return -numbers.ENOTSUPP
  if (wantsNode(attr) && (isPerCpu || own)) return -numbers.EINVAL
  if (maxEntries === 0 || keySize === 0 || valueSize === 0) return -numbers.EINVAL
  if (keySize + valueSize >= kmallocMaximum - hashElementBytes) return -numbers.E2BIG
  if (isPerCpu && roundUp8(valueSize) > perCpuMaximum) return -numbers.E2BIG
  return hashEntries(attr, possibleCpus) > 2 ** 27 ? -numbers.E2BIG : 0
}

/** The entries that a hash gets: with an LRU list per CPU, as many for each. */
const hashEntries = (attr: MapAttributes, possibleCpus: number): number => {
  if ((attr.flags & BPF_F_NO_COMMON_LRU) === 0) return attr.maxEntries
  const up = Math.ceil(attr.maxEntries / possibleCpus) * possibleCpus
  return up > 0xffff_ffff ? up - possibleCpus : up
}

const checkTrie = ({ flags, keySize, maxEntries, valueSize }: MapAttributes): number =>
  isTrue(
    maxEntries !== 0,
    (flags & BPF_F_NO_PREALLOC) !== 0,
    hasOnly(flags, BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | accessFlags),
    accessOk(flags),
    keySize >= 5 && keySize <= 260,
    valueSize >= 1 && valueSize <= trieValueMaximum
  )

const checkQueue = ({ flags, keySize, maxEntries, valueSize }: MapAttributes): number =>
  maxEntries === 0 || keySize !== 0 || valueSize === 0 || !hasOnly(flags, BPF_F_NUMA_NODE | accessFlags) ||
    !accessOk(flags)
    ? -numbers.EINVAL
    : valueSize > kmallocMaximum
    ? -numbers.E2BIG
    : 0

const checkBloom = ({ extra, flags, keySize, maxEntries, valueSize }: MapAttributes): number =>
  valueSize > kmallocMaximum ? -numbers.E2BIG : isTrue(
    keySize === 0 && valueSize !== 0 && maxEntries !== 0,
    hasOnly(flags, BPF_F_NUMA_NODE | BPF_F_ZERO_SEED | accessFlags),
    accessOk(flags),
    extra >= 0n && extra <= 0xfn
  )

const checkRing = (attr: MapAttributes, pageSize: number): number =>
  isTrue(
    hasOnly(attr.flags, BPF_F_NUMA_NODE),
    attr.keySize === 0 && attr.valueSize === 0,
    isPowerOfTwo(attr.maxEntries) && attr.maxEntries % pageSize === 0
  )

const checkDevices = ({ flags, keySize, maxEntries, type, valueSize }: MapAttributes): number => {
  const ok = maxEntries !== 0 && keySize === 4 && (valueSize === 4 || valueSize === 8) &&
    hasOnly(flags, BPF_F_NUMA_NODE | userFlags)
  return ok && (type !== MapType.BPF_MAP_TYPE_DEVMAP_HASH || maxEntries <= 2 ** 31) ? 0 : -numbers.EINVAL
}

const checkCpus = ({ flags, keySize, maxEntries, valueSize }: MapAttributes, maximumCpus: number): number =>
  maxEntries === 0 || keySize !== 4 || (valueSize !== 4 && valueSize !== 8) || !hasOnly(flags, BPF_F_NUMA_NODE)
    ? -numbers.EINVAL
    : maxEntries > maximumCpus
    ? -numbers.E2BIG
    : 0

const checkStackTraces = ({ flags, keySize, maxEntries, valueSize }: MapAttributes): number => {
  const frame = (flags & BPF_F_STACK_BUILD_ID) === 0 ? 8 : buildIdBytes
  const ok = hasOnly(flags, BPF_F_NUMA_NODE | userFlags | BPF_F_STACK_BUILD_ID) && maxEntries !== 0 && keySize === 4 &&
    valueSize >= 8 && valueSize % frame === 0 && valueSize / frame <= maximumFrames
  return !ok ? -numbers.EINVAL : maxEntries > 2 ** 31 ? -numbers.E2BIG : 0
}

const checkSockets = ({ flags, keySize, maxEntries, type, valueSize }: MapAttributes): number => {
  const isHash = type === MapType.BPF_MAP_TYPE_SOCKHASH
  const ok = maxEntries !== 0 && (isHash ? keySize !== 0 : keySize === 4) && (valueSize === 4 || valueSize === 8) &&
    hasOnly(flags, BPF_F_NUMA_NODE | userFlags)
  return !ok ? -numbers.EINVAL : isHash && keySize > stackBytes ? -numbers.E2BIG : 0
}

const checkCgroupStorage = ({ flags, keySize, maxEntries, type, valueSize }: MapAttributes): number => {
  const maximum = type === MapType.BPF_MAP_TYPE_CGROUP_STORAGE ? storageValueMaximum : perCpuMaximum
  if ((keySize !== 16 && keySize !== 8) || valueSize === 0) return -numbers.EINVAL
  if (valueSize > maximum) return -numbers.E2BIG
  return isTrue(hasOnly(flags, BPF_F_NUMA_NODE | accessFlags), accessOk(flags), maxEntries === 0)
}

const checkStorage = ({ flags, keySize, maxEntries, valueSize }: MapAttributes, hasTypes: boolean): number => {
  const ok = hasOnly(flags, BPF_F_NO_PREALLOC | BPF_F_CLONE) && (flags & BPF_F_NO_PREALLOC) !== 0 && maxEntries === 0 &&
    keySize === 4 && valueSize !== 0 && hasTypes
  return !ok ? -numbers.EINVAL : valueSize > storageValueMaximum ? -numbers.E2BIG : 0
}

const checkArena = ({ extra, flags, keySize, maxEntries, valueSize }: MapAttributes, pageSize: number): number => {
  const allowed = BPF_F_SEGV_ON_FAULT | BPF_F_MMAPABLE | BPF_F_NO_USER_CONV
  const ok = keySize === 0 && valueSize === 0 && maxEntries !== 0 && (flags & BPF_F_MMAPABLE) !== 0 &&
    hasOnly(flags, allowed) && extra % BigInt(pageSize) === 0n
  if (!ok) return -numbers.EINVAL
  const range = BigInt(maxEntries) * BigInt(pageSize)
  if (range > 1n << 32n) return -numbers.E2BIG
  return extra >> 32n === BigInt.asUintN(64, extra + range - 1n) >> 32n ? 0 : -numbers.ERANGE
}

const checkType = (attr: MapAttributes, around: Surroundings): number => {
  switch (attr.type) {
    case MapType.BPF_MAP_TYPE_ARRAY:
    case MapType.BPF_MAP_TYPE_PERCPU_ARRAY:
      return checkArray(attr)
    case MapType.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY:
      return attr.valueSize === 4 || attr.valueSize === 8 ? checkArray(attr) : -numbers.EINVAL
    case MapType.BPF_MAP_TYPE_PROG_ARRAY:
    case MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
    case MapType.BPF_MAP_TYPE_CGROUP_ARRAY:
    case MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS:
      return checkSlots(attr)
    case MapType.BPF_MAP_TYPE_HASH_OF_MAPS:
      return attr.valueSize === 4 ? checkHash(attr, around.possibleCpus) : -numbers.EINVAL
    case MapType.BPF_MAP_TYPE_HASH:
    case MapType.BPF_MAP_TYPE_PERCPU_HASH:
    case MapType.BPF_MAP_TYPE_LRU_HASH:
    case MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH:
      return checkHash(attr, around.possibleCpus)
    case MapType.BPF_MAP_TYPE_LPM_TRIE:
      return checkTrie(attr)
    case MapType.BPF_MAP_TYPE_QUEUE:
    case MapType.BPF_MAP_TYPE_STACK:
      return checkQueue(attr)
    case MapType.BPF_MAP_TYPE_BLOOM_FILTER:
      return checkBloom(attr)
    case MapType.BPF_MAP_TYPE_RINGBUF:
    case MapType.BPF_MAP_TYPE_USER_RINGBUF:
      return checkRing(attr, around.pageSize)
    case MapType.BPF_MAP_TYPE_DEVMAP:
    case MapType.BPF_MAP_TYPE_DEVMAP_HASH:
      return checkDevices(attr)
    case MapType.BPF_MAP_TYPE_CPUMAP:
      return checkCpus(attr, around.maximumCpus)
    case MapType.BPF_MAP_TYPE_XSKMAP:
      return isTrue(
        attr.maxEntries !== 0 && attr.keySize === 4 && attr.valueSize === 4,
        hasOnly(attr.flags, BPF_F_NUMA_NODE | userFlags)
      )
    case MapType.BPF_MAP_TYPE_STACK_TRACE:
      return checkStackTraces(attr)
    case MapType.BPF_MAP_TYPE_SOCKMAP:
    case MapType.BPF_MAP_TYPE_SOCKHASH:
      return checkSockets(attr)
    case MapType.BPF_MAP_TYPE_CGROUP_STORAGE:
    case MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
      return checkCgroupStorage(attr)
    case MapType.BPF_MAP_TYPE_SK_STORAGE:
    case MapType.BPF_MAP_TYPE_INODE_STORAGE:
    case MapType.BPF_MAP_TYPE_TASK_STORAGE:
    case MapType.BPF_MAP_TYPE_CGRP_STORAGE:
      return checkStorage(attr, around.hasTypes)
    case MapType.BPF_MAP_TYPE_ARENA:
      return checkArena(attr, around.pageSize)
    case MapType.BPF_MAP_TYPE_STRUCT_OPS:
      return isTrue(
        attr.keySize === 4 && attr.maxEntries === 1 && around.structSize === attr.valueSize,
        hasOnly(attr.flags, MapFlag.BPF_F_LINK)
      )
    default:
      // Types that are newer than 6.18.
      return -numbers.EINVAL
  }
}

/** The attributes as the kernel keeps them: rounded, and without the flags that are the descriptor's. */
export const kept = (attr: MapAttributes, possibleCpus: number): MapAttributes => ({
  ...attr,
  // Programs get pointers to the values of device maps, and must not write there.
  flags: (attr.flags & ~userFlags) |
    (attr.type === MapType.BPF_MAP_TYPE_DEVMAP || attr.type === MapType.BPF_MAP_TYPE_DEVMAP_HASH
      ? BPF_F_RDONLY_PROG
      : 0),
  maxEntries: hashEntries(attr, possibleCpus)
})

/** What a map takes from its creation on in the kernel, bytes; what it takes here once all of it was touched. */
const memoryBytes = (attr: MapAttributes, around: Surroundings): number => {
  const { flags, keySize, maxEntries, type, valueSize } = attr
  const value = roundUp8(valueSize)
  switch (type) {
    case MapType.BPF_MAP_TYPE_ARRAY:
      return maxEntries * value
    case MapType.BPF_MAP_TYPE_PERCPU_ARRAY:
      return maxEntries * value * around.possibleCpus
    case MapType.BPF_MAP_TYPE_HASH:
    case MapType.BPF_MAP_TYPE_LRU_HASH:
    case MapType.BPF_MAP_TYPE_HASH_OF_MAPS:
      return (flags & BPF_F_NO_PREALLOC) === 0 ? maxEntries * (hashElementBytes + roundUp8(keySize) + value) : 0
    case MapType.BPF_MAP_TYPE_PERCPU_HASH:
    case MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH: {
      const element = hashElementBytes + roundUp8(keySize) + value * around.possibleCpus
      return (flags & BPF_F_NO_PREALLOC) === 0 ? maxEntries * element : 0
    }
    case MapType.BPF_MAP_TYPE_QUEUE:
    case MapType.BPF_MAP_TYPE_STACK:
      return maxEntries * value
    case MapType.BPF_MAP_TYPE_BLOOM_FILTER:
      return bitsOf(maxEntries, attr.extra) / 8
    case MapType.BPF_MAP_TYPE_RINGBUF:
    case MapType.BPF_MAP_TYPE_USER_RINGBUF:
      return memoryOf(maxEntries, around.pageSize)
    case MapType.BPF_MAP_TYPE_LPM_TRIE:
      return 0
    default:
      // Arrays of pointers, and types of which only the creation is simulated.
      return maxEntries * 8
  }
}

const offloadable: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_ARRAY, MapType.BPF_MAP_TYPE_HASH])

/** Types whose attributes are checked only when the map is made, after the token and the device were looked at. */
const checkedLate: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_LPM_TRIE,
  MapType.BPF_MAP_TYPE_STACK_TRACE,
  MapType.BPF_MAP_TYPE_DEVMAP,
  MapType.BPF_MAP_TYPE_DEVMAP_HASH,
  MapType.BPF_MAP_TYPE_CPUMAP,
  MapType.BPF_MAP_TYPE_XSKMAP,
  MapType.BPF_MAP_TYPE_SOCKMAP,
  MapType.BPF_MAP_TYPE_SOCKHASH,
  MapType.BPF_MAP_TYPE_CGROUP_STORAGE,
  MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
  MapType.BPF_MAP_TYPE_RINGBUF,
  MapType.BPF_MAP_TYPE_USER_RINGBUF,
  MapType.BPF_MAP_TYPE_ARENA
])

/** What the kernel says of a token (none can be named by a call, and descriptor 0 is none) and of a device to offload to. */
const checkPlace = (attr: MapAttributes): number => {
  if ((attr.flags & BPF_F_TOKEN_FD) !== 0) return -numbers.EINVAL
  if (attr.ifindex === 0) return 0
  return offloadable.has(attr.type) ? -numbers.EOPNOTSUPP : -numbers.EINVAL
}

/** Whether a map of these attributes can be created: 0 or a negative error number. */
export const check = (attr: MapAttributes, around: Surroundings): number => {
  const takesExtra = attr.type === MapType.BPF_MAP_TYPE_BLOOM_FILTER || attr.type === MapType.BPF_MAP_TYPE_ARENA
  if (!takesExtra && attr.extra !== 0n) return -numbers.EINVAL
  if ((attr.flags & userFlags) === userFlags) return -numbers.EINVAL
  // There is one node of memory.
  if (wantsNode(attr) && attr.numaNode !== 0) return -numbers.EINVAL
  const plain = { ...attr, flags: attr.flags & ~BPF_F_TOKEN_FD }
  const refused = (checkedLate.has(attr.type) ? checkPlace(attr) : 0) || checkType(plain, around) || checkPlace(attr)
  if (refused !== 0) return refused
  return memoryBytes(kept(attr, around.possibleCpus), around) > around.memoryLimit ? -numbers.ENOMEM : 0
}
