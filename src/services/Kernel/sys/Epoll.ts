/**
 * The system calls of waiting: epoll(7), eventfd(2), and poll(2) that never sleeps.
 *
 * A negative result is an error number with its sign changed. Nothing here waits: whoever waits, `epoll_wait`, does so on a
 * thread of its own (see `live/Reactor.ts`).
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Foreign from "./Foreign.ts"
import { Unavailable } from "./Platform.ts"

/** The bits of events, which are the same for poll(2) and epoll(7). */
export const EpollEvent = {
  EPOLLIN: 0x001,
  EPOLLOUT: 0x004,
  EPOLLERR: 0x008,
  EPOLLHUP: 0x010,
  /** Told once; then silent until it is armed again. */
  EPOLLONESHOT: 0x4000_0000
} as const

/** The system calls of waiting. */
export interface Epoll {
  /** An epoll descriptor, close-on-exec. */
  readonly create: () => number
  /** A counter that wakes whoever waits for it once it was written to, close-on-exec. */
  readonly eventfd: () => number
  /** Adds a descriptor with what is told of it; `token` comes back with its events and is below 2^53. */
  readonly add: (epoll: number, fd: number, events: number, token: number) => number
  readonly modify: (epoll: number, fd: number, events: number, token: number) => number
  readonly remove: (epoll: number, fd: number) => number
  /** What has happened to each descriptor at this moment: bits of `EpollEvent`, 0 for nothing. */
  readonly poll: (fds: ReadonlyArray<number>, events: number) => ReadonlyArray<number> | number
  readonly close: (fd: number) => void
  /** Adds one to the counter of an eventfd. */
  readonly wake: (eventfd: number) => void
}

const EPOLL_CLOEXEC = 0x8_0000
const EFD_CLOEXEC = 0x8_0000
const EFD_NONBLOCK = 0x800
const EPOLL_CTL_ADD = 1
const EPOLL_CTL_DEL = 2
const EPOLL_CTL_MOD = 3
const F_DUPFD_CLOEXEC = 1030
const firstOrdinaryDescriptor = 3

/** `struct epoll_event`: packed on x86-64 alone, bytes. */
export const eventLayout = (architecture: string): { readonly size: number; readonly data: number } =>
  architecture === "x64" ? { size: 12, data: 4 } : { size: 16, data: 8 }

/** `struct pollfd`: descriptor, events asked for, events told. */
const pollSize = 8

const isLittle = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

const close = (fd: number): void => {
  try {
    Fs.closeSync(fd)
  } catch {
    // Linux has freed the descriptor all the same.
  }
}

const bind = (architecture: string, foreign: Foreign.Foreign): Epoll => {
  const epollCreate1 = foreign.function("epoll_create1", "int", ["int"])
  const epollCtl = foreign.function("epoll_ctl", "int", ["int", "int", "int", "void *"])
  const eventfd = foreign.function("eventfd", "int", ["uint", "int"])
  const poll = foreign.function("poll", "int", ["void *", "ulong", "int"])
  const fcntl = foreign.function("fcntl", "int", ["int", "int", "int"])
  const layout = eventLayout(architecture)

  /** The result of a call that has just returned; errno is read before anything else can change it. */
  const resultOf = (returned: unknown): number => {
    const result = Number(returned)
    return result < 0 ? -foreign.errno() : result
  }

  /** Moves a descriptor away from the numbers of standard input, output and error. */
  const ordinary = (fd: number): number => {
    if (fd < 0 || fd >= firstOrdinaryDescriptor) return fd
    const moved = resultOf(fcntl(fd, F_DUPFD_CLOEXEC, firstOrdinaryDescriptor))
    close(fd)
    return moved
  }

  const control = (operation: number) => (epoll: number, fd: number, events: number, token: number): number => {
    const event = new DataView(new ArrayBuffer(layout.size))
    event.setUint32(0, events, isLittle)
    event.setBigUint64(layout.data, BigInt(token), isLittle)
    return resultOf(epollCtl(epoll, operation, fd, event.buffer))
  }

  return {
    create: () => ordinary(resultOf(epollCreate1(EPOLL_CLOEXEC))),
    eventfd: () => ordinary(resultOf(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))),
    add: control(EPOLL_CTL_ADD),
    modify: control(EPOLL_CTL_MOD),
    // Kernels before 2.6.9 wanted an event here; none that has BPF does.
    remove: (epoll, fd) => resultOf(epollCtl(epoll, EPOLL_CTL_DEL, fd, null)),
    poll: (fds, events) => {
      const list = new DataView(new ArrayBuffer(Math.max(pollSize, fds.length * pollSize)))
      fds.forEach((fd, index) => {
        list.setInt32(index * pollSize, fd, isLittle)
        list.setInt16(index * pollSize + 4, events, isLittle)
      })
      const result = resultOf(poll(list.buffer, fds.length, 0))
      return result < 0 ? result : fds.map((_, index) => list.getInt16(index * pollSize + 6, isLittle))
    },
    close,
    wake: (fd) => {
      try {
        Fs.writeSync(fd, new Uint8Array(BigUint64Array.of(1n).buffer))
      } catch {
        // EAGAIN: the counter is full, so whoever waits has been woken long since.
      }
    }
  }
}

/** Binds the system calls of this process, or says why there are none. */
export const make = (
  platform: string = process.platform,
  architecture: string = process.arch
): Result.Result<Epoll, Unavailable> =>
  platform === "linux" ? Result.map(Foreign.load(), (foreign) => bind(architecture, foreign)) : Result.fail(
    new Unavailable({
      reason: "NotLinux",
      detail: `epoll is of Linux; this is ${platform}`,
      hint: "the simulated kernel can be waited for everywhere"
    })
  )
