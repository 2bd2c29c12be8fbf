/**
 * Makes the programs of an opened object whole: subprograms laid out, references named, values looked up.
 *
 * Instructions leave this stage with *symbolic* references beside them (maps, map values, kernel symbols), which a
 * session binds when it loads the program. CO-RE relocations are applied where the kernel's types are known; else their
 * records travel with the program. A pure function of the object and what is known of the kernel.
 */
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import type { Btf } from "../../btf/Btf.ts"
import * as Insn from "../../insn/Insn.ts"
import { BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE } from "../../insn/InsnConstants.ts"
import { attempt } from "../../internal/attempt.ts"
import type { Kernel } from "../../services/Kernel/Kernel.ts"
import type { CodeRef } from "../../services/Kernel/KernelCall.ts"
import type { KernelError } from "../../services/Kernel/KernelError.ts"
import type { KernelInfo } from "../../services/Kernel/KernelInfo.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import * as Asked from "../Asked.ts"
import type { BpfObject, Relocation } from "../open/BpfObject.ts"
import * as Stage from "../Stage.ts"
import * as StructOpsMaps from "../open/StructOpsMaps.ts"
import * as ArenaPlacement from "./ArenaPlacement.ts"
import * as CoreRelocations from "./CoreRelocations.ts"
import * as CoreReport from "./CoreReport.ts"
import * as ExceptionCallback from "./ExceptionCallback.ts"
import * as Info from "./Info.ts"
import * as JumpTables from "./JumpTables.ts"
import * as Kconfig from "./Kconfig.ts"
import * as Ksyms from "./Ksyms.ts"
import * as Layout from "./Layout.ts"
import { isRelocateError, RelocateError } from "./RelocateError.ts"
import type { Placement, RelocatedObject, RelocatedProgram } from "./RelocatedObject.ts"

export { RelocateError } from "./RelocateError.ts"
export type { Placement, RelocatedObject, RelocatedProgram } from "./RelocatedObject.ts"

/** How an object is relocated. */
export interface RelocateOptions {
  /**
   * Types to apply CO-RE relocations against in place of the kernel's own: of a kernel that does not show them, or of another
   * one. Modules are then not looked at.
   */
  readonly coreTypes?: Btf
  /**
   * Text in the format of the kernel's `.config`. Options that it sets are taken from it rather than from the kernel, which
   * is not asked for them; a kernel that does not show its configuration can be loaded into this way.
   */
  readonly kconfig?: string
}

/** Bytes that the records of all programs together may have. */
const maxTotalRecordBytes = 0x1000_0000

/** Base of the helper number that stands for a map which a load does not create: no kernel has such a helper. */
export const poisonedMap = 2_001_000_000

/** Writes a call that the verifier refuses if it can be reached, and that says by its number what is missing. */
export const poison = (insns: Uint8Array, at: number, what: number): void => {
  for (const slot of [at, at + 1]) {
    insns.fill(0, slot * 8, slot * 8 + 8)
    Insn.setOpcode(insns, slot, Insn.CALL)
    Insn.setImm(insns, slot, what)
  }
}

/** What is the same for all programs of an object. */
interface Run {
  readonly object: BpfObject
  readonly segments: Segments
  readonly kconfigMap: number
  readonly arena: ArenaPlacement.Placement | undefined
  readonly means: CoreRelocations.Means
  readonly symbols: Ksyms.Symbols
  readonly jumpTables: (program: string) => JumpTables.Tables
}

/** Names what one relocation refers to, and clears in the instruction what the session will fill in. */
const refer = (
  { arena, kconfigMap, object, symbols }: Run,
  tables: JumpTables.Tables,
  relocation: Relocation,
  insns: Uint8Array,
  placement: Placement,
  refs: Array<CodeRef>,
  name: string
): void => {
  const { slot } = placement
  const at = slot + relocation.at
  const wrong = (detail: string): RelocateError =>
    new RelocateError({ reason: "Instruction", name, slot: relocation.at, detail })
  const mapAt = (position: number, pseudo: number): boolean => {
    if (!Insn.isLdImm64(insns, at)) throw wrong("a map needs a 64-bit immediate load")
    if (object.maps[position]?.autocreate === false) {
      poison(insns, at, poisonedMap + position)
      return false
    }
    Insn.setSrc(insns, at, pseudo)
    Insn.setImm(insns, at, 0)
    Insn.setImm(insns, at + 1, 0)
    return true
  }
  switch (relocation._tag) {
    case "Call":
      if (!Insn.isSubprogramCall(insns, at)) throw wrong("the instruction is no call of a function")
      return
    case "Function":
      if (!Insn.isLdImm64(insns, at)) throw wrong("a function pointer needs a 64-bit immediate load")
      return
    case "Map":
      if (mapAt(relocation.map, BPF_PSEUDO_MAP_FD)) refs.push({ _tag: "MapRef", at, map: Ref.map(relocation.map) })
      return
    case "MapValue":
      if (mapAt(relocation.map, BPF_PSEUDO_MAP_VALUE)) {
        const start = relocation.map === arena?.map ? arena.offset : 0
        refs.push({ _tag: "MapValueRef", at, map: Ref.map(relocation.map), offset: start + relocation.offset })
      }
      return
    case "JumpTable":
      if (!Insn.isLdImm64(insns, at)) throw wrong("a jump table needs a 64-bit immediate load")
      Insn.setSrc(insns, at, BPF_PSEUDO_MAP_VALUE)
      Insn.setImm(insns, at, 0)
      Insn.setImm(insns, at + 1, 0)
      refs.push({ _tag: "MapValueRef", at, map: tables.of(relocation, placement), offset: 0 })
      return
    case "Extern": {
      const extern = object.externs[relocation.extern]
      if (extern === undefined) throw wrong("the extern does not exist")
      if (extern._tag === "Kconfig") {
        if (mapAt(kconfigMap, BPF_PSEUDO_MAP_VALUE)) {
          refs.push({ _tag: "MapValueRef", at, map: Ref.map(kconfigMap), offset: extern.dataOffset })
        }
        return
      }
      if (Insn.isCall(insns, at)) {
        if (!extern.isFunction) throw wrong(`${extern.name} is called, but is a variable`)
        Insn.setSrc(insns, at, BPF_PSEUDO_KFUNC_CALL)
        Insn.setImm(insns, at, 0)
      } else if (Insn.isLdImm64(insns, at)) {
        Insn.setSrc(insns, at, 0)
        Insn.setImm(insns, at, 0)
        Insn.setImm(insns, at + 1, 0)
      } else throw wrong("a kernel symbol needs a call or a 64-bit immediate load")
      refs.push({ _tag: "SymbolRef", at, symbol: symbols.of(extern), extern: relocation.extern })
    }
  }
}

/** The three kinds of records of an object. */
interface Segments {
  readonly funcs: Info.Segment | undefined
  readonly lines: Info.Segment | undefined
  readonly core: Info.Segment | undefined
}

/** The records of a kind that is all or nothing: the kernel wants every function of a program described, or none. */
const allOrNothing = (
  object: BpfObject,
  picked: Info.Picked,
  what: string,
  notes: Array<string>
): Info.Picked["records"] => {
  if (picked.records === undefined || picked.without.length === 0) return picked.records
  const names = picked.without.map((position) => object.programs[position]?.name ?? "").join(", ")
  notes.push(`${what} was left out: there is none for ${names}`)
  return undefined
}

/** One program; `undefined` where the types of the kernel's modules must be known first. */
const relocateProgram = (
  run: Run,
  entry: number,
  exceptionCallback: number | undefined
): RelocatedProgram | undefined => {
  const { means, object, segments } = run
  const { insns: compiled, layout } = Layout.layOut(object, entry, exceptionCallback)
  const core = Info.pick(object, segments.core, layout, "bytes").records
  const applied = core === undefined || means._tag !== "Types"
    ? { insns: compiled, outcomes: undefined, notes: [] }
    : CoreRelocations.apply(object, object.programs[entry]?.name ?? "", { insns: compiled, layout }, core, means)
  if (applied === undefined) return undefined
  const { insns, outcomes } = applied
  const refs: Array<CodeRef> = []
  const notes = [...applied.notes]
  const tables = run.jumpTables(object.programs[entry]?.name ?? "")
  for (const placement of layout) {
    const placed = object.programs[placement.program]
    for (const relocation of placed?.relocations ?? []) {
      refer(run, tables, relocation, insns, placement, refs, placed?.name ?? "")
    }
  }
  const left = outcomes === undefined ? core : undefined
  if (left !== undefined) {
    notes.push(`${left.records.length / left.recordSize} CO-RE relocations are left to the kernel`)
  }
  const funcInfo = allOrNothing(object, Info.pick(object, segments.funcs, layout, "slots"), "function info", notes)
  const lineInfo = allOrNothing(object, Info.pick(object, segments.lines, layout, "slots"), "line info", notes)
  return {
    program: entry,
    code: { insns, refs, ...(left === undefined ? {} : { coreRelocations: left }) },
    layout,
    funcInfo,
    lineInfo,
    ...(tables.all.length === 0 ? {} : { jumpTables: tables.all }),
    core: left === undefined ? outcomes ?? [] : undefined,
    notes
  }
}

const relocateObject = (
  object: BpfObject,
  info: KernelInfo,
  options: RelocateOptions
): Asked.Asked<RelocatedObject> => {
  const kconfig = Kconfig.values(object, info, options.kconfig)
  const segments: Segments = {
    funcs: Info.index(object.btfExt?.funcInfo, object.byteOrder),
    lines: Info.index(object.btfExt?.lineInfo, object.byteOrder),
    core: Info.index(object.btfExt?.coreRelocations, object.byteOrder)
  }
  const means: CoreRelocations.Means = segments.core === undefined
    ? { _tag: "Kernel" }
    : CoreRelocations.means(info, options.coreTypes)
  const arena = ArenaPlacement.of(object, info)
  const needs = [
    ...kconfig.needs,
    ...(arena._tag === "Needs" ? arena.requirements : []),
    ...(means._tag === "Needs" ? means.requirements : [])
  ]
  if (needs.length > 0 || arena._tag === "Needs") return Asked.needs(needs)
  const callbacks = ExceptionCallback.forKernel(ExceptionCallback.find(object), info)
  if (callbacks === undefined) return Asked.needs([ExceptionCallback.requirement])
  const kconfigMap = object.maps.findIndex((map) => map.origin === "Kconfig")
  const symbols = Ksyms.collecting(Ksyms.make(object, info))
  const run: Run = {
    object,
    segments,
    kconfigMap,
    arena: arena.value,
    means,
    symbols,
    jumpTables: JumpTables.make(object)
  }
  const programs: Array<RelocatedProgram> = []
  let total = 0
  let recordBytes = 0
  let coreRelocations = 0
  for (const [position, program] of object.programs.entries()) {
    if (!program.entry || !program.autoload) continue
    const relocated = relocateProgram(run, position, callbacks.get(program.name))
    if (relocated === undefined) return Asked.needs([{ _tag: "ModuleTypes" }])
    total += relocated.code.insns.length / 8
    if (total > Layout.maxTotalSlots) {
      throw new RelocateError({
        reason: "TooLarge",
        name: object.name,
        detail: `its programs have more than ${Layout.maxTotalSlots} instructions together`
      })
    }
    for (const records of [relocated.code.coreRelocations, relocated.funcInfo, relocated.lineInfo]) {
      recordBytes += records?.records.length ?? 0
    }
    coreRelocations += relocated.core?.length ?? 0
    if (coreRelocations > CoreReport.maxRelocations) throw CoreReport.tooMany(object)
    if (recordBytes > maxTotalRecordBytes) {
      throw new RelocateError({
        reason: "TooLarge",
        name: object.name,
        detail: `the records of its programs in .BTF.ext have more than ${maxTotalRecordBytes} bytes together`
      })
    }
    programs.push(relocated)
  }
  const missing = symbols.needs()
  if (missing.length > 0) return Asked.needs(missing)
  symbols.check()
  return Asked.done({
    object,
    programs,
    ...(arena.value === undefined ? {} : { arenaOffset: arena.value.offset }),
    kconfig: kconfig.bytes,
    ...(kconfig.pending.length === 0 ? {} : { kconfigPending: kconfig.pending })
  })
}

/** Relocates an object for a kernel, or says what must be known of the kernel first. */
export const toObject = (
  object: BpfObject,
  info: KernelInfo,
  options: RelocateOptions = {}
): Result.Result<Asked.Asked<RelocatedObject>, RelocateError> =>
  attempt(isRelocateError, () => relocateObject(StructOpsMaps.withAutoload(object), info, options))

/** The stage: relocates an opened object for the kernel that is provided. */
export const relocateWith = (
  options: RelocateOptions
): Stage.Stage<BpfObject, RelocatedObject, RelocateError | KernelError | Asked.UnansweredError, Kernel> =>
  Stage.make(
    "relocate",
    (object) => Effect.map(Asked.drive((info) => toObject(object, info, options)), ({ value }) => value)
  )

/** The stage without options. */
export const relocate: Stage.Stage<
  BpfObject,
  RelocatedObject,
  RelocateError | KernelError | Asked.UnansweredError,
  Kernel
> = relocateWith({})
