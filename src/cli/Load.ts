/**
 * Loading as the commands do it: plan, the plan with what is to be pinned, execute, the verifier's words on request.
 */
import * as Effect from "effect/Effect"
import { Kernel, type KernelShape, type Session } from "../services/Kernel/Kernel.ts"
import type { BpfObject } from "../stages/open/BpfObject.ts"
import { execute } from "../stages/load/Execute.ts"
import type { LoadPlan } from "../stages/load/LoadPlan.ts"
import type { PlannedObject } from "../stages/load/Plan.ts"
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
  /** Steps behind the object's own: all of a load is committed, or nothing. */
  readonly more?: LoadPlan
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
 * For a kernel that is known by a profile: assumes what the profile does not know, and tells of it on standard error. A
 * running kernel is not guessed at.
 */
const withProfile = <A, E, R>(loading: Effect.Effect<A, E, R | Kernel>) =>
  Effect.gen(function*() {
    const assumed: Array<Assumed> = []
    const kernel = assuming(yield* Kernel, assumed)
    const tell = Effect.suspend(() => message(assumedText(assumed).slice(1)))
    return yield* Effect.provideService(loading, Kernel, kernel).pipe(Effect.tap(tell), Effect.tapError(() => tell))
  })

/** Loads an object; it lives as long as the scope. */
export const load = Effect.fnUntraced(function*(object: BpfObject, options: LoadOptions) {
  const pins = Stage.map("pins", (planned: PlannedObject) => ({
    ...planned,
    plan: [...planned.plan, ...(options.more ?? [])]
  }))
  const stages = Stage.pipeline(planning(options.relocate ?? {}), pins, execute()).run(object)
  const loading = KernelChoice.isProfile(options.kernel) ? withProfile(stages) : stages
  // The log of a refused program is the error's, in which instructions that were made invalid are explained.
  const observed = options.log
    ? Effect.flatMap(logging, (kernel) => Effect.provideService(loading, Kernel, kernel)).pipe(
      Effect.tapError((error) => error._tag === "VerifierError" ? printLog(error.program, error.log) : Effect.void)
    )
    : loading
  return yield* KernelChoice.explaining(options.kernel)(observed)
})
