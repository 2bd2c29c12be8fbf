import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Kernel } from "../../../src/services/Kernel/Kernel.ts"
import * as Testing from "../../../src/testing/Testing.ts"
import { fixture } from "../../support/Require.ts"
import * as LedgerKernel from "../../support/LedgerKernel.ts"
import { testing } from "../../support/TestingSuite.ts"

describe("tests on the simulated kernel", () => {
  testing(Testing.simulated())

  it.effect("count which lines ran, as far as the kernel counts them", () =>
    Effect.gen(function*() {
      const load = Testing.load(fixture("test_run.bpf.o"))
      const object = yield* load
      for (let runs = 0; runs < 3; runs++) yield* object.run("trim_packet", { packet: new Uint8Array(60) })
      const coverage = (yield* object.coverage) ?? []
      const [file] = Testing.Coverage.byFile(coverage)
      const count = (text: string) => file?.lines.find((line) => line.text.includes(text))?.count
      assert.strictEqual(count("bpf_xdp_adjust_tail"), 3)
      assert.strictEqual(count("skb->mark += 5"), 0)
      assert.match(
        Testing.Coverage.text(coverage),
        /test_run\.bpf\.c: \d+ of \d+ lines, [\d.]+ %\n[^]*\n {2}3 +\d+ {2}if \(bpf_xdp_adjust_tail/
      )
      const uncounted = yield* Effect.provide(load, Testing.simulated({ coverage: false }))
      assert.isUndefined(yield* uncounted.coverage)
    }).pipe(Effect.provide(Testing.simulated())))

  it("round shares down, so that only what ran wholly is whole", () => {
    assert.deepStrictEqual(
      [[0, 0], [0, 3], [1, 3], [2999, 3000], [3, 3]].map(([a = 0, b = 0]) => Testing.Coverage.percent(a, b)),
      [
        100,
        0,
        33.3,
        99.9,
        100
      ]
    )
  })

  it.effect("on another kernel, printed lines are a tagged error and coverage is absent", () =>
    Effect.gen(function*() {
      const { kernel } = LedgerKernel.make()
      const object = yield* Effect.provideService(Testing.load(fixture("test_run.bpf.o")), Kernel, kernel)
      const error = yield* Effect.flip(object.printk)
      assert.strictEqual(error.reason, "NotObservable")
      assert.isUndefined(yield* object.coverage)
    }))
})
