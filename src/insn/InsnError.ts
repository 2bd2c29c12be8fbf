/** The error of the instruction room. */
import * as Schema from "effect/Schema"

/**
 * An instruction stream that is not well formed, or an operand that an instruction has no room for.
 *
 * - `Length`: the bytes are no whole number of slots; `slot` is the incomplete one and `value` the number of bytes
 * - `UnknownOpcode`: `value` is an opcode that no instruction has
 * - `MissingSecondSlot`: a 64-bit immediate load is the last slot
 * - `SecondSlot`: the second slot of a 64-bit immediate load has an opcode, a register or an offset; `value` is the slot's
 *   first four bytes as a number
 * - `Operand`: `value` does not fit the field `field` of the instruction that was to be encoded
 */
export class InsnError extends Schema.TaggedError<InsnError>()("InsnError", {
  reason: Schema.Literals(["Length", "UnknownOpcode", "MissingSecondSlot", "SecondSlot", "Operand"]),
  slot: Schema.optionalKey(Schema.Number),
  field: Schema.optionalKey(Schema.String),
  value: Schema.optionalKey(Schema.String),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const where = this.slot === undefined ? "" : `instruction ${this.slot}: `
    const hint = this.hint === undefined ? "" : ` (${this.hint})`
    return where + describe(this) + hint
  }
}

const describe = (error: InsnError): string => {
  switch (error.reason) {
    case "Length":
      return `${error.value} bytes of code are no whole number of 8-byte slots`
    case "UnknownOpcode":
      return `unknown opcode ${error.value}`
    case "MissingSecondSlot":
      return "the second slot of a 64-bit immediate load is missing"
    case "SecondSlot":
      return `the second slot of a 64-bit immediate load has more than an immediate: ${error.value}`
    case "Operand":
      return `${error.value} does not fit ${error.field}`
  }
}

/** Whether a thrown value is an `InsnError`; for `attempt`. */
export const isInsnError = (thrown: unknown): thrown is InsnError => thrown instanceof InsnError
