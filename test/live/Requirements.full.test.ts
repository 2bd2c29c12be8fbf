/** What objects need of the running kernel, judged as in `Requirements.vm.test.ts`. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Loads from "../support/RequirementLoads.ts"
import * as Tables from "../support/RequirementTables.ts"
import { describeWith } from "../support/Require.ts"

describeWith({ kind: "live", root: true, linux: "6.18" }, "what objects need of the kernel", () => {
  it.live("decides whether they are loaded", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const { release } = yield* kernel.info
      const { counts, unexplained } = Loads.judge(release, yield* Loads.outcomes(kernel, Loads.cases()))
      console.log(counts)
      assert.deepStrictEqual(unexplained, [])
    }), 60_000)

  it.live("is in the tables as trying shows it", () =>
    Effect.gen(function*() {
      const { counts, wrong } = Tables.compare(yield* KernelLive.features({ full: true }), Tables.runningFunctions())
      console.log(counts)
      assert.deepStrictEqual(wrong, [])
    }), 60_000)
})
