/**
 * Loads an object in two halves: first its maps, then its programs, all of them or some, and later others. Programs can be
 * unloaded again while the maps live on.
 *
 * A value of `PreparedObject` has maps that can be used; one of `LoadedObject` has programs, too. Both are descriptions
 * of one session, which knows what is there: an operation on a value that time has overtaken is refused by name.
 *
 * Each operation is all or nothing: when a load fails or is interrupted, the programs that it had loaded are closed again,
 * and taken out of the slots that it had put them into; the object is prepared as before, and the load can be repeated.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { Kernel, type SessionOptions } from "../../services/Kernel/Kernel.ts"
import { isProgFunction, type MapUpdate } from "../../services/Kernel/KernelCall.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import * as Stage from "../Stage.ts"
import * as Execute from "./Execute.ts"
import { type LifecycleError, oneOf, refuse } from "./LifecycleError.ts"
import { calls, mainCalls } from "./LoadPlan.ts"
import * as Parts from "./Parts.ts"
import type { PlannedObject } from "./Plan.ts"

export type { LoadedObject, PreparedObject } from "./Execute.ts"
export { LifecycleError } from "./LifecycleError.ts"

/** Which programs an operation is about. */
export interface Choice {
  /** By name; absent: all that there are. */
  readonly only?: ReadonlyArray<string>
}

/**
 * Makes an object's maps in a session of its own, which lives as long as the surrounding scope, and loads no program.
 * Maps that are shared by their pins are pinned from here on.
 */
export const toPrepared = Effect.fnUntraced(function*(
  planned: PlannedObject,
  options?: SessionOptions
): Effect.fn.Return<Execute.PreparedObject, Execute.ExecuteError, Kernel | Scope.Scope> {
  const kernel = yield* Kernel
  const { object, plan, relocated } = planned
  const session = Execute.explaining(yield* kernel.session(options), relocated)
  yield* Execute.run(session, object, Parts.of(object, plan).before)
  yield* session.commit
  return Execute.inSession(planned, session)
})

/** The stage: prepares an object on the kernel that is provided. */
export const prepare = (
  options?: SessionOptions
): Stage.Stage<PlannedObject, Execute.PreparedObject, Execute.ExecuteError, Kernel | Scope.Scope> =>
  Stage.make("prepare", (planned) => toPrepared(planned, options))

/** Positions of the entry programs of these names, each once. */
const positionsOf = (
  object: BpfObject,
  names: ReadonlyArray<string>
): Result.Result<ReadonlyArray<number>, LifecycleError> =>
  Result.map(
    Result.all([...new Set(names)].map((name) => {
      const position = object.programs.findIndex((program) => program.entry && program.name === name)
      const known = object.programs.filter(({ entry }) => entry).map((program) => program.name)
      return position >= 0
        ? Result.succeed(position)
        : Result.fail(refuse("NoSuchProgram", name, "there is no such program", oneOf(known)))
    })),
    (positions) => [...positions].sort((one, other) => one - other)
  )

const nameOf = ({ object }: Execute.PreparedObject, position: number): string => object.programs[position]?.name ?? ""

const isLoaded = ({ session }: Execute.PreparedObject, position: number): boolean => session.exists(Ref.prog(position))

/** The programs that the plan can load. */
const planned = (steps: ReadonlyArray<Parts.ProgramStep>): ReadonlySet<number> =>
  new Set(
    steps.flatMap(({ programs, step }) => calls([step]).some(({ _tag }) => _tag === "ProgLoad") ? programs : [])
  )

const notPlanned = (name: string): LifecycleError =>
  refuse(
    "NotPlanned",
    name,
    "the plan left it out, so it was not relocated and cannot be loaded now",
    "turn its autoload on before relocation; with Prepare.setAutoload or `only`, a load can leave it out"
  )

/** The programs that a load is to take, or why it cannot. */
const wantedBy = (
  prepared: Execute.PreparedObject,
  steps: ReadonlyArray<Parts.ProgramStep>,
  { only }: Choice
): Result.Result<ReadonlySet<number>, LifecycleError> => {
  const { object } = prepared
  const known = planned(steps)
  if (only === undefined) {
    const all = [...known].filter((position) => object.programs[position]?.autoload === true)
    const left = all.filter((position) => !isLoaded(prepared, position))
    return all.length > 0 && left.length === 0
      ? Result.fail(refuse("AlreadyLoaded", object.name, "all of its programs are loaded"))
      : Result.succeed(new Set(left))
  }
  return Result.flatMap(positionsOf(object, only), (positions) => {
    for (const position of positions) {
      const name = nameOf(prepared, position)
      if (isLoaded(prepared, position)) {
        return Result.fail(refuse("AlreadyLoaded", name, "it is loaded already", "unload it first"))
      }
      if (!known.has(position)) return Result.fail(notPlanned(name))
    }
    return Result.succeed(new Set(positions))
  })
}

/** A program of the object that one of those wanted is for, and that is neither loaded nor wanted. */
const missingTarget = (
  prepared: Execute.PreparedObject,
  steps: ReadonlyArray<Parts.ProgramStep>,
  wanted: ReadonlySet<number>
): LifecycleError | undefined => {
  for (const { programs: [position = -1], step } of steps) {
    if (!wanted.has(position)) continue
    for (const call of calls([step])) {
      if (call._tag !== "ProgLoad" || call.attachTo === undefined || !isProgFunction(call.attachTo)) continue
      const target = call.attachTo.program.index
      if (target >= prepared.object.programs.length || wanted.has(target) || isLoaded(prepared, target)) continue
      return refuse(
        "NotLoaded",
        nameOf(prepared, target),
        `${nameOf(prepared, position)} is for a function of it, and it is not loaded`,
        `load ${nameOf(prepared, target)} too`
      )
    }
  }
  return undefined
}

/** The slots that the plan puts a program into. */
const slotsOf = (steps: ReadonlyArray<Parts.ProgramStep>, position: number): ReadonlyArray<MapUpdate> =>
  steps.filter(({ programs }) => programs.includes(position)).flatMap(({ step }) =>
    mainCalls([step]).flatMap((call) =>
      call._tag === "MapUpdate" && call.value.refs.some(({ to }) => to._tag === "Prog" && to.index === position)
        ? [call]
        : []
    )
  )

/** Takes a program out of a slot, unless something else stands there by now. */
const takeOut = Effect.fnUntraced(function*(
  { object, session }: Execute.PreparedObject,
  id: number,
  { key, map }: MapUpdate
): Effect.fn.Return<void, CallError> {
  if (!session.exists(map)) return
  const value = yield* session.call({ _tag: "MapLookup", map, key, valueSize: 4, flags: 0n })
  if (value === undefined || value.length < 4) return
  const found = new DataView(value.buffer, value.byteOffset, 4).getUint32(0, object.byteOrder === "little")
  if (found === id) yield* session.call({ _tag: "MapDelete", map, key })
})

/** Unloads one program. */
const unloadOne = Effect.fnUntraced(function*(
  prepared: Execute.PreparedObject,
  steps: ReadonlyArray<Parts.ProgramStep>,
  position: number
): Effect.fn.Return<void, CallError> {
  const { session } = prepared
  const prog = Ref.prog(position)
  const slots = slotsOf(steps, position)
  if (slots.length > 0) {
    const { id } = yield* session.call({ _tag: "ProgGetInfo", prog })
    for (const slot of slots) yield* takeOut(prepared, id, slot)
  }
  yield* session.call({ _tag: "Close", ref: prog })
})

/** Takes back what a load has done for these programs; what cannot be taken back goes with the session. */
const takeBack = (
  prepared: Execute.PreparedObject,
  steps: ReadonlyArray<Parts.ProgramStep>,
  positions: ReadonlySet<number>
): Effect.Effect<void> => {
  const { object, session } = prepared
  const one = (position: number): Effect.Effect<void> => {
    const borrowed = Ref.prog(object.programs.length + position)
    return Effect.all([
      isLoaded(prepared, position) ? Effect.ignore(unloadOne(prepared, steps, position)) : Effect.void,
      // The program of the user's that it was to be for.
      Effect.suspend(() =>
        session.exists(borrowed) ? Effect.ignore(session.call({ _tag: "Close", ref: borrowed })) : Effect.void
      )
    ], { discard: true })
  }
  return Effect.andThen(session.rollback, Effect.forEach([...positions].reverse(), one, { discard: true }))
}

/**
 * Loads programs of a prepared object: those named, or all with autoload that are not loaded yet. It may be called again
 * for others. Naming one that is loaded is `AlreadyLoaded`, as is a load of all when there is none left; naming one
 * that the plan has left out is `NotPlanned`. Programs are put into slots of program arrays when they are loaded.
 */
export const load = (
  prepared: Execute.PreparedObject,
  choice: Choice = {}
): Effect.Effect<Execute.LoadedObject, Execute.ExecuteError | LifecycleError> =>
  prepared.changes.inTurn(Effect.gen(function*() {
    const { object, plan, session } = prepared
    const steps = Parts.of(object, plan).programs
    const wanted = yield* Effect.fromResult(wantedBy(prepared, steps, choice))
    const missing = missingTarget(prepared, steps, wanted)
    if (missing !== undefined) return yield* missing
    const there = (position: number): boolean => wanted.has(position) || isLoaded(prepared, position)
    const now = steps.filter(({ programs }) => programs.some((each) => wanted.has(each)) && programs.every(there))
    yield* Execute.run(session, object, now.map(({ step }) => step)).pipe(
      Effect.onExit((exit) => Exit.isSuccess(exit) ? session.commit : takeBack(prepared, steps, wanted))
    )
    return Execute.withPrograms(prepared)
  }))

/**
 * Unloads programs: those named, or all. A program is first taken out of the slots that the load has put it into, as far
 * as it still stands there; then it lives on only where something else holds it: a pin, a link, a slot that the user
 * has filled. The maps stay. Naming one that is not loaded is `NotLoaded`.
 */
export function unload(
  loaded: Execute.LoadedObject
): Effect.Effect<Execute.PreparedObject, CallError | LifecycleError>
export function unload(
  loaded: Execute.LoadedObject,
  choice: Choice
): Effect.Effect<Execute.LoadedObject, CallError | LifecycleError>
export function unload(
  loaded: Execute.LoadedObject,
  choice: Choice = {}
): Effect.Effect<Execute.PreparedObject, CallError | LifecycleError> {
  const { object, plan } = loaded
  return loaded.changes.inTurn(Effect.gen(function*() {
    const named = choice.only === undefined ? undefined : yield* Effect.fromResult(positionsOf(object, choice.only))
    const all = [...object.programs.keys()].filter((position) => isLoaded(loaded, position))
    for (const position of named ?? []) {
      if (!isLoaded(loaded, position)) {
        return yield* refuse("NotLoaded", nameOf(loaded, position), "it is not loaded")
      }
    }
    const steps = Parts.of(object, plan).programs
    for (const position of [...named ?? all].reverse()) yield* unloadOne(loaded, steps, position)
    const { program: _, ...prepared } = loaded
    return named === undefined ? prepared : Execute.withPrograms(prepared)
  }))
}

/**
 * Says whether a load of all takes a program, after the object was prepared. One that the plan has left out cannot be
 * turned on any more: it was not relocated (libbpf would send it to the kernel as the compiler left it).
 */
export const setAutoload = <P extends Execute.PreparedObject>(
  prepared: P,
  name: string,
  autoload: boolean
): Result.Result<P, LifecycleError> =>
  Result.flatMap(positionsOf(prepared.object, [name]), ([position = -1]) => {
    const { object, plan } = prepared
    if (autoload && !planned(Parts.of(object, plan).programs).has(position)) return Result.fail(notPlanned(name))
    const programs = object.programs.map((program, at) => (at === position ? { ...program, autoload } : program))
    return Result.succeed({ ...prepared, object: { ...object, programs } })
  })
