// Pauses of Node.js for garbage collection, of one process or of all that run a binary:
// sudo node examples/nodegc/nodegc.ts [--pid PID] [--node /path/to/node]
//
// Node's own USDT probes are there only in builds that ask for them, and those that are distributed do not. Their symbol table
// is, so this attaches to V8's own function, found by a pattern: its full name says the types of its arguments, which
// change between versions of Node.
//
// In a project of your own, import from "effect-bpf" and "effect-bpf/node".
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { parseArgs } from "node:util"
import { RingReader } from "../../src/index.ts"
import { BinaryFile } from "../../src/node.ts"
import { printable, run } from "../run.ts"
import { load, type pause } from "./nodegc.skel.ts"

const { values: options } = parseArgs({
  options: {
    // Without it, all processes that run the binary.
    pid: { type: "string" },
    // By default the one that runs this, or that the process runs.
    node: { type: "string" }
  }
})

const pid = options.pid === undefined ? -1 : Number(options.pid)
if (!Number.isInteger(pid) || pid === 0) {
  console.error(`--pid is the number of a process, not ${options.pid}`)
  process.exit(2)
}
const binary = options.node ?? (pid > 0 ? `/proc/${pid}/exe` : process.execPath)

/** `v8::internal::Heap::PerformGarbageCollection`, whatever its arguments are. */
const pattern = "_ZN2v88internal4Heap24PerformGarbageCollection*"

/** How a collection is called by those who read traces of V8. */
const collectors: Readonly<Record<string, string>> = {
  COLLECTOR_SCAVENGER: "scavenge",
  COLLECTOR_MARK_COMPACTOR: "mark-compact",
  COLLECTOR_MINOR_MARK_SWEEPER: "minor mark-sweep"
}

interface Total {
  count: number
  longest: number
  sum: number
}

const totals = new Map<string, Total>()

const milliseconds = (value: number): string => `${value.toFixed(3)} ms`.padStart(12)

const report = ({ collector, command, nanoseconds, pid, thread }: pause): void => {
  const name = collectors[collector] ?? `collector ${collector}`
  const time = Number(nanoseconds) / 1e6
  const total = totals.get(name) ?? { count: 0, longest: 0, sum: 0 }
  totals.set(name, { count: total.count + 1, longest: Math.max(total.longest, time), sum: total.sum + time })
  const who = `${String(pid).padStart(7)} ${printable(command).padEnd(15)}`
  console.log(`${who} ${milliseconds(time)}  ${name}${thread === pid ? "" : `, thread ${thread}`}`)
}

const nodegc = Effect.gen(function*() {
  const places = yield* BinaryFile.functionsMatching(binary, pattern)
  // Parts of a function that the compiler has put elsewhere have a dot in their names.
  const place = places.find((each) => !each.function.name.includes("."))
  if (place === undefined) {
    return yield* new Cause.NoSuchElementError(`${binary} has no symbol ${pattern}: is it Node.js, and not stripped?`)
  }
  const { maps, programs } = yield* load()
  const pauses = yield* maps.pauses.open()
  const target = { path: place.path, offset: place.offset, pid }
  const summary = Effect.sync(() => {
    for (const [name, { count, longest, sum }] of totals) {
      console.log(
        `${name}: ${count} pauses, ${milliseconds(sum).trim()} in all, ${milliseconds(longest).trim()} at most`
      )
    }
  })
  // The end first: a collection that is under way is then not taken for one that has only begun.
  yield* programs.collection_ends.attach({ ...target, isReturn: true })
  yield* programs.collection_begins.attach(target)
  console.error(`watching ${binary}${pid > 0 ? `, process ${pid}` : ""}, Ctrl-C to end`)
  yield* Stream.runForEach(RingReader.stream(pauses), (event) => Effect.sync(() => report(event))).pipe(
    Effect.ensuring(summary)
  )
})

await run(nodegc)
