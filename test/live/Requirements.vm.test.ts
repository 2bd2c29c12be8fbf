/**
 * What objects need of the kernel, held against kernels: fixtures and each of their programs alone are loaded exactly where
 * the release has what they need, and the tables say of 6.1 and 6.12 what trying them shows.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Loads from "../support/RequirementLoads.ts"
import * as Tables from "../support/RequirementTables.ts"
import { describeWith } from "../support/Require.ts"

/** For people: the machine's output lists such lines. */
const count = (text: string): void => void Fs.writeSync(2, `count: ${text}\n`)

describeWith({ kind: "live", root: true }, "what objects need of the kernel", () => {
  it.live("decides whether they are loaded", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const { release } = yield* kernel.info
      const { counts, unexplained } = Loads.judge(release, yield* Loads.outcomes(kernel, Loads.cases()))
      count(counts)
      assert.deepStrictEqual(unexplained, [])
    }), 280_000)

  it.live("is in the tables as trying shows it", () =>
    Effect.gen(function*() {
      const { counts, wrong } = Tables.compare(yield* KernelLive.features({ full: true }), Tables.runningFunctions())
      count(counts)
      assert.deepStrictEqual(wrong, [])
    }), 280_000)
})
