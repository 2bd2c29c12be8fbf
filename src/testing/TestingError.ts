/** Why a test asks for something that there is not. */
import * as Schema from "effect/Schema"

/**
 * A test named something that the object has not, gave a value that does not fit, or asked for what this kernel cannot show.
 *
 * - `NoProgram`, `NoMap`, `NoGlobal`, `NoType`: the object has none of this name, the load did not take it, or it is gone
 * - `Value`: a value does not fit the type of a key, value, global variable or context; or bytes do not decode
 * - `NotObservable`: the kernel cannot be looked into so far: printed lines of a kernel that is not simulated
 * - `Records`: the ring buffer cannot be read
 */
export class TestingError extends Schema.TaggedError<TestingError>()("TestingError", {
  reason: Schema.Literals(["NoProgram", "NoMap", "NoGlobal", "NoType", "Value", "NotObservable", "Records"]),
  /** What was asked for, by its name. */
  subject: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.subject}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** The names that there are, as a hint; none where there are too many to be of use. */
export const oneOf = (what: string, names: ReadonlyArray<string>): { readonly hint?: string } =>
  names.length === 0 || names.length > 40 ? {} : { hint: `${what}: ${names.join(", ")}` }
