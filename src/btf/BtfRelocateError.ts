/** The error of relocating split BTF: which types of the distilled base have no counterpart in the new base, and why. */
import * as Schema from "effect/Schema"

/** A type of the new base that has the name in question. */
const Candidate = Schema.Struct({
  /** Id in the new base. */
  id: Schema.Number,
  /** As `kindName` says it: `STRUCT`, `ENUM64`. */
  kind: Schema.String,
  /** In bytes; 0 for a FWD. */
  size: Schema.Number,
  /** Of an INT its encoding, `signed`, `unsigned`, `char`, `bool` or several of these; of a FWD `struct` or `union`. */
  form: Schema.optionalKey(Schema.String)
})

const Mismatch = Schema.Struct({
  reason: Schema.Literals(["NotDistilled", "Missing", "OtherKind", "OtherSize", "OtherEncoding", "Ambiguous"]),
  /** Id in the distilled base. */
  id: Schema.Number,
  name: Schema.String,
  /** Kind in the distilled base, as `kindName` says it. */
  kind: Schema.String,
  /** Size in the distilled base, in bytes; 0 for a FWD. */
  size: Schema.Number,
  /** Form in the distilled base, as a candidate has one. */
  form: Schema.optionalKey(Schema.String),
  /** A struct or union of the split BTF contains this type, so that its size has to be the same. */
  embedded: Schema.Boolean,
  /** The types of this name in the new base, at most eight of them; for `Ambiguous` only those that fit. */
  candidates: Schema.Array(Candidate),
  /** How many such types there are. */
  candidateCount: Schema.Number
})

/** A type of the new base that has the name in question. */
export type RelocateCandidate = typeof Candidate.Type

/**
 * A type of the distilled base that cannot be found in the new one.
 *
 * - `NotDistilled`: the type is of a kind, or without the name, that a distilled base cannot have
 * - `Missing`: the new base has no type of this name that could stand for it
 * - `OtherKind`: the name is there, as another kind of type
 * - `OtherSize`: the name and kind are there, of another size, and the size matters
 * - `OtherEncoding`: an integer of this name and size is there, with another sign or meaning
 * - `Ambiguous`: several types of the new base fit equally
 */
export type RelocateMismatch = typeof Mismatch.Type

/** What is wrong with a type, as a clause: `STRUCT pair of 8 bytes (type 3) is not in the new base`. */
export const mismatchText = (mismatch: RelocateMismatch): string => {
  const { id, kind, name } = mismatch
  const what = `${kind} ${name === "" ? "without a name" : name}${measureOf(mismatch)} (type ${id})`
  switch (mismatch.reason) {
    case "NotDistilled":
      return `${what} is not what a distilled base can have`
    case "Missing":
      return `${what} is not in the new base`
    case "OtherKind":
      return `${what} is in the new base as ${candidatesOf(mismatch)}`
    case "OtherSize": {
      const why = mismatch.embedded ? ", which another type contains," : ""
      return `${what}${why} has another size in the new base: ${candidatesOf(mismatch)}`
    }
    case "OtherEncoding":
      return `${what} has another encoding in the new base: ${candidatesOf(mismatch)}`
    case "Ambiguous":
      return `${what} could be any of ${candidatesOf(mismatch)} in the new base`
  }
}

/** What two types of one name may differ in: size and form. */
const measureOf = ({ form, size }: RelocateCandidate): string =>
  `${size === 0 ? "" : ` of ${size} byte${size === 1 ? "" : "s"}`}${form === undefined ? "" : `, ${form}`}`

const candidatesOf = ({ candidateCount, candidates }: RelocateMismatch): string => {
  const all = candidates.map((candidate) => `${candidate.kind}${measureOf(candidate)} (type ${candidate.id})`)
  const more = candidateCount - all.length
  return `${all.join(", ")}${more > 0 ? ` and ${more} more` : ""}`
}

/**
 * Split BTF that does not fit a base.
 *
 * - `Arguments`: the BTF is not split, or the new base is the one that it has
 * - `BadBase`: its base is not a distilled one; `mismatches` are the types that no distilled base has
 * - `Mismatch`: `mismatches` are the types of the distilled base that the new base cannot provide
 */
export class BtfRelocateError extends Schema.TaggedError<BtfRelocateError>()("BtfRelocateError", {
  reason: Schema.Literals(["Arguments", "BadBase", "Mismatch"]),
  /** What is wrong, as a clause. */
  detail: Schema.String,
  /** All types that do not fit, by id; of more than a thousand the first thousand. */
  mismatches: Schema.Array(Mismatch),
  /** How many types do not fit. */
  mismatchCount: Schema.Number,
  /** What to do about it. */
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const listed = this.mismatches.slice(0, 5).map(mismatchText)
    const more = this.mismatchCount - listed.length
    const all = listed.length === 0 ? "" : `: ${listed.join("; ")}${more > 0 ? `; and ${more} more` : ""}`
    return `BTF relocation: ${this.detail}${all}${this.hint === undefined ? "" : ` (${this.hint})`}`
  }
}

/** How many mismatches an error lists. */
export const MAX_MISMATCHES = 1000

/** Whether a thrown value is a `BtfRelocateError`; for `attempt`. */
export const isBtfRelocateError = (thrown: unknown): thrown is BtfRelocateError => thrown instanceof BtfRelocateError
