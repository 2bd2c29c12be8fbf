/**
 * What an error number most likely means of a call on maps and their memory.
 *
 * Sources: `kernel/bpf/syscall.c` and the maps' `*_alloc_check` functions; reference page `peers`, section 5.
 */
import type { MapAttributes } from "../KernelCall.ts"
import { MapFlag, mapTypeName, MapType } from "./BpfConstants.ts"
import { general, type Hint } from "./GeneralHints.ts"
import { isOfMaps, isRing, isStorage } from "./MapShape.ts"

const isPowerOfTwo = (value: number): boolean => value > 0 && 2 ** Math.round(Math.log2(value)) === value

/** Why a map with these attributes was refused. */
export const mapCreate = (
  attr: MapAttributes,
  hasInner: boolean,
  pageSize: number,
  isExclusive = false
): Hint =>
(errno) => {
  if (errno !== "EINVAL" && errno !== "E2BIG") return general(errno)
  const type = mapTypeName(attr.type)
  if (isRing(attr.type)) {
    if (attr.keySize !== 0 || attr.valueSize !== 0) {
      return `a ${type} has neither keys nor values: their sizes must be 0`
    }
    if (attr.maxEntries % pageSize !== 0 || !isPowerOfTwo(attr.maxEntries)) {
      return `the size of a ${type} in bytes must be a power of two and a multiple of the page size, ${pageSize}`
    }
  }
  if (isOfMaps(attr.type) && !hasInner) return `a ${type} must be told the shape of its inner maps`
  if (attr.maxEntries === 0 && !isStorage(attr.type)) {
    return `a ${type} must have at least one entry: max_entries is 0`
  }
  if (attr.type === MapType.BPF_MAP_TYPE_ARRAY || attr.type === MapType.BPF_MAP_TYPE_PERCPU_ARRAY) {
    if (attr.keySize !== 4) return `the keys of a ${type} are indices of 4 bytes, not ${attr.keySize}`
    if (attr.valueSize === 0) return `the values of a ${type} must have at least one byte`
  }
  if (attr.type === MapType.BPF_MAP_TYPE_LPM_TRIE && (attr.flags & MapFlag.BPF_F_NO_PREALLOC) === 0) {
    return `a ${type} must be created with BPF_F_NO_PREALLOC`
  }
  if (isStorage(attr.type) && attr.maxEntries !== 0) return `a ${type} takes no max_entries`
  // What is behind the fields that a kernel knows must be zero.
  if (isExclusive) return "this kernel may know no maps for one program alone: Linux 6.18 was the first"
  if (errno === "E2BIG") return "the elements together are larger than the kernel allows"
  return `this kernel may not know map type ${type} or one of its flags (0x${
    attr.flags.toString(16)
  }): see \`feature probe\``
}

/** Why an element was not written. */
export const mapUpdate: Hint = (errno) => {
  switch (errno) {
    case "EINVAL":
      return "the map does not take this flag, or holds no such value: a map of another shape than its inner map, a program " +
        "of another type than those it has. Keys of arrays can be no new ones (BPF_NOEXIST), read-only maps " +
        "take none, and prefixes of tries are no longer than their keys"
    case "E2BIG":
      return "the map is full, or the index is beyond its last element"
    case "EEXIST":
      return "the element exists, and the call asked for a new one (BPF_NOEXIST)"
    case "ENOENT":
      return "the element does not exist, and the call asked for an existing one (BPF_EXIST)"
    case "EPERM":
      return "the map is frozen or read-only for user space, or the process may not write to maps"
    case "EBADF":
      return "the value names an object that does not exist: it was not created, or creating it failed"
    case "EBUSY":
      return "the element is in use: by another update, or because a struct of the kernel's is registered once only"
    case "ENOTSUPP":
    case "EOPNOTSUPP":
      return "maps of this type are not written element by element from user space, or not with this flag"
    default:
      return general(errno)
  }
}

/** Why an element was not read. */
export const mapLookup: Hint = (errno) => {
  switch (errno) {
    case "ENOENT":
      return "the map has no element of this key"
    case "EINVAL":
      return "the map does not take this flag, or its elements have no lock (BPF_F_LOCK)"
    case "EPERM":
      return "the map cannot be read from user space (BPF_F_WRONLY), or the process may not read maps"
    case "E2BIG":
      return "the index is beyond the last element"
    case "EAGAIN":
      return "the element is being written: repeat the call"
    case "ENOTSUPP":
    case "EOPNOTSUPP":
      return "maps of this type are not read element by element from user space"
    default:
      return general(errno)
  }
}

/** Why an element was not removed. */
export const mapDelete: Hint = (errno) => {
  switch (errno) {
    case "ENOENT":
      return "the map has no element of this key"
    case "EINVAL":
      return "elements of arrays are always there: write zeros over them"
    case "EPERM":
      return "the map is frozen or read-only for user space, or the process may not write to maps"
    case "EBUSY":
      return "the element is in use: repeat the call"
    case "E2BIG":
      return "the index is beyond the last element"
    case "ENOTSUPP":
    case "EOPNOTSUPP":
      return "elements of maps of this type are not removed from user space; a struct that has a link goes with its link"
    default:
      return general(errno)
  }
}

/** Why the next key was not told. */
export const mapNextKey: Hint = (errno) => {
  switch (errno) {
    case "ENOENT":
      return "this was the last key"
    case "EPERM":
      return "the map cannot be read from user space (BPF_F_WRONLY), or the process may not read maps"
    case "EINVAL":
    case "ENOTSUPP":
    case "EOPNOTSUPP":
      return "keys of maps of this type cannot be listed"
    default:
      return general(errno)
  }
}

/** Why a map was not frozen. */
export const mapFreeze: Hint = (errno) => {
  switch (errno) {
    case "EBUSY":
      return "the map is frozen already, or its memory is mapped for writing: close such views first"
    case "EPERM":
      return "the map is read-only for user space, or the process may not write to maps"
    case "EINVAL":
      return "this kernel cannot freeze maps: Linux 5.2 was the first"
    case "ENOTSUPP":
    case "EOPNOTSUPP":
      return "maps with timers, kernel pointers or structs of the kernel cannot be frozen"
    default:
      return general(errno)
  }
}

/** Why memory of a map was not mapped. */
export const mapMmap: Hint = (errno) => {
  switch (errno) {
    case "EPERM":
      return "the map is frozen or read-only, or these pages may not be written by user space: map them for reading"
    case "EINVAL":
      return "offset and length must be multiples of the page size and lie within the map"
    case "EOPNOTSUPP":
    case "ENOTSUPP":
    case "ENODEV":
      return "only array maps with BPF_F_MMAPABLE, ring buffers and arenas can be mapped"
    case "EACCES":
      return "the descriptor does not permit it: the map is read-only for user space, or is opened for one direction only"
    case "EBUSY":
      return "the arena has its place already, and it is another one"
    case "EEXIST":
      return "something else of this process is at the address that the map must have"
    case "EAGAIN":
      return "this process may lock no more memory: raise the limit (ulimit -l)"
    default:
      return general(errno)
  }
}

/** Why bytes were not written to shared memory. */
export const viewWrite: Hint = (errno) =>
  errno === "EINVAL" ? "the bytes must lie within the view, which must be mapped for writing" : general(errno)
