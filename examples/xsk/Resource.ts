/** Things that are made of several steps, each of which is taken back when a later one fails. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { isXskError, type XskError } from "./XskError.ts"

/** What takes back the steps that were taken, in their order. */
export type Undo = Array<() => void>

/** Takes all of it back, last first. */
export const takeBack = (undo: Undo): void => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) step()
}

/**
 * Makes something until the scope closes. `body` pushes what takes each of its steps back; it throws an `XskError` where one fails,
 * and then those before it are taken back at once. It is not interrupted.
 */
export const make = <A>(body: (undo: Undo) => A): Effect.Effect<A, XskError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.suspend(() => {
        const undo: Undo = []
        try {
          return Effect.succeed({ made: body(undo), undo })
        } catch (thrown) {
          takeBack(undo)
          return isXskError(thrown) ? Effect.fail(thrown) : Effect.die(thrown)
        }
      }),
      ({ undo }) => Effect.sync(() => takeBack(undo))
    ),
    ({ made }) => made
  )
