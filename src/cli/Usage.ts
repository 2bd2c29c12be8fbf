/**
 * Wrong usage that is found out behind the parsing of arguments: exit status 2, like every other.
 */
import * as Schema from "effect/Schema"
import { distance } from "../internal/Distance.ts"
import { clip } from "./text/Clip.ts"

/** An argument that is well formed by itself, and cannot be used: it names nothing, or contradicts another one. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", {
  /** The argument as the user wrote it, or its name. */
  argument: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.argument}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** The most names that are listed when none is close to what was asked for. */
const maximumListed = 12

/** Names longer than this are nobody's typing error. */
const maximumName = 64

/** The names that are close to one, or have it in them. */
const nearOf = (wanted: string, names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const limit = Math.max(1, Math.floor(Math.min(wanted.length, maximumName) / 3))
  return wanted.length > maximumName
    ? []
    : names.filter((name) =>
      name.length <= maximumName &&
      (distance(name, wanted, limit) <= limit || (wanted.length > 2 && name.includes(wanted)))
    )
}

const didYouMean = (near: ReadonlyArray<string>): string => `did you mean ${near.slice(0, 3).join(", ")}?`

/** What to say of a word that is none of some: the close ones, or all of them. */
export const oneOf = (wanted: string, words: ReadonlyArray<string>): string => {
  const near = nearOf(wanted, words)
  return near.length > 0 ? didYouMean(near) : `one of ${words.join(", ")}`
}

/** What to say of a name that is not there: the close ones, or which there are. */
export const suggest = (wanted: string, names: ReadonlyArray<string>, noun: string): string => {
  if (names.length === 0) return `the object has no ${noun}`
  const near = nearOf(wanted, names)
  if (near.length > 0) return didYouMean(near)
  const more = names.length > maximumListed ? `, … (${names.length} in all)` : ""
  return `${noun} of the object: ${names.slice(0, maximumListed).map(clip).join(", ")}${more}`
}
