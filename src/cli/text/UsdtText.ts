/**
 * The text of `usdt`.
 */
import * as Result from "effect/Result"
import { type ListedProbe, problemsOf } from "../../attach/UsdtList.ts"
import * as Argument from "../../usdt/Argument.ts"
import { fullName } from "../../usdt/Notes.ts"
import { type Cell, counted, escape, heading, type Line, line, span, table } from "./Text.ts"

const hex = (value: bigint): string => `0x${value.toString(16)}`

const offsetCell = ({ place }: ListedProbe): Cell =>
  Result.isSuccess(place) ? hex(place.success.fileOffset) : span("warning", "none")

const argumentsCell = ({ arguments: parts, probe }: ListedProbe): Cell =>
  Result.isSuccess(parts)
    ? parts.success.map(Argument.describe).join(", ")
    : [escape(probe.arguments), " ", span("warning", "(not understood)")]

const rowOf = (each: ListedProbe): ReadonlyArray<Cell> => {
  const { probe } = each
  return [
    escape(probe.provider),
    span("name", escape(probe.name)),
    hex(probe.address),
    offsetCell(each),
    probe.semaphore === undefined ? "" : hex(probe.semaphore),
    argumentsCell(each)
  ]
}

/** Probes as a table for each file, and what is wrong with them. */
export const probesText = (probes: ReadonlyArray<ListedProbe>): ReadonlyArray<Line> => {
  if (probes.length === 0) return [line("no probes")]
  const files = Map.groupBy(probes, ({ path }) => path)
  const problems = new Set(
    probes.flatMap((each) => problemsOf(each).map(({ message }) => `${fullName(each.probe)}: ${message}`))
  )
  return [
    ...[...files].flatMap(([path, each]) => [
      ...(files.size === 1 ? [] : [heading(escape(path))]),
      ...table(["provider", "name", "address", "file offset", "semaphore", "arguments"], each.map(rowOf))
    ]),
    line(span("dim", counted(probes.length, "place"))),
    ...[...problems].map((problem) => line(span("warning", escape(problem))))
  ]
}
