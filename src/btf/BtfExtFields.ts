/**
 * Where the records of `.BTF.ext` refer to the BTF of their object, and the section written anew.
 *
 * What BTF's own transforms do with `BtfFields`, they do with the visitors of this module for `.BTF.ext`: function and
 * CO-RE records hold type ids, line and CO-RE records and the header of every block hold string offsets.
 *
 * Source: reference page `btf-format`, sections 13 and 14.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import { swapWords } from "./BtfEncode.ts"
import type { BtfError } from "./BtfError.ts"
import { fail, isBtfError } from "./BtfError.ts"
import type { BtfExt, InfoSegment, RecordShape } from "./BtfExtModel.ts"
import { CORE_RELOCATION, FUNC_INFO, HEADER_WITH_CORE, LINE_INFO, MIN_HEADER } from "./BtfExtModel.ts"
import { parseSection } from "./BtfExtParse.ts"
import type { WordVisitor } from "./BtfFields.ts"
import type { Btf, ByteOrder } from "./BtfModel.ts"
import { exists, stringOwnerOf } from "./BtfModel.ts"
import { BTF_MAGIC, BTF_VERSION } from "./BtfParse.ts"

/** The segments in the order of the header's fields. */
const segmentsOf = (ext: BtfExt): ReadonlyArray<readonly [InfoSegment | undefined, RecordShape]> => [
  [ext.funcInfo, FUNC_INFO],
  [ext.lineInfo, LINE_INFO],
  [ext.coreRelocations, CORE_RELOCATION]
]

/** The header's bytes when written: what was read, or room for relocations where there are some. */
const headerLengthOf = (ext: BtfExt): number =>
  Math.max(ext.headerLength, ext.coreRelocations === undefined ? MIN_HEADER : HEADER_WITH_CORE)

/**
 * Visits the words `words` of all records and, where `names` is given, the word of each block's name; by offset in what
 * `encode` makes of `ext`, ascending.
 */
const visitWords = (
  ext: BtfExt,
  words: (shape: RecordShape) => ReadonlyArray<number>,
  names: boolean,
  visit: WordVisitor
): void => {
  const littleEndian = ext.byteOrder === "little"
  let at = headerLengthOf(ext)
  for (const [segment, shape] of segmentsOf(ext)) {
    if (segment === undefined) continue
    const { recordSize, sections } = segment
    const visited = words(shape)
    at += 4
    for (const { nameOffset, records } of sections) {
      if (names) visit(at, nameOffset)
      at += 8
      if (visited.length > 0) {
        const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
        for (let record = 0; record + shape.size <= records.length; record += recordSize) {
          for (const word of visited) visit(at + record + word * 4, view.getUint32(record + word * 4, littleEndian))
        }
      }
      at += records.length
    }
  }
}

const typeWords = (shape: RecordShape): ReadonlyArray<number> => shape.types

const stringWords = (shape: RecordShape): ReadonlyArray<number> => shape.strings

/**
 * Visits each word that holds a type id: those of functions, then those of CO-RE relocations. The visitor gets the
 * word's offset in what `encode(ext)` answers, and its value, which may be of no type.
 */
export const forEachTypeId = (ext: BtfExt, visit: WordVisitor): void => visitWords(ext, typeWords, false, visit)

/**
 * Visits each word that holds a string offset: names of ELF sections, source files and lines, access strings. The
 * visitor gets the word's offset in what `encode(ext)` answers, and its value, which may be of no string.
 */
export const forEachString = (ext: BtfExt, visit: WordVisitor): void => visitWords(ext, stringWords, true, visit)

/**
 * The canonical section: segments in the order of the header, without gaps, records with all bytes that they came
 * with. A canonical section comes back byte for byte, and swapping one twice is the identity.
 *
 * The header keeps its length; what it has past the fields that this library knows is written as zeros, since the
 * areas that it may describe are not kept. All fields of records, also those that this library does not know, are
 * swapped as 32-bit words. Of a section without any segment only the header is left, which parsers refuse as empty.
 */
export const encode = (ext: BtfExt, order: ByteOrder = ext.byteOrder): Uint8Array => {
  const header = headerLengthOf(ext)
  let size = header
  for (const [segment] of segmentsOf(ext)) size += segmentLength(segment)
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  const littleEndian = ext.byteOrder === "little"
  const little = order === "little"
  view.setUint16(0, BTF_MAGIC, little)
  view.setUint8(2, BTF_VERSION)
  view.setUint32(4, header, little)
  let at = header
  let field = 8
  for (const [segment] of segmentsOf(ext)) {
    // An absent segment has the place where it would be. The classic header ends before the third.
    if (field + 8 <= header) {
      view.setUint32(field, at - header, little)
      view.setUint32(field + 4, segmentLength(segment), little)
    }
    field += 8
    if (segment === undefined) continue
    view.setUint32(at, segment.recordSize, littleEndian)
    at += 4
    for (const { count, nameOffset, records } of segment.sections) {
      view.setUint32(at, nameOffset, littleEndian)
      view.setUint32(at + 4, count, littleEndian)
      bytes.set(records, at + 8)
      at += 8 + records.length
    }
  }
  if (order !== ext.byteOrder) swapWords(bytes, header, size - header)
  return bytes
}

const segmentLength = (segment: InfoSegment | undefined): number => {
  if (segment === undefined) return 0
  let length = 4
  for (const { records } of segment.sections) length += 8 + records.length
  return length
}

/**
 * The same records for `btf`, which took the place of the BTF that they were made with: `typeId` answers the new id of
 * an old one, `string` the new string offset of an old one. Id 0, `void`, and string offset 0, the empty string, stay
 * and are not asked for. Records that refer to no type or string of the old BTF are refused, as are answers that are
 * none of the new one.
 */
export const remap = (
  ext: BtfExt,
  btf: Btf,
  typeId: (old: number) => number,
  string: (old: number) => number
): Result.Result<BtfExt, BtfError> => attempt(isBtfError, () => remapped(ext, btf, typeId, string))

/** `remap` inside a module: throws what is wrong. */
export const remapped = (
  ext: BtfExt,
  btf: Btf,
  typeId: (old: number) => number,
  string: (old: number) => number
): BtfExt => {
  if (ext.unknownHeader) {
    const hint = "a newer producer made this section"
    fail("ReadOnly", "the header of .BTF.ext has fields that are not known, and what they describe would be lost", {
      hint
    })
  }
  // A section without segments has nothing to change, and what encode makes of it would not parse.
  if (segmentsOf(ext).every(([segment]) => segment === undefined)) return { ...ext, btf }
  const bytes = encode(ext)
  const view = new DataView(bytes.buffer)
  const littleEndian = ext.byteOrder === "little"
  forEachTypeId(ext, (offset, old) => {
    if (old === 0) return
    if (!exists(ext.btf, old)) fail("BadTypeId", `a record refers to type ${old}, which does not exist`, { offset })
    const id = typeId(old)
    if (!exists(btf, id)) fail("BadTypeId", `type ${old} would become type ${id}, which does not exist`, { offset })
    view.setUint32(offset, id, littleEndian)
  })
  forEachString(ext, (offset, old) => {
    if (old === 0) return
    if (stringOwnerOf(ext.btf, old) === undefined) {
      fail("BadString", `a record refers to string offset ${old}, past the strings`, { offset })
    }
    const moved = string(old)
    if (!Number.isInteger(moved) || stringOwnerOf(btf, moved) === undefined) {
      fail("BadString", `string offset ${old} would become ${moved}, past the strings`, { offset })
    }
    view.setUint32(offset, moved, littleEndian)
  })
  return parseSection(bytes, btf)
}
