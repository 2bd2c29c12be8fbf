/**
 * The text of `prog profile`.
 */
import type { Profile } from "../prog/Profile.ts"
import { clip } from "./Clip.ts"
import { counted, type Line, line, span, table } from "./Text.ts"

const perRun = (counter: bigint, runs: bigint): string => {
  const each = Number(counter) / Number(runs)
  return runs === 0n ? "" : each.toFixed(each < 10 ? 3 : each < 1000 ? 1 : 0)
}

type Reading = Profile["readings"][number]

/** In proportion to another metric that was counted. */
const ratio = ({ counter, metric }: Reading, all: ReadonlyArray<Reading>): string => {
  const other = all.find((each) => each.metric.name === metric.ratio?.of)
  return metric.ratio === undefined || other === undefined || other.counter === 0n
    ? ""
    : `${(Number(counter) * metric.ratio.times / Number(other.counter)).toFixed(2)} ${metric.ratio.noun}`
}

/** Where there were more counters than the processor has, each counted a part of the time. */
const part = ({ enabled, running }: Reading): string =>
  enabled > running ? `counted ${(Number(running) * 100 / Number(enabled)).toFixed(2)} % of the time` : ""

/** How often the program ran, and a table of what was counted meanwhile. */
export const profilingText = (name: string, { readings, runs }: Profile): ReadonlyArray<Line> => [
  line(span("name", clip(name)), ` ran ${counted(Number(runs), "time")}`),
  ...table(
    ["metric", "value", "each run", "ratio", "remarks"],
    readings.map((each) => [
      each.metric.name,
      String(each.counter),
      perRun(each.counter, runs),
      ratio(each, readings),
      part(each)
    ])
  )
]
