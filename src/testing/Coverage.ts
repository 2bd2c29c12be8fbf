/**
 * Which lines of C ran, and how often: sums of what a simulated kernel has counted, and as text.
 */
import type { LineCount, ProgramCoverage } from "../services/Kernel/KernelSimulated.ts"

/** The lines of one file. */
export interface FileCoverage {
  readonly file: string
  /** Every line that has code, in order, with how often it ran. */
  readonly lines: ReadonlyArray<LineCount>
  /** Lines that ran at least once. */
  readonly covered: number
}

/** The lines of all programs together, by file: functions that several programs share are counted together. */
export const byFile = (programs: ReadonlyArray<ProgramCoverage>): ReadonlyArray<FileCoverage> => {
  const files = new Map<string, Map<number, LineCount>>()
  for (const { lines } of programs) {
    for (const line of lines) {
      let known = files.get(line.file)
      if (known === undefined) files.set(line.file, known = new Map<number, LineCount>())
      known.set(line.line, { ...line, count: line.count + (known.get(line.line)?.count ?? 0) })
    }
  }
  return [...files].map(([file, known]) => {
    const lines = [...known.values()].sort((one, other) => one.line - other.line)
    return { file, lines, covered: lines.filter(({ count }) => count > 0).length }
  }).sort((one, other) => one.file < other.file ? -1 : 1)
}

/** The share of lines that ran, in percent with one digit behind the point: 100 only where all did. */
export const percent = (covered: number, lines: number): number =>
  lines === 0 ? 100 : Math.floor(covered / lines * 1000) / 10

/** As text: for each file the share, then each line with its count, `-` in front of those that did not run. */
export const text = (programs: ReadonlyArray<ProgramCoverage>): string =>
  byFile(programs).map(({ covered, file, lines }) => {
    const width = Math.max(...lines.map(({ count }) => String(count).length), 1)
    const number = Math.max(...lines.map(({ line }) => String(line).length), 1)
    const rows = lines.map(({ count, line, text }) =>
      `  ${(count === 0 ? "-" : String(count)).padStart(width)}  ${String(line).padStart(number)}  ${text}`
    )
    return [`${file}: ${covered} of ${lines.length} lines, ${percent(covered, lines.length)} %`, ...rows].join("\n")
  }).join("\n")
