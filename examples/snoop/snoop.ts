// Who starts programs and opens files, as a table that is kept up to date: sudo node examples/snoop/snoop.ts [--failed] [--lines]
//
// In a project of your own, import from "effect-bpf".
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { clearScreenDown, cursorTo } from "node:readline"
import { parseArgs } from "node:util"
import { RingReader } from "../../src/index.ts"
import { printable, run } from "../run.ts"
import { type exec_event, load, type open_event } from "./snoop.skel.ts"

const { values: options } = parseArgs({
  options: {
    // Only files that could not be opened.
    failed: { type: "boolean", default: false },
    // A line for each event, also on a terminal.
    lines: { type: "boolean", default: false }
  }
})
const isTable = process.stdout.isTTY && !options.lines

/** What one process has done. */
interface Row {
  readonly pid: number
  command: string
  starts: number
  opens: number
  failures: number
  last: string
}

const rows = new Map<number, Row>()

const isOpen = (event: exec_event | open_event): event is open_event => "result" in event

const count = (event: exec_event | open_event): void => {
  const { command, file, pid } = event
  const row = rows.get(pid) ?? { pid, command: "", starts: 0, opens: 0, failures: 0, last: "" }
  // What has done something comes last, and is kept longest.
  rows.delete(pid)
  rows.set(pid, row)
  row.command = printable(command)
  row.last = printable(file)
  if (!isOpen(event)) row.starts++
  else if (event.result < 0) row.failures++
  else row.opens++
  const [oldest] = rows.keys()
  if (rows.size > 1000 && oldest !== undefined) rows.delete(oldest)
}

const line = (event: exec_event | open_event): string => {
  const { command, file, pid } = event
  const what = isOpen(event) ? "open" : "exec"
  const result = isOpen(event) ? String(event.result) : `uid ${event.uid}`
  return [String(pid).padStart(7), printable(command).padEnd(15), what, result.padStart(8), printable(file)].join(" ")
}

const draw = Effect.sync(() => {
  const { columns, rows: height } = process.stdout
  const head = "    PID COMMAND         EXEC    OPEN  FAILED  LAST FILE"
  const body = [...rows.values()].toReversed().slice(0, height - 2).map((row) =>
    [
      String(row.pid).padStart(7),
      row.command.padEnd(15),
      String(row.starts).padStart(4),
      String(row.opens).padStart(7),
      String(row.failures).padStart(7),
      ` ${row.last}`
    ].join(" ").slice(0, columns)
  )
  cursorTo(process.stdout, 0, 0)
  clearScreenDown(process.stdout)
  process.stdout.write([head, ...body, ""].join("\n"))
})

const snoop = Effect.gen(function*() {
  const { attach, maps } = yield* load({ globals: { rodata: { own_pid: process.pid, failed_only: options.failed } } })
  const events = yield* maps.events.open()
  const summary = Effect.map(events.lost, (lost) => {
    if (lost !== undefined && lost > 0n) console.error(`${lost} events were lost: the buffer was full`)
  })
  yield* attach()
  console.error("watching who starts programs and opens files, Ctrl-C to end")
  if (isTable) yield* Effect.forkChild(Effect.repeat(draw, Schedule.spaced("500 millis")))
  const show = (event: exec_event | open_event) => isTable ? count(event) : console.log(line(event))
  yield* Stream.runForEach(RingReader.stream(events), (event) => Effect.sync(() => show(event))).pipe(
    Effect.ensuring(Effect.ignore(summary))
  )
})

await run(snoop)
