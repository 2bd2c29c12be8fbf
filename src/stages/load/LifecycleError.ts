/**
 * What can be wrong with an operation on an object that is prepared, loaded or pinned.
 */
import * as Schema from "effect/Schema"

/** An operation that does not fit the object, or the state that it is in. Nothing was changed. */
export class LifecycleError extends Schema.TaggedError<LifecycleError>()("LifecycleError", {
  reason: Schema.Literals([
    /** The object has no entry program of this name. */
    "NoSuchProgram",
    /** The object has no map of this name, or the load did not create it. */
    "NoSuchMap",
    /** The program is loaded already. */
    "AlreadyLoaded",
    /** The program is not loaded. */
    "NotLoaded",
    /** The program was left out when the object was planned: it was not relocated. */
    "NotPlanned",
    /** A name cannot be the name of a pin, or two names are the same one. */
    "PinName",
    /** Nothing is pinned where something should be. */
    "Missing",
    /** Something else is pinned there. */
    "AnotherObject",
    /** A program cannot be loaded for what it is to be loaded for. */
    "AttachTarget"
  ]),
  /** The program, map or object. */
  name: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.name}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** A refusal; the hint may be absent. */
export const refuse = (
  reason: LifecycleError["reason"],
  name: string,
  detail: string,
  hint?: string
): LifecycleError => new LifecycleError({ reason, name, detail, ...(hint === undefined ? {} : { hint }) })

/** Names for a hint, the first twenty. */
export const oneOf = (names: ReadonlyArray<string>): string =>
  names.length === 0
    ? "the object has none"
    : `the object has ${names.slice(0, 20).join(", ")}${names.length > 20 ? ", …" : ""}`
