/**
 * What a record accesses, in the object's own types.
 *
 * An access string such as `0:5:1` is a path of indices: which element of an array of the root type, then which member or
 * element at each level. Only names and array indices (the accessors) are searched for in the kernel; members of
 * anonymous structs belong to the struct around them, at whatever depth.
 *
 * Source: reference page `core-relo`, section 2.
 */
import * as Btf from "../../../btf/Btf.ts"
import { stringOwnerOf } from "../../../btf/BtfModel.ts"
import type { Budget } from "./Budget.ts"
import { spend } from "./Budget.ts"
import { fail } from "./CoreError.ts"
import * as Kind from "./Kind.ts"
import { elementNameOffset, isComposite, isEnum, memberAt, sizeOf, skip } from "./Types.ts"

/** The most indices that a path has. */
export const MAX_DEPTH = 64

/** One step of a path. */
export interface Accessor {
  /** Of a named step the struct, union or enum that has the member; else the type of the element. */
  readonly typeId: number
  readonly index: number
  /** Of a member or an enumerator; `undefined` for an element of an array. */
  readonly name: string | undefined
  /** The type of a member, and the bits of one that is a bit field; else 0. */
  readonly type: number
  readonly bits: number
}

/** A path through the types of one blob. */
export interface Spec {
  readonly btf: Btf.Btf
  /** The root as it stands in the record, or the candidate. */
  readonly rootId: number
  /** All indices, those of anonymous members included. */
  readonly raw: ReadonlyArray<number>
  readonly accessors: ReadonlyArray<Accessor>
  /** Bits from the start of the root. */
  readonly bitOffset: number
}

/** Offsets are 32 bits wide in BTF; libbpf lets a larger sum wrap. */
export const MAX_BITS = 0xffff_ffff

const COLON = 0x3a

/**
 * The indices of the access string at string offset `offset`: decimal numbers with colons between them. Stricter than
 * libbpf, whose scanf also takes blanks and signs, which no compiler writes.
 */
const parseIndices = (btf: Btf.Btf, offset: number): ReadonlyArray<number> => {
  const owner = stringOwnerOf(btf, offset)
  if (owner === undefined) return fail("BadAccess", `the access string is at string offset ${offset}, past the strings`)
  const { bytes } = owner
  const indices: Array<number> = []
  let value = -1
  let digits = 0
  for (let at = owner.stringsOffset + (offset - owner.stringsStart);; at++) {
    const byte = bytes[at] ?? 0
    if (byte === 0 || byte === COLON) {
      if (value < 0) fail("BadAccess", "the access string lacks a number")
      if (indices.length === MAX_DEPTH) fail("TooDeep", `the access string has more than ${MAX_DEPTH} numbers`)
      indices.push(value)
      if (byte === 0) return indices
      value = -1
      digits = 0
    } else {
      if (byte < 0x30 || byte > 0x39) fail("BadAccess", "the access string has something other than digits and colons")
      value = (value < 0 ? 0 : value * 10) + (byte - 0x30)
      if (value > 0x7fff_ffff || ++digits > 10) fail("BadAccess", "a number of the access string has more than 31 bits")
    }
  }
}

/** Names are spelled out in answers and errors; those of most blobs are short. */
const payForName = (btf: Btf.Btf, id: number, budget: Budget): void => {
  if (btf.internal.longStrings) spend(budget, Btf.essentialAt(btf, Btf.nameOffsetOf(btf, id)).length >> 4)
}

/** The path of a record. Throws a `CoreFailure` where the object's types do not have it. */
export const parse = (
  btf: Btf.Btf,
  typeId: number,
  accessOffset: number,
  kind: number,
  budget: Budget
): Spec => {
  spend(budget, 16)
  payForName(btf, typeId, budget)
  const indices = parseIndices(btf, accessOffset)
  if (Kind.isTypeKind(kind)) {
    if (indices.length !== 1 || indices[0] !== 0) fail("BadAccess", "the access string of a type must be 0")
    return { btf, rootId: typeId, raw: [], accessors: [], bitOffset: 0 }
  }
  const root = skip(btf, typeId)
  if (root !== typeId) payForName(btf, root, budget)
  const first = indices[0] ?? 0
  if (Kind.isEnumeratorKind(kind)) {
    if (!isEnum(Btf.kindOf(btf, root))) fail("BadType", `${Btf.typeName(btf, typeId)} is no enum`)
    const count = Btf.vlenOf(btf, root)
    if (indices.length !== 1) fail("BadAccess", "the access string of an enumerator must be one number")
    if (first >= count) fail("BadAccess", `there is no enumerator ${first}: ${Btf.typeName(btf, root)} has ${count}`)
    const name = Btf.stringAt(btf, elementNameOffset(btf, root, first)) ?? ""
    return {
      btf,
      rootId: typeId,
      raw: indices,
      accessors: [{ typeId: root, index: first, name, type: 0, bits: 0 }],
      bitOffset: 0
    }
  }
  return walk(btf, typeId, root, indices, budget)
}

const walk = (
  btf: Btf.Btf,
  typeId: number,
  root: number,
  indices: ReadonlyArray<number>,
  budget: Budget
): Spec => {
  const first = indices[0] ?? 0
  const accessors: Array<Accessor> = [{ typeId: root, index: first, name: undefined, type: 0, bits: 0 }]
  let bitOffset = first * sizeOf(btf, root) * 8
  let current = root
  for (let level = 1; level < indices.length; level++) {
    const index = indices[level] ?? 0
    current = skip(btf, current)
    const kind = Btf.kindOf(btf, current)
    if (isComposite(kind)) {
      const count = Btf.vlenOf(btf, current)
      if (index >= count) {
        fail("BadAccess", `there is no member ${index}: ${Btf.typeName(btf, current)} has ${count}`)
      }
      const member = memberAt(btf, current, index)
      bitOffset += member.bitOffset
      const name = Btf.stringAt(btf, member.nameOffset) ?? ""
      spend(budget, 1 + (name.length >> 4))
      if (name !== "") accessors.push({ typeId: current, index, name, type: member.type, bits: member.bits })
      current = member.type
    } else if (kind === Btf.BTF_KIND_ARRAY) {
      const length = Btf.arrayLength(btf, current)
      if (index >= length && !isFlexible(btf, accessors.at(-1), length)) {
        fail("BadAccess", `there is no element ${index}: the array has ${length}`)
      }
      current = skip(btf, Btf.elementType(btf, current))
      accessors.push({ typeId: current, index, name: undefined, type: 0, bits: 0 })
      bitOffset += index * sizeOf(btf, current) * 8
    } else {
      fail("BadAccess", `${Btf.typeName(btf, current)} has neither members nor elements`)
    }
    if (bitOffset > MAX_BITS) fail("OutOfRange", "the field is more than 512 MiB from the start of its type")
  }
  if (bitOffset > MAX_BITS) fail("OutOfRange", "the field is more than 512 MiB from the start of its type")
  return { btf, rootId: typeId, raw: indices, accessors, bitOffset }
}

/** Whether an array of no elements is the last member of its struct, and so has as many as fit. */
export const isFlexible = (btf: Btf.Btf, before: Accessor | undefined, length: number): boolean =>
  length === 0 && before?.name !== undefined && before.index === Btf.vlenOf(btf, before.typeId) - 1

/** Names longer than this are cut when a path is written down. */
const SHOWN = 128

/** A path as C writes it: `struct task_struct.comm[1]`, `enum pid_type::PIDTYPE_TGID`. `root` is its root's name. */
export const pathOf = (spec: Spec, root: string = Btf.typeName(spec.btf, spec.rootId)): string => {
  let path = root
  for (let position = 0; position < spec.accessors.length; position++) {
    const accessor = spec.accessors[position]
    if (accessor === undefined) break
    const { index, name, typeId } = accessor
    if (name === undefined) {
      if (position > 0 || index > 0) path += `[${index}]`
    } else {
      const separator = isEnum(Btf.kindOf(spec.btf, typeId)) ? "::" : "."
      path += separator + (name.length > SHOWN ? `${name.slice(0, SHOWN)}…` : name)
    }
  }
  return path
}
