/**
 * What can be wrong with a kernel profile.
 */
import * as Schema from "effect/Schema"

/** A profile that cannot be used. */
export class ProfileError extends Schema.TaggedError<ProfileError>()("ProfileError", {
  reason: Schema.Literals([
    /** There is no `profile.json`. */
    "NoProfile",
    /** `profile.json` is not what it should be. */
    "Description",
    /** The profile is of a later version of the format. */
    "Version",
    /** A file that `profile.json` tells of is not there. */
    "MissingFile",
    /** A file is larger than any of its kind. */
    "TooLarge",
    /** The types of vmlinux are damaged, or not of the kernel that `profile.json` describes. */
    "Types",
    /** A file that is not what it should be. */
    "Damaged",
    /** A file cannot be read or written. */
    "Io"
  ]),
  /** The file within the profile, `btf/vmlinux`. */
  file: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.file}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** Whether something thrown is a `ProfileError`. */
export const isProfileError = (thrown: unknown): thrown is ProfileError => thrown instanceof ProfileError
