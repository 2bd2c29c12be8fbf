/** Attaching to a probe of many places, on older kernels, where one attempt after another fails or is interrupted. */
import { it } from "@effect/vitest"
import { describeWith } from "../support/Require.ts"
import { disturb } from "../support/UsdtFaults.ts"
import { sdtHeader } from "../support/UsdtTarget.ts"

describeWith({ kind: "live", tools: ["cc"], files: [sdtHeader] }, "attaching to places that is disturbed", () => {
  it.live("leaves nothing behind, by perf events", () => disturb({ without: ["UprobeMultiLink"] }))

  it.live("leaves nothing behind, by addresses", () => disturb({ without: ["UprobeMultiLink", "BpfCookie"] }))
})
