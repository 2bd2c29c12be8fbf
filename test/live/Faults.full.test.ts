/** Law 7 on the running kernel over all fixtures: nothing of a load is left, whichever attempt fails or is interrupted. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import type * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { loadable, strike } from "../support/LiveFaults.ts"
import { allFixtures, bpffs, describeWith } from "../support/Require.ts"

const faults: ReadonlyArray<KernelFaulty.Fault> = [
  { _tag: "Answer", errno: "EPERM" },
  { _tag: "InterruptBefore" },
  { _tag: "InterruptAfter" }
]

/** What is no whole object: it needs another one, with which it is linked. */
const notLoaded: ReadonlyArray<string> = ["link_main.bpf.o"]

describeWith({ kind: "live", root: true, linux: "6.18" }, "a load that fails or is interrupted at any attempt", () => {
  it.live("leaves nothing, for each fixture that the kernel loads", () =>
    Effect.gen(function*() {
      const pinRoot = Path.join(bpffs(), "faults")
      const live = yield* KernelLive.make
      const refused: Array<string> = []
      const partly: Array<string> = []
      let loaded = 0
      let points = 0
      let attempts = 0
      for (const name of allFixtures().filter((each) => /^[^/]*[.]bpf[.]o$/.test(each))) {
        const found = yield* Effect.result(loadable(name, live, pinRoot))
        if (found._tag === "Failure") {
          refused.push(name)
          continue
        }
        const { planned, without } = found.success
        if (without.length > 0) partly.push(`${name} without ${without.length} of its programs and maps`)
        const outcome = yield* strike(planned, live, { faults, pinRoot })
        assert.deepStrictEqual(outcome.found, [], name)
        assert.strictEqual(outcome.points, faults.length * outcome.attempts, name)
        loaded++
        points += outcome.points
        attempts += outcome.attempts
      }
      console.log(
        `${loaded} fixtures, ${points} injection points: ${faults.length} faults at ${attempts} attempts\n${
          partly.join("\n")
        }`
      )
      assert.deepStrictEqual(refused, notLoaded)
      assert.isAtLeast(loaded, 30)
    }))
})
