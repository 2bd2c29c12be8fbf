/**
 * Carries a load plan out through the Kernel service.
 *
 * The session that it opens belongs to the surrounding scope: when the scope closes, or when anything fails or is
 * interrupted on the way, everything that the load acquired is released in reverse order.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { Kernel, type Session, type SessionOptions } from "../../services/Kernel/Kernel.ts"
import { footprint } from "../../services/Kernel/KernelCall.ts"
import { type CallError, KernelError } from "../../services/Kernel/KernelError.ts"
import type { MapRef, ProgRef } from "../../services/Kernel/Ref.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import { type BpfObject, findMap } from "../open/BpfObject.ts"
import * as Given from "../open/Given.ts"
import type { RelocatedObject } from "../relocate/RelocatedObject.ts"
import * as Stage from "../Stage.ts"
import * as Changes from "./Changes.ts"
import * as Explain from "./Explain.ts"
import type { CallStep, EnsureStep, LoadPlan, Step } from "./LoadPlan.ts"
import { differences, PinnedMapError, ReplacedMapError } from "./PinnedMap.ts"
import type { PlannedObject } from "./Plan.ts"
import * as MapRefusal from "./MapRefusal.ts"
import * as Schedule from "./Schedule.ts"
import type { Variable } from "./StructOps.ts"

/** An object whose maps are there, and whose programs need not be. It lives as long as the scope in which it was prepared. */
export interface PreparedObject {
  readonly object: BpfObject
  readonly plan: LoadPlan
  /** The session that holds everything; calls on the object's maps and programs go through it. */
  readonly session: Session
  /** What its instructions stand for, where they are known: an object that was reopened has none. */
  readonly relocated?: RelocatedObject
  /** The structs that the object implements, by the position of their maps; absent where no plan of the kernel's tells. */
  readonly structOps?: ReadonlyMap<number, Variable>
  /** What the operations on this object share. */
  readonly changes: Changes.Changes
  /** The map of this name, by the rules of `findMap`; `undefined` where the load did not create it. */
  readonly map: (name: string) => MapRef | undefined
}

/** An object that is loaded. It lives as long as the scope in which it was executed. */
export interface LoadedObject extends PreparedObject {
  /** The program of this name; `undefined` where the load did not load it. */
  readonly program: (name: string) => ProgRef | undefined
}

/** Why a plan could not be carried out. */
export type ExecuteError = CallError | PinnedMapError | ReplacedMapError

/** Whether an error is the kernel's answer to a call, which a plan may have foreseen. */
const errnoOf = (error: ExecuteError): string | undefined =>
  error._tag === "KernelError" || error._tag === "VerifierError" ? error.errno : undefined

/** One execution of a plan. */
interface Run {
  readonly session: Session
  readonly object: BpfObject
}

/** The session, with errors about instructions that were made invalid explained. */
export const explaining = (session: Session, relocated: RelocatedObject): Session => ({
  ...session,
  call: (call) =>
    call._tag !== "ProgLoad" && call._tag !== "ProgTestRun"
      ? session.call(call)
      : Effect.mapError(session.call(call), (error) => {
        if (call._tag === "ProgLoad") {
          return error._tag === "VerifierError"
            ? Explain.refusal(relocated, call, error)
            : error._tag === "KernelError"
            ? Explain.named(relocated, call, error)
            : error
        }
        return error._tag === "ProgramFault" ? Explain.fault(relocated, call, error) : error
      })
})

const nameOf = ({ object }: Run, step: EnsureStep): string => object.maps[step.map.index]?.name ?? Ref.key(step.map)

/** Whether the map that a call has opened is what it must be. */
const checkShape = Effect.fnUntraced(function*(run: Run, { call, mustEqual }: CallStep) {
  const { defines } = footprint(call)
  if (mustEqual === undefined || defines?._tag !== "Map") return
  const info = yield* run.session.call({ _tag: "MapGetInfo", map: defines })
  const differing = differences(mustEqual, info)
  if (differing.length === 0) return
  const definition = run.object.maps[defines.index]
  const handle = definition?.replacedBy === undefined ? Ref.key(defines) : Given.describe(definition.replacedBy)
  return yield* new ReplacedMapError({ map: definition?.name ?? Ref.key(defines), handle, differences: differing })
})

/** What a plan fails with: a map is refused for an attribute, which the kernel does not name. */
const refusal = (run: Run, { call }: CallStep, error: ExecuteError): Effect.Effect<never, ExecuteError> =>
  call._tag === "MapCreate" && error._tag === "KernelError"
    ? Effect.flatMap(MapRefusal.explained(run.session, call, error), Effect.fail)
    : Effect.fail(error)

const runCall = (run: Run, step: CallStep): Effect.Effect<void, ExecuteError> =>
  Effect.catch(Effect.andThen(run.session.call(step.call), checkShape(run, step)), (error: ExecuteError) => {
    const errno = errnoOf(error)
    if (errno === undefined) {
      // A kernel that cannot do this at all has not refused it, so no branch is for that; but what is optional can be missed.
      return error._tag === "UnsupportedCall" && !step.required
        ? Effect.logDebug(`${step.why} was optional: ${error.message}`)
        : Effect.fail(error)
    }
    const branch = step.otherwise.find(({ on }) => on === "any" || on.some((each) => each === errno))
    if (branch !== undefined) return runInOrder(run, branch.steps)
    return step.required
      ? refusal(run, step, error)
      : Effect.logDebug(`${step.why} failed and was optional: ${error.message}`)
  })

/** Uses the pinned map when there is one, else makes and pins one; a pin that appears in between is used after all. */
const runEnsure = (run: Run, step: EnsureStep, retry: boolean): Effect.Effect<void, ExecuteError> =>
  Effect.catch(
    Effect.gen(function*() {
      yield* Effect.catchIf(
        run.session.call({ _tag: "ObjGet", as: step.map, path: step.pinnedAt }),
        (error) => error._tag === "RefError" && error.reason === "WrongKind",
        () =>
          Effect.fail(
            new PinnedMapError({
              map: nameOf(run, step),
              path: step.pinnedAt,
              differences: ["it is no map: a program or a link is pinned there"]
            })
          )
      )
      const info = yield* run.session.call({ _tag: "MapGetInfo", map: step.map })
      const differing = differences(step.mustEqual, info)
      if (differing.length > 0) {
        return yield* new PinnedMapError({ map: nameOf(run, step), path: step.pinnedAt, differences: differing })
      }
    }),
    (error: ExecuteError) => {
      if (error._tag !== "KernelError" || error.call !== "ObjGet" || error.errno !== "ENOENT") return Effect.fail(error)
      return Effect.catch(
        runInOrder(run, step.otherwise),
        (failed: ExecuteError) =>
          retry && failed instanceof KernelError && failed.call === "ObjPin" && failed.errno === "EEXIST"
            ? Effect.andThen(run.session.call({ _tag: "Close", ref: step.map }), runEnsure(run, step, false))
            : Effect.fail(failed)
      )
    }
  )

const runStep = (run: Run, step: Step): Effect.Effect<void, ExecuteError> =>
  step._tag === "Call" ? runCall(run, step) : runEnsure(run, step, true)

const runInOrder = (run: Run, plan: LoadPlan): Effect.Effect<void, ExecuteError> =>
  Effect.forEach(plan, (step) => runStep(run, step), { discard: true })

/**
 * Runs steps that do not depend on each other at the same time. When one fails, those under way end, those that are
 * listed before it are done as well, and no other is begun: so the failure that is listed first is the plan's, the same
 * as in listed order, whatever was faster.
 */
const runConcurrently = (run: Run, plan: LoadPlan): Effect.Effect<void, ExecuteError> =>
  Effect.suspend(() => {
    const agenda = Schedule.agenda(plan)
    let running = 0
    let first: { readonly position: number; readonly exit: Exit.Failure<void, ExecuteError> } | undefined
    const idle: Array<() => void> = []
    /** Until another worker has finished a step. */
    const pause = Effect.callback<void>((resume) => {
      idle.push(() => resume(Effect.void))
    })
    const wakeAll = (): void => {
      for (const wake of idle.splice(0)) wake()
    }
    const worker: Effect.Effect<void> = Effect.gen(function*() {
      for (;;) {
        const position = agenda.take()
        const step = position === undefined ? undefined : plan[position]
        if (position === undefined || step === undefined) {
          if (running === 0) return wakeAll()
          yield* pause
          continue
        }
        running++
        const exit = yield* Effect.exit(runStep(run, step))
        running--
        if (Exit.isFailure(exit)) {
          agenda.limitTo(position)
          if (first === undefined || position < first.position) first = { position, exit }
        } else agenda.finish(position)
        wakeAll()
      }
    })
    const workers = Array.from({ length: Math.min(run.session.concurrency, plan.length) }, () => worker)
    return Effect.andThen(
      Effect.all(workers, { concurrency: "unbounded", discard: true }),
      Effect.suspend(() => first === undefined ? Effect.void : first.exit)
    )
  })

/** Carries steps out in a session, those that do not depend on each other at the same time where the session allows it. */
export const run = (session: Session, object: BpfObject, plan: LoadPlan): Effect.Effect<void, ExecuteError> =>
  session.concurrency > 1 ? runConcurrently({ session, object }, plan) : runInOrder({ session, object }, plan)

/** An object in the session in which its maps are. */
export const inSession = (
  { object, plan, relocated, structOps }: Pick<PreparedObject, "object" | "plan" | "relocated" | "structOps">,
  session: Session
): PreparedObject => ({
  object,
  plan,
  session,
  ...(relocated === undefined ? {} : { relocated }),
  ...(structOps === undefined ? {} : { structOps }),
  changes: Changes.make(),
  map: (name) => {
    const position = object.maps.findIndex((map) => map === findMap(object, name))
    const ref = session.stamp(Ref.map(position))
    return position >= 0 && session.exists(ref) ? ref : undefined
  }
})

/** The object with its programs, as far as they are loaded. */
export const withPrograms = (prepared: PreparedObject): LoadedObject => ({
  ...prepared,
  program: (name) => {
    const position = prepared.object.programs.findIndex((program) => program.entry && program.name === name)
    const ref = prepared.session.stamp(Ref.prog(position))
    return position >= 0 && prepared.session.exists(ref) ? ref : undefined
  }
})

/**
 * Executes a plan in a session of its own, and leaves it to the caller to commit: until then the pins that the load made go
 * with the scope, as everything else does.
 */
export const uncommitted = Effect.fnUntraced(function*(
  planned: PlannedObject,
  options?: SessionOptions
): Effect.fn.Return<LoadedObject, ExecuteError, Kernel | Scope.Scope> {
  const kernel = yield* Kernel
  const { object, plan, relocated } = planned
  const session = explaining(yield* kernel.session(options), relocated)
  yield* run(session, object, plan)
  return withPrograms(inSession(planned, session))
})

/** Executes a plan in a session of its own, which lives as long as the surrounding scope. */
export const toLoaded = Effect.fnUntraced(function*(
  planned: PlannedObject,
  options?: SessionOptions
): Effect.fn.Return<LoadedObject, ExecuteError, Kernel | Scope.Scope> {
  const loaded = yield* uncommitted(planned, options)
  yield* loaded.session.commit
  return loaded
})

/** The stage: executes a plan on the kernel that is provided. */
export const execute = (
  options?: SessionOptions
): Stage.Stage<PlannedObject, LoadedObject, ExecuteError, Kernel | Scope.Scope> =>
  Stage.make("execute", (planned) => toLoaded(planned, options))
