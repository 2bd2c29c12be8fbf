/** Notes of probes as bytes, well-formed and not. */
import type { NoteSection } from "../../src/usdt/Notes.ts"

/** One note as it is to be written. */
export interface WrittenNote {
  readonly address: bigint
  readonly base?: bigint
  readonly semaphore?: bigint
  readonly provider?: string
  readonly name?: string
  readonly arguments?: string
  /** `stapsdt` unless given. */
  readonly owner?: string
  /** 3 unless given. */
  readonly type?: number
}

/** How the numbers of a file are written. */
export interface Form {
  readonly is64: boolean
  readonly littleEndian: boolean
}

/** Both classes in both byte orders. */
export const forms: ReadonlyArray<Form> = [true, false].flatMap((is64) =>
  [true, false].map((littleEndian) => ({ is64, littleEndian }))
)

const padded = (size: number): number => Math.ceil(size / 4) * 4

/** The bytes of a note. */
export const noteBytes = (form: Form, note: WrittenNote): Uint8Array => {
  const encoder = new TextEncoder()
  const owner = encoder.encode(`${note.owner ?? "stapsdt"}\0`)
  const { arguments: parts = "", name = "name", provider = "provider" } = note
  const strings = encoder.encode(`${provider}\0${name}\0${parts}\0`)
  const word = form.is64 ? 8 : 4
  const size = 3 * word + strings.length
  const bytes = new Uint8Array(12 + padded(owner.length) + padded(size))
  const view = new DataView(bytes.buffer)
  view.setUint32(0, owner.length, form.littleEndian)
  view.setUint32(4, size, form.littleEndian)
  view.setUint32(8, note.type ?? 3, form.littleEndian)
  bytes.set(owner, 12)
  const start = 12 + padded(owner.length)
  for (const [index, value] of [note.address, note.base ?? 0n, note.semaphore ?? 0n].entries()) {
    if (form.is64) view.setBigUint64(start + index * word, value, form.littleEndian)
    else view.setUint32(start + index * word, Number(value), form.littleEndian)
  }
  bytes.set(strings, start + 3 * word)
  return bytes
}

/** A section of notes, at offset 0x400 of its file. */
export const noteSection = (form: Form, notes: ReadonlyArray<WrittenNote>, base?: bigint): NoteSection => {
  const parts = notes.map((note) => noteBytes(form, note))
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return { ...form, bytes, offset: 0x400, base }
}
