/**
 * What CO-RE asks of a type, read in place: members and enumerators by index, arrays, integers.
 *
 * `typeOf` of the BTF room makes an object of a whole type; here one member out of hundreds is wanted.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import type { Budget } from "./Budget.ts"
import { spend } from "./Budget.ts"
import { fail } from "./CoreError.ts"

/** More modifiers and typedefs in a row than this are a cycle. */
const MAX_CHAIN = 64

/** The type behind modifiers and typedefs. Throws a `CoreFailure` for a cycle. */
export const skip = (btf: Btf.Btf, id: number): number => {
  let current = id
  for (let hops = 0; hops < MAX_CHAIN; hops++) {
    switch (Btf.kindOf(btf, current)) {
      case Btf.BTF_KIND_TYPEDEF:
      case Btf.BTF_KIND_CONST:
      case Btf.BTF_KIND_VOLATILE:
      case Btf.BTF_KIND_RESTRICT:
      case Btf.BTF_KIND_TYPE_TAG:
        current = Btf.sizeOrTypeOf(btf, current)
        break
      default:
        return current
    }
  }
  return fail("TooDeep", `type ${id} is a chain of more than ${MAX_CHAIN} modifiers and typedefs, or a cycle`)
}

/** Whether it is a struct or a union. */
export const isComposite = (kind: number): boolean => kind === Btf.BTF_KIND_STRUCT || kind === Btf.BTF_KIND_UNION

/** Whether it is an enum of either width. */
export const isEnum = (kind: number): boolean => kind === Btf.BTF_KIND_ENUM || kind === Btf.BTF_KIND_ENUM64

/** Whether types of these kinds may stand for each other: the same kind, or enums of either width. */
export const sameKind = (one: number, other: number): boolean => one === other || (isEnum(one) && isEnum(other))

/** The kinds of named types that an access can start from. Others are never candidates. */
export const isRootKind = (kind: number): boolean => {
  switch (kind) {
    case Btf.BTF_KIND_INT:
    case Btf.BTF_KIND_STRUCT:
    case Btf.BTF_KIND_UNION:
    case Btf.BTF_KIND_ENUM:
    case Btf.BTF_KIND_FWD:
    case Btf.BTF_KIND_TYPEDEF:
    case Btf.BTF_KIND_FLOAT:
    case Btf.BTF_KIND_ENUM64:
      return true
    default:
      return false
  }
}

/** The members of a struct or union by name. */
export const membersOf = (btf: Btf.Btf, id: number, budget: Budget): Btf.ElementNames => {
  const names = Btf.elementNames(btf, id, budget)
  spend(budget, 0)
  return names
}

/** The members of a struct or union, or the enumerators of an enum, by essential name. */
export const essentialsOf = (btf: Btf.Btf, id: number, budget: Budget): Btf.EssentialElements => {
  const elements = Btf.essentialElements(btf, id, budget)
  spend(budget, 0)
  return elements
}

/** Whether the name of type `id` is empty. */
export const isAnonymous = (btf: Btf.Btf, id: number): boolean => Btf.nameOf(btf, id) === ""

/** The 32-bit word at `delta` bytes into the record of type `id`, which must be long enough. */
const wordOf = (btf: Btf.Btf, id: number, delta: number): number => {
  const owner = Btf.ownerOf(btf, id)
  if (owner === undefined) return 0
  const at = owner.offsets[id - owner.firstId] ?? 0
  return owner.internal.view.getUint32(at + delta, owner.internal.littleEndian)
}

/** A member of a struct or union. */
export interface MemberWords {
  readonly nameOffset: number
  readonly type: number
  readonly bitOffset: number
  /** 0 for what is no bit field. */
  readonly bits: number
}

/** Member `index` of a struct or union that has it. */
export const memberAt = (btf: Btf.Btf, id: number, index: number): MemberWords => {
  const owner = Btf.ownerOf(btf, id) ?? btf
  const { littleEndian, view } = owner.internal
  const record = owner.offsets[id - owner.firstId] ?? 0
  const at = record + 12 + index * 12
  const offset = view.getUint32(at + 8, littleEndian)
  const packed = view.getUint32(record + 4, littleEndian) >= 0x8000_0000
  return {
    nameOffset: view.getUint32(at, littleEndian),
    type: view.getUint32(at + 4, littleEndian),
    bitOffset: packed ? offset & 0xff_ffff : offset,
    bits: packed ? offset >>> 24 : 0
  }
}

/** The string offset of the name of member `index` of a struct or union, or of enumerator `index` of an enum. */
export const elementNameOffset = (btf: Btf.Btf, id: number, index: number): number =>
  wordOf(btf, id, 12 + index * (Btf.kindOf(btf, id) === Btf.BTF_KIND_ENUM ? 8 : 12))

/**
 * The 64 bits of the value of enumerator `index`. A 32-bit enum that is unsigned is extended with zeros, unless
 * `oldProducer` says that whoever wrote it did not know the flag for signed ones.
 */
export const enumeratorValue = (btf: Btf.Btf, id: number, index: number, oldProducer: boolean): bigint => {
  if (Btf.kindOf(btf, id) === Btf.BTF_KIND_ENUM) {
    const low = wordOf(btf, id, 12 + index * 8 + 4)
    const signed = oldProducer || Btf.kflagOf(btf, id)
    return signed ? BigInt.asUintN(64, BigInt(low | 0)) : BigInt(low)
  }
  const low = BigInt(wordOf(btf, id, 12 + index * 12 + 4))
  return (BigInt(wordOf(btf, id, 12 + index * 12 + 8)) << 32n) | low
}

/** The type of parameter `index` of a FUNC_PROTO. */
export const paramType = (btf: Btf.Btf, id: number, index: number): number => wordOf(btf, id, 12 + index * 8 + 4)

/** The encoding of an INT, a sum of `BTF_INT_*`. */
export const intEncoding = (btf: Btf.Btf, id: number): number => (wordOf(btf, id, 12) >>> 24) & 0xf

/** The bit offset of an INT: not 0 only in bit fields of compilers before Clang 8. */
export const intOffset = (btf: Btf.Btf, id: number): number => (wordOf(btf, id, 12) >>> 16) & 0xff

/** The size of a type in bytes. Throws a `CoreFailure` for a type without one. */
export const sizeOf = (btf: Btf.Btf, id: number): number => {
  switch (Btf.kindOf(btf, id)) {
    case Btf.BTF_KIND_INT:
    case Btf.BTF_KIND_STRUCT:
    case Btf.BTF_KIND_UNION:
    case Btf.BTF_KIND_ENUM:
      return Btf.sizeOrTypeOf(btf, id)
    default:
  }
  const size = Btf.resolveSize(btf, id)
  return Result.isSuccess(size) ? size.success : fail("NoSize", `${Btf.typeName(btf, id)}: ${size.failure.detail}`)
}
