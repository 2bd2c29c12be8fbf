/**
 * What stands between an object and a kernel: one thing that the kernel does not have, or has otherwise.
 */
import type { RefusalReason } from "../../stages/relocate/core/Core.ts"
import type { SourceLine } from "../../stages/relocate/CoreReport.ts"

/**
 * What an object comes to on a kernel.
 *
 * - `green`: the kernel has everything that the object refers to
 * - `guarded`: it lacks something, and the object's own checks keep the programs from using it
 * - `unknown`: whether those checks hold, only the kernel's verifier can tell
 * - `fatal`: the object cannot be loaded
 */
export type Verdict = "green" | "guarded" | "unknown" | "fatal"

/** All verdicts, the best first. */
export const verdicts: ReadonlyArray<Verdict> = ["green", "guarded", "unknown", "fatal"]

/** The worse of two verdicts. */
export const worse = (one: Verdict, other: Verdict): Verdict =>
  verdicts.indexOf(one) >= verdicts.indexOf(other) ? one : other

/** Which kind of thing a finding is about, and what that means, for people. */
export const rules = {
  "object-unreadable": "The object cannot be opened.",
  "kernel-unreadable": "The kernel's types cannot be read.",
  "object-invalid": "The object's programs cannot be made whole, whatever the kernel.",
  "byte-order": "The object is for machines of the other byte order.",
  "field-missing": "The kernel's type does not have the field that a program accesses, or has it with another type.",
  "field-resized": "The kernel has the field in another size, in which its value cannot be loaded or stored.",
  "enumerator-missing": "The kernel's enum does not have the enumerator that a program uses.",
  "type-missing": "The kernel does not have the type that a program asks for.",
  "type-different": "The kernel's type is not, member by member, what a program compares it with.",
  "relocation-failed":
    "A CO-RE relocation cannot be applied: it is malformed, or the kernel's types contradict each other.",
  "attach-target": "The kernel does not have the function, tracepoint or hook that a program is for.",
  "kernel-function": "The kernel does not have the function that a program calls, or has it with another prototype.",
  "kernel-variable": "The kernel does not have the variable that a program refers to, or has it with another type.",
  "struct-ops": "The kernel's struct is not the one that the object implements.",
  "kernel-feature": "The kernel is older than a helper, a type, a flag or an instruction that the object needs.",
  "kernel-option": "The kernel's configuration does not have what a program reads, or has it with another type."
} as const

/** The name of a rule. */
export type Rule = keyof typeof rules

/** A kernel type of the right name, and why it is not what a program accesses. */
export interface Candidate {
  /** The module that has it; `undefined` for the kernel itself. */
  readonly module: string | undefined
  /** As C writes it, with its flavor where it has one. */
  readonly name: string
  /** `undefined` where it is what is meant: of another size, or one of several. */
  readonly reason: RefusalReason | undefined
  /** The step that it was refused at: a member's or enumerator's name, or an element's `[n]`; empty for the whole type. */
  readonly at: string
}

/** One thing that an object cannot have on a kernel. */
export interface Finding {
  readonly rule: Rule
  readonly verdict: Exclude<Verdict, "green">
  /** What the object refers to: `struct task_struct.state`, `vfs_read`, `struct tcp_congestion_ops.init`. */
  readonly subject: string
  /** What is wrong, as a clause. */
  readonly detail: string
  /** What to do about it. */
  readonly hint: string | undefined
  /** The entry programs that it is found in; none where it is about the object as a whole. */
  readonly programs: ReadonlyArray<string>
  /** The function that has the instruction. */
  readonly function: string | undefined
  /** The instruction's slot in that function, the first of several. */
  readonly slot: number | undefined
  readonly source: SourceLine | undefined
  /** The kinds of CO-RE relocations, as `byte_off`. */
  readonly kinds: ReadonlyArray<string>
  /** Whether it concerns only programs or variables that the object leaves out unless it is told otherwise. */
  readonly optional: boolean
  /** The kernel's types of that name, and why each was refused. */
  readonly candidates: ReadonlyArray<Candidate>
}

/** A finding of which only what differs from an empty one is given. */
export const make = (
  given: Pick<Finding, "rule" | "verdict" | "subject" | "detail"> & Partial<Finding>
): Finding => ({
  hint: undefined,
  programs: [],
  function: undefined,
  slot: undefined,
  source: undefined,
  kinds: [],
  optional: false,
  candidates: [],
  ...given
})

/** A finding about something that the object leaves out unless it is told otherwise: it stops nothing by itself. */
export const optional = (finding: Finding): Finding => ({ ...finding, optional: true, verdict: "guarded" })

/** Why a type was refused, as a clause about it. */
export const refusalText = ({ at, reason }: Candidate): string => {
  switch (reason) {
    case "NoMember":
      return `has no member ${at}`
    case "IncompatibleMember":
      return `has a member ${at} of another kind of type`
    case "NotComposite":
      return `has no members where ${at} is looked for`
    case "NotArray":
      return `has no array where element ${at} is looked for`
    case "ShortArray":
      return `has an array without element ${at}`
    case "NotEnum":
      return "is no enum"
    case "NoEnumerator":
      return `has no enumerator ${at}`
    case "IncompatibleType":
      return "is a type of another kind"
    case "DifferentType":
      return "has other members, enumerators or types"
    case undefined:
      return "has it"
  }
}

/** The most candidates that a text names. */
const NAMED = 4

/** The candidates and why each was refused, as one clause; `none` where there are no candidates. */
export const candidatesText = (candidates: ReadonlyArray<Candidate>, none: string): string => {
  if (candidates.length === 0) return none
  const parts = candidates.slice(0, NAMED).map((candidate) => {
    const owner = candidate.module === undefined ? "the kernel's" : `module ${candidate.module}'s`
    return `${owner} ${candidate.name} ${refusalText(candidate)}`
  })
  const more = candidates.length - NAMED
  return more > 0 ? `${parts.join("; ")}; and ${more} more` : parts.join("; ")
}
