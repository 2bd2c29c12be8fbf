/**
 * Why kernels refuse attributes of maps: what each type of map asks of its sizes, flags and types.
 *
 * Source: the `map_alloc_check` functions of `kernel/bpf/*.c`, `map_create()` of `kernel/bpf/syscall.c`.
 */
import { MapFlag, MapType, mapTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Errno } from "../../services/Kernel/abi/Errno.ts"
import { isCgroupStorage, isOfMaps, isRing, isStorage } from "../../services/Kernel/abi/MapShape.ts"
import type { MapAttributes, MapCreate } from "../../services/Kernel/KernelCall.ts"
import type { RefusedAttribute } from "../../services/Kernel/KernelError.ts"

const isAnyOf = (...types: ReadonlyArray<number>): (type: number) => boolean => {
  const set = new Set(types)
  return (type) => set.has(type)
}

/** Maps whose keys are indices. */
const isIndexed = isAnyOf(
  MapType.BPF_MAP_TYPE_ARRAY,
  MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  MapType.BPF_MAP_TYPE_PROG_ARRAY,
  MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
  MapType.BPF_MAP_TYPE_CGROUP_ARRAY,
  MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  MapType.BPF_MAP_TYPE_DEVMAP,
  MapType.BPF_MAP_TYPE_DEVMAP_HASH,
  MapType.BPF_MAP_TYPE_CPUMAP,
  MapType.BPF_MAP_TYPE_XSKMAP,
  MapType.BPF_MAP_TYPE_SOCKMAP,
  MapType.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY,
  MapType.BPF_MAP_TYPE_STACK_TRACE,
  MapType.BPF_MAP_TYPE_INSN_ARRAY
)

const isKeyless = isAnyOf(
  MapType.BPF_MAP_TYPE_QUEUE,
  MapType.BPF_MAP_TYPE_STACK,
  MapType.BPF_MAP_TYPE_BLOOM_FILTER,
  MapType.BPF_MAP_TYPE_RINGBUF,
  MapType.BPF_MAP_TYPE_USER_RINGBUF,
  MapType.BPF_MAP_TYPE_ARENA
)

/** Maps whose values stand for objects of the kernel. */
const isOfObjects = isAnyOf(
  MapType.BPF_MAP_TYPE_PROG_ARRAY,
  MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
  MapType.BPF_MAP_TYPE_CGROUP_ARRAY,
  MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  MapType.BPF_MAP_TYPE_HASH_OF_MAPS,
  MapType.BPF_MAP_TYPE_XSKMAP
)

/** The stack of a program holds a key at most. */
const longestKey = 512

/** Frames of a stack that the kernel collects, unless its sysctl says otherwise. */
const mostFrames = 127

const ofKeySize = ({ keySize, type }: MapAttributes): string | undefined => {
  if (isKeyless(type)) return "this type has no keys: 0"
  if (isIndexed(type)) return "keys of this type are indices of 4 bytes"
  if (isCgroupStorage(type)) return "keys are 8 bytes, or a struct bpf_cgroup_storage_key of 16"
  if (isStorage(type)) return "keys of this type are descriptors of 4 bytes"
  if (type === MapType.BPF_MAP_TYPE_LPM_TRIE) return "keys are 4 bytes of the prefix's length and 1 to 256 of data"
  if (keySize === 0) return "a key has at least one byte"
  return keySize > longestKey ? `a key has at most ${longestKey} bytes` : undefined
}

const ofValueSize = ({ type, valueSize }: MapAttributes): string | undefined => {
  if (isRing(type) || type === MapType.BPF_MAP_TYPE_ARENA) return "this type has no values: 0"
  if (isOfObjects(type)) return "values of this type are 4 bytes"
  switch (type) {
    case MapType.BPF_MAP_TYPE_STACK_TRACE:
      return `a value is a multiple of 8 bytes, 8 for each frame and for at most ${mostFrames} of them`
    case MapType.BPF_MAP_TYPE_DEVMAP:
    case MapType.BPF_MAP_TYPE_DEVMAP_HASH:
    case MapType.BPF_MAP_TYPE_CPUMAP:
    case MapType.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY:
    case MapType.BPF_MAP_TYPE_SOCKMAP:
    case MapType.BPF_MAP_TYPE_SOCKHASH:
      return "values of this type are 4 bytes, or 8"
    case MapType.BPF_MAP_TYPE_INSN_ARRAY:
      return "values of this type are 16 bytes"
    case MapType.BPF_MAP_TYPE_STRUCT_OPS:
      return "the value is a struct of the kernel's: the size must be that of it"
    default:
      return valueSize === 0 ? "a value has at least one byte" : "the kernel takes no values of so many bytes"
  }
}

const ofMaxEntries = ({ maxEntries, type }: MapAttributes): string | undefined => {
  if (isStorage(type)) return "how many elements there are is decided by what they belong to: 0"
  if (maxEntries === 0) return "at least one"
  if (isRing(type)) return "the size in bytes is a power of two and a multiple of the page size"
  if (type === MapType.BPF_MAP_TYPE_CPUMAP) return "at most as many as there can be CPUs"
  if (type === MapType.BPF_MAP_TYPE_STRUCT_OPS) return "exactly one"
  return type === MapType.BPF_MAP_TYPE_ARENA
    ? "so many pages are more than 4 GiB"
    : "more elements than the kernel takes"
}

const ofFlag = (flag: number, isMissing: boolean): string | undefined => {
  if (isMissing) return "this type is created with it only"
  switch (flag) {
    case MapFlag.BPF_F_NO_PREALLOC:
      return "elements of this type are always made beforehand"
    case MapFlag.BPF_F_NO_COMMON_LRU:
      return "for LRU hashes only"
    case MapFlag.BPF_F_MMAPABLE:
      return "for arrays and arenas only"
    case MapFlag.BPF_F_STACK_BUILD_ID:
      return "for stack traces only"
    case MapFlag.BPF_F_ZERO_SEED:
      return "for hashes and bloom filters only"
    case MapFlag.BPF_F_RDONLY:
    case MapFlag.BPF_F_WRONLY:
      return "this type is read and written by user space, or not together with the other one"
    case MapFlag.BPF_F_RDONLY_PROG:
    case MapFlag.BPF_F_WRONLY_PROG:
      return "programs use maps of this type both ways, or not together with the other one"
    case MapFlag.BPF_F_CLONE:
      return "for storage of sockets only"
    case MapFlag.BPF_F_PRESERVE_ELEMS:
      return "for arrays of perf events only"
    case MapFlag.BPF_F_INNER_MAP:
      return "for arrays only"
    case MapFlag.BPF_F_LINK:
      return "for struct_ops maps only"
    case MapFlag.BPF_F_NUMA_NODE:
      return "this type is not placed on a node"
    case MapFlag.BPF_F_SEGV_ON_FAULT:
    case MapFlag.BPF_F_NO_USER_CONV:
      return "for arenas only"
    case MapFlag.BPF_F_RB_OVERWRITE:
      return "for ring buffers of newer kernels only"
    default:
      return undefined
  }
}

const ofExtra = (type: number): string => {
  switch (type) {
    case MapType.BPF_MAP_TYPE_BLOOM_FILTER:
      return "a bloom filter has at most 15 hash functions"
    case MapType.BPF_MAP_TYPE_ARENA:
      return "the address of an arena is a multiple of the page size, and it ends within 4 GiB of a multiple of them"
    default:
      return "for bloom filters and arenas only: 0"
  }
}

const general = "this kernel does not take it for maps of this type"

/** Why an attribute of a map is refused that was found to be. */
export const reasonOf = (
  { attr, inner, types }: MapCreate,
  errno: Errno,
  { attribute, flag, isMissing = false }: {
    readonly attribute: RefusedAttribute["attribute"]
    readonly flag?: number
    readonly isMissing?: boolean
  }
): string => {
  const { type } = attr
  switch (attribute) {
    case "type":
      return `this kernel does not know ${mapTypeName(type)} maps, or was built without them: see \`feature probe\``
    case "key_size":
      return ofKeySize(attr) ?? general
    case "value_size":
      return ofValueSize(attr) ?? general
    case "max_entries":
      return errno === "E2BIG" && attr.maxEntries > 0 && !isRing(type) && !isStorage(type)
        ? "the elements together are larger than the kernel takes"
        : ofMaxEntries(attr) ?? general
    case "map_flags":
      return ofFlag(flag ?? 0, isMissing) ?? "this kernel does not know the flag, or not for this type"
    case "numa_node":
      return "this machine has no such node of memory, or BPF_F_NUMA_NODE is not among the flags"
    case "map_ifindex":
      return "the device of this number takes no maps of this type, or does not exist"
    case "map_extra":
      return ofExtra(type)
    case "map_name":
      return "kernels before Linux 4.15 take no names"
    case "inner_map":
      return inner === undefined
        ? "this type is created with a map whose shape its inner maps have"
        : isOfMaps(type)
        ? "a map of this kind cannot be an inner map"
        : "for maps of maps only"
    case "btf":
      return types === undefined
        ? "the kernel needs the types of key and value for this type"
        : "the types of key or value have other sizes than key_size and value_size, or this kernel takes none for this type"
    case "value_type":
      return type === MapType.BPF_MAP_TYPE_STRUCT_OPS
        ? "this kernel does not let programs implement the struct, or was built without struct_ops maps"
        : "for struct_ops maps only"
    case "exclusive_to":
      return "this kernel knows no maps for one program alone: Linux 6.18 was the first"
  }
}
