/** AF_XDP sockets (`examples/xsk`) for longer: more frames than any index of a test has, and more interruptions. */
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { network } from "../support/Network.ts"
import { describeWith } from "../support/Require.ts"
import { exchange, interruptions, live, pair } from "../support/XskTraffic.ts"

describeWith({ kind: "live", root: true, tools: ["ip"] }, "AF_XDP for longer", () => {
  it.live("a hundred interruptions at random moments leave nothing", () => live(interruptions(100)))

  it.live("300,000 frames each way, every byte", () =>
    live(Effect.gen(function*() {
      yield* exchange(yield* pair(yield* network), 300_000)
    })))
})
