/**
 * Why an opened object cannot be changed.
 */
import * as Result from "effect/Result"
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

/** A failure with an edit error. */
export const refuse = (
  reason: EditError["reason"],
  name: string,
  detail: string,
  hint?: string
): Result.Result<never, EditError> =>
  Result.fail(new EditError({ reason, name, detail, ...(hint === undefined ? {} : { hint }) }))

/** The most names that a hint lists. */
export const mostNames = 20

/** What there is instead of a name that is not there. */
export const oneOf = (names: ReadonlyArray<string>): string =>
  names.length === 0 ? "the object has none" : `the object has ${names.slice(0, mostNames).join(", ")}`

/** The items with another one at a position. */
export const replaceAt = <A>(items: ReadonlyArray<A>, position: number, item: A): ReadonlyArray<A> =>
  items.map((each, at) => (at === position ? item : each))

const isCount = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff

/** Which of the numbers does not fit its field: those that are bigints have 64 bits, the others 32. */
export const wrongNumber = (fields: Readonly<Record<string, unknown>>): string | undefined => {
  for (const [field, value] of Object.entries(fields)) {
    if (typeof value === "number" && !isCount(value)) return `${field} must be a whole number of 32 bits, not ${value}`
    if (typeof value === "bigint" && BigInt.asUintN(64, value) !== value) {
      return `${field} must be a number of 64 bits, not ${value}`
    }
  }
  return undefined
}
