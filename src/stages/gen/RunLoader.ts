/**
 * Loads an object by its loader program: on a kernel that runs loaders, by running it; on one that does not (the simulated
 * kernel), by replaying it. What it makes is then in a session, as after a direct load.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ProgSignature } from "../../services/Kernel/calls/LoaderCalls.ts"
import { Kernel, type Session, type SessionOptions } from "../../services/Kernel/Kernel.ts"
import type { CallError, KernelError } from "../../services/Kernel/KernelError.ts"
import type { MapRef, ProgRef } from "../../services/Kernel/Ref.ts"
import { LoaderError, LoaderOptionsError } from "./LoaderError.ts"
import type { LoaderProgram } from "./LoaderProgram.ts"
import * as LoaderRunner from "./LoaderRunner.ts"
import * as Replay from "./Replay.ts"

export { LoaderError, LoaderOptionsError } from "./LoaderError.ts"
export type { MapOverride } from "./LoaderRunner.ts"

/** How a loader is run. */
export interface RunOptions extends SessionOptions {
  /** Changes to maps, by their names. A signed loader takes none. */
  readonly maps?: Readonly<Record<string, LoaderRunner.MapOverride>>
  /** How much the verifier is asked to say: bits 1, 2, 4. By default it is asked when the load has failed, by a second run. */
  readonly logLevel?: number
  /** The signature over the loader, for kernels that want one; a kernel that only replays does not look at it. */
  readonly signature?: ProgSignature
}

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
export type RunError = CallError | LoaderError | LoaderOptionsError | Replay.ReplayError

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

/** Makes the calls of a loader in its place. */
const replayed = Effect.fnUntraced(function*(
  session: Session,
  loader: LoaderProgram,
  { logLevel, maps }: LoaderRunner.RunnerOptions
): Effect.fn.Return<LoaderRunner.Ran, RunError> {
  const { failure, maps: made, programs, retval } = yield* Replay.replay(loader, session, {
    ...(maps === undefined ? {} : { maps }),
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
  const { logLevel, maps, signature, ...sessionOptions } = options
  const runner: LoaderRunner.RunnerOptions = {
    maps: yield* overrides(loader, maps),
    ...(logLevel === undefined ? {} : { logLevel }),
    ...(signature === undefined ? {} : { signature })
  }
  const refused = LoaderRunner.complaint(loader, runner)
  if (refused !== undefined) return yield* refused
  const session = yield* kernel.session(sessionOptions)
  const ran = kernel.loaders === "Replayed"
    ? yield* replayed(session, loader, runner)
    : yield* LoaderRunner.run(session, loader, runner)
  return {
    loader,
    session,
    map: (name) => ran.maps[loader.maps.findIndex((map) => map.name === name)],
    program: (name) => ran.programs[loader.programs.findIndex((program) => program.name === name)],
    log: ran.log
  }
})
