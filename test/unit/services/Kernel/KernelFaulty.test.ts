import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { KernelCall } from "../../../../src/services/Kernel/KernelCall.ts"
import * as KernelFaulty from "../../../../src/services/Kernel/KernelFaulty.ts"
import * as KernelTraced from "../../../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"

const create = (index: number): KernelCall => ({ _tag: "MapCreate", as: Ref.map(index), attr: LedgerKernel.plainMap })

const retries: NonNullable<LedgerKernel.LedgerOptions["retries"]> = () => [{ errno: "EAGAIN", because: "EAGAIN" }]

/** Makes three calls of two attempts each, with a fault; answers each call's exit and what the kernel acquired. */
const calls = (at: number, fault: KernelFaulty.Fault) => {
  const ledger = LedgerKernel.make({ retries })
  const exits = Effect.runSync(Effect.scoped(Effect.gen(function*() {
    const kernel = yield* KernelFaulty.make(ledger.kernel, at, fault)
    const session = yield* kernel.session()
    return yield* Effect.forEach([0, 1, 2], (index) => Effect.exit(session.call(create(index))))
  })))
  return {
    outcomes: exits.map((exit) => {
      if (Exit.isSuccess(exit)) return "success"
      const [reason] = exit.cause.reasons
      return Cause.hasInterrupts(exit.cause) ? "interrupted" : reason?._tag === "Fail" ? reason.error : "died"
    }),
    acquired: ledger.entries.filter((entry) => entry._tag === "Acquire").length,
    faults: LedgerKernel.faults(ledger, false)
  }
}

describe("a faulty kernel", () => {
  it("answers the chosen attempt without entering the kernel", () => {
    for (const at of [2, 3]) {
      const { acquired, faults, outcomes } = calls(at, { _tag: "Answer", errno: "ENOMEM" })
      assert.deepStrictEqual([outcomes[0], outcomes[2]], ["success", "success"])
      assert.deepInclude({ ...(outcomes[1] as object) }, {
        _tag: "KernelError",
        call: "MapCreate",
        errno: "ENOMEM",
        errnoNumber: 12,
        subject: "an injected fault"
      })
      assert.strictEqual(acquired, 2)
      assert.deepStrictEqual(faults, [])
    }
  })

  it("interrupts before the kernel is entered", () => {
    assert.deepStrictEqual(calls(3, { _tag: "InterruptBefore" }), {
      outcomes: ["success", "interrupted", "success"],
      acquired: 2,
      faults: []
    })
  })

  it("interrupts when the kernel has answered, and what it acquired is released", () => {
    assert.deepStrictEqual(calls(3, { _tag: "InterruptAfter" }), {
      outcomes: ["success", "interrupted", "success"],
      acquired: 3,
      faults: []
    })
    // After a first attempt that failed, the second is not begun.
    assert.deepStrictEqual(calls(2, { _tag: "InterruptAfter" }), {
      outcomes: ["success", "interrupted", "success"],
      acquired: 2,
      faults: []
    })
  })

  it("does nothing beyond the last attempt", () => {
    assert.deepStrictEqual(calls(6, { _tag: "InterruptBefore" }), {
      outcomes: ["success", "success", "success"],
      acquired: 3,
      faults: []
    })
  })

  it("counts attempts as a traced kernel does, over all sessions", () => {
    const { kernel } = LedgerKernel.make({ retries })
    const [seen, failed] = Effect.runSync(Effect.gen(function*() {
      const faulty = yield* KernelFaulty.make(kernel, 5, { _tag: "Answer", errno: "EPERM" })
      const traced = yield* KernelTraced.make(faulty)
      for (let round = 0; round < 3; round++) {
        yield* Effect.scoped(Effect.flatMap(traced.kernel.session(), (session) => Effect.exit(session.call(create(0)))))
      }
      const attempts = yield* traced.attempts
      return [
        attempts.length,
        attempts.findIndex(({ answer }) => answer._tag === "Failure" && String(answer.failure).includes("injected"))
      ]
    }))
    assert.deepStrictEqual([seen, failed], [6, 5])
  })

  it("takes calls in listed order", () => {
    const { kernel } = LedgerKernel.make({ concurrency: 8 })
    const concurrency = Effect.runSync(Effect.scoped(Effect.gen(function*() {
      const faulty = yield* KernelFaulty.make(kernel, 0, { _tag: "InterruptBefore" })
      return (yield* faulty.session()).concurrency
    })))
    assert.strictEqual(concurrency, 1)
  })
})
