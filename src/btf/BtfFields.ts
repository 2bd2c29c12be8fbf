/**
 * Where a type record holds type ids and string offsets.
 *
 * Validation, merging, deduplication and renumbering all need the same two lists of words per kind. They are given as
 * tables, because every kind has the same shape: a name, up to two type ids at fixed places, and elements that hold at
 * most one string and one type id each. Names, tag texts and component indices are the only other content.
 *
 * Source: reference page `btf-format`, section 13.
 */
import {
  BTF_KIND_ARRAY,
  BTF_KIND_CONST,
  BTF_KIND_DATASEC,
  BTF_KIND_DECL_TAG,
  BTF_KIND_ENUM,
  BTF_KIND_ENUM64,
  BTF_KIND_FUNC,
  BTF_KIND_FUNC_PROTO,
  BTF_KIND_FWD,
  BTF_KIND_LIMIT,
  BTF_KIND_PTR,
  BTF_KIND_RESTRICT,
  BTF_KIND_STRUCT,
  BTF_KIND_TYPE_TAG,
  BTF_KIND_TYPEDEF,
  BTF_KIND_UNION,
  BTF_KIND_VAR,
  BTF_KIND_VOLATILE,
  BTF_TYPE_SIZE,
  ELEMENT_SIZE,
  INFO_SIZE,
  isKnownKind
} from "./BtfKind.ts"
import type { Btf } from "./BtfModel.ts"

/** No such word. */
export const NO_WORD = -1

const table = (
  entries: ReadonlyArray<readonly [offset: number, kinds: ReadonlyArray<number>]>
): Readonly<Int8Array> => {
  const offsets = new Int8Array(BTF_KIND_LIMIT).fill(NO_WORD)
  for (const [offset, kinds] of entries) {
    for (const kind of kinds) offsets[kind] = offset
  }
  return offsets
}

/** Offset in the record of its first type id, by kind; `NO_WORD` where the kind has none. A FWD's is always 0. */
export const FIRST_TYPE_WORD: Readonly<Int8Array> = table([
  [8, [
    BTF_KIND_PTR,
    BTF_KIND_FWD,
    BTF_KIND_TYPEDEF,
    BTF_KIND_VOLATILE,
    BTF_KIND_CONST,
    BTF_KIND_RESTRICT,
    BTF_KIND_FUNC,
    BTF_KIND_FUNC_PROTO,
    BTF_KIND_VAR,
    BTF_KIND_DECL_TAG,
    BTF_KIND_TYPE_TAG
  ]],
  [12, [BTF_KIND_ARRAY]]
])

/** Offset in the record of its second type id, by kind: the index type of an array. */
export const SECOND_TYPE_WORD: Readonly<Int8Array> = table([[16, [BTF_KIND_ARRAY]]])

/** Offset in an element of its type id, by kind. */
export const ELEMENT_TYPE_WORD: Readonly<Int8Array> = table([
  [0, [BTF_KIND_DATASEC]],
  [4, [BTF_KIND_STRUCT, BTF_KIND_UNION, BTF_KIND_FUNC_PROTO]]
])

/** Offset in an element of its string offset, by kind. Entries of a DATASEC have no name. */
export const ELEMENT_STRING_WORD: Readonly<Int8Array> = table([
  [0, [BTF_KIND_STRUCT, BTF_KIND_UNION, BTF_KIND_ENUM, BTF_KIND_FUNC_PROTO, BTF_KIND_ENUM64]]
])

/** Receives a word's offset in the bytes that are visited, and its value. */
export type WordVisitor = (offset: number, value: number) => void

/**
 * Visits each word of the record at `at` that holds a type id, once and in order. Answers whether the kind is known; of
 * a kind that is not, nothing is visited.
 */
export const visitTypeIds = (view: DataView, littleEndian: boolean, at: number, visit: WordVisitor): boolean => {
  const info = view.getUint32(at + 4, littleEndian)
  const kind = (info >>> 24) & 0x7f
  const first = FIRST_TYPE_WORD[kind] ?? NO_WORD
  if (first !== NO_WORD) visit(at + first, view.getUint32(at + first, littleEndian))
  const second = SECOND_TYPE_WORD[kind] ?? NO_WORD
  if (second !== NO_WORD) visit(at + second, view.getUint32(at + second, littleEndian))
  visitElements(view, littleEndian, at, info, ELEMENT_TYPE_WORD, visit)
  return isKnownKind(kind)
}

/**
 * Visits each word of the record at `at` that holds a string offset, once and in order, the type's name first. Answers
 * whether the kind is known; of a kind that is not, only the name is visited.
 */
export const visitStrings = (view: DataView, littleEndian: boolean, at: number, visit: WordVisitor): boolean => {
  const info = view.getUint32(at + 4, littleEndian)
  visit(at, view.getUint32(at, littleEndian))
  visitElements(view, littleEndian, at, info, ELEMENT_STRING_WORD, visit)
  return isKnownKind((info >>> 24) & 0x7f)
}

const visitElements = (
  view: DataView,
  littleEndian: boolean,
  at: number,
  info: number,
  words: Readonly<Int8Array>,
  visit: WordVisitor
): void => {
  const kind = (info >>> 24) & 0x7f
  const word = words[kind] ?? NO_WORD
  if (word === NO_WORD) return
  const stride = ELEMENT_SIZE[kind] ?? 0
  let offset = at + BTF_TYPE_SIZE + (INFO_SIZE[kind] ?? 0) + word
  for (let left = info & 0xff_ffff; left > 0; left--, offset += stride) {
    visit(offset, view.getUint32(offset, littleEndian))
  }
}

/** Visits the type ids of every type that the blob holds itself; answers whether all kinds are known. */
export const forEachTypeId = (btf: Btf, visit: WordVisitor): boolean => {
  const { littleEndian, view } = btf.internal
  let known = true
  for (const at of btf.offsets) known = visitTypeIds(view, littleEndian, at, visit) && known
  return known
}

/** Visits the string offsets of every type that the blob holds itself; answers whether all kinds are known. */
export const forEachString = (btf: Btf, visit: WordVisitor): boolean => {
  const { littleEndian, view } = btf.internal
  let known = true
  for (const at of btf.offsets) known = visitStrings(view, littleEndian, at, visit) && known
  return known
}
