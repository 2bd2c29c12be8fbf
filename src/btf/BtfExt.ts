/**
 * The `.BTF.ext` section: which function and source line an instruction belongs to, and its CO-RE relocations.
 *
 * Parsing checks the structure and keeps the records as bytes, since loading and linking pass them on; a record is read
 * where it is asked for. Instruction offsets are bytes from the start of the ELF section, as compilers write them.
 * `forEachTypeId` and `forEachString` visit all references to the BTF of the same object, and `remap` follows it when
 * its ids and strings change:
 *
 * ```ts
 * const moved = BtfExt.remap(ext, btf, (id) => map[id] ?? 0, (offset) => strings(offset))
 * if (Result.isSuccess(moved)) write(BtfExt.encode(moved.success))
 * ```
 *
 * Source: reference page `btf-format`, section 14.
 */
import type { BtfExt, InfoSection } from "./BtfExtModel.ts"
import { stringAt } from "./BtfModel.ts"

export { encode, forEachString, forEachTypeId, remap } from "./BtfExtFields.ts"
export type { BtfExt, InfoSection, InfoSegment } from "./BtfExtModel.ts"
export { parse } from "./BtfExtParse.ts"

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
