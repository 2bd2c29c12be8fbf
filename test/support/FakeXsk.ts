/**
 * AF_XDP in memory: sockets, rings and a wire between them, for what the running kernel does not do on demand. It refuses what Linux
 * refuses, fails where a test wants, and counts what is left open.
 */
import * as Effect from "effect/Effect"
import * as Abi from "../../examples/xsk/Abi.ts"
import * as Ring from "../../examples/xsk/Ring.ts"
import type { Mapping, SystemShape } from "../../examples/xsk/System.ts"
import { Errno } from "../../src/index.ts"

const offsets: Abi.RingOffsets = { producer: 0, consumer: 64, flags: 68, descriptors: 128 }

/** The kernel's side of a queue's rings. */
export interface FakePool {
  readonly fill: Ring.Ring
  readonly completion: Ring.Ring
  readonly fillMemory: ArrayBuffer
  readonly completionMemory: ArrayBuffer
}

/** A socket, as the kernel has it. */
export interface FakeSocket {
  readonly fd: number
  /** Sizes of rings by their options. */
  readonly sizes: Map<number, number>
  readonly memory: Map<number, ArrayBuffer>
  umem: Abi.UmemRegistration | undefined
  bound: { readonly ifindex: number; readonly queue: number; readonly flags: number } | undefined
  pool: FakePool | undefined
  rx: Ring.Ring | undefined
  tx: Ring.Ring | undefined
  /** Where what it sends arrives. */
  peer: FakeSocket | undefined
  wakeups: number
  open: boolean
  mappings: number
}

/** A kernel. */
export interface FakeXsk {
  readonly system: SystemShape
  readonly sockets: Map<number, FakeSocket>
  /** The names of the calls that may fail, in their order. */
  readonly calls: Array<string>
  /** What is open or mapped, and what was given back that was not held. */
  readonly mistakes: () => ReadonlyArray<string>
  /** Makes the call with this number, counted from now on, answer with an error number. */
  readonly failAt: (call: number, errno: Errno.Errno) => void
  /** Joins two sockets by a wire. */
  readonly connect: (a: number, b: number) => void
}

const errno = (name: Errno.Errno): number => -Errno.numbers[name]

const needed = (sizes: ReadonlyMap<number, number>): boolean =>
  sizes.has(Abi.Option.FILL_RING) && sizes.has(Abi.Option.COMPLETION_RING)

/** A kernel; `mapsOnceBound: false` is an older one, which maps nothing of a socket that is bound. */
export const make = (options: { readonly mapsOnceBound?: boolean } = {}): FakeXsk => {
  const sockets = new Map<number, FakeSocket>()
  const memory = new Map<bigint, Mapping>()
  const mistakes: Array<string> = []
  const calls: Array<string> = []
  const ringMappings = new Map<bigint, FakeSocket>()
  let fault: { at: number; errno: Errno.Errno } | undefined
  let nextFd = 50
  let nextAddress = 0x10_0000n

  /** Notes a call; its error number where it is the one that fails. */
  const enter = (name: string): number => {
    calls.push(name)
    if (fault === undefined || fault.at-- > 0) return 0
    const { errno: which } = fault
    fault = undefined
    return errno(which)
  }

  const socketOf = (fd: number): FakeSocket | undefined => {
    const socket = sockets.get(fd)
    return socket?.open === true ? socket : undefined
  }

  const map = (buffer: ArrayBuffer): Mapping => {
    const address = nextAddress
    nextAddress += BigInt(buffer.byteLength) + 0x1000n
    const mapping = { address, length: buffer.byteLength, buffer }
    memory.set(address, mapping)
    return mapping
  }

  const ringMemory = (socket: FakeSocket, option: number, entry: number): ArrayBuffer => {
    const there = socket.memory.get(option)
    if (there !== undefined) return there
    const made = new ArrayBuffer(Ring.memorySize(offsets, socket.sizes.get(option) ?? 0, entry))
    socket.memory.set(option, made)
    return made
  }

  const bind = (fd: number, address: ArrayBuffer): number => {
    const socket = socketOf(fd)
    if (socket === undefined) return errno("EBADF")
    const flags = new Uint16Array(address)[1] ?? 0
    const [, ifindex = 0, queue = 0, sharedFd = 0] = new Uint32Array(address)
    const { sizes } = socket
    if (socket.bound !== undefined) return errno("EINVAL")
    if (!sizes.has(Abi.Option.RX_RING) && !sizes.has(Abi.Option.TX_RING)) return errno("EINVAL")
    const holders = [...sockets.values()].filter((each) =>
      each.bound !== undefined && (each.open || each.mappings > 0) && each.bound.ifindex === ifindex &&
      each.bound.queue === queue
    )
    let pool: FakePool | undefined
    if ((flags & Abi.BindFlag.SHARED_UMEM) !== 0) {
      const other = socketOf(sharedFd)
      if (flags !== Abi.BindFlag.SHARED_UMEM || socket.umem !== undefined) return errno("EINVAL")
      if (other?.bound === undefined) return errno("EBADF")
      socket.umem = other.umem
      if (other.bound.ifindex === ifindex && other.bound.queue === queue) {
        if (needed(sizes)) return errno("EINVAL")
        pool = other.pool
      } else if (!needed(sizes)) return errno("EINVAL")
      else if (holders.length > 0) return errno("EBUSY")
    } else {
      if (socket.umem === undefined || !needed(sizes)) return errno("EINVAL")
      if (holders.length > 0) return errno("EBUSY")
    }
    if (pool === undefined) {
      const fillMemory = ringMemory(socket, Abi.Option.FILL_RING, Abi.ADDRESS_SIZE)
      const completionMemory = ringMemory(socket, Abi.Option.COMPLETION_RING, Abi.ADDRESS_SIZE)
      pool = {
        fillMemory,
        completionMemory,
        fill: Ring.consumer(fillMemory, offsets, sizes.get(Abi.Option.FILL_RING) ?? 1, "Addresses"),
        completion: Ring.producer(completionMemory, offsets, sizes.get(Abi.Option.COMPLETION_RING) ?? 1, "Addresses")
      }
    }
    socket.pool = pool
    socket.bound = { ifindex, queue, flags }
    const [rx, tx] = [sizes.get(Abi.Option.RX_RING), sizes.get(Abi.Option.TX_RING)]
    if (rx !== undefined) {
      const there = ringMemory(socket, Abi.Option.RX_RING, Abi.DESCRIPTOR_SIZE)
      socket.rx = Ring.producer(there, offsets, rx, "Descriptors")
    }
    if (tx !== undefined) {
      const there = ringMemory(socket, Abi.Option.TX_RING, Abi.DESCRIPTOR_SIZE)
      socket.tx = Ring.consumer(there, offsets, tx, "Descriptors")
    }
    return 0
  }

  const bytesOf = (socket: FakeSocket): Uint8Array => {
    const mapping = socket.umem === undefined ? undefined : memory.get(socket.umem.address)
    return mapping === undefined || mapping.buffer.detached ? new Uint8Array(0) : new Uint8Array(mapping.buffer)
  }

  /** Delivers one packet; `false`: there is no room, and it is dropped. */
  const deliver = (to: FakeSocket, packet: Uint8Array): boolean => {
    const { pool, rx } = to
    if (!to.open || pool === undefined || rx === undefined || Ring.free(rx, 1) < 1) return false
    const at = pool.fill.cachedConsumer
    const space = 256 + (to.umem?.headroom ?? 0)
    if (space + packet.length > (to.umem?.chunkSize ?? 0) || Ring.peek(pool.fill, 1) < 1) return false
    const address = Ring.addressOf(pool.fill, at) + space
    Ring.release(pool.fill, 1)
    bytesOf(to).set(packet, address)
    const slot = rx.cachedProducer
    Ring.reserve(rx, 1)
    Ring.setDescriptor(rx, slot, address, 0, packet.length, 0)
    Ring.submit(rx, 1)
    return true
  }

  const transmit = (socket: FakeSocket): number => {
    const { pool, tx } = socket
    if (tx === undefined || pool === undefined) return errno("ENXIO")
    socket.wakeups++
    for (let sent = 0; sent < 32; sent++) {
      if (Ring.free(pool.completion, 1) < 1) return errno("EAGAIN")
      const at = tx.cachedConsumer
      if (Ring.peek(tx, 1) < 1) return 0
      const [address, length] = [Ring.addressOf(tx, at), Ring.lengthOf(tx, at)]
      Ring.release(tx, 1)
      if (socket.peer !== undefined) deliver(socket.peer, bytesOf(socket).slice(address, address + length))
      const slot = pool.completion.cachedProducer
      Ring.reserve(pool.completion, 1)
      Ring.setAddress(pool.completion, slot, address, 0)
      Ring.submit(pool.completion, 1)
    }
    return errno("EAGAIN")
  }

  const system: SystemShape = {
    pageSize: 4096,
    socket: () => {
      const failed = enter("socket")
      if (failed < 0) return failed
      const fd = nextFd++
      sockets.set(fd, {
        fd,
        sizes: new Map(),
        memory: new Map(),
        umem: undefined,
        bound: undefined,
        pool: undefined,
        rx: undefined,
        tx: undefined,
        peer: undefined,
        wakeups: 0,
        open: true,
        mappings: 0
      })
      return fd
    },
    setOption: (fd, level, option, value) => {
      const failed = enter(`option ${level}/${option}`)
      if (failed < 0) return failed
      const socket = socketOf(fd)
      if (socket === undefined) return errno("EBADF")
      if (level !== Abi.SOL_XDP) return 0
      if (option === Abi.Option.UMEM_REG) {
        const [address = 0n, length = 0n] = new BigUint64Array(value)
        const [, , , , chunkSize = 0, headroom = 0, flags = 0, txMetadataLength = 0] = new Uint32Array(value)
        if (socket.umem !== undefined) return errno("EBUSY")
        socket.umem = { address, length: Number(length), chunkSize, headroom, flags, txMetadataLength }
        return 0
      }
      socket.sizes.set(option, new Uint32Array(value)[0] ?? 0)
      return 0
    },
    getOption: (_fd, level, option, length) => {
      const failed = enter(`ask ${level}/${option}`)
      if (failed < 0) return failed
      if (level === Abi.SOL_XDP && option === Abi.Option.MMAP_OFFSETS) {
        const { consumer, descriptors, flags, producer } = offsets
        const one = [producer, consumer, descriptors, flags].map(BigInt)
        return new Uint8Array(BigUint64Array.from([...one, ...one, ...one, ...one]).buffer)
      }
      return new Uint8Array(length)
    },
    bind: (fd, address) => {
      const failed = enter("bind")
      return failed < 0 ? failed : bind(fd, address)
    },
    mapRing: (fd, offset, length) => {
      const failed = enter("map a ring")
      if (failed < 0) return failed
      const socket = socketOf(fd)
      if (socket === undefined) return errno("EBADF")
      if (socket.bound !== undefined && options.mapsOnceBound === false) return errno("EBUSY")
      const { COMPLETION, FILL, RX } = Abi.PageOffset
      const own = offset === FILL || offset === COMPLETION
        ? socket.pool?.[offset === FILL ? "fillMemory" : "completionMemory"] ??
          ringMemory(socket, offset === FILL ? Abi.Option.FILL_RING : Abi.Option.COMPLETION_RING, Abi.ADDRESS_SIZE)
        : ringMemory(socket, offset === RX ? Abi.Option.RX_RING : Abi.Option.TX_RING, Abi.DESCRIPTOR_SIZE)
      if (own.byteLength !== length) return errno("EINVAL")
      const mapping = map(own)
      ringMappings.set(mapping.address, socket)
      socket.mappings++
      return mapping
    },
    mapMemory: (length) => {
      const failed = enter("map memory")
      return failed < 0 ? failed : map(new ArrayBuffer(length))
    },
    unmap: ({ address }) => {
      if (!memory.delete(address)) mistakes.push(`unmapped ${address}, which is not mapped`)
      const socket = ringMappings.get(address)
      if (socket !== undefined) socket.mappings--
      ringMappings.delete(address)
    },
    close: (fd) => {
      const socket = socketOf(fd)
      if (socket === undefined) mistakes.push(`closed ${fd}, which is not open`)
      else socket.open = false
    },
    wakeSender: (fd) => {
      const socket = socketOf(fd)
      return socket === undefined ? errno("EBADF") : transmit(socket)
    },
    wakeReceiver: () => 0,
    interfaceIndex: (name) => {
      const failed = enter("find a device")
      return failed < 0 ? failed : /^eth\d$/.test(name) ? 1 + Number(name.slice(3)) : errno("ENODEV")
    },
    channels: () => 1,
    namespaceId: () => {
      const failed = enter("namespace")
      return failed < 0 ? failed : 4026531840
    },
    readable: () => Effect.sleep(1)
  }

  return {
    system,
    sockets,
    calls,
    mistakes: () => [
      ...mistakes,
      ...[...sockets.values()].filter(({ open }) => open).map(({ fd }) => `socket ${fd} is open`),
      ...[...memory.keys()].map((address) => `${address} is mapped`)
    ],
    failAt: (at, which) => {
      fault = { at, errno: which }
    },
    connect: (a, b) => {
      const [first, second] = [sockets.get(a), sockets.get(b)]
      if (first === undefined || second === undefined) return
      first.peer = second
      second.peer = first
    }
  }
}
