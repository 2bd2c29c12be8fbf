/**
 * What `core check` prints: the matrix with a sign for each cell, what stands behind the bad ones, and what became of the
 * fields that are missing somewhere.
 */
import { displayWidth } from "effect/cli/CliOutput"
import * as Compatibility from "../../diagnostics/Compatibility.ts"
import { compare } from "../../diagnostics/requirements/Release.ts"
import { clip } from "./Clip.ts"
import { oldestReasons } from "./RequirementsText.ts"
import { blank, counted, escape, heading, type Line, line, type Piece, span, type Tone, wrapped } from "./Text.ts"

/** A sign for each verdict: different without colours, too. */
const signs: Readonly<Record<Compatibility.Verdict, Piece>> = {
  green: span("good", "+"),
  guarded: span("warning", "~"),
  unknown: span("heading", "?"),
  fatal: span("error", "x")
}

const meanings: Readonly<Record<Compatibility.Verdict, string>> = {
  green: "has all that it needs",
  guarded: "lacks something, and checks for it",
  unknown: "lacks something, and perhaps checks for it",
  fatal: "cannot be loaded"
}

const tones: Readonly<Record<Compatibility.Finding["verdict"], Tone>> = {
  fatal: "error",
  unknown: "heading",
  guarded: "warning"
}

/** How the matrix is printed. */
export interface MatrixOptions {
  /** Columns of the terminal; without it a line is as long as it is. */
  readonly width?: number | undefined
  /** Whether findings that are guarded are listed, too. */
  readonly guarded?: boolean
}

/** Columns between two columns of the table. */
const GAP = 2

/** The widest that names are made room for, in columns. */
const NAME = 40

/** Kernels with longer names than this have numbers above their columns, and the names below the table. */
const TITLE = 10

const padded = (text: string, width: number): string => text + " ".repeat(Math.max(0, width - displayWidth(text)))

const cut = (text: string, width: number): string => {
  const shown = escape(text)
  if (displayWidth(shown) <= width) return shown
  let result = ""
  for (const character of shown) {
    if (displayWidth(result) + displayWidth(character) > width - 1) break
    result += character
  }
  return `${result}…`
}

/** The table, in blocks of as many kernels as fit beside each other. */
const tableLines = (matrix: Compatibility.Matrix, width: number | undefined): ReadonlyArray<Line> => {
  const { cells, kernels, objects } = matrix
  const byName = kernels.every(({ name }) => displayWidth(escape(name)) <= TITLE)
  const titles = kernels.map(({ name }, position) => byName ? escape(name) : String(position + 1))
  const column = titles.reduce((widest, title) => Math.max(widest, displayWidth(title)), 1)
  const names = objects.map(({ name }) => cut(name, NAME))
  const first = names.reduce((widest, name) => Math.max(widest, displayWidth(name)), 0)
  const room = width === undefined ? kernels.length : Math.floor((width - GAP - first) / (column + GAP))
  const block = Math.max(1, Math.min(kernels.length, room))
  const lines: Array<Line> = []
  for (let start = 0; start < kernels.length; start += block) {
    const shown = titles.slice(start, start + block)
    if (start > 0) lines.push(blank)
    lines.push(
      line(" ".repeat(GAP + first), ...shown.map((title) => span("dim", " ".repeat(GAP) + padded(title, column))))
    )
    for (const [row, name] of names.entries()) {
      lines.push(line(
        " ".repeat(GAP),
        span("name", padded(name, first)),
        ...shown.flatMap((_, offset) => {
          const verdict = cells[row]?.[start + offset]?.verdict ?? "fatal"
          return [" ".repeat(GAP), signs[verdict], " ".repeat(column - 1)]
        })
      ))
    }
  }
  const legend = Compatibility.verdicts.filter((verdict) => matrix.summary[verdict] > 0)
  lines.push(blank)
  for (const verdict of legend) lines.push(line("  ", signs[verdict], ` ${verdict}: ${meanings[verdict]}`))
  if (!byName) {
    lines.push(blank)
    kernels.forEach(({ name }, position) => {
      lines.push(line(`  ${padded(String(position + 1), column)}  `, span("name", clip(name))))
    })
  }
  return lines
}

/** `core.bpf.c:12`, or the function. */
const whereOf = ({ function: name, programs, source }: Compatibility.Finding): string => {
  if (source !== undefined && source.line > 0) {
    return clip(`${source.file.slice(source.file.lastIndexOf("/") + 1)}:${source.line}`)
  }
  const where = name ?? programs[0]
  return where === undefined ? "" : clip(where)
}

/** The most programs of a finding, and findings of an object, that are listed. */
const PROGRAMS = 4
const LISTED = 40

const findingLines = (
  { kernels }: Compatibility.Matrix,
  finding: Compatibility.MatrixFinding
): ReadonlyArray<Line> => {
  const { detail, hint, optional, programs, source, subject, verdict } = finding
  const where = whereOf(finding)
  const more = programs.length - PROGRAMS
  const users = programs.slice(0, PROGRAMS).map(clip).join(", ") + (more > 0 ? `, and ${more} more` : "")
  return [
    wrapped(
      6,
      "  ",
      span(tones[verdict], verdict),
      "  ",
      span("name", clip(subject)),
      where === "" ? "" : `  ${where}`
    ),
    wrapped(8, "      ", clip(detail)),
    ...(source === undefined || source.text === "" ? [] : [line("      ", span("dim", clip(source.text)))]),
    wrapped(8, "      on ", clip(Compatibility.kernelRanges(kernels, finding.kernels))),
    ...(users === "" ? [] : [wrapped(8, `      ${optional ? "in what is optional: " : "in "}`, users)]),
    ...(hint === undefined ? [] : [wrapped(8, "      ", span("warning", "hint: "), clip(hint))])
  ]
}

const findingsText = (matrix: Compatibility.Matrix, guarded: boolean): ReadonlyArray<Line> => {
  const shown = matrix.findings.filter(({ verdict }) => guarded || verdict !== "guarded")
  const byObject = new Map<number | undefined, Array<Compatibility.MatrixFinding>>()
  for (const finding of shown) {
    const of = byObject.get(finding.object)
    if (of === undefined) byObject.set(finding.object, [finding])
    else of.push(finding)
  }
  return [...byObject].flatMap(([object, findings]) => [
    blank,
    heading(object === undefined ? "Kernels" : clip(matrix.objects[object]?.path ?? "")),
    ...findings.slice(0, LISTED).flatMap((finding) => findingLines(matrix, finding)),
    ...(findings.length > LISTED
      ? [wrapped(4, `  and ${findings.length - LISTED} more; --json and --html have all`)]
      : [])
  ])
}

/** The byte, and the bit in it, of an offset. */
const offsetText = (bitOffset: number): string =>
  bitOffset % 8 === 0 ? `byte ${bitOffset / 8}` : `byte ${Math.floor(bitOffset / 8)}, bit ${bitOffset % 8}`

/** Where a kernel has something, as a phrase. */
export const placeText = (place: Compatibility.Place): string => {
  switch (place._tag) {
    case "Present": {
      const { bitOffset, module, size, type, value } = place
      const parts = [
        ...(type === undefined ? [] : [`\`${clip(type)}\``]),
        ...(bitOffset === undefined ? [] : [`at ${offsetText(bitOffset)}`]),
        ...(size === undefined ? [] : [counted(size, "byte")]),
        ...(value === undefined ? [] : [`= ${BigInt.asIntN(64, value)}`]),
        ...(module === undefined ? [] : [`in module ${clip(module)}`])
      ]
      return parts.length === 0 ? "present" : parts.join(" ")
    }
    case "Absent":
      switch (place.reason) {
        case "NoType":
          return "not there"
        case "IncompatibleMember":
        case "IncompatibleType":
        case "NotEnum":
          return "another kind of type"
        case "DifferentType":
          return "different"
        default:
          return `no ${clip(place.at)}`
      }
    case "Unclear":
      return place.reason === "Ambiguous" ? "several that differ" : "not clear"
  }
}

/** The most histories that are printed. */
const HISTORIES = 40

const historyLines = (
  { kernels }: Compatibility.Matrix,
  { changes, reference, runs }: Compatibility.History
): ReadonlyArray<Line> => [
  wrapped(6, "  ", span("name", clip(reference.path))),
  ...runs.map(({ from, place, to }) => {
    const name = changes.find(({ after, before, name }) => name !== undefined && (after === from || before === to))
      ?.name
    const called = name === undefined || place._tag === "Present" ? "" : `, but ${clip(name)}`
    return wrapped(
      8,
      "      ",
      clip(Compatibility.kernelRange(kernels, from, to)),
      ": ",
      span(place._tag === "Present" ? "good" : "warning", placeText(place)),
      called
    )
  })
]

const historyText = (matrix: Compatibility.Matrix): ReadonlyArray<Line> => {
  // One kernel has no history.
  if (matrix.kernels.length < 2) return []
  const lacking = matrix.histories.filter((history) => Compatibility.isLacking(history) && history.runs.length > 1)
  if (lacking.length === 0) return []
  const more = lacking.length - HISTORIES
  return [
    blank,
    heading("What is missing from some kernels"),
    ...lacking.slice(0, HISTORIES).flatMap((history) => historyLines(matrix, history)),
    ...(more > 0 ? [wrapped(4, `  and ${more} more; --json and --html have all`)] : [])
  ]
}

const uncheckedText = ({ objects, unchecked }: Compatibility.Matrix): ReadonlyArray<Line> => {
  const byWhat = new Map<string, Array<string>>()
  for (const { object, what } of unchecked) {
    const name = objects[object]?.name ?? ""
    const of = byWhat.get(what)
    if (of === undefined) byWhat.set(what, [name])
    else of.push(name)
  }
  const all = [...byWhat]
  if (all.length === 0) return []
  const more = all.length - LISTED
  return [
    blank,
    heading("Not checked, since nothing is known of it"),
    ...all.slice(0, LISTED).map(([what, names]) =>
      wrapped(
        4,
        `  ${clip(what)}`,
        span("dim", ` (${clip(names.slice(0, PROGRAMS).join(", "))}${names.length > PROGRAMS ? ", …" : ""})`)
      )
    ),
    ...(more > 0 ? [wrapped(4, `  and ${more} more; --json and --html have all`)] : [])
  ]
}

const summaryText = ({ kernels, objects, summary }: Compatibility.Matrix): Line => {
  const parts = Compatibility.verdicts.filter((verdict) => summary[verdict] > 0)
    .map((verdict) => `${summary[verdict]} ${verdict}`)
  return wrapped(2, `${counted(objects.length, "object")} on ${counted(kernels.length, "kernel")}: ${parts.join(", ")}`)
}

/** The oldest kernel of each object, the newest of these first. */
const oldestText = ({ objects }: Compatibility.Matrix): ReadonlyArray<Line> => {
  const all = objects.flatMap(({ name, oldest }) => oldest === undefined ? [] : [{ name, oldest }])
    .filter(({ oldest: { load } }) => load.release !== undefined || load.open.length > 0)
    .toSorted((one, other) => compare(other.oldest.load.release ?? "", one.oldest.load.release ?? ""))
  if (all.length === 0) return []
  const more = all.length - LISTED
  return [
    blank,
    heading("The oldest Linux that has what the programs and maps are made of"),
    ...all.slice(0, LISTED).map(({ name, oldest: { attach, load } }) =>
      wrapped(
        8,
        `  ${(load.release ?? "?").padEnd(5)} `,
        span("name", clip(name)),
        span("dim", clip(`: ${oldestReasons(load)}`)),
        attach.release === load.release ? "" : `; to be attached ${attach.release ?? "?"}`
      )
    ),
    ...(more > 0 ? [wrapped(4, `  and ${more} more; --json and --html have all`)] : [])
  ]
}

/** The text of a matrix. */
export const matrixText = (matrix: Compatibility.Matrix, options: MatrixOptions = {}): ReadonlyArray<Line> => [
  ...tableLines(matrix, options.width),
  ...findingsText(matrix, options.guarded === true),
  ...historyText(matrix),
  ...oldestText(matrix),
  ...uncheckedText(matrix),
  blank,
  summaryText(matrix)
]
