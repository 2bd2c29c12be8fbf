/**
 * What the types of maps are like: which hold maps, which are rings, and the simplest map of each.
 *
 * Source: the `map_alloc_check` functions of `kernel/bpf/*.c`; reference page `features`, section 3.
 */
import { MapFlag, MapType } from "./BpfConstants.ts"

/** Whether the elements of a map of this type are maps. */
export const isOfMaps = (type: number): boolean =>
  type === MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS || type === MapType.BPF_MAP_TYPE_HASH_OF_MAPS

/** Whether maps of this type are rings, whose size in bytes is `max_entries`. */
export const isRing = (type: number): boolean =>
  type === MapType.BPF_MAP_TYPE_RINGBUF || type === MapType.BPF_MAP_TYPE_USER_RINGBUF

/** Whether the kernel must know the types of keys and values of maps of this type: storage of its objects. */
export const needsTypes = (type: number): boolean =>
  type === MapType.BPF_MAP_TYPE_SK_STORAGE || type === MapType.BPF_MAP_TYPE_INODE_STORAGE ||
  type === MapType.BPF_MAP_TYPE_TASK_STORAGE || type === MapType.BPF_MAP_TYPE_CGRP_STORAGE

/** Whether maps of this type are storage of a control group alone. */
export const isCgroupStorage = (type: number): boolean =>
  type === MapType.BPF_MAP_TYPE_CGROUP_STORAGE || type === MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE

/** Whether maps of this type take no number of elements: what they belong to decides it. */
export const isStorage = (type: number): boolean => needsTypes(type) || isCgroupStorage(type)

/** Sizes, in bytes, number of elements and flags of a map. */
export interface MapShape {
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
  readonly flags: number
}

/** One value of 4 bytes under a key of 4 bytes. */
const least: MapShape = { keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 }

/**
 * The simplest map of a type; of types that are not known here that of a hash. A ring has `ringSize` bytes, a power of two and a
 * multiple of the page size. Maps of maps, storage and struct_ops maps need an inner map or types besides.
 */
export const simplest = (type: number, ringSize: number): MapShape => {
  if (isRing(type)) return { ...least, keySize: 0, valueSize: 0, maxEntries: ringSize }
  if (needsTypes(type)) return { ...least, maxEntries: 0, flags: MapFlag.BPF_F_NO_PREALLOC }
  switch (type) {
    case MapType.BPF_MAP_TYPE_STACK_TRACE:
      return { ...least, valueSize: 8 }
    case MapType.BPF_MAP_TYPE_LPM_TRIE:
      return { ...least, keySize: 8, valueSize: 8, flags: MapFlag.BPF_F_NO_PREALLOC }
    case MapType.BPF_MAP_TYPE_RHASH:
      return { ...least, flags: MapFlag.BPF_F_NO_PREALLOC }
    case MapType.BPF_MAP_TYPE_CGROUP_STORAGE:
    case MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
      return { ...least, keySize: 16, valueSize: 8, maxEntries: 0 }
    case MapType.BPF_MAP_TYPE_QUEUE:
    case MapType.BPF_MAP_TYPE_STACK:
    case MapType.BPF_MAP_TYPE_BLOOM_FILTER:
      return { ...least, keySize: 0 }
    case MapType.BPF_MAP_TYPE_ARENA:
      return { ...least, keySize: 0, valueSize: 0, flags: MapFlag.BPF_F_MMAPABLE }
    case MapType.BPF_MAP_TYPE_INSN_ARRAY:
      return { ...least, valueSize: 16 }
    default:
      return least
  }
}
