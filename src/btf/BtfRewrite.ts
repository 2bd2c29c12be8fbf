/**
 * The field visitor that writes: type ids and string offsets of a record replaced by what a function says.
 *
 * Appending, permuting and copying need it. The words are those of the tables in `BtfFields`.
 */
import { ELEMENT_STRING_WORD, ELEMENT_TYPE_WORD, FIRST_TYPE_WORD, NO_WORD, SECOND_TYPE_WORD } from "./BtfFields.ts"
import { BTF_TYPE_SIZE, ELEMENT_SIZE, INFO_SIZE } from "./BtfKind.ts"

/** Replaces each type id of the record at `at`, in order. Records of unknown kinds stay as they are. */
export const rewriteTypeIds = (
  view: DataView,
  littleEndian: boolean,
  at: number,
  map: (id: number) => number
): void => {
  const info = view.getUint32(at + 4, littleEndian)
  const kind = (info >>> 24) & 0x7f
  const first = FIRST_TYPE_WORD[kind] ?? NO_WORD
  if (first !== NO_WORD) view.setUint32(at + first, map(view.getUint32(at + first, littleEndian)), littleEndian)
  const second = SECOND_TYPE_WORD[kind] ?? NO_WORD
  if (second !== NO_WORD) view.setUint32(at + second, map(view.getUint32(at + second, littleEndian)), littleEndian)
  rewriteElements(view, littleEndian, at, info, ELEMENT_TYPE_WORD, map)
}

/** Replaces each string offset of the record at `at`, its name first. Of an unknown kind only the name is replaced. */
export const rewriteStrings = (
  view: DataView,
  littleEndian: boolean,
  at: number,
  map: (offset: number) => number
): void => {
  const info = view.getUint32(at + 4, littleEndian)
  view.setUint32(at, map(view.getUint32(at, littleEndian)), littleEndian)
  rewriteElements(view, littleEndian, at, info, ELEMENT_STRING_WORD, map)
}

const rewriteElements = (
  view: DataView,
  littleEndian: boolean,
  at: number,
  info: number,
  words: Readonly<Int8Array>,
  map: (value: number) => number
): void => {
  const kind = (info >>> 24) & 0x7f
  const word = words[kind] ?? NO_WORD
  if (word === NO_WORD) return
  const stride = ELEMENT_SIZE[kind] ?? 0
  let offset = at + BTF_TYPE_SIZE + (INFO_SIZE[kind] ?? 0) + word
  for (let left = info & 0xff_ffff; left > 0; left--, offset += stride) {
    view.setUint32(offset, map(view.getUint32(offset, littleEndian)), littleEndian)
  }
}
