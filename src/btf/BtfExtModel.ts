/**
 * The `.BTF.ext` value: blocks of records by ELF section, kept as bytes.
 *
 * Source: reference page `btf-format`, section 14.
 */
import type { Btf, ByteOrder } from "./BtfModel.ts"

/** The records of one ELF section: at least one. A segment may hold several blocks of one section. */
export interface InfoSection {
  readonly section: string
  /** String offset of the section's name. */
  readonly nameOffset: number
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
  /** Bytes of the header: 24, 32, or more where a newer producer added fields. */
  readonly headerLength: number
  /** A header longer than 32 bytes has a field that this library does not know: the section cannot be changed. */
  readonly unknownHeader: boolean
  /** The BTF of the same object, which holds the strings. */
  readonly btf: Btf
  readonly funcInfo: InfoSegment | undefined
  readonly lineInfo: InfoSegment | undefined
  readonly coreRelocations: InfoSegment | undefined
}

/** What the known fields of a record are, all of them 32-bit words of which the first is the instruction's offset. */
export interface RecordShape {
  readonly what: string
  /** Bytes of the known fields. */
  readonly size: number
  /** The words that hold type ids. */
  readonly types: ReadonlyArray<number>
  /** The words that hold string offsets. */
  readonly strings: ReadonlyArray<number>
}

/** Instruction, FUNC. */
export const FUNC_INFO: RecordShape = { what: "function", size: 8, types: [1], strings: [] }

/** Instruction, name of the file, text of the line, line and column. */
export const LINE_INFO: RecordShape = { what: "line", size: 16, types: [], strings: [1, 2] }

/** Instruction, root type, access string, kind. */
export const CORE_RELOCATION: RecordShape = { what: "CO-RE relocation", size: 16, types: [1], strings: [2] }

/** Bytes of the classic header. */
export const MIN_HEADER = 24

/** Bytes of the header that can name CO-RE relocations. */
export const HEADER_WITH_CORE = 32
