/** What objects need of the running kernel, judged as in `Requirements.vm.test.ts`. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Loads from "../support/RequirementLoads.ts"
import * as Tables from "../support/RequirementTables.ts"
import { describeWith } from "../support/Require.ts"

const reason = Loads.notJudged(Os.release())
if (reason !== undefined) Fs.writeSync(2, `skipped: live tests of what objects need of the kernel: ${reason}\n`)

describeWith({ kind: "live", root: true }, "what objects need of the kernel", () => {
  it.live.skipIf(reason !== undefined)("decides whether they are loaded", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const { counts, unexplained } = Loads.judge(Os.release(), yield* Loads.outcomes(kernel, Loads.cases()))
      Fs.writeSync(1, `${counts}\n`)
      assert.deepStrictEqual(unexplained, [])
    }), 60_000)

  it.live.skipIf(reason !== undefined)("is in the tables as trying shows it", () =>
    Effect.gen(function*() {
      const { counts, wrong } = Tables.compare(yield* KernelLive.features({ full: true }), Tables.runningFunctions())
      Fs.writeSync(1, `${counts}\n`)
      assert.deepStrictEqual(wrong, [])
    }), 60_000)
})
