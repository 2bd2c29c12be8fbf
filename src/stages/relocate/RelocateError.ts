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
  /** The function that has the fault, where that is not the program itself. */
  function: Schema.optionalKey(Schema.String),
  /** The instruction slot in the function where the fault is. */
  slot: Schema.optionalKey(Schema.Number),
  /** The C line that the instruction was compiled from: file, line and column from 1, the line's text. */
  file: Schema.optionalKey(Schema.String),
  line: Schema.optionalKey(Schema.Number),
  column: Schema.optionalKey(Schema.Number),
  source: Schema.optionalKey(Schema.String),
  /** A CO-RE relocation: its kind and what it accesses. */
  relocation: Schema.optionalKey(Schema.String),
  /** The kernel's types that a CO-RE relocation could mean: what each gave, or why it was refused. */
  candidates: Schema.optionalKey(Schema.Array(Schema.String)),
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const inside = this.function === undefined ? "" : `, in ${this.function}`
    const where = this.slot === undefined ? "" : ` at instruction ${this.slot}`
    const line = this.line === undefined ? "" : ` (${this.file ?? ""}:${this.line})`
    const lines = [`${this.name}${inside}${where}${line}: ${this.detail}`]
    if (this.source !== undefined && this.source !== "") lines.push(this.source)
    lines.push(...(this.candidates ?? []).map((candidate) => `candidate: ${candidate}`))
    if (this.hint !== undefined) lines.push(`hint: ${this.hint}`)
    return lines.join("\n")
  }
}

/** Whether something thrown is a `RelocateError`. */
export const isRelocateError = (thrown: unknown): thrown is RelocateError => thrown instanceof RelocateError
