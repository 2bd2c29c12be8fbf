/** Minimal BTF beside the whole: what records come to against the one and against the other. */
import * as Result from "effect/Result"
import type * as Btf from "../../src/btf/Btf.ts"
import type { BtfExt } from "../../src/btf/BtfExt.ts"
import * as Insn from "../../src/insn/Insn.ts"
import * as MinCoreBtf from "../../src/stages/gen/MinCoreBtf.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import type { Recorded } from "../unit/stages/relocate/core/Records.ts"

/** Instructions with records as an object, in one section. */
export const objectOf = (
  { local, records: { recordSize, records } }: Recorded,
  name = "object"
): MinCoreBtf.MinCoreObject => {
  const section = { section: "socket", nameOffset: 0, count: records.length / recordSize, records }
  const ext: BtfExt = {
    byteOrder: local.byteOrder,
    headerLength: 32,
    unknownHeader: false,
    btf: local,
    funcInfo: undefined,
    lineInfo: undefined,
    coreRelocations: records.length === 0 ? undefined : { recordSize, sections: [section] }
  }
  return { name, btf: local, ext }
}

const name = ({ id, module }: MinCoreBtf.KernelType): string => `${module ?? "vmlinux"} ${id}`

const isTypeId = ({ kind }: Core.CoreOutcome): boolean => kind === "target_type_id"

/** How types are called: an id of the target's, found in this module or in the kernel. */
type Called = (module: string | undefined, id: number) => string

const saidOfCandidates = (kind: string | undefined, candidates: ReadonlyArray<Core.CoreCandidate>, called: Called) =>
  candidates.map(({ module, typeId, typeName, verdict }) => {
    const isId = kind === "target_type_id" && verdict._tag === "Match"
    return {
      type: called(module, typeId),
      typeName,
      verdict: verdict._tag === "Refusal"
        ? verdict
        : { ...verdict, value: isId ? called(module, Number(verdict.value)) : String(verdict.value) }
    }
  })

const saidOf = (outcome: Core.CoreOutcome, called: Called) => {
  const { candidates, kind, local, result, ...others } = outcome
  const isId = kind === "target_type_id"
  const module = candidates.find(({ verdict }) => verdict._tag === "Match")?.module
  const value = (of: bigint): string => isId && of !== 0n ? called(module, Number(of)) : String(of)
  return {
    ...others,
    kind,
    local: String(local),
    candidates: saidOfCandidates(kind, candidates, called),
    // Whether an id is the one that the compiler wrote means nothing.
    result: result._tag === "Poisoned"
      ? result
      : { ...result, _tag: isId ? "Value" : result._tag, value: value(result.value) }
  }
}

/** What an outcome or an error says, whatever the numbers of types are. */
const said = (outcome: Result.Result<Core.CoreOutcome, Core.CoreError>, called: Called): string => {
  if (Result.isSuccess(outcome)) return JSON.stringify(saidOf(outcome.success, called))
  const { candidates = [], kind, path, reason } = outcome.failure
  return JSON.stringify({ reason, kind, path, candidates: saidOfCandidates(kind, candidates, called) })
}

/**
 * How one program's outcomes against the minimal BTF differ from those against the whole, as lines: the instructions, and
 * all that is told of each record, where types are the same that have the same origin.
 */
export const differences = (
  { insns, local, records }: Recorded,
  target: Core.CoreTarget,
  minimal: MinCoreBtf.MinCoreBtf
): ReadonlyArray<string> => {
  const examined = (against: Core.CoreTarget): Core.Examined =>
    Result.getOrThrow(Core.examine(insns, records, local, against))
  const whole = examined(target)
  const part = examined(Core.target(minimal.btf))
  const ids = new Set<number>()
  const lines: Array<string> = []
  for (const [index, one] of whole.outcomes.entries()) {
    const other = part.outcomes[index]
    if (other === undefined) return ["fewer outcomes"]
    const expected = said(one, (module, id) => name({ module, id }))
    const actual = said(other, (_, id) => name(MinCoreBtf.kernelId(minimal, id) ?? { module: "nowhere", id }))
    if (expected !== actual) lines.push(`record ${index}: ${expected} by the whole, ${actual}`)
    if (Result.isSuccess(one) && isTypeId(one.success)) ids.add(one.success.slot).add(one.success.slot + 1)
  }
  for (let slot = 0; slot < Insn.count(insns); slot++) {
    const bytes = ({ insns }: Core.Examined): string =>
      Buffer.from(insns.subarray(slot * 8, slot * 8 + 8)).toString("hex")
    if (!ids.has(slot) && bytes(whole) !== bytes(part)) {
      lines.push(`slot ${slot}: ${bytes(whole)} by the whole, ${bytes(part)}`)
    }
  }
  return lines
}

/** The size of a blob, for reports. */
export const sizeOf = (btf: Btf.Btf): string => `${btf.offsets.length} types, ${btf.bytes.length} bytes`
