/**
 * Law 7: for any failure or interruption injected at any attempt, `execute` releases everything that it acquired, once,
 * in reverse order, and keeps no pin; and there are as many injection points as `KernelTraced` counts attempts.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as fc from "fast-check"
import type { Errno } from "../../src/services/Kernel/abi/Errno.ts"
import { Kernel, type KernelShape, type SessionOptions } from "../../src/services/Kernel/Kernel.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import type { PlannedObject } from "../../src/stages/load/Plan.ts"
import * as LedgerKernel from "../support/LedgerKernel.ts"
import { runs } from "../support/Require.ts"
import * as Pipeline from "../unit/stages/Pipeline.ts"

/** Calls that take several attempts, as those of the live kernel may. */
const retries: NonNullable<LedgerKernel.LedgerOptions["retries"]> = (call) => {
  switch (call._tag) {
    case "ProgLoad":
      return [{ errno: "EAGAIN", because: "EAGAIN" }, { errno: "ENOSPC", because: "log of 131072 bytes" }]
    case "MapCreate":
      return call.inner === undefined ? [] : [{ errno: "EINTR", because: "EINTR" }]
    default:
      return []
  }
}

/** Executes in a scope of its own, marks the end, closes. */
const executed = (planned: PlannedObject, kernel: KernelShape, ledger: LedgerKernel.Ledger, options?: SessionOptions) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const exit = yield* Effect.exit(
      Execute.toLoaded(planned, options).pipe(Effect.provideService(Kernel, kernel), Scope.provide(scope))
    )
    ledger.mark("end")
    yield* Scope.close(scope, exit)
    return exit
  })

interface Injected {
  readonly exit: Exit.Exit<Execute.LoadedObject, Execute.ExecuteError>
  readonly ledger: LedgerKernel.Ledger
  readonly attempts: ReadonlyArray<KernelTraced.TracedAttempt>
}

/** One load with a fault at attempt `at`; `at` -1 is a load without any. */
const inject = (
  planned: PlannedObject,
  at: number,
  fault: KernelFaulty.Fault,
  options: LedgerKernel.LedgerOptions,
  prepare: (ledger: LedgerKernel.Ledger) => void = () => {}
): Injected => {
  const ledger = LedgerKernel.make({ byteOrder: planned.object.byteOrder, retries, ...options })
  prepare(ledger)
  return Effect.runSync(Effect.gen(function*() {
    const faulty = yield* KernelFaulty.make(ledger.kernel, at, fault)
    const traced = yield* KernelTraced.make(faulty)
    const exit = yield* executed(planned, traced.kernel, ledger)
    return { exit, ledger, attempts: yield* traced.attempts }
  }))
}

const struck = ({ attempts, exit }: Injected, fault: KernelFaulty.Fault): boolean =>
  fault._tag === "Answer"
    ? attempts.some(({ answer }) =>
      answer._tag === "Failure" && answer.failure._tag === "KernelError" &&
      answer.failure.subject === "an injected fault"
    )
    : Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)

/** Breaks of the law at every injection point, as text; and how many points there are. */
const breaks = (
  planned: PlannedObject,
  fault: KernelFaulty.Fault,
  options: LedgerKernel.LedgerOptions = {},
  prepare?: (ledger: LedgerKernel.Ledger) => void
): { readonly points: number; readonly found: ReadonlyArray<string> } => {
  const found: Array<string> = []
  for (let at = 0;; at++) {
    const injected = inject(planned, at, fault, options, prepare)
    for (const text of LedgerKernel.faults(injected.ledger, Exit.isSuccess(injected.exit))) {
      found.push(`${JSON.stringify(fault)} at attempt ${at}: ${text}`)
    }
    if (!struck(injected, fault)) return { points: at, found }
  }
}

const answer = (errno: Errno): KernelFaulty.Fault => ({ _tag: "Answer", errno })

const faults: ReadonlyArray<KernelFaulty.Fault> = [
  answer("EPERM"),
  answer("ENOMEM"),
  { _tag: "InterruptBefore" },
  { _tag: "InterruptAfter" }
]

const fixtures = Pipeline.plannedFixtures()

describe("law 7, one attempt after another", () => {
  it("has fixtures to hold for", () => {
    assert.isAbove(fixtures.length, 20)
  })

  for (const { name, planned } of fixtures) {
    it(`${name}: every fault at every attempt`, () => {
      const whole = inject(planned, -1, answer("EPERM"), {})
      assert.isTrue(Exit.isSuccess(whole.exit))
      for (const fault of faults) {
        const { found, points } = breaks(planned, fault)
        assert.deepStrictEqual(found, [])
        assert.strictEqual(points, whole.attempts.length, JSON.stringify(fault))
      }
    })
  }

  it("counts retries as attempts, numbered from 0, with their cause", () => {
    const planned = Pipeline.planned(Pipeline.opened("test_run.bpf.o"))
    const { attempts } = inject(planned, -1, answer("EPERM"), {})
    const loads = attempts.filter(({ call }) => call._tag === "ProgLoad")
    assert.strictEqual(loads.length, 15)
    assert.deepStrictEqual(loads.slice(0, 3).map(({ because, number }) => [number, because]), [
      [0, undefined],
      [1, "EAGAIN"],
      [2, "log of 131072 bytes"]
    ])
  })

  it("leaves a pin alone that was there before", () => {
    const planned = Pipeline.planned(Pipeline.opened("pinned_map.bpf.o"))
    const path = "/sys/fs/bpf/shared_counters"
    const prepare = (ledger: LedgerKernel.Ledger): void => {
      ledger.pinMap(path, { type: 1, keySize: 4, valueSize: 8, maxEntries: 8 })
    }
    for (const fault of faults) {
      assert.deepStrictEqual(breaks(planned, fault, {}, prepare).found, [])
      for (let at = 0; at < 8; at++) assert.isTrue(inject(planned, at, fault, {}, prepare).ledger.pins.has(path))
    }
  })

  it("keeps the pin of a load that succeeds", () => {
    const planned = Pipeline.planned(Pipeline.opened("pinned_map.bpf.o"))
    const { exit, ledger } = inject(planned, -1, answer("EPERM"), {})
    assert.isTrue(Exit.isSuccess(exit))
    assert.deepStrictEqual([...ledger.pins.keys()], ["/sys/fs/bpf/shared_counters"])
  })

  const mistakes: ReadonlyArray<readonly [LedgerKernel.Mistake, string]> = [
    ["forgets to register maps", "map_in_map.bpf.o"],
    ["acquires before the last attempt", "prog_array.bpf.o"],
    ["releases programs twice", "prog_array.bpf.o"],
    ["forgets to unpin", "pinned_map.bpf.o"]
  ]
  for (const [mistake, name] of mistakes) {
    it(`named fault: a kernel that ${mistake} breaks the law`, () => {
      const planned = Pipeline.planned(Pipeline.opened(name))
      const found = faults.flatMap((fault) => breaks(planned, fault, { mistake }).found)
      assert.isAbove(found.length, 0)
    })
  }
})

describe("law 7, several at once", () => {
  const several = fixtures.filter(({ planned }) => planned.object.programs.filter((each) => each.entry).length > 1)

  /** A load of which another fiber takes its leave at a chosen moment. */
  const leave = async (
    planned: PlannedObject,
    moment: { readonly when: "before" | "inside" | "after"; readonly at: number },
    concurrency: number,
    finishNext: (underWay: ReadonlyArray<string>) => number
  ): Promise<{ readonly faults: ReadonlyArray<string>; readonly left: boolean }> => {
    const load: { fiber?: Fiber.Fiber<unknown, unknown> } = {}
    let counted = 0
    let left = false
    const tick = (when: typeof moment.when): void => {
      if (when === moment.when && counted++ === moment.at) {
        left = true
        load.fiber?.interruptUnsafe()
      }
    }
    const ledger = LedgerKernel.make({
      byteOrder: planned.object.byteOrder,
      retries,
      concurrency,
      finishNext,
      onEnter: () => tick("inside")
    })
    const scope = Scope.makeUnsafe()
    const observer = {
      before: () => Effect.sync(() => tick("before")),
      after: () => Effect.sync(() => tick("after"))
    }
    const loading = Execute.toLoaded(planned, { observer }).pipe(
      Effect.provideService(Kernel, ledger.kernel),
      Scope.provide(scope)
    )
    // Begins at the next turn, when `fiber` is there to be interrupted.
    const fiber = Effect.runFork(Effect.andThen(Effect.yieldNow, loading))
    load.fiber = fiber
    const exit = await Effect.runPromise(Fiber.await(fiber))
    ledger.mark("end")
    await Effect.runPromise(Scope.close(scope, exit))
    return { faults: LedgerKernel.faults(ledger, Exit.isSuccess(exit)), left }
  }

  const moments = fc.record({
    when: fc.constantFrom("before" as const, "inside" as const, "after" as const),
    at: fc.nat(40)
  })

  it("an interruption from outside, at any moment of a concurrent load, leaves nothing behind", () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...several),
        moments,
        fc.integer({ min: 2, max: 8 }),
        fc.array(fc.nat(7), { minLength: 1, maxLength: 16 }),
        async ({ planned }, moment, concurrency, order) => {
          let turn = 0
          const outcome = await leave(planned, moment, concurrency, (underWay) =>
            (order[turn++ % order.length] ?? 0) % underWay.length)
          assert.deepStrictEqual(outcome.faults, [])
        }
      ),
      { numRuns: runs(400) }
    ))

  it("named fault: a kernel that acquires before the last attempt breaks the law here, too", async () => {
    const planned = Pipeline.planned(Pipeline.opened("prog_array.bpf.o"))
    let broken = 0
    for (let at = 0; at < 30; at++) {
      // An observer that fails leaves like an interruption between attempts would.
      const ledger = LedgerKernel.make({
        retries,
        concurrency: 3,
        finishNext: () => 0,
        mistake: "acquires before the last attempt"
      })
      let counted = 0
      const observer = {
        before: () => Effect.suspend(() => counted++ === at ? Effect.interrupt : Effect.void),
        after: () => Effect.void
      }
      const exit = await Effect.runPromise(executed(planned, ledger.kernel, ledger, { observer }))
      broken += LedgerKernel.faults(ledger, Exit.isSuccess(exit)).length
    }
    assert.isAbove(broken, 0)
  })

  it("the moments reach into the loads", async () => {
    const planned = Pipeline.planned(Pipeline.opened("test_run.bpf.o"))
    for (const when of ["before", "inside", "after"] as const) {
      for (const at of [0, 3, 6]) {
        assert.isTrue((await leave(planned, { when, at }, 3, (underWay) => underWay.length - 1)).left)
      }
    }
  })
})
