/**
 * Why no plan can be made for an object.
 */
import * as Schema from "effect/Schema"

/** An object, or an edit of it, that no sequence of kernel calls would load. */
export class PlanError extends Schema.TaggedError<PlanError>()("PlanError", {
  reason: Schema.Literals([
    /** A program of no known type: no SEC() definition fits its section. */
    "ProgramType",
    /** A program that is for one kernel function or hook, which its section does not name. */
    "AttachTarget",
    /** An object of another byte order than the kernel's. */
    "ByteOrder",
    /** A slot of a map names a map or program that this load does not make. */
    "Slot",
    /** Something that this version of the library does not load. */
    "Unsupported"
  ]),
  /** The map or program. */
  name: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.name}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** Whether something thrown is a `PlanError`. */
export const isPlanError = (thrown: unknown): thrown is PlanError => thrown instanceof PlanError
