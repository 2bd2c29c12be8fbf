/**
 * Writes the kernel's user ring buffer (`BPF_MAP_TYPE_USER_RINGBUF`): records that user space hands to BPF programs, which take
 * them with `bpf_user_ringbuf_drain`.
 *
 * It is a ring buffer the other way round: the page with the consumer's position is the kernel's, the producer's position and
 * the data, mapped twice in a row, are ours. A record is reserved, filled in and submitted, or given up; records may be
 * finished in any order, and a program takes them in the order in which they were reserved, up to the first that is unfinished.
 *
 * There must be one producer of a buffer at a time.
 *
 * Source: `kernel/bpf/ringbuf.c`; reference page `ringbuf`, section 2.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Codec, CodecError } from "../btf/Codec.ts"
import { mapTypeName, MapType } from "../services/Kernel/abi/BpfConstants.ts"
import { Kernel, type Session } from "../services/Kernel/Kernel.ts"
import type { MemoryView } from "../services/Kernel/KernelCall.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import type * as Ref from "../services/Kernel/Ref.ts"
import { mapped } from "./ring/Mapped.ts"

/** A map that is no user ring buffer, or a record that cannot be written. */
export class UserRingBufferError extends Schema.TaggedError<UserRingBufferError>()("UserRingBufferError", {
  reason: Schema.Literals([
    /** The map is of another type. */
    "MapType",
    /** Sizes that no ring buffer has. */
    "Geometry",
    /** The kernel does not say how large its pages are. */
    "PageSize",
    /** The record would not fit into the empty buffer, or is longer than what a program can be shown. */
    "TooLarge",
    /** There is no room for the record now, or there was none in time. */
    "NoRoom",
    /** A size or a time that is none. */
    "Argument",
    /** The record was submitted or given up already, or is one of another buffer. */
    "Finished",
    /** Positions that the kernel does not write. */
    "Corrupt",
    /** The buffer is not mapped any more: the scope in which it was opened is over. */
    "Closed"
  ]),
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `user ring buffer: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** What was written through a buffer since it was opened. */
export interface UserRingCounters {
  /** Records that were submitted, and their bytes without headers. */
  readonly submitted: number
  readonly bytes: number
  /** Records that were given up. */
  readonly discarded: number
  /** How often somebody had to wait for room. */
  readonly waits: number
}

/** A record that is being written. */
export interface Reservation {
  /** Its payload, in the buffer itself: to be written, and not to be used once the record is submitted or given up. */
  readonly bytes: Uint8Array
  /** Where it begins, in bytes since the buffer was created. */
  readonly position: bigint
}

/** A user ring buffer that is mapped for writing. */
export interface UserRingBuffer {
  readonly session: Session
  readonly map: Ref.MapRef
  /** Bytes of data: a power of two. */
  readonly size: number
  readonly pageSize: number
  /** The page with the consumer's position. */
  readonly consumer: MemoryView
  /** The page with the producer's position, then the data twice; writable. */
  readonly producer: MemoryView
  /** What was written until now. It changes; copy it to keep it. */
  readonly counters: UserRingCounters
}

interface Opened extends UserRingBuffer {
  readonly counters: { -readonly [K in keyof UserRingCounters]: number }
  /** `producer` as words. */
  readonly words: Int32Array
  /** Records that are neither submitted nor given up. */
  readonly open: Set<Reservation>
}

const BUSY = 0x8000_0000
const DISCARD = 0x4000_0000
const headerSize = 8

/** The longest record that a program can be shown, bytes: what a dynptr describes. A longer one would stop every drain. */
export const longestRecord = 0xff_ffff

const failed = (reason: UserRingBufferError["reason"], detail: string, hint?: string): UserRingBufferError =>
  new UserRingBufferError({ reason, detail, ...(hint === undefined ? {} : { hint }) })

/** A user ring buffer over memory that is mapped already. Checks sizes, not contents. */
export const make = (
  at: { readonly session: Session; readonly map: Ref.MapRef },
  consumer: MemoryView,
  producer: MemoryView,
  geometry: { readonly size: number; readonly pageSize: number }
): Result.Result<UserRingBuffer, UserRingBufferError> => {
  const { pageSize, size } = geometry
  const refuse = (detail: string) => Result.fail(failed("Geometry", detail))
  if (!(size >= headerSize && size <= 0x8000_0000 && (size & (size - 1)) === 0)) {
    return refuse(`${size} bytes are no power of two`)
  }
  if (!(pageSize > 0 && size % pageSize === 0)) return refuse(`${size} bytes are not whole pages of ${pageSize}`)
  if (consumer.bytes.length < headerSize) return refuse("the consumer's page is not mapped")
  if (producer.bytes.length < pageSize + 2 * size) return refuse("the data is not mapped twice")
  if (producer.words === undefined) {
    return refuse("this memory is not in the byte order of this machine, or not aligned")
  }
  const opened: Opened = {
    ...at,
    size,
    pageSize,
    consumer,
    producer,
    counters: { submitted: 0, bytes: 0, discarded: 0, waits: 0 },
    words: producer.words,
    open: new Set()
  }
  return Result.succeed(opened)
}

const isClosed = (ring: UserRingBuffer): boolean => ring.consumer.bytes.length === 0 || ring.producer.bytes.length === 0

const closed = (): UserRingBufferError => failed("Closed", "it is not mapped any more")

/** Bytes that are neither reserved nor waiting to be taken. A record takes its length, 8 bytes more, and up to 7 to align it. */
export const room = (ring: UserRingBuffer): Result.Result<number, UserRingBufferError> => {
  if (isClosed(ring)) return Result.fail(closed())
  const used = BigInt.asUintN(64, ring.producer.loadAcquire64(0) - ring.consumer.loadAcquire64(0))
  return used > BigInt(ring.size)
    ? Result.fail(failed("Corrupt", `${used} bytes are in use in a buffer of ${ring.size}`))
    : Result.succeed(ring.size - Number(used))
}

/**
 * Reserves a record of so many bytes, which may be 0, and never waits. What is in its bytes is what an earlier record has left
 * there.
 *
 * `TooLarge` where it would not fit into the empty buffer or is longer than `longestRecord`, `NoRoom` where it does not fit now.
 */
export const reserve = (ring: UserRingBuffer, size: number): Result.Result<Reservation, UserRingBufferError> => {
  const { open, pageSize, producer, words } = ring as Opened
  if (!(Number.isInteger(size) && size >= 0)) {
    return Result.fail(failed("Argument", `a record cannot have ${size} bytes`))
  }
  const span = Math.ceil((size + headerSize) / 8) * 8
  if (size > longestRecord || span > ring.size) {
    return Result.fail(failed(
      "TooLarge",
      `a record of ${size} bytes takes ${span}, and the buffer has ${ring.size}`,
      size > longestRecord ? `programs can be shown at most ${longestRecord} bytes` : "create the map with more bytes"
    ))
  }
  const free = room(ring)
  if (Result.isFailure(free)) return Result.fail(free.failure)
  if (free.success < span) {
    return Result.fail(failed(
      "NoRoom",
      `a record of ${size} bytes takes ${span}, and ${free.success} are free`,
      "wait for a program to take records: UserRingBuffer.reserveWhenFree"
    ))
  }
  const position = producer.loadAcquire64(0)
  const mask = ring.size - 1
  const at = Number(position & BigInt(mask))
  const header = (pageSize + at) >>> 2
  Atomics.store(words, header, size | BUSY)
  Atomics.store(words, header + 1, 0)
  producer.storeRelease64(0, BigInt.asUintN(64, position + BigInt(span)))
  // Thanks to the second mapping it is in one piece; that of a header at the very end begins at the front.
  const begin = pageSize + ((at + headerSize) & mask)
  const reservation: Reservation = { bytes: producer.bytes.subarray(begin, begin + size), position }
  open.add(reservation)
  return Result.succeed(reservation)
}

const finish = (
  ring: UserRingBuffer,
  reservation: Reservation,
  discard: boolean
): Result.Result<void, UserRingBufferError> => {
  const { counters, open, pageSize, words } = ring as Opened
  if (isClosed(ring)) return Result.fail(closed())
  if (!open.delete(reservation)) {
    return Result.fail(failed("Finished", "the record was submitted or given up already, or is none of this buffer"))
  }
  const { length } = reservation.bytes
  const header = (pageSize + Number(reservation.position & BigInt(ring.size - 1))) >>> 2
  // With what it orders this is what makes the payload visible to programs.
  Atomics.exchange(words, header, discard ? length | DISCARD : length)
  if (discard) counters.discarded++
  else {
    counters.submitted++
    counters.bytes += length
  }
  return Result.succeed(undefined)
}

/** Hands a record to programs. `Finished` where that has been done, or the record was given up. */
export const submit = (ring: UserRingBuffer, reservation: Reservation): Result.Result<void, UserRingBufferError> =>
  finish(ring, reservation, false)

/** Gives a record up: programs pass over it. `Finished` where it was submitted or given up already. */
export const discard = (ring: UserRingBuffer, reservation: Reservation): Result.Result<void, UserRingBufferError> =>
  finish(ring, reservation, true)

/** Writes a value and submits it, and never waits. Fails as `reserve` does, or where the value does not fit its type. */
export const offer = <A>(
  ring: UserRingBuffer,
  codec: Pick<Codec<A>, "encode">,
  value: A
): Result.Result<void, UserRingBufferError | CodecError> =>
  Result.flatMap(
    codec.encode(value),
    (bytes): Result.Result<void, UserRingBufferError> =>
      Result.flatMap(reserve(ring, bytes.length), (reservation) => {
        reservation.bytes.set(bytes)
        return submit(ring, reservation)
      })
  )

/** How long to wait. */
export interface WaitOptions {
  /** Milliseconds; absent or -1: as long as it takes. */
  readonly timeout?: number
}

/** Milliseconds of sleep where there is some room, and not enough: the kernel only tells of any room at all. */
const [shortestSleep, longestSleep] = [1, 16]

/**
 * Reserves a record as soon as there is room for it: waits for programs to take others. `NoRoom` when the time is over, after one
 * last try; interruptible.
 */
export const reserveWhenFree = (
  ring: UserRingBuffer,
  size: number,
  options: WaitOptions = {}
): Effect.Effect<Reservation, CallError | UserRingBufferError> =>
  Effect.suspend(() => {
    const { timeout = -1 } = options
    if (!(timeout === -1 || timeout >= 0)) return Effect.fail(failed("Argument", `${timeout} ms are no time to wait`))
    const end = timeout === -1 ? Number.POSITIVE_INFINITY : performance.now() + timeout
    const { counters } = ring as Opened
    let sleep = shortestSleep
    let free = -1
    const attempt: Effect.Effect<Reservation, CallError | UserRingBufferError> = Effect.suspend(() => {
      const reserved = reserve(ring, size)
      if (Result.isSuccess(reserved)) return Effect.succeed(reserved.success)
      const left = end - performance.now()
      if (reserved.failure.reason !== "NoRoom" || left <= 0) return Effect.fail(reserved.failure)
      if (free < 0) counters.waits++
      const now = Result.getOrElse(room(ring), () => 0)
      // Something has been taken since, so more may be soon.
      sleep = now === free ? Math.min(2 * sleep, longestSleep) : shortestSleep
      free = now
      const patience = Math.min(left, 0x7fff_ffff)
      const wait = now === 0
        ? ring.session.call({
          _tag: "Wait",
          refs: [ring.map],
          for: "Write",
          ...(timeout === -1 ? {} : { timeout: Math.ceil(patience) })
        })
        : Effect.sleep(Math.min(sleep, Math.ceil(patience)))
      return Effect.andThen(wait, attempt)
    })
    return attempt
  })

/** Writes a value and submits it as soon as there is room for it. Interrupted, it has written nothing. */
export const send = <A>(
  ring: UserRingBuffer,
  codec: Pick<Codec<A>, "encode">,
  value: A,
  options: WaitOptions = {}
): Effect.Effect<void, CallError | UserRingBufferError | CodecError> =>
  Effect.flatMap(
    Effect.fromResult(codec.encode(value)),
    (bytes) => write(ring, bytes.length, (room) => Effect.sync(() => room.set(bytes)), options)
  )

/**
 * Reserves a record as soon as there is room for it, has it filled in, and submits it. Where filling fails or is interrupted the
 * record is given up.
 */
export const write = <A, E, R>(
  ring: UserRingBuffer,
  size: number,
  fill: (bytes: Uint8Array) => Effect.Effect<A, E, R>,
  options: WaitOptions = {}
): Effect.Effect<A, CallError | UserRingBufferError | E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(reserveWhenFree(ring, size, options)), (reservation) =>
      Effect.onExit(
        restore(Effect.suspend(() => fill(reservation.bytes))),
        (exit) =>
          // The scope may have closed meanwhile, which has given the record up.
          Effect.sync(() => void finish(ring, reservation, Exit.isFailure(exit)))
      ))
  )

/**
 * Maps a user ring buffer for writing; it is unmapped when the scope closes. Records that are unfinished then are given up, for
 * otherwise programs would wait for them for ever.
 */
export const open = Effect.fnUntraced(function*(
  session: Session,
  map: Ref.MapRef
): Effect.fn.Return<UserRingBuffer, CallError | UserRingBufferError, Kernel | Scope.Scope> {
  const kernel = yield* Kernel
  const info = yield* session.call({ _tag: "MapGetInfo", map })
  if (info.type !== MapType.BPF_MAP_TYPE_USER_RINGBUF) {
    return yield* failed("MapType", `the map ${info.name} is of type ${mapTypeName(info.type)}, not user_ringbuf`)
  }
  const { pageSize } = yield* kernel.ask([{ _tag: "PageSize" }])
  if (pageSize?._tag !== "Known") return yield* failed("PageSize", "the kernel does not say how large its pages are")
  const page = pageSize.value
  const consumer = yield* mapped(session, map, { offset: 0, length: page, writable: false })
  const producer = yield* mapped(session, map, { offset: page, length: page + 2 * info.maxEntries, writable: true })
  const made = make({ session, map }, consumer, producer, { size: info.maxEntries, pageSize: page })
  const ring = yield* Effect.fromResult(made)
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const reservation of (ring as Opened).open) finish(ring, reservation, true)
    })
  )
  return ring
})
