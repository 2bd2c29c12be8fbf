/**
 * What commands find out about objects beside their results, for tools: `--sarif` and `--github`.
 *
 * Commands add diagnostics while they work; what they fail with is added by `reporting`. At the end all of it is told. Without
 * the flags nothing is gathered, and nothing of what tells it is loaded.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { About, Diagnostic } from "../diagnostics/Diagnostic.ts"
import type { BpfObject } from "../stages/open/BpfObject.ts"
import * as Output from "./Output.ts"
import { errorText, reportOf } from "./text/ErrorText.ts"
import { UsageError } from "./Usage.ts"

/** What a command has found so far. */
export interface Gathered {
  readonly diagnostics: Array<Diagnostic>
  /** The paths of objects as the command line names them, and what they are when they are open; the last one last. */
  readonly objects: Map<string, BpfObject | undefined>
}

/** What was asked for. */
export interface Wanted {
  readonly sarif: Option.Option<string>
  readonly github: boolean
}

/** Where diagnostics are gathered; `undefined` where nobody wants them. */
export const Gathering = Context.Reference<Gathered | undefined>("effect-bpf/cli/Findings", {
  defaultValue: () => undefined
})

// Imported when it is wanted.
const module = Effect.promise(() => import("./FindingsOutput.ts"))

/** Adds diagnostics, where somebody wants them. */
export const add = <E, R>(
  diagnostics: (about: About) => Effect.Effect<ReadonlyArray<Diagnostic>, E, R>
): Effect.Effect<void, E, R> =>
  Effect.gen(function*() {
    const gathered = yield* Gathering
    if (gathered === undefined) return
    const { aboutOf } = yield* module
    gathered.diagnostics.push(...yield* diagnostics(aboutOf(gathered)))
  })

/** Tells that what follows is about this object; again when it is open. */
export const about = (path: string, object?: BpfObject): Effect.Effect<void> =>
  Effect.map(Gathering, (gathered) => {
    gathered?.objects.delete(path)
    gathered?.objects.set(path, object)
  })

/** Adds what a command fails with. */
const fail = (error: object, gathered: Gathered): Effect.Effect<void> =>
  Effect.map(module, ({ ofFailure }) => {
    gathered.diagnostics.push(...ofFailure(error, gathered))
  })

/**
 * Runs a command's work, and tells what was found, whether it fails or not. That it cannot be told is a failure of its own
 * where the work has none.
 */
export const gathering = <A, E extends object, R>(work: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const outer = yield* Gathering
    // Within another command, what is found is that one's to tell.
    if (outer !== undefined) return yield* Effect.tapError(work, (error) => fail(error, outer))
    const wanted: Wanted = { sarif: yield* Output.SarifFlag, github: yield* Output.GithubFlag }
    if (Option.isNone(wanted.sarif) && !wanted.github) return yield* work
    if (Option.isSome(wanted.sarif) && wanted.sarif.value === "-" && (yield* Output.jsonMode) === "compact") {
      return yield* new UsageError({
        argument: "--sarif -",
        detail: "one document is printed, so --json does not go with it"
      })
    }
    const gathered: Gathered = { diagnostics: [], objects: new Map() }
    const { tell } = yield* module
    const tellFailure = (error: object) =>
      fail(error, gathered).pipe(
        Effect.andThen(tell(gathered, wanted, false)),
        Effect.catch((other) => Output.message(errorText(reportOf(other))))
      )
    return yield* Effect.provideService(
      work.pipe(Effect.tapError(tellFailure), Effect.tap(() => tell(gathered, wanted, true))),
      Gathering,
      gathered
    ).pipe(Effect.provideService(Output.ForRunner, wanted.github))
  })
