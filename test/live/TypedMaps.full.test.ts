/** Every call of typed maps on the running kernel fails in every way, and is interrupted: the test beside it tries some. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { mappings, openDescriptors } from "../support/LiveKernel.ts"
import { faults, strike } from "../support/MapFaults.ts"
import { describeWith } from "../support/Require.ts"

describeWith({ kind: "live" }, "typed maps on the live kernel", () => {
  it.live("whose calls fail or are interrupted leave nothing, and say what failed", () =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const left = () => `${openDescriptors().length} descriptors, ${mappings()} mappings`
      const { attempts, found } = yield* strike(live, left)
      console.log(`${attempts} attempts, ${faults.length} faults at each`)
      assert.deepStrictEqual(found, [])
    }))
})
