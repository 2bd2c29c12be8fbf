/**
 * Source lines of instructions, from the `line_info` records that go to the kernel along with a program: for errors, traces
 * and coverage.
 */
import * as Result from "effect/Result"
import { textMeter } from "../btf/BtfCheck.ts"
import { type Btf, stringAt } from "../btf/BtfModel.ts"
import { VmError } from "./VmError.ts"

/** A line of a source file. */
export interface SourceLine {
  /** Empty where the record names none. */
  readonly file: string
  /** Counts from 1; 0 stands for none. */
  readonly line: number
  /** Counts from 1; 0 stands for none. */
  readonly column: number
  /** The line itself, as the compiler kept it. */
  readonly text: string
}

/** Which lines the slots of a program come from. */
export interface LineTable {
  readonly btf: Btf
  readonly view: DataView
  readonly recordSize: number
  readonly count: number
}

/** Bytes of the fields of `struct bpf_line_info` that are read. */
const RECORD = 16

/**
 * Reads records as `BPF_PROG_LOAD` takes them: little-endian, `insn_off` in slots and ascending. Keeps a view of the bytes.
 * Fails with `VmError` (`Form`) where they are not of that form. Linear in the number of records.
 */
export const lineTable = (
  info: { readonly recordSize: number; readonly records: Uint8Array },
  btf: Btf
): Result.Result<LineTable, VmError> => {
  const { records, recordSize } = info
  if (!Number.isInteger(recordSize) || recordSize < RECORD || records.length % recordSize !== 0) {
    return Result.fail(
      new VmError({ reason: "Form", value: `${records.length} bytes of line records of ${recordSize} bytes each` })
    )
  }
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
  const count = records.length / recordSize
  const table: LineTable = { btf, view, recordSize, count }
  for (let index = 1; index < count; index++) {
    if (slotAt(table, index) <= slotAt(table, index - 1)) {
      return Result.fail(new VmError({ reason: "Form", value: `line record ${index} is not behind the one before it` }))
    }
  }
  const meter = btf.internal.longStrings ? textMeter(btf, records.length) : undefined
  for (let at = 0; meter !== undefined && at < records.length; at += recordSize) {
    if (!meter(view.getUint32(at + 4, true)) || !meter(view.getUint32(at + 8, true))) {
      return Result.fail(new VmError({ reason: "Form", value: "the line records share long strings too often" }))
    }
  }
  return Result.succeed(table)
}

const slotAt = (table: LineTable, index: number): number => table.view.getUint32(index * table.recordSize, true)

const recordAt = (table: LineTable, index: number): SourceLine => {
  const at = index * table.recordSize
  const column = table.view.getUint32(at + 12, true)
  return {
    file: stringAt(table.btf, table.view.getUint32(at + 4, true)) ?? "",
    text: (stringAt(table.btf, table.view.getUint32(at + 8, true)) ?? "").trim(),
    line: column >>> 10,
    column: column & 0x3ff
  }
}

/** The line that the instruction at `slot` comes from: that of the last record at or before it. Logarithmic. */
export const sourceLine = (table: LineTable, slot: number): SourceLine | undefined => {
  let from = 0
  let to = table.count
  while (from < to) {
    const middle = (from + to) >> 1
    if (slotAt(table, middle) <= slot) from = middle + 1
    else to = middle
  }
  return from === 0 ? undefined : recordAt(table, from - 1)
}

/** A line as messages show it, `count.bpf.c:12`; for `lineAt` of decoding: `(slot) => showLine(sourceLine(table, slot))`. */
export const showLine = (line: SourceLine | undefined): string | undefined =>
  line === undefined ? undefined : `${line.file === "" ? "line" : line.file}:${line.line}`

/** How often a line was executed. */
export interface LineCount extends SourceLine {
  /** The largest count of any of its instructions; 0 for a line that has code and was not reached. */
  readonly count: number
}

/**
 * Coverage by line, from counts by slot (`coverage` of a machine's options): every line that has code, in the order of files
 * and lines; `column` is that of its first instruction.
 */
export const lineCounts = (table: LineTable, counts: Uint32Array): ReadonlyArray<LineCount> => {
  const lines = new Map<string, LineCount>()
  for (let index = 0; index < table.count; index++) {
    const line = recordAt(table, index)
    const end = Math.min(counts.length, index + 1 < table.count ? slotAt(table, index + 1) : counts.length)
    let most = 0
    for (let slot = slotAt(table, index); slot < end; slot++) most = Math.max(most, counts[slot] ?? 0)
    const key = `${line.file}\0${line.line}`
    const known = lines.get(key)
    lines.set(key, known === undefined ? { ...line, count: most } : { ...known, count: Math.max(known.count, most) })
  }
  return [...lines.values()].sort((a, b) => a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1)
}
