import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { Kernel } from "../../../src/services/Kernel/Kernel.ts"
import * as KernelInfo from "../../../src/services/Kernel/KernelInfo.ts"
import * as Asked from "../../../src/stages/Asked.ts"
import * as Stage from "../../../src/stages/Stage.ts"
import * as LedgerKernel from "../../support/LedgerKernel.ts"

describe("a stage", () => {
  const twice = Stage.map("twice", (input: number) => input * 2)
  const text = Stage.make("text", (input: number) => Effect.succeed(`<${input}>`))
  const check = Stage.make("check", (input: number) => input > 10 ? Effect.fail("too large") : Effect.succeed(input))

  it("runs, and its run is lazy", () => {
    let runs = 0
    const counting = Stage.make("counting", (input: number) => {
      runs++
      return Effect.succeed(input)
    })
    const effect = counting.run(1)
    assert.strictEqual(runs, 0)
    assert.strictEqual(Effect.runSync(effect), 1)
    assert.strictEqual(runs, 1)
  })

  it("composes with others, and the composition is a stage", () => {
    const whole = Stage.pipeline(twice, check, text)
    assert.strictEqual(whole.name, "twice → check → text")
    assert.strictEqual(Effect.runSync(whole.run(4)), "<8>")
    assert.strictEqual(Effect.runSync(Effect.flip(whole.run(6))), "too large")
    assert.strictEqual(Effect.runSync(Stage.pipeline(twice, whole).run(2)), "<8>")
    assert.strictEqual(Effect.runSync(Stage.pipeline(twice).run(2)), 4)
    assert.strictEqual(Effect.runSync(Stage.pipeline(twice, twice, twice, twice, twice, twice).run(1)), 64)
  })

  it("runs under a span of its name", async () => {
    const spans: Array<string> = []
    const watching = Stage.make("watched", () =>
      Effect.map(Effect.currentSpan, (span) => {
        spans.push(span.name)
      }))
    await Effect.runPromise(watching.run(0).pipe(Effect.orDie))
    assert.deepStrictEqual(spans, ["effect-bpf.watched"])
  })
})

describe("a pure stage that asks", () => {
  /** Wants the page size, then as many CPUs as pages allow: each answer leads to the next question. */
  const curious = (info: KernelInfo.KernelInfo): Result.Result<Asked.Asked<string>, string> => {
    if (info.pageSize._tag === "Unasked") return Result.succeed(Asked.needs([{ _tag: "PageSize" }]))
    if (info.possibleCpus._tag === "Unasked") return Result.succeed(Asked.needs([{ _tag: "PossibleCpus" }]))
    const pages = info.pageSize._tag === "Known" ? info.pageSize.value : 0
    return pages === 1
      ? Result.fail("no page of one byte")
      : Result.succeed(Asked.done(`${pages} ${info.possibleCpus._tag}`))
  }

  it("is answered round by round, and what was learned comes back", () => {
    const ledger = LedgerKernel.make({ pageSize: 16_384 })
    const { info, value } = Effect.runSync(Asked.drive(curious).pipe(Effect.provideService(Kernel, ledger.kernel)))
    assert.strictEqual(value, "16384 Known")
    assert.deepStrictEqual(info.pageSize, KernelInfo.known(16_384))
    assert.deepStrictEqual(ledger.asked.map((each) => each._tag), ["PageSize", "PossibleCpus"])
  })

  it("asks nothing that is known before", () => {
    const ledger = LedgerKernel.make()
    const known = KernelInfo.add(KernelInfo.make({ release: "", architecture: "", byteOrder: "little" }), {
      pageSize: KernelInfo.known(2),
      possibleCpus: KernelInfo.deferred
    })
    const { value } = Effect.runSync(Asked.drive(curious, known).pipe(Effect.provideService(Kernel, ledger.kernel)))
    assert.strictEqual(value, "2 Deferred")
    assert.deepStrictEqual(ledger.asked, [])
  })

  it("may fail, and fails when it is not answered", () => {
    const run = (options: LedgerKernel.LedgerOptions) =>
      Effect.runSync(
        Effect.flip(Asked.drive(curious).pipe(Effect.provideService(Kernel, LedgerKernel.make(options).kernel)))
      )
    assert.strictEqual(run({ pageSize: 1 }), "no page of one byte")
    const silent = run({ silentOn: ["PossibleCpus"] })
    if (!(silent instanceof Asked.UnansweredError)) assert.fail(String(silent))
    assert.deepStrictEqual(silent.requirements, ["the number of possible CPUs"])
    const pointless = Effect.runSync(Effect.flip(
      Asked.drive(() => Result.succeed(Asked.needs([]))).pipe(Effect.provideService(Kernel, LedgerKernel.make().kernel))
    ))
    assert.isTrue(pointless instanceof Asked.UnansweredError)
  })
})
