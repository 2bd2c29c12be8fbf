/**
 * What an error number of bpf(2) most likely means, and what to do about it. The kernel gives one number for many
 * causes; the arguments of the call often tell which it was.
 *
 * Sources: `kernel/bpf/syscall.c` and the maps' `*_alloc_check` functions; reference page `peers`, section 5.
 */
import { ofAttaching } from "./AttachHints.ts"
import { ofElements } from "./ElementHints.ts"
import type { Errno } from "./Errno.ts"
import { MapFlag, mapTypeName, MapType, ProgType, progTypeName } from "./BpfConstants.ts"
import { isOfMaps, isRing } from "./MapShape.ts"
import type { CallTag, MapAttributes, ProgAttributes, ProgTestRun } from "../KernelCall.ts"

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
    case "EBADF":
      return "a descriptor that the call names is none of a BPF object: it was closed meanwhile, or is something else"
    case "EFAULT":
      return "the kernel could not read or write memory of this process that the call names: please report it"
    case "EINTR":
    case "EAGAIN":
      return "the call was disturbed again and again: repeat it"
    case "EBUSY":
      return "another process or call is using the object: repeat the call"
    case "EINVAL":
      return "this kernel does not take one of the call's arguments, or does not know the call: see `feature probe`"
    case "ENODEV":
      return "the device that the object is for is gone"
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
  if (isRing(attr.type)) {
    if (attr.keySize !== 0 || attr.valueSize !== 0) {
      return `a ${type} has neither keys nor values: their sizes must be 0`
    }
    if (attr.maxEntries % pageSize !== 0 || !isPowerOfTwo(attr.maxEntries)) {
      return `the size of a ${type} in bytes must be a power of two and a multiple of the page size, ${pageSize}`
    }
  }
  if (isOfMaps(attr.type) && !hasInner) return `a ${type} must be told the shape of its inner maps`
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
    case "EINVAL":
      return "the map does not take this flag, or holds no such value: a map of another shape than its inner map, a program " +
        "of another type than those it has. Keys of arrays can be no new ones (BPF_NOEXIST), read-only maps take none"
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

/** Why the kernel did not say what an object is. */
export const info: Hint = (errno) => {
  switch (errno) {
    case "EINVAL":
      return "the descriptor is none of such an object, or this kernel cannot tell (Linux 4.13 was the first that could)"
    case "ENODEV":
      return "the network device that the object is for is gone: close the object"
    case "E2BIG":
      return "this kernel knows fewer fields than were asked for"
    default:
      return general(errno)
  }
}

/** Why a map was not tied to a program. */
export const progBindMap: Hint = (errno) => {
  switch (errno) {
    case "EINVAL":
      return "this kernel cannot tie maps to programs: Linux 5.10 was the first"
    default:
      return general(errno)
  }
}

/** Why an identifier was not told. */
export const idNext: Hint = (errno) => {
  switch (errno) {
    case "EPERM":
      return "objects by their identifiers need root, or CAP_SYS_ADMIN; pins need neither"
    case "ENOENT":
      return "this was the last identifier"
    case "EINVAL":
      return "this kernel does not list such objects: Linux 4.13 was the first to list maps and programs, 5.8 links"
    default:
      return general(errno)
  }
}

/** Why the object of an identifier was not opened. */
export const getById: Hint = (errno) => {
  switch (errno) {
    case "EPERM":
      return idNext(errno)
    case "ENOENT":
      return "the object is gone: nobody has a descriptor, a pin or a program of it any more"
    case "EAGAIN":
      return "the link is not there yet, or is just going: list identifiers again"
    case "EINVAL":
      return "this kernel does not open such objects: Linux 4.13 was the first for maps and programs, 5.8 for links"
    default:
      return general(errno)
  }
}

/** Why a descriptor of the user's was not taken. */
export const adopt: Hint = (errno) => {
  switch (errno) {
    case "EBADF":
      return "the descriptor is not open in this process"
    case "EINVAL":
      return "the descriptor is open, but none of a map, a program or a link"
    default:
      return info(errno)
  }
}

/** Why bytes were not written to shared memory. */
export const viewWrite: Hint = (errno) =>
  errno === "EINVAL" ? "the bytes must lie within the view, which must be mapped for writing" : general(errno)

/** Why types were refused when the kernel had no word for it. */
export const btfLoad: Hint = (errno) => {
  switch (errno) {
    case "EINVAL":
      return "the blob is no BTF, or this kernel does not know one of its kinds"
    case "E2BIG":
      return "the types are longer than this kernel takes (16 MiB)"
    case "ENOSPC":
      return "what the kernel says of the types is longer than the largest buffer that it takes"
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
    case "EACCES":
      return log === ""
        ? "a security policy refused it, or the program may not use what its instructions name"
        : undefined
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
    case "E2BIG":
      return "the context is longer than this kernel knows, and its tail is not zero"
    case "ENOSPC":
      return "the data or context that came back is longer than the room for it: dataOutSize, contextOutSize"
    case "EFAULT":
      return "the kernel could not read the data, or could not write what came back"
    case "ENXIO":
      return "no such processor is online: cpu"
    case "ETIMEDOUT":
      return "the runs took longer than the kernel waits: ask for fewer (repeat)"
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
    case "EINVAL":
      return "objects are pinned in a bpf file system, and this path is in another one: mount -t bpf bpf /sys/fs/bpf"
    case "ENOTDIR":
      return "a part of the path is no folder"
    case "ENAMETOOLONG":
      return "the name is too long: 255 bytes are the most"
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
    case "EINVAL":
      return "the path is in another file system than bpf's: files there are not removed"
    case "ENOTDIR":
      return "a part of the path is no folder"
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
    case "ENOTDIR":
      return "a part of the path is no folder"
    default:
      return general(errno)
  }
}

/** Why a stream of a program was not read. */
const progStreamRead: Hint = (errno) => {
  switch (errno) {
    case "EINVAL":
      return "this kernel gives programs no streams to print to: those from 6.17 on do"
    default:
      return general(errno)
  }
}

/** Why statistics are not switched on. */
const statsEnable: Hint = (errno) => {
  switch (errno) {
    case "EPERM":
      return "statistics are switched on by root, or whoever has CAP_SYS_ADMIN"
    case "EINVAL":
      return "this kernel measures only by its setting (sysctl kernel.bpf_stats_enabled=1): those from 5.8 on do it for a while"
    default:
      return general(errno)
  }
}

/** Why waiting failed. */
const wait: Hint = (errno) => {
  switch (errno) {
    case "EMFILE":
    case "ENFILE":
      return "no descriptor is left to wait with: raise the limit (ulimit -n), or close some"
    case "EAGAIN":
      return "no thread could be started to wait on: raise the limit of processes (ulimit -u)"
    case "ENOSPC":
      return "so many descriptors may not be waited for: raise fs.epoll.max_user_watches"
    case "EBADF":
      return "a descriptor that was borrowed has been closed by its owner"
    default:
      return general(errno)
  }
}

/**
 * What an error number of a call means where nothing is known of its arguments: the handlers of `MapCreate`, `ProgLoad` and
 * `ProgTestRun` know more.
 */
export const ofCall: { readonly [T in CallTag | "Borrow"]: Hint } = {
  ...ofAttaching(general),
  ...ofElements(general),
  Adopt: adopt,
  Borrow: adopt,
  BtfGetInfo: info,
  BtfLoad: btfLoad,
  Close: general,
  GetById: getById,
  IdNext: idNext,
  LoaderRun: general,
  MapCreate: general,
  MapDelete: mapDelete,
  MapFreeze: mapFreeze,
  MapGetInfo: info,
  MapLookup: mapLookup,
  MapMmap: mapMmap,
  MapNextKey: mapNextKey,
  MapUpdate: mapUpdate,
  ObjGet: objGet,
  ObjPin: objPin,
  ObjUnpin: objUnpin,
  ProgBindMap: progBindMap,
  ProgGetInfo: info,
  ProgLoad: general,
  ProgStreamRead: progStreamRead,
  ProgTestRun: general,
  StatsEnable: statsEnable,
  ViewWrite: viewWrite,
  Wait: wait
}
