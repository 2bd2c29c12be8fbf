/**
 * Failures as diagnostics.
 */
import type { VerifierError } from "../../services/Kernel/KernelError.ts"
import * as VerifierLogExplanation from "../VerifierLogExplanation.ts"
import { type About, cut, type Diagnostic, make, oneLine, type Place, placeOf } from "./Model.ts"
import * as Rules from "./Rules.ts"

const textIn = (error: object, name: string): string | undefined => {
  // Every error has a name and a message, also one that was given none.
  const value: unknown = name === "message" || Object.hasOwn(error, name) ? Reflect.get(error, name) : undefined
  return typeof value === "string" && value !== "" ? value : undefined
}

const numberIn = (error: object, name: string): number | undefined => {
  const value: unknown = Reflect.get(error, name)
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

const isVerifierError = (error: object): error is VerifierError =>
  Reflect.get(error, "_tag") === "VerifierError" && typeof Reflect.get(error, "log") === "string"

/** The forms in which messages carry their hint. */
const withoutHint = (message: string, hint: string | undefined): string => {
  const ending = hint === undefined
    ? undefined
    : [`\nhint: ${hint}`, `; ${hint}`, ` (${hint})`].find((each) => message.endsWith(each))
  return ending === undefined ? message : message.slice(0, -ending.length)
}

/** `count.bpf.c:12`, as a place. */
const placeIn = (error: object): Place | undefined => {
  const file = textIn(error, "file")
  const text = textIn(error, "source")
  const line = numberIn(error, "line")
  if (file !== undefined && line !== undefined) {
    return placeOf({ file, line, column: numberIn(error, "column"), text, indent: numberIn(error, "indent") })
  }
  const said = /^(.+):(\d{1,9})$/s.exec(textIn(error, "line") ?? "")
  return said === null ? undefined : placeOf({ file: said[1], line: Number(said[2]), text })
}

const ofRefusal = (error: VerifierError, { object, placeOf: begin }: About): Diagnostic => {
  const explanation = VerifierLogExplanation.of(error)
  const { cause, complaint, instruction, place, related } = explanation
  const what = cause === undefined
    ? error.summary.split("\n")[0] ?? ""
    : `${cause.title}${cause.subject === undefined ? "" : ` (${cause.subject})`}`
  const known = place?.file === undefined ? undefined : { ...place, indent: error.indent }
  return make({
    rule: cause === undefined && error.log === ""
      ? Rules.ofCall("ProgLoad", textIn(error, "reason"))
      : Rules.ofCause(cause?.id),
    message: `program ${error.program} was refused (${error.errno})${what === "" ? "" : `: ${what}`}`,
    details: cause === undefined || complaint === "" ? [] : [`the verifier says: ${oneLine(complaint)}`],
    hint: explanation.advice ?? error.hint,
    path: object,
    subject: error.program,
    instruction: instruction?.at ?? error.instruction,
    place: known ?? placeIn(error) ?? begin?.(error.program),
    related: related.flatMap(({ place, what }) =>
      place?.file === undefined ? [] : [{ message: what, place: { ...place, file: place.file } }]
    ),
    key: `${error.program}|${cause?.id ?? error.errno}|${cause?.subject ?? ""}`,
    properties: { errno: error.errno, cause: cause?.id ?? null, ...nameOf(error.relocation, "relocation") }
  })
}

const nameOf = (value: string | undefined, key: string) => value === undefined ? {} : { [key]: cut(value) }

/** What an error is about: a program, a map, a symbol. */
const subjectOf = (error: object): string | undefined =>
  ["program", "map", "name", "symbol", "subject"].map((name) => textIn(error, name)).find((name) => name !== undefined)

/** The file that an error is about by itself: one that cannot be read, or one of many that are linked. */
const fileOf = (error: object, tag: string): string | undefined =>
  tag === "FileReadError" ? textIn(error, "path") : tag === "LinkError" ? textIn(error, "file") : undefined

/** What of a map the kernel refuses. */
const attributesOf = (error: object): ReadonlyArray<string> => {
  const attributes: unknown = Reflect.get(error, "attributes")
  return (Array.isArray(attributes) ? attributes : []).flatMap((each: unknown) => {
    if (typeof each !== "object" || each === null) return []
    const [attribute, value, reason] = ["attribute", "value", "reason"].map((name) => textIn(each, name))
    return attribute === undefined ? [] : [`the kernel refuses ${attribute} ${value ?? ""}: ${reason ?? ""}`]
  })
}

/**
 * The diagnostics of a failure: whatever failed, there is one. Errors of the library tell where; of others there is the
 * message. `BudgetExceeded` has none: `ofBudget` tells of each growth.
 */
export const ofError = (error: object, about: About = {}): ReadonlyArray<Diagnostic> => {
  const tag = textIn(error, "_tag") ?? ""
  if (tag === "BudgetExceeded") return []
  if (isVerifierError(error)) return [ofRefusal(error, about)]
  const reason = textIn(error, "reason")
  const call = textIn(error, "call")
  const hint = textIn(error, "hint")
  const [message = "", ...details] = withoutHint(textIn(error, "message") ?? "", hint).split("\n")
  const subject = subjectOf(error)
  const begin = subject === undefined ? undefined : about.placeOf?.(subject)
  return [make({
    rule: tag === "KernelError" ? Rules.ofCall(call ?? "", reason) : Rules.ofError(tag, reason),
    message,
    details: [...details.filter((line) => line !== textIn(error, "source")), ...attributesOf(error)],
    hint,
    path: fileOf(error, tag) ?? about.object,
    subject,
    function: textIn(error, "function"),
    instruction: numberIn(error, "slot") ?? numberIn(error, "instruction"),
    place: placeIn(error) ?? begin,
    key: [tag, reason ?? call ?? "", subject ?? "", textIn(error, "errno") ?? ""].join("|"),
    properties: {
      error: tag,
      ...nameOf(textIn(error, "errno"), "errno"),
      ...nameOf(textIn(error, "section"), "section"),
      ...nameOf(textIn(error, "relocation"), "relocation")
    }
  })]
}
