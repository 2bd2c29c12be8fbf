/**
 * The value that a record stands for, of a path in one blob: the object's own or the kernel's.
 *
 * Source: reference page `core-relo`, section 6. Unlike libbpf, shifts count in the byte order of the types and not of the
 * machine, and an unsigned 32-bit enumerator is not extended with its sign.
 */
import * as Btf from "../../../btf/Btf.ts"
import { fail } from "./CoreError.ts"
import * as Kind from "./Kind.ts"
import { type Accessor, pathOf, type Spec } from "./Spec.ts"
import { enumeratorValue, intEncoding, isEnum, sizeOf, skip } from "./Types.ts"

/** A value, and what the instruction that takes it has to know. */
export interface CoreValue {
  /** 64 bits, unsigned. */
  readonly value: bigint
  /** The value as compilers and libbpf wrote it before enums could say that they are signed. */
  readonly oldValue: bigint
  /** Whether the compiler must have come to the same value: of bit fields it may choose another load. */
  readonly validate: boolean
  /** Bytes of the scalar that is loaded or stored there, an array's element; 0 where that is not known. */
  readonly size: number
  /** The field's type behind modifiers and typedefs; 0 where the size is. */
  readonly typeId: number
}

const plain = (value: number | bigint, validate = true, size = 0, typeId = 0): CoreValue => {
  const wide = typeof value === "bigint" ? value : BigInt(value)
  return { value: wide, oldValue: wide, validate, size, typeId }
}

/** The value of a path. Throws a `CoreFailure` where the kind of relocation does not go with what is there. */
export const valueOf = (spec: Spec, kind: number): CoreValue => {
  switch (kind) {
    case Kind.BPF_CORE_FIELD_EXISTS:
    case Kind.BPF_CORE_TYPE_EXISTS:
    case Kind.BPF_CORE_TYPE_MATCHES:
    case Kind.BPF_CORE_ENUMVAL_EXISTS:
      return plain(1)
    case Kind.BPF_CORE_TYPE_ID_LOCAL:
    case Kind.BPF_CORE_TYPE_ID_TARGET:
      return plain(spec.rootId, false)
    case Kind.BPF_CORE_TYPE_SIZE:
      return plain(sizeOf(spec.btf, spec.rootId))
    case Kind.BPF_CORE_ENUMVAL_VALUE: {
      const { index = 0, typeId = 0 } = spec.accessors[0] ?? {}
      const value = enumeratorValue(spec.btf, typeId, index, false)
      return { ...plain(value), oldValue: enumeratorValue(spec.btf, typeId, index, true) }
    }
    default:
      return fieldValue(spec, kind)
  }
}

/** The value for a relocation that finds nothing; `undefined` where the instruction must not be reached then. */
export const valueOfMissing = (kind: number): CoreValue | undefined => {
  switch (kind) {
    case Kind.BPF_CORE_FIELD_EXISTS:
    case Kind.BPF_CORE_TYPE_EXISTS:
    case Kind.BPF_CORE_TYPE_MATCHES:
    case Kind.BPF_CORE_ENUMVAL_EXISTS:
    case Kind.BPF_CORE_TYPE_SIZE:
      return plain(0)
    case Kind.BPF_CORE_TYPE_ID_TARGET:
      return plain(0, false)
    default:
      return undefined
  }
}

const fieldValue = (spec: Spec, kind: number): CoreValue => {
  const last = spec.accessors.at(-1)
  if (last === undefined) return fail("BadAccess", "the path is empty")
  if (last.name === undefined) return elementValue(spec, kind, last)
  const { btf } = spec
  const type = skip(btf, last.type)
  if (last.bits > 0) return bitFieldValue(spec, kind, type, last.bits)
  switch (kind) {
    case Kind.BPF_CORE_FIELD_BYTE_OFFSET:
      return plain(Math.floor(spec.bitOffset / 8), true, sizeOf(btf, scalarOf(btf, type)), type)
    case Kind.BPF_CORE_FIELD_BYTE_SIZE:
      return plain(sizeOf(btf, type))
    case Kind.BPF_CORE_FIELD_SIGNED:
      return plain(isSigned(btf, type))
    case Kind.BPF_CORE_FIELD_LSHIFT_U64:
    case Kind.BPF_CORE_FIELD_RSHIFT_U64: {
      const bytes = sizeOf(btf, type)
      if (bytes > 8) fail("TooWide", `${pathOf(spec)} has ${bytes} bytes and cannot be shifted as a number`)
      if (kind === Kind.BPF_CORE_FIELD_RSHIFT_U64) return plain(64 - bytes * 8)
      return plain(leftShift(btf, spec.bitOffset, bytes * 8, Math.floor(spec.bitOffset / 8), bytes))
    }
    default:
      return fail("UnknownKind", `${kind} is no kind of relocation of a field`)
  }
}

/** An element of an array, or the root itself: it has an offset and a size and nothing else. */
const elementValue = (spec: Spec, kind: number, last: Accessor): CoreValue => {
  switch (kind) {
    case Kind.BPF_CORE_FIELD_BYTE_OFFSET: {
      const size = sizeOf(spec.btf, scalarOf(spec.btf, last.typeId))
      return plain(Math.floor(spec.bitOffset / 8), true, size, last.typeId)
    }
    case Kind.BPF_CORE_FIELD_BYTE_SIZE:
      return plain(sizeOf(spec.btf, last.typeId))
    default:
      return fail("BadAccess", `${Kind.kindNames[kind] ?? kind} goes with a member, not with an element of an array`)
  }
}

const bitFieldValue = (spec: Spec, kind: number, type: number, bits: number): CoreValue => {
  const { bitOffset, btf } = spec
  const storageKind = Btf.kindOf(btf, type)
  if (storageKind !== Btf.BTF_KIND_INT && !isEnum(storageKind)) {
    fail("BadType", `the bit field ${pathOf(spec)} is neither an integer nor an enum`)
  }
  // The smallest aligned load, of the declared type's size or larger, that has all of the field.
  let bytes = sizeOf(btf, type)
  if (bytes === 0) fail("NoSize", `the bit field ${pathOf(spec)} is of a type of no bytes`)
  let offset = Math.floor(bitOffset / 8 / bytes) * bytes
  while (bitOffset + bits - offset * 8 > bytes * 8) {
    if (bytes >= 8) {
      fail("TooWide", `no aligned load of 8 bytes has all of the bit field ${pathOf(spec)}, at bit ${bitOffset}`)
    }
    bytes *= 2
    offset = Math.floor(bitOffset / 8 / bytes) * bytes
  }
  switch (kind) {
    case Kind.BPF_CORE_FIELD_BYTE_OFFSET:
      return plain(offset, false)
    case Kind.BPF_CORE_FIELD_BYTE_SIZE:
      return plain(bytes, false)
    case Kind.BPF_CORE_FIELD_SIGNED:
      return plain(isSigned(btf, type))
    case Kind.BPF_CORE_FIELD_LSHIFT_U64:
      if (bytes > 8) fail("TooWide", `the bit field ${pathOf(spec)} is in an integer of ${bytes} bytes`)
      return plain(leftShift(btf, bitOffset, bits, offset, bytes), false)
    case Kind.BPF_CORE_FIELD_RSHIFT_U64:
      if (bits > 64) fail("TooWide", `the bit field ${pathOf(spec)} has ${bits} bits`)
      return plain(64 - bits)
    default:
      return fail("UnknownKind", `${kind} is no kind of relocation of a field`)
  }
}

/** By how much a load of `bytes` at `offset`, extended to 64 bits, is shifted to cut off what is above the field. */
const leftShift = (btf: Btf.Btf, bitOffset: number, bits: number, offset: number, bytes: number): number =>
  btf.byteOrder === "little"
    ? 64 - (bitOffset + bits - offset * 8)
    : (8 - bytes) * 8 + (bitOffset - offset * 8)

const isSigned = (btf: Btf.Btf, type: number): number => {
  const kind = Btf.kindOf(btf, type)
  if (isEnum(kind)) return Btf.kflagOf(btf, type) ? 1 : 0
  return kind === Btf.BTF_KIND_INT && (intEncoding(btf, type) & Btf.BTF_INT_SIGNED) !== 0 ? 1 : 0
}

/** Arrays of arrays are followed this far. */
const MAX_DIMENSIONS = 64

/** What a load of a field loads: the innermost element of arrays. */
const scalarOf = (btf: Btf.Btf, type: number): number => {
  let current = type
  for (let dimensions = 0; dimensions < MAX_DIMENSIONS; dimensions++) {
    if (Btf.kindOf(btf, current) !== Btf.BTF_KIND_ARRAY) return current
    current = skip(btf, Btf.elementType(btf, current))
  }
  return fail("TooDeep", `an array has more than ${MAX_DIMENSIONS} dimensions`)
}
