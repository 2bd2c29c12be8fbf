/**
 * Values of BTF types in the notation of C initialisers, shortened to what fits in a line.
 */
import type { Json } from "../json/Json.ts"

/** The most elements of an array, and members of a struct, that are shown. */
const maximumParts = 16

/** The deepest nesting that is shown. */
const maximumDepth = 6

/** The longest text that is shown, in UTF-16 units. */
const maximumText = 80

const isArray = (value: Json): value is ReadonlyArray<Json> => Array.isArray(value)

/** Whether a value is zero in all of its parts, as everything in `.bss` is. */
const isZero = (value: Json): boolean => {
  if (isArray(value)) return value.every(isZero)
  if (typeof value === "object" && value !== null) return Object.values(value).every(isZero)
  return value === 0 || value === "0" || value === false || value === ""
}

const list = (parts: ReadonlyArray<string>, more: number): string =>
  `{${[...parts, ...(more > 0 ? ["…"] : [])].join(", ")}}`

/** Whether a text is a number that JSON cannot hold, or the name of an enum's value: both stand without quotes. */
const isWord = (text: string): boolean => /^(-?\d+|[A-Za-z_]\w*)$/.test(text)

const quoted = (text: string): string =>
  JSON.stringify(text.length > maximumText ? `${text.slice(0, maximumText)}…` : text)

/** A decoded value as a person would write it: `{23, 0, 0, 0}`, `{packets = 1, bytes = 60}`, `"text"`, `true`. */
export const jsonValueText = (value: Json, depth = 0): string => {
  if (typeof value === "string") return isWord(value) ? value : quoted(value)
  if (value === null || typeof value !== "object") return String(value)
  if (depth >= maximumDepth) return "{…}"
  const parts = isArray(value)
    ? value.slice(0, maximumParts).map((each) => jsonValueText(each, depth + 1))
    : Object.entries(value).slice(0, maximumParts).map(([name, each]) => `${name} = ${jsonValueText(each, depth + 1)}`)
  const length = isArray(value) ? value.length : Object.keys(value).length
  return length > 1 && isZero(value) ? "{0}" : list(parts, length - maximumParts)
}

/** The value of an array of characters: a text in quotes, or numbers where the bytes are no text. */
export const quotedText = (value: Json): string => typeof value === "string" ? quoted(value) : jsonValueText(value)
