/**
 * How long something takes that must not take long: counted on the processor, so that other work on the machine, such as the
 * test file beside, does not fail it.
 */
import { assert } from "@effect/vitest"

/** Processor time of this process so far, milliseconds; differences mean something. */
export const cpuTime = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1000
}

/** Milliseconds that the work of `pace` takes on the machine that limits were chosen on, when nothing else runs there. */
const usual = 12

/** How much slower than that this machine is at the moment, 1 at least: the same work is done and counted. */
const pace = (): number => {
  const start = cpuTime()
  const words = new Map<string, number>()
  for (let turn = 0; turn < 60_000; turn++) {
    const word = `word ${(turn * 7919) % 4096}`
    words.set(word, (words.get(word) ?? 0) + word.length)
  }
  return Math.max(1, (cpuTime() - start) / usual)
}

/**
 * Asserts that something took less processor time than `limit`, milliseconds; on a machine that is slow at the moment,
 * correspondingly more. Limits are several times what the work takes, and far less than anything quadratic would.
 */
export const assertQuick = (milliseconds: number, limit: number, what?: string): void => {
  if (milliseconds < limit) return
  assert.isBelow(milliseconds, limit * pace(), what)
}
