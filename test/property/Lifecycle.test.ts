/**
 * Law 7 for every operation on an object's life: whatever attempt of it fails or is interrupted, what is all or nothing
 * leaves the kernel as it was, what is not can be repeated, and in the end nothing is left.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Prepare from "../../src/stages/load/Prepare.ts"
import * as LedgerKernel from "../support/LedgerKernel.ts"
import { fresh, live, type Operation, planOf } from "../support/Life.ts"
import * as Pipeline from "../unit/stages/Pipeline.ts"

const faults: ReadonlyArray<KernelFaulty.Fault> = [
  { _tag: "Answer", errno: "EPERM" },
  { _tag: "InterruptBefore" },
  { _tag: "InterruptAfter" }
]

describe("law 7, operation after operation", () => {
  for (
    const name of ["prog_array.bpf.o", "map_in_map.bpf.o", "pinned_map.bpf.o"]
  ) {
    it(`${name}: every fault at every attempt of its life`, async () => {
      const planned = await planOf(name)
      const attempts = await Effect.runPromise(Effect.gen(function*() {
        const context = fresh()
        const traced = yield* KernelTraced.make(KernelSimulated.fromContext(context).kernel)
        const { found, struck } = yield* live(planned, context, traced.kernel)
        assert.deepStrictEqual(found, [])
        assert.deepStrictEqual(struck, [])
        return (yield* traced.attempts).length
      }))
      assert.isAbove(attempts, 40)
      const everStruck = new Set<string>()
      for (const fault of faults) {
        let points = 0
        for (let at = 0;; at++) {
          const context = fresh()
          const { happened, life } = await Effect.runPromise(Effect.gen(function*() {
            const faulty = yield* KernelFaulty.make(KernelSimulated.fromContext(context).kernel, at, fault)
            let begun = 0
            const counting: KernelShape = {
              ...faulty,
              session: (options) =>
                faulty.session({
                  ...options,
                  observer: { before: () => Effect.sync(() => void begun++), after: () => Effect.void }
                })
            }
            const life = yield* live(planned, context, counting)
            return { life, happened: begun > at }
          }))
          assert.deepStrictEqual(life.found, [], `${JSON.stringify(fault)} at attempt ${at}`)
          for (const each of life.struck) everStruck.add(each)
          if (!happened) break
          points++
        }
        assert.strictEqual(points, attempts, JSON.stringify(fault))
      }
      // Each operation that makes calls was struck.
      for (const each of ["prepare", "load of one", "clone", "pin", "unpin", "unload", "reopen"]) {
        assert.isTrue(everStruck.has(each), `${each} never failed`)
      }
    })
  }

  it("named fault: a load that forgets what it has loaded is noticed", async () => {
    const planned = await planOf("prog_array.bpf.o")
    const forgetful: Operation = {
      name: "load",
      failing: "as it was",
      run: (loaded) =>
        // Without the operation's own taking back: the bare steps.
        Execute.run(
          loaded.session,
          loaded.object,
          loaded.plan.filter((step) =>
            step._tag === "Call" && (step.call._tag === "ProgLoad" || step.why.startsWith("steps["))
          )
        )
    }
    const breaks: Array<string> = []
    for (let at = 0; at < 30; at++) {
      const context = fresh()
      const life = await Effect.runPromise(Effect.gen(function*() {
        const kernel = yield* KernelFaulty.make(KernelSimulated.fromContext(context).kernel, at, {
          _tag: "Answer",
          errno: "EPERM"
        })
        return yield* live(planned, context, kernel, () => [forgetful])
      }))
      breaks.push(...life.found)
    }
    assert.isAbove(breaks.length, 0)
  })

  it("takes back what was loaded when the fiber is interrupted while programs are verified", async () => {
    const planned = Pipeline.planned(Pipeline.opened("prog_array.bpf.o"))
    for (const chosen of [0, 1, 2]) {
      let begun: () => void = () => {}
      const underWay = new Promise<void>((resolve) => {
        begun = resolve
      })
      const ledger = LedgerKernel.make({
        concurrency: 2,
        finishNext: () => {
          begun()
          return chosen
        }
      })
      await Effect.runPromise(
        Effect.scoped(Effect.gen(function*() {
          const prepared = yield* Prepare.toPrepared(planned)
          const fiber = yield* Effect.forkChild(Prepare.load(prepared))
          yield* Effect.promise(() => underWay)
          yield* Fiber.interrupt(fiber)
          for (const position of planned.object.programs.keys()) {
            assert.isFalse(prepared.session.exists(Ref.prog(position)))
          }
          yield* Prepare.load(prepared)
        })).pipe(Effect.provideService(Kernel, ledger.kernel))
      )
      assert.deepStrictEqual(LedgerKernel.faults(ledger, true), [])
    }
  })
})
