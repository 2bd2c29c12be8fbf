/**
 * What is counted of a program, and how much it may grow.
 */

/** What is known of a metric. */
interface Kind {
  /** For people: what a number of it counts. */
  readonly title: string
  /** How much it may grow unless a budget says otherwise; `undefined` where it is told and not compared. */
  readonly threshold: Threshold | undefined
}

/**
 * How much a metric may grow: by so many percent of what is stored, or by so much, whichever is more; and never above
 * `limit`, whatever is stored.
 */
export interface Threshold {
  readonly percent: number
  readonly absolute: number
  readonly limit: number | undefined
}

const of = (percent: number, absolute: number): Threshold => ({ percent, absolute, limit: undefined })

/**
 * All metrics, by their names in budgets, in the order in which they are told.
 *
 * - `instructions`: slots of the program as it is handed to the kernel, its subprograms included
 * - `verified_instructions`: instructions that the verifier looked at, those of all paths together
 * - `total_states`, `peak_states`, `max_states_per_instruction`: what it kept to compare paths with
 * - `verification_time`: microseconds; differs from run to run
 * - `stack`: bytes of the deepest chain of calls
 * - `xlated_instructions`, `jited_bytes`: what became of the program
 */
export const metrics = {
  instructions: { title: "instructions", threshold: of(10, 32) },
  verified_instructions: { title: "verified instructions", threshold: of(10, 100) },
  total_states: { title: "total states", threshold: of(10, 16) },
  peak_states: { title: "peak states", threshold: of(10, 16) },
  max_states_per_instruction: { title: "states per instruction", threshold: of(25, 4) },
  verification_time: { title: "verification time, µs", threshold: undefined },
  stack: { title: "stack, bytes", threshold: of(10, 32) },
  xlated_instructions: { title: "translated instructions", threshold: of(10, 32) },
  jited_bytes: { title: "machine code, bytes", threshold: of(10, 256) }
} as const satisfies Readonly<Record<string, Kind>>

/** The name of a metric. */
export type Metric = keyof typeof metrics

/** Whether a text names a metric. */
export const isMetric = (name: string): name is Metric => Object.hasOwn(metrics, name)

/** All names, in the order of `metrics`. */
export const names: ReadonlyArray<Metric> = Object.keys(metrics).filter(isMetric)

/** What a metric may grow by unless a budget says otherwise; `undefined` where it is not compared. */
export const defaultThreshold = (metric: Metric): Threshold | undefined => metrics[metric].threshold

/** A metric for people. */
export const title = (metric: Metric): string => metrics[metric].title
