/** How long something takes in a process of its own, as the peers in C measure it: for programs that are started for that. */
import * as Fs from "node:fs"

/** The most memory since this program began, in bytes; `resourceUsage()` also counts what the one that started it had. */
export const peak = (): number => {
  const [, kilobytes = "0"] = /VmHWM:\s*(\d+)/.exec(Fs.readFileSync("/proc/self/status", "utf8")) ?? []
  return Number(kilobytes) * 1024
}

/** What a peer prints of its repetitions, in nanoseconds. */
export interface Times {
  readonly median_ns: number
  readonly min_ns: number
  readonly n: number
}

/** What is printed of the times of repetitions, given in nanoseconds and any order. */
export const timesOf = (nanoseconds: ReadonlyArray<number>): Times => {
  const sorted = nanoseconds.toSorted((a, b) => a - b)
  return { median_ns: sorted[sorted.length >> 1] ?? 0, min_ns: sorted[0] ?? 0, n: sorted.length }
}

/** The nanoseconds since a time of `process.hrtime.bigint()`. */
export const since = (begun: bigint): number => Number(process.hrtime.bigint() - begun)

/** Runs it `repetitions` times after a warm-up. */
export const repeat = (once: () => void, repetitions: number, warmUp: number): Times => {
  for (let i = 0; i < warmUp; i++) once()
  const times: Array<number> = []
  for (let i = 0; i < repetitions; i++) {
    const begun = process.hrtime.bigint()
    once()
    times.push(since(begun))
  }
  return timesOf(times)
}
