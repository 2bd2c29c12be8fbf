/** The causes of refusals on other kernels than the running one, judged as in `VerifierCauses.full.test.ts`. */
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as FailingLogs from "../support/failing/FailingLogs.ts"
import { assertJudged } from "../support/failing/Judge.ts"
import { describeWith } from "../support/Require.ts"

describeWith({ kind: "live", root: true, ...FailingLogs.needs }, "causes of refusals", () => {
  it.live("are those that people gave them", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      assertJudged([...FailingLogs.ofInstructions(), ...(yield* FailingLogs.ofObjects(kernel))], 200)
    }), 900_000)
})
