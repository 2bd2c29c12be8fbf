/**
 * `prog stats`: how often and how long programs run, measured by the kernel while somebody watches.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Objects from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import type { UsageError } from "../Usage.ts"

/** What is watched, and for how long. */
export interface Watch {
  /** Which programs; all without it. */
  readonly reference: Words.Reference | undefined
  /** Seconds; `undefined` until it is interrupted. */
  readonly duration: number | undefined
  /** Seconds from one look to the next. */
  readonly interval: number
}

/** The shortest and longest time that is taken, seconds. */
const shortest = 0.001
const longest = 1e6

/** The number of seconds behind a keyword. */
export const seconds = (keyword: string, words: Words.Words): Words.Read<number> =>
  Result.flatMap(Words.operand(keyword, words, "a number of seconds"), ([word, rest]) => {
    const value = /^\d{1,9}(\.\d{1,9})?$/.test(word) ? Number(word) : Number.NaN
    return value >= shortest && value <= longest
      ? Result.succeed([value, rest])
      : Words.wrong(`${keyword} ${word}`, `a number of seconds from ${shortest} to ${longest} is expected`)
  })

/** Reads the words of `prog stats`. */
export const watchOf = (words: Words.Words): Result.Result<Watch, UsageError> =>
  Result.gen(function*() {
    const [reference, given] = Words.isReference(words[0])
      ? yield* Words.reference("prog", words)
      : [undefined, words] as const
    const times = new Map<string, number>()
    let rest: Words.Words = given
    for (let keyword = rest[0]; keyword !== undefined; keyword = rest[0]) {
      if (keyword !== "duration" && keyword !== "interval") {
        return yield* Words.wrong(
          keyword,
          "nothing of this name is known of statistics",
          "prog stats [PROG] [duration SECONDS] [interval SECONDS]"
        )
      }
      if (times.has(keyword)) return yield* Words.wrong(keyword, "it is given twice")
      const [value, left] = yield* seconds(keyword, rest.slice(1))
      times.set(keyword, value)
      rest = left
    }
    return { reference, duration: times.get("duration"), interval: times.get("interval") ?? 1 }
  })

/** How a program ran while it was watched. */
export interface Ran {
  readonly id: number
  readonly type: number
  readonly name: string
  readonly tag: string
  readonly runs: bigint
  /** Nanoseconds in all. */
  readonly time: bigint
  /** How often it did not run, for it ran already on that CPU. */
  readonly misses: bigint
  /** Whether it has been unloaded meanwhile: what it did after the last look is not known. */
  readonly gone: boolean
}

/** What has been measured so far. */
export interface Measured {
  /** Nanoseconds since the first look. */
  readonly watched: bigint
  /** Those that took most time first. */
  readonly programs: ReadonlyArray<Ran>
}

/** Counts of one program at one time. */
interface Counts extends Omit<Ran, "gone"> {}

const countsOf = ({ info, name }: Objects.OpenProg): Counts => ({
  id: info.id,
  type: info.type,
  name,
  tag: info.tag,
  runs: info.runCount,
  time: info.runTime,
  misses: info.recursionMisses
})

/** Whether the setting of the whole machine has the kernel measure at all times; `undefined` where it is not told. */
export const isAlwaysOn = (): boolean | undefined => {
  try {
    return Fs.readFileSync("/proc/sys/kernel/bpf_stats_enabled", "utf8").trim() !== "0"
  } catch {
    return undefined
  }
}

const byTime = (a: Ran, b: Ran): number => a.time === b.time ? a.id - b.id : a.time < b.time ? 1 : -1

/** What the counts have grown by. */
const grown = (
  first: ReadonlyMap<number, Counts>,
  last: ReadonlyMap<number, Counts>,
  present: ReadonlySet<number>
): ReadonlyArray<Ran> =>
  [...last.values()].map((counts): Ran => {
    const before = first.get(counts.id)
    return {
      ...counts,
      runs: counts.runs - (before?.runs ?? 0n),
      time: counts.time - (before?.time ?? 0n),
      misses: counts.misses - (before?.misses ?? 0n),
      gone: !present.has(counts.id)
    }
  }).sort(byTime)

/**
 * Watches, and tells after each interval what has been measured so far; answers all of it when the time is over. `begun` is told
 * when everything that runs from then on will be counted.
 */
export const watch = Effect.fnUntraced(function*<E, R>(
  objects: Objects.Objects,
  wanted: Watch,
  begun: Effect.Effect<void>,
  show: (measured: Measured) => Effect.Effect<void, E, R>
) {
  const { session } = objects
  const { reference } = wanted
  const held = reference === undefined ? undefined : yield* Objects.findProgs(objects, reference)
  // Says that there is none.
  if (reference !== undefined && held?.length === 0) yield* Objects.oneProg(objects, reference)
  const look = held === undefined
    ? Objects.progs(objects)
    : Effect.forEach(
      held,
      (prog) => Effect.map(session.call({ _tag: "ProgGetInfo", prog: prog.ref }), (info) => ({ ...prog, info }))
    )
  yield* session.call({ _tag: "StatsEnable", as: session.fresh("Stats"), what: "RunTime" })
  const first = new Map((yield* look).map((prog) => [prog.info.id, countsOf(prog)]))
  const last = new Map(first)
  const start = yield* Clock.currentTimeNanos
  const end = wanted.duration === undefined ? undefined : BigInt(Math.round(wanted.duration * 1e9))
  yield* begun
  const interval = BigInt(Math.round(wanted.interval * 1e9))
  for (let next = interval;; next += interval) {
    const until = end !== undefined && end < next ? end : next
    const now = (yield* Clock.currentTimeNanos) - start
    if (now < until) yield* Effect.sleep(Number(until - now) / 1e6)
    const present = new Set<number>()
    for (const prog of yield* look) {
      present.add(prog.info.id)
      last.set(prog.info.id, countsOf(prog))
    }
    const watched = (yield* Clock.currentTimeNanos) - start
    const measured: Measured = { watched, programs: grown(first, last, present) }
    yield* show(measured)
    if (end !== undefined && watched >= end) return measured
    // A look that took longer than the interval is followed by the next at once, not by all that were missed.
    while (next + interval < watched) next += interval
  }
})
