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
    /** Types that cannot be written for the kernel: they have become too large. */
    "Types",
    /** A slot of a map names a map or program that this load does not make. */
    "Slot",
    /** A map is for one program alone that is not loaded, or whose instructions nobody knows yet. */
    "Exclusive",
    /** A struct that the kernel does not let programs implement, or a member that it has not, or has otherwise. */
    "StructOps",
    /** Variables in an arena that have no place in it. */
    "Arena",
    /** Something that this version of the library does not load. */
    "Unsupported"
  ]),
  /** The map or program. */
  name: Schema.String,
  /** Of a struct_ops variable: the member, and its type in the object and in the kernel where it has one. */
  member: Schema.optionalKey(Schema.String),
  localType: Schema.optionalKey(Schema.String),
  kernelType: Schema.optionalKey(Schema.String),
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.name}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** Whether something thrown is a `PlanError`. */
export const isPlanError = (thrown: unknown): thrown is PlanError => thrown instanceof PlanError
