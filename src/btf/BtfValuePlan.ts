/**
 * How the bytes of a type are read and written: a type's layout, worked out once and kept in the blob.
 *
 * A plan knows offsets, widths and names; it refers to the plans of its parts, which are made when first needed, so
 * that planning a type costs what the type itself has, however its parts are shared or nested.
 */
import * as Result from "effect/Result"
import * as Kind from "./BtfKind.ts"
import type { Btf } from "./BtfModel.ts"
import { kindOf } from "./BtfModel.ts"
import { typeName } from "./BtfName.ts"
import { MAX_HOPS, pointerSize, resolveSize, resolveType } from "./BtfResolve.ts"
import type { CompositeType, IntType, Member } from "./BtfType.ts"
import { typeOf } from "./BtfType.ts"
import type { PathSegment } from "./BtfValueError.ts"
import { failValue } from "./BtfValueError.ts"

export { SIZE_LIMIT } from "./ValueLimits.ts"

/** An integer or boolean of `size` bytes, of which `bits` from `bitOffset` on count. */
export interface IntPlan {
  readonly _tag: "Int"
  readonly type: number
  readonly size: number
  readonly bitOffset: number
  readonly bits: number
  readonly signed: boolean
  readonly bool: boolean
}

/** An enum. Names are keyed by the value as it is read: a number up to four bytes, a bigint of eight. */
export interface EnumPlan {
  readonly _tag: "Enum"
  readonly type: number
  readonly size: number
  readonly signed: boolean
  readonly names: ReadonlyMap<number | bigint, string>
  readonly values: ReadonlyMap<string, number | bigint>
}

/** A floating-point number of 2, 4 or 8 bytes. */
export interface FloatPlan {
  readonly _tag: "Float"
  readonly type: number
  readonly size: 2 | 4 | 8
}

/** Bytes that have no JavaScript counterpart: floating-point numbers of 10, 12 and 16 bytes. */
export interface BytesPlan {
  readonly _tag: "Bytes"
  readonly type: number
  readonly size: number
}

/** A pointer. */
export interface PointerPlan {
  readonly _tag: "Pointer"
  readonly type: number
  readonly size: 4 | 8
}

/** An array; `text` where its elements are characters, `octets` where they are one-byte integers. */
export interface ArrayPlan {
  readonly _tag: "Array"
  readonly type: number
  readonly size: number
  readonly length: number
  readonly element: Part
  readonly text: boolean
  readonly octets: boolean
}

/** A struct, a union, or the variables of a section. Members of anonymous members are its own. */
export interface StructPlan {
  readonly _tag: "Struct"
  readonly type: number
  readonly size: number
  readonly fields: ReadonlyMap<string, Field>
  /** The fields in order. */
  readonly list: ReadonlyArray<Field>
  /** Where the last byte of a field ends: a flexible array begins there or later. */
  readonly tail: number
}

/** How one type is read and written. `type` is the type behind modifiers and typedefs. */
export type ValuePlan = IntPlan | EnumPlan | FloatPlan | BytesPlan | PointerPlan | ArrayPlan | StructPlan

/** A part of a type. */
export interface Part {
  /** The type as declared, typedefs and modifiers included. */
  readonly type: number
  readonly size: number
  /** Its plan, once it was needed. */
  plan: ValuePlan | undefined
}

/** A named part of a struct. */
export interface Field extends Part {
  readonly name: string
  /** Bytes from the start of the struct. */
  readonly offset: number
  /** Bits of a bit field, and their offset from the start of the struct; 0 bits for an ordinary member. */
  readonly bits: number
  readonly bitOffset: number
}

/** The most names that the anonymous members of one struct may add to it. */
const FIELD_LIMIT = 1 << 16

/** The plan of type `id` if it was made already. */
export const knownPlan = (btf: Btf, id: number): ValuePlan | undefined =>
  btf.internal.cache.plans?.get(resolveType(btf, id))

/** The plan of type `id`; `path` is where it occurs, for errors. */
export const planOf = (btf: Btf, id: number, path: ReadonlyArray<PathSegment>): ValuePlan => {
  const resolved = resolveType(btf, id)
  const plans = btf.internal.cache.plans ??= new Map<number, ValuePlan>()
  const known = plans.get(resolved)
  if (known !== undefined) return known
  const plan = makePlan(btf, resolved, path)
  plans.set(resolved, plan)
  return plan
}

/** The plan of a part. */
export const planOfPart = (btf: Btf, part: Part, path: ReadonlyArray<PathSegment>): ValuePlan =>
  part.plan ??= planOf(btf, part.type, path)

/** The size of type `id`, which must have one. */
export const sizeOf = (btf: Btf, id: number, path: ReadonlyArray<PathSegment>): number => {
  const size = resolveSize(btf, id)
  if (Result.isFailure(size)) return failValue("NoSize", path, id, `${typeName(btf, id)}: ${size.failure.detail}`)
  return size.success
}

const makePlan = (btf: Btf, id: number, path: ReadonlyArray<PathSegment>): ValuePlan => {
  const type = typeOf(btf, id)
  switch (type._tag) {
    case "Int":
      return intPlan(btf, type, path)
    case "Enum":
    case "Enum64":
      if (type.size !== 1 && type.size !== 2 && type.size !== 4 && type.size !== 8) {
        return failValue("Unsupported", path, id, `an enum cannot have ${type.size} bytes`)
      }
      return enumPlan(id, type.size, type.signed, type.values)
    case "Float":
      return type.size === 2 || type.size === 4 || type.size === 8
        ? { _tag: "Float", type: id, size: type.size }
        : { _tag: "Bytes", type: id, size: type.size }
    case "Ptr":
      return { _tag: "Pointer", type: id, size: pointerSize(btf) }
    case "Array": {
      const element = { type: type.type, size: sizeOf(btf, type.type, path), plan: undefined }
      const { octets, text } = characters(btf, type.type)
      return { _tag: "Array", type: id, size: sizeOf(btf, id, path), length: type.length, element, text, octets }
    }
    case "Struct":
    case "Union":
      return structPlan(id, type.size, flatten(btf, id, type.size, type.members, path))
    case "Datasec": {
      const fields = new Map<string, Field>()
      for (const entry of type.entries) addVariable(btf, fields, entry.type, entry.offset, type.size, path)
      return structPlan(id, type.size, fields)
    }
    default:
      return failValue("NoSize", path, id, `${typeName(btf, id)} has no values`)
  }
}

const structPlan = (type: number, size: number, fields: ReadonlyMap<string, Field>): StructPlan => {
  const list = [...fields.values()]
  const tail = list.reduce((end, field) => field.size === 0 ? end : Math.max(end, fieldEnd(field)), 0)
  return { _tag: "Struct", type, size, fields, list, tail }
}

/** One past the last byte of a field. */
export const fieldEnd = (field: Field): number =>
  field.bits === 0 ? field.offset + field.size : Math.ceil((field.bitOffset + field.bits) / 8)

/** Whether elements of type `id` are one-byte integers, and whether those are characters. */
const characters = (btf: Btf, id: number): { readonly octets: boolean; readonly text: boolean } => {
  const resolved = resolveType(btf, id)
  // Only an integer is made an object of: a struct may be large, and many arrays may have it for an element.
  const type = kindOf(btf, resolved) === Kind.BTF_KIND_INT ? typeOf(btf, resolved) : undefined
  if (type?._tag !== "Int") return { octets: false, text: false }
  const octets = type.size === 1 && type.bits === 8 && (type.encoding & Kind.BTF_INT_BOOL) === 0
  return { octets, text: octets && (type.name === "char" || (type.encoding & Kind.BTF_INT_CHAR) !== 0) }
}

const intPlan = (btf: Btf, type: IntType, path: ReadonlyArray<PathSegment>): IntPlan => {
  const { bitOffset, bits, encoding, id, size } = type
  if (size < 1 || size > 16 || bits < 1 || bitOffset + bits > size * 8) {
    const what = `${bits} bits at bit ${bitOffset} of ${size} bytes are no integer`
    return failValue("Unsupported", path, id, `${typeName(btf, id)}: ${what}`)
  }
  return {
    _tag: "Int",
    type: id,
    size,
    bitOffset,
    bits,
    signed: (encoding & Kind.BTF_INT_SIGNED) !== 0,
    bool: (encoding & Kind.BTF_INT_BOOL) !== 0
  }
}

const enumPlan = (
  type: number,
  size: number,
  signed: boolean,
  entries: ReadonlyArray<{ readonly name: string; readonly value: number | bigint }>
): EnumPlan => {
  const names = new Map<number | bigint, string>()
  const values = new Map<string, number | bigint>()
  for (const { name, value } of entries) {
    // Old compilers leave out the sign and store a small negative value as 32 bits nevertheless.
    const exact = signed ? BigInt.asIntN(size * 8, BigInt(value)) : BigInt.asUintN(size * 8, BigInt(value))
    const key = size <= 4 ? Number(exact) : exact
    // The first of several names of a value is the one that is shown.
    if (!names.has(key)) names.set(key, name)
    if (!values.has(name)) values.set(name, key)
  }
  return { _tag: "Enum", type, size, signed, names, values }
}

/** A member whose anonymous surroundings are left: its offset counts from the outermost struct. */
interface Pending {
  readonly member: Member
  readonly bitOffset: number
  readonly depth: number
}

/** The members of a struct and of the anonymous structs and unions in it, in order of declaration. */
const flatten = (
  btf: Btf,
  id: number,
  size: number,
  members: ReadonlyArray<Member>,
  path: ReadonlyArray<PathSegment>
): ReadonlyMap<string, Field> => {
  const fields = new Map<string, Field>()
  const stack: Array<Pending> = []
  pushMembers(stack, members, 0, 0)
  let budget = members.length + FIELD_LIMIT
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (budget-- <= 0) failValue("TooLarge", path, id, "its anonymous members have too many members")
    const { bitOffset, depth, member } = next
    if (member.name !== "") {
      if (!fields.has(member.name)) fields.set(member.name, field(btf, id, size, member, bitOffset, path))
      continue
    }
    const inner = anonymousMember(btf, member.type)
    // A bit field without a name is padding.
    if (inner === undefined) continue
    if (depth >= MAX_HOPS) failValue("TooDeep", path, id, "its anonymous members are nested too deep")
    if (inner.members.length > budget) failValue("TooLarge", path, id, "its anonymous members have too many members")
    pushMembers(stack, inner.members, bitOffset, depth + 1)
  }
  return fields
}

const anonymousMember = (btf: Btf, id: number): CompositeType<"Struct" | "Union"> | undefined => {
  const resolved = resolveType(btf, id)
  const kind = kindOf(btf, resolved)
  if (kind !== Kind.BTF_KIND_STRUCT && kind !== Kind.BTF_KIND_UNION) return undefined
  const type = typeOf(btf, resolved)
  return type._tag === "Struct" || type._tag === "Union" ? type : undefined
}

/** Puts the members on the stack, the first on top. */
const pushMembers = (stack: Array<Pending>, members: ReadonlyArray<Member>, base: number, depth: number): void => {
  for (let index = members.length - 1; index >= 0; index--) {
    const member = members[index]
    if (member !== undefined) stack.push({ member, bitOffset: base + member.bitOffset, depth })
  }
}

const field = (
  btf: Btf,
  id: number,
  structSize: number,
  member: Member,
  bitOffset: number,
  path: ReadonlyArray<PathSegment>
): Field => {
  const { name, type } = member
  const at = [...path, name]
  const size = sizeOf(btf, type, at)
  if (member.bitfieldSize !== 0) {
    const bits = member.bitfieldSize
    const kind = kindOf(btf, resolveType(btf, type))
    const scalar = kind === Kind.BTF_KIND_INT || kind === Kind.BTF_KIND_ENUM || kind === Kind.BTF_KIND_ENUM64
    if (!scalar || bits > size * 8 || bits > 128) {
      failValue("Unsupported", at, type, `a bit field of ${bits} bits cannot have the type ${typeName(btf, type)}`)
    }
    if (bitOffset + bits > structSize * 8) failOutside(btf, id, at)
    return { name, type, size, plan: undefined, offset: Math.floor(bitOffset / 8), bits, bitOffset }
  }
  // Old compilers describe a bit field by an integer type of its own, which says its width and part of its place. Only
  // an integer is planned here, so that planning never nests.
  const int = kindOf(btf, resolveType(btf, type)) === Kind.BTF_KIND_INT ? planOf(btf, type, at) : undefined
  const offset = bitOffset / 8
  if (int?._tag === "Int" && (int.bits !== int.size * 8 || !Number.isInteger(offset))) {
    const start = bitOffset + int.bitOffset
    if (start + int.bits > structSize * 8) failOutside(btf, id, at)
    return { name, type, size, plan: int, offset: Math.floor(start / 8), bits: int.bits, bitOffset: start }
  }
  if (!Number.isInteger(offset)) {
    failValue("Unsupported", at, type, "a member that is no bit field starts within a byte")
  }
  if (offset + size > structSize) failOutside(btf, id, at)
  return { name, type, size, plan: undefined, offset, bits: 0, bitOffset }
}

const failOutside = (btf: Btf, id: number, path: ReadonlyArray<PathSegment>): never =>
  failValue("Unsupported", path, id, `it lies outside ${typeName(btf, id)}`)

const addVariable = (
  btf: Btf,
  fields: Map<string, Field>,
  type: number,
  offset: number,
  sectionSize: number,
  path: ReadonlyArray<PathSegment>
): void => {
  const variable = typeOf(btf, type)
  if (variable._tag !== "Var" || fields.has(variable.name)) return
  const at = [...path, variable.name]
  const size = sizeOf(btf, variable.type, at)
  if (offset + size > sectionSize) {
    const hint = "sections and offsets of an object are known only after its symbols were read"
    failValue("Unsupported", at, type, `it lies outside a section of ${sectionSize} bytes`, hint)
  }
  fields.set(variable.name, {
    name: variable.name,
    type,
    size,
    plan: undefined,
    offset,
    bits: 0,
    bitOffset: offset * 8
  })
}
