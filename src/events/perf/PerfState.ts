/**
 * What is read of a perf buffer: its readers by CPU, whose turn it is, and what was counted.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { CodecError } from "../../btf/Codec.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import type { Decode, PerfItem } from "./PerfDecode.ts"
import { PerfBufferError } from "./PerfError.ts"
import * as PerfReaders from "./PerfReaders.ts"
import * as PerfRing from "./PerfRing.ts"

/** What was read of one CPU. */
export interface CpuCounters {
  readonly cpu: number
  /** Records that programs wrote and that were taken. */
  readonly records: number
  /** Records that found no room. */
  readonly lost: bigint
}

/** What was read of a perf buffer. */
export interface PerfCounters {
  /** Records that programs wrote and that were taken, those that could not be decoded included. */
  readonly records: number
  /** Bytes of their payloads. */
  readonly bytes: number
  /** Records that found no room, as far as the kernel was asked or has told. */
  readonly lost: bigint
  /** Records of types that programs do not write. */
  readonly others: number
  /** Records that were no value of their type. */
  readonly undecodable: number
  /** Items of the last batch that was handed out, until more are asked for: what a consumer that ended had in hand. */
  readonly unconfirmed: number
  /** How often the kernel has woken a reader. */
  readonly wakeUps: number
  /** By CPU, in rising order. */
  readonly cpus: ReadonlyArray<CpuCounters>
}

interface CpuCount {
  records: number
  lost: bigint
}

/** The state of a perf buffer. */
export interface State {
  readonly plan: PerfReaders.Plan
  readonly places: ReadonlyArray<PerfReaders.Place>
  /** The scope in which readers are opened. */
  readonly scope: Scope.Scope
  readonly readers: Array<PerfReaders.Reader>
  readonly counts: Map<number, CpuCount>
  /** One looks at a time. */
  readonly looking: Semaphore.Semaphore
  /** What is told to the next who reads, instead of records. */
  failure: PerfBufferError | undefined
  /** All CPUs that were there were opened. */
  isOpen: boolean
  isClosed: boolean
  /** The position of the reader that is asked first, so that a busy CPU does not keep the others out. */
  first: number
  /** When CPUs and losses were last looked at, milliseconds. */
  looked: number
  bytes: number
  others: number
  undecodable: number
  unconfirmed: number
  wakeUps: number
}

/** Nothing is open yet. */
export const make = (
  plan: PerfReaders.Plan,
  places: ReadonlyArray<PerfReaders.Place>,
  scope: Scope.Scope
): State => ({
  plan,
  places,
  scope,
  readers: [],
  counts: new Map(),
  looking: Semaphore.makeUnsafe(1),
  failure: undefined,
  isOpen: false,
  isClosed: false,
  first: 0,
  looked: 0,
  bytes: 0,
  others: 0,
  undecodable: 0,
  unconfirmed: 0,
  wakeUps: 0
})

/** The readers of CPUs that are there. */
export const active = (state: State): ReadonlyArray<PerfReaders.Reader> =>
  state.readers.filter(({ retired }) => !retired)

/** Whether anything lies ready. */
export const hasRecords = (state: State): boolean => state.readers.some(({ ring }) => PerfRing.available(ring) > 0)

const countOf = (state: State, cpu: number): CpuCount => {
  const known = state.counts.get(cpu)
  if (known !== undefined) return known
  const count = { records: 0, lost: 0n }
  state.counts.set(cpu, count)
  return count
}

/** The counters as they are now. */
export const counters = (state: State): PerfCounters => {
  const cpus = [...state.counts].map(([cpu, { lost, records }]) => ({ cpu, records, lost }))
  return {
    records: cpus.reduce((sum, { records }) => sum + records, 0),
    bytes: state.bytes,
    lost: cpus.reduce((sum, { lost }) => sum + lost, 0n),
    others: state.others,
    undecodable: state.undecodable,
    unconfirmed: state.unconfirmed,
    wakeUps: state.wakeUps,
    cpus: cpus.sort((a, b) => a.cpu - b.cpu)
  }
}

/** How many more are known to be lost than were told. The kernel's count may run ahead of its records, or be missing. */
const untold = (reader: PerfReaders.Reader): bigint => {
  const known = reader.counted > reader.recorded ? reader.counted : reader.recorded
  return known > reader.told ? known - reader.told : 0n
}

/** Takes over into the counters what was found lost since. */
const countLost = (state: State, reader: PerfReaders.Reader, before: bigint): void => {
  const found = untold(reader) - before
  if (found > 0n) countOf(state, reader.cpu).lost += found
}

/**
 * Opens readers for CPUs that have none, as far as they are online; lists them in the order of their CPUs. Once the buffer is
 * open, one that cannot be opened does not keep the others from being read: it is tried again at the next look.
 */
const openMissing = Effect.fnUntraced(function*(state: State, online: ReadonlySet<number>) {
  const replaced = (reader: PerfReaders.Reader): boolean =>
    state.readers.some((other) => other !== reader && other.key === reader.key && !other.retired)
  for (const place of state.places) {
    const isRead = state.readers.some(({ cpu, retired }) => cpu === place.cpu && !retired)
    if (isRead || !online.has(place.cpu)) continue
    const opening = Effect.tap(
      Effect.provideService(PerfReaders.open(state.plan, place, replaced), Scope.Scope, state.scope),
      (reader) => Effect.sync(() => reader === undefined ? undefined : void state.readers.push(reader))
    )
    const reader = yield* Effect.uninterruptible(
      state.isOpen
        ? Effect.catch(opening, (error) =>
          Effect.as(
            Effect.logWarning(`perf buffer ${state.plan.name}: CPU ${place.cpu} is not read: ${error.message}`),
            undefined
          ))
        : opening
    )
    if (reader !== undefined) countOf(state, reader.cpu)
  }
  state.readers.sort((a, b) => a.cpu - b.cpu)
})

/** Nothing of it may be read any more. */
export const end = (state: State): void => {
  state.isClosed = true
  state.readers.length = 0
}

/** The error of whoever reads it then. */
export const closed = ({ plan }: State): PerfBufferError =>
  new PerfBufferError({ reason: "Closed", map: plan.name, detail: "it is read after its scope has closed" })

/**
 * Looks at which CPUs have come and gone, and at what the kernel has counted as lost. What belonged to CPUs that have gone is
 * closed once it is read to its end.
 */
export const look = (state: State, now: number): Effect.Effect<void, CallError | PerfBufferError> =>
  state.looking.withPermit(lookOnce(state, now))

const lookOnce = Effect.fnUntraced(function*(
  state: State,
  now: number
): Effect.fn.Return<void, CallError | PerfBufferError> {
  if (state.isClosed) return yield* closed(state)
  state.looked = now
  const { online } = yield* state.plan.session.call({ _tag: "CpusGet" })
  const here = new Set(online)
  for (const reader of state.readers.slice()) {
    const before = untold(reader)
    const { isRunning } = yield* PerfReaders.look(state.plan, reader)
    countLost(state, reader, before)
    if (!here.has(reader.cpu) || !isRunning) reader.retired = true
  }
  yield* openMissing(state, here)
  state.isOpen = true
  const isDone = ({ retired, ring }: PerfReaders.Reader) => retired && PerfRing.available(ring) === 0
  const done = state.readers.filter((reader) => isDone(reader) && untold(reader) === 0n)
  for (const reader of done) {
    state.readers.splice(state.readers.indexOf(reader), 1)
    yield* PerfReaders.close(reader)
  }
})

/** Asks the readers in turn, beginning with another one each time; ends when one answers that it is enough. */
const inTurn = (state: State, ask: (reader: PerfReaders.Reader) => boolean): void => {
  const { readers } = state
  const { length } = readers
  if (length === 0) return
  state.first = (state.first + 1) % length
  for (let turn = 0; turn < length; turn++) {
    const reader = readers[(state.first + turn) % length]
    if (reader !== undefined && !ask(reader)) return
  }
}

/** Hands records to a handler without copying; see `PerfBuffer.consume`. */
export const consume = (
  state: State,
  handler: PerfRing.PerfHandler,
  limit: number
): Result.Result<number, PerfBufferError> => {
  let taken = 0
  let failure = state.isClosed ? closed(state) : state.failure
  state.failure = undefined
  if (failure !== undefined) return Result.fail(failure)
  inTurn(state, (reader) => {
    const { ring } = reader
    const tell = (): boolean => {
      const lost = untold(reader)
      reader.told += lost
      return lost === 0n || handler.lost(lost, reader.cpu) !== false
    }
    if (!tell()) return false
    const { bytes, losses, others, records } = ring
    const lose = (count: bigint): boolean => {
      const before = untold(reader)
      reader.recorded += count
      countLost(state, reader, before)
      return tell()
    }
    try {
      const result = PerfRing.consume(ring, handler, limit - taken, lose)
      if (Result.isFailure(result)) failure ??= result.failure
    } finally {
      countOf(state, reader.cpu).records += ring.records - records
      state.bytes += ring.bytes - bytes
      state.others += ring.others - others
      taken += ring.records - records + ring.others - others + ring.losses - losses
    }
    return !ring.stopped && taken < limit
  })
  if (failure === undefined) return Result.succeed(taken)
  if (taken === 0) return Result.fail(failure)
  // What was taken, from other CPUs too, is told first.
  state.failure = failure
  return Result.succeed(taken)
}

/** Items that were taken at once, and why there are no more. */
export interface Batch<A> {
  readonly items: ReadonlyArray<PerfItem<A>>
  readonly failure: CodecError | PerfBufferError | undefined
}

/** Takes records as items, at most `limit`. What cannot be decoded ends it, after what came before, or is passed over. */
export const drain = <A>(state: State, decode: Decode<A>, limit: number, skips: boolean): Batch<A> => {
  const items: Array<PerfItem<A>> = []
  let failure: CodecError | PerfBufferError | undefined
  const result = consume(state, {
    sample: (view, at, length, cpu) => {
      const value = decode(view, at, length)
      if (value instanceof CodecError) {
        state.undecodable++
        if (skips) return true
        failure = value
        return false
      }
      items.push({ _tag: "Sample", cpu, value })
      return true
    },
    lost: (count, cpu) => void items.push({ _tag: "Lost", cpu, count }),
    other: (type, view, at, length, cpu) => {
      const bytes = new Uint8Array(view.buffer, view.byteOffset + at, length).slice()
      items.push({ _tag: "Other", cpu, type, bytes })
    }
  }, limit)
  return { items, failure: Result.isFailure(result) ? result.failure : failure }
}
