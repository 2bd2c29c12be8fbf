/**
 * Members, values, parameters and entries, each appended to the type that was added last: a record can grow only at the
 * end of the type area.
 *
 * Source: reference page `btf-format`, sections 4 and 11.
 */
import { fail } from "../BtfError.ts"
import * as Kind from "../BtfKind.ts"
import type { DatasecEntry, Enum64Value, EnumValue, Member, Param } from "../BtfType.ts"
import * as Draft from "./Draft.ts"

/** Where the record of the last type begins, which is of one of these kinds. */
const lastRecord = (draft: Draft.Draft, what: string, kinds: ReadonlyArray<number>): number => {
  const at = draft.count === 0 ? undefined : draft.starts[draft.count - 1]
  if (at === undefined) return fail("BadTypeId", `there is no type yet that a ${what} could be added to`)
  const kind = Draft.kindOfInfo(Draft.get(draft, at + 4))
  if (!kinds.includes(kind)) {
    fail("WrongKind", `a ${what} cannot be added to a ${Kind.kindName(kind)}`, {
      typeId: Draft.nextId(draft) - 1,
      hint: "it is added to the type that was added last"
    })
  }
  return at
}

/** Makes room for one more element of the record at `at`; answers where it begins. */
const addElement = (draft: Draft.Draft, at: number, size: number): number => {
  const info = Draft.get(draft, at + 4)
  if (Draft.vlenOfInfo(info) === Kind.BTF_MAX_VLEN) {
    fail("BadArgument", `it has ${Kind.BTF_MAX_VLEN} elements, and no type can have more`, {
      typeId: Draft.nextId(draft) - 1
    })
  }
  const element = Draft.extend(draft, size)
  Draft.put(draft, at + 4, info + 1)
  return element
}

const hasFlag = (draft: Draft.Draft, at: number): boolean => Draft.get(draft, at + 4) >= 0x8000_0000

const setFlag = (draft: Draft.Draft, at: number): void =>
  Draft.put(draft, at + 4, (Draft.get(draft, at + 4) | 0x8000_0000) >>> 0)

/** Whether word `word` of an element of the record at `at` is larger than `limit`. */
const someAbove = (draft: Draft.Draft, at: number, stride: number, word: number, limit: number): boolean => {
  for (let offset = at + Kind.BTF_TYPE_SIZE + word; offset < draft.length; offset += stride) {
    if (Draft.get(draft, offset) > limit) return true
  }
  return false
}

/** What an offset word can say beside the size of a bit field. */
const MAX_FLAGGED_OFFSET = 0xff_ffff

const tooFar = (typeId: number, bitOffset: number): never =>
  fail("BadArgument", `bit offset ${bitOffset} is too large for a type with bit fields`, {
    typeId,
    hint: `members of a type with bit fields begin at bit ${MAX_FLAGGED_OFFSET} at the latest`
  })

/** Adds a member to the struct or union that was added last. */
export const addMember = (draft: Draft.Draft, member: Member): void => {
  const at = lastRecord(draft, "member", [Kind.BTF_KIND_STRUCT, Kind.BTF_KIND_UNION])
  const typeId = Draft.nextId(draft) - 1
  const { bitfieldSize, bitOffset } = member
  const type = Draft.checkId(draft, member.type)
  Draft.checkWord(typeId, bitOffset)
  if (bitOffset !== 0 && Draft.kindOfInfo(Draft.get(draft, at + 4)) === Kind.BTF_KIND_UNION) {
    fail("BadArgument", `a member of a union begins at bit 0, not ${bitOffset}`, { typeId })
  }
  const isBitfield = bitfieldSize !== 0 || bitOffset % 8 !== 0
  if (isBitfield && !(Number.isInteger(bitfieldSize) && bitfieldSize >= 1 && bitfieldSize <= 255)) {
    fail("BadArgument", `a bit field cannot have ${bitfieldSize} bits`, {
      typeId,
      hint: "a member that does not begin at a byte is a bit field of 1 to 255 bits"
    })
  }
  const flagged = hasFlag(draft, at)
  if ((flagged || isBitfield) && bitOffset > MAX_FLAGGED_OFFSET) tooFar(typeId, bitOffset)
  if (isBitfield && !flagged) {
    // From here on the top eight bits of all its offsets are sizes. It happens once per type.
    if (someAbove(draft, at, 12, 8, MAX_FLAGGED_OFFSET)) {
      fail("BadArgument", "an earlier member is too far away for a type with bit fields", { typeId })
    }
  }
  const nameOffset = Draft.textOffset(draft, member.name)
  const element = addElement(draft, at, 12)
  if (isBitfield) setFlag(draft, at)
  Draft.put(draft, element, nameOffset)
  Draft.put(draft, element + 4, type)
  Draft.put(draft, element + 8, bitfieldSize * 0x100_0000 + bitOffset)
}

/** Adds a parameter to the prototype that was added last. */
export const addParam = (draft: Draft.Draft, param: Param): void => {
  const at = lastRecord(draft, "parameter", [Kind.BTF_KIND_FUNC_PROTO])
  const type = Draft.checkId(draft, param.type)
  const nameOffset = Draft.textOffset(draft, param.name)
  const element = addElement(draft, at, 8)
  Draft.put(draft, element, nameOffset)
  Draft.put(draft, element + 4, type)
}

/** Adds an entry to the section that was added last. */
export const addDatasecEntry = (draft: Draft.Draft, entry: DatasecEntry): void => {
  const at = lastRecord(draft, "section entry", [Kind.BTF_KIND_DATASEC])
  const typeId = Draft.nextId(draft) - 1
  const type = Draft.checkId(draft, entry.type)
  const offset = Draft.checkWord(typeId, entry.offset)
  const size = Draft.checkWord(typeId, entry.size)
  const element = addElement(draft, at, 12)
  Draft.put(draft, element, type)
  Draft.put(draft, element + 4, offset)
  Draft.put(draft, element + 8, size)
}

/** Largest word that is a value of a signed enum as well, or the upper half of one. */
const MAX_SIGNED_WORD = 0x7fff_ffff

/**
 * Decides how an enum with one more value counts: its values are unsigned until the first that is negative, and then
 * none may be above the largest signed one. `top` is the word of a value that has its sign, from the element's start.
 */
const addSign = (draft: Draft.Draft, at: number, stride: number, value: bigint | number, isLarge: boolean): void => {
  const signed = hasFlag(draft, at)
  const negative = value < 0
  const mixed = signed ? isLarge : negative && someAbove(draft, at, stride, stride - 4, MAX_SIGNED_WORD)
  if (mixed) {
    fail("ValueRange", `the enum has negative values and ones too large beside them, such as ${value}`, {
      typeId: Draft.nextId(draft) - 1,
      hint: "all values of an enum are either signed or unsigned"
    })
  }
  if (negative && !signed) setFlag(draft, at)
}

/** The string offset of the name of a value, which has one. */
const valueName = (draft: Draft.Draft, name: string): number => {
  if (name === "") fail("BadArgument", "a value of an enum needs a name", { typeId: Draft.nextId(draft) - 1 })
  return Draft.textOffset(draft, name)
}

/** Adds a value to the enum that was added last. */
export const addEnumValue = (draft: Draft.Draft, { name, value }: EnumValue): void => {
  const at = lastRecord(draft, "value", [Kind.BTF_KIND_ENUM])
  if (!Number.isInteger(value) || value < -0x8000_0000 || value > 0xffff_ffff) {
    fail("ValueRange", `${value} does not fit the 32 bits of a value of an ENUM`, {
      typeId: Draft.nextId(draft) - 1,
      hint: "an ENUM64 holds larger values"
    })
  }
  const nameOffset = valueName(draft, name)
  addSign(draft, at, 8, value, value > MAX_SIGNED_WORD)
  const element = addElement(draft, at, 8)
  Draft.put(draft, element, nameOffset)
  Draft.put(draft, element + 4, value >>> 0)
}

/** Adds a value to the 64-bit enum that was added last. */
export const addEnum64Value = (draft: Draft.Draft, { name, value }: Enum64Value): void => {
  const at = lastRecord(draft, "64-bit value", [Kind.BTF_KIND_ENUM64])
  if (value < -0x8000_0000_0000_0000n || value > 0xffff_ffff_ffff_ffffn) {
    fail("ValueRange", `${value} does not fit the 64 bits of a value of an ENUM64`, {
      typeId: Draft.nextId(draft) - 1
    })
  }
  const nameOffset = valueName(draft, name)
  addSign(draft, at, 12, value, value > 0x7fff_ffff_ffff_ffffn)
  const element = addElement(draft, at, 12)
  const bits = BigInt.asUintN(64, value)
  // The low half comes first in both byte orders.
  Draft.put(draft, element, nameOffset)
  Draft.put(draft, element + 4, Number(bits & 0xffff_ffffn))
  Draft.put(draft, element + 8, Number(bits >> 32n))
}
