/**
 * Failures as text: what went wrong, where, and what to do about it. No stack traces: they are for defects.
 */
import { type Line, line, span, wrapped } from "./Text.ts"

/** A failure as it is shown. */
export interface Report {
  /** What went wrong; several lines where the kernel said more. */
  readonly message: string
  /** What stands between the message and what to do: a place in C, what was known there. */
  readonly details?: ReadonlyArray<Line>
  /** What to do. */
  readonly hints: ReadonlyArray<string>
}

/** The forms in which messages of the library carry their hint. */
const endings = (hint: string): ReadonlyArray<string> => [`\nhint: ${hint}`, `; ${hint}`, ` (${hint})`]

const fieldOf = (error: object, name: string): string | undefined => {
  const value: unknown = Reflect.get(error, name)
  return typeof value === "string" && value !== "" ? value : undefined
}

/** The message of an error without its hint, and the hint. */
export const reportOf = (error: object): Report => {
  const message = fieldOf(error, "message") ?? "something failed, and did not say what"
  const hint = fieldOf(error, "hint")
  if (hint === undefined) return { message, hints: [] }
  const ending = endings(hint).find((each) => message.endsWith(each))
  return { message: ending === undefined ? message : message.slice(0, -ending.length), hints: [hint] }
}

/** The lines of a report. Lines of the message below the first are indented. */
export const errorText = ({ details = [], hints, message }: Report): ReadonlyArray<Line> => {
  const [first = "", ...rest] = message.split("\n")
  return [
    wrapped(2, span("error", "error: "), first),
    ...rest.map((text) => line(`  ${text}`)),
    ...details,
    ...hints.map((hint) => wrapped(2, span("warning", "hint: "), hint))
  ]
}

/** A note on standard error. */
export const noteText = (text: string): Line => wrapped(2, span("dim", text))
