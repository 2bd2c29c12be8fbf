/** Law 7 for attaching: nothing stays of what was attached before an attempt failed. The full run tries every fault. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { counts, leavesNothing, strike } from "../support/AttachFaults.ts"
import { describeWith } from "../support/Require.ts"

describeWith({ kind: "live", root: true, linux: "5.15" }, "attaching of which any attempt fails", () => {
  it.live("leaves nothing attached", () => leavesNothing([{ _tag: "Answer", errno: "EPERM" }]), 120_000)

  it.live("named fault: what is attached in a scope that stays open is noticed", () =>
    Effect.gen(function*() {
      const { after } = yield* counts
      // No attempt has this number, so all is attached, in a scope that is open when it is looked at.
      const { left } = yield* strike(after + 1000, { _tag: "InterruptBefore" }, true)
      assert.isAtLeast(left.length, 5)
    }), 30_000)
})
