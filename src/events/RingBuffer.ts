/**
 * Reads the kernel's ring buffer: records that BPF programs hand to user space through a map of type `ringbuf`. This module
 * takes what is there and never waits; `RingReader` waits, decodes and makes streams.
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
import type * as Scope from "effect/Scope"
import { hostIsLittle } from "../services/Kernel/abi/Arena.ts"
import { MapFlag, mapTypeName, MapType } from "../services/Kernel/abi/BpfConstants.ts"
import { Kernel, type Session } from "../services/Kernel/Kernel.ts"
import type { MemoryView } from "../services/Kernel/KernelCall.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import type * as Ref from "../services/Kernel/Ref.ts"
import { RingBufferError } from "./ring/RingError.ts"
import { mapped } from "./ring/Mapped.ts"

export { RingBufferError } from "./ring/RingError.ts"

/** What has happened to a ring buffer since it was opened. The numbers are exact up to 2^53. */
export interface RingCounters {
  /** Records that were handed out. */
  readonly records: number
  /** Bytes of those records, without their headers. */
  readonly bytes: number
  /** Records that programs gave up, which are passed over. */
  readonly discarded: number
  /** Records at which the consumer threw: they are handed out no second time, and count among `records`. */
  readonly failed: number
  /** The most bytes, headers included, that were found in the buffer when somebody looked. */
  readonly highWater: number
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
  /** What was read through this value so far. It changes; copy it to keep it. */
  readonly counters: RingCounters
}

interface Opened extends RingBuffer {
  readonly counters: { -readonly [K in keyof RingCounters]: number }
  /** `consumer` as words. */
  readonly position: Int32Array
  /** `producer` as words and as bytes. */
  readonly words: Int32Array
  readonly data: DataView
}

/** The record was given up: it is passed over. One that is reserved and not yet written has the sign bit. */
const DISCARD = 0x4000_0000
const lengthMask = 0x3fff_ffff
const headerSize = 8

/** The word of a position of 64 bits that has its low half. */
const low = hostIsLittle ? 0 : 1

/** A ring buffer over memory that is mapped already. Checks sizes, not contents. */
export const make = (
  consumer: MemoryView,
  producer: MemoryView,
  geometry: { readonly size: number; readonly pageSize: number }
): Result.Result<RingBuffer, RingBufferError> => {
  const { pageSize, size } = geometry
  const refuse = (detail: string) => Result.fail(new RingBufferError({ reason: "Geometry", detail }))
  // In 32 bits a power of two has one bit; larger buffers do not exist.
  if (!(size >= headerSize && size <= 0x8000_0000 && (size & (size - 1)) === 0)) {
    return refuse(`${size} bytes are no power of two`)
  }
  if (!(pageSize > 0 && size % pageSize === 0)) return refuse(`${size} bytes are not whole pages of ${pageSize}`)
  if (consumer.bytes.length < headerSize) return refuse("the consumer's page is not mapped")
  if (producer.bytes.length < pageSize + 2 * size) return refuse("the data is not mapped twice")
  const { bytes, words } = producer
  const position = consumer.words
  if (words === undefined || position === undefined) {
    return refuse("this memory is not in the byte order of this machine, or not aligned")
  }
  const opened: Opened = {
    size,
    pageSize,
    consumer,
    producer,
    counters: { records: 0, bytes: 0, discarded: 0, failed: 0, highWater: 0 },
    position,
    words,
    data: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
  return Result.succeed(opened)
}

/** Bytes that were reserved by producers and not yet read, headers and unfinished records included. */
export const available = (ring: RingBuffer): number =>
  Number(BigInt.asUintN(64, ring.producer.loadAcquire64(0) - ring.consumer.loadAcquire64(0)))

/** How many bytes of data and headers the reader has moved past since the buffer was created. */
export const position = (ring: RingBuffer): bigint => ring.consumer.loadAcquire64(0)

const isClosed = ({ consumer, producer }: RingBuffer): boolean =>
  consumer.bytes.length === 0 || producer.bytes.length === 0

const closed = (): RingBufferError => new RingBufferError({ reason: "Closed", detail: "it is not mapped any more" })

const corrupt = (detail: string, position: bigint): RingBufferError =>
  new RingBufferError({
    reason: "Corrupt",
    detail,
    position,
    hint: "another process may be reading or writing the same buffer"
  })

/**
 * Is shown a record: its payload are `length` bytes from `at` in the view, which is the buffer itself. They are valid until
 * this returns; what is to be kept has to be copied or decoded. `false` ends the taking after this record.
 */
export type Visit = (view: DataView, at: number, length: number) => boolean | void

/** How much is taken at once. */
export interface Limits {
  /** Records, discarded ones not counted. Default: any number. */
  readonly records?: number
  /** Bytes of records, after which no further one is begun. Default: any number. */
  readonly bytes?: number
  /**
   * Keep the records in the buffer: the consumer's position stays where it is until `release`, and until then the same
   * records would be taken again.
   */
  readonly hold?: boolean
}

/** What was taken. */
export interface Taken {
  /** Records that were shown. */
  readonly records: number
  /**
   * Why there was an end: nothing is left; the next record is still being written, and all behind it wait for it; the limit is
   * reached, or the visitor wanted no more.
   */
  readonly end: "Empty" | "Busy" | "Limit"
  /** Where the next record begins, in bytes since the buffer was created. */
  readonly next: bigint
}

/** Bytes that are moved past before the kernel is told: telling it costs both sides time. A part of the buffer's size. */
const partTold = 16

/** Tells the kernel how far the reader has got. */
const tell = (ring: RingBuffer, toldHigh: number, high: number, place: number): void => {
  // Half of a position is written as one. Both halves are not, but for the rare carry, which is written as a whole.
  if (high === toldHigh) Atomics.store((ring as Opened).position, low, place)
  else ring.consumer.storeRelease64(0, join(high, place))
}

/** Records that are looked at together. */
const group = 128

/** What an atomic change of nothing is made on, for the order that it brings. */
const fence = new Int32Array(1)

/**
 * How many records from a place on are written, discarded ones counted; at most a group. What is read of them after this call is
 * what their programs have written, on every processor: atomic reads of each header would do the same, and cost more than all
 * the rest.
 */
const committed = (words: Int32Array, first: number, mask: number, begin: number, ahead: number): number => {
  let count = 0
  let place = begin
  let left = ahead
  while (count < group && left >= headerSize) {
    const header = words[first + ((place & mask) >>> 2)]
    if (header === undefined) break
    const span = ((header & lengthMask) + headerSize + 7) & ~7
    if (header < 0 || span > left) break
    place = (place + span) | 0
    left -= span
    count++
  }
  Atomics.add(fence, 0, 0)
  return count
}

const join = (high: number, lowHalf: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(lowHalf >>> 0)

/**
 * Shows the records that are there, in the order in which they were reserved, without copying them. Never waits.
 *
 * A record that is still being written ends the taking, and all behind it wait. Discarded ones are passed over and do not
 * count. When the end is reached, the producer is looked at once more, so that a reader which then waits is woken by what
 * comes later. The kernel is told as it goes how far it has got (its free space, and whether it wakes a sleeping reader,
 * depend on that), and always before this returns, unless the records are held.
 *
 * Every record is shown once: also one at which the visitor throws is done with, and counted in `failed`; what was thrown is
 * thrown on. Where the contents make no sense this fails, after the records in front of that place were shown.
 *
 * The visitor must not take from the same buffer.
 */
export const take = (
  ring: RingBuffer,
  visit: Visit,
  limits: Limits = {}
): Result.Result<Taken, RingBufferError> => {
  const { consumer, counters, data, pageSize, producer, size, words } = ring as Opened
  if (isClosed(ring)) return Result.fail(closed())
  const { bytes: mostBytes = Number.POSITIVE_INFINITY, hold = false, records: mostRecords = Number.POSITIVE_INFINITY } =
    limits
  const begin = consumer.loadAcquire64(0)
  if ((begin & 7n) !== 0n) return Result.fail(corrupt("the consumer's position is no multiple of 8", begin))
  const mask = size - 1
  const first = pageSize >>> 2
  const tellAfter = size / partTold
  // The position in two halves: numbers of 64 bits would be allocated one by one.
  let high = Number(begin >> 32n)
  let place = Number(begin & 0xffff_ffffn) | 0
  // How far the kernel has been told.
  let toldHigh = high
  let toldPlace = place
  let records = 0
  let bytes = 0
  let discarded = 0
  let span = 0
  let left = 0
  let isShown = false
  let end: Taken["end"] = "Empty"
  let complaint: string | undefined
  try {
    // Two rounds: the second finds what was committed during the first. A third would let a fast producer hold us for ever.
    taking: for (let round = 0; round < 2; round++) {
      const ahead = BigInt.asUintN(64, producer.loadAcquire64(0) - join(high, place))
      if (ahead > BigInt(size)) {
        complaint = `the producer is ${ahead} bytes ahead in a buffer of ${size}`
        break
      }
      left = Number(ahead)
      if (left > counters.highWater) counters.highWater = left
      while (left > 0) {
        if (records >= mostRecords || bytes >= mostBytes) {
          end = "Limit"
          break taking
        }
        const ready = committed(words, first, mask, place, left)
        if (ready === 0) {
          if (isClosed(ring)) return Result.fail(closed())
          // The kernel wakes who has caught up, by what it has been told: then the record may be done, and nobody woken.
          if (place !== toldPlace && !hold) {
            tell(ring, toldHigh, high, place)
            toldHigh = high
            toldPlace = place
          }
          const header = Atomics.load(words, first + ((place & mask) >>> 2))
          if (left >= headerSize && header < 0) {
            end = "Busy"
            break taking
          }
          if (left < headerSize || ((header & lengthMask) + headerSize + 7 & ~7) > left) {
            complaint = left < headerSize
              ? `${left} bytes are left, too few for a record`
              : `a record of ${header & lengthMask} bytes is longer than the ${left} bytes that are left`
            break taking
          }
          continue
        }
        for (let index = 0; index < ready; index++) {
          if (records >= mostRecords || bytes >= mostBytes) {
            end = "Limit"
            break taking
          }
          // The memory may be anything, so all that counts is checked on what is read here.
          const at = place & mask
          const header = words[first + (at >>> 2)]
          if (header === undefined) break
          const length = header & lengthMask
          span = (length + headerSize + 7) & ~7
          if (header < 0 || span > left) break
          let goesOn: boolean | void = true
          if ((header & DISCARD) === 0) {
            records++
            bytes += length
            isShown = true
            goesOn = visit(data, pageSize + at + headerSize, length)
            isShown = false
          } else discarded++
          left -= span
          const before = place >>> 0
          place = (place + span) | 0
          if ((place >>> 0) < before) high = (high + 1) >>> 0
          if (goesOn === false) {
            end = "Limit"
            break taking
          }
        }
        if (((place - toldPlace) >>> 0) >= tellAfter && !hold) {
          tell(ring, toldHigh, high, place)
          toldHigh = high
          toldPlace = place
        }
      }
      if (place !== toldPlace && !hold) {
        tell(ring, toldHigh, high, place)
        toldHigh = high
        toldPlace = place
      }
    }
  } finally {
    if (isShown) {
      counters.failed++
      const before = place >>> 0
      place = (place + span) | 0
      if ((place >>> 0) < before) high = (high + 1) >>> 0
    }
    if ((place !== toldPlace || high !== toldHigh) && !hold && !isClosed(ring)) tell(ring, toldHigh, high, place)
    counters.records += records
    counters.bytes += bytes
    counters.discarded += discarded
  }
  const next = join(high, place)
  return complaint === undefined
    ? Result.succeed({ records, end, next })
    : Result.fail(corrupt(complaint, next))
}

/** Gives records that were held back to the kernel: those in front of `next`, as `take` has answered it. */
export const release = (ring: RingBuffer, next: bigint): void => {
  if (!isClosed(ring)) ring.consumer.storeRelease64(0, next)
}

/**
 * Takes the records that are there, at most `limit` of them, each as a copy; as `take` does it.
 *
 * Never waits. Where the buffer's contents make no sense, the records in front of that place are answered first; the
 * next call fails.
 */
export const drain = (
  ring: RingBuffer,
  limit: number = Number.POSITIVE_INFINITY
): Result.Result<ReadonlyArray<Uint8Array>, RingBufferError> => {
  const records: Array<Uint8Array> = []
  const { bytes } = ring.producer
  const taken = take(ring, (_, at, length) => void records.push(bytes.slice(at, at + length)), { records: limit })
  return Result.isFailure(taken) && records.length === 0 ? Result.fail(taken.failure) : Result.succeed(records)
}

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
  const consumer = yield* mapped(session, map, { offset: 0, length: page, writable: true })
  const producer = yield* mapped(session, map, { offset: page, length: page + 2 * info.maxEntries, writable: false })
  return yield* Effect.fromResult(make(consumer, producer, { size: info.maxEntries, pageSize: page }))
})
