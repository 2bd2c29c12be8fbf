/**
 * AF_XDP sockets as Effects: packets straight from a device's queue to this process and back, past the network stack.
 *
 * A library to copy: it needs effect, effect-bpf and koffi, and is no part of effect-bpf, as its counterpart is no part of libbpf.
 *
 * ```ts
 * const umem = yield* Xsk.umem()
 * const socket = yield* Xsk.socket(umem, { device: "eth0" })
 * const redirect = yield* Redirect.make({ device: "eth0" })
 * yield* Redirect.insert(redirect, socket)
 * yield* Xsk.run(socket, (batch, bytes) => { ... })
 * ```
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Statistics } from "./Abi.ts"
import { DescriptorOption } from "./Abi.ts"
import * as Batch from "./Batch.ts"
import * as Pool from "./Pool.ts"
import * as Socket from "./Socket.ts"
import type { System } from "./System.ts"
import * as Traffic from "./Traffic.ts"
import * as Umem from "./Umem.ts"
import { badArgument, XskError } from "./XskError.ts"

/** Memory for packets, until the scope closes. */
export const umem: (options?: Umem.UmemOptions) => Effect.Effect<Umem.Umem, XskError, System | Scope.Scope> = Umem.make

/** A socket on that memory, bound to a queue of a device, until the scope closes. */
export const socket: (
  umem: Umem.Umem,
  options: Socket.SocketOptions
) => Effect.Effect<Socket.Socket, XskError, Scope.Scope> = Socket.make

/** Packets of a batch when nothing else is said. */
const defaultBatch = 256

/** Batches that are worked through before other fibers have their turn. */
const turnsInARow = 16

/** Times that other fibers have their turn before a socket where nothing has arrived is waited for: being woken takes longer. */
const patience = 8

/** Milliseconds after which a socket that waits is looked at: the kernel does not wake who waits for a device that is taken away. */
const lookEvery = 1000

/** Waits until packets may have arrived, about a second at most; fails where none can arrive any more. */
export const readable = (socket: Socket.Socket): Effect.Effect<void, XskError> => {
  const { fd, umem: { system } } = socket
  const look = Effect.suspend(() => {
    const wrong = Socket.fault(socket, "wait")
    return wrong === undefined ? Effect.fromResult(Socket.pendingError(socket)) : Effect.fail(wrong)
  })
  return Effect.suspend(() =>
    Socket.fault(socket, "wait") === undefined ? Effect.andThen(system.readable(fd, lookEvery), look) : look
  )
}

/** Waits a little for the kernel to give something back: longer with each time in vain. */
const pause = (inVain: number): Effect.Effect<void> =>
  inVain < 4 ? Effect.yieldNow : Effect.sleep(Math.min(inVain - 3, 10))

/**
 * Does with the packets of a batch what its actions say, all of them, and leaves the batch empty. What is left when it fails or is
 * interrupted is given back.
 */
export const settle = (socket: Socket.Socket, batch: Batch.Batch): Effect.Effect<void, XskError> =>
  Effect.suspend(() => {
    let at = 0
    let inVain = 0
    // Only what nothing was done with: frames that were sent may be somebody else's by the time of an interruption.
    const abandon = () => Traffic.abandon(socket, batch, at)
    const fail = (error: XskError) => {
      abandon()
      return Effect.fail(error)
    }
    /** One attempt at the rest: `undefined` when it is done. */
    const attempt = (): Effect.Effect<void, XskError> | undefined => {
      const finished = Traffic.finish(socket, batch, at)
      if (Result.isFailure(finished)) return fail(finished.failure)
      inVain = finished.success > at ? 0 : inVain + 1
      at = finished.success
      const pushed = Traffic.push(socket)
      if (Result.isFailure(pushed)) return fail(pushed.failure)
      if (at < batch.count) return Effect.flatMap(pause(inVain), () => attempt() ?? Effect.void)
      batch.count = 0
      return undefined
    }
    const rest = attempt()
    return rest === undefined ? Effect.void : Effect.onInterrupt(rest, () => Effect.sync(abandon))
  })

/** Works with a batch whose packets are given back whenever that ends. */
const withBatch = <A>(
  socket: Socket.Socket,
  options: ReceiveOptions,
  body: (batch: Batch.Batch) => Effect.Effect<A, XskError>
): Effect.Effect<A, XskError> =>
  Effect.flatMap(
    room(options),
    (batch) => Effect.ensuring(body(batch), Effect.sync(() => Traffic.abandon(socket, batch)))
  )

/** How packets are taken. */
export interface ReceiveOptions {
  /** Packets at once, at most; default 256. */
  readonly batch?: number
}

/** Whether a batch is of a size that can be. */
const room = ({ batch = defaultBatch }: ReceiveOptions): Effect.Effect<Batch.Batch, XskError> =>
  Number.isInteger(batch) && batch > 0 && batch <= 0x10_0000
    ? Effect.sync(() => Batch.make(batch))
    : Effect.fail(badArgument("receive", `batches of ${batch} packets`))

/**
 * Takes packets for ever: waits for them, hands each batch to `onBatch`, and then does what its `actions` say: frees the frame (which is
 * what they say at first), sends it back, or leaves it to the user. `bytes` is the whole memory, each packet at its address, valid until
 * `onBatch` returns. Where it throws, that is a defect, and its batch's frames are given back first.
 */
export const run = (
  socket: Socket.Socket,
  onBatch: (batch: Batch.Batch, bytes: Uint8Array) => void,
  options: ReceiveOptions = {}
): Effect.Effect<never, XskError> =>
  withBatch(socket, options, (batch) =>
    Effect.gen(function*() {
      for (let idle = 0;;) {
        let turns = 0
        for (; turns < turnsInARow; turns++) {
          yield* Effect.fromResult(Traffic.service(socket))
          if ((yield* Effect.fromResult(Traffic.receive(socket, batch))) === 0) break
          // What it throws is its own fault, and the frames go back.
          yield* Effect.sync(() => onBatch(batch, socket.umem.bytes)).pipe(
            Effect.onError(() => Effect.sync(() => batch.actions.fill(Batch.Action.Free)))
          )
          yield* settle(socket, batch)
        }
        idle = turns > 0 ? 0 : idle + 1
        yield* idle < patience ? Effect.yieldNow : readable(socket)
      }
    }))

/** Joins what came in several frames; `parts` keeps the beginning of a packet whose end is in a later batch. */
const copies = (socket: Socket.Socket, batch: Batch.Batch, parts: Array<Uint8Array>): Array<Uint8Array> => {
  const { bytes } = socket.umem
  const packets: Array<Uint8Array> = []
  for (let i = 0; i < batch.count; i++) {
    const address = batch.addresses[i] ?? 0
    const part = bytes.slice(address, address + (batch.lengths[i] ?? 0))
    if (parts.length === 0 && !Traffic.hasMore(batch, i)) {
      packets.push(part)
      continue
    }
    parts.push(part)
    if (Traffic.hasMore(batch, i)) continue
    const whole = new Uint8Array(parts.reduce((sum, each) => sum + each.length, 0))
    let at = 0
    for (const each of parts.splice(0)) {
      whole.set(each, at)
      at += each.length
    }
    packets.push(whole)
  }
  return packets
}

/**
 * The packets that arrive, copied, each whole; they are taken from the ring when they are asked for, a batch at a time: what is left of
 * one when the stream is ended is lost.
 */
export const stream = (
  socket: Socket.Socket,
  options: ReceiveOptions = {}
): Stream.Stream<Uint8Array, XskError> =>
  Stream.unwrap(Effect.map(room(options), (batch) => {
    const parts: Array<Uint8Array> = []
    const next = Effect.gen(function*() {
      for (;;) {
        yield* Effect.fromResult(Traffic.service(socket))
        if ((yield* Effect.fromResult(Traffic.receive(socket, batch))) === 0) {
          yield* readable(socket)
          continue
        }
        const packets = copies(socket, batch, parts)
        const freed = Traffic.finish(socket, batch)
        batch.count = 0
        if (Result.isFailure(freed)) return yield* freed.failure
        if (packets.length > 0) return packets
      }
    })
    return Stream.flattenIterable(Stream.fromEffectRepeat(next))
  }))

/** Whether frames of the memory are on their way back from being sent. */
const isSending = ({ holders }: Umem.Umem): boolean =>
  holders.some((holder) => holder?.kind === "Send" && holder.count > 0)

/** Frames to write into: waits for those that are being sent where none is free. */
const takeFrames = (
  socket: Socket.Socket,
  batch: Batch.Batch,
  count: number,
  inVain = 0
): Effect.Effect<number, XskError> =>
  Effect.suspend(() => {
    const taken = Traffic.take(socket, batch, count)
    if (Result.isFailure(taken) || taken.success > 0) return Effect.fromResult(taken)
    const pushed = Traffic.push(socket)
    if (Result.isFailure(pushed)) return Effect.fail(pushed.failure)
    const { umem } = socket
    for (const pool of umem.pools.values()) {
      const reclaimed = Pool.reclaim(pool)
      if (Result.isFailure(reclaimed) && pool === socket.pool) return Effect.fail(reclaimed.failure)
    }
    if (umem.freeCount === 0 && !isSending(umem)) {
      const hint = "give frames back, or make the umem larger"
      return Effect.fail(
        new XskError({ reason: "NoFrames", step: "send", device: socket.device, queue: socket.queue, hint })
      )
    }
    return Effect.flatMap(pause(inVain), () => takeFrames(socket, batch, count, inVain + 1))
  })

/** Writes a packet at an address and says how long it is; `space` is how many bytes have room. */
export type Write = (bytes: Uint8Array, address: number, index: number, space: number) => number

/**
 * Sends packets that are written where they are sent from. Ends when the kernel has been handed all of them; `flush` waits until they
 * were sent. A length of 0 sends nothing in that place.
 */
export const sendWith = (
  socket: Socket.Socket,
  count: number,
  write: Write,
  options: ReceiveOptions = {}
): Effect.Effect<void, XskError> =>
  withBatch(socket, options, (batch) =>
    Effect.gen(function*() {
      const { bytes, frameSize, registration: { txMetadataLength } } = socket.umem
      const space = frameSize - txMetadataLength
      for (let at = 0; at < count;) {
        const taken = yield* takeFrames(socket, batch, count - at)
        const first = at
        // What `write` throws is its own fault.
        yield* Effect.sync(() => {
          for (let i = 0; i < taken; i++) {
            const length = write(bytes, batch.addresses[i] ?? 0, first + i, space)
            batch.lengths[i] = length
            if (length === 0) batch.actions[i] = Batch.Action.Free
          }
        })
        at += taken
        yield* settle(socket, batch)
        // Who receives may be a fiber of this process, and is to keep up.
        yield* Effect.yieldNow
      }
    }))

/** Where one part of a packet is. */
interface Part {
  readonly packet: Uint8Array
  readonly from: number
  readonly to: number
}

/** Sends copies of packets. One that is larger than a frame goes in several, if the socket is for such (`multiBuffer`). */
export const send = (
  socket: Socket.Socket,
  packets: ReadonlyArray<Uint8Array>
): Effect.Effect<void, XskError> =>
  Effect.gen(function*() {
    const { frameSize, registration: { txMetadataLength } } = socket.umem
    const space = frameSize - txMetadataLength
    const parts: Array<Part> = []
    for (const packet of packets) {
      if (packet.length === 0 || (packet.length > space && !socket.multiBuffer)) {
        const hint = `frames have room for ${space} bytes; larger packets need multiBuffer`
        return yield* badArgument("send", `a packet of ${packet.length} bytes`, hint)
      }
      for (let from = 0; from < packet.length; from += space) {
        parts.push({ packet, from, to: Math.min(packet.length, from + space) })
      }
    }
    yield* withBatch(socket, { batch: Math.min(defaultBatch, Math.max(parts.length, 1)) }, (batch) =>
      sendParts(socket, parts, batch))
  })

/** Copies parts of packets into frames, and sends those. */
const sendParts = (
  socket: Socket.Socket,
  parts: ReadonlyArray<Part>,
  batch: Batch.Batch
): Effect.Effect<void, XskError> =>
  Effect.gen(function*() {
    const { bytes } = socket.umem
    for (let at = 0; at < parts.length;) {
      const taken = yield* takeFrames(socket, batch, parts.length - at)
      for (let i = 0; i < taken; i++) {
        const part = parts[at + i]
        if (part === undefined) continue
        bytes.set(part.packet.subarray(part.from, part.to), batch.addresses[i] ?? 0)
        batch.lengths[i] = part.to - part.from
        batch.options[i] = part.to < part.packet.length ? DescriptorOption.PKT_CONTD : 0
      }
      at += taken
      yield* settle(socket, batch)
      yield* Effect.yieldNow
    }
  })

/** Waits until the kernel has given back all that this socket has sent. */
export const flush = (socket: Socket.Socket, inVain = 0): Effect.Effect<void, XskError> =>
  Effect.suspend(() => {
    const wrong = Socket.fault(socket, "flush")
    if (wrong !== undefined) return Effect.fail(wrong)
    const before = Traffic.outstanding(socket)
    if (before === 0) return Effect.void
    const pushed = Traffic.push(socket)
    if (Result.isFailure(pushed)) return Effect.fail(pushed.failure)
    const left = Traffic.outstanding(socket)
    return left === 0 ? Effect.void : Effect.flatMap(pause(inVain), () => flush(socket, left < before ? 0 : inVain + 1))
  })

/** What the kernel has counted for a socket. */
export const statistics = (socket: Socket.Socket): Effect.Effect<Statistics, XskError> =>
  Effect.suspend(() => Effect.fromResult(Socket.statistics(socket)))

/** Whether packets go from and to the device without being copied. */
export const isZeroCopy = (socket: Socket.Socket): Effect.Effect<boolean, XskError> =>
  Effect.suspend(() => Effect.fromResult(Socket.isZeroCopy(socket)))
