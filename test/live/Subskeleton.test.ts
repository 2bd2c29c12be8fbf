/** Subskeletons in TypeScript on the running kernel: see ../unit/skeleton/Subskeleton.test.ts. */
import { assert, it } from "@effect/vitest"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { describeWith } from "../support/Require.ts"
import * as SubskeletonSuite from "../support/SubskeletonSuite.ts"

describeWith({ kind: "live" }, "subskeletons on the running kernel", () => {
  const before = openDescriptors()
  SubskeletonSuite.subskeletons(KernelLive.layer)
  it("leave nothing open", () => {
    assert.deepStrictEqual(openDescriptors(), before)
  })
})
