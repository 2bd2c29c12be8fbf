/**
 * Whether an object can be loaded into a kernel, by the kernel's types: what it refers to that the kernel does not have,
 * and whether its own checks keep it from using that.
 *
 * Checked are all CO-RE relocations, what programs are attached to (fentry, fexit, fmod_ret, tp_btf, lsm, iter), functions
 * and variables of the kernel, and structs that the object implements; what it needs of BPF itself (`Requirements`), as far
 * as the kernel's types or its release tell; the kernel's configuration where it is known. Types do not tell whether a
 * function may be called or attached to, which addresses kallsyms has, or what the verifier makes of a program.
 *
 * ```ts
 * const object = Compatibility.prepare(opened)
 * const kernel = Compatibility.target("6.1", KernelProfile.fromTypesAlone(types))
 * for (const { detail, subject, verdict } of Compatibility.check(object, kernel).findings) {
 *   if (verdict === "fatal") console.log(`${subject}: ${detail}`)
 * }
 * ```
 *
 * Pure: an object is prepared once for all kernels, a kernel made ready once for all objects. `assemble` makes a matrix of
 * the cells of many, with what became of each field over the kernels; where fields have other names in some kernels shows
 * once `nameIn` has answered `questions`.
 */
import * as Result from "effect/Result"
import { type BpfObject, functionAt, type KsymExtern, type Program } from "../stages/open/BpfObject.ts"
import type * as Core from "../stages/relocate/core/Core.ts"
import * as CoreReport from "../stages/relocate/CoreReport.ts"
import type { RelocateError } from "../stages/relocate/RelocateError.ts"
import * as SourceLines from "../stages/relocate/SourceLines.ts"
import { type Finding, make as makeFinding, optional, type Verdict, worse } from "./compatibility/Finding.ts"
import * as Needs from "./compatibility/Needs.ts"
import type * as Place from "./compatibility/Place.ts"
import * as Relocations from "./compatibility/Relocations.ts"
import * as StructOps from "./compatibility/StructOps.ts"
import * as Symbols from "./compatibility/Symbols.ts"
import type { Target } from "./compatibility/Target.ts"
import * as Requirements from "./Requirements.ts"

export { refusalText, rules, verdicts, worse } from "./compatibility/Finding.ts"
export type { Candidate, Finding, Rule, Verdict } from "./compatibility/Finding.ts"
export type { Place, Places, Reference, What } from "./compatibility/Place.ts"
export type { Counts } from "./compatibility/Relocations.ts"
export { make as target } from "./compatibility/Target.ts"
export type { Target } from "./compatibility/Target.ts"
export { isLacking, make as histories, questionKey, questions } from "./compatibility/History.ts"
export type { Change, ChangeKind, History, Names, Question, Run } from "./compatibility/History.ts"
export { assemble, kernelRange, kernelRanges } from "./compatibility/Matrix.ts"
export type {
  CheckedColumn,
  KernelColumn,
  Matrix,
  MatrixCell,
  MatrixFinding,
  ObjectRow,
  Unchecked
} from "./compatibility/Matrix.ts"
export { nameIn } from "./compatibility/Renames.ts"

/** The programs of an object that a load takes, or those that it leaves out unless it is told otherwise. */
interface Part {
  /** The object with just these programs turned on. */
  readonly object: BpfObject
  readonly programs: ReadonlyArray<Program>
  /** The kernel's symbols that they use, with the entry programs that do. */
  readonly externs: ReadonlyMap<KsymExtern, ReadonlyArray<string>>
  /** The C lines of its instructions. */
  readonly lines: SourceLines.Find
}

/** An object that is ready to be checked against kernels. */
export interface Prepared {
  readonly object: BpfObject
  readonly loaded: Part
  readonly optional: Part
  /** What it needs of BPF itself, with the releases that brought it. */
  readonly requirements: Requirements.Requirements
}

/** What an object comes to on a kernel. */
export interface Cell {
  readonly verdict: Verdict
  readonly relocations: Relocations.Counts
  /** The worst first; those of one verdict as they stand in the object. */
  readonly findings: ReadonlyArray<Finding>
  /** Findings that are left out, because there are too many. */
  readonly omitted: number
  /** What of the object was not checked, as a person would name it: the kernel's profile says nothing about it. */
  readonly unchecked: ReadonlyArray<string>
}

/** The most findings of a cell that are kept; the worst are. */
export const maximumFindings = 500

const noRelocations: Relocations.Counts = { relocations: 0, resolved: 0, guarded: 0, unknown: 0, fatal: 0 }

// ---- Objects ----

/** Relocations that are looked at for the symbols that programs use; real objects have some thousand. */
const VISITS = 4_000_000

/** Adds the symbols that a program uses, in itself or in a function that it calls. */
const collectExterns = (
  object: BpfObject,
  entry: Program,
  externs: Map<KsymExtern, Array<string>>,
  budget: { visits: number }
): void => {
  // Grows while it is walked over: a function is looked at once.
  const functions = new Set([entry])
  for (const { relocations } of functions) {
    budget.visits -= 1 + relocations.length
    if (budget.visits < 0) return
    for (const relocation of relocations) {
      if (relocation._tag === "Call" || relocation._tag === "Function") {
        const callee = object.programs[functionAt(object.programs, relocation.section, relocation.slot) ?? -1]
        if (callee !== undefined) functions.add(callee)
      }
      const extern = relocation._tag === "Extern" ? object.externs[relocation.extern] : undefined
      if (extern?._tag !== "Ksym") continue
      const users = externs.get(extern)
      if (users === undefined) externs.set(extern, [entry.name])
      else if (users.at(-1) !== entry.name) users.push(entry.name)
    }
  }
}

/**
 * The lines of an object, of which those that were looked for are remembered. What stands at an instruction is the same for
 * each kernel, and so are the words that its line is chosen by.
 */
const remembered = (object: BpfObject): SourceLines.Find => {
  const find = SourceLines.of(object)
  const known = new Map<number, SourceLines.SourceLine | undefined>()
  return (program, slot, words) => {
    // A program has less than 2^24 slots: the key is exact.
    const key = program * 0x100_0000 + slot
    const line = known.get(key)
    if (line !== undefined || known.has(key)) return line
    const found = find(program, slot, words)
    known.set(key, found)
    return found
  }
}

const partOf = (object: BpfObject, isIn: (program: Program) => boolean, budget: { visits: number }): Part => {
  const programs = object.programs.filter((program) => program.entry && isIn(program))
  const chosen = new Set(programs)
  const externs = new Map<KsymExtern, Array<string>>()
  for (const program of programs) collectExterns(object, program, externs, budget)
  const turned = (program: Program): Program => {
    const autoload = chosen.has(program)
    return program.autoload === autoload ? program : { ...program, autoload }
  }
  return { object: { ...object, programs: object.programs.map(turned) }, programs, externs, lines: remembered(object) }
}

/** Makes an object ready: what does not depend on a kernel is found out once. */
export const prepare = (object: BpfObject): Prepared => {
  const budget = { visits: VISITS }
  // Programs of struct_ops go with the variables that they stand in.
  const implementing = new Map<Program, boolean>()
  for (const { autocreate, structOps } of object.maps) {
    for (const { program: position } of structOps?.members ?? []) {
      const program = object.programs[position]
      if (program !== undefined) implementing.set(program, autocreate || implementing.get(program) === true)
    }
  }
  const isLoaded = (program: Program): boolean => implementing.get(program) ?? program.autoload
  return {
    object,
    loaded: partOf(object, isLoaded, budget),
    optional: partOf(object, (program) => !isLoaded(program), budget),
    requirements: Requirements.ofObject(object)
  }
}

// ---- Cells ----

interface Checked {
  readonly findings: ReadonlyArray<Finding>
  readonly counts: Relocations.Counts
}

/** Types that only a module may have: the kernel itself has none of the name. */
const needsModules = (reports: ReadonlyArray<CoreReport.ProgramReport>): boolean =>
  reports.some(({ entries }) =>
    entries.some(({ candidates, kind, outcome }) =>
      candidates.length === 0 && kind !== "local_type_id" && outcome._tag !== "Failed"
    )
  )

const reportsOf = (
  { lines, object, programs }: Part,
  target: Target,
  kconfig: Uint8Array | undefined
): Result.Result<ReadonlyArray<CoreReport.ProgramReport>, RelocateError> => {
  if (programs.length === 0) return Result.succeed([])
  const examine = (types: Core.CoreTarget) =>
    CoreReport.examine(object, types, { lines, linesOfMissing: true, ...(kconfig === undefined ? {} : { kconfig }) })
  const alone = examine(target.core(false))
  return Result.isSuccess(alone) && target.knowsModules && needsModules(alone.success)
    ? examine(target.core(true))
    : alone
}

const checkPart = (
  part: Part,
  target: Target,
  kconfig: Uint8Array | undefined,
  autocreate: boolean,
  places: Place.Places
): Checked => {
  const reports = reportsOf(part, target, kconfig)
  const examined = Result.isSuccess(reports)
    ? Relocations.examine(reports.success, target, places)
    : { findings: [invalid(reports.failure)], counts: noRelocations }
  return {
    counts: examined.counts,
    findings: [
      ...examined.findings,
      ...part.programs.flatMap((program) => Symbols.attachment(target, program, places) ?? []),
      ...Symbols.externs(target, part.object, part.externs, places),
      ...StructOps.examine(target, part.object, autocreate, places)
    ]
  }
}

/** An object that cannot be made ready for any kernel. */
const invalid = ({ detail, hint, name }: RelocateError): Finding =>
  makeFinding({ rule: "object-invalid", verdict: "fatal", subject: name, detail, hint })

const severity: Readonly<Record<Verdict, number>> = { fatal: 0, unknown: 1, guarded: 2, green: 3 }

const uncheckedOf = ({ loaded, object }: Prepared, target: Target): ReadonlyArray<string> => [
  ...Symbols.unchecked(target, object),
  ...loaded.programs.flatMap((program) =>
    Symbols.isForSomethingElse(program) ? [`what ${program.name} is for, which is named when it is loaded`] : []
  )
]

/** Checks an object against a kernel. Where the kernel has what the object refers to is added to `places`. */
export const check = (prepared: Prepared, target: Target, places: Place.Places = new Map()): Cell => {
  const { loaded, object } = prepared
  if (object.byteOrder !== target.types.byteOrder) {
    const detail = `the object is ${object.byteOrder}-endian, the kernel ${target.types.byteOrder}-endian`
    const hint = "compile with -target bpfel or -target bpfeb for the kernel's byte order"
    const finding = makeFinding({ rule: "byte-order", verdict: "fatal", subject: object.name, detail, hint })
    return { verdict: "fatal", relocations: noRelocations, findings: [finding], omitted: 0, unchecked: [] }
  }
  const kconfig = Symbols.options(target, object)
  const main = checkPart(loaded, target, kconfig.bytes, true, places)
  const others = checkPart(prepared.optional, target, kconfig.bytes, false, places)
  const needs = Needs.examine(target, prepared.requirements.all)
  const all = [...kconfig.findings, ...needs.findings, ...main.findings, ...others.findings.map(optional)]
  all.sort((one, other) => severity[one.verdict] - severity[other.verdict])
  return {
    verdict: all.reduce<Verdict>((verdict, finding) => worse(verdict, finding.verdict), "green"),
    relocations: main.counts,
    findings: all.slice(0, maximumFindings),
    omitted: Math.max(0, all.length - maximumFindings),
    unchecked: [...uncheckedOf(prepared, target), ...needs.unchecked]
  }
}
