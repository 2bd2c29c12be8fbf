/**
 * What an error number of bpf(2) most likely means, and what to do about it. The kernel gives one number for many
 * causes; the arguments of the call often tell which it was.
 *
 * Sources: `kernel/bpf/syscall.c` and the maps' `*_alloc_check` functions; reference page `peers`, section 5.
 */
import type { Errno } from "./Errno.ts"
import { MapFlag, mapTypeName, MapType, ProgType, progTypeName } from "./BpfConstants.ts"
import type { MapAttributes, ProgAttributes, ProgTestRun } from "../KernelCall.ts"

/** A hint for an error of a call. */
export type Hint = (errno: Errno) => string | undefined

const permission =
  "run as root, or give the process CAP_BPF and, for the type at hand, CAP_PERFMON, CAP_NET_ADMIN or CAP_SYS_ADMIN; " +
  "containers and seccomp filters take them away, and so does kernel lockdown. Before Linux 5.11 the limit on locked " +
  "memory can be the cause as well: ulimit -l unlimited"

/** What an error number means whatever the call was. */
export const general: Hint = (errno) => {
  switch (errno) {
    case "EPERM":
      return permission
    case "EACCES":
      return "a security policy refused it, or the map is read-only for user space"
    case "ENOSYS":
      return "this kernel was built without CONFIG_BPF_SYSCALL, or a seccomp filter hides bpf(2)"
    case "ENOMEM":
      return "the kernel has no memory for it: ask for fewer or smaller elements, or raise the memory limit of the cgroup"
    case "EMFILE":
    case "ENFILE":
      return "too many open descriptors: raise the limit (ulimit -n), or close what is not needed"
    case "ENOTSUPP":
    case "EOPNOTSUPP":
      return "this kernel does not support it: see `feature probe`"
    default:
      return undefined
  }
}

const isPowerOfTwo = (value: number): boolean => value > 0 && 2 ** Math.round(Math.log2(value)) === value

/** Map types whose number of entries the kernel or the object's BTF decides. */
const withoutEntries: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_SK_STORAGE,
  MapType.BPF_MAP_TYPE_INODE_STORAGE,
  MapType.BPF_MAP_TYPE_TASK_STORAGE,
  MapType.BPF_MAP_TYPE_CGRP_STORAGE,
  MapType.BPF_MAP_TYPE_CGROUP_STORAGE,
  MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE
])

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
  const isRing = attr.type === MapType.BPF_MAP_TYPE_RINGBUF || attr.type === MapType.BPF_MAP_TYPE_USER_RINGBUF
  const isNested = attr.type === MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS || attr.type === MapType.BPF_MAP_TYPE_HASH_OF_MAPS
  if (isRing) {
    if (attr.keySize !== 0 || attr.valueSize !== 0) {
      return `a ${type} has neither keys nor values: their sizes must be 0`
    }
    if (attr.maxEntries % pageSize !== 0 || !isPowerOfTwo(attr.maxEntries)) {
      return `the size of a ${type} in bytes must be a power of two and a multiple of the page size, ${pageSize}`
    }
  }
  if (isNested && !hasInner) return `a ${type} must be told the shape of its inner maps`
  if (attr.maxEntries === 0 && !withoutEntries.has(attr.type)) {
    return `a ${type} must have at least one entry: max_entries is 0`
  }
  if (attr.type === MapType.BPF_MAP_TYPE_ARRAY || attr.type === MapType.BPF_MAP_TYPE_PERCPU_ARRAY) {
    if (attr.keySize !== 4) return `the keys of a ${type} are indices of 4 bytes, not ${attr.keySize}`
    if (attr.valueSize === 0) return `the values of a ${type} must have at least one byte`
  }
  if (attr.type === MapType.BPF_MAP_TYPE_LPM_TRIE && (attr.flags & MapFlag.BPF_F_NO_PREALLOC) === 0) {
    return `a ${type} must be created with BPF_F_NO_PREALLOC`
  }
  if (withoutEntries.has(attr.type) && attr.maxEntries !== 0) return `a ${type} takes no max_entries`
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
      return "the element is in use"
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
    default:
      return general(errno)
  }
}

/** Why a program with these attributes was refused when the verifier said nothing of use. */
export const progLoad = (attr: ProgAttributes, log: string): Hint => (errno) => {
  const type = progTypeName(attr.type)
  switch (errno) {
    case "EPERM":
      return log === "" ? permission : undefined
    case "EINVAL":
      if (log !== "") return undefined
      return attr.type === ProgType.BPF_PROG_TYPE_UNSPEC
        ? "the program has no type: its section name says none that is known"
        : `the kernel refused the attributes before verification: it may not know program type ${type}, attach type ` +
          `${attr.expectedAttachType} or a flag (0x${attr.flags.toString(16)}): see \`feature probe\``
    case "E2BIG":
      return "the program has more instructions than this kernel takes, or records longer than it knows"
    case "EAGAIN":
      return "the verifier was disturbed by signals again and again: is a sampling profiler running?"
    case "EFAULT":
      return "the verifier met a state that it holds for impossible: please report the program to bpf@vger.kernel.org"
    case "ENOSPC":
      return "the verifier's log is longer than the largest buffer that the kernel takes: ask for a lower log level"
    case "EBADF":
      return "a descriptor that the program refers to is none of a BPF object"
    default:
      // Where the verifier has said something, its word counts.
      return log === "" ? general(errno) : undefined
  }
}

/** Bytes of an Ethernet header, the least that a packet program is tested with. */
const ethernetHeader = 14

/** Why a program was not run. */
export const testRun = (call: ProgTestRun): Hint => (errno) => {
  switch (errno) {
    case "EINVAL":
      if (call.dataIn !== undefined && call.dataIn.length < ethernetHeader) {
        return `packets have at least ${ethernetHeader} bytes, this one has ${call.dataIn.length}`
      }
      return "this type of program may take a context instead of data, or no repetition (repeat 0), or no room for data"
    case "ENOTSUPP":
    case "EOPNOTSUPP":
      return "programs of this type cannot be run on demand"
    default:
      return general(errno)
  }
}

/** Why an object was not pinned. */
export const objPin: Hint = (errno) => {
  switch (errno) {
    case "EEXIST":
      return "something is pinned at this path already: remove it, or choose another path"
    case "ENOENT":
      return "the folder does not exist"
    case "EPERM":
    case "EACCES":
      return "names in a bpf file system may contain no dots, and the folder must be writable"
    default:
      return general(errno)
  }
}

/** Why a pin was not removed. */
export const objUnpin: Hint = (errno) => {
  switch (errno) {
    case "ENOENT":
      return "nothing is pinned at this path"
    case "EBUSY":
      return "this session has pins that it takes back if it fails, which this call could not: commit it first"
    case "EPERM":
    case "EACCES":
      return "the path is a folder, or its folder is not writable"
    case "EISDIR":
      return "the path is a folder: name the pins in it"
    default:
      return general(errno)
  }
}

/** Why a pin was not opened. */
export const objGet: Hint = (errno) => {
  switch (errno) {
    case "ENOENT":
      return "nothing is pinned at this path"
    case "EPERM":
      return `names in a bpf file system have no dots; where this one has none: ${permission}`
    case "EACCES":
      return "the path is no pin, or its permissions do not let this process open it"
    case "EINVAL":
      return "what is at this path is not a BPF object"
    default:
      return general(errno)
  }
}
