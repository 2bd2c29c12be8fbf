/**
 * Loads that are measured: what each program costs the verifier and the kernel.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Budget from "./Budget.ts"
import { Kernel, type KernelShape, type Session } from "../services/Kernel/Kernel.ts"
import type { KernelCall, ProgInfo, ProgLoad } from "../services/Kernel/KernelCall.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import * as Ref from "../services/Kernel/Ref.ts"
import type { BpfObject } from "../stages/open/BpfObject.ts"
import { type ExecuteError, type LoadedObject, uncommitted } from "../stages/load/Execute.ts"
import type { PlannedObject } from "../stages/load/Plan.ts"

/** The bit of a log's level that asks for statistics, which costs next to nothing. */
const STATISTICS = 4

/** An object that is loaded and not committed, and what its programs cost. */
export interface Measured {
  readonly loaded: LoadedObject
  /** Of each program that was loaded, in the object's order. */
  readonly measurements: ReadonlyArray<Budget.Measurement>
  /** Where they are from: what `Budget.compare` and `Budget.update` want to know. */
  readonly origin: Budget.Origin
}

/** A load of a program, and what the verifier said. */
interface Load {
  readonly call: ProgLoad
  readonly log: string
}

/** Whether a kernel that was asked for statistics may have refused those: it says nothing of the program. */
const mayBeTheLog = (error: CallError): boolean =>
  (error._tag === "VerifierError" && error.errno === "EINVAL" && error.log === "") ||
  (error._tag === "KernelError" && error.errno === "EINVAL")

/** Whether a log of statistics alone is what a refusal has: the kernel writes nothing of the instructions then. */
const isBare = (call: ProgLoad, error: CallError): boolean =>
  error._tag === "VerifierError" && (call.log.level & 3) === 0

/** The call with statistics asked for, where it loads a program. */
const asking = <C extends KernelCall>(call: C): C =>
  call._tag === "ProgLoad" ? { ...call, log: { level: call.log.level | STATISTICS } } : call

/** The session, which asks for statistics of each program and keeps them; of kernels before 5.2, which have none, nothing. */
const listening = (session: Session, loads: Map<string, Load>): Session => ({
  ...session,
  call: (call) => {
    if (call._tag !== "ProgLoad") return session.call(call)
    const asked = Effect.catchIf(
      session.call(asking(call)),
      (error) => (call.log.level & STATISTICS) === 0 && (mayBeTheLog(error) || isBare(call, error)),
      () => session.call(call)
    )
    return Effect.tap(asked, (answer) => Effect.sync(() => loads.set(Ref.key(call.as), { call, log: logIn(answer) })))
  }
})

/** The log in the answer to a program's load. */
const logIn = (answer: unknown): string =>
  typeof answer === "object" && answer !== null && "log" in answer && typeof answer.log === "string" ? answer.log : ""

/** Names are unique, but for static programs of one name in several sections. */
const nameOf = ({ programs }: BpfObject, position: number): string => {
  const { name = Ref.key(Ref.prog(position)), section = "" } = programs[position] ?? {}
  const first = programs.findIndex((program) => program.entry && program.name === name)
  return first === position || first < 0 ? name : `${name} (${section})`
}

/**
 * Executes a plan and measures its programs. As with `Execute.uncommitted` the caller commits, when it has seen what the
 * programs cost; everything goes with the scope.
 */
export const execute = Effect.fnUntraced(function*(
  planned: PlannedObject
): Effect.fn.Return<Measured, ExecuteError, Kernel | Scope.Scope> {
  const kernel = yield* Kernel
  const { release } = yield* kernel.info
  const loads = new Map<string, Load>()
  const measuring: KernelShape = {
    ...kernel,
    session: (options) => Effect.map(kernel.session(options), (session) => listening(session, loads))
  }
  const loaded = yield* Effect.provideService(uncommitted(planned), Kernel, measuring)
  const { programs } = planned.object
  const measurements: Array<Budget.Measurement> = []
  for (const [position] of programs.entries()) {
    const ref = Ref.prog(position)
    const load = loads.get(Ref.key(ref))
    if (load === undefined || !loaded.session.exists(loaded.session.stamp(ref))) continue
    // What the kernel does not tell of a program is not measured, and no failure.
    const info: ProgInfo | undefined = yield* Effect.orElseSucceed(
      loaded.session.call({ _tag: "ProgGetInfo", prog: ref }),
      () => undefined
    )
    measurements.push(Budget.measure({
      name: nameOf(planned.object, position),
      insns: load.call.code.insns,
      log: load.log,
      ...(info === undefined ? {} : { info })
    }))
  }
  const names = programs.flatMap(({ entry }, position) => entry ? [nameOf(planned.object, position)] : [])
  return { loaded, measurements, origin: { kernel: release === "" ? undefined : release, programs: names } }
})
