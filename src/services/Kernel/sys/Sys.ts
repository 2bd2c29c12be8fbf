/**
 * The system calls of the live kernel: bpf(2), mmap(2) and what is around them.
 *
 * Plain functions over numbers; a negative result is an error number with its sign changed, as the kernel itself
 * returns it. Nothing is retried here and nothing is released: the sessions above own both.
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Errno from "../abi/Errno.ts"
import { type Arena, relocate } from "../abi/Arena.ts"
import * as Foreign from "./Foreign.ts"
import { bpfNumber, perfEventOpenNumber, type Unavailable, uprobeNumber } from "./Platform.ts"

/** Memory of a map in this process. */
export interface Mapping {
  readonly address: bigint
  readonly length: number
  readonly buffer: ArrayBuffer
}

/** What a descriptor stands for, as far as bpf(2) goes. */
export type DescriptorKind = "Map" | "Prog" | "Link" | "Btf" | "Other"

/** The system calls. A negative number is a negated error number. */
export interface Sys {
  /** bpf(2). The arena's pointers become addresses, so each arena is for one call. */
  readonly bpf: (command: number, arena: Arena) => number
  /** bpf(2) with the two arguments that it took on last: the address of common attributes, null here, and their size. */
  readonly bpfCommon: (command: number, arena: Arena, commonSize: number) => number
  /** perf_event_open(2) of an attribute structure, which tells its own size. */
  readonly perfEventOpen: (arena: Arena, pid: number, cpu: number, groupFd: number, flags: number) => number
  /** uprobe(2), the way into the kernel of optimised uprobes: `ENXIO` from anywhere else. x86-64 alone has it. */
  readonly uprobe: () => number
  /** bpf(2) on a thread of libuv's pool, so that long verification does not stop the event loop. `done` is called once. */
  readonly bpfAsync: (command: number, arena: Arena, done: (result: number, arena: Arena) => void) => void
  /** bpf(2) that answers with a descriptor, which is close-on-exec and never one of the three standard ones. */
  readonly bpfDescriptor: (command: number, arena: Arena) => number
  readonly bpfDescriptorAsync: (command: number, arena: Arena, done: (result: number, arena: Arena) => void) => void
  /**
   * Maps a map's memory, shared. Offset and length are bytes. At `address`, where one is given, or nowhere: what is mapped
   * there already is never replaced (`EEXIST`).
   */
  readonly map: (
    fd: number,
    offset: number,
    length: number,
    writable: boolean,
    address?: bigint
  ) => Mapping | number
  /** Detaches every view of the mapping, then gives its memory back. */
  readonly unmap: (mapping: Mapping) => void
  /** ioctl(2) with a number for its argument. */
  readonly ioctl: (fd: number, request: number, argument: number) => number
  /** Another descriptor of the same file, close-on-exec and never one of the three standard ones. */
  readonly duplicate: (fd: number) => number
  /** Closes a descriptor; errors have nobody to go to, since Linux frees the descriptor anyway. */
  readonly close: (fd: number) => void
  /** What a descriptor stands for; a negated error number when it is not open. */
  readonly kindOf: (fd: number) => DescriptorKind | number
  /** How much memory this process may lock (`RLIMIT_MEMLOCK`). */
  readonly memlock: () => MemlockLimit | number
  /** Sets that limit; 0, or a negated error number. */
  readonly setMemlock: (limit: MemlockLimit) => number
  /** Bytes per page. */
  readonly pageSize: number
}

/** A limit on locked memory, bytes; all ones is none. */
export interface MemlockLimit {
  readonly soft: bigint
  /** How far an unprivileged process may raise the soft one. */
  readonly hard: bigint
}

const SC_PAGESIZE = 30
const RLIMIT_MEMLOCK = 8
const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 1
const MAP_FIXED_NOREPLACE = 0x10_0000
const F_DUPFD_CLOEXEC = 1030
const MAP_FAILED = 0xffff_ffff_ffff_ffffn
const firstOrdinaryDescriptor = 3

/** The kernel's names of the files behind BPF descriptors, as `/proc/self/fd` shows them. */
const kinds: ReadonlyMap<string, DescriptorKind> = new Map([
  ["anon_inode:bpf-map", "Map"],
  ["anon_inode:bpf-prog", "Prog"],
  ["anon_inode:bpf_link", "Link"],
  ["anon_inode:bpf-link", "Link"],
  ["anon_inode:btf", "Btf"]
])

/** The negated number of an error that Node threw for a system call. */
export const errnoOf = (thrown: unknown): number => {
  if (typeof thrown === "object" && thrown !== null && "errno" in thrown && typeof thrown.errno === "number") {
    return thrown.errno < 0 ? thrown.errno : -thrown.errno
  }
  return -Errno.numbers.EIO
}

/** Closes a descriptor through Node, which knows no failure worth telling here. */
const close = (fd: number): void => {
  try {
    Fs.closeSync(fd)
  } catch {
    // EBADF: somebody else closed it. EINTR and EIO: Linux has freed the descriptor all the same.
  }
}

const kindOf = (fd: number): DescriptorKind | number => {
  try {
    return kinds.get(Fs.readlinkSync(`/proc/self/fd/${fd}`)) ?? "Other"
  } catch (thrown) {
    const error = errnoOf(thrown)
    return error === -Errno.numbers.ENOENT ? -Errno.numbers.EBADF : error
  }
}

/** Binds the system calls of this process, or says why there are none. */
export const make = (
  platform: string = process.platform,
  architecture: string = process.arch
): Result.Result<Sys, Unavailable> =>
  Result.gen(function*() {
    const number = yield* bpfNumber(platform, architecture)
    const foreign = yield* Foreign.load()
    return bind(number, architecture, foreign)
  })

const bind = (bpf_: number, architecture: string, foreign: Foreign.Foreign): Sys => {
  // syscall(2), fcntl(2) and open(2) are variadic in C; integers are passed alike on every ABI that is supported.
  const syscall = foreign.function("syscall", "long", ["long", "long", "void *", "long"])
  const syscall5 = foreign.function("syscall", "long", ["long", "long", "void *", "long", "void *", "long"])
  const syscallOfPointer = foreign.function("syscall", "long", ["long", "void *", "long", "long", "long", "long"])
  const mmap = foreign.function("mmap", "void *", ["void *", "size_t", "int", "int", "int", "int64"])
  const munmap = foreign.function("munmap", "int", ["void *", "size_t"])
  const fcntl = foreign.function("fcntl", "int", ["int", "int", "int"])
  const ioctl = foreign.function("ioctl", "int", ["int", "unsigned long", "long"])
  const sysconf = foreign.function("sysconf", "long", ["int"])
  const prlimit = foreign.function("prlimit", "int", ["int", "int", "void *", "void *"])

  /** The result of a call that has just returned; errno is read before anything else can change it. */
  const resultOf = (returned: unknown): number => {
    const result = Number(returned)
    return result < 0 ? -foreign.errno() : result
  }

  const bpf: Sys["bpf"] = (command, arena) => {
    relocate(arena, foreign.address(arena.buffer))
    return resultOf(syscall(bpf_, command, arena.buffer, arena.layout.size))
  }

  const bpfCommon: Sys["bpfCommon"] = (command, arena, commonSize) => {
    relocate(arena, foreign.address(arena.buffer))
    return resultOf(syscall5(bpf_, command, arena.buffer, arena.layout.size, null, commonSize))
  }

  const perfEventOpen: Sys["perfEventOpen"] = (arena, pid, cpu, groupFd, flags) => {
    const number = perfEventOpenNumber(architecture)
    if (number === undefined) return -Errno.numbers.ENOSYS
    relocate(arena, foreign.address(arena.buffer))
    return resultOf(syscallOfPointer(number, arena.buffer, pid, cpu, groupFd, flags))
  }

  const uprobe: Sys["uprobe"] = () => {
    const number = uprobeNumber(architecture)
    return number === undefined ? -Errno.numbers.ENOSYS : resultOf(syscallOfPointer(number, null, 0, 0, 0, 0))
  }

  const bpfAsync: Sys["bpfAsync"] = (command, arena, done) => {
    relocate(arena, foreign.address(arena.buffer))
    try {
      // The callback holds the arena, which keeps its memory alive while the other thread is in the kernel.
      syscall.async(bpf_, command, arena.buffer, arena.layout.size, (failure: unknown, returned: unknown) => {
        done(failure === null || failure === undefined ? resultOf(returned) : -Errno.numbers.EIO, arena)
      })
    } catch {
      // More calls are under way than koffi takes.
      done(-Errno.numbers.EAGAIN, arena)
    }
  }

  /** Moves a descriptor away from the numbers of standard input, output and error, which others write to blindly. */
  const ordinary = (fd: number): number => {
    if (fd < 0 || fd >= firstOrdinaryDescriptor) return fd
    const moved = resultOf(fcntl(fd, F_DUPFD_CLOEXEC, firstOrdinaryDescriptor))
    close(fd)
    return moved
  }

  return {
    bpf,
    bpfCommon,
    perfEventOpen: (arena, pid, cpu, groupFd, flags) => ordinary(perfEventOpen(arena, pid, cpu, groupFd, flags)),
    uprobe,
    bpfAsync,
    bpfDescriptor: (command, arena) => ordinary(bpf(command, arena)),
    bpfDescriptorAsync: (command, arena, done) => bpfAsync(command, arena, (result) => done(ordinary(result), arena)),
    map: (fd, offset, length, writable, wanted) => {
      const protection = writable ? PROT_READ | PROT_WRITE : PROT_READ
      const flags = wanted === undefined ? MAP_SHARED : MAP_SHARED | MAP_FIXED_NOREPLACE
      const returned = mmap(wanted ?? null, length, protection, flags, fd, offset)
      const address = typeof returned === "bigint" ? returned : MAP_FAILED
      if (address === MAP_FAILED) return -foreign.errno()
      if (wanted !== undefined && address !== wanted) {
        // Kernels before 4.17 do not know the flag, and take the address for a wish.
        munmap(address, length)
        return -Errno.numbers.EEXIST
      }
      try {
        return { address, length, buffer: foreign.view(address, length) }
      } catch {
        // Some runtimes (Electron) refuse buffers over foreign memory.
        munmap(address, length)
        return -Errno.numbers.EOPNOTSUPP
      }
    },
    unmap: (mapping) => {
      // A view that outlived its memory would crash the process at the next read. Somebody else may have detached it.
      if (!mapping.buffer.detached) mapping.buffer.transfer(0)
      munmap(mapping.address, mapping.length)
    },
    ioctl: (fd, request, argument) => resultOf(ioctl(fd, request, argument)),
    duplicate: (fd) => resultOf(fcntl(fd, F_DUPFD_CLOEXEC, firstOrdinaryDescriptor)),
    close,
    kindOf,
    memlock: () => {
      const limit = new BigUint64Array(2)
      const result = resultOf(prlimit(0, RLIMIT_MEMLOCK, null, limit.buffer))
      const [soft = 0n, hard = 0n] = limit
      return result < 0 ? result : { soft, hard }
    },
    setMemlock: ({ hard, soft }) => resultOf(prlimit(0, RLIMIT_MEMLOCK, BigUint64Array.of(soft, hard).buffer, null)),
    pageSize: Number(sysconf(SC_PAGESIZE))
  }
}
