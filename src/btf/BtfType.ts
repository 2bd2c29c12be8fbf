/**
 * A type as an object, made when it is asked for.
 *
 * Source: reference page `btf-format`, section 4.
 */
import * as Kind from "./BtfKind.ts"
import type { Btf } from "./BtfModel.ts"
import { nameOf, ownerOf, recordOffset, stringAt } from "./BtfModel.ts"

/** A member of a struct or union. */
export interface Member {
  /** The empty string for an anonymous struct or union, whose members count as the outer type's. */
  readonly name: string
  readonly type: number
  /** Offset in bits from the start of the outer type; in big-endian blobs bits count from the most significant one. */
  readonly bitOffset: number
  /** Bits of a bit field; 0 for an ordinary member. */
  readonly bitfieldSize: number
}

/** A parameter of a prototype. A last one with no name and type 0 stands for `...`. */
export interface Param {
  readonly name: string
  readonly type: number
}

/** A variable or function of a DATASEC, with its place in the section in bytes. */
export interface DatasecEntry {
  readonly type: number
  readonly offset: number
  readonly size: number
}

/** A value of an enum, signed or not as the enum says. */
export interface EnumValue {
  readonly name: string
  readonly value: number
}

/** A value of a 64-bit enum, signed or not as the enum says. */
export interface Enum64Value {
  readonly name: string
  readonly value: bigint
}

/** What every type object says: its id, and its name, which is empty for an anonymous one. */
interface Named {
  readonly id: number
  readonly name: string
}

/** `void`. */
export interface VoidType {
  readonly _tag: "Void"
  readonly id: number
}

/** An integer of `size` bytes. */
export interface IntType extends Named {
  readonly _tag: "Int"
  readonly size: number
  /** A sum of `BTF_INT_*`. */
  readonly encoding: number
  /** Offset of the value in the `size` bytes, in bits: not 0 only in bit fields of old compilers. */
  readonly bitOffset: number
  /** Bits of the value: `8 * size` but in bit fields of old compilers. */
  readonly bits: number
}

/** A type that is another one, pointed to, qualified or named: `type` is that other one. */
export interface ReferenceType<Tag extends string> extends Named {
  readonly _tag: Tag
  readonly type: number
}

/** An array of `length` elements of type `type`. */
export interface ArrayType extends Named {
  readonly _tag: "Array"
  readonly type: number
  readonly indexType: number
  readonly length: number
}

/** A struct or a union of `size` bytes. */
export interface CompositeType<Tag extends "Struct" | "Union"> extends Named {
  readonly _tag: Tag
  readonly size: number
  readonly members: ReadonlyArray<Member>
}

/** An enum of `size` bytes; without values it is declared and not defined. */
export interface EnumType extends Named {
  readonly _tag: "Enum"
  readonly size: number
  readonly signed: boolean
  readonly values: ReadonlyArray<EnumValue>
}

/** An enum of `size` bytes with 64-bit values. */
export interface Enum64Type extends Named {
  readonly _tag: "Enum64"
  readonly size: number
  readonly signed: boolean
  readonly values: ReadonlyArray<Enum64Value>
}

/** A struct or union that is declared and not defined. */
export interface FwdType extends Named {
  readonly _tag: "Fwd"
  readonly forward: "struct" | "union"
}

/** A function: `type` is its FUNC_PROTO, `linkage` one of `BTF_FUNC_*`. */
export interface FuncType extends Named {
  readonly _tag: "Func"
  readonly type: number
  readonly linkage: number
}

/** A function prototype. */
export interface FuncProtoType extends Named {
  readonly _tag: "FuncProto"
  readonly returnType: number
  readonly params: ReadonlyArray<Param>
}

/** A variable: `linkage` is one of `BTF_VAR_*`. */
export interface VarType extends Named {
  readonly _tag: "Var"
  readonly type: number
  readonly linkage: number
}

/** A section of `size` bytes; an object that no linker has seen says 0. */
export interface DatasecType extends Named {
  readonly _tag: "Datasec"
  readonly size: number
  readonly entries: ReadonlyArray<DatasecEntry>
}

/** A floating-point number of `size` bytes. */
export interface FloatType extends Named {
  readonly _tag: "Float"
  readonly size: number
}

/** A tag on the declaration of type `type`; `name` is its text. */
export interface DeclTagType extends Named {
  readonly _tag: "DeclTag"
  readonly type: number
  /** Index of the tagged member or parameter; -1 for the declaration as a whole. */
  readonly componentIndex: number
  /** The text is a whole `__attribute__`, not the argument of `btf_decl_tag`. */
  readonly attribute: boolean
}

/** A tag on type `type`; `name` is its text. */
export interface TypeTagType extends Named {
  readonly _tag: "TypeTag"
  readonly type: number
  /** The text is a whole `__attribute__`, not the argument of `btf_type_tag`. */
  readonly attribute: boolean
}

/** A type of a kind that this library does not know, in a blob that tells how to skip it. */
export interface UnknownType extends Named {
  readonly _tag: "Unknown"
  readonly kind: number
  readonly vlen: number
  readonly kflag: boolean
  readonly sizeOrType: number
}

/** A type as an object. */
export type BtfType =
  | VoidType
  | IntType
  | ReferenceType<"Ptr">
  | ArrayType
  | CompositeType<"Struct">
  | CompositeType<"Union">
  | EnumType
  | FwdType
  | ReferenceType<"Typedef">
  | ReferenceType<"Volatile">
  | ReferenceType<"Const">
  | ReferenceType<"Restrict">
  | FuncType
  | FuncProtoType
  | VarType
  | DatasecType
  | FloatType
  | DeclTagType
  | TypeTagType
  | Enum64Type
  | UnknownType

/** Type `id` as an object; `Void` for 0 and for ids that do not exist. */
export const typeOf = (btf: Btf, id: number): BtfType => {
  const owner = ownerOf(btf, id)
  const at = owner === undefined ? -1 : recordOffset(owner, id)
  if (owner === undefined || at < 0) return { _tag: "Void", id }
  const { littleEndian, view } = owner.internal
  const info = view.getUint32(at + 4, littleEndian)
  const word = view.getUint32(at + 8, littleEndian)
  const kind = (info >>> 24) & 0x7f
  const vlen = info & 0xff_ffff
  const kflag = info >= 0x8000_0000
  const name = nameOf(owner, id)
  switch (kind) {
    case Kind.BTF_KIND_INT: {
      const data = view.getUint32(at + 12, littleEndian)
      return {
        _tag: "Int",
        id,
        name,
        size: word,
        encoding: (data >>> 24) & 0xf,
        bitOffset: (data >>> 16) & 0xff,
        bits: data & 0xff
      }
    }
    case Kind.BTF_KIND_PTR:
      return { _tag: "Ptr", id, name, type: word }
    case Kind.BTF_KIND_ARRAY:
      return {
        _tag: "Array",
        id,
        name,
        type: view.getUint32(at + 12, littleEndian),
        indexType: view.getUint32(at + 16, littleEndian),
        length: view.getUint32(at + 20, littleEndian)
      }
    case Kind.BTF_KIND_STRUCT:
      return { _tag: "Struct", id, name, size: word, members: readMembers(owner, at, vlen, kflag) }
    case Kind.BTF_KIND_UNION:
      return { _tag: "Union", id, name, size: word, members: readMembers(owner, at, vlen, kflag) }
    case Kind.BTF_KIND_ENUM:
      return { _tag: "Enum", id, name, size: word, signed: kflag, values: readValues(owner, at, vlen, kflag) }
    case Kind.BTF_KIND_FWD:
      return { _tag: "Fwd", id, name, forward: kflag ? "union" : "struct" }
    case Kind.BTF_KIND_TYPEDEF:
      return { _tag: "Typedef", id, name, type: word }
    case Kind.BTF_KIND_VOLATILE:
      return { _tag: "Volatile", id, name, type: word }
    case Kind.BTF_KIND_CONST:
      return { _tag: "Const", id, name, type: word }
    case Kind.BTF_KIND_RESTRICT:
      return { _tag: "Restrict", id, name, type: word }
    case Kind.BTF_KIND_FUNC:
      return { _tag: "Func", id, name, type: word, linkage: vlen }
    case Kind.BTF_KIND_FUNC_PROTO:
      return { _tag: "FuncProto", id, name, returnType: word, params: readParams(owner, at, vlen) }
    case Kind.BTF_KIND_VAR:
      return { _tag: "Var", id, name, type: word, linkage: view.getUint32(at + 12, littleEndian) }
    case Kind.BTF_KIND_DATASEC:
      return { _tag: "Datasec", id, name, size: word, entries: readEntries(owner, at, vlen) }
    case Kind.BTF_KIND_FLOAT:
      return { _tag: "Float", id, name, size: word }
    case Kind.BTF_KIND_DECL_TAG: {
      const componentIndex = view.getInt32(at + 12, littleEndian)
      return { _tag: "DeclTag", id, name, type: word, componentIndex, attribute: kflag }
    }
    case Kind.BTF_KIND_TYPE_TAG:
      return { _tag: "TypeTag", id, name, type: word, attribute: kflag }
    case Kind.BTF_KIND_ENUM64:
      return { _tag: "Enum64", id, name, size: word, signed: kflag, values: readValues64(owner, at, vlen, kflag) }
    default:
      return { _tag: "Unknown", id, name, kind, vlen, kflag, sizeOrType: word }
  }
}

const readMembers = (owner: Btf, at: number, vlen: number, kflag: boolean): ReadonlyArray<Member> => {
  const { littleEndian, view } = owner.internal
  const members: Array<Member> = []
  for (let index = 0, member = at + 12; index < vlen; index++, member += 12) {
    const offset = view.getUint32(member + 8, littleEndian)
    members.push({
      name: stringAt(owner, view.getUint32(member, littleEndian)) ?? "",
      type: view.getUint32(member + 4, littleEndian),
      bitOffset: kflag ? offset & 0xff_ffff : offset,
      bitfieldSize: kflag ? offset >>> 24 : 0
    })
  }
  return members
}

const readParams = (owner: Btf, at: number, vlen: number): ReadonlyArray<Param> => {
  const { littleEndian, view } = owner.internal
  const params: Array<Param> = []
  for (let index = 0, param = at + 12; index < vlen; index++, param += 8) {
    params.push({
      name: stringAt(owner, view.getUint32(param, littleEndian)) ?? "",
      type: view.getUint32(param + 4, littleEndian)
    })
  }
  return params
}

const readEntries = (owner: Btf, at: number, vlen: number): ReadonlyArray<DatasecEntry> => {
  const { littleEndian, view } = owner.internal
  const entries: Array<DatasecEntry> = []
  for (let index = 0, entry = at + 12; index < vlen; index++, entry += 12) {
    entries.push({
      type: view.getUint32(entry, littleEndian),
      offset: view.getUint32(entry + 4, littleEndian),
      size: view.getUint32(entry + 8, littleEndian)
    })
  }
  return entries
}

const readValues = (owner: Btf, at: number, vlen: number, signed: boolean): ReadonlyArray<EnumValue> => {
  const { littleEndian, view } = owner.internal
  const values: Array<EnumValue> = []
  for (let index = 0, value = at + 12; index < vlen; index++, value += 8) {
    values.push({
      name: stringAt(owner, view.getUint32(value, littleEndian)) ?? "",
      value: signed ? view.getInt32(value + 4, littleEndian) : view.getUint32(value + 4, littleEndian)
    })
  }
  return values
}

/** The low half comes first in both byte orders. */
const readValues64 = (owner: Btf, at: number, vlen: number, signed: boolean): ReadonlyArray<Enum64Value> => {
  const { littleEndian, view } = owner.internal
  const values: Array<Enum64Value> = []
  for (let index = 0, value = at + 12; index < vlen; index++, value += 12) {
    const low = BigInt(view.getUint32(value + 4, littleEndian))
    const high = BigInt(view.getUint32(value + 8, littleEndian))
    const bits = (high << 32n) | low
    values.push({
      name: stringAt(owner, view.getUint32(value, littleEndian)) ?? "",
      value: signed ? BigInt.asIntN(64, bits) : bits
    })
  }
  return values
}
