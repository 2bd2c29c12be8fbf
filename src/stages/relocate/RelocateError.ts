/**
 * Why an opened object cannot be made ready for a kernel.
 */
import * as Schema from "effect/Schema"

/** A program that refers to something which is not there, or a value that does not fit. */
export class RelocateError extends Schema.TaggedError<RelocateError>()("RelocateError", {
  reason: Schema.Literals([
    /** A call or function pointer that leads to no function, or into the middle of one. */
    "CallTarget",
    /** Programs that together are larger than any kernel takes. */
    "TooLarge",
    /** A relocation at an instruction that it does not fit: the instructions were edited. */
    "Instruction",
    /** An exception callback that does not exist, or that cannot be one. */
    "ExceptionCallback",
    /** A configuration value that the kernel does not have, or that does not fit the variable. */
    "Kconfig",
    /** A function, variable or address that the kernel does not have, or has with another type. */
    "Ksym",
    /** A CO-RE relocation that is malformed, ambiguous in the kernel's types, or does not fit its instruction. */
    "Core"
  ]),
  /** The program, or the extern. */
  name: Schema.String,
  /** The instruction slot in the function where the fault is. */
  slot: Schema.optionalKey(Schema.Number),
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const where = this.slot === undefined ? "" : ` at instruction ${this.slot}`
    return `${this.name}${where}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** Whether something thrown is a `RelocateError`. */
export const isRelocateError = (thrown: unknown): thrown is RelocateError => thrown instanceof RelocateError
