/**
 * Relocation reports as data: `core` and `core_relocations` of `plan --json`.
 *
 * `core` counts, per program, what became of its CO-RE relocations. `core_relocations` has one entry for each: where it
 * stands (`program` and `insn`, the slot in the program as it is loaded; `function` and `function_insn`, where it was
 * compiled; `file`, `line`, `column`, `source`), what it accesses (`kind`, `path`, `access`, `local_value`), the kernel's types
 * that could be meant (`candidates`), and its `outcome`: `value`, `unchanged`, `absent` (the program is told so), `poisoned`
 * with `verdict` (`guarded`, `reachable` or `unknown`), `failed` with `error`, or `deferred`. Values are texts of digits.
 */
import type { CoreEntry, ProgramReport } from "../../stages/relocate/CoreReport.ts"
import * as CoreReport from "../../stages/relocate/CoreReport.ts"
import type * as Core from "../../stages/relocate/core/Core.ts"
import type * as Documents from "../schemas/Relocations.ts"
import { clip } from "../text/Clip.ts"

type RelocationDocument = typeof Documents.Relocation.Type

/** The most candidates of one relocation that are listed; `candidate_count` says how many there are. */
const maximumCandidates = 16

const candidateJson = ({ module, typeId, typeName, verdict }: Core.CoreCandidate): typeof Documents.Candidate.Type => ({
  module: module === undefined ? null : clip(module),
  type: clip(typeName),
  type_id: typeId,
  ...(verdict._tag === "Match"
    ? {
      matches: true,
      path: clip(verdict.path),
      bit_offset: verdict.bitOffset,
      value: verdict.value.toString(),
      reason: null,
      at: null
    }
    : { matches: false, path: null, bit_offset: null, value: null, reason: verdict.reason, at: clip(verdict.at) })
})

const outcomeJson = (
  { outcome }: CoreEntry
): Pick<RelocationDocument, "error" | "outcome" | "size" | "value" | "verdict" | "why"> => {
  const none = { value: null, size: null, why: null, verdict: null, error: null }
  switch (outcome._tag) {
    case "Value":
      return { ...none, outcome: "value", value: outcome.value.toString(), size: outcome.size ?? null }
    case "Unchanged":
      return { ...none, outcome: "unchanged", value: outcome.value.toString() }
    case "Absent":
      return { ...none, outcome: "absent", value: "0" }
    case "Poisoned":
      return { ...none, outcome: "poisoned", why: outcome.why, verdict: outcome.verdict }
    case "Failed":
      return { ...none, outcome: "failed", why: outcome.error.reason, error: outcome.error.detail }
    case "Deferred":
      return { ...none, outcome: "deferred" }
  }
}

/** One relocation. */
const entryJson = (entry: CoreEntry): RelocationDocument => ({
  program: entry.program,
  insn: entry.slot,
  function: entry.function,
  function_insn: entry.functionSlot,
  file: entry.source === undefined ? null : clip(entry.source.file),
  line: entry.source?.line ?? null,
  column: entry.source?.column ?? null,
  source: entry.source === undefined ? null : clip(entry.source.text),
  kind: entry.kind,
  path: clip(entry.path),
  access: entry.access ?? null,
  type_id: entry.typeId,
  local_value: entry.local?.toString() ?? null,
  ...outcomeJson(entry),
  candidate_count: entry.candidates.length,
  candidates: entry.candidates.slice(0, maximumCandidates).map(candidateJson)
})

const summaryJson = ({ entries, program }: ProgramReport): typeof Documents.Summary.Type => {
  const { absent, deferred, failed, poisoned, relocations, unchanged, values } = CoreReport.summarise(entries)
  return { program, relocations, values, unchanged, absent, ...poisoned, failed, deferred }
}

/** The reports of an object's programs: `core` and `core_relocations`. */
export const coreJson = (reports: ReadonlyArray<ProgramReport>): {
  readonly core: ReadonlyArray<typeof Documents.Summary.Type>
  readonly core_relocations: ReadonlyArray<RelocationDocument>
} => {
  const withEntries = reports.filter(({ entries }) => entries.length > 0)
  return {
    core: withEntries.map(summaryJson),
    core_relocations: withEntries.flatMap(({ entries }) => entries.map(entryJson))
  }
}
