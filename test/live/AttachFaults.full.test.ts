/** Law 7 for attaching, with every fault: refused, and interrupted before and after the kernel has answered. */
import { it } from "@effect/vitest"
import { leavesNothing } from "../support/AttachFaults.ts"
import { describeWith } from "../support/Require.ts"

describeWith(
  { kind: "live", root: true, linux: "5.15" },
  "attaching of which any attempt fails or is interrupted",
  () => {
    it.live("leaves nothing attached", () =>
      leavesNothing([
        { _tag: "Answer", errno: "EPERM" },
        { _tag: "Answer", errno: "EINTR" },
        { _tag: "InterruptBefore" },
        { _tag: "InterruptAfter" }
      ]), 300_000)
  }
)
