/**
 * The one place where a pure core turns a thrown failure of its own into a `Result`.
 *
 * Decoders read better when a failed check leaves at once, and unwinding is free on the path that succeeds. So inside
 * a module a core may throw its own tagged error; at the module's boundary `attempt` catches that error, and only that
 * one: anything else is a defect of ours and keeps flying.
 */
import * as Result from "effect/Result"

/** Runs `body`; a thrown error that `isError` recognises becomes the failure of the result, all others are rethrown. */
export const attempt = <A, E>(isError: (thrown: unknown) => thrown is E, body: () => A): Result.Result<A, E> => {
  try {
    return Result.succeed(body())
  } catch (thrown) {
    if (isError(thrown)) return Result.fail(thrown)
    throw thrown
  }
}
