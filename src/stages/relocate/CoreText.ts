/**
 * Relocation reports in words: for errors, logs and plans. Every text is of bounded length, whatever names an object has.
 */
import { essentialName } from "../open/BpfObject.ts"
import type * as Core from "./core/Core.ts"
import type { CoreEntry } from "./CoreReport.ts"
import type { SourceLine } from "./SourceLines.ts"

/** The most candidates that are listed. */
const maximumCandidates = 8

/** Longer names and paths are cut. */
const maximumPath = 256

const cut = (text: string): string => text.length <= maximumPath ? text : `${text.slice(0, maximumPath)}…`

/** `core.bpf.c:12`; `undefined` where the object does not say. */
export const place = (source: SourceLine | undefined): string | undefined =>
  source === undefined || source.line === 0
    ? undefined
    : cut(`${source.file.slice(source.file.lastIndexOf("/") + 1)}:${source.line}`)

/** `byte_off struct task_struct.pid` */
export const relocation = ({ kind, path }: CoreEntry): string => cut(path === "" ? kind : `${kind} ${path}`)

/** Why a type of the kernel is not what is accessed, behind its name. */
const refusal = ({ at, reason }: Core.Refusal): string => {
  switch (reason) {
    case "NoMember":
      return `has no member ${cut(at)}`
    case "IncompatibleMember":
      return `has a member ${cut(at)} of another kind of type`
    case "NotComposite":
      return `has no members where ${cut(at)} is looked for`
    case "NotArray":
      return `has no array where ${cut(at)} is looked for`
    case "ShortArray":
      return `has an array with no element ${cut(at)}`
    case "NotEnum":
      return "is no enum"
    case "NoEnumerator":
      return `has no enumerator ${cut(at)}`
    case "IncompatibleType":
      return "is a type of another kind"
    case "DifferentType":
      return "has other members or enumerators"
  }
}

/** A type of the kernel: `struct task_struct [151] in module x`. */
const typeText = ({ module, typeId, typeName }: Core.CoreCandidate): string =>
  `${cut(typeName)} [${typeId}]${module === undefined ? "" : ` in module ${cut(module)}`}`

/** Values are shown as the signed numbers that they mostly are. */
const number = (value: bigint): string => BigInt.asIntN(64, value).toString()

/** What a type of the kernel gave, or why it was refused: `struct s [12] has no member x`. */
export const candidate = (each: Core.CoreCandidate): string =>
  each.verdict._tag === "Match"
    ? `${typeText(each)} gives ${number(each.verdict.value)}`
    : `${typeText(each)} ${refusal(each.verdict)}`

/** The candidates, the first few of many. */
export const candidates = (all: ReadonlyArray<Core.CoreCandidate>): ReadonlyArray<string> => {
  const listed = all.slice(0, maximumCandidates).map(candidate)
  return all.length > listed.length ? [...listed, `and ${all.length - listed.length} more`] : listed
}

/** The root of a path, and what is behind it: `struct s` and `a.b`. */
const split = ({ path }: CoreEntry): { readonly rest: string; readonly root: string } => {
  const found = /^((?:struct |union |enum )?[^.[:]*)(?:\.|::|(?=\[))?(.*)$/s.exec(path)
  return { root: found?.[1] ?? path, rest: found?.[2] ?? "" }
}

/** What the kernel has in the place of what an instruction needs, as a clause. */
export const instead = (entry: CoreEntry): string => {
  const { candidates, outcome, sizes } = entry
  if (outcome._tag === "Poisoned" && outcome.why === "Resized") {
    return `the kernel has it in ${sizes.kernel} bytes instead of ${sizes.local}, and no load or store keeps its value`
  }
  if (candidates.length === 0) return `the kernel has no ${cut(split(entry).root)}`
  const [first] = candidates
  const others = candidates.length - 1
  return first === undefined
    ? ""
    : `the kernel's ${candidate(first)}${
      others === 0 ? "" : `, nor ${others === 1 ? "another type" : `${others} other types`} of that name`
    }`
}

/** What to do about an instruction that the kernel has nothing for. */
export const advice = (entry: CoreEntry): string => {
  const { rest, root } = split(entry)
  const { outcome } = entry
  const other = cut(`${essentialName(root)}___other`)
  if (outcome._tag === "Poisoned" && outcome.why === "Resized") {
    return `declare the field as this kernel has it, in a flavor (${other}), or read it with BPF_CORE_READ and ` +
      "bpf_core_field_size"
  }
  const flavor = `; what other kernels have in its place can be read through a flavor, ${other}`
  if (entry.kind === "enumval_value") {
    return `guard it with bpf_core_enum_value_exists(${cut(root)}, ${cut(rest)})`
  }
  const check = entry.candidates.length === 0
    ? `bpf_core_type_exists(${cut(root)})`
    : `bpf_core_field_exists(${cut(root)}, ${cut(rest)})`
  return `guard it with if (${check})${rest === "" ? "" : flavor}`
}

/** What is missing at a poisoned instruction: relocation, C line, what the kernel has. One line. */
export const missing = (entry: CoreEntry): string => {
  const where = place(entry.source)
  const known = entry.outcome._tag === "Deferred" ? "" : `; ${instead(entry)}`
  return `${relocation(entry)}${where === undefined ? "" : ` at ${where}`}${known}`
}
