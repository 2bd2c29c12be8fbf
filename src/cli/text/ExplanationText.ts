/**
 * A refused program as text: the line of C with a caret under what is meant, what the verifier knew there, and the way there.
 */
import { displayWidth } from "effect/cli/CliOutput"
import type { Explanation, Known, Place, Related } from "../../diagnostics/VerifierLogExplanation.ts"
import type { Branch } from "../../diagnostics/VerifierLogPath.ts"
import { escape, type Line, line, type Piece, span, wrapped } from "./Text.ts"

/** What is shown of a line where nothing tells how wide the terminal is, in columns. */
const defaultColumns = 160

/** Fewer columns show nothing that helps. */
const fewestColumns = 24

const widthOf = (text: string): number => displayWidth(escape(text))

/** Characters as readers count them: one with its accents is one. */
const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" })

/** The most of `text` that takes at most `columns`, from its beginning or its end. */
const fitting = (text: string, columns: number, from: "start" | "end"): string => {
  const parts = [...segmenter.segment(text)].map(({ segment }) => segment)
  if (from === "end") parts.reverse()
  let used = 0
  let count = 0
  for (; count < parts.length; count++) {
    used += widthOf(parts[count] ?? "")
    if (used > columns) break
  }
  const kept = parts.slice(0, count)
  return (from === "end" ? kept.reverse() : kept).join("")
}

/** What of a line fits into so many columns, the caret with it: the text before the caret, under it, and behind it. */
const window = (
  text: string,
  { end, start }: { readonly start: number; readonly end: number },
  columns: number
): readonly [before: string, under: string, after: string] => {
  const [before, under, after] = [text.slice(0, start), text.slice(start, end), text.slice(end)]
  if (widthOf(text) <= columns) return [before, under, after]
  const shown = fitting(under, columns - 2, "start")
  const left = columns - 2 - widthOf(shown)
  const behind = fitting(after, Math.floor(left / 2), "start")
  const ahead = fitting(before, left - widthOf(behind), "end")
  return [
    ahead.length < before.length ? `…${ahead}` : ahead,
    shown,
    shown.length < under.length || behind.length < after.length ? `${behind}…` : behind
  ]
}

const where = ({ column, file, line }: Place): string =>
  [file ?? "", ...(line === undefined ? [] : [String(line)]), ...(column === undefined ? [] : [String(column)])].join(
    ":"
  )

/** A place: where it is, its line, and the caret. */
const placeText = (place: Place, columns: number): ReadonlyArray<Line> => {
  const number = place.line === undefined ? "" : String(place.line)
  const margin = " ".repeat(number.length)
  const caret = place.caret ?? { start: 0, end: 0 }
  const [before, under, after] = window(place.text, caret, Math.max(fewestColumns, columns - number.length - 3))
  return [
    ...(place.file === undefined ? [] : [line(span("dim", `${margin}--> `), where(place))]),
    ...(place.text === "" ? [] : [line(span("dim", `${number} | `), before, under, after)]),
    ...(place.caret === undefined || place.text === "" ? [] : [
      line(
        span("dim", `${margin} | `),
        " ".repeat(widthOf(before)),
        span("error", "^".repeat(Math.max(1, widthOf(under))))
      )
    ])
  ]
}

const noteOf = (name: string, ...pieces: ReadonlyArray<Piece>): Line => wrapped(4, span("dim", `  ${name} `), ...pieces)

const knownText = ({ name, words }: Known): Line => noteOf("known:", span("name", name), ` is ${words}`)

const relatedText = ({ at, place, what }: Related): Line => {
  const lines = place === undefined ? "" : `, ${where(place)}: ${place.text}`
  return noteOf("see:", `${what}, instruction ${at}${lines}`)
}

const branchText = ({ at, condition, source }: Branch): Line => {
  const place = source === undefined ? "" : `, ${where(source)}: ${source.text}`
  return noteOf("path:", `${condition} at instruction ${at}${place}`)
}

/** The lines below the message of a refusal. `columns` is how wide the terminal is. */
export const explanationText = (explanation: Explanation, columns = defaultColumns): ReadonlyArray<Line> => {
  const { cause, instruction, known, path, pathBefore, place, reason, related } = explanation
  return [
    ...(place === undefined ? [] : placeText(place, columns)),
    ...(cause === undefined ? [] : [noteOf("cause:", cause.title)]),
    ...(reason === undefined ? [] : [noteOf("reason:", reason)]),
    ...(instruction?.text === undefined
      ? []
      : [noteOf("instruction:", `${instruction.at}: ${instruction.text}`)]),
    ...known.map(knownText),
    ...related.map(relatedText),
    ...(pathBefore === 0 ? [] : [noteOf("path:", `${pathBefore} branches before`)]),
    ...path.map(branchText)
  ]
}
