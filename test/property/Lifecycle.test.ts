/**
 * Law 7 for every operation on an object's life: whatever attempt of it fails or is interrupted, what is all or nothing
 * leaves the kernel as it was, what is not can be repeated, and in the end nothing is left.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Simulated from "../../src/services/Kernel/simulated/Context.ts"
import * as Clone from "../../src/stages/load/Clone.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Pins from "../../src/stages/load/Pins.ts"
import type { PlannedObject } from "../../src/stages/load/Plan.ts"
import * as Prepare from "../../src/stages/load/Prepare.ts"
import * as Reopen from "../../src/stages/load/Reopen.ts"
import * as LedgerKernel from "../support/LedgerKernel.ts"
import { planFixture } from "../support/LoadFixture.ts"
import * as Pipeline from "../unit/stages/Pipeline.ts"

const folder = "/sys/fs/bpf/pins"

/** What there is in a kernel, and how often it is referred to. Identifiers are not part of it: they only ever grow. */
const stateOf = ({ folders, objects, pins }: Simulated.Context): ReadonlyArray<string> =>
  [
    ...[...objects.Map.values(), ...objects.Prog.values()].map(({ _tag, name, references, users }) =>
      `${_tag} ${name}: ${references} references, ${users} of users`
    ),
    `${objects.Btf.size} types`,
    ...[...pins].map(([path, object]) => `${path}: ${object._tag}`),
    ...folders
  ].sort()

/** What an operation leaves behind when it fails. */
type Failing = "as it was" | "to be repeated"

/** An operation on an object that goes on living; what it answers does not matter. */
interface Operation {
  readonly name: string
  readonly failing: Failing
  readonly run: (object: Execute.LoadedObject) => Effect.Effect<unknown, unknown, Kernel>
}

const operationsOn = ({ object, relocated }: PlannedObject): ReadonlyArray<Operation> => {
  const names = relocated.programs.map(({ program }) => object.programs[program]?.name ?? "")
  const first = names.slice(0, 1)
  let clone: Ref.ProgRef | undefined
  return [
    { name: "load of one", failing: "as it was", run: (loaded) => Prepare.load(loaded, { only: first }) },
    {
      name: "clone",
      failing: "as it was",
      run: (loaded) =>
        Effect.forEach(
          first,
          (name) =>
            Effect.tap(Clone.clone(loaded, name, { name: "clone" }), ({ program }) =>
              Effect.sync(() => {
                clone = program
              }))
        )
    },
    {
      name: "close of the clone",
      failing: "to be repeated",
      run: ({ session }) =>
        clone !== undefined && session.exists(clone) ? session.call({ _tag: "Close", ref: clone }) : Effect.void
    },
    ...(names.length > 1
      ? [{ name: "load of the rest", failing: "as it was", run: (loaded) => Prepare.load(loaded) } satisfies Operation]
      : []),
    { name: "pin", failing: "as it was", run: (loaded) => Pins.pin(loaded, folder) },
    { name: "unpin", failing: "to be repeated", run: (loaded) => Pins.unpin(loaded, folder) },
    { name: "unload of one", failing: "to be repeated", run: (loaded) => Prepare.unload(loaded, { only: first }) },
    { name: "load again", failing: "as it was", run: (loaded) => Prepare.load(loaded, { only: first }) },
    { name: "pin of maps", failing: "as it was", run: (loaded) => Pins.pinMaps(loaded, folder) },
    { name: "pin of programs", failing: "as it was", run: (loaded) => Pins.pinPrograms(loaded, folder) },
    { name: "reopen", failing: "as it was", run: () => Effect.scoped(Reopen.reopen(object, folder)) },
    { name: "unpin of programs", failing: "to be repeated", run: (loaded) => Pins.unpinPrograms(loaded, folder) },
    { name: "unpin of maps", failing: "to be repeated", run: (loaded) => Pins.unpinMaps(loaded, folder) },
    { name: "unpin of shared maps", failing: "to be repeated", run: (loaded) => Pins.unpinShared(loaded) },
    { name: "unload", failing: "to be repeated", run: (loaded) => Prepare.unload(loaded) }
  ]
}

/** Which programs the operation would complain about when all of it has happened already. */
const isDone = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.some((reason) =>
    reason._tag === "Fail" && reason.error instanceof Prepare.LifecycleError &&
    (reason.error.reason === "NotLoaded" || reason.error.reason === "AlreadyLoaded")
  )

interface Life {
  /** Operations that failed. */
  readonly struck: ReadonlyArray<string>
  /** Breaks of the law, as text. */
  readonly found: ReadonlyArray<string>
}

/** A whole life on a kernel of which an attempt may fail: what fails is done once more. */
const live = Effect.fnUntraced(function*(
  planned: PlannedObject,
  context: Simulated.Context,
  kernel: KernelShape,
  operationsOf: (planned: PlannedObject) => ReadonlyArray<Operation> = operationsOn
): Effect.fn.Return<Life> {
  const struck: Array<string> = []
  const found: Array<string> = []
  const compare = (name: string, before: ReadonlyArray<string>, after: ReadonlyArray<string>): void => {
    if (before.join("\n") !== after.join("\n")) {
      found.push(`${name}:\n${before.join("\n")}\nbecame\n${after.join("\n")}`)
    }
  }
  const withKernel = Effect.provideService(Kernel, kernel)
  const empty = stateOf(context)
  const prepare = Effect.gen(function*() {
    const scope = yield* Scope.make()
    const exit = yield* Effect.exit(Prepare.toPrepared(planned).pipe(withKernel, Scope.provide(scope)))
    if (Exit.isFailure(exit)) yield* Scope.close(scope, exit)
    return { scope, exit }
  })
  let { exit, scope } = yield* prepare
  if (Exit.isFailure(exit)) {
    struck.push("prepare")
    compare("prepare", empty, stateOf(context))
    ;({ exit, scope } = yield* prepare)
    if (Exit.isFailure(exit)) return { struck, found: [...found, "prepare failed twice"] }
  }
  const loaded = Execute.withPrograms(exit.value)
  for (const { failing, name, run } of operationsOf(planned)) {
    const before = stateOf(context)
    const once = yield* Effect.exit(run(loaded).pipe(withKernel))
    if (Exit.isSuccess(once)) continue
    struck.push(name)
    if (failing === "as it was") compare(name, before, stateOf(context))
    const again = yield* Effect.exit(run(loaded).pipe(withKernel))
    if (Exit.isFailure(again) && !isDone(again)) found.push(`${name} failed twice: ${String(again.cause)}`)
  }
  yield* Scope.close(scope, Exit.void)
  // The folder that was made for the pins stays.
  compare("the end", empty, stateOf(context).filter((line) => line !== folder))
  return { struck, found }
})

const faults: ReadonlyArray<KernelFaulty.Fault> = [
  { _tag: "Answer", errno: "EPERM" },
  { _tag: "InterruptBefore" },
  { _tag: "InterruptAfter" }
]

const fresh = (): Simulated.Context => Result.getOrThrow(Simulated.make({}))
const planOf = (name: string): Promise<PlannedObject> =>
  Effect.runPromise(planFixture(name, { kernel: KernelSimulated.fromContext(fresh()).kernel }))

describe("law 7, operation after operation", () => {
  for (
    const name of ["prog_array.bpf.o", "global_data.bpf.o", "map_in_map.bpf.o", "pinned_map.bpf.o"]
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
