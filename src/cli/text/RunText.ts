/**
 * The text that `run` prints.
 */
import type { RunDocument } from "../json/RunDocument.ts"
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

/** The lines of one run, or a table of the runs on a capture. */
export const runsText = (program: string, runs: ReadonlyArray<RunDocument>, shown: Shown): ReadonlyArray<Line> => {
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
