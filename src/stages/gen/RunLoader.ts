/**
 * Loads an object by its loader program: on a kernel that runs loaders, by running it; on one that does not (the simulated
 * kernel), by replaying it. What it makes is then in a session, as after a direct load.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Kernel, type Session, type SessionOptions } from "../../services/Kernel/Kernel.ts"
import type { CallError, KernelError } from "../../services/Kernel/KernelError.ts"
import type { Lent } from "../../services/Kernel/calls/LoaderCalls.ts"
import type { MapRef, ProgRef } from "../../services/Kernel/Ref.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { UnansweredError } from "../Asked.ts"
import * as AttachTarget from "../load/AttachTarget.ts"
import type * as Given from "../open/Given.ts"
import { type LoaderError, LoaderOptionsError } from "./LoaderError.ts"
import * as LoaderInputs from "./LoaderInputs.ts"
import type { LoaderProgram } from "./LoaderProgram.ts"
import * as LoaderRunner from "./LoaderRunner.ts"
import * as LoaderSymbols from "./LoaderSymbols.ts"
import * as Replay from "./Replay.ts"

export { LoaderError, LoaderOptionsError } from "./LoaderError.ts"
export type { MapOverride } from "./LoaderRunner.ts"

/** How a loader is run. */
export interface RunOptions extends SessionOptions {
  /** Changes to maps, by their names. A signed loader takes none. */
  readonly maps?: Readonly<Record<string, LoaderRunner.MapOverride>>
  /** How much the verifier is asked to say: bits 1, 2, 4. By default it is asked when the load has failed, by a second run. */
  readonly logLevel?: number
  /**
   * The programs that the loader's own are for (`freplace`), by the names of the loader's: as this process has them, or by
   * descriptor, pin or identifier.
   */
  readonly targets?: Readonly<Record<string, LoaderInputs.TargetProgram | Given.Given>>
  /**
   * The keyring with the certificate of the key that signed the loader; `"none"` runs a signed loader without its signature.
   * Default: the session keyring, -3. A kernel that only replays loaders looks at no signature.
   */
  readonly keyring?: number | "none"
}

/** Refs of programs that are lent to loaders: beyond those of any plan. */
const FIRST_LENT = 0x3000_0000

/** `KEY_SPEC_SESSION_KEYRING` */
const SESSION_KEYRING = -3

/** What a loader has loaded. It lives as long as the scope in which it ran. */
export interface LoaderObject {
  readonly loader: LoaderProgram
  /** The session that holds everything; calls on the maps and programs go through it. */
  readonly session: Session
  /** The map of this name; `undefined` where the loader hands none out. */
  readonly map: (name: string) => MapRef | undefined
  /** The program of this name; `undefined` where the loader hands none out. */
  readonly program: (name: string) => ProgRef | undefined
  /** The verifier's words, empty when they were not asked for. */
  readonly log: string
}

/** Why a loader could not be run. */
export type RunError =
  | CallError
  | LoaderError
  | LoaderOptionsError
  | LoaderInputs.LoaderInputError
  | UnansweredError
  | Replay.ReplayError

/** Changes by the numbers of the maps, which is how a loader knows them. */
const overrides = (
  loader: LoaderProgram,
  maps: RunOptions["maps"]
): Effect.Effect<ReadonlyMap<number, LoaderRunner.MapOverride>, LoaderOptionsError> =>
  Effect.suspend(() => {
    const byNumber = new Map<number, LoaderRunner.MapOverride>()
    for (const [name, override] of Object.entries(maps ?? {})) {
      const number = loader.maps.findIndex((map) => map.name === name)
      if (number < 0) {
        const known = loader.maps.map((map) => map.name).join(", ")
        return Effect.fail(
          new LoaderOptionsError({
            reason: "UnknownMap",
            map: name,
            detail: "the loader has no map of this name",
            hint: known === "" ? "it has none at all" : `its maps: ${known}`
          })
        )
      }
      byNumber.set(number, override)
    }
    return Effect.succeed(byNumber)
  })

/** What the loader is told of the machine, and how it is changed. */
const runnerOptions = Effect.fnUntraced(function*(
  loader: LoaderProgram,
  { keyring = SESSION_KEYRING, logLevel, maps, targets }: RunOptions
) {
  const changed = yield* overrides(loader, maps)
  const refused = LoaderRunner.complaint(loader, { maps: changed }, (yield* (yield* Kernel).info).byteOrder)
  if (refused !== undefined) return yield* refused
  const programs = new Map(
    loader.programs.flatMap(({ name }, number) => {
      const target = targets?.[name]
      return target === undefined ? [] : [[number, "_tag" in target ? "lent" as const : target] as const]
    })
  )
  const filled = yield* LoaderInputs.ask(loader, { programs })
  const all = new Map<number, LoaderRunner.MapOverride>(filled.maps)
  for (const [number, override] of changed) all.set(number, { ...all.get(number), ...override })
  const signature = loader.signed?.signature
  return {
    maps: all,
    words: filled.words,
    ...(logLevel === undefined ? {} : { logLevel }),
    ...(signature === undefined || keyring === "none" ? {} : { signature: { bytes: signature, keyring } })
  } satisfies LoaderRunner.RunnerOptions
})

/** Takes the programs that the loader's own are for into the session. */
const lend = Effect.fnUntraced(function*(
  session: Session,
  { inputs, programs }: LoaderProgram,
  targets: RunOptions["targets"]
): Effect.fn.Return<ReadonlyMap<number, Lent>, CallError> {
  const lent = new Map<number, Lent>()
  for (const input of inputs) {
    if (input._tag !== "Program") continue
    const target = targets?.[programs[input.program]?.name ?? ""]
    if (target === undefined || !("_tag" in target)) continue
    const program = Ref.prog(FIRST_LENT + input.program)
    yield* session.call(AttachTarget.take(program, target))
    lent.set(input.program, { at: input.contextOffset, program, function: input.function })
  }
  return lent
})

/** Makes the calls of a loader in its place. */
const replayed = Effect.fnUntraced(function*(
  session: Session,
  loader: LoaderProgram,
  { logLevel, maps, words }: LoaderRunner.RunnerOptions,
  lent: ReadonlyMap<number, Lent>
): Effect.fn.Return<LoaderRunner.Ran, RunError, Kernel> {
  const told = { ...(maps === undefined ? {} : { maps }), ...(words === undefined ? {} : { words }) }
  const { failure, maps: made, programs, retval } = yield* Replay.replay(loader, session, {
    ...told,
    find: yield* LoaderSymbols.of(loader, { ...told, programs: lent }),
    programs: lent,
    ...(logLevel === undefined ? {} : { logLevel })
  })
  if (retval === 0) return { maps: made, programs, log: "" }
  return yield* LoaderRunner.failure(retval, failure?.message ?? "")
})

/** Runs a loader in a session of its own, which lives as long as the surrounding scope. */
export const runLoader = Effect.fnUntraced(function*(
  loader: LoaderProgram,
  options: RunOptions = {}
): Effect.fn.Return<LoaderObject, RunError | KernelError, Kernel | Scope.Scope> {
  const kernel = yield* Kernel
  const runner = yield* runnerOptions(loader, options)
  const session = yield* kernel.session(options)
  const lent = yield* lend(session, loader, options.targets)
  const ran = kernel.loaders === "Replayed"
    ? yield* replayed(session, loader, runner, lent)
    : yield* LoaderRunner.run(session, loader, { ...runner, lends: [...lent.values()] })
  return {
    loader,
    session,
    map: (name) => ran.maps[loader.maps.findIndex((map) => map.name === name)],
    program: (name) => ran.programs[loader.programs.findIndex((program) => program.name === name)],
    log: ran.log
  }
})
