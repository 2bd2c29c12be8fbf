/**
 * Comparing a type of the object with a type of the kernel: loosely, whether the one may be called the other, and
 * strictly, member by member, for `bpf_core_type_matches`.
 *
 * Both go through types that each side may have made up, so nesting is bounded as in libbpf, and pairs of types that were
 * compared are not compared again: a prototype of prototypes would otherwise double the work at each level.
 *
 * Source: reference page `core-relo`, section 5. Unlike libbpf, floating-point types have a rule, by which they are
 * compatible with each other; there such a type does not exist whatever the kernel has.
 */
import * as Btf from "../../../btf/Btf.ts"
import type { Budget } from "./Budget.ts"
import { spend } from "./Budget.ts"
import { fail } from "./CoreError.ts"
import {
  elementNameOffset,
  essentialsOf,
  intEncoding,
  intOffset,
  memberAt,
  paramType,
  sameKind,
  skip
} from "./Types.ts"

/** Nesting of prototypes and structs, and references in a row, that are followed. */
const MAX_NESTING = 32

/** A comparison in progress: of two blobs, with the verdicts on pairs of their types. */
interface Comparison {
  readonly local: Btf.Btf
  readonly other: Btf.Btf
  readonly budget: Budget
  /** By the two ids, of which a number could not hold both, and whether a pointer led to them. */
  readonly verdicts: Map<string, boolean>
}

const tooDeep = (): never => fail("TooDeep", `types are nested in each other more than ${MAX_NESTING} deep`)

/** Whether two types have equal essential names, or none. */
export const sameName = (
  local: Btf.Btf,
  localId: number,
  other: Btf.Btf,
  otherId: number,
  budget: Budget
): boolean => {
  const one = Btf.essentialAt(local, Btf.nameOffsetOf(local, localId))
  const two = Btf.essentialAt(other, Btf.nameOffsetOf(other, otherId))
  spend(budget, (one.length + two.length) >> 4)
  return Btf.sameEssential(one, two)
}

const comparison = (local: Btf.Btf, other: Btf.Btf, budget: Budget): Comparison => ({
  local,
  other,
  budget,
  verdicts: new Map()
})

/** The verdict on a pair, remembered once it is known. */
const remembered = (run: Comparison, key: string, compare: () => boolean): boolean => {
  const known = run.verdicts.get(key)
  if (known !== undefined) return known
  spend(run.budget, 16)
  const verdict = compare()
  run.verdicts.set(key, verdict)
  return verdict
}

/**
 * Whether a type of the kernel may stand for a type of the object that has its name: pointers, arrays and prototypes are
 * compared as far as they go, structs and enums not at all.
 */
export const compatible = (
  local: Btf.Btf,
  localId: number,
  other: Btf.Btf,
  otherId: number,
  budget: Budget
): boolean =>
  sameKind(Btf.kindOf(local, localId), Btf.kindOf(other, otherId)) &&
  areCompatible(comparison(local, other, budget), localId, otherId, MAX_NESTING)

const areCompatible = (run: Comparison, localRoot: number, otherRoot: number, level: number): boolean => {
  const { local, other } = run
  if (level < 0) tooDeep()
  let localId = localRoot
  let otherId = otherRoot
  for (let hops = 0; hops < MAX_NESTING; hops++) {
    spend(run.budget, 1)
    localId = skip(local, localId)
    otherId = skip(other, otherId)
    const kind = Btf.kindOf(local, localId)
    if (!sameKind(kind, Btf.kindOf(other, otherId))) return false
    switch (kind) {
      case Btf.BTF_KIND_UNKN:
      case Btf.BTF_KIND_STRUCT:
      case Btf.BTF_KIND_UNION:
      case Btf.BTF_KIND_ENUM:
      case Btf.BTF_KIND_ENUM64:
      case Btf.BTF_KIND_FWD:
      case Btf.BTF_KIND_FLOAT:
        return true
      case Btf.BTF_KIND_INT:
        return intOffset(local, localId) === 0 && intOffset(other, otherId) === 0
      case Btf.BTF_KIND_PTR:
        localId = Btf.sizeOrTypeOf(local, localId)
        otherId = Btf.sizeOrTypeOf(other, otherId)
        break
      case Btf.BTF_KIND_ARRAY:
        localId = Btf.elementType(local, localId)
        otherId = Btf.elementType(other, otherId)
        break
      case Btf.BTF_KIND_FUNC_PROTO: {
        const count = Btf.vlenOf(local, localId)
        if (count !== Btf.vlenOf(other, otherId)) return false
        for (let index = 0; index < count; index++) {
          const one = paramType(local, localId, index)
          const two = paramType(other, otherId, index)
          spend(run.budget, 1)
          if (!remembered(run, `${one}:${two}`, () => areCompatible(run, one, two, level - 1))) return false
        }
        localId = Btf.sizeOrTypeOf(local, localId)
        otherId = Btf.sizeOrTypeOf(other, otherId)
        break
      }
      default:
        return false
    }
  }
  return tooDeep()
}

/**
 * Whether a type of the kernel has what a type of the object has: members of the same names and types, enumerators of
 * the same names, pointers to types of the same name.
 */
export const matches = (
  local: Btf.Btf,
  localId: number,
  other: Btf.Btf,
  otherId: number,
  budget: Budget
): boolean => doMatch(comparison(local, other, budget), localId, otherId, false, MAX_NESTING)

const doMatch = (
  run: Comparison,
  localRoot: number,
  otherRoot: number,
  behindRootPointer: boolean,
  level: number
): boolean => {
  const { local, other } = run
  if (level <= 0) tooDeep()
  let localId = localRoot
  let otherId = otherRoot
  let behindPointer = behindRootPointer
  for (let hops = 0; hops < MAX_NESTING; hops++) {
    spend(run.budget, 1)
    localId = skip(local, localId)
    otherId = skip(other, otherId)
    if (!sameName(local, localId, other, otherId, run.budget)) return false
    const kind = Btf.kindOf(local, localId)
    const otherKind = Btf.kindOf(other, otherId)
    switch (kind) {
      case Btf.BTF_KIND_UNKN:
        return otherKind === kind
      case Btf.BTF_KIND_FWD: {
        const isUnion = Btf.kflagOf(local, localId)
        if (otherKind === kind) return isUnion === Btf.kflagOf(other, otherId)
        return behindPointer && otherKind === (isUnion ? Btf.BTF_KIND_UNION : Btf.BTF_KIND_STRUCT)
      }
      case Btf.BTF_KIND_ENUM:
      case Btf.BTF_KIND_ENUM64:
        return sameKind(kind, otherKind) && enumsMatch(run, localId, otherId)
      case Btf.BTF_KIND_STRUCT:
      case Btf.BTF_KIND_UNION:
        if (!behindPointer) return otherKind === kind && compositesMatch(run, localId, otherId, level)
        return otherKind === kind ||
          (otherKind === Btf.BTF_KIND_FWD && (kind === Btf.BTF_KIND_UNION) === Btf.kflagOf(other, otherId))
      case Btf.BTF_KIND_INT:
        return otherKind === kind && Btf.sizeOrTypeOf(local, localId) === Btf.sizeOrTypeOf(other, otherId) &&
          ((intEncoding(local, localId) ^ intEncoding(other, otherId)) & Btf.BTF_INT_SIGNED) === 0
      case Btf.BTF_KIND_FLOAT:
        return otherKind === kind && Btf.sizeOrTypeOf(local, localId) === Btf.sizeOrTypeOf(other, otherId)
      case Btf.BTF_KIND_PTR:
        if (otherKind !== kind) return false
        behindPointer = true
        localId = Btf.sizeOrTypeOf(local, localId)
        otherId = Btf.sizeOrTypeOf(other, otherId)
        break
      case Btf.BTF_KIND_ARRAY:
        if (otherKind !== kind || Btf.arrayLength(local, localId) !== Btf.arrayLength(other, otherId)) return false
        localId = Btf.elementType(local, localId)
        otherId = Btf.elementType(other, otherId)
        break
      case Btf.BTF_KIND_FUNC_PROTO: {
        const count = Btf.vlenOf(local, localId)
        if (otherKind !== kind || count !== Btf.vlenOf(other, otherId)) return false
        for (let index = 0; index < count; index++) {
          const [one, two] = [paramType(local, localId, index), paramType(other, otherId, index)]
          if (!pairMatches(run, one, two, behindPointer, level - 1)) return false
        }
        localId = Btf.sizeOrTypeOf(local, localId)
        otherId = Btf.sizeOrTypeOf(other, otherId)
        break
      }
      default:
        return false
    }
  }
  return tooDeep()
}

const pairMatches = (run: Comparison, one: number, two: number, behindPointer: boolean, level: number): boolean => {
  spend(run.budget, 1)
  return remembered(run, `${one}${behindPointer ? "*" : ":"}${two}`, () => doMatch(run, one, two, behindPointer, level))
}

const enumsMatch = (run: Comparison, localId: number, otherId: number): boolean => {
  const { budget, local, other } = run
  const count = Btf.vlenOf(local, localId)
  if (Btf.sizeOrTypeOf(local, localId) !== Btf.sizeOrTypeOf(other, otherId)) return false
  if (count > Btf.vlenOf(other, otherId)) return false
  const there = essentialsOf(other, otherId, budget)
  for (let index = 0; index < count; index++) {
    if (!there.has(essentialElement(local, localId, index, budget))) return false
  }
  return true
}

const compositesMatch = (run: Comparison, localId: number, otherId: number, level: number): boolean => {
  const { budget, local, other } = run
  const count = Btf.vlenOf(local, localId)
  if (count > Btf.vlenOf(other, otherId)) return false
  const there = essentialsOf(other, otherId, budget)
  for (let index = 0; index < count; index++) {
    const sameNamed = there.get(essentialElement(local, localId, index, budget)) ?? []
    const { type } = memberAt(local, localId, index)
    const found = sameNamed.some((position) =>
      pairMatches(run, type, memberAt(other, otherId, position).type, false, level - 1)
    )
    if (!found) return false
  }
  return true
}

const essentialElement = (btf: Btf.Btf, id: number, index: number, budget: Budget): string => {
  const name = Btf.stringAt(btf, elementNameOffset(btf, id, index)) ?? ""
  spend(budget, 1 + (name.length >> 4))
  return Btf.essentialName(name)
}
