import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Kernel, type KernelShape } from "../../../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../../../src/services/Kernel/KernelCall.ts"
import * as KernelTraced from "../../../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"

const create = (index: number): KernelCall => ({ _tag: "MapCreate", as: Ref.map(index), attr: LedgerKernel.plainMap })

const calling = (kernel: KernelShape, ...calls: ReadonlyArray<KernelCall>) =>
  Effect.scoped(Effect.gen(function*() {
    const session = yield* kernel.session()
    for (const call of calls) yield* Effect.exit(session.call(call))
    return session
  }))

const text = ({ answer, because, call, number }: KernelTraced.TracedAttempt): string =>
  `${call._tag} ${number}${because === undefined ? "" : ` ${because}`} ${answer._tag}`

describe("a traced kernel", () => {
  it("remembers every attempt with its answer, in order, over all sessions", async () => {
    const ledger = LedgerKernel.make({
      retries: (call) => call._tag === "MapCreate" ? [{ errno: "EAGAIN", because: "EAGAIN" }] : [],
      refuse: (call) => call._tag === "MapFreeze" ? "EPERM" : undefined
    })
    const seen = await Effect.runPromise(Effect.gen(function*() {
      const traced = yield* KernelTraced.make(ledger.kernel)
      yield* calling(traced.kernel, create(0), { _tag: "MapFreeze", map: Ref.map(0) })
      const before = yield* traced.attempts
      yield* calling(traced.kernel, create(0))
      assert.strictEqual(before.length, 3)
      return yield* traced.attempts
    }))
    assert.deepStrictEqual(seen.map(text), [
      "MapCreate 0 Failure",
      "MapCreate 1 EAGAIN Success",
      "MapFreeze 0 Failure",
      "MapCreate 0 Failure",
      "MapCreate 1 EAGAIN Success"
    ])
  })

  it("takes calls in listed order, whatever the kernel can do", async () => {
    const { kernel } = LedgerKernel.make({ concurrency: 8 })
    const session = await Effect.runPromise(
      Effect.flatMap(KernelTraced.make(kernel), (traced) => calling(traced.kernel))
    )
    assert.strictEqual(session.concurrency, 1)
  })

  it("keeps the other's name, info, answers and releases", async () => {
    const ledger = LedgerKernel.make({ pageSize: 1 })
    const traced = await Effect.runPromise(KernelTraced.make(ledger.kernel))
    assert.strictEqual(traced.kernel.name, "ledger")
    assert.strictEqual(traced.kernel.info, ledger.kernel.info)
    await Effect.runPromise(calling(traced.kernel, create(0)))
    assert.deepStrictEqual(LedgerKernel.faults(ledger, false), [])
  })

  it("tells the session's own observer, too, which stands nearer to the caller", async () => {
    const { kernel } = LedgerKernel.make()
    const order: Array<string> = []
    const noting = (name: string): Parameters<typeof KernelTraced.observe>[1] => ({
      before: () => Effect.sync(() => order.push(`${name} before`)),
      after: () => Effect.sync(() => order.push(`${name} after`))
    })
    await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      const session = yield* KernelTraced.observe(kernel, noting("decorator")).session({ observer: noting("session") })
      yield* session.call(create(0))
    })))
    assert.deepStrictEqual(order, ["session before", "decorator before", "decorator after", "session after"])
  })
})

describe("its layer", () => {
  it("decorates the kernel of another layer", async () => {
    const seen: Array<string> = []
    const layer = KernelTraced.layer(
      Layer.succeed(Kernel, LedgerKernel.make().kernel),
      (attempt) => Effect.sync(() => seen.push(text(attempt)))
    )
    await Effect.runPromise(
      Effect.flatMap(Kernel, (kernel) => calling(kernel, create(0), create(0))).pipe(Effect.provide(layer))
    )
    // The second is a mistake that no kernel is bothered with.
    assert.deepStrictEqual(seen, ["MapCreate 0 Success"])
  })
})
