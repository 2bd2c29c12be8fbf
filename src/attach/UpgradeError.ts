/**
 * What can go wrong when an object takes the place of a running one.
 */
import * as Schema from "effect/Schema"
import { ErrnoSchema } from "../services/Kernel/KernelError.ts"

/** An upgrade that was not made. */
export class UpgradeError extends Schema.TaggedError<UpgradeError>()("UpgradeError", {
  reason: Schema.Literals([
    /** The kernel refused a call. */
    "Refused",
    /** Links of this kind do not take another program. */
    "NotSwappable",
    /** The new object has no such program or struct, or the load did not make it. */
    "NoSuchProgram",
    /** Somebody else has put another program there since it was looked at. */
    "Changed",
    /** Two maps of the old programs, or two of the object, could be meant. */
    "Ambiguous",
    /** Something is named twice. */
    "Twice"
  ]),
  /** The pin of the link or program. */
  pin: Schema.String,
  detail: Schema.String,
  errno: Schema.optionalKey(ErrnoSchema),
  /** What could not be put back, each as a line for people; empty where everything is as it was. */
  left: Schema.Array(Schema.String),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const left = this.left.length === 0 ? "everything is as it was" : `could not be put back: ${this.left.join("; ")}`
    const hint = this.hint === undefined ? "" : `\nhint: ${this.hint}`
    return `${this.pin}: ${this.detail}; ${left}${hint}`
  }
}

/** An upgrade that is not made: nothing has been touched. */
export const refuse = (reason: UpgradeError["reason"], pin: string, detail: string, hint?: string): UpgradeError =>
  new UpgradeError({ reason, pin, detail, left: [], ...(hint === undefined ? {} : { hint }) })
