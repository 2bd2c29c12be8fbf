/** The error of archives. */
import * as Schema from "effect/Schema"

/**
 * Bytes that are no zip archive that this library reads, or a member that cannot be used where it lies.
 *
 * - `NotArchive`: no record that ends an archive
 * - `Ambiguous`: two records could end it, one of them hidden in the comment of the other
 * - `MultiDisk`: a part of an archive in several files
 * - `Zip64`: the archive or the member needs the format's 64-bit extension
 * - `TooLarge`: 4 GiB or more, which offsets of 32 bits do not reach
 * - `Directory`: the list of members is malformed
 * - `Overlap`: members share bytes
 * - `NotFound`: no such member; `near` are some of similar name
 * - `Compressed`, `Encrypted`: the member's bytes are not those of the file that was put in
 * - `DataDescriptor`: the sizes of the member are not where they are needed but behind it
 * - `Member`: the member's own header is malformed, or contradicts the list
 *
 * `field` is what is at fault, `value` what it holds and `expected` what it must hold; `offset` the place in the archive.
 */
export class ArchiveError extends Schema.TaggedError<ArchiveError>()("ArchiveError", {
  reason: Schema.Literals([
    "NotArchive",
    "Ambiguous",
    "MultiDisk",
    "Zip64",
    "TooLarge",
    "Directory",
    "Overlap",
    "NotFound",
    "Compressed",
    "Encrypted",
    "DataDescriptor",
    "Member"
  ]),
  member: Schema.optionalKey(Schema.String),
  near: Schema.optionalKey(Schema.Array(Schema.String)),
  field: Schema.optionalKey(Schema.String),
  value: Schema.optionalKey(Schema.String),
  expected: Schema.optionalKey(Schema.String),
  offset: Schema.optionalKey(Schema.Number)
}) {
  override get message(): string {
    const member = this.member === undefined ? "" : `member ${this.member}: `
    const found = this.value === undefined ? "" : `: ${this.field ?? "it"} is ${this.value}`
    const wanted = this.expected === undefined ? "" : `${found === "" ? ": " : ", "}must be ${this.expected}`
    const offset = this.offset === undefined ? "" : ` (offset 0x${this.offset.toString(16)})`
    const hint = this.hint === undefined ? "" : `; ${this.hint}`
    return `${member}${sentences[this.reason]}${found}${wanted}${offset}${hint}`
  }

  /** What to do, where that is known. */
  get hint(): string | undefined {
    const near = this.near ?? []
    switch (this.reason) {
      case "NotFound":
        return near.length === 0 ? undefined : `did you mean ${near.join(", ")}?`
      case "Compressed":
      case "DataDescriptor":
        return "store it (zip -0), aligned to pages (zipalign -p 4), as a loader needs it that maps it"
      case "Encrypted":
        return "store it unencrypted"
      default:
        return undefined
    }
  }
}

const sentences: Readonly<Record<ArchiveError["reason"], string>> = {
  NotArchive: "not a zip archive: no end record",
  Ambiguous: "two records could end the archive, one inside the comment of the other",
  MultiDisk: "a part of an archive in several files",
  Zip64: "needs the 64-bit extension of the format, which is not read",
  TooLarge: "4 GiB or more",
  Directory: "malformed list of members",
  Overlap: "members share bytes",
  NotFound: "there is no such member",
  Compressed: "compressed: its code is not in the file as it is executed",
  Encrypted: "encrypted: its code is not in the file as it is executed",
  DataDescriptor: "its sizes are behind its data",
  Member: "malformed header, or one that contradicts the list of members"
}

/** What an `ArchiveError` may carry beside its reason. */
export type ArchiveErrorFields = Omit<ConstructorParameters<typeof ArchiveError>[0], "reason">

/** Throws an `ArchiveError`; for the inside of this folder, whose public functions catch it with `attempt`. */
export const refuseArchive: (reason: ArchiveError["reason"], fields?: ArchiveErrorFields) => never = (
  reason,
  fields = {}
) => {
  throw new ArchiveError({ ...fields, reason })
}
