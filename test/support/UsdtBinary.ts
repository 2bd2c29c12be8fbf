/** A program with notes of probes: code at 0x1000, data at 0x3000 that is at 0x2000 of the file, and sections. */
import { type Form, noteSection, type WrittenNote } from "./UsdtNotes.ts"

/** What else of the program may differ. */
export interface BinaryOptions {
  readonly form?: Form
  /** `e_type`: `ET_DYN` unless given. */
  readonly type?: number
  /** `e_machine`: x86-64 or i386 unless given. */
  readonly machine?: number
  /** The address of `.stapsdt.base`; none unless given. */
  readonly base?: bigint
  /** What stands at the beginning of the code. */
  readonly code?: Uint8Array
}

const x86: Form = { is64: true, littleEndian: true }

/** The bytes of a program with these notes; without a section of notes where there are none. */
export const binaryWith = (notes: ReadonlyArray<WrittenNote> | undefined, options: BinaryOptions = {}): Uint8Array => {
  const { base, code = new Uint8Array(0), form = x86, type = 3 } = options
  const { is64, littleEndian } = form
  const machine = options.machine ?? (is64 ? 62 : 3)
  const noteBytes = notes === undefined ? new Uint8Array(0) : noteSection(form, notes).bytes
  const names = new TextEncoder().encode("\0.shstrtab\0.note.stapsdt\0.stapsdt.base\0")
  const notesAt = 0x2100
  const namesAt = notesAt + noteBytes.length
  const headersAt = Math.ceil((namesAt + names.length) / 8) * 8
  const sections: ReadonlyArray<readonly [name: number, type: number, address: bigint, offset: number, size: number]> =
    [
      [0, 0, 0n, 0, 0],
      [1, 3, 0n, namesAt, names.length],
      ...(notes === undefined ? [] : [[11, 7, 0n, notesAt, noteBytes.length] as const]),
      ...(base === undefined ? [] : [[25, 1, base, 0x1100, 1] as const])
    ]
  const sectionSize = is64 ? 64 : 40
  const bytes = new Uint8Array(headersAt + sections.length * sectionSize)
  const view = new DataView(bytes.buffer)
  const u16 = (at: number, value: number): void => view.setUint16(at, value, littleEndian)
  const u32 = (at: number, value: number): void => view.setUint32(at, value, littleEndian)
  /** A word of the class's size. */
  const word = (at: number, value: bigint | number): void =>
    is64 ? view.setBigUint64(at, BigInt(value), littleEndian) : view.setUint32(at, Number(value), littleEndian)
  bytes.set([0x7f, 0x45, 0x4c, 0x46, is64 ? 2 : 1, littleEndian ? 1 : 2, 1])
  u16(16, type)
  u16(18, machine)
  u32(20, 1)
  const header = is64 ? 64 : 52
  word(is64 ? 32 : 28, header)
  word(is64 ? 40 : 32, headersAt)
  const sizes = is64 ? 52 : 40
  for (const [index, value] of [header, is64 ? 56 : 32, 2, sectionSize, sections.length, 1].entries()) {
    u16(sizes + index * 2, value)
  }
  const segments = [[5, 0x1000, 0x1000, 0x1000], [6, 0x2000, 0x3000, 0x100]] as const
  for (const [index, [flags, offset, address, size]] of segments.entries()) {
    const at = header + index * (is64 ? 56 : 32)
    u32(at, 1)
    u32(at + (is64 ? 4 : 24), flags)
    const places = is64 ? [8, 16, 32, 40] : [4, 8, 16, 20]
    for (const [place, value] of [offset, address, size, size].entries()) word(at + (places[place] ?? 0), value)
  }
  bytes.set(code, 0x1000)
  bytes.set(noteBytes, notesAt)
  bytes.set(names, namesAt)
  for (const [index, [name, kind, address, offset, size]] of sections.entries()) {
    const at = headersAt + index * sectionSize
    u32(at, name)
    u32(at + 4, kind)
    word(at + (is64 ? 16 : 12), address)
    word(at + (is64 ? 24 : 16), offset)
    word(at + (is64 ? 32 : 20), size)
  }
  return bytes
}
