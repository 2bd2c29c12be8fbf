/**
 * What programs cost as text: then, now, and what is allowed.
 */
import * as Budget from "../../diagnostics/Budget.ts"
import { clip } from "./Clip.ts"
import { blank, type Cell, type Line, line, span, table, type Tone } from "./Text.ts"

const tones: Readonly<Partial<Record<Budget.MetricStatus, Tone>>> = { exceeded: "error", less: "good", untold: "dim" }

const words: Readonly<Record<Budget.MetricStatus, string>> = {
  same: "",
  less: "",
  more: "",
  exceeded: "exceeded",
  new: "",
  untold: "not told by this kernel",
  ignored: "not compared"
}

const statuses: Readonly<Record<Budget.ProgramStatus, string>> = {
  within: "within the budget",
  exceeded: "exceeds the budget",
  new: "not in the budget",
  removed: "in the budget, and not in the object any more",
  unmeasured: "in the budget, and not loaded"
}

const number = (value: number | undefined): string => value === undefined ? "" : String(value)

/** `+12.5 %`; the number alone where there was nothing before. */
const growth = ({ before, now }: Budget.MetricRow): string => {
  if (before === undefined || now === undefined || before === now) return ""
  const sign = now > before ? "+" : ""
  const percent = Budget.percent(before, now)
  return percent === undefined ? `${sign}${now - before}` : `${sign}${percent} %`
}

const rowOf = (row: Budget.MetricRow, compared: boolean): ReadonlyArray<Cell> => {
  const tone = tones[row.status]
  const toned = (text: string): Cell => tone === undefined ? text : span(tone, text)
  return [
    Budget.title(row.metric),
    number(row.before),
    toned(number(row.now)),
    toned(growth(row)),
    row.before === undefined && row.status !== "exceeded" ? "" : number(row.allowed),
    toned(compared ? words[row.status] : "")
  ]
}

const programText = ({ metrics, name, status }: Budget.ProgramRow, compared: boolean): ReadonlyArray<Line> => {
  const said = span(status === "exceeded" ? "error" : status === "within" ? "good" : "dim", statuses[status])
  return [
    compared ? line(span("heading", clip(name)), ": ", said) : line(span("heading", clip(name))),
    ...table(
      ["metric", "before", "now", "growth", "allowed", "verdict"],
      metrics.map((row) => rowOf(row, compared))
    )
  ]
}

/** Programs and what they cost; `compared` tells whether with a budget. */
export const budgetText = ({ programs }: Budget.Comparison, compared: boolean): ReadonlyArray<Line> =>
  programs.length === 0
    ? [line("no programs")]
    : programs.flatMap((program, position) => [
      ...(position === 0 ? [] : [blank]),
      ...programText(program, compared)
    ])

const unchanged: ReadonlySet<Budget.MetricStatus> = new Set(["same", "ignored", "untold"])

/** What a load says of its budget: what has changed. */
export const changesText = ({ programs }: Budget.Comparison): ReadonlyArray<Line> => {
  const changed = programs.flatMap((program): ReadonlyArray<Budget.ProgramRow> => {
    const metrics = program.metrics.filter(({ status }) => !unchanged.has(status))
    return program.status === "within" && metrics.length === 0 ? [] : [{ ...program, metrics }]
  })
  return changed.length === 0
    ? [line("the programs cost what the budget says")]
    : changed.flatMap((program) => programText(program, true))
}
