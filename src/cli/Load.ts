/**
 * Loading as the commands do it: plan, the plan with what is to be pinned, execute, the verifier's words on request.
 */
import * as Effect from "effect/Effect"
import { Kernel, type KernelShape, type Session } from "../services/Kernel/Kernel.ts"
import type { VerifierError } from "../services/Kernel/KernelError.ts"
import type { BpfObject } from "../stages/open/BpfObject.ts"
import * as Execute from "../stages/load/Execute.ts"
import type { PlannedObject } from "../stages/load/Plan.ts"
import type { Measured } from "../diagnostics/Measure.ts"
import type { RelocateOptions } from "../stages/relocate/Relocate.ts"
import * as Stage from "../stages/Stage.ts"
import { type Assumed, assumedText, assuming } from "./Assuming.ts"
import * as KernelChoice from "./KernelChoice.ts"
import { message } from "./Output.ts"
import { planning } from "./Plan.ts"
import { line, span } from "./text/Text.ts"

/** How a load is carried out. */
export interface LoadOptions {
  /** The kernel's name, for messages. */
  readonly kernel: string
  /** Prints the verifier's log of every program on standard error. */
  readonly log: boolean
  /** What of the kernel is given in place of its own. */
  readonly relocate?: RelocateOptions
}

/** The log level that `--log` asks the verifier for: everything, statistics too. */
export const logLevel = (log: boolean): number => log ? 1 | 4 : 0

/** Prints the log of a program's load; the text is the kernel's own. */
const printLog = (program: string, log: string) =>
  log === "" ? Effect.void : message([
    line(span("heading", `verifier log of ${program}:`)),
    ...log.trimEnd().split("\n").map((text) => line(text))
  ])

/** The log in the answer to a program's load. */
const logIn = (answer: unknown): string =>
  typeof answer === "object" && answer !== null && "log" in answer && typeof answer.log === "string" ? answer.log : ""

/** The kernel, with the log of every program that it takes printed. */
const logging = Effect.gen(function*() {
  const kernel = yield* Kernel
  const context = yield* Effect.context<Effect.Services<ReturnType<typeof printLog>>>()
  const listening = (session: Session): Session => ({
    ...session,
    call: (call) =>
      call._tag !== "ProgLoad" ? session.call(call) : session.call(call).pipe(
        Effect.tap((answer) => Effect.provideContext(printLog(call.attr.name, logIn(answer)), context))
      )
  })
  return { ...kernel, session: (options) => Effect.map(kernel.session(options), listening) } satisfies KernelShape
})

/**
 * A load into a kernel, or for one that is known by a profile: then assumes what the profile does not know, and tells of it on standard error. A
 * running kernel is not guessed at.
 */
const withProfile = <A, E, R>(loading: Effect.Effect<A, E, R | Kernel>, isProfile: boolean) =>
  Effect.gen(function*() {
    if (!isProfile) return yield* loading
    const assumed: Array<Assumed> = []
    const kernel = assuming(yield* Kernel, assumed)
    const tell = Effect.suspend(() => message(assumedText(assumed).slice(1)))
    return yield* Effect.provideService(loading, Kernel, kernel).pipe(Effect.tap(tell), Effect.tapError(() => tell))
  })

const isVerifierError = (error: object): error is VerifierError => Reflect.get(error, "_tag") === "VerifierError"

/** With the log of each program printed. That of a refused one is the error's, in which what was made invalid is explained. */
const withLog = <A, E extends object, R>(loading: Effect.Effect<A, E, R | Kernel>) =>
  Effect.flatMap(logging, (kernel) => Effect.provideService(loading, Kernel, kernel)).pipe(
    Effect.tapError((error) => isVerifierError(error) ? printLog(error.program, error.log) : Effect.void)
  )

/** Plans for an object, and executes the plan as the stage does. */
const loading = <A, E extends object, R>(
  object: BpfObject,
  options: LoadOptions,
  executing: Stage.Stage<PlannedObject, A, E, R>
) => {
  const stages = Stage.pipeline(planning(options.relocate ?? {}), executing).run(object)
  return KernelChoice.explaining(options.kernel)(Effect.gen(function*() {
    const known = withProfile(stages, KernelChoice.isProfile(options.kernel))
    return yield* options.log ? withLog(known) : known
  }))
}

/** Loads an object; it lives as long as the scope. */
export const load = (object: BpfObject, options: LoadOptions) => loading(object, options, Execute.execute())

/**
 * Loads an object and does `work` with it before anything is committed: what was pinned until then stays if all of it
 * succeeds, and goes if any of it fails.
 */
export const loadFor = <A, E extends object, R>(
  object: BpfObject,
  options: LoadOptions,
  work: (loaded: Execute.LoadedObject) => Effect.Effect<A, E, R>
) =>
  loading(
    object,
    options,
    Stage.make("execute", (planned: PlannedObject) =>
      Effect.gen(function*() {
        const loaded = yield* Execute.uncommitted(planned)
        const result = yield* work(loaded)
        yield* loaded.session.commit
        return result
      }))
  )

/** The same, of a load that is measured: asks the verifier for what it counted. */
export const loadMeasured = <A, E extends object, R>(
  object: BpfObject,
  options: LoadOptions,
  work: (measured: Measured) => Effect.Effect<A, E, R>
) =>
  loading(
    object,
    options,
    Stage.make("execute", (planned: PlannedObject) =>
      Effect.gen(function*() {
        // Imported when it is wanted: most loads are not measured.
        const Measure = yield* Effect.promise(() => import("../diagnostics/Measure.ts"))
        const measured = yield* Measure.execute(planned)
        const result = yield* work(measured)
        yield* measured.loaded.session.commit
        return result
      }))
  )
