/**
 * What an object's CO-RE relocations come to on a kernel, as findings.
 */
import * as Btf from "../../btf/Btf.ts"
import type { CoreCandidate } from "../../stages/relocate/core/Core.ts"
import type { CoreEntry, ProgramReport } from "../../stages/relocate/CoreReport.ts"
import * as CoreText from "../../stages/relocate/CoreText.ts"
import { type Candidate, candidatesText, type Finding, make, type Rule, type Verdict } from "./Finding.ts"
import * as Place from "./Place.ts"
import type { Target } from "./Target.ts"

/** How many relocations came to what. */
export interface Counts {
  readonly relocations: number
  /** Of what the kernel has. */
  readonly resolved: number
  /** Of what it does not have, which the program is told or checks for itself. */
  readonly guarded: number
  readonly unknown: number
  readonly fatal: number
}

/** What relocations come to. */
export interface Examined {
  readonly findings: ReadonlyArray<Finding>
  readonly counts: Counts
}

const candidateOf = ({ module, typeName, verdict }: CoreCandidate): Candidate => ({
  module,
  name: typeName,
  reason: verdict._tag === "Refusal" ? verdict.reason : undefined,
  at: verdict._tag === "Refusal" ? verdict.at : ""
})

/** The most candidates that a finding keeps; hostile types may have a thousand. */
const KEPT = 16

/** What an entry comes to; `undefined` where all is well. */
const verdictOf = ({ outcome }: CoreEntry): Exclude<Verdict, "green"> | undefined => {
  switch (outcome._tag) {
    case "Absent":
      return "guarded"
    case "Failed":
      return "fatal"
    case "Poisoned":
      return outcome.verdict === "reachable" ? "fatal" : outcome.verdict
    default:
      return undefined
  }
}

const ruleOf = ({ kind, outcome }: CoreEntry): Rule => {
  if (outcome._tag === "Failed") return "relocation-failed"
  if (outcome._tag === "Poisoned" && outcome.why === "Resized") return "field-resized"
  switch (Place.whatOf(kind)) {
    case "enumerator":
      return "enumerator-missing"
    case "type":
      return "type-missing"
    case "shape":
      return "type-different"
    default:
      return "field-missing"
  }
}

/** The root type of a path, without its flavor. */
const rootOf = (path: string): string => Btf.essentialName(Place.parse(path).root)

/** What the kernel has instead, as a clause. */
const lackOf = (entry: CoreEntry, candidates: ReadonlyArray<Candidate>, target: Target): string => {
  const { outcome, path, sizes } = entry
  if (outcome._tag === "Failed") return outcome.error.detail
  if (outcome._tag === "Poisoned" && outcome.why === "Resized") {
    return `the object has it in ${sizes.local} bytes and the kernel in ${sizes.kernel}, between which no load of this type can be changed`
  }
  const unseen = target.knowsModules ? "" : ", and the types of its modules are not given"
  return candidatesText(candidates, `the kernel has no ${rootOf(path)}${unseen}`)
}

const howItIsUsed = (entry: CoreEntry, verdict: Verdict): string => {
  if (entry.outcome._tag === "Failed") return ""
  if (entry.outcome._tag === "Absent") return "; the program is told so"
  switch (verdict) {
    case "guarded":
      return "; the program's checks keep it from being used"
    case "unknown":
      return "; whether the program's checks keep it from being used, only the verifier can tell"
    default:
      return "; the program uses it without a check"
  }
}

const hintOf = (entry: CoreEntry, verdict: Verdict): string | undefined => {
  if (entry.outcome._tag === "Failed") return entry.outcome.error.hint
  return verdict === "fatal" ? CoreText.advice(entry) : undefined
}

/** A finding under construction: of several instructions for one access in one line. */
interface Merging {
  readonly first: CoreEntry
  readonly verdict: Exclude<Verdict, "green">
  readonly rule: Rule
  readonly programs: Set<string>
  readonly kinds: Set<string>
}

const findingOf = ({ first, kinds, programs, rule, verdict }: Merging, target: Target): Finding => {
  const candidates = first.candidates.slice(0, KEPT).map(candidateOf)
  return make({
    rule,
    verdict,
    subject: first.path,
    detail: lackOf(first, candidates, target) + howItIsUsed(first, verdict),
    hint: hintOf(first, verdict),
    programs: [...programs],
    function: first.function,
    slot: first.functionSlot,
    source: first.source,
    kinds: [...kinds],
    candidates
  })
}

/** The findings of an object's reports. Where everything is in this kernel is added to `places`. */
export const examine = (
  reports: ReadonlyArray<ProgramReport>,
  target: Target,
  places: Place.Places
): Examined => {
  const merging = new Map<string, Merging>()
  const counts = { relocations: 0, resolved: 0, guarded: 0, unknown: 0, fatal: 0 }
  // Relocations of one access share their candidates: one place for all of them.
  const placed = new Set<unknown>()
  for (const { entries } of reports) {
    for (const entry of entries) {
      counts.relocations++
      const verdict = verdictOf(entry)
      counts[verdict ?? "resolved"]++
      if (!placed.has(entry.candidates)) {
        placed.add(entry.candidates)
        const found = Place.ofEntry(entry, target.typesOf)
        if (found !== undefined) Place.add(places, found.reference, found.place)
      }
      if (verdict === undefined) continue
      const rule = ruleOf(entry)
      const where = entry.source === undefined ? `@${entry.functionSlot}` : `${entry.source.file}:${entry.source.line}`
      const key = `${entry.function} ${where} ${rule} ${verdict} ${entry.outcome._tag} ${entry.path}`
      const known = merging.get(key)
      if (known === undefined) {
        const programs = new Set([entry.program])
        merging.set(key, { first: entry, verdict, rule, programs, kinds: new Set([entry.kind]) })
      } else {
        known.programs.add(entry.program)
        known.kinds.add(entry.kind)
      }
    }
  }
  return { findings: [...merging.values()].map((each) => findingOf(each, target)), counts }
}
