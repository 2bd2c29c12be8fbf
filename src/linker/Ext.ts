/**
 * The records of `.BTF.ext` of all inputs: one block for each output section, in the order of the instructions.
 *
 * Source: reference page `linker`, section 8.
 */
import type { BtfExt, InfoSegment } from "../btf/BtfExtModel.ts"
import { CORE_RELOCATION, FUNC_INFO, LINE_INFO, type RecordShape } from "../btf/BtfExtModel.ts"
import { BTF_MAGIC, BTF_VERSION } from "../btf/BtfParse.ts"
import type { StringTable } from "../btf/BtfStrings.ts"
import { within } from "./Input.ts"
import { type Layout, type OutputSection, place } from "./Layout.ts"
import { refuse } from "./LinkError.ts"
import type { StringMap, TypeIds } from "./Types.ts"

/** Bytes of the header. */
const HEADER = 32

/** The longest records: shorter ones are padded to the longest, which must not grow out of proportion. */
const MAX_RECORD = 256

type Segment = "funcInfo" | "lineInfo" | "coreRelocations"

const segments: ReadonlyArray<readonly [Segment, RecordShape]> = [
  ["funcInfo", FUNC_INFO],
  ["lineInfo", LINE_INFO],
  ["coreRelocations", CORE_RELOCATION]
]

/** The blocks of one segment. */
interface Merged {
  readonly recordSize: number
  /** Records that are in order of instructions, by section. */
  readonly blocks: ReadonlyMap<OutputSection, Rows>
}

/** Records of one section: words, `count` records of them. */
interface Rows {
  words: Uint32Array
  count: number
  isSorted: boolean
  last: number
}

/** The section of all inputs, with new ids and string offsets; `undefined` where there are no records. */
export const mergeExt = (
  inputs: ReadonlyArray<TypeIds>,
  maps: ReadonlyArray<StringMap>,
  layout: Layout,
  strings: StringTable,
  littleEndian: boolean
): Uint8Array | undefined => {
  const merged = segments.map(([segment, shape]) => mergeSegment(inputs, maps, layout, segment, shape))
  let size = HEADER
  for (const segment of merged) size += sizeOf(segment)
  if (size === HEADER) return undefined
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, BTF_MAGIC, littleEndian)
  view.setUint8(2, BTF_VERSION)
  view.setUint32(4, HEADER, littleEndian)
  let at = HEADER
  merged.forEach((segment, index) => {
    view.setUint32(8 + index * 8, at - HEADER, littleEndian)
    view.setUint32(12 + index * 8, sizeOf(segment), littleEndian)
    at = writeSegment(view, at, segment, layout, strings, littleEndian)
  })
  return bytes
}

const sizeOf = ({ blocks, recordSize }: Merged): number => {
  if (blocks.size === 0) return 0
  let size = 4
  for (const { count } of blocks.values()) size += 8 + count * recordSize
  return size
}

const mergeSegment = (
  inputs: ReadonlyArray<TypeIds>,
  maps: ReadonlyArray<StringMap>,
  layout: Layout,
  segment: Segment,
  shape: RecordShape
): Merged => {
  // Longer records have further fields, for which zeros stand where a file does not have them.
  let recordSize = 0
  for (const { input } of inputs) recordSize = Math.max(recordSize, input.ext?.[segment]?.recordSize ?? 0)
  const blocks = new Map<OutputSection, Rows>()
  inputs.forEach((types, index) => {
    const { ext } = types.input
    const info = ext?.[segment]
    const mapString = maps[index]
    if (ext === undefined || info === undefined || mapString === undefined) return
    mergeInput(types, ext, info, mapString, layout, shape, recordSize / 4, blocks)
  })
  for (const rows of blocks.values()) if (!rows.isSorted) sort(rows, recordSize / 4)
  return { recordSize, blocks }
}

const mergeInput = (
  { ids, input }: TypeIds,
  ext: BtfExt,
  info: InfoSegment,
  mapString: StringMap,
  layout: Layout,
  shape: RecordShape,
  width: number,
  blocks: Map<OutputSection, Rows>
): void => {
  const littleEndian = ext.byteOrder === "little"
  const { recordSize } = info
  if (recordSize > MAX_RECORD) {
    refuse("Btf", `${shape.what} records of ${recordSize} bytes cannot be merged`, {
      file: input.name,
      section: ".BTF.ext"
    })
  }
  for (const { records, section: name } of info.sections) {
    const section = input.byName.get(name)
    if (section === undefined) {
      return refuse("Btf", `its ${shape.what} records are of section ${name}, which is not there`, {
        file: input.name,
        section: ".BTF.ext"
      })
    }
    const part = layout.parts.get(section)
    if (part === undefined) continue
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
    const rows = blocks.get(part.output) ?? { words: new Uint32Array(64 * width), count: 0, isSorted: true, last: -1 }
    for (let record = 0; record < records.length; record += recordSize) {
      const offset = view.getUint32(record, littleEndian)
      if (offset >= section.size || offset % 8 !== 0) {
        refuse("Btf", `a ${shape.what} record of .BTF.ext is of no instruction of the section`, {
          ...within(input, section),
          offset
        })
      }
      const at = place(part, offset)
      if (at < 0) continue
      const start = rows.count * width
      if (start + width > rows.words.length) {
        const larger = new Uint32Array(rows.words.length * 2)
        larger.set(rows.words)
        rows.words = larger
      }
      rows.words[start] = at
      for (let word = 1; word < recordSize / 4; word++) {
        rows.words[start + word] = view.getUint32(record + word * 4, littleEndian)
      }
      for (const word of shape.types) {
        const old = rows.words[start + word] ?? 0
        const id = ids[old] ?? 0
        if (id === 0 && old !== 0) {
          refuse("Btf", `a ${shape.what} record refers to type ${old}, which is left out`, {
            ...within(input, section),
            offset
          })
        }
        rows.words[start + word] = id
      }
      for (const word of shape.strings) rows.words[start + word] = mapString(rows.words[start + word] ?? 0)
      if (at < rows.last) rows.isSorted = false
      rows.last = at
      rows.count++
    }
    if (rows.count > 0) blocks.set(part.output, rows)
  }
}

/** Brings records into the order of their instructions; those of one keep theirs. */
const sort = (rows: Rows, width: number): void => {
  const order = Uint32Array.from({ length: rows.count }, (_, index) => index)
  order.sort((one, other) => (rows.words[one * width] ?? 0) - (rows.words[other * width] ?? 0))
  const sorted = new Uint32Array(rows.count * width)
  order.forEach((row, index) => sorted.set(rows.words.subarray(row * width, (row + 1) * width), index * width))
  rows.words = sorted
  rows.isSorted = true
}

const writeSegment = (
  view: DataView,
  start: number,
  { blocks, recordSize }: Merged,
  layout: Layout,
  strings: StringTable,
  littleEndian: boolean
): number => {
  let at = start
  if (blocks.size === 0) return at
  view.setUint32(at, recordSize, littleEndian)
  at += 4
  for (const output of layout.sections) {
    const rows = blocks.get(output)
    if (rows === undefined) continue
    view.setUint32(at, strings.addText(output.name), littleEndian)
    view.setUint32(at + 4, rows.count, littleEndian)
    at += 8
    const words = rows.count * (recordSize / 4)
    for (let word = 0; word < words; word++, at += 4) view.setUint32(at, rows.words[word] ?? 0, littleEndian)
  }
  return at
}
