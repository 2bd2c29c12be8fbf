/**
 * What a diagnostic is, and how one is made.
 */
import * as Rules from "./Rules.ts"

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
  /** Counts UTF-16 units of the line with its blanks, from 1. */
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

/** A text that is as long as people read. */
export const cut = (text: string): string => text.length <= longest ? text : `${text.slice(0, longest)}…`

/** One line of a text that may have several. */
export const oneLine = (text: string): string =>
  cut(text.slice(0, 4 * longest).replaceAll(/\s*[\r\n]+\s*/g, "; ").trim())

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
      readonly [K in Exclude<keyof Diagnostic, "rule" | "message" | "place">]?: Diagnostic[K] | undefined
    }
    & { readonly place?: Told | undefined }
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
    ...(place?.file === undefined || place.file === "" ? {} : { place: placeOf(place) }),
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

/** A line of C as compilers tell of it. */
export interface Told {
  readonly file?: string | undefined
  readonly line?: number | undefined
  /** Counts bytes of the line with its blanks, from 1. */
  readonly column?: number | undefined
  readonly text?: string | undefined
  /** How many bytes of blanks were in front of `text`; without it a line has nothing but ASCII in front of the column. */
  readonly indent?: number | undefined
}

/** A column in UTF-16 units, of one in bytes. */
const columnOf = (column: number, { indent, text }: Told): number => {
  if (text === undefined || indent === undefined || !Number.isSafeInteger(indent) || indent < 0) return column
  const inside = column - 1 - indent
  if (inside <= 0) return column
  const bytes = new TextEncoder().encode(text.slice(0, inside)).subarray(0, inside)
  return column - inside + new TextDecoder().decode(bytes).length
}

/** A place with what is known of it. */
export const placeOf = (told: Told): Place => {
  const { column, file, line, text } = told
  return {
    file: cut(file ?? ""),
    ...(isCount(line) ? { line, ...(isCount(column) ? { column: columnOf(column, told) } : {}) } : {}),
    ...(text === undefined || text === "" ? {} : { text: cut(text) })
  }
}

/** Diagnostics, the worst first; those of one level stay as they are. */
export const worstFirst = (diagnostics: ReadonlyArray<Diagnostic>): ReadonlyArray<Diagnostic> =>
  levels.flatMap((level) => diagnostics.filter((each) => each.level === level))
