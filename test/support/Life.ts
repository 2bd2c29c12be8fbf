/**
 * The life of an object on a simulated kernel, operation after operation: prepared, loaded, cloned, pinned, opened from its
 * pins, unpinned, unloaded; and what the kernel has before and after each.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import type * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Simulated from "../../src/services/Kernel/simulated/Context.ts"
import * as Clone from "../../src/stages/load/Clone.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Pins from "../../src/stages/load/Pins.ts"
import type { PlannedObject } from "../../src/stages/load/Plan.ts"
import * as Prepare from "../../src/stages/load/Prepare.ts"
import * as Reopen from "../../src/stages/load/Reopen.ts"
import { planFixture } from "./LoadFixture.ts"

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
export interface Operation {
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

/** Whether an operation complains that all of it has happened already. */
const isDone = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.some((reason) =>
    reason._tag === "Fail" && reason.error instanceof Prepare.LifecycleError &&
    (reason.error.reason === "NotLoaded" || reason.error.reason === "AlreadyLoaded")
  )

export interface Life {
  /** Operations that failed. */
  readonly struck: ReadonlyArray<string>
  /** Breaks of the law, as text. */
  readonly found: ReadonlyArray<string>
}

/** A whole life on a kernel of which an attempt may fail: what fails is done once more. */
export const live = Effect.fnUntraced(function*(
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

/** A kernel in which nothing is. */
export const fresh = (): Simulated.Context => Result.getOrThrow(Simulated.make({}))
/** The plan of a fixture for such a kernel. */
export const planOf = (name: string): Promise<PlannedObject> =>
  Effect.runPromise(planFixture(name, { kernel: KernelSimulated.fromContext(fresh()).kernel }))
