/**
 * What of an object's programs an older kernel comes to: instructions that only run where the program's own checks find what
 * they need are not needed by a kernel that does not have it.
 *
 * The programs are followed as on a kernel that has nothing of what they ask for: what exists by CO-RE does not, weak symbols
 * are missing, options are not set, and its version is the one before that which brought what is wanted. Fields are where the
 * object has them. So what cannot be reached there is guarded; where it is not known whether it can be, it is not.
 */
import * as Result from "effect/Result"
import * as Insn from "../../insn/Insn.ts"
import type { Code } from "../../services/Kernel/KernelCall.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import type { BpfObject } from "../../stages/open/BpfObject.ts"
import * as Reachability from "../../stages/relocate/Reachability.ts"
import type { RelocatedObject, RelocatedProgram } from "../../stages/relocate/RelocatedObject.ts"
import * as Relocate from "../../stages/relocate/Relocate.ts"
import { type Availability, numbersOf } from "./Release.ts"

/** Kinds of CO-RE records that tell whether something is there: `*_exists`, sizes of types, `type_matches`. */
const asking: ReadonlySet<number> = new Set([2, 8, 9, 10, 12])

/** The last releases of each major version. */
const lastMinor: ReadonlyMap<number, number> = new Map([[3, 19], [4, 20], [5, 19], [6, 19]])

/** `LINUX_VERSION_CODE` of the release before one; of the first with BPF where there is none. */
const codeBefore = ({ after, since }: Availability): number => {
  const [major, minor] = numbersOf(since ?? after ?? "") ?? [3, 18]
  if (since === undefined) return major * 0x10000 + minor * 0x100 + 255
  return minor > 0
    ? major * 0x10000 + (minor - 1) * 0x100 + 255
    : (major - 1) * 0x10000 + (lastMinor.get(major - 1) ?? 0) * 0x100 + 255
}

const answerOf = (requirement: KernelInfo.Requirement, version: number): KernelInfo.Answers => {
  switch (requirement._tag) {
    case "PageSize":
      return { pageSize: KernelInfo.known(4096) }
    case "PossibleCpus":
      return { possibleCpus: KernelInfo.known(1) }
    case "KernelVersion":
      return { kernelVersion: KernelInfo.known(version) }
    case "Kconfig":
      return { kconfig: new Map([[requirement.key, KernelInfo.deferred]]) }
    case "Feature":
      return { features: new Map([[requirement.feature, KernelInfo.known(KernelInfo.unsupported())]]) }
    case "Symbol":
      return { symbols: new Map([[requirement.name, KernelInfo.deferred]]) }
    case "VmlinuxTypes":
      return { vmlinuxTypes: KernelInfo.deferred }
    case "ModuleTypes":
      return { moduleTypes: KernelInfo.deferred }
  }
}

/** The object as it is before anything of a kernel is known but its version; `undefined` where it cannot be made whole. */
const relocate = (object: BpfObject, version: number): RelocatedObject | undefined => {
  let info = KernelInfo.add(KernelInfo.make({ release: "", architecture: "", byteOrder: object.byteOrder }), {
    vmlinuxTypes: KernelInfo.deferred,
    moduleTypes: KernelInfo.deferred
  })
  // Each round answers all that is asked: what an object can ask for is known from the beginning.
  for (let round = 0; round < 8; round++) {
    const asked = Relocate.toObject(object, info)
    if (Result.isFailure(asked)) return undefined
    if (asked.success._tag === "Done") return asked.success.value
    info = KernelInfo.add(
      info,
      KernelInfo.together(asked.success.requirements.map((requirement) => answerOf(requirement, version)))
    )
  }
  return undefined
}

/** Whether a program has anything in it that a check could be made of. */
const hasChecks = ({ object }: RelocatedObject, { code }: RelocatedProgram, asks: ReadonlyArray<number>): boolean =>
  asks.length > 0 || code.refs.some((ref) => {
    if (ref._tag === "SymbolRef") return ref.symbol.weak
    const origin = ref._tag === "MapValueRef" ? object.maps[ref.map.index]?.origin : undefined
    return origin === "Rodata" || origin === "Kconfig"
  })

/** The slots of the instructions that are told whether something exists. */
const asksOf = ({ byteOrder }: BpfObject, { coreRelocations }: Code): ReadonlyArray<number> => {
  if (coreRelocations === undefined) return []
  const { recordSize, records } = coreRelocations
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
  const littleEndian = byteOrder === "little"
  const found: Array<number> = []
  for (let at = 0; recordSize >= 16 && at + 16 <= records.length; at += recordSize) {
    if (asking.has(view.getUint32(at + 12, littleEndian))) found.push(view.getUint32(at, littleEndian) >>> 3)
  }
  return found
}

/** The program where nothing is that it asks for. */
const withoutAll = (program: RelocatedProgram, asks: ReadonlyArray<number>): RelocatedProgram => {
  const { code } = program
  const insns = asks.length === 0 ? code.insns : code.insns.slice()
  for (const slot of asks) {
    if (Insn.isLdImm64(insns, slot)) Insn.setImm64(insns, slot, 0n)
    else if (Insn.isAlu(insns, slot)) Insn.setImm(insns, slot, 0)
  }
  const refs = code.refs.map((ref) =>
    ref._tag === "SymbolRef" && ref.symbol.weak
      ? { ...ref, symbol: { ...ref.symbol, resolved: { absent: true } as const } }
      : ref
  )
  return { ...program, code: { ...code, insns, refs } }
}

/** An object's programs, and what older kernels come to in them. */
export interface Guards {
  /** The programs that the load takes; `undefined` where the object cannot be made whole. */
  readonly programs: ReadonlyArray<RelocatedProgram> | undefined
  /** Of these slots of a program, those that a kernel without what they need does not come to. */
  readonly guarded: (
    program: RelocatedProgram,
    needs: ReadonlyArray<{ readonly slot: number; readonly availability: Availability }>
  ) => ReadonlySet<number>
}

const none: ReadonlySet<number> = new Set()

/** Makes an object ready. `budget` is what may be spent on following its programs. */
export const of = (object: BpfObject, budget: Reachability.Budget): Guards => {
  const readsVersion = object.externs.some(({ _tag, name }) => _tag === "Kconfig" && name === "LINUX_KERNEL_VERSION")
  const known = new Map<number, RelocatedObject | undefined>()
  const relocated = (version: number): RelocatedObject | undefined => {
    if (!known.has(version)) known.set(version, relocate(object, version))
    return known.get(version)
  }
  const first = codeBefore({ since: "4.1" })
  const base = relocated(first)
  const positions = new Map(base?.programs.map((program, position) => [program, position]))
  const asked = new Map<number, Reachability.Ask>()
  const askOf = (version: number, made: RelocatedObject): Reachability.Ask => {
    const ask = asked.get(version) ?? Reachability.of(made)
    asked.set(version, ask)
    return ask
  }
  return {
    programs: base?.programs,
    guarded: (program, needs) => {
      if (base === undefined || needs.length === 0) return none
      const asks = asksOf(object, program.code)
      if (!hasChecks(base, program, asks)) return none
      const byVersion = Map.groupBy(needs, ({ availability }) => readsVersion ? codeBefore(availability) : first)
      const found = new Set<number>()
      for (const [version, group] of byVersion) {
        const made = relocated(version)
        const there = made?.programs[positions.get(program) ?? -1]
        if (made === undefined || there === undefined) continue
        const verdicts = askOf(version, made)(withoutAll(there, asks), group.map(({ slot }) => slot), budget)
        for (const [slot, verdict] of verdicts) if (verdict === "guarded") found.add(slot)
      }
      return found
    }
  }
}
