/**
 * The call that has the kernel count how programs run.
 */
import * as Effect from "effect/Effect"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import type { Handlers } from "../Session.ts"
import type { Context } from "./Context.ts"
import { once } from "./Enter.ts"
import type { Handle } from "./Handle.ts"

/** `BPF_STATS_RUN_TIME` */
const runTime = 0

/** The handler. */
export const handlers = ({ sys }: Context): Pick<Handlers<Handle>, "StatsEnable"> => ({
  StatsEnable: Effect.fnUntraced(function*(_, bound) {
    const { result: fd } = yield* once(sys, bound, {
      call: "StatsEnable",
      subject: "run-time statistics",
      command: Command.BPF_ENABLE_STATS,
      layout: Attr.EnableStats,
      values: { type: runTime },
      answer: "Descriptor"
    })
    return { result: undefined, handle: { _tag: "Stats", fd, name: "run-time statistics" } }
  })
})
