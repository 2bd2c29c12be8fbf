/** How long something takes in a process of its own, as the peers in C measure it: for programs that are started for that. */
import * as Fs from "node:fs"

/** The most memory since this program began, in bytes; `resourceUsage()` also counts what the one that started it had. */
export const peak = (): number => {
  const [, kilobytes = "0"] = /VmHWM:\s*(\d+)/.exec(Fs.readFileSync("/proc/self/status", "utf8")) ?? []
  return Number(kilobytes) * 1024
}

/** Runs it `repetitions` times after a warm-up; nanoseconds of the median and the fastest run. */
export const repeat = (
  once: () => void,
  repetitions: number,
  warmUp: number
): { readonly median_ns: number; readonly min_ns: number; readonly n: number } => {
  for (let i = 0; i < warmUp; i++) once()
  const times: Array<number> = []
  for (let i = 0; i < repetitions; i++) {
    const start = process.hrtime.bigint()
    once()
    times.push(Number(process.hrtime.bigint() - start))
  }
  times.sort((a, b) => a - b)
  return { median_ns: times[repetitions >> 1] ?? 0, min_ns: times[0] ?? 0, n: repetitions }
}
