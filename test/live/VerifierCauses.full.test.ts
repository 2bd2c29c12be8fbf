/**
 * The causes of refusals, on the running kernel: programs of the kernel's own tests that are meant to be refused are loaded, and
 * the causes that are found in the logs compared with labels made by hand (`test/support/failing/Labels.ts`).
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as FailingLogs from "../support/failing/FailingLogs.ts"
import { assertJudged, judge } from "../support/failing/Judge.ts"
import { describeWith } from "../support/Require.ts"

describeWith({ kind: "live", root: true, ...FailingLogs.needs }, "causes of refusals", () => {
  it.live("are those that people gave them", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const failing = [...FailingLogs.ofInstructions(), ...(yield* FailingLogs.ofObjects(kernel))]
      assertJudged(failing, 200)
      // Named fault: who always says the same is right where that is the label, and nowhere else.
      const same = judge(failing, () => "OutOfBounds")
      assert.isBelow(same.right / same.labelled, 0.2)
    }), 600_000)
})
