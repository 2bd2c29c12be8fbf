/** Attaching to a probe where one attempt after another fails or is interrupted. */
import { it } from "@effect/vitest"
import { describeWith } from "../support/Require.ts"
import { disturb } from "../support/UsdtFaults.ts"
import { sdtHeader } from "../support/UsdtTarget.ts"

describeWith({ kind: "live", tools: ["cc"], files: [sdtHeader] }, "attaching to a probe that is disturbed", () => {
  it.live("leaves nothing behind, by one link", () => disturb({}))
})
