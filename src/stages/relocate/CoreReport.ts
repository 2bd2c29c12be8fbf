/**
 * What became of an object's CO-RE relocations, as data: where each stands, what it accesses, what the kernel has, and
 * whether instructions that the kernel has nothing for can be reached.
 *
 * Errors, plans and the compatibility of an object with many kernels are made from it. It is made when it is asked for: a
 * load that works needs none.
 */
import * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import type { CodeRef } from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import * as Core from "./core/Core.ts"
import * as ExceptionCallback from "./ExceptionCallback.ts"
import * as Info from "./Info.ts"
import * as Layout from "./Layout.ts"
import * as Reachability from "./Reachability.ts"
import { isRelocateError, RelocateError } from "./RelocateError.ts"
import type { Placement, RelocatedObject, RelocatedProgram } from "./RelocatedObject.ts"
import * as SourceLines from "./SourceLines.ts"

export type { Budget, Verdict } from "./Reachability.ts"
export type { SourceLine } from "./SourceLines.ts"

/** What became of a relocation. */
export type Outcome =
  /** The instruction takes this value now, and accesses this many bytes where that changed. */
  | { readonly _tag: "Value"; readonly value: bigint; readonly size: number | undefined }
  /** It was right already. */
  | { readonly _tag: "Unchanged"; readonly value: bigint }
  /** The kernel does not have it, and the program is told so: `*_exists`, a size or an id comes to 0. */
  | { readonly _tag: "Absent" }
  /** The kernel does not have it, or not in a size that can be read: the instruction is one that must not be reached. */
  | { readonly _tag: "Poisoned"; readonly why: "Missing" | "Resized"; readonly verdict: Reachability.Verdict }
  /** It cannot be applied at all. */
  | { readonly _tag: "Failed"; readonly error: Core.CoreError }
  /** The kernel decides when the program is loaded. */
  | { readonly _tag: "Deferred" }

/** One relocation. */
export interface CoreEntry {
  /** The entry program that it is a part of, and its instruction there, in slots. */
  readonly program: string
  readonly slot: number
  /** The function that has it, which is the entry program or one that it calls, and its instruction there, in slots. */
  readonly function: string
  readonly functionSlot: number
  /** The C line that it was compiled from, where the object says that. */
  readonly source: SourceLines.SourceLine | undefined
  /** One of `Core.kindNames`; `kind 99` for one that does not exist. */
  readonly kind: string
  /** The root type in the object's BTF. */
  readonly typeId: number
  /** What is accessed, as C writes it: `struct task_struct.comm[1]`; the root type where the path cannot be read. */
  readonly path: string
  /** The indices of the record, `0:5:1`; `undefined` of a record that cannot be applied. */
  readonly access: string | undefined
  /** The value by the object's own types, 64 bits unsigned; `undefined` of a record that cannot be applied. */
  readonly local: bigint | undefined
  /** Bytes of what is loaded or stored there, by the object's types and by the kernel's; 0 where that is not known. */
  readonly sizes: Core.CoreOutcome["sizes"]
  /** The kernel's types of the same kind and name, and what each gave or why it was refused. */
  readonly candidates: ReadonlyArray<Core.CoreCandidate>
  readonly outcome: Outcome
}

/** The relocations of one entry program, in the order of their records. */
export interface ProgramReport {
  /** Position in `object.programs`. */
  readonly position: number
  readonly program: string
  readonly entries: ReadonlyArray<CoreEntry>
}

/** How many relocations came to what. */
export interface Summary {
  readonly relocations: number
  readonly values: number
  readonly unchanged: number
  readonly absent: number
  /** Of instructions that must not be reached. */
  readonly poisoned: Readonly<Record<Reachability.Verdict, number>>
  readonly failed: number
  readonly deferred: number
}

/** Counts entries by outcome. */
export const summarise = (entries: ReadonlyArray<CoreEntry>): Summary => {
  const counts = { Value: 0, Unchanged: 0, Absent: 0, Failed: 0, Deferred: 0, Poisoned: 0 }
  const poisoned = { guarded: 0, reachable: 0, unknown: 0 }
  for (const { outcome } of entries) {
    counts[outcome._tag]++
    if (outcome._tag === "Poisoned") poisoned[outcome.verdict]++
  }
  return {
    relocations: entries.length,
    values: counts.Value,
    unchanged: counts.Unchanged,
    absent: counts.Absent,
    poisoned,
    failed: counts.Failed,
    deferred: counts.Deferred
  }
}

/** What entries of one program share. */
interface Place {
  readonly object: BpfObject
  readonly program: string
  readonly layout: ReadonlyArray<Placement>
  readonly lines: SourceLines.Find
  /** Whether relocations that the kernel lacks nothing for get no lines. */
  readonly linesOfMissing: boolean
}

/** The macros of `bpf_core_read.h` that make records of a kind, where those are not made by accesses, too. */
const macros: Readonly<Partial<Record<string, string>>> = {
  byte_sz: "bpf_core_field_size",
  field_exists: "bpf_core_field_exists",
  local_type_id: "bpf_core_type_id_local",
  target_type_id: "bpf_core_type_id_kernel",
  type_exists: "bpf_core_type_exists",
  type_size: "bpf_core_type_size",
  type_matches: "bpf_core_type_matches",
  enumval_exists: "bpf_core_enum_value_exists",
  enumval_value: "bpf_core_enum_value"
}

/** The words that a C line has which a record was made of: the name that the path ends with, the macro. */
const wordsOf = (kind: string, path: string): ReadonlyArray<string> => {
  // `comm` of `struct task_struct.comm[1]`
  const name = /(\w+)(?:\[\d+\])*$/.exec(path.slice(-256))?.[1]
  const macro = macros[kind]
  return name === undefined ? [] : macro === undefined ? [name] : [name, macro]
}

/** Where an instruction of a laid-out program was compiled, which stands for what is accessed. */
const whereIs = (
  { layout, lines, object, program }: Place,
  slot: number,
  { kind, path }: { readonly kind: string; readonly path: string },
  withLine = true
): Pick<CoreEntry, "program" | "slot" | "function" | "functionSlot" | "source"> => {
  let low = 0
  for (let high = layout.length; high - low > 1;) {
    const middle = (low + high) >> 1
    if ((layout[middle]?.slot ?? 0) <= slot) low = middle
    else high = middle
  }
  const placement = layout[low]
  const position = placement?.program ?? 0
  const functionSlot = slot - (placement?.slot ?? 0)
  const name = object.programs[position]?.name ?? program
  const source = withLine ? lines(position, functionSlot, wordsOf(kind, path)) : undefined
  return { program, slot, function: name, functionSlot, source }
}

const outcomeOf = ({ found, result }: Core.CoreOutcome, verdict: Reachability.Verdict): Outcome => {
  if (result._tag === "Poisoned") return { _tag: "Poisoned", why: result.why, verdict }
  if (!found) return { _tag: "Absent" }
  return result
}

const entryOf = (place: Place, outcome: Core.CoreOutcome, became: Outcome): CoreEntry => {
  const { access, candidates, kind, local, path, sizes, slot, typeId } = outcome
  const withLine = !place.linesOfMissing || (became._tag !== "Value" && became._tag !== "Unchanged")
  return {
    ...whereIs(place, slot, outcome, withLine),
    kind,
    typeId,
    path,
    access,
    local,
    sizes,
    candidates,
    outcome: became
  }
}

const failedEntry = (place: Place, error: Core.CoreError): CoreEntry => ({
  ...whereIs(place, error.slot ?? 0, { kind: error.kind ?? "", path: error.path ?? "" }),
  kind: error.kind ?? "",
  typeId: error.typeId ?? 0,
  path: error.path ?? error.relocation?.slice((error.kind?.length ?? 0) + 1) ?? "",
  access: undefined,
  local: undefined,
  sizes: { local: 0, kernel: 0 },
  candidates: error.candidates ?? [],
  outcome: { _tag: "Failed", error }
})

/** Records that are left to the kernel, as far as the object's own types explain them. */
const deferredEntries = (
  place: Place,
  { code: { coreRelocations, insns } }: RelocatedProgram
): ReadonlyArray<CoreEntry> => {
  const { btf } = place.object
  if (coreRelocations === undefined || btf === undefined) return []
  const examined = Core.examine(insns, coreRelocations, btf, Core.target(btf))
  if (Result.isFailure(examined)) return []
  return examined.success.outcomes.map((outcome) => ({
    ...(Result.isSuccess(outcome)
      ? entryOf(place, outcome.success, { _tag: "Deferred" })
      : { ...failedEntry(place, outcome.failure), outcome: { _tag: "Deferred" } as const }),
    // Of its own types, which say nothing of a kernel's.
    candidates: []
  }))
}

const isPoisoned = ({ result }: Core.CoreOutcome): boolean => result._tag === "Poisoned"

const placeOf = (
  object: BpfObject,
  program: RelocatedProgram,
  lines: SourceLines.Find,
  linesOfMissing = false
): Place => ({
  object,
  program: object.programs[program.program]?.name ?? "",
  layout: program.layout,
  lines,
  linesOfMissing
})

const entriesOf = (
  place: Place,
  program: RelocatedProgram,
  ask: Reachability.Ask,
  budget: Reachability.Budget
): ReadonlyArray<CoreEntry> => {
  if (program.core === undefined) return deferredEntries(place, program)
  const verdicts = ask(program, program.core.filter(isPoisoned).map(({ slot }) => slot), budget)
  return program.core.map((outcome) =>
    entryOf(place, outcome, outcomeOf(outcome, verdicts.get(outcome.slot) ?? "unknown"))
  )
}

/**
 * The report of a relocated object: one for each of its programs. Following the programs is bounded by `budget`; where it
 * is spent, verdicts are `unknown`.
 */
export const of = (
  relocated: RelocatedObject,
  budget: Reachability.Budget = Reachability.budget()
): ReadonlyArray<ProgramReport> => {
  const lines = SourceLines.of(relocated.object)
  const ask = Reachability.of(relocated)
  return relocated.programs.map((program) => ({
    position: program.program,
    program: relocated.object.programs[program.program]?.name ?? "",
    entries: entriesOf(placeOf(relocated.object, program, lines), program, ask, budget)
  }))
}

/**
 * The relocations at one instruction of the program at `position` of the object: the one that poisoned it comes first. What
 * is asked here is how a kernel's complaint came about, so the verdict of a poisoned one is `reachable`.
 */
export const at = (relocated: RelocatedObject, position: number, slot: number): ReadonlyArray<CoreEntry> => {
  const { object } = relocated
  const program = relocated.programs.find((each) => each.program === position)
  if (program === undefined) return []
  const place = placeOf(object, program, SourceLines.of(object))
  if (program.core === undefined) return deferredEntries(place, program).filter((entry) => entry.slot === slot)
  const outcomes = program.core.filter((outcome) => outcome.slot === slot)
  return [...outcomes.filter(isPoisoned), ...outcomes.filter((outcome) => !isPoisoned(outcome))].map((outcome) =>
    entryOf(place, outcome, outcomeOf(outcome, "reachable"))
  )
}

/** CO-RE relocations of all programs of an object together; what became of each is remembered. */
export const maxRelocations = 1_000_000

/** The error of an object with more. */
export const tooMany = (object: BpfObject): RelocateError =>
  new RelocateError({
    reason: "TooLarge",
    name: object.name,
    detail: `its programs have more than ${maxRelocations} CO-RE relocations together`
  })

/** How an object is examined. */
export interface ExamineOptions {
  /** The bytes of the `.kconfig` map, where they are known: guards may depend on them. */
  readonly kconfig?: Uint8Array
  readonly budget?: Reachability.Budget
  /** The object's lines, where they were made before: for one object on many kernels. */
  readonly lines?: SourceLines.Find
  /** Whether only relocations that the kernel lacks something for get their lines, which take a third of the time. */
  readonly linesOfMissing?: boolean
}

/** What the instructions of a laid-out program refer to, as names alone: nothing is looked for in a kernel. */
const refsOf = (object: BpfObject, layout: ReadonlyArray<Placement>, kconfigMap: number): ReadonlyArray<CodeRef> =>
  layout.flatMap(({ program, slot }) =>
    (object.programs[program]?.relocations ?? []).flatMap((relocation): ReadonlyArray<CodeRef> => {
      const at = slot + relocation.at
      switch (relocation._tag) {
        case "Map":
          return [{ _tag: "MapRef", at, map: Ref.map(relocation.map) }]
        case "MapValue":
          return [{ _tag: "MapValueRef", at, map: Ref.map(relocation.map), offset: relocation.offset }]
        case "Extern": {
          const extern = object.externs[relocation.extern]
          if (extern === undefined) return []
          if (extern._tag === "Kconfig") {
            return [{ _tag: "MapValueRef", at, map: Ref.map(kconfigMap), offset: extern.dataOffset }]
          }
          const kind = extern.isFunction ? "Func" : extern.typeId === 0 ? "Address" : "Var"
          return [{ _tag: "SymbolRef", at, symbol: { name: extern.kernelName, kind, weak: extern.weak } }]
        }
        default:
          return []
      }
    })
  )

/**
 * The report of an object against any kernel's types, which need not be those of a kernel that it can be loaded into:
 * records that cannot be applied are part of it (`Failed`), and nothing else of the kernel is asked for. Fails where the
 * object's programs cannot be laid out, or its types are of another byte order than the kernel's.
 */
export const examine = (
  object: BpfObject,
  target: Core.CoreTarget,
  options: ExamineOptions = {}
): Result.Result<ReadonlyArray<ProgramReport>, RelocateError> =>
  attempt(isRelocateError, () => {
    const budget = options.budget ?? Reachability.budget()
    const core = Info.index(object.btfExt?.coreRelocations, object.byteOrder)
    const funcs = Info.index(object.btfExt?.funcInfo, object.byteOrder)
    const kconfigMap = object.maps.findIndex((map) => map.origin === "Kconfig")
    const lines = options.lines ?? SourceLines.of(object)
    const linesOfMissing = options.linesOfMissing === true
    const callbacks = ExceptionCallback.find(object)
    let slots = 0
    let relocations = 0
    return object.programs.flatMap((entry, position): ReadonlyArray<ProgramReport> => {
      if (!entry.entry || !entry.autoload) return []
      const { name } = entry
      const { insns: compiled, layout } = Layout.layOut(object, position, callbacks.get(name))
      slots += compiled.length / 8
      if (slots > Layout.maxTotalSlots) {
        throw new RelocateError({
          reason: "TooLarge",
          name: object.name,
          detail: `its programs have more than ${Layout.maxTotalSlots} instructions together`
        })
      }
      const { records } = Info.pick(object, core, layout, "bytes")
      if (records === undefined || object.btf === undefined) return [{ position, program: name, entries: [] }]
      const examined = Core.examine(compiled, records, object.btf, target)
      if (Result.isFailure(examined)) throw wholeError(name, examined.failure)
      const { insns, outcomes } = examined.success
      relocations += outcomes.length
      if (relocations > maxRelocations) throw tooMany(object)
      const program: RelocatedProgram = {
        program: position,
        code: { insns, refs: refsOf(object, layout, kconfigMap) },
        layout,
        funcInfo: Info.pick(object, funcs, layout, "slots").records,
        lineInfo: undefined,
        core: outcomes.flatMap((outcome) => Result.isSuccess(outcome) ? [outcome.success] : []),
        notes: []
      }
      const relocated: RelocatedObject = { object, programs: [program], kconfig: options.kconfig }
      const place = placeOf(object, program, lines, linesOfMissing)
      const applied = entriesOf(place, program, Reachability.of(relocated), budget)
      let next = 0
      const entries = outcomes.flatMap((outcome) => {
        const entry = Result.isSuccess(outcome) ? applied[next++] : failedEntry(place, outcome.failure)
        return entry === undefined ? [] : [entry]
      })
      return [{ position, program: name, entries }]
    })
  })

/** The error of records that cannot be looked at one by one. */
const wholeError = (name: string, { detail, hint }: Core.CoreError): RelocateError =>
  new RelocateError({ reason: "Core", name, detail, ...(hint === undefined ? {} : { hint }) })

/** What one record that cannot be applied is, in a program that is laid out so. */
export const failed = (
  object: BpfObject,
  program: string,
  layout: ReadonlyArray<Placement>,
  error: Core.CoreError
): CoreEntry => failedEntry({ object, program, layout, lines: SourceLines.of(object), linesOfMissing: false }, error)
