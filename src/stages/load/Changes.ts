/**
 * What the operations on one object in one session share: they take turns, and they name what is made besides the plan's
 * own maps and programs.
 */
import type * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as Ref from "../../services/Kernel/Ref.ts"

/** The turns and the names of an object's operations. */
export interface Changes {
  /** Lets one operation that changes what is loaded or pinned follow the other. */
  readonly inTurn: <A, E, R>(operation: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** A name for a map that the plan does not have. */
  readonly nextMap: () => Ref.MapRef
  /** A name for a program that the plan does not have. */
  readonly nextProg: () => Ref.ProgRef
}

/** Numbers from here are neither those of plans nor those of objects that a session has borrowed. */
const first = 0x2000_0000

/** For an object that has just been prepared or opened. */
export const make = (): Changes => {
  const turn = Semaphore.makeUnsafe(1)
  let index = first
  return {
    inTurn: (operation) => turn.withPermit(operation),
    nextMap: () => Ref.map(index++),
    nextProg: () => Ref.prog(index++)
  }
}
