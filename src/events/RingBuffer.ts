/**
 * Reads the kernel's ring buffer: records that BPF programs hand to user space through a map of type `ringbuf`.
 *
 * The buffer is memory that both sides share. One page holds the consumer's position, which is ours to write; behind it,
 * read-only, follow the producer's page and the data, mapped twice in a row so that a record which wraps around its end
 * is in one piece. Positions are byte counts that only grow; the place in the data is the position modulo its size.
 *
 * A record begins at a multiple of 8 with a header of 8 bytes: its length with two flags, and four bytes for the kernel.
 *
 * Source: `kernel/bpf/ringbuf.c`; reference page `ringbuf`, section 1.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { MapFlag, mapTypeName, MapType } from "../services/Kernel/abi/BpfConstants.ts"
import { Kernel, type Session } from "../services/Kernel/Kernel.ts"
import type { MemoryView } from "../services/Kernel/KernelCall.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import * as Ref from "../services/Kernel/Ref.ts"

/** A map that is no ring buffer which can be read, or a ring buffer whose contents make no sense. */
export class RingBufferError extends Schema.TaggedError<RingBufferError>()("RingBufferError", {
  reason: Schema.Literals([
    /** The map is of another type. */
    "MapType",
    /** The kernel overwrites what was not read: its consumer needs a third position, which this one does not follow. */
    "Overwrite",
    /** Sizes that no ring buffer has: the data is a power of two and a multiple of the page. */
    "Geometry",
    /** A header or a position that the kernel does not write. */
    "Corrupt",
    /** The kernel does not say how large its pages are. */
    "PageSize"
  ]),
  detail: Schema.String,
  /** Position of the record, in bytes since the buffer was created. */
  position: Schema.optionalKey(Schema.BigInt),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const where = this.position === undefined ? "" : ` at position ${this.position}`
    return `ring buffer: ${this.detail}${where}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** A ring buffer that is mapped for reading. There must be only one reader of a buffer at a time. */
export interface RingBuffer {
  /** Bytes of data: a power of two. */
  readonly size: number
  readonly pageSize: number
  /** The page that holds the consumer's position; writable. */
  readonly consumer: MemoryView
  /** The page that holds the producer's position, then the data twice. */
  readonly producer: MemoryView
}

/** The record is reserved, and not yet written. */
const BUSY = 0x8000_0000
/** The record was given up: it is passed over. */
const DISCARD = 0x4000_0000
const lengthMask = 0x3fff_ffff
const headerSize = 8

/** Bytes from one record to the next. */
const spanOf = (length: number): number => Math.ceil((length + headerSize) / 8) * 8

/** A ring buffer over memory that is mapped already. Checks sizes, not contents. */
export const make = (
  consumer: MemoryView,
  producer: MemoryView,
  geometry: { readonly size: number; readonly pageSize: number }
): Result.Result<RingBuffer, RingBufferError> => {
  const { pageSize, size } = geometry
  const refuse = (detail: string) => Result.fail(new RingBufferError({ reason: "Geometry", detail }))
  // In 32 bits a power of two has one bit; larger buffers do not exist.
  if (!(size > 0 && size <= 0x8000_0000 && (size & (size - 1)) === 0)) {
    return refuse(`${size} bytes are no power of two`)
  }
  if (!(pageSize > 0 && size % pageSize === 0)) return refuse(`${size} bytes are not whole pages of ${pageSize}`)
  if (consumer.bytes.length < headerSize) return refuse("the consumer's page is not mapped")
  if (producer.bytes.length < pageSize + 2 * size) return refuse("the data is not mapped twice")
  return Result.succeed({ size, pageSize, consumer, producer })
}

/** Bytes that were reserved by producers and not yet read, headers and unfinished records included. */
export const available = (ring: RingBuffer): number =>
  Number(BigInt.asUintN(64, ring.producer.loadAcquire64(0) - ring.consumer.loadAcquire64(0)))

const corrupt = (detail: string, position: bigint): RingBufferError =>
  new RingBufferError({
    reason: "Corrupt",
    detail,
    position,
    hint: "another process may be reading or writing the same buffer"
  })

/**
 * Takes the records that are there, at most `limit` of them, each as a copy. The position is handed back to the kernel
 * record by record, since the kernel's free space, and whether it wakes a sleeping reader, depend on it.
 *
 * A record that is still being written ends the draining, and all behind it wait, for records are taken in the order in
 * which they were reserved. Discarded ones are passed over and do not count. When the end is reached, the producer is
 * looked at once more, so that a reader which then goes to sleep is woken by what comes later.
 *
 * Never waits. Where the buffer's contents make no sense, the records in front of that place are answered first; the
 * next call fails.
 */
export const drain = (
  ring: RingBuffer,
  limit: number = Number.POSITIVE_INFINITY
): Result.Result<ReadonlyArray<Uint8Array>, RingBufferError> => {
  const { consumer, pageSize, producer, size } = ring
  const records: Array<Uint8Array> = []
  let position = consumer.loadAcquire64(0)
  if ((position & 7n) !== 0n) return Result.fail(corrupt("the consumer's position is no multiple of 8", position))
  const failed = (detail: string) =>
    records.length > 0 ? Result.succeed(records) : Result.fail(corrupt(detail, position))
  // Two rounds: the second finds what was committed during the first. A third would let a fast producer hold us for ever.
  for (let round = 0; round < 2; round++) {
    const ahead = BigInt.asUintN(64, producer.loadAcquire64(0) - position)
    if (ahead > BigInt(size)) return failed(`the producer is ${ahead} bytes ahead in a buffer of ${size}`)
    let left = Number(ahead)
    while (left > 0 && records.length < limit) {
      if (left < headerSize) return failed(`${left} bytes are left, too few for a record`)
      const at = pageSize + Number(position & BigInt(size - 1))
      const header = producer.loadAcquire32(at)
      if ((header & BUSY) !== 0) return Result.succeed(records)
      const length = header & lengthMask
      const span = spanOf(length)
      if (span > left) return failed(`a record of ${length} bytes is longer than the ${left} bytes that are left`)
      if ((header & DISCARD) === 0) {
        records.push(producer.bytes.slice(at + headerSize, at + headerSize + length))
      }
      left -= span
      position = BigInt.asUintN(64, position + BigInt(span))
      consumer.storeRelease64(0, position)
    }
    if (records.length >= limit) break
  }
  return Result.succeed(records)
}

/** Views of ring buffers are numbered from here by their map's number, away from those of other users of a session. */
const firstView = 0x1000_0000

/**
 * Maps a ring buffer for reading; it is unmapped when the scope closes. The kernel is asked what the map is, so that a
 * map of another type, or one in overwrite mode, is refused.
 */
export const open = Effect.fnUntraced(function*(
  session: Session,
  map: Ref.MapRef
): Effect.fn.Return<RingBuffer, CallError | RingBufferError, Kernel | Scope.Scope> {
  const kernel = yield* Kernel
  const info = yield* session.call({ _tag: "MapGetInfo", map })
  if (info.type !== MapType.BPF_MAP_TYPE_RINGBUF) {
    return yield* new RingBufferError({
      reason: "MapType",
      detail: `the map ${info.name} is of type ${mapTypeName(info.type)}, not ringbuf`
    })
  }
  if ((info.flags & MapFlag.BPF_F_RB_OVERWRITE) !== 0) {
    return yield* new RingBufferError({
      reason: "Overwrite",
      detail: `the map ${info.name} overwrites what was not read (BPF_F_RB_OVERWRITE), which is not supported`
    })
  }
  const { pageSize } = yield* kernel.ask([{ _tag: "PageSize" }])
  if (pageSize?._tag !== "Known") {
    return yield* new RingBufferError({ reason: "PageSize", detail: "the kernel does not say how large its pages are" })
  }
  const page = pageSize.value
  const mapped = (position: 0 | 1, offset: number, length: number, writable: boolean) => {
    const as = Ref.view(firstView + 2 * map.index + position)
    return Effect.acquireRelease(
      session.call({ _tag: "MapMmap", map, as, offset, length, writable }),
      () => Effect.ignore(session.call({ _tag: "Close", ref: as }))
    )
  }
  const consumer = yield* mapped(0, 0, page, true)
  const producer = yield* mapped(1, page, page + 2 * info.maxEntries, false)
  return yield* Effect.fromResult(make(consumer, producer, { size: info.maxEntries, pageSize: page }))
})
