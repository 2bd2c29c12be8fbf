/**
 * What an error number of bpf(2) most likely means, and what to do about it. The kernel gives one number for many
 * causes; the arguments of the call often tell which it was.
 *
 * Sources: `kernel/bpf/syscall.c` and the maps' `*_alloc_check` functions; reference page `peers`, section 5.
 */
import { ofAttaching } from "./AttachHints.ts"
import { ofElements } from "./ElementHints.ts"
import { general, type Hint, permission } from "./GeneralHints.ts"
import { ProgType, progTypeName } from "./BpfConstants.ts"
import { mapDelete, mapFreeze, mapLookup, mapMmap, mapNextKey, mapUpdate, viewWrite } from "./MapHints.ts"
import type { CallTag, ProgAttributes, ProgTestRun } from "../KernelCall.ts"

export { general, type Hint } from "./GeneralHints.ts"
export { mapCreate, mapUpdate, mapLookup, mapDelete, mapNextKey, mapFreeze, mapMmap, viewWrite } from "./MapHints.ts"

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
const idNext: Hint = (errno) => {
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
const getById: Hint = (errno) => {
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
