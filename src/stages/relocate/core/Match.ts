/**
 * Finding in a kernel type what a record accesses in the object's type of that name.
 *
 * Source: reference page `core-relo`, section 4. Where libbpf leaves a step of a failed search in its path, the state
 * here is put back as it was.
 */
import * as Btf from "../../../btf/Btf.ts"
import { memberPlace, rememberPlace } from "../../../btf/BtfEssential.ts"
import type { Budget } from "./Budget.ts"
import { spend } from "./Budget.ts"
import { compatible, matches, sameName } from "./Compare.ts"
import { fail } from "./CoreError.ts"
import * as Kind from "./Kind.ts"
import { type Accessor, isFlexible, MAX_BITS, MAX_DEPTH, type Spec } from "./Spec.ts"
import {
  elementNameOffset,
  essentialsOf,
  intOffset,
  isAnonymous,
  isComposite,
  isEnum,
  memberAt,
  membersOf,
  sameKind,
  sizeOf,
  skip
} from "./Types.ts"

/** Why a kernel type of the right name is not what a record accesses. */
export type RefusalReason =
  /** It has no member of that name. */
  | "NoMember"
  /** Its member of that name is of another kind of type. */
  | "IncompatibleMember"
  /** What should have members is no struct or union. */
  | "NotComposite"
  /** What should have elements is no array. */
  | "NotArray"
  /** The array has fewer elements. */
  | "ShortArray"
  /** It is no enum. */
  | "NotEnum"
  /** It has no enumerator of that name. */
  | "NoEnumerator"
  /** It is a type of another kind behind its name. */
  | "IncompatibleType"
  /** Its members or enumerators are not those of the object's type. */
  | "DifferentType"

/** Why a kernel type was refused, and at which step: the member's or enumerator's name, or an element's `[n]`. */
export interface Refusal {
  readonly _tag: "Refusal"
  readonly reason: RefusalReason
  readonly at: string
}

const refusal = (reason: RefusalReason, at = ""): Refusal => ({ _tag: "Refusal", reason, at })

/** The path of a record in candidate `id`, or why there is none. Throws a `CoreFailure` for types without an answer. */
export const match = (local: Spec, kind: number, btf: Btf.Btf, id: number, budget: Budget): Spec | Refusal => {
  if (Kind.isTypeKind(kind)) {
    const strict = kind === Kind.BPF_CORE_TYPE_MATCHES
    const is = (strict ? matches : compatible)(local.btf, local.rootId, btf, id, budget)
    if (!is) return refusal(strict ? "DifferentType" : "IncompatibleType")
    return { btf, rootId: id, raw: [], accessors: [], bitOffset: 0 }
  }
  return Kind.isEnumeratorKind(kind) ? matchEnumerator(local, btf, id, budget) : matchField(local, btf, id, budget)
}

const matchEnumerator = (local: Spec, btf: Btf.Btf, id: number, budget: Budget): Spec | Refusal => {
  const wanted = local.accessors[0]?.name ?? ""
  const root = skip(btf, id)
  if (!isEnum(Btf.kindOf(btf, root))) return refusal("NotEnum", wanted)
  spend(budget, 1 + (wanted.length >> 4))
  const index = essentialsOf(btf, root, budget).get(Btf.essentialName(wanted))?.[0]
  if (index === undefined) return refusal("NoEnumerator", wanted)
  const name = Btf.stringAt(btf, elementNameOffset(btf, root, index)) ?? ""
  return { btf, rootId: id, raw: [index], accessors: [{ typeId: root, index, name, type: 0, bits: 0 }], bitOffset: 0 }
}

/** A path that grows. */
interface Growing {
  readonly btf: Btf.Btf
  readonly raw: Array<number>
  readonly accessors: Array<Accessor>
  bitOffset: number
}

const matchField = (local: Spec, btf: Btf.Btf, id: number, budget: Budget): Spec | Refusal => {
  const path: Growing = { btf, raw: [], accessors: [], bitOffset: 0 }
  let current = id
  for (let position = 0; position < local.accessors.length; position++) {
    const accessor = local.accessors[position]
    if (accessor === undefined) break
    spend(budget, 4)
    current = skip(btf, current)
    if (accessor.name === undefined) {
      if (position > 0) {
        const at = `[${accessor.index}]`
        if (Btf.kindOf(btf, current) !== Btf.BTF_KIND_ARRAY) return refusal("NotArray", at)
        const length = Btf.arrayLength(btf, current)
        if (accessor.index >= length && !isFlexible(btf, path.accessors.at(-1), length)) {
          return refusal("ShortArray", at)
        }
        current = skip(btf, Btf.elementType(btf, current))
      }
      push(path, accessor.index)
      path.accessors.push({ typeId: current, index: accessor.index, name: undefined, type: 0, bits: 0 })
      path.bitOffset += accessor.index * sizeOf(btf, current) * 8
    } else {
      const { name } = accessor
      spend(budget, name.length >> 4)
      if (!isComposite(Btf.kindOf(btf, current))) return refusal("NotComposite", name)
      const found = find(path, current, name, local.btf, accessor.type, budget)
      if (found !== "Found") return refusal(found === "Incompatible" ? "IncompatibleMember" : "NoMember", name)
      current = path.accessors.at(-1)?.type ?? 0
    }
    if (path.bitOffset > MAX_BITS) fail("OutOfRange", "the field is more than 512 MiB from the start of its type")
  }
  return { btf, rootId: id, raw: path.raw, accessors: path.accessors, bitOffset: path.bitOffset }
}

const push = (path: Growing, index: number): void => {
  if (path.raw.length === MAX_DEPTH) fail("TooDeep", `the field is nested more than ${MAX_DEPTH} deep`)
  path.raw.push(index)
}

/** What is searched for: a member of the object's, with its type. */
interface Wanted {
  readonly local: Btf.Btf
  readonly type: number
  readonly budget: Budget
  /** Anonymous types that do not have it: the answer would be the same again, and cycles end here. */
  seen: Set<number> | undefined
  /** Whether the search came by a member of that name of an incompatible type. */
  mixed: boolean
}

/** Finds a member of a struct or union where it was found before, or else searches for it, and makes the path lead there. */
const find = (
  path: Growing,
  id: number,
  name: string,
  local: Btf.Btf,
  localType: number,
  budget: Budget
): "Found" | "Missing" | "Incompatible" => {
  const { btf, raw } = path
  const place = memberPlace(btf, id, name)
  if (place !== undefined && raw.length + place.indices.length <= MAX_DEPTH) {
    const { bitOffset, bits, indices, type, typeId } = place
    if (fieldsCompatible(local, localType, btf, type, budget)) {
      for (const index of indices) raw.push(index)
      path.accessors.push({ typeId, index: indices.at(-1) ?? 0, name, type, bits })
      path.bitOffset += bitOffset
      return "Found"
    }
  }
  const depth = raw.length
  const start = path.bitOffset
  const wanted: Wanted = { local, type: localType, budget, seen: undefined, mixed: false }
  const found = search(path, id, name, wanted)
  const last = path.accessors.at(-1)
  // Where an incompatible member of the same name came first, what is found depends on the type that is wanted.
  if (found === "Found" && !wanted.mixed && last !== undefined) {
    const { bits, type, typeId } = last
    rememberPlace(btf, id, name, {
      indices: raw.slice(depth),
      typeId,
      bitOffset: path.bitOffset - start,
      type,
      bits
    })
  }
  return found
}

/**
 * Searches a struct or union for a member, in order and depth first through anonymous ones, and makes the path lead
 * there. The first member of the name decides, in its struct; its depth is bounded by that of the path.
 */
const search = (path: Growing, id: number, name: string, wanted: Wanted): "Found" | "Missing" | "Incompatible" => {
  const { btf } = path
  const { anonymous, named } = membersOf(btf, id, wanted.budget)
  const own = named.get(name)
  let answer: "Missing" | "Incompatible" = "Missing"
  for (const index of anonymous) {
    if (own !== undefined && index > own) break
    spend(wanted.budget, 1)
    const member = memberAt(btf, id, index)
    const inner = skip(btf, member.type)
    wanted.seen ??= new Set()
    if (!isComposite(Btf.kindOf(btf, inner)) || wanted.seen.has(inner)) continue
    wanted.seen.add(inner)
    push(path, index)
    path.bitOffset += member.bitOffset
    const found = search(path, inner, name, wanted)
    if (found === "Found") return found
    if (found === "Incompatible") answer = found
    path.bitOffset -= member.bitOffset
    path.raw.pop()
  }
  if (own === undefined) return answer
  const member = memberAt(btf, id, own)
  if (!fieldsCompatible(wanted.local, wanted.type, btf, member.type, wanted.budget)) {
    wanted.mixed = true
    return "Incompatible"
  }
  push(path, own)
  path.accessors.push({ typeId: id, index: own, name, type: member.type, bits: member.bits })
  path.bitOffset += member.bitOffset
  return "Found"
}

/** Arrays of arrays are followed this far. */
const MAX_DIMENSIONS = 64

/** Whether a field of the kernel's type may be read as one of the object's type; sizes and signs may differ. */
const fieldsCompatible = (
  local: Btf.Btf,
  localType: number,
  other: Btf.Btf,
  otherType: number,
  budget: Budget
): boolean => {
  let localId = localType
  let otherId = otherType
  for (let dimensions = 0; dimensions < MAX_DIMENSIONS; dimensions++) {
    localId = skip(local, localId)
    otherId = skip(other, otherId)
    const kind = Btf.kindOf(local, localId)
    const otherKind = Btf.kindOf(other, otherId)
    if (isComposite(kind) && isComposite(otherKind)) return true
    if (!sameKind(kind, otherKind)) return false
    switch (kind) {
      case Btf.BTF_KIND_PTR:
      case Btf.BTF_KIND_FLOAT:
        return true
      case Btf.BTF_KIND_FWD:
      case Btf.BTF_KIND_ENUM:
      case Btf.BTF_KIND_ENUM64:
        return isAnonymous(local, localId) || isAnonymous(other, otherId) ||
          sameName(local, localId, other, otherId, budget)
      case Btf.BTF_KIND_INT:
        return intOffset(local, localId) === 0 && intOffset(other, otherId) === 0
      case Btf.BTF_KIND_ARRAY:
        localId = Btf.elementType(local, localId)
        otherId = Btf.elementType(other, otherId)
        break
      default:
        return false
    }
  }
  return fail("TooDeep", `an array has more than ${MAX_DIMENSIONS} dimensions`)
}
