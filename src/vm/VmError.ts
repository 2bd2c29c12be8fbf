/** The error of the VM room. */
import * as Schema from "effect/Schema"

/**
 * Code that cannot run, or what went wrong when it ran.
 *
 * Of code, found when it is decoded:
 * - `Form`: the bytes are no instruction stream (see `insn/Decode.ts`); `value` says why
 * - `Register`: an instruction names a register that does not exist, or writes the frame pointer
 * - `Reserved`: a field that must be zero is not, or names no variant of the instruction; `value` is the field
 * - `Target`: a jump or call leads outside the code, or into the second slot of a 64-bit immediate load
 * - `Reference`: the resolver knows no value for a 64-bit immediate load; `value` is what it refers to
 * - `Unsupported`: an instruction that this machine does not have
 *
 * Of memory, found when it is accessed:
 * - `NotMapped`: no region is at the address: a null pointer, a number that is none, or a region that was removed
 * - `OutOfBounds`: the access is not within its region; `offset` is its start from the region's start, in bytes
 * - `NotReadable`, `NotWritable`: the region does not permit it
 * - `BadAccess`: the region's accessor (a program context) has no field of this offset and size, or not to this use
 *
 * Of control:
 * - `CallDepth`: more than 8 frames
 * - `Callback`: what a helper was to call back is no function of the program
 * - `FellOff`: execution ran off the end of the code
 * - `UnknownHelper`, `UnknownKfunc`: nothing implements the function; `value` names it
 * - `Helper`: a helper refused its arguments; `value` says why
 * - `Budget`: the instruction budget was spent (only where a caller asks for a result and not for an outcome)
 *
 * `slot` counts 8-byte instruction slots of `program`; `address`, `offset` and `size` are bytes; `line` is the source line
 * where the program knows it.
 */
export class VmError extends Schema.TaggedError<VmError>()("VmError", {
  reason: Schema.Literals([
    "Form",
    "Register",
    "Reserved",
    "Target",
    "Reference",
    "Unsupported",
    "NotMapped",
    "OutOfBounds",
    "NotReadable",
    "NotWritable",
    "BadAccess",
    "CallDepth",
    "Callback",
    "FellOff",
    "UnknownHelper",
    "UnknownKfunc",
    "Helper",
    "Budget"
  ]),
  program: Schema.optionalKey(Schema.String),
  slot: Schema.optionalKey(Schema.Number),
  line: Schema.optionalKey(Schema.String),
  region: Schema.optionalKey(Schema.String),
  access: Schema.optionalKey(Schema.Literals(["read", "write", "atomic"])),
  address: Schema.optionalKey(Schema.BigInt),
  offset: Schema.optionalKey(Schema.Number),
  size: Schema.optionalKey(Schema.Number),
  value: Schema.optionalKey(Schema.String),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const where: Array<string> = []
    if (this.program !== undefined) where.push(`program ${this.program}`)
    if (this.slot !== undefined) where.push(`instruction ${this.slot}`)
    if (this.line !== undefined) where.push(this.line)
    const prefix = where.length === 0 ? "" : `${where.join(", ")}: `
    const hint = this.hint === undefined ? "" : ` (${this.hint})`
    return prefix + describe(this) + hint
  }
}

/** The fields of a `VmError`. */
export type VmErrorFields = ConstructorParameters<typeof VmError>[0]

/** Whether a thrown value is a `VmError`; for `attempt`. */
export const isVmError = (thrown: unknown): thrown is VmError => thrown instanceof VmError

const plural = (count: number | undefined): string => `${count ?? 0} byte${count === 1 ? "" : "s"}`

const accessOf = (error: VmError): string => {
  const verb = error.access === "write" ? "a write" : error.access === "atomic" ? "an atomic operation" : "a read"
  const address = error.address === undefined ? "" : ` at 0x${error.address.toString(16)}`
  return `${verb} of ${plural(error.size)}${address}`
}

const placeOf = (error: VmError): string =>
  error.region === undefined
    ? ""
    : ` of ${error.region}${error.offset === undefined ? "" : ` at offset ${error.offset}`}`

const describe = (error: VmError): string => {
  switch (error.reason) {
    case "Form":
      return error.value ?? "not an instruction stream"
    case "Register":
      return `r${error.value} cannot stand here`
    case "Reserved":
      return `a field that must be zero is not: ${error.value}`
    case "Target":
      return `slot ${error.value}, where it leads to, is no instruction`
    case "Reference":
      return `nothing is known of ${error.value}`
    case "Unsupported":
      return `${error.value} is not supported`
    case "NotMapped":
      return `${accessOf(error)}, where nothing is mapped`
    case "OutOfBounds":
      return `${accessOf(error)} lies outside${placeOf(error).slice(3)}`
    case "NotReadable":
      return `${accessOf(error)}${placeOf(error)}, which is not readable`
    case "NotWritable":
      return `${accessOf(error)}${placeOf(error)}, which is read-only`
    case "BadAccess":
      return `${accessOf(error)}${placeOf(error)}, which has no such field`
    case "CallDepth":
      return "more than 8 nested calls"
    case "Callback":
      return `${error.value} is no function of the program`
    case "FellOff":
      return "execution ran off the end of the code"
    case "UnknownHelper":
    case "UnknownKfunc":
      return `nothing implements ${error.value}`
    case "Helper":
      return error.value ?? "a helper refused its arguments"
    case "Budget":
      return "the instruction budget is spent"
  }
}
