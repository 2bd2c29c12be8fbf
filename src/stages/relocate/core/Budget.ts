/**
 * A bound on the work that one object may ask for.
 *
 * Real relocations take tens of steps each. Types may be made so that a search or a comparison takes the product of
 * their sizes: what counts steps here stops it, whatever the shape of the attack.
 */
import { fail } from "./CoreError.ts"

/** Steps that are left. */
export interface Budget {
  left: number
}

/** A budget for this many records. A step is some tens of nanoseconds. */
export const budgetFor = (records: number): Budget => ({ left: 0x80_0000 + records * 256 })

/** Takes steps off; throws a `CoreFailure` when they are used up. */
export const spend = (budget: Budget, steps: number): void => {
  budget.left -= steps
  if (budget.left < 0) {
    fail(
      "TooComplex",
      "the records ask for more work than those of any real object",
      "the object or the BTF is damaged"
    )
  }
}
