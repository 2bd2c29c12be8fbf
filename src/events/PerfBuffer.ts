/**
 * Reads perf buffers: records that BPF programs hand to user space with `bpf_perf_event_output`, through a map of type
 * `perf_event_array`.
 *
 * There is a buffer for each CPU, which only programs on that CPU write to. Records of one CPU come in their order; between
 * CPUs there is none. A buffer that is full loses what is newest, and counts it. Everything that is lost is reported, as an
 * item in the stream and in the counters, and exactly: from Linux 6.0 on the kernel is asked for its own count, too, since
 * what it writes into the buffer comes with the next record only.
 *
 * CPUs may come and go meanwhile: those that are offline are left out, and read when they have come. What was written on one
 * that has gone is still read.
 *
 * Source: perf_event_open(2), `kernel/events/ring_buffer.c`; reference page `ringbuf`, section 3.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CodecError } from "../btf/Codec.ts"
import { mapTypeName, MapType } from "../services/Kernel/abi/BpfConstants.ts"
import { Kernel, type Session } from "../services/Kernel/Kernel.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import { decoder, type PerfItem, type Readable } from "./perf/PerfDecode.ts"
import { PerfBufferError } from "./perf/PerfError.ts"
import type * as PerfReaders from "./perf/PerfReaders.ts"
import type * as PerfRing from "./perf/PerfRing.ts"
import * as State from "./perf/PerfState.ts"

export { type PerfItem, type PerfLost, type PerfOther, type PerfSample, raw, type Readable } from "./perf/PerfDecode.ts"
export { annotated } from "./perf/PerfAnnotated.ts"
export { PerfBufferError } from "./perf/PerfError.ts"
export type { PerfHandler } from "./perf/PerfRing.ts"
export type { CpuCounters, PerfCounters } from "./perf/PerfState.ts"

/** How a perf buffer is opened. */
export interface PerfBufferOptions {
  /** Pages of data for each CPU, a power of two; default 64. They are locked memory: see `kernel.perf_event_mlock_kb`. */
  readonly pages?: number
  /**
   * The CPUs that are read, each by the slot of its own number, or by the slot `key`; default: all that the machine may have
   * and that the map has a slot for.
   */
  readonly cpus?: ReadonlyArray<number | { readonly cpu: number; readonly key: number }>
  /**
   * After how much a sleeping reader is woken: so many records or bytes, on one CPU; default: each record. Fewer are read
   * when it looks by itself, after `interval`.
   */
  readonly wakeup?: { readonly records: number } | { readonly bytes: number }
  /**
   * Milliseconds after which a reader looks by itself: which CPUs have come and gone, what the kernel has counted as lost,
   * and for records that have not called for it; default 1000.
   */
  readonly interval?: number
}

/** A perf buffer that is being read. */
export interface PerfBuffer {
  /** The map's name. */
  readonly name: string
  /** The CPUs that are read now. */
  readonly cpus: () => ReadonlyArray<number>
  /** CPUs of this machine that the map has no slot for: programs that run on them get `E2BIG`, and nobody is told. */
  readonly withoutSlot: ReadonlyArray<number>
  /** What was read and lost until now. */
  readonly counters: () => State.PerfCounters
  /**
   * Takes the records that are there now, at most `limit` of them, without copying, and answers how many. Never waits. The
   * record in hand counts as taken, also where the handler throws, which is thrown on.
   */
  readonly consume: (handler: PerfRing.PerfHandler, limit?: number) => Result.Result<number, PerfBufferError>
  /** Waits until there may be records, at most for the `interval`; looks at CPUs and losses when it is time to. */
  readonly wait: Effect.Effect<void, CallError | PerfBufferError>
  /** Looks at CPUs and losses when the `interval` has passed since it was done last: what a reader that never waits does. */
  readonly tend: Effect.Effect<void, CallError | PerfBufferError>
  /**
   * Looks at CPUs and losses now. Losses that were not told yet are in the counters when it returns, and are told to the next
   * who reads.
   */
  readonly look: Effect.Effect<void, CallError | PerfBufferError>
  /** The state behind it, for the functions of this module. */
  readonly state: State.State
}

const defaultPages = 64
const mostPages = 1 << 20
const defaultInterval = 1000
/** The longest that can be waited at once, milliseconds. */
const longestInterval = 0x7fff_ffff
const defaultBatch = 1024

const wakeupOf = (wakeup: PerfBufferOptions["wakeup"]): PerfReaders.Plan["wakeup"] =>
  wakeup === undefined
    ? { _tag: "Records", value: 1 }
    : "records" in wakeup
    ? { _tag: "Records", value: wakeup.records }
    : { _tag: "Bytes", value: wakeup.bytes }

/** The places that are to be read, and the CPUs that have none. */
const placesOf = (
  map: string,
  slots: number,
  possible: ReadonlyArray<number>,
  wanted: PerfBufferOptions["cpus"]
): Result.Result<{ places: ReadonlyArray<PerfReaders.Place>; withoutSlot: ReadonlyArray<number> }, PerfBufferError> => {
  const refuse = (detail: string, cpu?: number, hint?: string) =>
    Result.fail(
      new PerfBufferError({
        reason: "Cpus",
        map,
        detail,
        ...(cpu === undefined ? {} : { cpu }),
        ...(hint === undefined ? {} : { hint })
      })
    )
  if (wanted === undefined) {
    const withoutSlot = possible.filter((cpu) => cpu >= slots)
    const places = possible.filter((cpu) => cpu < slots).map((cpu) => ({ cpu, key: cpu }))
    return places.length === 0 ? refuse("the map has a slot for no CPU") : Result.succeed({ places, withoutSlot })
  }
  const places = wanted.map((each) => typeof each === "number" ? { cpu: each, key: each } : each)
  if (places.length === 0) return refuse("the list of CPUs is empty", undefined, "leave it out to read all")
  const cpus = new Set<number>()
  const keys = new Set<number>()
  for (const { cpu, key } of places) {
    if (!possible.includes(cpu)) return refuse("this machine never has such a CPU", cpu)
    if (!(Number.isInteger(key) && key >= 0 && key < slots)) {
      return refuse(`the map has no slot ${key}: it has ${slots}`, cpu)
    }
    if (cpus.has(cpu)) return refuse("it is listed twice", cpu)
    if (keys.has(key)) return refuse(`slot ${key} is listed twice`, cpu)
    cpus.add(cpu)
    keys.add(key)
  }
  return Result.succeed({ places, withoutSlot: [] })
}

/**
 * Opens a perf buffer: an event for each CPU that is online, its memory, and its slot in the map. Everything is closed with the
 * scope. A slot that another reader has filled is taken from it, as the kernel lets it be.
 *
 * A map of another type, pages or CPUs that cannot be are a `PerfBufferError`.
 */
export const open = Effect.fnUntraced(function*(
  session: Session,
  map: MapRef,
  options: PerfBufferOptions = {}
): Effect.fn.Return<PerfBuffer, CallError | PerfBufferError, Kernel | Scope.Scope> {
  const { pages = defaultPages } = options
  const interval = Math.min(Math.max(options.interval ?? defaultInterval, 1), longestInterval)
  const kernel = yield* Kernel
  const info = yield* session.call({ _tag: "MapGetInfo", map })
  const { name } = info
  if (info.type !== MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY) {
    const detail = `the map is of type ${mapTypeName(info.type)}, not perf_event_array`
    return yield* new PerfBufferError({ reason: "MapType", map: name, detail })
  }
  if (!(Number.isInteger(pages) && pages >= 1 && pages <= mostPages && (pages & (pages - 1)) === 0)) {
    const detail = `${pages} pages are none that a buffer can have: the number is a power of two, 1 to ${mostPages}`
    return yield* new PerfBufferError({ reason: "Pages", map: name, detail })
  }
  const { pageSize } = yield* kernel.ask([{ _tag: "PageSize" }])
  if (pageSize?._tag !== "Known") {
    const detail = "the kernel does not say how large its pages are"
    return yield* new PerfBufferError({ reason: "PageSize", map: name, detail })
  }
  const { possible } = yield* session.call({ _tag: "CpusGet" })
  const { places, withoutSlot } = yield* Effect.fromResult(placesOf(name, info.maxEntries, possible, options.cpus))
  const plan: PerfReaders.Plan = {
    session,
    map,
    name,
    pageSize: pageSize.value,
    pages,
    wakeup: wakeupOf(options.wakeup),
    countsLost: true
  }
  const state = State.make(plan, places, yield* Effect.scope)
  yield* State.look(state, yield* Clock.currentTimeMillis)
  yield* Effect.addFinalizer(() => Effect.sync(() => State.end(state)))
  return {
    name,
    cpus: () => State.active(state).map(({ cpu }) => cpu),
    withoutSlot,
    counters: () => State.counters(state),
    consume: (handler, limit) => State.consume(state, handler, limit ?? Number.POSITIVE_INFINITY),
    wait: waiting(state, interval),
    tend: tend(state, interval),
    look: Effect.flatMap(Clock.currentTimeMillis, (now) => State.look(state, now)),
    state
  }
})

/** The least time between two looks for which a reader was woken for nothing, milliseconds. */
const leastInterval = 50

/** Looks when it is time to. */
const tend = (state: State.State, interval: number): PerfBuffer["look"] =>
  Effect.flatMap(
    Clock.currentTimeMillis,
    (now) => now - state.looked >= interval ? State.look(state, now) : Effect.void
  )

const waiting = (state: State.State, interval: number): PerfBuffer["wait"] =>
  Effect.gen(function*() {
    // What has come since is taken at once. Others of this process have their turn meanwhile.
    if (State.hasRecords(state)) return yield* Effect.yieldNow
    const left = state.looked + interval - (yield* Clock.currentTimeMillis)
    if (left > 0) {
      const refs = State.active(state).map(({ event }) => event)
      const wait = state.plan.session.call({ _tag: "Wait", refs, for: "Read", timeout: left })
      // Closing what somebody waits for ends the waiting.
      const ready = yield* Effect.mapError(wait, (error) => state.isClosed ? State.closed(state) : error)
      if (ready.length > 0) state.wakeUps++
      // Woken for nothing: perhaps the event of a CPU that has gone, which stays ready for ever.
      if (ready.length > 0 && !State.hasRecords(state)) return yield* tend(state, Math.min(interval, leastInterval))
    }
    yield* tend(state, interval)
  })

/** How records are handed on. */
export interface StreamOptions {
  /** Items that are taken from the buffer at once, and handed on together; default 1024. */
  readonly batch?: number
  /** What becomes of a record that is no value of its type: reading fails (the default), or it is counted and passed over. */
  readonly undecodable?: "fail" | "skip"
}

/** What a stream of records fails with. */
export type PerfStreamError = CallError | PerfBufferError | CodecError

/**
 * The records of a perf buffer as they come, for ever, with what was lost. Values are those of the type, or of the one of
 * several types that has the record's size; `raw` gives the bytes.
 *
 * A record of another size than its type's ends the stream with a `CodecError`, after what came before it; so does a place
 * where the contents make no sense, with a `PerfBufferError`. Such a record counts as taken: another stream goes on behind it.
 *
 * Records stay in the buffer until they are asked for. What is handed on in a batch counts as taken: where a stream is ended
 * within one, `unconfirmed` of the counters says how many items that were at most.
 */
export const stream = <A>(
  buffer: PerfBuffer,
  types: Readable<A> | ReadonlyArray<Readable<A>>,
  options: StreamOptions = {}
): Stream.Stream<PerfItem<A>, PerfStreamError> =>
  Stream.fromPull(Effect.sync(() => {
    const { state } = buffer
    const batchSize = Math.max(1, options.batch ?? defaultBatch)
    const skips = options.undecodable === "skip"
    const decode = decoder(types, buffer.name)
    let failure: PerfStreamError | undefined
    const pull: Effect.Effect<Arr.NonEmptyReadonlyArray<PerfItem<A>>, PerfStreamError> = Effect.suspend(() => {
      state.unconfirmed = 0
      if (failure !== undefined) return Effect.fail(failure)
      const batch = State.drain(state, decode, batchSize, skips)
      failure = batch.failure
      if (Arr.isReadonlyArrayNonEmpty(batch.items)) {
        state.unconfirmed = batch.items.length
        return Effect.succeed(batch.items)
      }
      return failure === undefined ? Effect.andThen(buffer.wait, pull) : Effect.fail(failure)
    })
    return Effect.andThen(buffer.tend, pull)
  }))

/** The same for `for await`; leaving the loop ends it. Errors are thrown as they are. */
export const asyncIterable = <A>(
  buffer: PerfBuffer,
  types: Readable<A> | ReadonlyArray<Readable<A>>,
  options: StreamOptions = {}
): AsyncIterable<PerfItem<A>> => Stream.toAsyncIterableWith(stream(buffer, types, options), Context.empty())

/**
 * Hands every record to a handler as it comes, without copying, until it is interrupted or the handler answers `false`. A
 * handler that throws ends it with that defect; the record in hand counts as taken.
 */
export const run = (
  buffer: PerfBuffer,
  handler: PerfRing.PerfHandler
): Effect.Effect<void, CallError | PerfBufferError> => {
  let stopped = false
  const watched = (answer: boolean | void): boolean => {
    stopped = answer === false
    return !stopped
  }
  const watching: PerfRing.PerfHandler = {
    sample: (view, at, length, cpu) => watched(handler.sample(view, at, length, cpu)),
    lost: (count, cpu) => watched(handler.lost(count, cpu)),
    other: (type, view, at, length, cpu) => watched(handler.other(type, view, at, length, cpu))
  }
  const step: Effect.Effect<void, CallError | PerfBufferError> = Effect.suspend(() => {
    // Every so often somebody else gets a turn.
    const taken = buffer.consume(watching, turn)
    if (Result.isFailure(taken)) return Effect.fail(taken.failure)
    if (stopped) return Effect.void
    return Effect.andThen(taken.success === 0 ? buffer.wait : Effect.andThen(Effect.yieldNow, buffer.tend), step)
  })
  return step
}

/** Records that are taken at most before other work of the process has its turn. */
const turn = 65_536
