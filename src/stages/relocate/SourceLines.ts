/**
 * The lines of C that an object's instructions were compiled from, as `.BTF.ext` has them.
 */
import { stringAt } from "../../btf/BtfModel.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import * as Info from "./Info.ts"

/** A line of a source file. */
export interface SourceLine {
  /** Empty where the record names none. */
  readonly file: string
  /** Counts from 1; 0 stands for none. */
  readonly line: number
  /** Counts from 1; 0 stands for none. */
  readonly column: number
  /** The line itself, as the compiler kept it, without the blanks around it. */
  readonly text: string
}

/** Finds the line of an instruction: position of its function in `object.programs`, and its slot there. Logarithmic. */
export type Find = (program: number, slot: number) => SourceLine | undefined

/** The lines of an object. */
export const of = (object: BpfObject): Find => {
  const { btf, btfExt } = object
  const segment = Info.index(btfExt?.lineInfo, object.byteOrder)
  return (position, slot) => {
    const program = object.programs[position]
    // Instructions that an edit put in the place of the compiler's have no lines.
    if (segment === undefined || btf === undefined || program === undefined || slot >= program.sectionSlots) {
      return undefined
    }
    const block = Info.blockOf(segment, program)
    if (block === undefined) return undefined
    const view = new DataView(block.records.buffer, block.records.byteOffset, block.records.byteLength)
    const littleEndian = segment.byteOrder === "little"
    const place = program.sectionSlot + slot
    const record = Info.lowerBound(view, segment, block.count, place + 1) - 1
    const at = record * segment.recordSize
    if (record < 0 || view.getUint32(at, littleEndian) < program.sectionSlot * 8) return undefined
    const where = view.getUint32(at + 12, littleEndian)
    return {
      file: stringAt(btf, view.getUint32(at + 4, littleEndian)) ?? "",
      line: where >>> 10,
      column: where & 0x3ff,
      text: (stringAt(btf, view.getUint32(at + 8, littleEndian)) ?? "").trim()
    }
  }
}
