/**
 * From the bytes of a `.BTF.ext` section to a `BtfExt`.
 *
 * Source: reference page `btf-format`, section 14.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import { plainBytes } from "../internal/plainBytes.ts"
import { textMeter } from "./BtfCheck.ts"
import type { BtfError } from "./BtfError.ts"
import { fail, isBtfError } from "./BtfError.ts"
import type { BtfExt, InfoSection, InfoSegment, RecordShape } from "./BtfExtModel.ts"
import { CORE_RELOCATION, FUNC_INFO, HEADER_WITH_CORE, LINE_INFO, MIN_HEADER } from "./BtfExtModel.ts"
import type { Btf } from "./BtfModel.ts"
import { stringAt } from "./BtfModel.ts"
import { BTF_VERSION, byteOrderOfMagic } from "./BtfParse.ts"

/** Parses a `.BTF.ext` section of either byte order. `btf` is the BTF of the same object. */
export const parse = (bytes: Uint8Array, btf: Btf): Result.Result<BtfExt, BtfError> =>
  attempt(isBtfError, () => parseSection(plainBytes(bytes), btf))

/** `parse` for other modules of this folder: throws its `BtfError`. */
export const parseSection = (bytes: Uint8Array, btf: Btf): BtfExt => {
  const size = bytes.length
  if (size < 8) fail("Truncated", `${size} bytes are too few for a header of .BTF.ext`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const byteOrder = byteOrderOfMagic(view) ?? fail("BadMagic", "the magic number of .BTF.ext is missing", { offset: 0 })
  const littleEndian = byteOrder === "little"
  if (view.getUint8(2) !== BTF_VERSION) {
    fail("BadVersion", `version ${view.getUint8(2)} of .BTF.ext is not known`, { offset: 2 })
  }
  if (view.getUint8(3) !== 0) {
    fail("BadFlags", `the flags 0x${view.getUint8(3).toString(16)} of .BTF.ext are not known`, { offset: 3 })
  }
  const headerLength = view.getUint32(4, littleEndian)
  if (headerLength < MIN_HEADER) {
    fail("BadHeader", `the header length ${headerLength} of .BTF.ext is below ${MIN_HEADER}`, { offset: 4 })
  }
  if (headerLength >= size) fail("Truncated", ".BTF.ext has no data", { offset: 4 })
  const reader: Reader = { bytes, view, littleEndian, headerLength, btf }
  return {
    byteOrder,
    headerLength,
    unknownHeader: hasNonZero(bytes, HEADER_WITH_CORE, headerLength),
    btf,
    funcInfo: readSegment(reader, 8, FUNC_INFO),
    lineInfo: readSegment(reader, 16, LINE_INFO),
    coreRelocations: headerLength >= HEADER_WITH_CORE ? readSegment(reader, 24, CORE_RELOCATION) : undefined
  }
}

const hasNonZero = (bytes: Uint8Array, start: number, end: number): boolean => {
  for (let at = start; at < end; at++) {
    if (bytes[at] !== 0) return true
  }
  return false
}

interface Reader {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly littleEndian: boolean
  readonly headerLength: number
  readonly btf: Btf
}

/** Reads the segment whose offset and length are at `field` of the header; `undefined` for an empty one. */
const readSegment = (reader: Reader, field: number, shape: RecordShape): InfoSegment | undefined => {
  const { bytes, headerLength, littleEndian, view } = reader
  const { what } = shape
  const length = view.getUint32(field + 4, littleEndian)
  if (length === 0) return undefined
  const start = headerLength + view.getUint32(field, littleEndian)
  const end = start + length
  if (view.getUint32(field, littleEndian) % 4 !== 0) {
    fail("BadSection", `the ${what} segment is not aligned to 4 bytes`, { offset: field })
  }
  if (end > bytes.length) fail("BadSection", `the ${what} segment ends outside .BTF.ext`, { offset: field })
  if (length < 4) fail("Truncated", `the ${what} segment is too short for its record size`, { offset: start })
  const recordSize = view.getUint32(start, littleEndian)
  if (recordSize < shape.size || recordSize % 4 !== 0) {
    fail("BadRecords", `the ${what} records are said to have ${recordSize} bytes`, { offset: start })
  }
  const sections: Array<InfoSection> = []
  let at = start + 4
  if (at === end) fail("BadRecords", `the ${what} segment has no records`, { offset: start })
  const meter = reader.btf.internal.longStrings ? textMeter(reader.btf, length) : undefined
  while (at < end) {
    if (end - at < 8) fail("Truncated", `the ${what} segment ends in the header of a block`, { offset: at })
    const nameOffset = view.getUint32(at, littleEndian)
    const count = view.getUint32(at + 4, littleEndian)
    if (count === 0) fail("BadRecords", `a block of ${what} records is empty`, { offset: at + 4 })
    // At most 2^64, which a number holds closely enough for a comparison with 2^32.
    if (count * recordSize > end - at - 8) {
      fail("Truncated", `the ${what} segment ends within its records`, { offset: at + 4 })
    }
    if (meter !== undefined) checkText(reader, meter, shape.strings, { at: at + 8, count, recordSize, nameOffset })
    const section = stringAt(reader.btf, nameOffset)
    if (section === undefined) return fail("BadString", "a block's section has no name", { offset: at })
    const records = bytes.subarray(at + 8, at + 8 + count * recordSize)
    sections.push({ section, nameOffset, count, records })
    at += 8 + records.length
  }
  return { recordSize, sections }
}

interface Block {
  readonly at: number
  readonly count: number
  readonly recordSize: number
  readonly nameOffset: number
}

/** Bounds the text that the records of a block refer to, as `BtfCheck` does for the names of types. */
const checkText = (
  reader: Reader,
  meter: (offset: number) => boolean,
  words: ReadonlyArray<number>,
  block: Block
): void => {
  if (!meter(block.nameOffset)) failText(block.at - 8)
  for (const word of words) {
    for (let index = 0, at = block.at + word * 4; index < block.count; index++, at += block.recordSize) {
      if (!meter(reader.view.getUint32(at, reader.littleEndian))) failText(at)
    }
  }
}

const failText = (offset: number): never => fail("NamesTooLong", "the records share long strings too often", { offset })
