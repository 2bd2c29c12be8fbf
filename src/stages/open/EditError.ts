/**
 * Why an opened object cannot be changed.
 */
import * as Schema from "effect/Schema"

/** An edit that names something which the object does not have, or that does not fit. */
export class EditError extends Schema.TaggedError<EditError>()("EditError", {
  reason: Schema.Literals([
    "NoSuchMap",
    "NoSuchProgram",
    "NoSuchVariable",
    /** A struct_ops variable has no member of this name. */
    "NoSuchMember",
    /** No SEC() definition fits the section's name. */
    "NoSuchSection",
    /** The value does not fit the variable's type. */
    "Value",
    /** The size cannot be changed, or not to this. */
    "Size",
    /** The instructions are not well formed, or do not fit the program's relocations. */
    "Instructions",
    /** A map of the user's is named by something that names no map, or where none can be. */
    "Handle",
    /** A program cannot be for what the edit says. */
    "AttachTarget",
    /** Nothing of this kind can be edited: its value comes from the kernel. */
    "ReadOnly"
  ]),
  name: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.name}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}
