/**
 * CO-RE: a program compiled against one kernel's types, changed to run on another kernel.
 *
 * Each record names an instruction and what its value stands for: the offset of a field, the size of a type, whether an
 * enumerator exists. `relocate` looks that up in the target's types and puts the answer into the instruction. It is a
 * pure function; what it remembers to be fast lives in the target and in its types, which are the caller's.
 *
 * The answers are libbpf's, but where those are wrong: they do not depend on the order of the records, enumerators of 32
 * bits keep their sign, floating-point types exist, a load is ambiguous where types of one name have the field in different
 * sizes. Each place says so.
 *
 * Source: reference page `core-relo`.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import * as Insn from "../../../insn/Insn.ts"
import type { InfoRecords } from "../../../services/Kernel/KernelCall.ts"
import { type Budget, budgetFor } from "./Budget.ts"
import { CoreError, CoreFailure, fail } from "./CoreError.ts"
import * as Footprint from "./Footprint.ts"
import { type CoreKind, kindNames } from "./Kind.ts"
import { apply, type CoreResult } from "./Patch.ts"
import { type CoreCandidate, localType, type LocalType, type Resolution, resolve } from "./Resolve.ts"
import { parse, pathOf } from "./Spec.ts"
import type { CoreTarget } from "./Target.ts"

export { CoreError, isCoreError } from "./CoreError.ts"
export type { CoreErrorReason } from "./CoreError.ts"
export { begin as beginFootprint, end as endFootprint } from "./Footprint.ts"
export type { Conflict, Footprint, Growing as GrowingFootprint, Noted, NotedTypes } from "./Footprint.ts"
export { kindNames } from "./Kind.ts"
export type { CoreKind } from "./Kind.ts"
export type { Refusal, RefusalReason } from "./Match.ts"
export { POISON } from "./Patch.ts"
export type { CoreResult } from "./Patch.ts"
export type { CoreCandidate, Match } from "./Resolve.ts"
export { target } from "./Target.ts"
export type { CoreModule, CoreTarget } from "./Target.ts"

/** What became of one record. */
export interface CoreOutcome {
  /** Position of the record. */
  readonly record: number
  /** Slot of the instruction in the program. */
  readonly slot: number
  readonly kind: CoreKind
  /** The root type in the object's BTF, and its name: `struct task_struct___old`. */
  readonly typeId: number
  readonly typeName: string
  /** The indices of the record: `0:5:1`. */
  readonly access: string
  /** What is accessed, as C writes it: `struct task_struct.comm[1]`, `enum pid_type::PIDTYPE_TGID`. */
  readonly path: string
  /** The value by the object's own types, 64 bits unsigned. */
  readonly local: bigint
  /** Bytes of what is loaded or stored there, by the object's types and by the kernel's; 0 where that is not known. */
  readonly sizes: { readonly local: number; readonly kernel: number }
  /** The kernel's types of the same kind and name, and what each gave or why it was refused. */
  readonly candidates: ReadonlyArray<CoreCandidate>
  /** Whether one of them has what is accessed. */
  readonly found: boolean
  readonly result: CoreResult
}

/** A program with its records applied. */
export interface Relocated {
  /** The changed instructions; those that were given stay as they were. */
  readonly insns: Uint8Array
  /** One for each record, in their order. */
  readonly outcomes: ReadonlyArray<CoreOutcome>
}

/** A program of which some records may not be applicable. */
export interface Examined {
  /** The instructions, changed where that was possible. */
  readonly insns: Uint8Array
  /** One for each record, in their order: what became of it, or why it cannot be applied. */
  readonly outcomes: ReadonlyArray<Result.Result<CoreOutcome, CoreError>>
}

/** Bytes of the fields of a record: instruction offset, type, access string, kind. */
const RECORD_SIZE = 16

/** What stays the same for all records. */
interface Run {
  readonly insns: Uint8Array
  /** The records' bytes. */
  readonly records: Uint8Array
  readonly littleEndian: boolean
  readonly recordSize: number
  readonly local: Btf.Btf
  readonly target: CoreTarget
  readonly budget: Budget
  readonly known: Map<number, LocalType>
}

/**
 * Applies the CO-RE records of a program for the kernel that `target` describes, and tells what became of each.
 *
 * `insns` are little-endian slots, whatever the target's byte order, and are not changed. `records` are in the byte order
 * of `local`, the object's BTF, and count instructions in bytes from the start of `insns`. The first record that cannot be
 * applied is the error; a field, type or enumerator that the kernel does not have is none.
 */
export const relocate = (
  insns: Uint8Array,
  records: InfoRecords,
  local: Btf.Btf,
  target: CoreTarget
): Result.Result<Relocated, CoreError> => {
  const run = begin(insns, records, local, target)
  if (run instanceof CoreError) return Result.fail(run)
  const outcomes: Array<CoreOutcome> = []
  const count = run.records.length / run.recordSize
  for (let record = 0; record < count; record++) {
    const outcome = relocateOne(run, record)
    if (outcome instanceof CoreError) return Result.fail(outcome)
    outcomes.push(outcome)
  }
  return Result.succeed({ insns: run.insns, outcomes })
}

/**
 * As `relocate`, but goes on after a record that cannot be applied, and leaves its instruction as it is: for reports. Only
 * records that cannot be read at all are an error of the whole.
 */
export const examine = (
  insns: Uint8Array,
  records: InfoRecords,
  local: Btf.Btf,
  target: CoreTarget
): Result.Result<Examined, CoreError> => {
  const run = begin(insns, records, local, target)
  if (run instanceof CoreError) return Result.fail(run)
  const outcomes: Array<Result.Result<CoreOutcome, CoreError>> = []
  const count = run.records.length / run.recordSize
  for (let record = 0; record < count; record++) {
    const outcome = relocateOne(run, record)
    outcomes.push(outcome instanceof CoreError ? Result.fail(outcome) : Result.succeed(outcome))
  }
  return Result.succeed({ insns: run.insns, outcomes })
}

/**
 * Notes in a footprint, which it changes, what of the target's types the outcomes of these records depend on. Answers with
 * the records that cannot be applied on that target whatever their instructions are, those that ask the same once; of them
 * is noted what could be found out. All records of one footprint are noted for one target.
 */
export const note = (
  footprint: Footprint.Growing,
  records: InfoRecords,
  local: Btf.Btf,
  target: CoreTarget
): Result.Result<ReadonlyArray<CoreError>, CoreError> => {
  const run = begin(new Uint8Array(), records, local, target)
  if (run instanceof CoreError) return Result.fail(run)
  const problems: Array<CoreError> = []
  const known = new Set<string>()
  const count = run.records.length / run.recordSize
  for (let record = 0; record < count; record++) {
    const at = record * run.recordSize
    const [typeId, access, kind] = [word(run, at + 4), word(run, at + 8), word(run, at + 12)]
    const key = `${typeId} ${access} ${kind}`
    if (known.has(key)) continue
    known.add(key)
    const problem = failureOf(() => resolutionOf(run, typeId, access, kind))
    const type = run.known.get(typeId)
    const unnoted = type === undefined
      ? undefined
      : failureOf(() => Footprint.note(footprint, type, access, kind, target, run.budget))
    const failure = problem ?? unnoted
    if (failure !== undefined) problems.push(errorOf(run, record, failure))
  }
  return Result.succeed(problems)
}

/** What the work fails with, if it does. */
const failureOf = (work: () => unknown): CoreFailure | undefined => {
  try {
    work()
    return undefined
  } catch (thrown) {
    if (!(thrown instanceof CoreFailure)) throw thrown
    return thrown
  }
}

const begin = (insns: Uint8Array, records: InfoRecords, local: Btf.Btf, target: CoreTarget): Run | CoreError => {
  const { records: bytes, recordSize } = records
  if (!Number.isInteger(recordSize) || recordSize < RECORD_SIZE || bytes.length % recordSize !== 0) {
    return new CoreError({
      reason: "BadRecords",
      detail: `${bytes.length} bytes are no CO-RE records of ${recordSize} bytes each`
    })
  }
  if (local.byteOrder !== target.base.byteOrder) {
    return new CoreError({
      reason: "BadRecords",
      detail: `the object's types are ${local.byteOrder}-endian and the kernel's ${target.base.byteOrder}-endian`,
      hint: "relocate an object for a kernel of its own architecture"
    })
  }
  return {
    // Not `slice`: of a Buffer it would be a view, and the input would change.
    insns: new Uint8Array(insns),
    records: bytes,
    littleEndian: local.byteOrder === "little",
    recordSize,
    local,
    target,
    budget: budgetFor(bytes.length / recordSize),
    known: knownOf(target, local)
  }
}

/** What is known of the types of an object. */
const knownOf = (target: CoreTarget, local: Btf.Btf): Map<number, LocalType> => {
  const known = target.known.get(local)
  if (known !== undefined) return known
  const empty = new Map<number, LocalType>()
  target.known.set(local, empty)
  return empty
}

/** The 32 bits at `at`. Objects have few records each: a view of them would cost as much as what it reads. */
const word = ({ littleEndian, records }: Run, at: number): number => {
  const a = records[at] ?? 0
  const b = records[at + 1] ?? 0
  const c = records[at + 2] ?? 0
  const d = records[at + 3] ?? 0
  return (littleEndian ? a | b << 8 | c << 16 | d << 24 : a << 24 | b << 16 | c << 8 | d) >>> 0
}

/** Applies one record. */
const relocateOne = (run: Run, record: number): CoreOutcome | CoreError => {
  const { insns } = run
  const at = record * run.recordSize
  const offset = word(run, at)
  const typeId = word(run, at + 4)
  const access = word(run, at + 8)
  const kind = word(run, at + 12)
  const slot = offset / 8
  let resolution: Resolution | undefined
  try {
    if (!Number.isInteger(slot) || slot >= Insn.count(insns)) {
      fail("BadOffset", `there is no instruction at byte ${offset} of the program`)
    }
    resolution = resolutionOf(run, typeId, access, kind)
    const result = apply(insns, slot, resolution)
    const { candidates, found, local, path, target, typeName } = resolution
    return {
      record,
      slot,
      kind: resolution.kind,
      typeId,
      typeName,
      access: resolution.access,
      path,
      local: local.value,
      sizes: { local: local.size, kernel: target === undefined ? 0 : target.size },
      candidates,
      found,
      result
    }
  } catch (thrown) {
    if (!(thrown instanceof CoreFailure)) throw thrown
    return errorOf(run, record, thrown, resolution?.candidates)
  }
}

/** The error that a record fails with. */
const errorOf = (
  run: Run,
  record: number,
  failure: CoreFailure,
  looked?: ReadonlyArray<CoreCandidate>
): CoreError => {
  const at = record * run.recordSize
  const slot = word(run, at) / 8
  const typeId = word(run, at + 4)
  const { detail, hint, reason } = failure
  const candidates = failure.candidates ?? looked
  return new CoreError({
    reason,
    record,
    ...(Number.isInteger(slot) ? { slot } : {}),
    ...describe(run, typeId, word(run, at + 8), word(run, at + 12)),
    typeId,
    detail,
    ...(candidates === undefined ? {} : { candidates }),
    ...(hint === undefined ? {} : { hint })
  })
}

const resolutionOf = (
  { budget, known, local, target }: Run,
  typeId: number,
  access: number,
  kind: number
): Resolution => {
  let type = known.get(typeId)
  if (type === undefined) known.set(typeId, type = localType(local, typeId, budget))
  // Both are below 2^32, and there are 13 kinds: the sum is exact.
  const key = access * 16 + kind
  const decided = kind < 16 ? type.decided.get(key) : undefined
  if (decided !== undefined) return decided
  const resolution = resolve(type, target, access, kind, budget)
  type.decided.set(key, resolution)
  return resolution
}

/** Kind and path of a record, as far as they can be read. */
const describe = (
  { budget, local }: Run,
  typeId: number,
  access: number,
  kind: number
): { readonly relocation: string; readonly kind: string; readonly path?: string } => {
  const kindName = kindNames[kind] ?? `kind ${kind}`
  if (budget.left < 0) return { relocation: kindName, kind: kindName }
  try {
    const path = pathOf(parse(local, typeId, access, kind, budget))
    return { relocation: `${kindName} ${path}`, kind: kindName, path }
  } catch (thrown) {
    if (!(thrown instanceof CoreFailure)) throw thrown
    return { relocation: `${kindName} ${Btf.typeName(local, typeId)}`, kind: kindName }
  }
}
