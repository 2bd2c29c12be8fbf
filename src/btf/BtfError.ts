/** The error of BTF blobs: what is wrong, with which type and where. */
import * as Schema from "effect/Schema"

/**
 * A BTF blob or `.BTF.ext` section that is not well formed, or a question that its types cannot answer.
 *
 * - `TooLarge`: the blob is 2 GiB or more
 * - `Truncated`: the bytes end inside the header, a type record or an information block
 * - `BadMagic`, `BadVersion`, `BadFlags`, `BadHeader`: that field of the header is wrong
 * - `BadSection`: an area lies outside the blob, is misaligned or overlaps another
 * - `BadStrings`: the string area is not delimited by NULs
 * - `NamesTooLong`: types share long strings so often that their names together are far larger than the blob
 * - `UnknownKind`: a record of a kind that neither this library nor the blob's layout area describes
 * - `BadString`: a string offset is outside the string area
 * - `BadTypeId`: a reference to a type that does not exist
 * - `WrongKind`: a type is of another kind than its use requires
 * - `BadRecords`: the records of an information segment have an impossible size or number
 * - `NoSize`, `TooDeep`, `SizeOverflow`: a type has no size, is nested too deep, or is larger than 32 bits can say
 * - `ValueRange`: an enum value does not fit 32 bits, or the signed and unsigned values of an enum do not go together
 * - `Cycle`: a type contains itself, or what contains itself, with no named struct or union behind a pointer between
 * - `TooComplex`: the answer would be out of proportion to the blob
 * - `NotBtf`, `NoBtf`, `BadElfSection`: a file is neither BTF nor ELF, is ELF without a section `.BTF`, or the section is
 *   of a type or compression that holds no BTF as it is
 * - `BadArgument`, `ReadOnly`: an edit that does not fit the type, or of a blob that holds what this library cannot keep
 */
export class BtfError extends Schema.TaggedError<BtfError>()("BtfError", {
  reason: Schema.Literals([
    "TooLarge",
    "Truncated",
    "BadMagic",
    "BadVersion",
    "BadFlags",
    "BadHeader",
    "BadSection",
    "BadStrings",
    "NamesTooLong",
    "UnknownKind",
    "BadString",
    "BadTypeId",
    "WrongKind",
    "BadRecords",
    "NoSize",
    "TooDeep",
    "SizeOverflow",
    "Cycle",
    "TooComplex",
    "ValueRange",
    "NotBtf",
    "NoBtf",
    "BadElfSection",
    "BadArgument",
    "ReadOnly"
  ]),
  /** The ELF section that the blob is from, where the whole file was given. */
  section: Schema.optionalKey(Schema.String),
  /** The type that is wrong, as an id of the blob that was asked. */
  typeId: Schema.optionalKey(Schema.Number),
  /** Where, in bytes from the start of the blob or section. */
  offset: Schema.optionalKey(Schema.Number),
  /** What is wrong, as a clause. */
  detail: Schema.String,
  /** What to do about it. */
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const type = this.typeId === undefined ? "" : `type ${this.typeId}: `
    const where = this.offset === undefined ? "" : ` at offset ${this.offset}`
    const hint = this.hint === undefined ? "" : ` (${this.hint})`
    const subject = this.section ?? "BTF"
    return `${subject}: ${type}${this.detail}${where}${hint}`
  }
}

/** Whether a thrown value is a `BtfError`; for `attempt`. */
export const isBtfError = (thrown: unknown): thrown is BtfError => thrown instanceof BtfError

/** The ways in which a `BtfError` can say what is wrong. */
export type BtfErrorReason = BtfError["reason"]

/** What a `BtfError` may carry beside its reason and detail. */
export interface BtfErrorPlace {
  readonly section?: string
  readonly typeId?: number
  readonly offset?: number
  readonly hint?: string
}

/** Makes a `BtfError`. */
export const btfError = (reason: BtfErrorReason, detail: string, place: BtfErrorPlace = {}): BtfError =>
  new BtfError({ reason, detail, ...place })

/** The same error of a blob that is from the ELF section `section`. */
export const inSection = (error: BtfError, section: string): BtfError => {
  const { detail, hint, offset, reason, typeId } = error
  return btfError(reason, detail, {
    section,
    ...(typeId === undefined ? {} : { typeId }),
    ...(offset === undefined ? {} : { offset }),
    ...(hint === undefined ? {} : { hint })
  })
}

/** Throws a `BtfError`, to be caught by the `attempt` of the module's public function. */
export const fail = (reason: BtfErrorReason, detail: string, place: BtfErrorPlace = {}): never => {
  throw btfError(reason, detail, place)
}
