/**
 * A process that opens what another one has pinned, runs a program of it and says what it found: `reopenChild.ts OBJECT
 * FOLDER`. Prints one line of JSON.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Reopen from "../../src/stages/load/Reopen.ts"
import { testRun } from "./LiveKernel.ts"

const [path = "", folder = ""] = process.argv.slice(2)

const program = Effect.gen(function*() {
  const object = yield* Effect.fromResult(Open.fromBytes(Fs.readFileSync(path), { path: Path.basename(path) }))
  const loaded = yield* Reopen.reopen(object, folder)
  const start = loaded.program("start")
  if (start === undefined) return { retval: -1 }
  const { retval } = yield* loaded.session.call({ ...testRun(0), prog: start })
  return { retval }
})

Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(KernelLive.layer))).then(
  (found) => process.stdout.write(`${JSON.stringify(found)}\n`),
  (error: unknown) => {
    process.stderr.write(`${String(error)}\n`)
    process.exitCode = 1
  }
)
