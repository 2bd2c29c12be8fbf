/**
 * AF_XDP sockets (`examples/xsk`) with real packets between two network namespaces, in copy mode: none lost, every byte checked, and
 * nothing left behind.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Umem from "../../examples/xsk/Umem.ts"
import { network } from "../support/Network.ts"
import { describeWith } from "../support/Require.ts"
import { exchange, live, pair, type PairOptions } from "../support/XskTraffic.ts"

const count = 10_000

const both = (options: PairOptions, each = count) =>
  live(Effect.gen(function*() {
    const sockets = yield* pair(yield* network, options)
    yield* exchange(sockets, each)
    for (const { freeCount, frames, holders, owners } of sockets.memory) {
      const held = holders.reduce((sum, holder) => sum + (holder?.count ?? 0), 0)
      assert.strictEqual(freeCount + held, frames, "every frame is free or with the kernel")
      assert.notInclude([...owners], Umem.USER)
    }
  }))

describeWith({ kind: "live", root: true, tools: ["ip"] }, "AF_XDP, 10,000 frames each way", () => {
  it.live("with need-wakeup", () => both({ socket: { needWakeup: true } }))
  it.live("without need-wakeup", () => both({ socket: { needWakeup: false } }))
  it.live("both sockets on one memory, of two devices", () => both({ shared: true }))
})
