/**
 * Packets in and out of a socket, in batches, without waiting: what the Effects of `Xsk.ts` are made of.
 *
 * Each function makes as many steps as can be made now and says how many those were. Per packet nothing is allocated and nothing is
 * called but plain functions over numbers.
 */
import * as Result from "effect/Result"
import { Errno } from "../../src/index.ts"
import { DescriptorOption } from "./Abi.ts"
import { Action, type Batch } from "./Batch.ts"
import * as Pool from "./Pool.ts"
import * as Ring from "./Ring.ts"
import { fault, type Socket } from "./Socket.ts"
import * as Umem from "./Umem.ts"
import { badArgument, refused, XskError } from "./XskError.ts"

const corrupt = (socket: Socket, reason: "CorruptRing" | "CorruptDescriptor", step: string, detail: string): XskError =>
  socket.broken ??= new XskError({
    reason,
    step,
    device: socket.device,
    queue: socket.queue,
    detail,
    hint: "something else than the kernel has written to the rings: close the socket"
  })

const without = (socket: Socket, ring: "rx" | "tx") =>
  badArgument(
    ring === "rx" ? "receive" : "send",
    `the socket on ${socket.device} has no ${ring} ring`,
    `make it with ${ring} > 0`
  )

/**
 * Takes what has arrived, as far as the batch has room. The frames are the user's until `finish`. A descriptor that cannot be right ends
 * the batch before it; the next call fails.
 */
export const receive = (socket: Socket, batch: Batch): Result.Result<number, XskError> => {
  batch.count = 0
  const wrong = fault(socket, "receive")
  if (wrong !== undefined) return Result.fail(wrong)
  const { pool, rx, umem } = socket
  if (rx === undefined) return Result.fail(without(socket, "rx"))
  const { frameSize, frames, owners, unaligned } = umem
  const holder = umem.holders[pool.receiving]
  const first = rx.cachedConsumer
  const ready = Ring.peek(rx, batch.capacity)
  if (ready < 0 || holder === undefined) {
    return Result.fail(corrupt(socket, "CorruptRing", "receive", "more packets are said to be there than have room"))
  }
  let count = 0
  for (; count < ready; count++) {
    const index = (first + count) >>> 0
    const base = Ring.addressOf(rx, index)
    const offset = Ring.offsetOf(rx, index)
    const length = Ring.lengthOf(rx, index)
    const address = base + offset
    const frame = Math.floor(base / frameSize)
    if (
      frame >= frames || owners[frame] !== pool.receiving || (offset !== 0 && !unaligned) ||
      address + length > (frame + 1) * frameSize
    ) {
      Ring.unpeek(rx, ready - count)
      const error = corrupt(
        socket,
        "CorruptDescriptor",
        "receive",
        `a packet of ${length} bytes at ${address} is in no frame that was given to receive into`
      )
      if (count === 0) return Result.fail(error)
      break
    }
    owners[frame] = Umem.USER
    batch.addresses[count] = address
    batch.lengths[count] = length
    batch.options[count] = Ring.optionsOf(rx, index)
    batch.actions[count] = Action.Free
  }
  holder.count -= count
  Ring.release(rx, count)
  batch.count = count
  return Result.succeed(count)
}

/** Whether the packet goes on in the next frame of the batch, or of the next batch. */
export const hasMore = (batch: Batch, index: number): boolean =>
  ((batch.options[index] ?? 0) & DescriptorOption.PKT_CONTD) !== 0

/** Gives a frame of the user's back, by any address in it. */
export const give = (socket: Socket, address: number): Result.Result<void, XskError> => {
  const { umem } = socket
  const frame = Umem.frameOf(umem, address)
  if (!(frame >= 0 && frame < umem.frames) || umem.owners[frame] !== Umem.USER) {
    return Result.fail(badArgument("give back", `the frame of address ${address} is not the user's`))
  }
  Umem.giveFrame(umem, frame)
  return Result.succeed(undefined)
}

/** Takes free frames to write packets into; answers how many there were. Their addresses leave room for metadata. */
export const take = (socket: Socket, batch: Batch, count: number): Result.Result<number, XskError> => {
  batch.count = 0
  const wrong = fault(socket, "take frames")
  if (wrong !== undefined) return Result.fail(wrong)
  const { umem } = socket
  const most = Math.min(count, batch.capacity, umem.freeCount)
  const room = umem.registration.txMetadataLength
  for (let i = 0; i < most; i++) {
    batch.addresses[i] = Umem.takeFrame(umem, Umem.USER) * umem.frameSize + room
    batch.lengths[i] = 0
    batch.options[i] = 0
    batch.actions[i] = Action.Send
  }
  batch.count = Math.max(0, most)
  return Result.succeed(batch.count)
}

/**
 * Hands packets of the batch, from `from` on, to the kernel: those whose action is `Send`, as many as the tx ring has room for. Frees
 * those whose action is `Free`. Answers the number of the first one that nothing was done with: the batch's count when it is through.
 * An address or length that is not in a frame of the user's, and a length of 0, is an error: what comes before it in the batch is done.
 */
export const finish = (socket: Socket, batch: Batch, from = 0): Result.Result<number, XskError> => {
  const wrong = fault(socket, "send")
  if (wrong !== undefined) return Result.fail(wrong)
  const { tx, umem } = socket
  const { owners } = umem
  const holder = umem.holders[socket.sending]
  const first = tx?.cachedProducer ?? 0
  let room = -1
  let sent = 0
  let error: XskError | undefined
  let at = from
  for (; at < batch.count; at++) {
    const action = batch.actions[at]
    if (action === Action.Keep) continue
    const address = batch.addresses[at] ?? -1
    const length = batch.lengths[at] ?? 0
    const frame = Umem.frameOf(umem, address)
    if (!Umem.isInFrame(umem, frame, address, length) || owners[frame] !== Umem.USER) {
      error = badArgument("send", `${length} bytes at ${address} are in no frame of the user's`)
      break
    }
    if (action === Action.Free) {
      Umem.giveFrame(umem, frame)
      continue
    }
    if (tx === undefined || holder === undefined) {
      error = without(socket, "tx")
      break
    }
    // The kernel would take such a packet for wrong, and never give its frame back.
    if (length === 0) {
      error = badArgument("send", `a packet of no bytes at ${address}`)
      break
    }
    if (room < 0) {
      room = Ring.free(tx, batch.count - at)
      if (room < 0) {
        error = corrupt(socket, "CorruptRing", "send", "the kernel has taken more than it was given")
        break
      }
    }
    if (sent === room) break
    owners[frame] = socket.sending
    Ring.setDescriptor(tx, (first + sent) >>> 0, address, 0, length, batch.options[at] ?? 0)
    sent++
  }
  if (sent > 0 && tx !== undefined && holder !== undefined) {
    Ring.reserve(tx, sent)
    holder.count += sent
    Ring.submit(tx, sent)
  }
  return error === undefined ? Result.succeed(at) : Result.fail(error)
}

/** Lets go of the user's frames of the batch, from `from` on, whatever their actions say; `Keep` stays kept. */
export const abandon = (socket: Socket, batch: Batch, from = 0): void => {
  for (let at = from; at < batch.count; at++) {
    if (batch.actions[at] !== Action.Keep) give(socket, batch.addresses[at] ?? -1)
  }
  batch.count = 0
}

/** How many packets of this socket the kernel has and has not given back. */
export const outstanding = (socket: Socket): number =>
  socket.isClosed ? 0 : socket.umem.holders[socket.sending]?.count ?? 0

/** Errors by which the kernel says that it has done what it can for now. */
const passing: ReadonlySet<number> = new Set(
  (["EAGAIN", "EBUSY", "ENOBUFS", "EINTR", "ENETDOWN"] as const).map((name) => -Errno.numbers[name])
)

/**
 * Has the kernel send what it was handed, where it has to be told. Answers whether something is left to be told of: it sends some
 * tens of packets in a call.
 */
export const kick = (socket: Socket): Result.Result<boolean, XskError> => {
  const wrong = fault(socket, "send")
  if (wrong !== undefined) return Result.fail(wrong)
  const { fd, needWakeup, tx, umem } = socket
  if (tx === undefined) return Result.succeed(false)
  const waiting = Ring.pending(tx)
  if (waiting < 0) {
    return Result.fail(corrupt(socket, "CorruptRing", "send", "the kernel has taken more than it was given"))
  }
  if (waiting === 0 || (needWakeup && !Ring.needsWakeup(tx))) return Result.succeed(false)
  const result = umem.system.wakeSender(fd)
  if (result < 0 && !passing.has(result)) return Result.fail(refused("send", result, socket))
  const left = Ring.pending(tx)
  // No progress: what is in its way goes by itself, and telling again at once would not help.
  return Result.succeed(left > 0 && left < waiting)
}

/** Kicks until all is sent or the kernel makes no progress, taking back what was sent on the way. */
export const push = (socket: Socket): Result.Result<void, XskError> => {
  for (;;) {
    const kicked = kick(socket)
    if (Result.isFailure(kicked)) return Result.fail(kicked.failure)
    const reclaimed = Pool.reclaim(socket.pool)
    if (Result.isFailure(reclaimed)) return Result.fail(reclaimed.failure)
    if (!kicked.success) return Result.succeed(undefined)
  }
}

/** Takes back what was sent, and gives the kernel frames to receive into; wakes it where it asks to be. */
export const service = (socket: Socket): Result.Result<void, XskError> => {
  const wrong = fault(socket, "service")
  if (wrong !== undefined) return Result.fail(wrong)
  const { needWakeup, pool, rx, umem } = socket
  const reclaimed = Pool.reclaim(pool)
  if (Result.isFailure(reclaimed)) return Result.fail(reclaimed.failure)
  if (rx === undefined) return Result.succeed(undefined)
  const filled = Pool.refill(pool)
  if (Result.isFailure(filled)) return Result.fail(filled.failure)
  if (needWakeup && Ring.needsWakeup(pool.fill)) umem.system.wakeReceiver(socket.fd)
  return Result.succeed(undefined)
}
