/**
 * Why calls cannot be made into a loader program.
 */
import * as Schema from "effect/Schema"

/** Calls that no loader program can make. */
export class AssembleError extends Schema.TaggedError<AssembleError>()("AssembleError", {
  reason: Schema.Literals([
    /** The loader has no place for another map, program or BTF object. */
    "TooMany",
    /** The data or the code would be larger than the format allows. */
    "TooLarge",
    /** A call that the assembler has no code for. */
    "Unsupported",
    /** A ref that names nothing at this point, or a place in the instructions that takes no ref. */
    "BadRef",
    /** A loader that is to be signed would have to be told something. */
    "NeedsInputs",
    /** A value that does not fit its field. */
    "BadValue"
  ]),
  /** The tag of the call. */
  call: Schema.String,
  /** The map or program, by its name or ref. */
  name: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.call} of ${this.name}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** Whether a thrown value is an `AssembleError`. */
export const isAssembleError = (thrown: unknown): thrown is AssembleError => thrown instanceof AssembleError
