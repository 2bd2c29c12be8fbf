/**
 * The system calls of netlink, and those of network namespaces.
 *
 * A negative result is an error number with its sign changed. Requests of netlink are carried out while they are sent, so that
 * their answers lie ready: nothing is waited for.
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Errno from "../abi/Errno.ts"
import * as Foreign from "./Foreign.ts"
import { Unavailable } from "./Platform.ts"
import { errnoOf, type Sys } from "./Sys.ts"

/** A datagram, and the port of its sender: 0 is the kernel. */
export interface Datagram {
  readonly bytes: Uint8Array
  readonly port: number
}

/** The system calls of netlink and of network namespaces. */
export interface Net {
  /** A socket of routing netlink in this thread's network namespace: close-on-exec, and it never waits. */
  readonly socket: () => number
  readonly send: (fd: number, bytes: Uint8Array) => number
  /** The next datagram, whole; a negated error number, `EAGAIN` where there is none. */
  readonly receive: (fd: number) => Datagram | number
  readonly close: (fd: number) => void
  /**
   * Runs `body` with this thread in the network namespace of a descriptor. Nothing else of this process sees that: other threads
   * have namespaces of their own, and this one is back before anything else can run on it. Whether it may come back is tried
   * out before it goes: where it must not, or must not go, the result is the error number, negated.
   */
  readonly within: <A>(netns: number, body: () => A) => Result.Result<A, number>
}

const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0x80000
const SOCK_NONBLOCK = 0x800
const NETLINK_ROUTE = 0
const SOL_NETLINK = 270
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const MSG_PEEK = 2
const MSG_TRUNC = 0x20
const CLONE_NEWNET = 0x4000_0000

/** `struct sockaddr_nl`: 12 bytes, the port at 4. */
const addressSize = 12

/** The largest datagram that room is made for, bytes: the kernel's own are of 32 KiB at most, but for devices with many functions. */
const largestDatagram = 0x100_0000

/** A signal may disturb the way back; the kernel may be out of memory for a moment. */
const waysBack = 1000

const own = "/proc/thread-self/ns/net"

const bind = (foreign: Foreign.Foreign): Net => {
  const socket = foreign.function("socket", "int", ["int", "int", "int"])
  const setsockopt = foreign.function("setsockopt", "int", ["int", "int", "int", "void *", "uint"])
  const send = foreign.function("send", "long", ["int", "void *", "size_t", "int"])
  const recvfrom = foreign.function("recvfrom", "long", ["int", "void *", "size_t", "int", "void *", "void *"])
  const setns = foreign.function("setns", "int", ["int", "int"])

  /** The result of a call that has just returned; errno is read before anything else can change it. */
  const resultOf = (returned: unknown): number => {
    const result = Number(returned)
    return result < 0 ? -foreign.errno() : result
  }

  const close = (fd: number): void => {
    try {
      Fs.closeSync(fd)
    } catch {
      // Linux has freed the descriptor all the same.
    }
  }

  const back = (fd: number): void => {
    for (let tried = 0; tried < waysBack; tried++) {
      if (resultOf(setns(fd, CLONE_NEWNET)) >= 0) return
    }
    throw new Error("this thread cannot go back to its own network namespace, although it was allowed to a moment ago")
  }

  return {
    socket: () => {
      const fd = resultOf(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE))
      if (fd < 0) return fd
      // Kernels before 4.12 do not know them: then there are no words.
      const on = Int32Array.of(1).buffer
      setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, on, 4)
      setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, on, 4)
      return fd
    },
    send: (fd, bytes) => resultOf(send(fd, bytes.slice().buffer, bytes.length, 0)),
    receive: (fd) => {
      const peeked = resultOf(recvfrom(fd, new ArrayBuffer(8), 0, MSG_PEEK | MSG_TRUNC, null, null))
      if (peeked < 0) return peeked
      if (peeked > largestDatagram) return -Errno.numbers.EMSGSIZE
      const buffer = new ArrayBuffer(Math.max(peeked, 8))
      const address = new ArrayBuffer(addressSize)
      const length = resultOf(recvfrom(fd, buffer, peeked, 0, address, Uint32Array.of(addressSize).buffer))
      if (length < 0) return length
      return { bytes: new Uint8Array(buffer, 0, Math.min(length, peeked)), port: new Uint32Array(address)[1] ?? 0 }
    },
    close,
    within: (netns, body) => {
      let here: number
      try {
        here = Fs.openSync(own, "r")
      } catch (thrown) {
        return Result.fail(errnoOf(thrown))
      }
      try {
        const rehearsed = resultOf(setns(here, CLONE_NEWNET))
        if (rehearsed < 0) return Result.fail(rehearsed)
        const entered = resultOf(setns(netns, CLONE_NEWNET))
        if (entered < 0) return Result.fail(entered)
        try {
          return Result.succeed(body())
        } finally {
          back(here)
        }
      } finally {
        close(here)
      }
    }
  }
}

/** bpf(2) as it answers in the network namespace of a descriptor: where devices are numbered, and whose packets are filtered. */
export const systemIn = (net: Net, sys: Sys, netns: number): Sys => {
  const inside = (enter: () => number): number => {
    const entered = net.within(netns, enter)
    return Result.isSuccess(entered) ? entered.success : entered.failure
  }
  return {
    ...sys,
    bpf: (command, arena) => inside(() => sys.bpf(command, arena)),
    bpfDescriptor: (command, arena) => inside(() => sys.bpfDescriptor(command, arena))
  }
}

/** Binds the system calls of this process, or says why there are none. */
export const make = (platform: string = process.platform): Result.Result<Net, Unavailable> =>
  platform === "linux" ? Result.map(Foreign.load(), bind) : Result.fail(
    new Unavailable({
      reason: "NotLinux",
      detail: `netlink is of Linux; this is ${platform}`,
      hint: "programs are attached to network devices where they run"
    })
  )
