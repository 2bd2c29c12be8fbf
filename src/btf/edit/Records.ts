/**
 * New types of every kind, with the checks of their fields.
 *
 * Source: reference page `btf-format`, section 11.
 */
import { fail } from "../BtfError.ts"
import * as Kind from "../BtfKind.ts"
import type { DatasecEntry, Enum64Value, EnumValue, Member, Param } from "../BtfType.ts"
import * as Draft from "./Draft.ts"
import * as Elements from "./Elements.ts"

const named = (draft: Draft.Draft, name: string, kind: number): number => {
  if (name === "") fail("BadArgument", `a ${Kind.kindName(kind)} needs a name`, { typeId: Draft.nextId(draft) })
  return Draft.textOffset(draft, name)
}

const checkSize = (draft: Draft.Draft, size: number, kind: number, sizes: ReadonlyArray<number>): number =>
  sizes.includes(size)
    ? size
    : fail("BadArgument", `${an(kind)} cannot have ${size} bytes`, { typeId: Draft.nextId(draft) })

const an = (kind: number): string => `${/^[AEIOU]/.test(Kind.kindName(kind)) ? "an" : "a"} ${Kind.kindName(kind)}`

/** Checks a linkage of a VAR or FUNC. */
export const checkLinkage = (typeId: number, linkage: number): number =>
  linkage === 0 || linkage === 1 || linkage === 2
    ? linkage
    : fail("BadArgument", `${linkage} is no linkage`, { typeId })

const INT_SIZES = [1, 2, 4, 8, 16]
const FLOAT_SIZES = [2, 4, 8, 12, 16]
const ENUM_SIZES = [1, 2, 4, 8]

/** Adds an INT, whose bits fill its size. */
export const addInt = (draft: Draft.Draft, name: string, size: number, encoding: number): number => {
  checkSize(draft, size, Kind.BTF_KIND_INT, INT_SIZES)
  if ((encoding & 7) !== encoding) {
    fail("BadArgument", `${encoding} is no encoding of an INT`, { typeId: Draft.nextId(draft) })
  }
  const nameOffset = named(draft, name, Kind.BTF_KIND_INT)
  return Draft.appendRecord(draft, Kind.BTF_KIND_INT, nameOffset, 0, false, size, [encoding * 0x100_0000 + size * 8])
}

/** Adds a FLOAT. */
export const addFloat = (draft: Draft.Draft, name: string, size: number): number => {
  checkSize(draft, size, Kind.BTF_KIND_FLOAT, FLOAT_SIZES)
  return Draft.appendRecord(
    draft,
    Kind.BTF_KIND_FLOAT,
    named(draft, name, Kind.BTF_KIND_FLOAT),
    0,
    false,
    size
  )
}

/** Adds a PTR, CONST, VOLATILE or RESTRICT, which have no names. */
export const addReference = (draft: Draft.Draft, kind: number, type: number): number =>
  Draft.appendRecord(draft, kind, 0, 0, false, Draft.checkId(draft, type))

/** Adds a TYPEDEF or TYPE_TAG. */
export const addNamedReference = (
  draft: Draft.Draft,
  kind: number,
  name: string,
  type: number,
  kflag: boolean
): number => {
  Draft.checkId(draft, type)
  return Draft.appendRecord(draft, kind, named(draft, name, kind), 0, kflag, type)
}

/** Adds an ARRAY. */
export const addArray = (draft: Draft.Draft, indexType: number, type: number, length: number): number =>
  Draft.appendRecord(draft, Kind.BTF_KIND_ARRAY, 0, 0, false, 0, [
    Draft.checkId(draft, type),
    Draft.checkId(draft, indexType),
    Draft.checkWord(Draft.nextId(draft), length)
  ])

/** Adds a STRUCT or UNION with its members. */
export const addComposite = (
  draft: Draft.Draft,
  kind: number,
  name: string,
  size: number,
  members: ReadonlyArray<Member>
): number => {
  Draft.checkWord(Draft.nextId(draft), size)
  const id = Draft.appendRecord(draft, kind, Draft.textOffset(draft, name), 0, false, size)
  for (const member of members) Elements.addMember(draft, member)
  return id
}

/** Adds an ENUM with its values; by default it is signed where one of them is negative. */
export const addEnum = (
  draft: Draft.Draft,
  name: string,
  size: number,
  values: ReadonlyArray<EnumValue>,
  signed: boolean | undefined
): number => {
  const id = beginEnum(draft, Kind.BTF_KIND_ENUM, name, size, values, signed)
  for (const value of values) Elements.addEnumValue(draft, value)
  return id
}

/** Adds an ENUM64 with its values; by default it is signed where one of them is negative. */
export const addEnum64 = (
  draft: Draft.Draft,
  name: string,
  size: number,
  values: ReadonlyArray<Enum64Value>,
  signed: boolean | undefined
): number => {
  const id = beginEnum(draft, Kind.BTF_KIND_ENUM64, name, size, values, signed)
  for (const value of values) Elements.addEnum64Value(draft, value)
  return id
}

const beginEnum = (
  draft: Draft.Draft,
  kind: number,
  name: string,
  size: number,
  values: ReadonlyArray<EnumValue | Enum64Value>,
  signed: boolean | undefined
): number => {
  checkSize(draft, size, kind, ENUM_SIZES)
  if (signed === false) {
    const negative = values.find((value) => value.value < 0)
    if (negative !== undefined) {
      fail("ValueRange", `${negative.value} is no value of an unsigned enum`, { typeId: Draft.nextId(draft) })
    }
  }
  return Draft.appendRecord(draft, kind, Draft.textOffset(draft, name), 0, signed === true, size)
}

/** The 4 bytes that an enum has until its definition is seen. */
const FORWARD_ENUM_SIZE = 4

/** Adds a FWD, or for an enum an ENUM without values, which is how BTF declares one. */
export const addFwd = (draft: Draft.Draft, name: string, what: "struct" | "union" | "enum"): number => {
  const nameOffset = named(draft, name, Kind.BTF_KIND_FWD)
  return what === "enum"
    ? Draft.appendRecord(draft, Kind.BTF_KIND_ENUM, nameOffset, 0, false, FORWARD_ENUM_SIZE)
    : Draft.appendRecord(draft, Kind.BTF_KIND_FWD, nameOffset, 0, what === "union", 0)
}

/** Adds a FUNC: its linkage stands where other kinds have a count. */
export const addFunc = (draft: Draft.Draft, name: string, type: number, linkage: number): number => {
  Draft.checkId(draft, type)
  checkLinkage(Draft.nextId(draft), linkage)
  return Draft.appendRecord(draft, Kind.BTF_KIND_FUNC, named(draft, name, Kind.BTF_KIND_FUNC), linkage, false, type)
}

/** Adds a FUNC_PROTO with its parameters. */
export const addFuncProto = (draft: Draft.Draft, returnType: number, params: ReadonlyArray<Param>): number => {
  const id = Draft.appendRecord(draft, Kind.BTF_KIND_FUNC_PROTO, 0, 0, false, Draft.checkId(draft, returnType))
  for (const param of params) Elements.addParam(draft, param)
  return id
}

/** Adds a VAR. */
export const addVar = (draft: Draft.Draft, name: string, type: number, linkage: number): number => {
  Draft.checkId(draft, type)
  checkLinkage(Draft.nextId(draft), linkage)
  return Draft.appendRecord(
    draft,
    Kind.BTF_KIND_VAR,
    named(draft, name, Kind.BTF_KIND_VAR),
    0,
    false,
    type,
    [linkage]
  )
}

/** Adds a DATASEC with its entries. */
export const addDatasec = (
  draft: Draft.Draft,
  name: string,
  size: number,
  entries: ReadonlyArray<DatasecEntry>
): number => {
  Draft.checkWord(Draft.nextId(draft), size)
  const id = Draft.appendRecord(
    draft,
    Kind.BTF_KIND_DATASEC,
    named(draft, name, Kind.BTF_KIND_DATASEC),
    0,
    false,
    size
  )
  for (const entry of entries) Elements.addDatasecEntry(draft, entry)
  return id
}

/** Adds a DECL_TAG. */
export const addDeclTag = (
  draft: Draft.Draft,
  text: string,
  type: number,
  componentIndex: number,
  attribute: boolean
): number => {
  Draft.checkId(draft, type)
  if (!Number.isInteger(componentIndex) || componentIndex < -1 || componentIndex > 0x7fff_ffff) {
    fail("BadArgument", `${componentIndex} is no index of a member or parameter`, {
      typeId: Draft.nextId(draft),
      hint: "-1 stands for the declaration as a whole"
    })
  }
  return Draft.appendRecord(
    draft,
    Kind.BTF_KIND_DECL_TAG,
    named(draft, text, Kind.BTF_KIND_DECL_TAG),
    0,
    attribute,
    type,
    [componentIndex >>> 0]
  )
}
