/** Run-time statistics on kernels that have none: refused by name, with the reason. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { KernelShape } from "../../../../src/services/Kernel/Kernel.ts"
import * as KernelRecording from "../../../../src/services/Kernel/KernelRecording.ts"
import * as KernelSimulated from "../../../../src/services/Kernel/KernelSimulated.ts"

const refusal = (kernel: KernelShape) =>
  Effect.scoped(Effect.gen(function*() {
    const session = yield* kernel.session()
    const as = session.fresh("Stats")
    const error = yield* Effect.flip(session.call({ _tag: "StatsEnable", as, what: "RunTime" }))
    // What was not acquired is not closed either.
    assert.strictEqual((yield* Effect.flip(session.call({ _tag: "Close", ref: as })))._tag, "RefError")
    return error
  }))

describe("run-time statistics", () => {
  it.effect("are no business of the simulated kernel, whose programs run in this process", () =>
    Effect.gen(function*() {
      const error = yield* refusal((yield* KernelSimulated.make()).kernel)
      assert.deepInclude(error, { _tag: "UnsupportedCall", call: "StatsEnable", kernel: "simulated" })
      assert.match(error.message, /hint: measure on the live kernel/)
    }))

  it.effect("are switched on by no loader", () =>
    Effect.gen(function*() {
      const error = yield* refusal((yield* KernelRecording.make).kernel)
      assert.deepInclude(error, { _tag: "UnsupportedCall", call: "StatsEnable", kernel: "recording" })
      assert.match(error.message, /loaders cannot switch statistics on/)
    }))
})
