/**
 * The text of `prog stats`.
 */
import { progTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Measured, Ran } from "../prog/Stats.ts"
import { clip } from "./Clip.ts"
import { blank, counted, type Line, line, span, table } from "./Text.ts"

/** Nanoseconds for people: three digits at least, and a unit. */
export const duration = (nanoseconds: number): string => {
  const units = [["s", 1e9], ["ms", 1e6], ["µs", 1e3]] as const
  const [unit, size] = units.find(([, size]) => nanoseconds >= size) ?? (["ns", 1] as const)
  const value = nanoseconds / size
  return `${unit === "ns" ? Math.round(value) : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`
}

const share = (time: bigint, watched: bigint): string =>
  watched === 0n ? "" : `${(100 * Number(time) / Number(watched)).toFixed(2)} %`

const perSecond = (runs: bigint, watched: bigint): string =>
  watched === 0n ? "" : (Number(runs) * 1e9 / Number(watched)).toFixed(0)

const row = ({ gone, id, misses, name, runs, time, type }: Ran, watched: bigint) => [
  String(id),
  progTypeName(type),
  span("name", clip(name)),
  String(runs),
  perSecond(runs, watched),
  duration(Number(time)),
  runs === 0n ? "" : duration(Number(time) / Number(runs)),
  share(time, watched),
  misses === 0n ? "" : String(misses),
  gone ? "unloaded" : ""
]

/**
 * Programs that ran, those that took most time first; how many did not run, and the time. `cpu` is the share of one processor.
 * `most` bounds the rows: the lines of a terminal.
 */
export const statsText = ({ programs, watched }: Measured, most = Number.POSITIVE_INFINITY): ReadonlyArray<Line> => {
  const ran = programs.filter(({ misses, runs }) => runs > 0n || misses > 0n)
  const shown = ran.slice(0, Math.max(0, most))
  const rest = programs.length - ran.length
  return [
    ...table(
      ["id", "type", "name", "runs", "per second", "time", "each", "cpu", "missed", "remarks"],
      shown.map((each) => row(each, watched))
    ),
    ...(shown.length < ran.length ? [line(span("dim", `… ${ran.length - shown.length} more that ran`))] : []),
    ...(shown.length > 0 ? [blank] : []),
    line(span(
      "dim",
      `${counted(ran.length, "program")} ran in ${duration(Number(watched))}${rest === 0 ? "" : `, ${rest} did not`}`
    ))
  ]
}
