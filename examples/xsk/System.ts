/**
 * The system calls of AF_XDP sockets, as a service: the live ones, or a test's that fail where it wants.
 *
 * Plain functions over numbers; a negative result is an error number with its sign changed. Nothing is retried or released here.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import { Foreign, Net, Readiness } from "../../src/node.ts"
import * as Abi from "./Abi.ts"
import { XskError } from "./XskError.ts"

/** Memory of this process. */
export interface Mapping {
  readonly address: bigint
  readonly length: number
  readonly buffer: ArrayBuffer
}

/** The system calls. A negative number is a negated error number. */
export interface SystemShape {
  /** Bytes per page. */
  readonly pageSize: number
  /** An AF_XDP socket, close-on-exec, in the network namespace of a file (absent: in this process's). */
  readonly socket: (netns: string | undefined) => number
  readonly setOption: (fd: number, level: number, option: number, value: ArrayBuffer) => number
  /** The option's value, of `length` bytes at most. */
  readonly getOption: (fd: number, level: number, option: number, length: number) => Uint8Array | number
  readonly bind: (fd: number, address: ArrayBuffer) => number
  /** Maps a ring of a socket. */
  readonly mapRing: (fd: number, offset: number, length: number) => Mapping | number
  /** Anonymous memory, page-aligned and zero. */
  readonly mapMemory: (length: number, hugePages: boolean) => Mapping | number
  /** Detaches every view of the mapping, then gives its memory back. */
  readonly unmap: (mapping: Mapping) => void
  readonly close: (fd: number) => void
  /** Has the kernel look at the tx ring, and at the fill ring. Neither waits. */
  readonly wakeSender: (fd: number) => number
  readonly wakeReceiver: (fd: number) => number
  /** The number of a device, by its name, in a network namespace. */
  readonly interfaceIndex: (name: string, netns: string | undefined) => number
  /** How many queues a device may have; 1 where it does not tell. */
  readonly channels: (name: string, netns: string | undefined) => number
  /** Tells network namespaces apart. */
  readonly namespaceId: (netns: string | undefined) => number
  /** Waits until a socket can be read, or so many milliseconds are over. Interruptible; nothing of it is left afterwards. */
  readonly readable: (fd: number, timeout: number) => Effect.Effect<void, XskError>
}

/** The system calls of AF_XDP sockets. */
export class System extends Context.Service<System, SystemShape>()("examples/xsk/System") {}

const SOCK_RAW = 3
const SOCK_CLOEXEC = 0x80000
const AF_INET = 2
const SOCK_DGRAM = 2
const PROT_READ_WRITE = 3
const MAP_SHARED = 1
const MAP_PRIVATE = 2
const MAP_ANONYMOUS = 0x20
const MAP_HUGETLB = 0x4_0000
const MAP_POPULATE = 0x8000
const MAP_FAILED = 0xffff_ffff_ffff_ffffn
const MSG_DONTWAIT = 0x40
const SC_PAGESIZE = 30
const SIOCETHTOOL = 0x8946
const ETHTOOL_GCHANNELS = 0x3c
const EINVAL = -22

const ownNamespace = "/proc/thread-self/ns/net"

/** The negated number of an error that Node threw for a system call. */
const errnoOf = (thrown: unknown): number =>
  typeof thrown === "object" && thrown !== null && "errno" in thrown && typeof thrown.errno === "number"
    ? -Math.abs(thrown.errno)
    : -5

const close = (fd: number): void => {
  try {
    Fs.closeSync(fd)
  } catch {
    // Linux has freed the descriptor all the same.
  }
}

const bindAll = (foreign: Foreign.Foreign, net: Net.Net): Omit<SystemShape, "readable"> => {
  const socket = foreign.function("socket", "int", ["int", "int", "int"])
  const setsockopt = foreign.function("setsockopt", "int", ["int", "int", "int", "void *", "uint"])
  const getsockopt = foreign.function("getsockopt", "int", ["int", "int", "int", "void *", "void *"])
  const bind = foreign.function("bind", "int", ["int", "void *", "uint"])
  const mmap = foreign.function("mmap", "void *", ["void *", "size_t", "int", "int", "int", "int64"])
  const munmap = foreign.function("munmap", "int", ["void *", "size_t"])
  const sendto = foreign.function("sendto", "long", ["int", "void *", "size_t", "int", "void *", "uint"])
  const recvfrom = foreign.function("recvfrom", "long", ["int", "void *", "size_t", "int", "void *", "void *"])
  const ifNameToIndex = foreign.function("if_nametoindex", "uint", ["const char *"])
  const ioctl = foreign.function("ioctl", "int", ["int", "unsigned long", "void *"])
  const sysconf = foreign.function("sysconf", "long", ["int"])

  /** The result of a call that has just returned; errno is read before anything else can change it. */
  const resultOf = (returned: unknown): number => {
    const result = Number(returned)
    return result < 0 ? -foreign.errno() : result
  }

  /** Runs `body` in the network namespace of a file; this thread is back before anything else can run on it. */
  const inside = (netns: string | undefined, body: () => number): number => {
    if (netns === undefined) return body()
    let fd: number
    try {
      fd = Fs.openSync(netns, "r")
    } catch (thrown) {
      return errnoOf(thrown)
    }
    try {
      return Result.merge(net.within(fd, body))
    } finally {
      close(fd)
    }
  }

  const map = (length: number, flags: number, fd: number, offset: number): Mapping | number => {
    const returned = mmap(null, length, PROT_READ_WRITE, flags, fd, offset)
    const address = typeof returned === "bigint" ? returned : MAP_FAILED
    if (address === MAP_FAILED) return -foreign.errno()
    try {
      return { address, length, buffer: foreign.view(address, length) }
    } catch {
      // Some runtimes (Electron) refuse buffers over foreign memory.
      munmap(address, length)
      return -95
    }
  }

  /** The count of queues that SIOCETHTOOL tells of a device. */
  const channels = (name: string): number => {
    const fd = resultOf(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))
    if (fd < 0) return fd
    try {
      const answer = new Uint32Array(9)
      answer[0] = ETHTOOL_GCHANNELS
      const request = new Uint8Array(40)
      request.set(new TextEncoder().encode(name).subarray(0, 15))
      new BigUint64Array(request.buffer)[2] = foreign.address(answer.buffer)
      const result = resultOf(ioctl(fd, SIOCETHTOOL, request.buffer))
      const [, rx = 0, tx = 0, , combined = 0] = answer
      return result < 0 ? 1 : Math.max(rx, tx, combined, 1)
    } finally {
      close(fd)
    }
  }

  return {
    pageSize: Number(sysconf(SC_PAGESIZE)),
    socket: (netns) => inside(netns, () => resultOf(socket(Abi.AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0))),
    setOption: (fd, level, option, value) => resultOf(setsockopt(fd, level, option, value, value.byteLength)),
    getOption: (fd, level, option, length) => {
      const value = new ArrayBuffer(length)
      const size = Uint32Array.of(length)
      const result = resultOf(getsockopt(fd, level, option, value, size.buffer))
      return result < 0 ? result : new Uint8Array(value, 0, Math.min(size[0] ?? 0, length))
    },
    bind: (fd, address) => resultOf(bind(fd, address, address.byteLength)),
    mapRing: (fd, offset, length) => map(length, MAP_SHARED | MAP_POPULATE, fd, offset),
    mapMemory: (length, hugePages) =>
      map(length, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | (hugePages ? MAP_HUGETLB : 0), -1, 0),
    unmap: ({ address, buffer, length }) => {
      // A view that outlived its memory would crash the process at the next read.
      if (!buffer.detached) buffer.transfer(0)
      munmap(address, length)
    },
    close,
    wakeSender: (fd) => resultOf(sendto(fd, null, 0, MSG_DONTWAIT, null, 0)),
    wakeReceiver: (fd) => resultOf(recvfrom(fd, null, 0, MSG_DONTWAIT, null, null)),
    interfaceIndex: (name, netns) =>
      inside(netns, () => {
        const index = Number(ifNameToIndex(name))
        return index === 0 ? -Math.max(foreign.errno(), 1) : index
      }),
    channels: (name, netns) => name.length > 15 ? EINVAL : inside(netns, () => channels(name)),
    namespaceId: (netns) => {
      try {
        return Fs.statSync(netns ?? ownNamespace).ino
      } catch (thrown) {
        return errnoOf(thrown)
      }
    }
  }
}

/** The system calls of this process. The thread that waits for sockets is started when somebody first waits. */
export const make: Effect.Effect<SystemShape, XskError, Scope.Scope> = Effect.gen(function*() {
  const bound = Result.gen(function*() {
    return { foreign: yield* Foreign.load(), net: yield* Net.make() }
  })
  if (Result.isFailure(bound)) {
    const { detail, hint } = bound.failure
    return yield* new XskError({ reason: "Unavailable", step: "system calls", detail, hint })
  }
  const reactor = yield* Readiness.make
  const system = bindAll(bound.success.foreign, bound.success.net)
  return {
    ...system,
    close: (fd) => {
      reactor.forget(fd)
      system.close(fd)
    },
    readable: (fd, timeout) =>
      Effect.asVoid(reactor.wait("an AF_XDP socket", [fd], "Read", timeout)).pipe(
        Effect.mapError(({ errno }) =>
          new XskError({ reason: errno === "ECANCELED" ? "Closed" : "Refused", step: "wait", errno })
        )
      )
  }
})

/** The system calls of this process as a service. */
export const layer: Layer.Layer<System, XskError> = Layer.effect(System, make)
