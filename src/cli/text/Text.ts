/**
 * Text for terminals as data: lines of spans, coloured and fitted when they are rendered.
 *
 * Renderers answer lines, never strings with escape sequences in them, so every character that comes from an object file
 * passes through `escape` in one place: a name with control characters in it cannot move the cursor, retitle a window or
 * hide the line behind it.
 */
import { displayWidth } from "effect/cli/CliOutput"

/** What a span is to the reader; `render` knows the colours. */
export type Tone = "heading" | "name" | "dim" | "good" | "warning" | "error"

/** Text of one tone. */
export interface Span {
  readonly tone: Tone
  readonly text: string
}

/** A part of a line: text of a tone, or of none. */
export type Piece = string | Span

/** One line. */
export interface Line {
  readonly pieces: ReadonlyArray<Piece>
  /**
   * How many columns what follows is indented by where the line is longer than the terminal is wide and is broken
   * between words; `undefined` leaves it to the terminal. Nothing is ever cut off.
   */
  readonly overflow: number | undefined
}

/** What `render` fits text to. */
export interface Rendering {
  readonly colors: boolean
  /** Columns of the terminal; absent where the output is no terminal, and lines are as long as they are. */
  readonly width?: number
}

/** No colours, no width: what goes into files and pipes. */
export const plain: Rendering = { colors: false }

/** Text of a tone. */
export const span = (tone: Tone, text: string): Span => ({ tone, text })

/** A line that is left as long as it is. */
export const line = (...pieces: ReadonlyArray<Piece>): Line => ({ pieces, overflow: undefined })

/** A line that is broken between words; further lines are indented by `indent` columns. */
export const wrapped = (indent: number, ...pieces: ReadonlyArray<Piece>): Line => ({ pieces, overflow: indent })

/** The empty line. */
export const blank: Line = line()

/** A heading. */
export const heading = (text: string): Line => line(span("heading", text))

/** Control characters, line and paragraph separators, and the characters that turn the direction of text. */
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Surrogate}\ufeff]/gu

/** The text with everything that a terminal would act upon written as `\xNN` or `\u{NNNN}`, tabs as four spaces. */
export const escape = (text: string): string =>
  text.replaceAll("\t", "    ").replaceAll(unprintable, (character) => {
    const code = character.codePointAt(0) ?? 0
    return code <= 0xff ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`
  })

/**
 * Text that a runner of GitHub's takes for no command, whatever is in it: neither `::name::` at the beginning of a line nor
 * `##[name]` in it. JSON says the same afterwards.
 */
export const withoutCommands = (text: string): string =>
  text.replaceAll(/^([\s\u0085]*):(?=:)/gm, "$1\\u003a").replaceAll("##[", "#\\u0023[")

/** The same of text in parts, which may end anywhere. */
export function* partsWithoutCommands(parts: Iterable<Uint8Array>): Generator<Uint8Array> {
  const [decoder, encoder] = [new TextDecoder("utf-8", { ignoreBOM: true }), new TextEncoder()]
  let rest = ""
  for (const part of parts) {
    const text = rest + decoder.decode(part, { stream: true })
    const end = text.lastIndexOf("\n") + 1
    rest = text.slice(end)
    if (end > 0) yield encoder.encode(withoutCommands(text.slice(0, end)))
  }
  rest += decoder.decode()
  if (rest !== "") yield encoder.encode(withoutCommands(rest))
}

const textOf = (piece: Piece): string => escape(typeof piece === "string" ? piece : piece.text)

/** How many columns a line takes. */
export const widthOf = (pieces: ReadonlyArray<Piece>): number =>
  pieces.reduce((sum, piece) => sum + displayWidth(textOf(piece)), 0)

/** A cell of a table. */
export type Cell = Piece | ReadonlyArray<Piece>

const isPieces = (cell: Cell): cell is ReadonlyArray<Piece> => Array.isArray(cell)

/** A space at which no line is broken; it is printed as any other. */
const fixedSpace = "\u00a0"

const fixed = (text: string): string => text.replaceAll(" ", fixedSpace)

/** The pieces of a cell. A row that is too long is broken between its columns, not within them. */
const piecesOf = (cell: Cell): ReadonlyArray<Piece> =>
  (isPieces(cell) ? cell : [cell]).map((each) =>
    typeof each === "string" ? fixed(each) : span(each.tone, fixed(each.text))
  )

/** Columns between two columns of a table, and before the first. */
const gap = "  "

/** The widest that a column but the last is made, so that one long name does not push the others off the screen. */
const maximumColumn = 40

/**
 * Rows with their columns aligned, the header's in capitals. Columns without any text are left out; so is the header of
 * a table without rows.
 */
export const table = (header: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<Cell>>): ReadonlyArray<Line> => {
  if (rows.length === 0) return []
  const used = header.map((_, column) => rows.some((row) => widthOf(piecesOf(row[column] ?? "")) > 0))
  const keep = <A>(row: ReadonlyArray<A>): ReadonlyArray<A> => row.filter((_, column) => used[column] === true)
  const titles = keep(header).map((title): Cell => span("dim", title.toUpperCase()))
  const kept = [titles, ...rows.map(keep)].map((row) => row.map(piecesOf))
  const widths = titles.map((_, column) =>
    kept.reduce((widest, row) => Math.max(widest, Math.min(maximumColumn, widthOf(row[column] ?? []))), 0)
  )
  return kept.map((row) => {
    const pieces: Array<Piece> = []
    row.forEach((cell, column) => {
      pieces.push(gap, ...cell)
      if (column < row.length - 1) pieces.push(" ".repeat(Math.max(0, (widths[column] ?? 0) - widthOf(cell))))
    })
    return wrapped(4, ...pieces)
  })
}

/**
 * The parameters of SGR sequences that switch a tone on and off again. Not from Node's `styleText`, whose module loads
 * streams, sockets and workers.
 */
const styles: Readonly<Record<Tone, readonly [on: number, off: number]>> = {
  heading: [1, 22],
  name: [36, 39],
  dim: [2, 22],
  good: [32, 39],
  warning: [33, 39],
  error: [31, 39]
}

const paint = (tone: Tone | undefined, text: string, colors: boolean): string => {
  if (tone === undefined || !colors || text === "") return text
  const [on, off] = styles[tone]
  return `\u001b[${on}m${text}\u001b[${off}m`
}

const toneOf = (piece: Piece): Tone | undefined => typeof piece === "string" ? undefined : piece.tone

/** Breaks a line between words so that each part fits; a word that is too long stands alone. */
const breakAt = (pieces: ReadonlyArray<Piece>, indent: number, width: number): ReadonlyArray<ReadonlyArray<Piece>> => {
  const lines: Array<Array<Piece>> = [[]]
  let used = 0
  for (const piece of pieces) {
    const tone = toneOf(piece)
    // Words of one piece that stay on one line stay one piece.
    let text = ""
    const put = (): void => {
      if (text !== "") lines.at(-1)?.push(tone === undefined ? text : span(tone, text))
      text = ""
    }
    for (const word of textOf(piece).split(/(?<=[^ ])(?= )/)) {
      const wide = displayWidth(word)
      if (used > indent && used + wide > width) {
        put()
        lines.push([" ".repeat(indent)])
        text = word.trimStart()
        used = indent + displayWidth(text)
      } else {
        text += word
        used += wide
      }
    }
    put()
  }
  return lines
}

/** The lines as text, each with its newline. */
export const render = (lines: ReadonlyArray<Line>, { colors, width }: Rendering): string =>
  lines.flatMap(({ overflow, pieces }) =>
    width === undefined || overflow === undefined ? [pieces] : breakAt(pieces, overflow, width)
  ).map((pieces) =>
    `${
      pieces.map((piece) => paint(toneOf(piece), textOf(piece), colors)).join("").replaceAll(fixedSpace, " ").trimEnd()
    }\n`
  ).join(
    ""
  )

/** A count with its noun: `1 map`, `2 maps`. */
export const counted = (count: number, noun: string, plural = `${noun}s`): string =>
  `${count} ${count === 1 ? noun : plural}`
