/**
 * Many objects on many kernels: the cells, each finding once with the kernels that have it, and histories.
 */
import type { Cell } from "../Compatibility.ts"
import type { Oldest } from "../requirements/Requirement.ts"
import { type Finding, make as makeFinding, type Verdict, verdicts, worse } from "./Finding.ts"
import * as History from "./History.ts"
import type { Places } from "./Place.ts"
import type { Counts } from "./Relocations.ts"

/** An object of a matrix. */
export interface ObjectRow {
  readonly name: string
  readonly path: string
  /** Why it cannot be opened. */
  readonly problem: string | undefined
  /** The oldest kernels that it can be loaded into, and attached on; `undefined` where it cannot be opened. */
  readonly oldest?: { readonly load: Oldest; readonly attach: Oldest } | undefined
}

/** A kernel of a matrix. */
export interface KernelColumn {
  readonly name: string
  readonly path: string
  /** Why its types cannot be read. */
  readonly problem: string | undefined
}

/** What one kernel came to: a cell for each object, `undefined` for one that cannot be opened. */
export interface CheckedColumn {
  readonly cells: ReadonlyArray<Cell | undefined>
  readonly places: Places
}

/** A finding, and where it is. */
export interface MatrixFinding extends Finding {
  /** Position of the object; `undefined` for what is about a kernel alone. */
  readonly object: number | undefined
  /** Positions of the kernels, in order. */
  readonly kernels: ReadonlyArray<number>
}

/** One object on one kernel. */
export interface MatrixCell {
  readonly verdict: Verdict
  readonly relocations: Counts
  /** Positions in `findings`. */
  readonly findings: ReadonlyArray<number>
  readonly omitted: number
}

/** The matrix. */
export interface Matrix {
  readonly objects: ReadonlyArray<ObjectRow>
  readonly kernels: ReadonlyArray<KernelColumn>
  /** A row for each object, in it a cell for each kernel. */
  readonly cells: ReadonlyArray<ReadonlyArray<MatrixCell>>
  /** By object, the worst first. */
  readonly findings: ReadonlyArray<MatrixFinding>
  readonly histories: ReadonlyArray<History.History>
  /** What was not checked, with the objects and kernels that it was not checked for. */
  readonly unchecked: ReadonlyArray<Unchecked>
  /** How many cells have each verdict. */
  readonly summary: Readonly<Record<Verdict, number>>
}

/** Something that an object refers to and that was not checked. */
export interface Unchecked {
  readonly what: string
  readonly object: number
  readonly kernels: ReadonlyArray<number>
}

const noCounts: Counts = { relocations: 0, resolved: 0, guarded: 0, unknown: 0, fatal: 0 }

interface Collected {
  readonly object: number | undefined
  readonly finding: Finding
  readonly kernels: Array<number>
  readonly order: number
}

/** Findings that say the same, whatever the kernel, are one. */
class Findings {
  readonly #known = new Map<string, Collected>()

  add(object: number | undefined, kernel: number, finding: Finding): Collected {
    const { candidates, detail, kinds, programs, rule, slot, source, subject, verdict } = finding
    const key = JSON.stringify([
      object ?? -1,
      rule,
      verdict,
      subject,
      detail,
      finding.function,
      slot,
      source?.file,
      source?.line,
      programs,
      kinds,
      candidates
    ])
    const known = this.#known.get(key)
    if (known === undefined) {
      const collected = { object, finding, kernels: [kernel], order: this.#known.size }
      this.#known.set(key, collected)
      return collected
    }
    if (known.kernels.at(-1) !== kernel) known.kernels.push(kernel)
    return known
  }

  sorted(): ReadonlyArray<Collected> {
    const rank = ({ finding }: Collected): number => -verdicts.indexOf(finding.verdict)
    return [...this.#known.values()].sort((one, other) =>
      (one.object ?? -1) - (other.object ?? -1) || rank(one) - rank(other) || one.order - other.order
    )
  }
}

/**
 * Puts a matrix together. A column is `undefined` where the kernel has a problem. Objects and kernels that cannot be read are
 * findings like others, and fatal: nobody has looked at them.
 */
export const assemble = (
  objects: ReadonlyArray<ObjectRow>,
  kernels: ReadonlyArray<KernelColumn>,
  columns: ReadonlyArray<CheckedColumn | undefined>,
  names: History.Names = new Map()
): Matrix => {
  const findings = new Findings()
  const unchecked = new Map<
    string,
    { readonly what: string; readonly object: number; readonly kernels: Array<number> }
  >()
  const summary = { green: 0, guarded: 0, unknown: 0, fatal: 0 }
  interface Draft extends Omit<MatrixCell, "findings"> {
    readonly collected: ReadonlyArray<Collected>
  }
  const drafts = objects.map((object, row) =>
    kernels.map((kernel, position): Draft => {
      const collected: Array<Collected> = []
      const checked = columns[position]?.cells[row]
      let verdict: Verdict = checked?.verdict ?? "green"
      const problem = (rule: "object-unreadable" | "kernel-unreadable", about: number | undefined, detail: string) => {
        verdict = worse(verdict, "fatal")
        const subject = rule === "object-unreadable" ? object.path : kernel.path
        collected.push(findings.add(about, position, makeFinding({ rule, verdict: "fatal", subject, detail })))
      }
      if (object.problem !== undefined) problem("object-unreadable", row, object.problem)
      if (kernel.problem !== undefined) problem("kernel-unreadable", undefined, kernel.problem)
      for (const finding of checked?.findings ?? []) collected.push(findings.add(row, position, finding))
      for (const what of checked?.unchecked ?? []) {
        const known = unchecked.get(`${row} ${what}`)
        if (known === undefined) unchecked.set(`${row} ${what}`, { what, object: row, kernels: [position] })
        else known.kernels.push(position)
      }
      summary[verdict]++
      const omitted = checked?.omitted ?? 0
      return { verdict, relocations: checked?.relocations ?? noCounts, collected, omitted }
    })
  )
  const sorted = findings.sorted()
  const positions = new Map(sorted.map((collected, position) => [collected, position]))
  return {
    objects,
    kernels,
    cells: drafts.map((row) =>
      row.map(({ collected, omitted, relocations, verdict }): MatrixCell => ({
        verdict,
        relocations,
        findings: [...new Set(collected.map((each) => positions.get(each) ?? 0))].sort((one, other) => one - other),
        omitted
      }))
    ),
    findings: sorted.map(({ finding, kernels, object }) => ({ ...finding, object, kernels })),
    histories: History.make(columns.map((column) => column?.places), names),
    unchecked: [...unchecked.values()],
    summary
  }
}

/** Kernels from one position to another: `6.1 to 6.6`. */
export const kernelRange = (kernels: ReadonlyArray<KernelColumn>, from: number, to: number): string => {
  const [first, last] = [kernels[from]?.name ?? "", kernels[to]?.name ?? ""]
  return from === to ? first : from + 1 === to ? `${first}, ${last}` : `${first} to ${last}`
}

/** Kernels by their positions, those in a row as a range: `6.1 to 6.6, 6.12`. */
export const kernelRanges = (kernels: ReadonlyArray<KernelColumn>, positions: ReadonlyArray<number>): string => {
  if (positions.length === kernels.length && kernels.length > 1) return "all kernels"
  const ranges: Array<readonly [number, number]> = []
  for (const position of positions) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] + 1 === position) ranges[ranges.length - 1] = [last[0], position]
    else ranges.push([position, position])
  }
  return ranges.map(([from, to]) => kernelRange(kernels, from, to)).join(", ")
}
