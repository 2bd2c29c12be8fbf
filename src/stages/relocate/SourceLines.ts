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
  /** Counts bytes of the line with its blanks, from 1; 0 stands for none. */
  readonly column: number
  /** The line itself, as the compiler kept it, without the blanks around it. */
  readonly text: string
  /** How many bytes of blanks were in front of `text`. */
  readonly indent: number
}

/**
 * Finds the line of an instruction: position of its function in `object.programs`, and its slot there.
 *
 * Compilers count a number that an instruction loads to the line before the one that wants it. So of this line and the next
 * few the first is the answer that has all of `words`, or else the first of them, or else simply this line.
 */
export type Find = (program: number, slot: number, words?: ReadonlyArray<string>) => SourceLine | undefined

/** How many instructions behind a number the one that wants it is looked for. */
const maximumDistance = 24

/** How much of a line is searched for a word. */
const maximumText = 1024

const hasWord = (text: string, word: string): boolean => {
  const searched = text.slice(0, maximumText)
  for (let at = searched.indexOf(word); at >= 0; at = searched.indexOf(word, at + 1)) {
    if (!/\w/.test(searched[at - 1] ?? " ") && !/\w/.test(searched[at + word.length] ?? " ")) return true
  }
  return false
}

const encoder = new TextEncoder()

/** The lines of an object. Each record is read once: many instructions may share a long line. */
export const of = (object: BpfObject): Find => {
  const { btf, btfExt } = object
  const segment = Info.index(btfExt?.lineInfo, object.byteOrder)
  if (segment === undefined || btf === undefined) return () => undefined
  const littleEndian = segment.byteOrder === "little"
  const known = new Map<Info.Block, Map<number, SourceLine>>()
  const lineAt = (block: Info.Block, view: DataView, record: number): SourceLine => {
    let lines = known.get(block)
    if (lines === undefined) known.set(block, lines = new Map<number, SourceLine>())
    const before = lines.get(record)
    if (before !== undefined) return before
    const at = record * segment.recordSize
    const where = view.getUint32(at + 12, littleEndian)
    const text = stringAt(btf, view.getUint32(at + 8, littleEndian)) ?? ""
    const line = {
      file: stringAt(btf, view.getUint32(at + 4, littleEndian)) ?? "",
      line: where >>> 10,
      column: where & 0x3ff,
      text: text.trim(),
      indent: encoder.encode(text.slice(0, text.length - text.trimStart().length)).length
    }
    lines.set(record, line)
    return line
  }
  return (position, slot, words = []) => {
    const program = object.programs[position]
    // Instructions that an edit put in the place of the compiler's have no lines.
    const block = program === undefined || slot >= program.sectionSlots ? undefined : Info.blockOf(segment, program)
    if (program === undefined || block === undefined) return undefined
    const view = new DataView(block.records.buffer, block.records.byteOffset, block.records.byteLength)
    const slotOf = (record: number): number => view.getUint32(record * segment.recordSize, littleEndian) / 8
    const place = program.sectionSlot + slot
    const record = Info.lowerBound(view, segment, block.count, place + 1) - 1
    if (record < 0 || slotOf(record) < program.sectionSlot) return undefined
    const here = lineAt(block, view, record)
    if (words.length === 0) return here
    const end = Math.min(place + maximumDistance, program.sectionSlot + program.sectionSlots)
    let second: SourceLine | undefined
    for (let next = record; next < block.count && (next === record || slotOf(next) < end); next++) {
      const line = lineAt(block, view, next)
      if (!hasWord(line.text, words[0] ?? "")) continue
      if (words.every((word) => hasWord(line.text, word))) return line
      second ??= line
    }
    return second ?? here
  }
}
