/**
 * What `.BTF.ext` says about instructions, for a program that was laid out: functions, lines, CO-RE records.
 *
 * The records of a section name instructions by their offset in the section; in a program they name them by their place
 * in it. Records may be longer than this library knows; their tails go along.
 */
import type { InfoSegment } from "../../btf/BtfExt.ts"
import type { ByteOrder } from "../../services/Elf/Elf.ts"
import type { InfoRecords } from "../../services/Kernel/KernelCall.ts"
import type { BpfObject, Program } from "../open/BpfObject.ts"
import type { Placement } from "./RelocatedObject.ts"
import { RelocateError } from "./RelocateError.ts"

/** How records count instructions once they leave the object: function and line info in slots, CO-RE records in bytes. */
export type Unit = "slots" | "bytes"

/** The records of one ELF section. */
export interface Block {
  readonly records: Uint8Array
  readonly count: number
}

/** Records of one kind, ready to be picked by function. */
export interface Segment {
  readonly recordSize: number
  readonly byteOrder: ByteOrder
  readonly blocks: ReadonlyMap<string, Block>
}

/** Indexes a segment by section. The first block of a section counts, as in libbpf. */
export const index = (segment: InfoSegment | undefined, byteOrder: ByteOrder): Segment | undefined => {
  if (segment === undefined) return undefined
  const blocks = new Map<string, Block>()
  for (const { count, records, section } of segment.sections) {
    if (!blocks.has(section)) blocks.set(section, { records, count })
  }
  return { recordSize: segment.recordSize, byteOrder, blocks }
}

/** The records of the section that a function is in. */
export const blockOf = (segment: Segment, { optional, section }: Program): Block | undefined =>
  segment.blocks.get(optional ? `?${section}` : section)

/** The first record whose instruction is at or behind `slot`; records are in the order of their instructions. */
export const lowerBound = (view: DataView, segment: Segment, count: number, slot: number): number => {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >> 1
    if (view.getUint32(middle * segment.recordSize, segment.byteOrder === "little") < slot * 8) low = middle + 1
    else high = middle
  }
  return low
}

/** What was picked for a program: the records, and the functions that have none. */
export interface Picked {
  readonly records: InfoRecords | undefined
  /** Positions in `object.programs`. */
  readonly without: ReadonlyArray<number>
}

/** Bytes of records of one kind that a program may have: each of a million instructions with a generous record. */
const maxRecordBytes = 0x400_0000

/** Picks the records of every function of a layout, with their instructions renumbered. Throws `RelocateError`. */
export const pick = (
  object: BpfObject,
  segment: Segment | undefined,
  layout: ReadonlyArray<Placement>,
  unit: Unit
): Picked => {
  if (segment === undefined) return { records: undefined, without: layout.map((placement) => placement.program) }
  const littleEndian = segment.byteOrder === "little"
  const size = segment.recordSize
  const ranges: Array<{ readonly block: Block; readonly start: number; readonly end: number; readonly by: number }> = []
  const without: Array<number> = []
  let total = 0
  for (const placement of layout) {
    const program = object.programs[placement.program]
    const block = program === undefined ? undefined : blockOf(segment, program)
    if (program === undefined || block === undefined) {
      without.push(placement.program)
      continue
    }
    const view = new DataView(block.records.buffer, block.records.byteOffset, block.records.byteLength)
    const start = lowerBound(view, segment, block.count, program.sectionSlot)
    // Only what the object's compiler wrote about: instructions added by an edit have no records.
    const end = lowerBound(
      view,
      segment,
      block.count,
      program.sectionSlot + Math.min(program.sectionSlots, placement.slots)
    )
    if (start === end) without.push(placement.program)
    else ranges.push({ block, start, end, by: placement.slot - program.sectionSlot })
    total += end - start
  }
  if (total === 0) return { records: undefined, without }
  // Shared functions bring their records into every program; what a file may say once, memory would hold many times.
  if (total * size > maxRecordBytes) {
    throw new RelocateError({
      reason: "TooLarge",
      name: object.programs[layout[0]?.program ?? 0]?.name ?? "",
      detail: `its ${total} records of ${size} bytes in .BTF.ext are more than a program can have`
    })
  }
  const records = new Uint8Array(total * size)
  const view = new DataView(records.buffer)
  let at = 0
  for (const { block, by, end, start } of ranges) {
    records.set(block.records.subarray(start * size, end * size), at)
    for (const last = at + (end - start) * size; at < last; at += size) {
      const slot = view.getUint32(at, littleEndian) / 8 + by
      view.setUint32(at, unit === "slots" ? slot : slot * 8, littleEndian)
    }
  }
  return { records: { recordSize: size, records }, without }
}
