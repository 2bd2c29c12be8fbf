/**
 * Why a program's CO-RE records cannot be applied.
 */
import * as Data from "effect/Data"
import * as Schema from "effect/Schema"
import type { CoreCandidate } from "./Resolve.ts"

/** A CO-RE record that is malformed, ambiguous, or does not fit the instruction that it stands at. */
export class CoreError extends Schema.TaggedError<CoreError>()("CoreError", {
  reason: Schema.Literals([
    /** Records of an impossible size, or types of one byte order and a kernel of the other. */
    "BadRecords",
    /** A record for an instruction that does not exist. */
    "BadOffset",
    /** A kind of relocation that does not exist. */
    "UnknownKind",
    /** A root type that does not exist, has no name, or that the kind of relocation does not go with. */
    "BadType",
    /** An access string that is no path through the object's own types. */
    "BadAccess",
    /** A type on the way has no size. */
    "NoSize",
    /** Types that are nested deeper, or refer to each other in longer chains, than anything that a compiler makes. */
    "TooDeep",
    /** Records and types that together ask for more work than any real object. */
    "TooComplex",
    /** More kernel types of one name than any kernel has. */
    "TooManyCandidates",
    /** A field that the relocated code cannot read: wider than 64 bits, or a bit field that no aligned load covers. */
    "TooWide",
    /** Kernel types of one name that give different answers. */
    "Ambiguous",
    /** An instruction of a form that the record does not go with. */
    "Instruction",
    /** The instruction's value is not what the object's own types say: it was changed after it was compiled. */
    "Mismatch",
    /** The value does not fit the instruction. */
    "OutOfRange"
  ]),
  /** Position of the record. */
  record: Schema.optionalKey(Schema.Number),
  /** Slot of the instruction in the program. */
  slot: Schema.optionalKey(Schema.Number),
  /** The relocation in words: kind and access path, as far as they are understood. */
  relocation: Schema.optionalKey(Schema.String),
  /** Its kind, and what is accessed, by themselves; the path is absent where it is not understood. */
  kind: Schema.optionalKey(Schema.String),
  path: Schema.optionalKey(Schema.String),
  /** The kernel's types of that kind and name, as far as they were looked at. */
  candidates: Schema.optionalKey(
    Schema.declare((value): value is ReadonlyArray<CoreCandidate> => Array.isArray(value))
  ),
  /** The root type in the object's BTF. */
  typeId: Schema.optionalKey(Schema.Number),
  /** What is wrong, as a clause. */
  detail: Schema.String,
  /** What to do about it. */
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const record = this.record === undefined ? "CO-RE" : `CO-RE relocation ${this.record}`
    const slot = this.slot === undefined ? "" : ` at instruction ${this.slot}`
    const what = this.relocation === undefined ? "" : ` (${this.relocation})`
    const hint = this.hint === undefined ? "" : `\nhint: ${this.hint}`
    return `${record}${slot}${what}: ${this.detail}${hint}`
  }
}

/** Whether something thrown is a `CoreError`. */
export const isCoreError = (thrown: unknown): thrown is CoreError => thrown instanceof CoreError

/** The ways in which a `CoreError` can say what is wrong. */
export type CoreErrorReason = CoreError["reason"]

/**
 * A failure on its way to the place that knows which record it is about and makes a `CoreError` of it. It is thrown
 * inside this folder only.
 */
export class CoreFailure extends Data.TaggedError("CoreFailure")<{
  readonly reason: CoreErrorReason
  readonly detail: string
  readonly hint: string | undefined
  readonly candidates?: ReadonlyArray<CoreCandidate>
}> {}

/** Throws a `CoreFailure`. */
export const fail = (reason: CoreErrorReason, detail: string, hint?: string): never => {
  throw new CoreFailure({ reason, detail, hint })
}
