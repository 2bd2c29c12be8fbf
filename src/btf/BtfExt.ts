/**
 * The `.BTF.ext` section: which function and source line an instruction belongs to, and its CO-RE relocations.
 *
 * Parsing checks the structure and keeps the records as bytes, since loading and linking pass them on; a record is read
 * where it is asked for. Instruction offsets are bytes from the start of the ELF section, as compilers write them.
 *
 * Source: reference page `btf-format`, section 14.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import { textMeter } from "./BtfCheck.ts"
import type { BtfError } from "./BtfError.ts"
import { fail, isBtfError } from "./BtfError.ts"
import type { Btf, ByteOrder } from "./BtfModel.ts"
import { stringAt } from "./BtfModel.ts"
import { BTF_VERSION, byteOrderOfMagic } from "./BtfParse.ts"

/** The records of one ELF section: at least one. A segment may hold several blocks of one section. */
export interface InfoSection {
  readonly section: string
  readonly count: number
  /** The records as they are in the file, in its byte order: `count` times the segment's `recordSize`. */
  readonly records: Uint8Array
}

/** One kind of information, in blocks by ELF section, in the order of the file. */
export interface InfoSegment {
  /** Bytes of a record, which may be more than the fields that this library knows. */
  readonly recordSize: number
  readonly sections: ReadonlyArray<InfoSection>
}

/** A parsed `.BTF.ext` section. It keeps a view of the bytes that it was parsed from: they must not change. */
export interface BtfExt {
  readonly byteOrder: ByteOrder
  /** The BTF of the same object, which holds the strings. */
  readonly btf: Btf
  readonly funcInfo: InfoSegment | undefined
  readonly lineInfo: InfoSegment | undefined
  readonly coreRelocations: InfoSegment | undefined
}

/** A function starts here. */
export interface FuncInfo {
  /** Bytes from the start of the ELF section. */
  readonly insnOffset: number
  /** A FUNC. The id is as it stands in the record: it may be of no type. */
  readonly typeId: number
}

/** A source line starts here. */
export interface LineInfo {
  /** Bytes from the start of the ELF section. */
  readonly insnOffset: number
  /** Name of the source file; empty where the record names none. */
  readonly fileName: string
  /** Text of the line; empty where the compiler had none. */
  readonly line: string
  /** Counts from 1; 0 stands for no line. */
  readonly lineNumber: number
  /** Counts from 1; 0 stands for no column. */
  readonly column: number
}

/** A CO-RE relocation. */
export interface CoreRelocation {
  /** Bytes from the start of the ELF section. */
  readonly insnOffset: number
  /** The root type, as it stands in the record: it may be of no type. */
  readonly typeId: number
  /** Indices that lead from the root type to what is accessed, as `0:1:2`; empty, and so invalid, for a bad offset. */
  readonly accessString: string
  /** One of `enum bpf_core_relo_kind`. */
  readonly kind: number
}

/** What the known fields of a record are. */
interface RecordShape {
  readonly what: string
  /** Bytes of the known fields. */
  readonly size: number
  /** The words that hold string offsets. */
  readonly strings: ReadonlyArray<number>
}

const FUNC_INFO: RecordShape = { what: "function", size: 8, strings: [] }
const LINE_INFO: RecordShape = { what: "line", size: 16, strings: [1, 2] }
const CORE_RELOCATION: RecordShape = { what: "CO-RE relocation", size: 16, strings: [2] }

const MIN_HEADER = 24
const HEADER_WITH_CORE = 32

/** Parses a `.BTF.ext` section of either byte order. `btf` is the BTF of the same object. */
export const parse = (bytes: Uint8Array, btf: Btf): Result.Result<BtfExt, BtfError> =>
  attempt(isBtfError, () => parseSection(bytes, btf))

const parseSection = (bytes: Uint8Array, btf: Btf): BtfExt => {
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
    btf,
    funcInfo: readSegment(reader, 8, FUNC_INFO),
    lineInfo: readSegment(reader, 16, LINE_INFO),
    coreRelocations: headerLength >= HEADER_WITH_CORE ? readSegment(reader, 24, CORE_RELOCATION) : undefined
  }
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
    sections.push({ section, count, records })
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

/** Reads word `word` of record `index`; 0 past the last record. */
const recordWord = (ext: BtfExt, section: InfoSection, index: number, word: number): number => {
  const { records } = section
  const at = index * (records.length / section.count) + word * 4
  if (!(at >= 0 && at + 4 <= records.length)) return 0
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
  return view.getUint32(at, ext.byteOrder === "little")
}

/** Record `index` of a section of `ext.funcInfo`. */
export const funcInfoAt = (ext: BtfExt, section: InfoSection, index: number): FuncInfo => ({
  insnOffset: recordWord(ext, section, index, 0),
  typeId: recordWord(ext, section, index, 1)
})

/** Record `index` of a section of `ext.lineInfo`. */
export const lineInfoAt = (ext: BtfExt, section: InfoSection, index: number): LineInfo => {
  const position = recordWord(ext, section, index, 3)
  return {
    insnOffset: recordWord(ext, section, index, 0),
    fileName: stringAt(ext.btf, recordWord(ext, section, index, 1)) ?? "",
    line: stringAt(ext.btf, recordWord(ext, section, index, 2)) ?? "",
    lineNumber: position >>> 10,
    column: position & 0x3ff
  }
}

/** Record `index` of a section of `ext.coreRelocations`. */
export const coreRelocationAt = (ext: BtfExt, section: InfoSection, index: number): CoreRelocation => ({
  insnOffset: recordWord(ext, section, index, 0),
  typeId: recordWord(ext, section, index, 1),
  accessString: stringAt(ext.btf, recordWord(ext, section, index, 2)) ?? "",
  kind: recordWord(ext, section, index, 3)
})
