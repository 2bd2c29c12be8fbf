/**
 * Where the contents of all inputs go: sections of one name one after another, in the order of the files.
 *
 * Source: reference page `linker`, sections 2 and 4.
 */
import * as Elf from "../services/Elf/Elf.ts"
import { type Input, type InputSection, within } from "./Input.ts"
import { refuse } from "./LinkError.ts"

/** Bytes from `start` up to `end`. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** A range of an input section, and where it begins in the output section. */
export interface Piece extends Range {
  readonly at: number
}

/** What an input section gives to an output section: pieces in order, between which bytes were left out. */
export interface Part {
  readonly section: InputSection
  readonly output: OutputSection
  /** At least one, which may be empty. */
  readonly pieces: ReadonlyArray<Piece>
}

/** A section of the output. */
export interface OutputSection {
  readonly name: string
  readonly isRelocations: boolean
  /** An ephemeral one becomes real when a file has the section. */
  type: number
  flags: bigint
  entrySize: number
  isCode: boolean
  alignment: number
  size: number
  /** Index in the output file, 0 for an ephemeral one. */
  index: number
  /** Whether some file's types describe it. */
  hasTypes: boolean
  readonly parts: Array<Part>
}

/** The sections of the output. */
export interface Layout {
  /** In the order in which the files mention them. */
  readonly sections: ReadonlyArray<OutputSection>
  readonly parts: ReadonlyMap<InputSection, Part>
}

/** What of an input section is not to be kept, sorted. */
export type Holes = ReadonlyMap<InputSection, ReadonlyArray<Range>>

/** Index of the first section that is made of inputs: after the empty one, the strings and the symbols. */
const FIRST_INDEX = 3

const MAX_SIZE = 0xffff_ffff

/** Places all sections. Throws `LinkError`. */
export const layOut = (inputs: ReadonlyArray<Input>, holes: Holes): Layout => {
  const byName = new Map<string, OutputSection>()
  const sections: Array<OutputSection> = []
  const parts = new Map<InputSection, Part>()
  const stride = recordSizes(inputs)
  let nextIndex = FIRST_INDEX
  const outputOf = (section: InputSection): OutputSection => {
    const isRelocations = section.use === "Relocations"
    // A section of data may be called like one of relocations.
    const key = `${isRelocations ? "r" : "d"}${section.name}`
    const existing = byName.get(key)
    if (existing === undefined) {
      const made: OutputSection = {
        name: section.name,
        isRelocations,
        type: section.type,
        flags: section.flags,
        entrySize: section.entrySize,
        isCode: section.isCode,
        alignment: 1,
        size: 0,
        index: section.use === "Ephemeral" ? 0 : nextIndex++,
        hasTypes: false,
        parts: []
      }
      byName.set(key, made)
      sections.push(made)
      return made
    }
    if (section.use === "Ephemeral") return existing
    if (existing.index === 0) {
      existing.index = nextIndex++
      existing.type = section.type
      existing.flags = section.flags
      existing.entrySize = section.entrySize
      existing.isCode = section.isCode
    } else checkMatch(existing, section)
    return existing
  }
  const append = (section: InputSection): void => {
    const output = outputOf(section)
    const pieces = piecesOf(section, output, holes.get(section) ?? [], stride.get(section))
    const last = pieces[pieces.length - 1]
    if (section.use !== "Ephemeral") {
      output.alignment = Math.max(output.alignment, section.alignment)
      if (last !== undefined) output.size = last.at + (last.end - last.start) + (stride.get(section)?.padding ?? 0)
    }
    if (output.size > MAX_SIZE) {
      refuse("TooLarge", `all its contents are ${output.size} bytes`, within(section.input, section))
    }
    output.hasTypes ||= section.datasec !== 0
    const part: Part = { section, output, pieces }
    output.parts.push(part)
    parts.set(section, part)
  }
  for (const input of inputs) {
    for (const section of input.sections) {
      if (section.use === "Data" || section.use === "Ephemeral") append(section)
    }
    for (const { section, target } of input.relocations) {
      if (target.use === "Data") append(section)
    }
  }
  return { sections, parts }
}

const checkMatch = (output: OutputSection, section: InputSection): void => {
  const first = output.parts.find(({ section }) => section.use !== "Ephemeral")?.section.input.name ?? ""
  const differs = output.type !== section.type
    ? `types ${output.type} and ${section.type}`
    : output.entrySize !== section.entrySize
    ? `entries of ${output.entrySize} and ${section.entrySize} bytes`
    : output.flags !== section.flags && !output.isRelocations
    ? `flags 0x${output.flags.toString(16)} and 0x${section.flags.toString(16)}`
    : undefined
  if (differs === undefined) return
  refuse("SectionMismatch", `the section cannot be joined with that of ${first}: ${differs}`, {
    ...within(section.input, section),
    hint: "give one of them another name, or compile both alike"
  })
}

const alignUp = (offset: number, alignment: number): number => Math.ceil(offset / alignment) * alignment

/** Records of one size in a section of legacy maps, and what each is to be padded with. */
interface Stride {
  readonly record: number
  readonly padding: number
}

const piecesOf = (
  section: InputSection,
  output: OutputSection,
  holes: ReadonlyArray<Range>,
  stride: Stride | undefined
): ReadonlyArray<Piece> => {
  const { alignment, size } = section
  if (section.use === "Ephemeral") return [{ start: 0, end: 0, at: 0 }]
  if (stride !== undefined) {
    const pieces: Array<Piece> = []
    for (let start = 0; start < size; start += stride.record) {
      const at = output.size + (start / stride.record) * (stride.record + stride.padding)
      pieces.push({ start, end: start + stride.record, at })
    }
    return pieces
  }
  const base = alignUp(output.size, alignment)
  if (holes.length === 0) return [{ start: 0, end: size, at: base }]
  const pieces: Array<Piece> = []
  let end = base
  let start = 0
  for (const hole of [...holes, { start: size, end: size }]) {
    if (hole.start > start || pieces.length === 0) {
      // What follows a hole keeps its alignment.
      const at = pieces.length === 0 ? base : end + (((start - end) % alignment) + alignment) % alignment
      pieces.push({ start, end: hole.start, at })
      end = at + (hole.start - start)
    }
    start = hole.end
  }
  return pieces
}

/** Where byte `offset` of an input section is in the output section; -1 where it was left out. */
export const place = ({ pieces, section }: Part, offset: number): number => {
  let low = 0
  let high = pieces.length - 1
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if ((pieces[middle]?.start ?? 0) <= offset) low = middle
    else high = middle - 1
  }
  const piece = pieces[low]
  if (piece === undefined || offset < piece.start) return -1
  // The end of a section is a place, too: of symbols without size, and of those that mark an end.
  const isIn = offset < piece.end || (offset === piece.end && offset === section.size)
  return isIn ? piece.at + (offset - piece.start) : -1
}

const isLegacyMaps = (name: string): boolean => name === "maps" || name.startsWith("maps/")

/**
 * Definitions of maps from before BTF are records of one size, which each loader chose for itself. Where files differ
 * the shorter records are padded with zeros, which mean the same.
 */
const recordSizes = (inputs: ReadonlyArray<Input>): ReadonlyMap<InputSection, Stride> => {
  const records = new Map<InputSection, number>()
  const largest = new Map<string, number>()
  for (const input of inputs) {
    for (const section of input.sections) {
      if (section.use !== "Data" || !isLegacyMaps(section.name) || section.type !== Elf.SHT_PROGBITS) continue
      const record = section.size / Math.max(1, countDefinitions(section))
      if (!Number.isInteger(record) || record === 0) continue
      records.set(section, record)
      largest.set(section.name, Math.max(largest.get(section.name) ?? 0, record))
    }
  }
  const strides = new Map<InputSection, Stride>()
  for (const [section, record] of records) {
    strides.set(section, { record, padding: (largest.get(section.name) ?? record) - record })
  }
  return strides
}

const countDefinitions = ({ index, input: { symbols } }: InputSection): number => {
  let count = 0
  for (let symbol = 1; symbol < symbols.count; symbol++) {
    if (Elf.symbolSection(symbols, symbol) !== index) continue
    const type = Elf.symbolType(symbols, symbol)
    if ((type === Elf.STT_OBJECT || type === Elf.STT_NOTYPE) && Elf.symbolName(symbols, symbol) !== "") count++
  }
  return count
}

/** The bytes of an output section of program data: zeros, or in code instructions that do nothing, between the pieces. */
export const contentsOf = (output: OutputSection): Uint8Array => {
  const bytes = new Uint8Array(output.size)
  if (output.isCode) {
    // `goto +0`, in both byte orders.
    for (let at = 0; at < bytes.length; at += 8) bytes[at] = 0x05
  }
  for (const { pieces, section } of output.parts) {
    for (const { at, end, start } of pieces) bytes.set(section.data.subarray(start, end), at)
  }
  return bytes
}
