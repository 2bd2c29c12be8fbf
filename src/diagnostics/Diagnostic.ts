/**
 * One thing that is wrong with an object, or worth telling of it: at which level, by which rule, where.
 *
 * Every failure that is about an object becomes one, and so does what is found without a failure: findings of
 * `Compatibility`, growth over a `Budget`, what `Requirements` ask for. What shows them (SARIF, annotations of GitHub) knows
 * nothing of where they came from.
 *
 * ```ts
 * const [diagnostic] = Diagnostic.ofError(error, { object: "firewall.bpf.o" })
 * console.log(diagnostic.rule, diagnostic.message, diagnostic.place?.line)
 * ```
 *
 * Texts come from objects, logs and file systems, which may hold anything: they are cut to lengths that people read, and
 * whoever prints them escapes them.
 */
import type { VerifierError } from "../services/Kernel/KernelError.ts"
import * as Budget from "./Budget.ts"
import * as Compatibility from "./Compatibility.ts"
import * as Rules from "./diagnostic/Rules.ts"
import * as Requirements from "./Requirements.ts"
import { kinds, labelOf } from "./requirements/Requirement.ts"
import * as VerifierLogExplanation from "./VerifierLogExplanation.ts"

export { rules } from "./diagnostic/Rules.ts"
export type { Rule } from "./diagnostic/Rules.ts"

/** How bad it is: `error` stops something, `warning` may, `note` is told. */
export type Level = "error" | "warning" | "note"

/** All levels, the worst first. */
export const levels: ReadonlyArray<Level> = ["error", "warning", "note"]

/** A line of C. */
export interface Place {
  /** The path as the compiler wrote it. */
  readonly file: string
  /** Counted from 1; absent where only the file is known. */
  readonly line?: number
  /** Counts bytes of the line, from 1. */
  readonly column?: number
  /** The line itself, without the blanks around it. */
  readonly text?: string
}

/** Another place that has to do with it. */
export interface Related {
  /** `the reference was acquired here` */
  readonly message: string
  readonly place: Place
}

/** The diagnostic. */
export interface Diagnostic {
  readonly level: Level
  /** One of `rules`. */
  readonly rule: string
  /** What is wrong, in one line. */
  readonly message: string
  /** More of it, line by line. */
  readonly details: ReadonlyArray<string>
  /** What to do. */
  readonly hint?: string
  /** The path of the object, or of another file that it is about. */
  readonly path?: string
  /** The map or program. */
  readonly subject?: string
  /** The function with the instruction. */
  readonly function?: string
  /** The instruction, in slots. */
  readonly instruction?: number
  readonly place?: Place
  readonly related: ReadonlyArray<Related>
  /** What tells it from others of its rule, whatever becomes of lines and instructions. */
  readonly key: string
  /** What else there is to say, by name: for machines. */
  readonly properties: Readonly<Record<string, string | number | boolean | null | ReadonlyArray<string>>>
}

/** What is known beside an error. */
export interface About {
  /** The path of the object. */
  readonly object?: string | undefined
  /** Where a program of the object begins; `undefined` where its lines are not known. */
  readonly placeOf?: ((program: string) => Place | undefined) | undefined
}

/** Texts are at most this long, in UTF-16 units. */
const longest = 1000

/** Details have at most this many lines. */
const maximumDetails = 20

const cut = (text: string): string => text.length <= longest ? text : `${text.slice(0, longest)}…`

/** One line of a text that may have several. */
const oneLine = (text: string): string => cut(text.slice(0, 4 * longest).replaceAll(/\s*[\r\n]+\s*/g, "; ").trim())

/** A diagnostic of which only what differs from an empty one is given. What is given empty is left out. */
export const make = (
  {
    details = [],
    function: inside,
    hint,
    instruction,
    level,
    message,
    path,
    place,
    properties,
    related,
    rule,
    ...given
  }:
    & Pick<Diagnostic, "rule" | "message">
    & {
      readonly [K in Exclude<keyof Diagnostic, "rule" | "message">]?: Diagnostic[K] | undefined
    }
): Diagnostic => {
  const subject = given.subject === undefined || given.subject === "" ? undefined : cut(given.subject)
  const said = oneLine(message)
  return {
    level: level ?? "error",
    rule: Rules.rules.has(rule) ? rule : "failure",
    message: said === "" ? Rules.rules.get(rule)?.summary ?? "something failed" : said,
    details: details.filter((line) => line !== "").slice(0, maximumDetails).map(cut),
    ...(hint === undefined || hint === "" ? {} : { hint: cut(hint) }),
    ...(path === undefined || path === "" ? {} : { path }),
    ...(subject === undefined ? {} : { subject }),
    ...(inside === undefined || inside === "" ? {} : { function: cut(inside) }),
    ...(instruction === undefined ? {} : { instruction }),
    ...(place === undefined || place.file === "" ? {} : { place: placeOf(place) }),
    related: (related ?? []).filter(({ place }) => place.file !== "").map((each) => ({
      message: oneLine(each.message) || "see here",
      place: placeOf(each.place)
    })),
    key: cut(given.key ?? `${subject ?? ""}|${said}`),
    properties: properties ?? {}
  }
}

const isCount = (value: number | undefined): value is number =>
  value !== undefined && Number.isSafeInteger(value) && value >= 1

/** A place with what is known of it. */
const placeOf = ({ column, file, line, text }: { readonly [K in keyof Place]: Place[K] | undefined }): Place => ({
  file: cut(file ?? ""),
  ...(isCount(line) ? { line, ...(isCount(column) ? { column } : {}) } : {}),
  ...(text === undefined || text === "" ? {} : { text: cut(text) })
})

/** Diagnostics, the worst first; those of one level stay as they are. */
export const worstFirst = (diagnostics: ReadonlyArray<Diagnostic>): ReadonlyArray<Diagnostic> =>
  levels.flatMap((level) => diagnostics.filter((each) => each.level === level))

// ---- Errors ----

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
  if (file !== undefined && line !== undefined) return placeOf({ file, line, column: numberIn(error, "column"), text })
  const said = /^(.+):(\d{1,9})$/s.exec(textIn(error, "line") ?? "")
  return said === null ? undefined : placeOf({ file: said[1], line: Number(said[2]), column: undefined, text })
}

const ofRefusal = (error: VerifierError, { object, placeOf: begin }: About): Diagnostic => {
  const explanation = VerifierLogExplanation.of(error)
  const { cause, complaint, instruction, place, related } = explanation
  const what = cause === undefined
    ? error.summary.split("\n")[0] ?? ""
    : `${cause.title}${cause.subject === undefined ? "" : ` (${cause.subject})`}`
  const known = place?.file === undefined ? undefined : { ...place, file: place.file }
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

// ---- Findings ----

const verdictLevels: Readonly<Record<Compatibility.Finding["verdict"], Level>> = {
  fatal: "error",
  unknown: "warning",
  guarded: "note"
}

/** The diagnostics of a matrix: one for each finding. */
export const ofMatrix = (matrix: Compatibility.Matrix): ReadonlyArray<Diagnostic> =>
  matrix.findings.map((finding) => {
    const { candidates, detail, hint, kernels, object, programs, rule, slot, source, subject, verdict } = finding
    const row = object === undefined ? undefined : matrix.objects[object]
    const on = Compatibility.kernelRanges(matrix.kernels, kernels)
    const what = row === undefined ? "" : `${row.name} on `
    return make({
      level: verdictLevels[verdict],
      rule,
      message: `${cut(subject)}: ${cut(detail)} (${what}${on})`,
      hint,
      path: row?.path ?? matrix.kernels[kernels[0] ?? 0]?.path,
      subject: finding.function ?? programs[0],
      function: finding.function,
      instruction: slot,
      place: source,
      key: [row?.name ?? "", rule, finding.function ?? "", cut(subject)].join("|"),
      properties: {
        verdict,
        programs: programs.map(cut),
        object: row?.path ?? null,
        kernels: kernels.map((position) => matrix.kernels[position]?.name ?? ""),
        candidates: candidates.map((each) => cut(`${each.name} ${Compatibility.refusalText(each)}`))
      }
    })
  })

/** `6.12` of a release. */
const series = (release: string | undefined): string | undefined => /^\d+\.\d+/.exec(release ?? "")?.[0]

/** The diagnostics of a comparison: an error for each growth that is not allowed, and what else the budget does not say. */
export const ofBudget = (comparison: Budget.Comparison, about: About = {}): ReadonlyArray<Diagnostic> => {
  const { kernels, programs } = comparison
  const of = (rule: string, level: Level, name: string, message: string, more: Diagnostic["properties"] = {}) =>
    make({
      level,
      rule,
      message,
      path: about.object,
      subject: name,
      place: about.placeOf?.(name),
      key: [name, ...Object.values(more).slice(0, 1)].join("|"),
      properties: more
    })
  const growths = Budget.growths(comparison).map((growth) => {
    const { allowed, before, metric, now, program } = growth
    return of("budget-exceeded", "error", program, `program ${program} has ${Budget.growthText(growth)}`, {
      metric,
      before: before ?? null,
      now,
      allowed
    })
  })
  const others = programs.flatMap(({ name, status }) => {
    if (status === "new") return [of("budget-new", "note", name, `program ${name} is not in the budget`)]
    return status === "removed"
      ? [of("budget-removed", "note", name, `program ${name} is in the budget, and not in the object`)]
      : []
  })
  const other = kernels.before !== undefined && series(kernels.before) !== series(kernels.now)
    ? [make({
      level: "warning",
      rule: "budget-kernel",
      message: `the budget is of Linux ${kernels.before}, this is ${kernels.now ?? "another"}`,
      path: about.object
    })]
    : []
  return [...growths, ...other, ...others]
}

/** The most things that are named as the reason of one. */
const maximumNamed = 4

const placesOf = ({ uses }: Requirements.Requirement): ReadonlyArray<Place> =>
  uses.flatMap(({ source }) => source === undefined ? [] : [source])

/**
 * The diagnostics of what an object needs of the kernel: the oldest release that has all of it as a note; and where the release
 * of a kernel is given, a warning for everything that came later.
 */
export const ofRequirements = (
  { all, load }: Pick<Requirements.Requirements, "all" | "load">,
  release: string | undefined,
  about: About = {}
): ReadonlyArray<Diagnostic> => {
  const of = (
    rule: string,
    level: Level,
    message: string,
    needs: ReadonlyArray<Requirements.Requirement>
  ): Diagnostic => {
    const [place, ...more] = needs.flatMap(placesOf)
    const use = needs[0]?.uses[0]
    const begin = use?.program === undefined ? undefined : about.placeOf?.(use.program)
    return make({
      rule,
      level,
      message,
      path: about.object,
      subject: use?.program ?? use?.map,
      function: use?.function,
      instruction: use?.slot,
      place: place ?? begin,
      related: more.map((each) => ({ message: "here, too", place: each })),
      key: needs.map(({ kind, name }) => `${kind} ${name}`).join(", "),
      properties: { release: needs[0]?.since ?? null, requirements: needs.map(({ name }) => cut(name)) }
    })
  }
  const named = load.because.slice(0, maximumNamed).map(labelOf).join(", ")
  const others = load.because.length - maximumNamed
  const oldest = load.release === undefined ? [] : [of(
    "requires-kernel",
    "note",
    `the object needs Linux ${load.release} or newer, because of ${named}${others > 0 ? ` and ${others} more` : ""}`,
    load.because
  )]
  const newer = release === undefined
    ? []
    : all.filter((each) => each.required && each.when === "load" && Requirements.isIn(each, release) === false)
  return [
    ...newer.map((each) =>
      of(
        "requires-newer-kernel",
        "warning",
        `${labelOf(each)} (${kinds[each.kind]}) came with Linux ${Requirements.availabilityText(each)}, and this is ${
          cut(release ?? "")
        }`,
        [each]
      )
    ),
    ...oldest
  ]
}
