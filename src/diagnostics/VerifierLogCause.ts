/**
 * Why the verifier refused a program, found in its log: the cause as data, with what the complaint is about and what was
 * known there.
 */
import type { CauseId, CauseKind } from "./VerifierLogCauses.ts"
import { causes } from "./VerifierLogCauses.ts"
import type { ParsedLog } from "./VerifierLogParse.ts"
import type { Register } from "./VerifierLogState.ts"

/** The cause of a refusal. */
export interface Cause {
  readonly id: CauseId
  readonly title: string
  /** What it means and what to do: the kernel's suggestion where it makes one. */
  readonly advice: string
  /** The verifier's own words. */
  readonly complaint: string
  /** What the complaint is about, where it names something: a helper, a kernel function, a map, a relocation. */
  readonly subject?: string
  /** The register that the complaint is about, with what the verifier knew of it. */
  readonly register?: Register
}

type Known = CauseKind & { readonly id: CauseId }

/** The cause that the words of a complaint tell of, and what they say it is about. */
const find = (complaint: string): { readonly kind: Known; readonly subject?: string } | undefined => {
  for (const kind of causes) {
    for (const words of kind.words) {
      const found = words.exec(complaint)
      if (found !== null) return { kind, ...(found[1] === undefined ? {} : { subject: found[1] }) }
    }
  }
  return undefined
}

/** The register that a complaint names first. */
const registerIn = (complaint: string): string | undefined => /\bR(?:\d|10)\b/.exec(complaint)?.[0]

/**
 * What a register held that is a number since a call. Calls that release something print nothing of the registers that had it:
 * then a pointer is what was known last, and the complaint says otherwise.
 */
const lostPointer = (log: ParsedLog, register: string | undefined, complaint: string): Register | undefined => {
  if (register === undefined || !/invalid mem access '(scalar|inv)'|type=(scalar|inv) expected=/.test(complaint)) {
    return undefined
  }
  const before = log.registers.find(({ name }) => name === register)
  return before !== undefined && before.type !== "scalar" ? before : log.lost.get(register)
}

/** What to do: a number that is known to be 0 is NULL to its user, wherever it came from. */
const adviceOf = ({ advice, id }: Known, register: Register | undefined): string =>
  id === "NotAPointer" && register?.constant === 0n
    ? "the pointer is NULL on this path: follow it only where a comparison has found that it is not"
    : advice

/** The cause that a log tells of; `undefined` where it says nothing of why, or nothing that is known here. */
export const causeOf = (log: ParsedLog): Cause | undefined => {
  const complaint = log.complaint.join("; ")
  const name = registerIn(complaint)
  const lost = lostPointer(log, name, complaint)
  const found = lost === undefined
    ? find(complaint) ?? find([log.report?.problem, log.report?.reason].join("; "))
    : { kind: kindOf("InvalidatedPointer"), subject: lost.type }
  if (found === undefined) return undefined
  const { kind, subject } = found
  const register = lost ?? log.registers.find((each) => each.name === name)
  return {
    id: kind.id,
    title: kind.title,
    advice: log.report?.suggestion ?? adviceOf(kind, register),
    complaint: complaint === "" ? log.report?.reason ?? "" : complaint,
    ...(subject === undefined ? {} : { subject }),
    ...(register === undefined ? {} : { register })
  }
}

const kinds: ReadonlyMap<CauseId, Known> = new Map(causes.map((kind) => [kind.id, kind]))

/** What a cause of this name is. */
export const kindOf = (id: CauseId): Known => kinds.get(id) ?? { id, title: id, advice: "", words: [] }
