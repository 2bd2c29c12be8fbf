/** The error of values: which part does not fit its type. */
import * as Schema from "effect/Schema"

/**
 * A JavaScript value that does not fit a BTF type, bytes that do not, or a type that no value can have.
 *
 * - `OutOfRange`: a number does not fit its type
 * - `WrongType`: a number where a struct is expected, and the like
 * - `UnknownMember`, `UnknownName`: the struct has no such member, the enum no such value
 * - `TooLong`: more elements or text than the array holds
 * - `TooShort`: fewer bytes than the type has
 * - `NoSize`: the type has no size, such as `void`
 * - `Unsupported`: the type is malformed: a member outside its struct, an integer without bits
 * - `TooDeep`, `TooLarge`: the type is nested deeper, or is larger, than values are made for
 */
export class BtfValueError extends Schema.TaggedError<BtfValueError>()("BtfValueError", {
  reason: Schema.Literals([
    "OutOfRange",
    "WrongType",
    "UnknownMember",
    "UnknownName",
    "TooLong",
    "TooShort",
    "NoSize",
    "Unsupported",
    "TooDeep",
    "TooLarge"
  ]),
  /** The part that is wrong: `config.ports[3]`. */
  path: Schema.String,
  /** The type of that part. */
  typeId: Schema.Number,
  /** What is wrong, as a clause. */
  detail: Schema.String,
  /** What to do about it. */
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.path}: ${this.detail}${this.hint === undefined ? "" : ` (${this.hint})`}`
  }
}

/** Whether a thrown value is a `BtfValueError`; for `attempt`. */
export const isBtfValueError = (thrown: unknown): thrown is BtfValueError => thrown instanceof BtfValueError

/** A part of a value: the name of a variable or member, or the index of an element. */
export type PathSegment = string | number

/** The error of the part at `path`. */
export const valueError = (
  reason: BtfValueError["reason"],
  path: ReadonlyArray<PathSegment>,
  typeId: number,
  detail: string,
  hint?: string
): BtfValueError =>
  new BtfValueError({ reason, path: spellPath(path), typeId, detail, ...(hint === undefined ? {} : { hint }) })

/** Throws a `BtfValueError`, to be caught by the `attempt` of the module's public function. */
export const failValue = (
  reason: BtfValueError["reason"],
  path: ReadonlyArray<PathSegment>,
  typeId: number,
  detail: string,
  hint?: string
): never => {
  throw valueError(reason, path, typeId, detail, hint)
}

/** Members of anonymous members are spelled as members of what is around them. */
const spellPath = (path: ReadonlyArray<PathSegment>): string =>
  path.map((segment, at) =>
    typeof segment === "number" ? `[${segment}]` : at === 0 || segment === "" ? segment : `.${segment}`
  ).join("")
