/**
 * Deciding what a record comes to in a kernel: which of its types are meant, and the value that they agree on.
 *
 * A decision depends on the record's type, access string and kind and on nothing else, so records that say the same share
 * one, in all programs of an object.
 *
 * Source: reference page `core-relo`, sections 3, 6 and 7. libbpf forgets candidates that did not match once, so there an
 * answer may depend on which record came before; here every record sees all of them.
 */
import * as Btf from "../../../btf/Btf.ts"
import type { Budget } from "./Budget.ts"
import { spend } from "./Budget.ts"
import { CoreFailure, fail } from "./CoreError.ts"
import * as Kind from "./Kind.ts"
import { match, type Refusal } from "./Match.ts"
import { parse, pathOf, type Spec } from "./Spec.ts"
import type { CoreTarget } from "./Target.ts"
import { intEncoding, isRootKind } from "./Types.ts"
import { type CoreValue, valueOf, valueOfMissing } from "./Value.ts"

/** What a kernel type has in the place of what the record accesses. */
export interface Match {
  readonly _tag: "Match"
  /** As in `Resolution.path`, in the kernel's type. */
  readonly path: string
  /** Bits from the start of the type. */
  readonly bitOffset: number
  readonly value: bigint
}

/** A kernel type of the same kind and essential name as the record's root type. */
export interface CoreCandidate {
  /** The module that has it; `undefined` for the kernel itself. */
  readonly module: string | undefined
  /** In the kernel's, or the module's, ids. */
  readonly typeId: number
  /** With its flavor, where it has one. */
  readonly typeName: string
  readonly verdict: Match | Refusal
}

/** What a record comes to, whatever instruction it stands at. */
export interface Resolution {
  readonly kind: Kind.CoreKind
  /** The root type in the object's BTF. */
  readonly typeId: number
  /** The root type: `struct task_struct___old`. */
  readonly typeName: string
  /** The indices of the record: `0:5:1`. */
  readonly access: string
  /** What is accessed, as C writes it: `struct task_struct.comm[1]`, `enum pid_type::PIDTYPE_TGID`. */
  readonly path: string
  /** The value by the object's own types. */
  readonly local: CoreValue
  readonly candidates: ReadonlyArray<CoreCandidate>
  /** Whether some candidate has it. */
  readonly found: boolean
  /** The value in the kernel; `undefined` where the instruction must not be reached. */
  readonly target: CoreValue | undefined
  /** Whether a load or store of the field may become one of the size that the field has in the kernel. */
  readonly resizable: boolean
  /** That candidates have the field in different sizes, so that a load or store of it is ambiguous. */
  readonly sizesDiffer: string | undefined
}

/** The most types of one name and kind that are looked at. */
export const MAX_CANDIDATES = 1024

/** A type of the kernel, or of a module, that a type of the object may be. */
export interface Candidate {
  readonly module: string | undefined
  readonly btf: Btf.Btf
  readonly id: number
  readonly typeName: string
}

/** A type of an object that records start from, with what was found out about it for one target. */
export interface LocalType {
  readonly btf: Btf.Btf
  readonly id: number
  readonly typeName: string
  readonly name: Btf.EssentialName
  candidates: ReadonlyArray<Candidate> | undefined
  /** By access string and kind. */
  readonly decided: Map<number, Resolution>
}

/** A type of which nothing was found out yet. Throws a `CoreFailure` where the object does not have it. */
export const localType = (btf: Btf.Btf, id: number, budget: Budget): LocalType => {
  if (!Btf.exists(btf, id)) fail("BadType", `the object's BTF has no type ${id}`)
  const name = Btf.essentialAt(btf, Btf.nameOffsetOf(btf, id))
  spend(budget, 16 + (name.length >> 4))
  return { btf, id, typeName: Btf.typeName(btf, id), name, candidates: undefined, decided: new Map() }
}

/** The types of the kernel, or else of its modules, that a type of the object may be. Throws a `CoreFailure`. */
export const candidatesOf = (target: CoreTarget, local: LocalType, budget: Budget): ReadonlyArray<Candidate> =>
  local.candidates ??= findCandidates(target, local, budget)

const findCandidates = (target: CoreTarget, local: LocalType, budget: Budget): ReadonlyArray<Candidate> => {
  const found: Array<Candidate> = []
  if (!isRootKind(Btf.kindOf(local.btf, local.id))) return found
  const chain = [target.base]
  for (let blob = target.base.base; blob !== undefined; blob = blob.base) chain.unshift(blob)
  for (const blob of chain) collect(local, undefined, target.base, blob, found, budget)
  if (found.length === 0) {
    for (const { btf, name } of target.modules) collect(local, name, btf, btf, found, budget)
  }
  return found
}

/** Adds the types of one blob that have the name. Ids are those of `btf`, of whose chain the blob is one. */
const collect = (
  local: LocalType,
  module: string | undefined,
  btf: Btf.Btf,
  blob: Btf.Btf,
  found: Array<Candidate>,
  budget: Budget
): void => {
  const ids = Btf.idsOfEssential(blob, Btf.kindOf(local.btf, local.id), local.name, budget)
  spend(budget, 64 * ids.length)
  if (found.length + ids.length > MAX_CANDIDATES) {
    fail("TooManyCandidates", `there are more than ${MAX_CANDIDATES} kernel types of this name`)
  }
  for (const id of ids) found.push({ module, btf, id, typeName: Btf.typeName(btf, id) })
}

/** Decides a record. Throws a `CoreFailure`. */
export const resolve = (
  type: LocalType,
  target: CoreTarget,
  accessOffset: number,
  kind: number,
  budget: Budget
): Resolution => {
  const kindName = Kind.kindNames[kind]
  if (kindName === undefined) return fail("UnknownKind", `there is no kind ${kind} of CO-RE relocation`)
  const { btf: local, id: typeId, typeName } = type
  const spec = parse(local, typeId, accessOffset, kind, budget)
  const path = pathOf(spec, typeName)
  const own = valueOf(spec, kind)
  const access = indicesOf(spec)
  spend(budget, 16 + (path.length >> 4))
  const candidates: Array<CoreCandidate> = []
  // An id of the object's own may be of any type; linkers renumber types, so the instruction's value is not looked at.
  if (kind === Kind.BPF_CORE_TYPE_ID_LOCAL) {
    return {
      kind: kindName,
      typeId,
      typeName,
      access,
      path,
      local: own,
      candidates,
      found: true,
      target: own,
      resizable: true,
      sizesDiffer: undefined
    }
  }
  if (type.name.length === 0) {
    fail("BadType", "a type without a name cannot be looked for in the kernel", "give the struct or enum a name")
  }
  let first: Answer | undefined
  let wrong: string | undefined
  let sizesDiffer: string | undefined
  for (const candidate of candidatesOf(target, type, budget)) {
    const { btf, id, module, typeName: name } = candidate
    spend(budget, 64)
    const matched = match(spec, kind, btf, id, budget)
    if ("_tag" in matched) {
      candidates.push({ module, typeId: id, typeName: name, verdict: matched })
      continue
    }
    const value = valueOf(matched, kind)
    const { bitOffset } = matched
    const verdict = { _tag: "Match", path: pathOf(matched, name), bitOffset, value: value.value } as const
    candidates.push({ module, typeId: id, typeName: name, verdict })
    const answer = { spec: matched, value, candidate }
    if (first === undefined) {
      first = answer
      continue
    }
    wrong ??= disagreement(kindName, first, answer)
    if (sizesDiffer === undefined && accessOf(local, own, first) !== accessOf(local, own, answer)) {
      sizesDiffer = `${nameOf(first)} has ${first.value.size} bytes, ${nameOf(answer)} ${value.size}`
    }
  }
  if (wrong !== undefined) {
    throw new CoreFailure({ reason: "Ambiguous", detail: wrong, hint: AMBIGUOUS, candidates })
  }
  return {
    kind: kindName,
    typeId,
    typeName,
    access,
    path,
    local: own,
    candidates,
    found: first !== undefined,
    target: first === undefined ? valueOfMissing(kind) : first.value,
    resizable: first === undefined || isResizable(local, own, first.candidate.btf, first.value),
    sizesDiffer
  }
}

/** What to do about several kernel types of one name. */
export const AMBIGUOUS = "the kernel has several types of this name; use a flavor whose members only one of them has"

/** The size that a load of the field has in a candidate; -1 where there is none. */
const accessOf = (local: Btf.Btf, own: CoreValue, { candidate, value }: Answer): number =>
  isResizable(local, own, candidate.btf, value) ? value.size : -1

const nameOf = ({ candidate, spec }: Answer): string =>
  `${pathOf(spec)} of type ${candidate.id}${candidate.module === undefined ? "" : ` in module ${candidate.module}`}`

/** The access string. */
const indicesOf = ({ raw }: Spec): string => {
  let text = String(raw[0] ?? 0)
  for (let position = 1; position < raw.length; position++) text += `:${raw[position] ?? 0}`
  return text
}

interface Answer {
  readonly spec: Spec
  readonly value: CoreValue
  readonly candidate: Candidate
}

/** What two candidates that match say differently; `undefined` where they agree. */
const disagreement = (kind: Kind.CoreKind, one: Answer, other: Answer): string | undefined => {
  if (one.spec.bitOffset !== other.spec.bitOffset) {
    return `${nameOf(one)} is at bit ${one.spec.bitOffset}, ${nameOf(other)} at bit ${other.spec.bitOffset}`
  }
  // Types of two modules are two, also where their ids are one number; libbpf goes by the number.
  const areOne = one.value.value === other.value.value &&
    (kind !== "target_type_id" || one.candidate.btf === other.candidate.btf)
  return areOne
    ? undefined
    : `${kind} is ${one.value.value} for ${nameOf(one)} and ${other.value.value} for ${nameOf(other)}`
}

/** Pointers and unsigned integers keep their value when they are loaded with the size that they have in the kernel. */
const isResizable = (local: Btf.Btf, own: CoreValue, other: Btf.Btf, there: CoreValue): boolean => {
  if (own.size === there.size) return true
  const kind = Btf.kindOf(local, own.typeId)
  if (kind !== Btf.kindOf(other, there.typeId)) return false
  if (kind === Btf.BTF_KIND_PTR) return true
  return kind === Btf.BTF_KIND_INT && intEncoding(local, own.typeId) !== Btf.BTF_INT_SIGNED &&
    intEncoding(other, there.typeId) !== Btf.BTF_INT_SIGNED
}
