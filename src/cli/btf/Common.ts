/** What the commands about types share. */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import type * as Result from "effect/Result"
import * as BtfInput from "../BtfInput.ts"
import { InFile } from "../Failure.ts"
import * as Progress from "../Progress.ts"

/** The file that a command is about. */
export const file = Argument.String("file").pipe(Argument.withDescription(`The types: ${BtfInput.fileDescription}`))

/** `--output`: the file that is written. */
export const output = Flag.String("output").pipe(
  Flag.withAlias("o"),
  Flag.withMetavar("FILE"),
  Flag.withDescription("Where the result is written; a file that is there is replaced as a whole, when all is done")
)

/** Runs the pure part of a command, with the file in its errors. */
export const within = <A, E extends object>(path: string, work: () => Result.Result<A, E>): Effect.Effect<A, InFile> =>
  Effect.suspend(() => Effect.mapError(Effect.fromResult(work()), (cause) => new InFile({ path, cause })))

/** Says what is being done for as long as it takes. */
export const during = <A, E, R>(text: string, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const progress = yield* Progress.make
    yield* progress.say(text)
    return yield* Effect.ensuring(effect, progress.clear)
  })
