/**
 * What the sockets of one queue have in common: the rings by which frames go to the kernel and come back (fill, completion).
 *
 * Each socket of the queue maps the rings itself, for a mapping keeps its socket open: when the one whose mapping is used is closed, they
 * go on in another's. Older kernels (6.1 is one) map nothing of a socket that is bound: there the first one's mappings stay, and with
 * them the kernel's side of it, until the queue's last socket is closed.
 */
import * as Result from "effect/Result"
import * as Ring from "./Ring.ts"
import type { Mapping } from "./System.ts"
import * as Umem from "./Umem.ts"
import { XskError } from "./XskError.ts"

/** The rings of a queue, as one of its sockets has mapped them. */
export interface PoolMappings {
  readonly fill: Mapping
  readonly completion: Mapping
  /** Whether they stay when their socket is closed, because the others have no mappings of their own. */
  readonly keeping: { kept: boolean }
}

/** What the sockets of one queue have in common. */
export interface Pool {
  readonly umem: Umem.Umem
  readonly key: string
  readonly device: string
  readonly queue: number
  readonly fill: Ring.Ring
  readonly completion: Ring.Ring
  /** Frames that are to be with the kernel to receive into; changed with the first socket that receives. */
  wanted: number
  /** Place of the frames to receive into among the umem's holders. */
  receiving: number
  /** Places of those that send, closed ones included: their frames may still come back. */
  readonly sending: Set<number>
  readonly mappings: Array<PoolMappings>
  /** What is wrong with the rings for good. */
  broken: XskError | undefined
}

/** The error of this pool from now on. */
export const breakWith = (pool: Pool, reason: "CorruptRing" | "CorruptDescriptor", step: string, detail: string) =>
  pool.broken ??= new XskError({
    reason,
    step,
    device: pool.device,
    queue: pool.queue,
    detail,
    hint: "something else than the kernel has written to the rings, or to our own state: close the sockets"
  })

/** The socket of these mappings is closed: they go with it, unless they are the only ones and there are other sockets. */
export const removeMappings = (pool: Pool, mappings: PoolMappings, isLast: boolean): void => {
  const at = pool.mappings.indexOf(mappings)
  if (at < 0) return
  if (!isLast && pool.mappings.length === 1) {
    mappings.keeping.kept = true
    return
  }
  pool.mappings.splice(at, 1)
  const next = pool.mappings[0]
  if (next === undefined) return
  Ring.moveTo(pool.fill, next.fill.buffer)
  Ring.moveTo(pool.completion, next.completion.buffer)
}

/** Gives the kernel as many free frames to receive into as it is to have; answers how many it was given. */
export const refill = (pool: Pool): Result.Result<number, XskError> => {
  const { fill, umem } = pool
  if (pool.broken !== undefined) return Result.fail(pool.broken)
  const holder = umem.holders[pool.receiving]
  if (holder === undefined) return Result.succeed(0)
  const lacking = Math.min(pool.wanted - holder.count, umem.freeCount)
  if (lacking <= 0) return Result.succeed(0)
  const room = Ring.free(fill, lacking)
  if (room < 0) {
    return Result.fail(breakWith(pool, "CorruptRing", "fill", "the kernel has taken more than it was given"))
  }
  const count = Math.min(room, lacking)
  const first = fill.cachedProducer
  if (Ring.reserve(fill, count) !== count) return Result.succeed(0)
  for (let i = 0; i < count; i++) {
    const frame = Umem.takeFrame(umem, pool.receiving)
    Ring.setAddress(fill, (first + i) >>> 0, frame * umem.frameSize, 0)
  }
  holder.count += count
  Ring.submit(fill, count)
  return Result.succeed(count)
}

/** The place of who sends no more is another's. */
export const forget = (pool: Pool, place: number): void => {
  pool.sending.delete(place)
  pool.umem.holders[place] = undefined
}

/** Takes back the frames that were sent; answers how many. Those before one that cannot be right are taken. */
export const reclaim = (pool: Pool): Result.Result<number, XskError> => {
  const { completion, umem } = pool
  if (pool.broken !== undefined) return Result.fail(pool.broken)
  const { holders, owners, unaligned } = umem
  let total = 0
  for (;;) {
    const first = completion.cachedConsumer
    const count = Ring.peek(completion, completion.size)
    if (count < 0) {
      return Result.fail(breakWith(pool, "CorruptRing", "completions", "there are more of them than have room"))
    }
    if (count === 0) return Result.succeed(total)
    for (let i = 0; i < count; i++) {
      const index = (first + i) >>> 0
      const offset = Ring.offsetOf(completion, index)
      const base = Ring.addressOf(completion, index)
      const frame = Umem.frameOf(umem, unaligned ? base + offset : base)
      const place = frame < umem.frames && (unaligned || offset === 0) ? owners[frame] ?? Umem.FREE : Umem.FREE
      const holder = holders[place]
      if (place <= Umem.USER || holder === undefined || holder.kind !== "Send" || holder.pool !== pool) {
        Ring.release(completion, i)
        const address = `0x${(BigInt(offset) << 48n | BigInt(base)).toString(16)}`
        return Result.fail(
          breakWith(pool, "CorruptDescriptor", "completions", `address ${address} is of no frame that was sent`)
        )
      }
      holder.count--
      Umem.giveFrame(umem, frame)
      if (holder.count === 0 && holder.isOver) forget(pool, place)
    }
    Ring.release(completion, count)
    total += count
  }
}
