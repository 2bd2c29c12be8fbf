/**
 * The CO-RE relocations of a laid-out program: applied where the kernel's types are known, left to the kernel where they
 * are not.
 *
 * Linux applies the records itself since 5.17, so a loader program for a kernel that nobody knows yet takes them along. A
 * kernel whose types are at hand gets finished instructions instead: every kernel with BTF takes those, and what became of
 * each record can be told.
 */
import * as Result from "effect/Result"
import type { Btf } from "../../btf/Btf.ts"
import type { InfoRecords } from "../../services/Kernel/KernelCall.ts"
import type { KernelInfo, Requirement } from "../../services/Kernel/KernelInfo.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import * as Core from "./core/Core.ts"
import * as CoreReport from "./CoreReport.ts"
import * as CoreText from "./CoreText.ts"
import type { LaidOut } from "./Layout.ts"
import { RelocateError } from "./RelocateError.ts"

/** How the records of an object are treated: what is missing first, by types of the kernel, or by the kernel itself. */
export type Means =
  | { readonly _tag: "Needs"; readonly requirements: ReadonlyArray<Requirement> }
  | { readonly _tag: "Kernel" }
  | {
    readonly _tag: "Types"
    readonly target: Core.CoreTarget
    /** Modules have not been asked for: an object may have types that only they have. */
    readonly withoutModules: boolean
    /** Modules whose types cannot be read, with the reason. */
    readonly broken: ReadonlyArray<string>
  }

/** How records are treated on this kernel; `types` takes the place of the kernel's own. */
export const means = (info: KernelInfo, types: Btf | undefined): Means => {
  if (types !== undefined) {
    return { _tag: "Types", target: Core.target(types), withoutModules: false, broken: [] }
  }
  const { moduleTypes, vmlinuxTypes } = info
  switch (vmlinuxTypes._tag) {
    case "Unasked":
      return { _tag: "Needs", requirements: [{ _tag: "VmlinuxTypes" }] }
    case "Deferred":
      return { _tag: "Kernel" }
    case "Known": {
      const all = moduleTypes._tag === "Known" ? moduleTypes.value : []
      const modules = all.flatMap(({ btf, name }) => btf === undefined ? [] : [{ name, btf }])
      return {
        _tag: "Types",
        target: Core.target(vmlinuxTypes.value, modules),
        withoutModules: moduleTypes._tag === "Unasked",
        broken: all.flatMap(({ btf, name, problem }) =>
          btf === undefined ? [`${name}: ${problem ?? "unreadable"}`] : []
        )
      }
    }
  }
}

/** A program with its records applied; `undefined` where the types of the kernel's modules must be known first. */
export interface Applied {
  readonly insns: Uint8Array
  readonly outcomes: ReadonlyArray<Core.CoreOutcome>
  readonly notes: ReadonlyArray<string>
}

/** Whether the kernel itself has no type of the record's name, so that a module may have it. */
const isMissing = ({ candidates, kind }: Core.CoreOutcome): boolean =>
  candidates.length === 0 && kind !== "local_type_id"

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`

/** How many of the records cannot be applied. */
const countFailures = (insns: Uint8Array, records: InfoRecords, local: Btf, target: Core.CoreTarget): number => {
  const examined = Core.examine(insns, records, local, target)
  return Result.isFailure(examined) ? 0 : examined.success.outcomes.filter(Result.isFailure).length
}

/** A record that cannot be applied, with all that the report says of it. */
const refused = (
  object: BpfObject,
  name: string,
  layout: LaidOut["layout"],
  error: Core.CoreError,
  others: number
): RelocateError => {
  const { detail, hint, relocation, slot } = error
  const what = relocation === undefined ? detail : `CO-RE relocation ${relocation}: ${detail}`
  const more = others === 0 ? "" : ` (and ${count(others, "other record")} of the program cannot be applied either)`
  const entry = slot === undefined ? undefined : CoreReport.failed(object, name, layout, error)
  const listed = entry === undefined ? [] : CoreText.candidates(entry.candidates)
  return new RelocateError({
    reason: "Core",
    name,
    ...(entry === undefined ? {} : {
      slot: entry.functionSlot,
      ...(entry.function === name ? {} : { function: entry.function }),
      relocation: CoreText.relocation(entry)
    }),
    ...(entry?.source === undefined ? {} : {
      file: entry.source.file,
      line: entry.source.line,
      column: entry.source.column,
      source: entry.source.text
    }),
    detail: `${what}${more}`,
    ...(listed.length === 0 ? {} : { candidates: listed }),
    ...(hint === undefined ? {} : { hint })
  })
}

/**
 * Applies the records of one program. Answers `undefined` where a type is in none of the kernel's own and modules have not
 * been asked for. Throws a `RelocateError`, reason `Core`, for a record that cannot be applied.
 */
export const apply = (
  object: BpfObject,
  name: string,
  { insns, layout }: LaidOut,
  records: InfoRecords,
  means: Means & { readonly _tag: "Types" }
): Applied | undefined => {
  const { btf: local } = object
  if (local === undefined) return { insns, outcomes: [], notes: [] }
  const applied = Core.relocate(insns, records, local, means.target)
  if (Result.isFailure(applied)) {
    const failures = countFailures(insns, records, local, means.target)
    throw refused(object, name, layout, applied.failure, Math.max(0, failures - 1))
  }
  const { insns: changed, outcomes } = applied.success
  const missing = outcomes.some(isMissing)
  if (missing && means.withoutModules) return undefined
  const poisoned = outcomes.filter(({ result }) => result._tag === "Poisoned").length
  const notes = [
    `${count(outcomes.length, "CO-RE relocation")} applied` +
    (poisoned === 0 ? "" : `, ${poisoned} of them for what this kernel does not have`)
  ]
  if (missing && means.broken.length > 0) {
    notes.push(`types of ${count(means.broken.length, "module")} could not be looked at: ${means.broken.join("; ")}`)
  }
  return { insns: changed, outcomes, notes }
}
