/**
 * Types of another blob taken over: one record, or all of them at once.
 *
 * Source: reference page `btf-format`, section 11 (`add_type`, `add_btf`).
 */
import { swapWords } from "../BtfEncode.ts"
import { fail } from "../BtfError.ts"
import { requireKnownKinds } from "../BtfImage.ts"
import { BTF_TYPE_SIZE, ELEMENT_SIZE, INFO_SIZE, isKnownKind, kindName } from "../BtfKind.ts"
import { type Btf, ownerOf, recordOffset } from "../BtfModel.ts"
import { rewriteStrings, rewriteTypeIds } from "../BtfRewrite.ts"
import type { StringTable } from "../BtfStrings.ts"
import * as Draft from "./Draft.ts"

/** Appends a copy of type `id` of `source`, its strings taken over and its references mapped; answers its id. */
export const addType = (draft: Draft.Draft, source: Btf, id: number, mapType: (id: number) => number): number => {
  const owner = ownerOf(source, id)
  const start = owner === undefined ? -1 : recordOffset(owner, id)
  if (owner === undefined || start < 0) return fail("BadTypeId", "there is no such type to copy", { typeId: id })
  const { littleEndian, view } = owner.internal
  const info = view.getUint32(start + 4, littleEndian)
  const kind = Draft.kindOfInfo(info)
  if (!isKnownKind(kind)) {
    fail("UnknownKind", `${kindName(kind)} is not known, and its fields cannot be rewritten`, { typeId: id })
  }
  const size = BTF_TYPE_SIZE + (INFO_SIZE[kind] ?? 0) + Draft.vlenOfInfo(info) * (ELEMENT_SIZE[kind] ?? 0)
  const at = Draft.extend(draft, size)
  draft.bytes.set(owner.bytes.subarray(start, start + size), at)
  if (littleEndian !== draft.littleEndian) swapWords(draft.bytes, at, size)
  rewriteTypeIds(draft.view, draft.littleEndian, at, (type) => Draft.checkId(draft, mapType(type)))
  rewriteStrings(draft.view, draft.littleEndian, at, (offset) => draft.strings.addFrom(owner, offset))
  return Draft.begin(draft, at)
}

/**
 * Appends all own types of `other` in their order, and of its strings those that they use; answers the id of the first.
 * Throws with the draft as it was, but for room that it keeps.
 */
export const append = (draft: Draft.Draft, other: Btf): number => {
  if (other.base !== undefined && !isSame(other.base, draft.base)) {
    fail("BadArgument", "the BTF to append is split over another base", {
      hint: draft.base === undefined
        ? "begin with the base that both are to share"
        : "only BTF without a base, or over the same base, can be appended"
    })
  }
  requireKnownKinds(other)
  const stringsLength = draft.strings.length
  try {
    return Draft.undoing(draft, () => appendTypes(draft, other))
  } catch (thrown) {
    draft.strings.truncate(stringsLength)
    throw thrown
  }
}

const appendTypes = (draft: Draft.Draft, other: Btf): number => {
  const firstNew = Draft.nextId(draft)
  const shift = firstNew - other.firstId
  Draft.checkId(draft, other.endId + shift)
  const at = Draft.extend(draft, other.typesLength)
  draft.bytes.set(other.bytes.subarray(other.typesOffset, other.typesOffset + other.typesLength), at)
  if (other.byteOrder !== draft.byteOrder) swapWords(draft.bytes, at, other.typesLength)
  Draft.reserveStarts(draft, other.offsets.length)
  const { littleEndian, starts, view } = draft
  const { firstId } = other
  // `void` and the types of the base that both share keep their ids.
  const mapType = (type: number): number => type < firstId ? type : type + shift
  const mapString = stringMap(draft.strings, other)
  const delta = at - other.typesOffset
  for (let index = 0; index < other.offsets.length; index++) {
    const record = (other.offsets[index] ?? 0) + delta
    rewriteTypeIds(view, littleEndian, record, mapType)
    rewriteStrings(view, littleEndian, record, mapString)
    starts[draft.count + index] = record
  }
  draft.count += other.offsets.length
  return firstNew
}

/** New offsets of the strings of `other`, each of which is looked up once. */
const stringMap = (strings: StringTable, other: Btf): (offset: number) => number => {
  const { bytes, stringsOffset, stringsStart } = other
  // 0 for what is not known yet: no string but the empty one is at 0.
  const known = new Uint32Array(other.stringsLength)
  return (offset) => {
    if (offset < stringsStart || offset === 0) return offset
    const relative = offset - stringsStart
    const found = known[relative] ?? 0
    if (found !== 0) return found
    const start = stringsOffset + relative
    let end = start
    while ((bytes[end] ?? 0) !== 0) end++
    const added = strings.add(bytes, start, end)
    known[relative] = added
    return added
  }
}

/** Whether two bases are one, or blobs of the same types and strings. */
const isSame = (base: Btf, draftBase: Btf | undefined): boolean => {
  let one: Btf | undefined = base
  let other = draftBase
  while (one !== other) {
    if (one === undefined || other === undefined || one.byteOrder !== other.byteOrder) return false
    const same = equalBytes(one, one.typesOffset, one.typesLength, other, other.typesOffset, other.typesLength)
      && equalBytes(one, one.stringsOffset, one.stringsLength, other, other.stringsOffset, other.stringsLength)
    if (!same) return false
    one = one.base
    other = other.base
  }
  return true
}

const equalBytes = (
  one: Btf,
  oneStart: number,
  oneLength: number,
  other: Btf,
  otherStart: number,
  otherLength: number
): boolean => {
  if (oneLength !== otherLength) return false
  for (let index = 0; index < oneLength; index++) {
    if (one.bytes[oneStart + index] !== other.bytes[otherStart + index]) return false
  }
  return true
}
