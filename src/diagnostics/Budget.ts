/**
 * What programs cost, and whether they still cost what they did: numbers of the verifier and of the kernel for each program
 * of an object, kept in a file, compared with thresholds.
 *
 * ```ts
 * const before = Result.getOrThrow(Budget.parse(bytes))
 * const { exceeded, programs } = Budget.compare(before, measurements, { kernel: "6.12.48", programs: names })
 * ```
 *
 * Measured is a load: `measure` takes the instructions that were loaded, the log of the load (the statistics, level 4, are
 * enough), and what the kernel says of the program. What a kernel does not tell is absent, and no failure.
 *
 * Pure. The numbers are one kernel's: another verifier counts otherwise.
 */
import { BudgetExceeded } from "./budget/BudgetError.ts"
import type { Budget, Override, Overrides, Stored, Values } from "./budget/BudgetFile.ts"
import * as Metric from "./budget/Metric.ts"
import * as StackChain from "./budget/StackChain.ts"
import * as VerifierLogParse from "./VerifierLogParse.ts"

export { BudgetExceeded, BudgetFileError } from "./budget/BudgetError.ts"
export { encode, maximumSize, parse, version } from "./budget/BudgetFile.ts"
export type { Budget, Override, Overrides, Stored, Values } from "./budget/BudgetFile.ts"
export { defaultThreshold, names as metrics, title } from "./budget/Metric.ts"
export type { Metric, Threshold } from "./budget/Metric.ts"

/** What was counted of a program. */
export interface Measurement {
  readonly name: string
  readonly values: Values
  /** Bytes of stack of each function, the program's own first; empty where the kernel does not tell. */
  readonly stackDepths: ReadonlyArray<number>
}

/** What a load showed of a program. */
export interface Loaded {
  readonly name: string
  /** The instructions as they were loaded, little-endian slots of 8 bytes. */
  readonly insns: Uint8Array
  /** What the verifier said; empty where it was not asked, or did not answer. */
  readonly log: string
  /** What the kernel says of the program; absent where it says nothing. Lengths in bytes. */
  readonly info?: {
    readonly verifiedInstructions: number
    readonly xlatedLength: number
    readonly jitedLength: number
  }
}

/** What a load of a program comes to. */
export const measure = ({ info, insns, log, name }: Loaded): Measurement => {
  const statistics = VerifierLogParse.parse(log, { keep: 0 }).statistics
  const stackDepths = statistics?.stackDepths ?? []
  const values = new Map<Metric.Metric, number>()
  // A kernel that hides a length, or does not know it, says 0.
  const set = (metric: Metric.Metric, value: number | undefined): void => {
    if (value !== undefined && Number.isSafeInteger(value) && value >= 0) values.set(metric, value)
  }
  const told = (value: number | undefined): number | undefined => value === 0 ? undefined : value
  set("instructions", insns.length / 8)
  set("verified_instructions", told(statistics?.instructions) ?? told(info?.verifiedInstructions))
  set("total_states", statistics?.totalStates)
  set("peak_states", statistics?.peakStates)
  set("max_states_per_instruction", statistics?.maxStatesPerInstruction)
  set("verification_time", statistics?.microseconds)
  set("stack", StackChain.deepest(insns, stackDepths))
  set("xlated_instructions", told(info === undefined ? undefined : info.xlatedLength / 8))
  set("jited_bytes", told(info?.jitedLength))
  return { name, values, stackDepths }
}

// ---- Comparing ----

/**
 * What became of a metric.
 *
 * - `same`, `less`, `more`: compared, and allowed
 * - `exceeded`: more than is allowed
 * - `new`: the budget does not have it
 * - `untold`: the budget has it, and this kernel does not tell
 * - `ignored`: it has no threshold, so it is told alone
 */
export type MetricStatus = "same" | "less" | "more" | "exceeded" | "new" | "untold" | "ignored"

/** A metric of a program, then and now. */
export interface MetricRow {
  readonly metric: Metric.Metric
  readonly before: number | undefined
  readonly now: number | undefined
  /** The most that is allowed; `undefined` where anything is. */
  readonly allowed: number | undefined
  readonly status: MetricStatus
}

/**
 * What became of a program.
 *
 * - `within`, `exceeded`: it is in the budget, and was compared; also a new one that is above a limit is `exceeded`
 * - `new`: the budget does not have it
 * - `removed`: the budget has it, and the object does not
 * - `unmeasured`: it was not loaded
 */
export type ProgramStatus = "within" | "exceeded" | "new" | "removed" | "unmeasured"

/** A program, then and now. */
export interface ProgramRow {
  readonly name: string
  readonly status: ProgramStatus
  /** None of a program that was not measured. */
  readonly metrics: ReadonlyArray<MetricRow>
}

/** A budget, and what was measured. */
export interface Comparison {
  /** Programs as they were measured, behind them those that were not. */
  readonly programs: ReadonlyArray<ProgramRow>
  readonly exceeded: boolean
  /** The releases of the kernels, where they are known. */
  readonly kernels: { readonly before: string | undefined; readonly now: string | undefined }
}

/** Where a measurement is from. */
export interface Origin {
  /** The release of the kernel. */
  readonly kernel: string | undefined
  /** All programs of the object, loaded or not. */
  readonly programs: ReadonlyArray<string>
}

/** A threshold with what overrides it, the last one first. */
const thresholdOf = (metric: Metric.Metric, overrides: ReadonlyArray<Overrides>): Metric.Threshold | undefined => {
  let threshold = Metric.defaultThreshold(metric)
  for (const each of overrides) {
    const override: Override | undefined = each.get(metric)
    if (override === undefined) continue
    threshold = override === null ? undefined : {
      // A limit alone, of what is not compared by itself, says nothing of growth.
      percent: override.percent ?? threshold?.percent ?? (override.absolute === undefined ? Infinity : 0),
      absolute: override.absolute ?? threshold?.absolute ?? 0,
      limit: override.limit ?? threshold?.limit
    }
  }
  return threshold
}

/** The most that a metric may be. */
const allowedOf = (before: number | undefined, threshold: Metric.Threshold): number | undefined => {
  const limit = threshold.limit ?? Infinity
  const grown = before === undefined
    ? Infinity
    // Nothing is nothing, also of an endless percentage.
    : before + Math.max(before === 0 ? 0 : Math.floor(before * threshold.percent / 100), threshold.absolute)
  const allowed = Math.min(limit, threshold.percent === Infinity ? Infinity : grown)
  return allowed === Infinity ? undefined : allowed
}

const statusOf = (
  before: number | undefined,
  now: number | undefined,
  threshold: Metric.Threshold | undefined,
  allowed: number | undefined
): MetricStatus => {
  if (now === undefined) return "untold"
  if (threshold === undefined) return "ignored"
  if (allowed !== undefined && now > allowed) return "exceeded"
  if (before === undefined) return "new"
  return now === before ? "same" : now < before ? "less" : "more"
}

const metricsOf = (
  budget: Overrides,
  stored: Stored | undefined,
  values: Values
): ReadonlyArray<MetricRow> =>
  Metric.names.flatMap((metric) => {
    const [before, now] = [stored?.values.get(metric), values.get(metric)]
    if (before === undefined && now === undefined) return []
    const threshold = thresholdOf(metric, [budget, stored?.thresholds ?? new Map()])
    const allowed = threshold === undefined ? undefined : allowedOf(before, threshold)
    return [{ metric, before, now, allowed, status: statusOf(before, now, threshold, allowed) }]
  })

/** Compares what was measured with a budget. */
export const compare = (budget: Budget, measured: ReadonlyArray<Measurement>, origin: Origin): Comparison => {
  const rows = measured.map(({ name, values }): ProgramRow => {
    const stored = budget.programs.get(name)
    const metrics = metricsOf(budget.thresholds, stored, values)
    const exceeded = metrics.some(({ status }) => status === "exceeded")
    return { name, status: exceeded ? "exceeded" : stored === undefined ? "new" : "within", metrics }
  })
  const seen = new Set(measured.map(({ name }) => name))
  const known = new Set(origin.programs)
  const others = [...budget.programs.keys()].filter((name) => !seen.has(name)).sort().map((name): ProgramRow => ({
    name,
    status: known.has(name) ? "unmeasured" : "removed",
    metrics: []
  }))
  return {
    programs: [...rows, ...others],
    exceeded: rows.some(({ status }) => status === "exceeded"),
    kernels: { before: budget.kernel, now: origin.kernel }
  }
}

/** A growth that is not allowed. */
export interface Growth {
  readonly program: string
  readonly metric: Metric.Metric
  readonly before: number | undefined
  readonly now: number
  readonly allowed: number
}

/** How much more there is than before, in percent with one digit; `undefined` where that says nothing. */
export const percent = (before: number | undefined, now: number | undefined): number | undefined =>
  before === undefined || now === undefined || before === 0
    ? undefined
    : Math.round((now - before) * 1000 / before) / 10

/** The growths that are not allowed, the largest first. */
export const growths = ({ programs }: Comparison): ReadonlyArray<Growth> =>
  programs.flatMap(({ metrics, name }) =>
    metrics.flatMap(({ allowed, before, metric, now, status }): ReadonlyArray<Growth> =>
      status === "exceeded" && now !== undefined && allowed !== undefined
        ? [{ program: name, metric, before, now, allowed }]
        : []
    )
  ).sort((one, other) => other.now / Math.max(1, other.allowed) - one.now / Math.max(1, one.allowed))

/** A growth as a clause: `1200 verified instructions, were 1000; 1100 are allowed`. */
export const growthText = ({ allowed, before, metric, now }: Growth): string => {
  const [unit, ...more] = Metric.title(metric).split(", ").reverse()
  const what = more.length === 0 ? `${now} ${unit}` : `${now} ${unit} of ${more.join(" ")}`
  return `${what}, ${before === undefined ? "new" : `were ${before}`}; ${allowed} are allowed`
}

/** The error of a comparison; `undefined` where nothing is exceeded. */
export const errorOf = (comparison: Comparison, hint?: string): BudgetExceeded | undefined => {
  const all = growths(comparison)
  return all.length === 0 ? undefined : new BudgetExceeded({
    growth: all.map((growth) => `${growth.program}: ${growthText(growth)}`),
    ...(hint === undefined ? {} : { hint })
  })
}

// ---- Storing ----

/** Whether two measurements differ in nothing but time. */
const isSame = (one: Values, other: Values): boolean =>
  Metric.names.every((metric) => metric === "verification_time" || one.get(metric) === other.get(metric))

/**
 * The budget with what was measured now. Thresholds stay; so do programs that were not loaded, while what the object does
 * not have any more goes. The time of a program of which nothing else has changed stays as well, so that a budget that is
 * written again is the same.
 */
export const update = (
  budget: Budget | undefined,
  measured: ReadonlyArray<Measurement>,
  origin: Origin
): Budget => {
  const programs = new Map<string, Stored>()
  const known = new Set(origin.programs)
  for (const [name, stored] of budget?.programs ?? []) if (known.has(name)) programs.set(name, stored)
  for (const { name, stackDepths, values } of measured) {
    const old = programs.get(name)
    const kept = old !== undefined && isSame(old.values, values) ? old.values : values
    programs.set(name, { values: kept, stackDepths, thresholds: old?.thresholds ?? new Map() })
  }
  return { kernel: origin.kernel, thresholds: budget?.thresholds ?? new Map(), programs }
}
