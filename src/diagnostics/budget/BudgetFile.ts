/**
 * Budgets as files: JSON with sorted keys and a line for each number, so that a change is read in a diff.
 *
 * ```json
 * {
 *   "kernel": "6.12.48",
 *   "programs": {
 *     "xdp_firewall": {
 *       "instructions": 214,
 *       "stack": 48,
 *       "stack_depths": [48],
 *       "verified_instructions": 1032
 *     }
 *   },
 *   "thresholds": { "verified_instructions": { "percent": 5 } },
 *   "version": 1
 * }
 * ```
 *
 * `thresholds` of the file are for all programs, those of a program for itself: what they leave out is as in
 * `Metric.metrics`, and `null` compares nothing.
 */
import type * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import { BudgetFileError, isBudgetFileError } from "./BudgetError.ts"
import * as Metric from "./Metric.ts"

/** What a budget says of how much a metric may grow: some of a threshold, or `null` for no comparison. */
export type Override = null | Partial<Metric.Threshold>

/** Overrides by metric. */
export type Overrides = ReadonlyMap<Metric.Metric, Override>

/** What is counted, by metric; what a kernel did not say is absent. */
export type Values = ReadonlyMap<Metric.Metric, number>

/** What a budget holds of a program. */
export interface Stored {
  readonly values: Values
  /** Bytes of stack of each function. */
  readonly stackDepths: ReadonlyArray<number>
  readonly thresholds: Overrides
}

/** A stored budget. */
export interface Budget {
  /** The release of the kernel that the numbers are from. */
  readonly kernel: string | undefined
  readonly thresholds: Overrides
  readonly programs: ReadonlyMap<string, Stored>
}

/** The version of the format. */
export const version = 1

/** The largest file that is read, bytes; thousands of programs fit. */
export const maximumSize = 0x40_0000

/** The most functions of a program that any kernel takes. */
const maximumFunctions = 1024

const refuse = (at: string, detail: string, hint?: string): never => {
  throw new BudgetFileError({ reason: "Shape", at, detail, ...(hint === undefined ? {} : { hint }) })
}

/** Names are as long as a file likes. */
const short = (name: string): string => name.length <= 100 ? name : `${name.slice(0, 100)}…`

const under = (at: string, key: string): string => at === "" ? short(key) : `${at}.${short(key)}`

const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The entries of an object: its own, whatever they are called. */
const entries = (value: unknown, at: string): ReadonlyArray<readonly [string, unknown]> =>
  isObject(value) ? Object.entries(value) : refuse(at, "an object is expected")

const wholeNumber = (value: unknown, at: string): number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0
    ? value
    : refuse(at, "a whole number is expected, 0 or more")

const metricOf = (name: string, at: string): Metric.Metric =>
  Metric.isMetric(name)
    ? name
    : refuse(under(at, name), "nothing of this name is measured", `a metric is one of ${Metric.names.join(", ")}`)

const overrideOf = (value: unknown, at: string): Override => {
  if (value === null) return null
  const override: { percent?: number; absolute?: number; limit?: number } = {}
  for (const [key, each] of entries(value, at)) {
    switch (key) {
      case "percent":
        override.percent = typeof each === "number" && each >= 0 && each <= 1_000_000
          ? each
          : refuse(under(at, key), "a number is expected, 0 to 1000000")
        break
      case "absolute":
      case "limit":
        override[key] = wholeNumber(each, under(at, key))
        break
      default:
        refuse(under(at, key), "a threshold has nothing of this name", "it has percent, absolute and limit")
    }
  }
  return override
}

const overridesOf = (value: unknown, at: string): Overrides =>
  new Map(entries(value, at).map(([name, each]) => [metricOf(name, at), overrideOf(each, under(at, name))]))

const depthsOf = (value: unknown, at: string): ReadonlyArray<number> => {
  if (!Array.isArray(value) || value.length > maximumFunctions) {
    return refuse(at, `a list of at most ${maximumFunctions} numbers is expected`)
  }
  return value.map((each: unknown) => wholeNumber(each, at))
}

const storedOf = (value: unknown, at: string): Stored => {
  const values = new Map<Metric.Metric, number>()
  let stackDepths: ReadonlyArray<number> = []
  let thresholds: Overrides = new Map()
  for (const [key, each] of entries(value, at)) {
    const place = under(at, key)
    if (key === "stack_depths") stackDepths = depthsOf(each, place)
    else if (key === "thresholds") thresholds = overridesOf(each, place)
    else values.set(metricOf(key, at), wholeNumber(each, place))
  }
  return { values, stackDepths, thresholds }
}

const budgetOf = (document: unknown): Budget => {
  const all = new Map(entries(document, ""))
  const found = all.get("version")
  if (found !== version) {
    throw new BudgetFileError({
      reason: "Version",
      at: "version",
      detail: found === undefined ? "there is none" : `only version ${version} is known`,
      hint: "write the budget anew"
    })
  }
  let kernel: string | undefined
  let thresholds: Overrides = new Map()
  let programs: ReadonlyMap<string, Stored> = new Map()
  for (const [key, value] of all) {
    switch (key) {
      case "version":
        break
      case "kernel":
        kernel = typeof value === "string" ? value : refuse(key, "the release of a kernel is expected, as a text")
        break
      case "thresholds":
        thresholds = overridesOf(value, key)
        break
      case "programs":
        programs = new Map(entries(value, key).map(([name, each]) => [name, storedOf(each, under(key, name))]))
        break
      default:
        refuse(under("", key), "a budget has nothing of this name")
    }
  }
  return { kernel, thresholds, programs }
}

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    throw new BudgetFileError({ reason: "Json", detail: "it is no JSON" })
  }
}

const textOf = (bytes: Uint8Array): string => {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    throw new BudgetFileError({ reason: "Json", detail: "it is no UTF-8" })
  }
}

/** Reads a budget. Whatever the bytes are, the answer is a budget or a `BudgetFileError`. */
export const parse = (bytes: Uint8Array): Result.Result<Budget, BudgetFileError> =>
  attempt(isBudgetFileError, () => {
    if (bytes.length > maximumSize) {
      throw new BudgetFileError({ reason: "TooLarge", detail: `a budget has at most ${maximumSize} bytes` })
    }
    return budgetOf(jsonOf(textOf(bytes)))
  })

// ---- Writing ----

/** What is written: objects by their entries, so that no name means anything but itself. */
type Tree = null | number | string | ReadonlyArray<number> | {
  readonly entries: ReadonlyArray<readonly [string, Tree]>
}

const isNumbers = (tree: Tree): tree is ReadonlyArray<number> => Array.isArray(tree)

const compareText = (one: string, other: string): number => one < other ? -1 : one > other ? 1 : 0

/** A tree as JSON: keys sorted, a line for each, lists on one line. */
const render = (tree: Tree, indent: string): string => {
  if (tree === null || typeof tree === "number" || typeof tree === "string") return JSON.stringify(tree)
  if (isNumbers(tree)) return `[${tree.join(", ")}]`
  if (tree.entries.length === 0) return "{}"
  const inner = `${indent}  `
  const lines = [...tree.entries]
    .sort(([one], [other]) => compareText(one, other))
    .map(([key, value]) => `${inner}${JSON.stringify(key)}: ${render(value, inner)}`)
  return `{\n${lines.join(",\n")}\n${indent}}`
}

const overrideTree = (override: Override): Tree =>
  override === null ? null : {
    entries: (["percent", "absolute", "limit"] as const).flatMap((key) => {
      const value = override[key]
      return value === undefined ? [] : [[key, value] as const]
    })
  }

const overridesTree = (thresholds: Overrides): ReadonlyArray<readonly [string, Tree]> =>
  thresholds.size === 0
    ? []
    : [["thresholds", { entries: [...thresholds].map(([metric, each]) => [metric, overrideTree(each)] as const) }]]

const storedTree = ({ stackDepths, thresholds, values }: Stored): Tree => ({
  entries: [
    ...values,
    ...(stackDepths.length === 0 ? [] : [["stack_depths", stackDepths] as const]),
    ...overridesTree(thresholds)
  ]
})

/** Writes a budget: `parse` of it is the same budget, and equal budgets are equal bytes. */
export const encode = ({ kernel, programs, thresholds }: Budget): Uint8Array =>
  new TextEncoder().encode(`${
    render({
      entries: [
        ["version", version],
        ...(kernel === undefined ? [] : [["kernel", kernel] as const]),
        ["programs", { entries: [...programs].map(([name, stored]) => [name, storedTree(stored)] as const) }],
        ...overridesTree(thresholds)
      ]
    }, "")
  }\n`)
