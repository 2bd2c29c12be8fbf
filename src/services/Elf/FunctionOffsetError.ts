/** Why a name has no offset. */
import * as Schema from "effect/Schema"

/** A symbol that was looked at and not chosen, or one of several that could have been: for messages. */
export const Candidate = Schema.Struct({
  /** As it is written: `name`, `name@VERSION`, `name@@VERSION`. */
  symbol: Schema.String,
  /** Its place in the file, absent where it has none. */
  offset: Schema.optionalKey(Schema.BigInt),
  binding: Schema.Literals(["local", "global", "weak"])
})

/** A symbol that was looked at and not chosen. */
export type Candidate = typeof Candidate.Type

/**
 * A name that does not say where to put a probe.
 *
 * - `Name`: no name, version or offset that can be looked for
 * - `NoSymbols`: the file has no symbols at all
 * - `NotFound`: no function of that name; `near` are some of similar name
 * - `Version`: there are functions of that name (`candidates`), and none of that version
 * - `Undefined`: the file uses such a function and does not define it; `library` has it, where the file says so
 * - `NotAFunction`: the symbol is of another type: data, or a label of assembler code
 * - `Elsewhere`: the symbol is there and its code is not, as in files of debug information
 * - `Ambiguous`: several functions (`candidates`) of equal right
 * - `Indirect`: the function is chosen when the program starts (`STT_GNU_IFUNC`), and the symbol is of what chooses
 * - `BeyondFunction`: an offset of `name+offset` that is not inside the function, of `size` bytes, or not inside the file
 * - `NoMatch`: nothing matches a pattern
 *
 * Of a list of names `symbol` is the first at fault, and `others` are all others.
 */
export class FunctionOffsetError extends Schema.TaggedError<FunctionOffsetError>()("FunctionOffsetError", {
  reason: Schema.Literals([
    "Name",
    "NoSymbols",
    "NotFound",
    "Version",
    "Undefined",
    "NotAFunction",
    "Elsewhere",
    "Ambiguous",
    "Indirect",
    "BeyondFunction",
    "NoMatch"
  ]),
  /** As it was asked for. */
  symbol: Schema.String,
  near: Schema.optionalKey(Schema.Array(Schema.String)),
  candidates: Schema.optionalKey(Schema.Array(Candidate)),
  library: Schema.optionalKey(Schema.String),
  size: Schema.optionalKey(Schema.BigInt),
  others: Schema.optionalKey(Schema.Array(Schema.String))
}) {
  override get message(): string {
    const others = this.others ?? []
    const more = others.length === 0 ? "" : ` (and ${others.length} other name${others.length === 1 ? "" : "s"})`
    const hint = this.hint
    return `${this.symbol}: ${sentence(this)}${more}${hint === undefined ? "" : `; ${hint}`}`
  }

  /** The same of a list of which other names are at fault, too. */
  with(others: ReadonlyArray<string>): FunctionOffsetError {
    const { candidates, library, near, reason, size, symbol } = this
    return new FunctionOffsetError({
      reason,
      symbol,
      others,
      ...(near === undefined ? {} : { near }),
      ...(candidates === undefined ? {} : { candidates }),
      ...(library === undefined ? {} : { library }),
      ...(size === undefined ? {} : { size })
    })
  }

  /** What to do, where that is known. */
  get hint(): string | undefined {
    const near = this.near ?? []
    switch (this.reason) {
      case "Name":
        return "names are NAME, NAME@VERSION, NAME@@VERSION, each with +OFFSET if wanted"
      case "NoSymbols":
        return "it was stripped: trace by offset, or find the symbols' package"
      case "NotFound":
      case "NoMatch":
        return near.length === 0 ? undefined : `did you mean ${near.join(", ")}?`
      case "Undefined":
        return `look in ${this.library ?? "the library that defines it"}`
      case "Elsewhere":
        return "look in the file that is executed, not in its debug information"
      case "Ambiguous":
        return "name a version, or take one of these offsets"
      case "Version":
        return `there is ${list(this.candidates ?? [])}`
      case "Indirect":
        return "trace the functions that it chooses among, whose names usually begin or end alike"
      case "NotAFunction":
      case "BeyondFunction":
        return undefined
    }
  }
}

/** The most candidates that a message lists. */
const maximumListed = 8

const list = (candidates: ReadonlyArray<Candidate>): string => {
  const shown = candidates.slice(0, maximumListed).map(({ binding, offset, symbol }) => {
    const place = offset === undefined ? "" : ` at 0x${offset.toString(16)}`
    return `${symbol}${place}${binding === "global" ? "" : ` (${binding})`}`
  })
  return candidates.length > maximumListed ? `${shown.join(", ")}, … (${candidates.length} in all)` : shown.join(", ")
}

const sentence = (error: FunctionOffsetError): string => {
  switch (error.reason) {
    case "Name":
      return "not a function's name"
    case "NoSymbols":
      return "the file has no symbols"
    case "NotFound":
      return "there is no such function"
    case "Version":
      return "the function has no such version"
    case "Undefined":
      return "the function is used here and not defined"
    case "NotAFunction":
      return "the symbol is not of a function"
    case "Elsewhere":
      return "the function's code is not in this file"
    case "Ambiguous":
      return `there are several: ${list(error.candidates ?? [])}`
    case "Indirect":
      return `an indirect function, chosen at start: the symbol is of its resolver${
        error.candidates === undefined ? "" : `, ${list(error.candidates)}`
      }`
    case "BeyondFunction":
      return error.size === undefined
        ? "that is beyond the end of the file"
        : `the function has only ${error.size} bytes`
    case "NoMatch":
      return "no function matches"
  }
}
