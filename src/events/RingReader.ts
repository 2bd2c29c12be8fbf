/**
 * Reads ring buffers as they fill: waits for records, decodes them, and hands them on as a stream, an `AsyncIterable` or to a
 * handler that looks at them where they lie.
 *
 * ```ts
 * const reader = yield* RingReader.open(session, [RingReader.source(map, codec)])
 * yield* Stream.runForEach(RingReader.stream(reader), (event) => Effect.log(event))
 * ```
 *
 * Records stay in the buffer until somebody asks for them: a slow consumer makes the buffer full, and then the kernel gives
 * programs no more room. What is lost so, programs count (see `Losses`), and `lost` reports.
 *
 * Each record is handed out once, at most: what was handed out counts as read. Where a consumer is interrupted, or fails, with
 * a batch in hand, `unconfirmed` of the counters says how many records that was. With `redeliver` it is once at least: records
 * stay in the buffer until the consumer asks for more, and those in hand at its end are there for the next reader.
 *
 * There must be one reader of a buffer at a time.
 */
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { CodecError } from "../btf/Codec.ts"
import type { Kernel, Session } from "../services/Kernel/Kernel.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import type * as Globals from "../stages/load/Globals.ts"
import type { Losses } from "./Losses.ts"
import * as RingDecode from "./ring/Decode.ts"
import { RingBufferError } from "./ring/RingError.ts"
import * as RingBuffer from "./RingBuffer.ts"

export { type Annotated, annotated, type AnnotatedError } from "./ring/Annotated.ts"
export type { Decode, Readable } from "./ring/Decode.ts"
export { RingBufferError } from "./ring/RingError.ts"

/** A ring buffer, and how its records become values. */
export interface Source<out A> {
  readonly map: MapRef
  readonly decode: RingDecode.Decode<A>
  /** The program's count of records that found no room. */
  readonly losses?: Losses | undefined
}

/** The values of a source. */
export type ValueOf<S> = S extends Source<infer A> ? A : never

/** Why reading ends. */
export type ReadError = CallError | RingBufferError | CodecError

/** How a reader reads. */
export interface ReaderOptions {
  /** Records that are handed on together at most; default 1024. */
  readonly batch?: number
  /** Bytes after which a batch takes no further record; default 1 MiB. */
  readonly batchBytes?: number
  /**
   * Milliseconds after which the buffers are looked at although nobody has called: programs that commit with
   * `BPF_RB_NO_WAKEUP` need it. Default: never.
   */
  readonly interval?: number
  /** What becomes of a record that is no value of its type: reading fails (the default), or it is counted and passed over. */
  readonly undecodable?: "fail" | "skip"
  /** Keep records in the buffer until more are asked for, so that those in hand when a consumer ends are read again. */
  readonly redeliver?: boolean
}

/** What a reader has seen since it was opened. The numbers are exact up to 2^53. */
export interface ReaderCounters extends RingBuffer.RingCounters {
  /** How often the reader was woken from its sleep. */
  readonly wakeUps: number
  /** Records that were no value of their type. */
  readonly undecodable: number
  /** Records of the last batch that was handed out, until more are asked for: what a consumer that ended had in hand. */
  readonly unconfirmed: number
  /** What was read of each buffer, in the order of the sources. */
  readonly rings: ReadonlyArray<RingBuffer.RingCounters>
}

/**
 * Is shown a record where it lies: `length` bytes from `at` in the view, of the source with this number. They are valid until it
 * returns. `false` ends the reading behind this record.
 */
export type RingHandler = (view: DataView, at: number, length: number, source: number) => boolean | void

/** Ring buffers that are being read. */
export interface RingReader<out A> {
  /** The buffers, in the order of the sources. */
  readonly rings: ReadonlyArray<RingBuffer.RingBuffer>
  /** What was read until now. */
  readonly counters: () => ReaderCounters
  /**
   * Records that could not be handed over since the reader was opened, by the counts that programs keep; `undefined` where no
   * source has one.
   */
  readonly lost: Effect.Effect<bigint | undefined, Globals.AccessError>
  /**
   * The next records: waits until there is one, and takes no more than a batch. Asking confirms the batch before. A failure is
   * told after the records in front of it were handed out, and told once: asking again goes on behind a record that was no
   * value of its type.
   */
  readonly take: Effect.Effect<Arr.NonEmptyReadonlyArray<A>, ReadError>
  /**
   * Shows each record to a handler as it comes, without copying or decoding it, until the handler answers `false` or this is
   * interrupted. A handler that throws ends it with that defect; the record in hand counts as read, and in `failed`.
   */
  readonly run: (handler: RingHandler) => Effect.Effect<void, CallError | RingBufferError>
}

const defaultBatch = 1024
const defaultBatchBytes = 1 << 20

/** Milliseconds to the next look at a record that is still being written: its program runs while we look. */
const busyPause = 1

/** A source of the records of a map, each a copy of its bytes. */
export const copies = (map: MapRef, losses?: Losses): Source<Uint8Array> => ({ map, decode: RingDecode.copy, losses })

/**
 * A source of the records of a map as values of a type, or of several types that are told apart by their sizes (at most one of
 * them flexible).
 */
export const source = <R extends RingDecode.Readable<unknown>>(
  map: MapRef,
  types: R | ReadonlyArray<R>,
  losses?: Losses
): Source<ReturnType<R["read"]>> => {
  const all: ReadonlyArray<R> = Array.isArray(types) ? types : [types as R]
  return { map, decode: RingDecode.ofTypes(all) as RingDecode.Decode<ReturnType<R["read"]>>, losses }
}

/** The same source with its values changed: to tell those of several sources apart, for example. */
export const map = <A, B>(self: Source<A>, change: (value: A) => B): Source<B> => ({
  ...self,
  decode: (view, at, length) => {
    const value = self.decode(view, at, length)
    return value instanceof CodecError ? value : change(value)
  }
})

const closed = (): RingBufferError =>
  new RingBufferError({ reason: "Closed", detail: "the scope in which it was opened is over" })

/** Losses until now, of all sources that count. */
const sumOf = (losses: ReadonlyArray<Losses>): Effect.Effect<bigint, Globals.AccessError> =>
  Effect.map(Effect.forEach(losses, ({ read }) => read), (counts) => counts.reduce((sum, count) => sum + count, 0n))

/**
 * Opens ring buffers for reading, all by one reader that takes turns among them; they are unmapped when the scope closes, which
 * also ends whoever waits. Records that were lost before are not counted.
 */
export const open = Effect.fnUntraced(function*<const S extends ReadonlyArray<Source<unknown>>>(
  session: Session,
  sources: S,
  options: ReaderOptions = {}
): Effect.fn.Return<
  RingReader<ValueOf<S[number]>>,
  CallError | RingBufferError | Globals.AccessError,
  Kernel | Scope.Scope
> {
  type A = ValueOf<S[number]>
  const { interval, redeliver = false, undecodable: onUndecodable = "fail" } = options
  const batch = Math.max(1, options.batch ?? defaultBatch)
  const batchBytes = Math.max(1, options.batchBytes ?? defaultBatchBytes)
  const over = yield* Deferred.make<never, RingBufferError>()
  const rings = yield* Effect.forEach(sources, (each) => RingBuffer.open(session, each.map))
  yield* Effect.addFinalizer(() => Deferred.fail(over, closed()))
  const losses = sources.flatMap((each) => each.losses === undefined ? [] : [each.losses])
  const lostBefore = yield* sumOf(losses)
  const refs = sources.map((each) => each.map)

  let wakeUps = 0
  let undecodable = 0
  let unconfirmed = 0
  let turn = 0
  let isFull = false
  let failure: ReadError | undefined
  /** The batch that is being made. */
  let values: Array<A> = []
  /** Buffers whose next record is still being written. */
  const busy = new Set<number>()
  let held: Array<{ readonly ring: RingBuffer.RingBuffer; readonly next: bigint }> = []

  const decoding = sources.map(({ decode }): RingBuffer.Visit => {
    // The source's own type, by its place in the list.
    const read = decode as RingDecode.Decode<A>
    return (view, at, length) => {
      const value = read(view, at, length)
      if (value instanceof CodecError) {
        undecodable++
        if (onUndecodable === "skip") return
        failure = value
        return false
      }
      values.push(value)
    }
  })

  /** Shows the visitors a batch of what is there, from each buffer in turn, and answers how many records that was. */
  const sweep = (visits: ReadonlyArray<RingBuffer.Visit>, hold: boolean): number => {
    busy.clear()
    isFull = false
    let records = 0
    for (let step = 0; step < rings.length && failure === undefined; step++) {
      const index = (turn + step) % rings.length
      const [ring, visit] = [rings[index], visits[index]]
      if (ring === undefined || visit === undefined) continue
      const taken = RingBuffer.take(ring, visit, { records: batch - records, bytes: batchBytes, hold })
      if (Result.isFailure(taken)) {
        failure = taken.failure
        break
      }
      const { end, next } = taken.success
      records += taken.success.records
      if (hold) held.push({ ring, next })
      if (end === "Busy") busy.add(index)
      if (end === "Limit") {
        isFull = true
        // The others come first next time.
        turn = (index + 1) % rings.length
        break
      }
    }
    return records
  }

  const confirm = (): void => {
    unconfirmed = 0
    for (const { next, ring } of held) RingBuffer.release(ring, next)
    held = []
  }

  /** A failure that was not told yet. */
  const told = Effect.suspend(() => {
    const error = failure
    failure = undefined
    return error === undefined ? Effect.void : Effect.fail(error)
  })

  const sleep = Effect.suspend(() => {
    if (isFull) {
      // A producer that is faster than us must not keep everybody else of this process waiting.
      isFull = false
      return Effect.yieldNow
    }
    // A buffer with a record that is still being written is ready all the time, so we look at it again a little later. Its
    // program may also have been told to call nobody.
    const waiting = busy.size === 0 ? refs : refs.filter((_, index) => !busy.has(index))
    const timeout = busy.size > 0 ? busyPause : interval
    const slept = Effect.map(
      waiting.length === 0
        ? Effect.as(Effect.sleep(busyPause), [])
        : session.call({ _tag: "Wait", refs: waiting, for: "Read", ...(timeout === undefined ? {} : { timeout }) }),
      (ready) => {
        if (ready.length > 0) wakeUps++
      }
    )
    return Effect.raceFirst(slept, Deferred.await(over))
  })

  const next: Effect.Effect<Arr.NonEmptyReadonlyArray<A>, ReadError> = Effect.suspend(() => {
    if (isFull) return Effect.andThen(sleep, next)
    if (failure === undefined) {
      values = []
      sweep(decoding, redeliver)
      if (Arr.isArrayNonEmpty(values)) {
        unconfirmed = values.length
        return Effect.succeed(values)
      }
    }
    return Effect.andThen(Effect.andThen(told, sleep), next)
  })

  const take = Effect.onInterrupt(
    Effect.suspend(() => {
      confirm()
      return next
    }),
    () =>
      Effect.sync(() => {
        // What was not handed out is not confirmed by asking again.
        held = []
      })
  )

  const run = (handler: RingHandler): Effect.Effect<void, CallError | RingBufferError> =>
    Effect.suspend(() => {
      let isDone = false
      const visits = rings.map((_, index): RingBuffer.Visit => (view, at, length) => {
        const answer = handler(view, at, length, index)
        if (answer === false) isDone = true
        return answer
      })
      const loop: Effect.Effect<void, CallError | RingBufferError> = Effect.suspend(() => {
        sweep(visits, false)
        if (isDone) return Effect.void
        const error = failure
        failure = undefined
        if (error !== undefined) return Effect.fail(error as RingBufferError)
        return Effect.andThen(sleep, loop)
      })
      confirm()
      return loop
    })

  const counters = (): ReaderCounters => {
    const each = rings.map((ring) => ({ ...ring.counters }))
    const sum = (of: (counters: RingBuffer.RingCounters) => number): number =>
      each.reduce((total, counters) => total + of(counters), 0)
    return {
      records: sum(({ records }) => records),
      bytes: sum(({ bytes }) => bytes),
      discarded: sum(({ discarded }) => discarded),
      failed: sum(({ failed }) => failed),
      highWater: each.reduce((most, { highWater }) => Math.max(most, highWater), 0),
      wakeUps,
      undecodable,
      unconfirmed,
      rings: each
    }
  }

  return {
    rings,
    counters,
    lost: losses.length === 0
      ? Effect.succeed(undefined)
      : Effect.map(sumOf(losses), (count) => count - lostBefore),
    take,
    run
  }
})

/**
 * The records as they come, for ever, in chunks of what was there at once. It fails after what came in front of the failure;
 * another stream of the same reader goes on from there.
 */
export const stream = <A>(reader: RingReader<A>): Stream.Stream<A, ReadError> =>
  Stream.fromPull(Effect.succeed(reader.take))

/** The same for `for await`; leaving the loop ends it. Errors are thrown as they are. */
export const asyncIterable = <A>(reader: RingReader<A>): AsyncIterable<A> =>
  Stream.toAsyncIterableWith(stream(reader), Context.empty())
