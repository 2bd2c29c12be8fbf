/**
 * The text that `run` prints.
 */
import { byFile, percent } from "../../testing/Coverage.ts"
import { nothingSeen, type RunDocument, type Seen } from "../json/RunDocument.ts"
import { hexDump } from "./HexDump.ts"
import { blank, counted, heading, type Line, line, type Piece, span, table } from "./Text.ts"

const returned = ({ action, result }: RunDocument): string =>
  action === undefined ? String(result.retval) : `${result.retval} (${action})`

const nanoseconds = (duration: number): string => `${duration} ns`

const dump = (title: string, bytes: Uint8Array): ReadonlyArray<Line> =>
  bytes.length === 0 ? [] : [blank, heading(`${title}, ${counted(bytes.length, "byte")}:`), ...hexDump(bytes)]

/** Which of the bytes that came back are shown; others were written to files. */
export interface Shown {
  readonly data: boolean
  readonly context: boolean
}

const single = (program: string, run: RunDocument, shown: Shown): ReadonlyArray<Line> => [
  line(span("name", program), ` returned ${returned(run)} in ${nanoseconds(run.result.duration)}`),
  ...(shown.data ? dump("data out", run.result.dataOut) : []),
  ...(shown.context ? dump("context out", run.result.contextOut) : [])
]

const verdicts = (runs: ReadonlyArray<RunDocument>): ReadonlyArray<Piece> => {
  const counts = new Map<string, number>()
  for (const run of runs) {
    const what = run.action ?? `return value ${run.result.retval}`
    counts.set(what, (counts.get(what) ?? 0) + 1)
  }
  return [[...counts].sort((a, b) => b[1] - a[1]).map(([what, count]) => `${what} ×${count}`).join(", ")]
}

/** What the programs printed, and which of their lines ran. */
const seenText = ({ coverage, printk }: Seen): ReadonlyArray<Line> => [
  ...(printk.length === 0 ? [] : [blank, heading("printed:"), ...printk.map((text) => line(`  ${text}`))]),
  ...(coverage === undefined ? [] : byFile(coverage).flatMap(({ covered, file, lines }) => {
    const counts = Math.max(...lines.map(({ count }) => String(count).length))
    const numbers = Math.max(...lines.map((each) => String(each.line).length))
    return [
      blank,
      line(
        span("heading", `coverage of ${file === "" ? "the program" : file}:`),
        ` ${covered} of ${counted(lines.length, "line")}, ${percent(covered, lines.length)} %`
      ),
      ...lines.map((each) => {
        const place = `${(each.count === 0 ? "-" : String(each.count)).padStart(counts)}  ${
          String(each.line).padStart(numbers)
        }  `
        return line("  ", each.count === 0 ? span("warning", place + each.text) : place + each.text)
      })
    ]
  }))
]

/** The lines of one run, or a table of the runs on a capture. */
export const runsText = (
  program: string,
  runs: ReadonlyArray<RunDocument>,
  shown: Shown,
  seen: Seen = nothingSeen
): ReadonlyArray<Line> => [...runsOnly(program, runs, shown), ...seenText(seen)]

const runsOnly = (program: string, runs: ReadonlyArray<RunDocument>, shown: Shown): ReadonlyArray<Line> => {
  const [only] = runs
  if (runs.length === 1 && only !== undefined && only.frame === undefined) return single(program, only, shown)
  if (runs.length === 0) return [line(span("name", program), " did not run: the capture has no packets")]
  return [
    line(span("name", program), ` ran on ${counted(runs.length, "packet")}: `, ...verdicts(runs)),
    blank,
    ...table(
      ["frame", "bytes", "returned", "duration", "bytes out"],
      runs.map((run) => [
        String(run.frame ?? ""),
        String(run.length ?? ""),
        returned(run),
        nanoseconds(run.result.duration),
        String(run.result.dataOut.length)
      ])
    )
  ]
}
