/**
 * Loads a program once more, differently: for another attach target, another attach type, with other flags.
 *
 * The clone has the original's instructions, types and maps. The original is left as it is, and need not be loaded; it must
 * have been planned, for else its instructions are not whole. Where libbpf's `bpf_program__clone` differs: a value of zero
 * that is given counts as given; kernel functions of modules are bound anew, so that it makes no difference whether the
 * object was loaded meanwhile; constants live as long as the clone, which libbpf does for the original alone; a program
 * that was left out is refused, where libbpf sends what the compiler left.
 *
 * Source: reference page `load`, section 13.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import type { Session } from "../../services/Kernel/Kernel.ts"
import { isProgFunction, type KernelCall, type ProgFunction, type ProgLoad } from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { Program } from "../open/BpfObject.ts"
import * as AttachTarget from "./AttachTarget.ts"
import * as Execute from "./Execute.ts"
import * as Explain from "./Explain.ts"
import { type LifecycleError, oneOf, refuse } from "./LifecycleError.ts"
import { calls, type LoadPlan, type Step } from "./LoadPlan.ts"
import * as Parts from "./Parts.ts"
import { isPlanError } from "./PlanError.ts"

/** What is different about a clone. Fields that are absent are the original's; zero is a value. */
export interface CloneOptions {
  /** At most 15 bytes reach the kernel. */
  readonly name?: string
  /** `BPF_F_*` */
  readonly flags?: number
  readonly ifindex?: number
  /** `LINUX_VERSION_CODE` */
  readonly kernelVersion?: number
  readonly expectedAttachType?: number
  /** The kernel function, tracepoint or hook, as behind the slash of a section's name; of a `freplace` program the function. */
  readonly attachTarget?: string
  /** The program of this session whose function `attachTarget` is. */
  readonly attachProgram?: Ref.ProgRef
  /** What the verifier is asked to say: bits 1 basic, 2 verbose, 4 statistics. */
  readonly logLevel?: number
}

/** A clone. It lives as long as the object, unless it is closed before: `session.call({ _tag: "Close", ref: program })`. */
export interface Cloned {
  readonly program: Ref.ProgRef
  /** The verifier's words, empty when they were not asked for. */
  readonly log: string
}

/** What the clone is for. Throws `PlanError`. */
const attachTo = (definition: Program, call: ProgLoad, options: CloneOptions): ProgLoad["attachTo"] => {
  const { attachProgram, attachTarget, expectedAttachType } = options
  const before: ProgFunction | undefined = call.attachTo !== undefined && isProgFunction(call.attachTo)
    ? call.attachTo
    : undefined
  const program = attachProgram ?? before?.program
  if (program !== undefined) {
    return { program, function: attachTarget ?? before?.function ?? definition.attachTarget ?? "" }
  }
  if (attachTarget === undefined && expectedAttachType === undefined) return call.attachTo
  const changed: Program = {
    ...definition,
    attachTarget: attachTarget ?? definition.attachTarget,
    expectedAttachType: expectedAttachType ?? definition.expectedAttachType
  }
  return AttachTarget.of(changed) ?? call.attachTo
}

/** The load of the clone in place of the original's. Throws `PlanError`. */
const loadOf = (definition: Program, call: ProgLoad, as: Ref.ProgRef, options: CloneOptions): ProgLoad => {
  const { attachTo: _, ...rest } = call
  const target = attachTo(definition, call, options)
  return {
    ...rest,
    as,
    attr: {
      ...call.attr,
      name: options.name ?? call.attr.name,
      flags: options.flags ?? call.attr.flags,
      ifindex: options.ifindex ?? call.attr.ifindex,
      kernelVersion: options.kernelVersion ?? call.attr.kernelVersion,
      expectedAttachType: options.expectedAttachType ?? call.attr.expectedAttachType
    },
    ...(target === undefined ? {} : { attachTo: target }),
    log: { level: options.logLevel ?? call.log.level }
  }
}

/** The steps of a program's load, without those that put it into slots or give it a name. */
const stepsFor = (
  steps: LoadPlan,
  change: (call: KernelCall) => KernelCall | undefined
): LoadPlan =>
  steps.flatMap((step): ReadonlyArray<Step> => {
    if (step._tag !== "Call") return []
    const call = change(step.call)
    const otherwise = step.otherwise.map((branch) => ({ ...branch, steps: stepsFor(branch.steps, change) }))
    return call === undefined ? [] : [{ ...step, call, otherwise }]
  })

/** The position of a program that the plan can load. */
const find = (prepared: Execute.PreparedObject, name: string): Result.Result<number, LifecycleError> => {
  const { object, plan } = prepared
  const position = object.programs.findIndex((program) => program.entry && program.name === name)
  if (position < 0) {
    const known = object.programs.filter(({ entry }) => entry).map((program) => program.name)
    return Result.fail(refuse("NoSuchProgram", name, "there is no such program", oneOf(known)))
  }
  return calls(plan).some((call) => call._tag === "ProgLoad" && call.as.index === position)
    ? Result.succeed(position)
    : Result.fail(
      refuse(
        "NotPlanned",
        name,
        "the plan left it out, so its instructions are not whole",
        "turn its autoload on before relocation"
      )
    )
}

/** The steps that make the clone. */
const planned = (
  { object, plan, session }: Execute.PreparedObject,
  position: number,
  as: Ref.ProgRef,
  options: CloneOptions
): Result.Result<LoadPlan, LifecycleError> => {
  const definition = object.programs[position]
  const own = Parts.of(object, plan).programs.filter(({ programs }) =>
    programs.length === 1 && programs[0] === position
  )
  const borrowed = Ref.key(Ref.prog(object.programs.length + position))
  const steps = Result.mapError(
    attempt(isPlanError, () =>
      stepsFor(own.map(({ step }) => step), (call) => {
        switch (call._tag) {
          case "ProgLoad":
            return definition === undefined ? undefined : loadOf(definition, call, as, options)
          case "ProgBindMap":
            return { ...call, prog: as }
          // The program of the user's that the original is for, fetched and let go of.
          case "Adopt":
          case "ObjGet":
          case "GetById":
            return options.attachProgram === undefined ? call : undefined
          case "Close":
            return options.attachProgram === undefined && Ref.key(call.ref) === borrowed ? call : undefined
          default:
            return undefined
        }
      })),
    (error) => refuse("AttachTarget", error.name, error.detail, error.hint)
  )
  return Result.flatMap(steps, (whole) => {
    for (const call of calls(whole)) {
      if (call._tag !== "ProgLoad" || call.attachTo === undefined || !isProgFunction(call.attachTo)) continue
      const target = object.programs[call.attachTo.program.index]
      if (target === undefined || session.exists(call.attachTo.program)) continue
      return Result.fail(refuse("NotLoaded", target.name, "the clone is for a function of it, and it is not loaded"))
    }
    return Result.succeed(whole)
  })
}

/** Loads a program of a prepared or loaded object once more. All or nothing, as every load. */
export const clone = (
  prepared: Execute.PreparedObject,
  name: string,
  options: CloneOptions = {}
): Effect.Effect<Cloned, Execute.ExecuteError | LifecycleError> =>
  prepared.changes.inTurn(Effect.gen(function*() {
    const { changes, object, relocated, session } = prepared
    const position = yield* Effect.fromResult(find(prepared, name))
    const as = changes.nextProg()
    const steps = yield* Effect.fromResult(planned(prepared, position, as, options))
    let log = ""
    const listening: Session = {
      ...session,
      call: (call) =>
        Effect.tap(session.call(call), (answer) =>
          Effect.sync(() => {
            if (call._tag === "ProgLoad") log = logIn(answer)
          }))
    }
    const explain = (error: Execute.ExecuteError): Execute.ExecuteError => {
      const load = calls(steps).find((call) => call._tag === "ProgLoad")
      return error._tag === "VerifierError" && relocated !== undefined && load !== undefined
        ? Explain.refusal(relocated, { ...load, as: Ref.prog(position) }, error)
        : error
    }
    const close = (ref: Ref.ProgRef): Effect.Effect<void> =>
      Effect.suspend(() => session.exists(ref) ? Effect.ignore(session.call({ _tag: "Close", ref })) : Effect.void)
    const borrowed = Ref.prog(object.programs.length + position)
    yield* Execute.run(listening, object, steps).pipe(
      Effect.mapError(explain),
      Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Effect.andThen(close(as), close(borrowed)))
    )
    return { program: session.stamp(as), log }
  }))

/** The log in the answer to a program's load. */
const logIn = (answer: unknown): string =>
  typeof answer === "object" && answer !== null && "log" in answer && typeof answer.log === "string" ? answer.log : ""
