/** Typed maps on the running kernel. */
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { describeWith } from "../support/Require.ts"
import { typedMapSuite } from "../support/TypedMapSuite.ts"

describeWith({ kind: "live" }, "typed maps on the live kernel", () => {
  typedMapSuite(KernelLive.make)
})
