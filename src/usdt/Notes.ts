/**
 * The notes of probes in a program or library: section `.note.stapsdt`, as `<sys/sdt.h>` writes it.
 *
 * A note says where the probe is (an address), where its semaphore is, who provides it, its name, and where its arguments are.
 * Addresses were right when the file was linked; the section `.stapsdt.base` tells by how much they have moved since (prelink).
 *
 * Source: reference page `usdt`, sections 4 and 5. Differences from libbpf: notes of other owners are passed over instead of
 * making the file useless, semaphores have moved as far as probes have, and the arguments' text must end.
 */
import * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import * as ElfBinary from "../services/Elf/ElfBinary.ts"
import * as C from "../services/Elf/ElfConstants.ts"
import { isUsdtError, refuse, type UsdtError } from "./UsdtError.ts"

/** What of a file tells of its probes. */
export interface NoteSection {
  readonly is64: boolean
  readonly littleEndian: boolean
  /** The section's bytes. */
  readonly bytes: Uint8Array
  /** Where in the file they are. */
  readonly offset: number
  /** The address of `.stapsdt.base`, if there is one. */
  readonly base: bigint | undefined
}

/** A probe: one place in the code that has been marked. Several may have the same name. */
export interface Probe {
  readonly provider: string
  readonly name: string
  /** The address of the instruction, moved as the file has. */
  readonly address: bigint
  /** The address of the counter that is above 0 while somebody listens; `undefined` where the probe needs none. */
  readonly semaphore: bigint | undefined
  /** The text that says where arguments are: see `Argument.parse`. */
  readonly arguments: string
  /** Where in the file the note is. */
  readonly noteOffset: number
}

/** Where in the file a probe is, as the kernel wants it. */
export interface Place {
  readonly fileOffset: bigint
  /** 0 where there is none. */
  readonly semaphoreOffset: bigint
}

const NOTE_TYPE = 3
const HEADER_BYTES = 12
const owner = new TextEncoder().encode("stapsdt\0")
const text = new TextDecoder()

const padded = (size: number): number => Math.ceil(size / 4) * 4

const isOurs = (bytes: Uint8Array, at: number, size: number): boolean =>
  (size === owner.length || size === owner.length - 1) &&
  owner.every((byte, index) => index >= size || bytes[at + index] === byte)

/** The text up to the next NUL before `end`, and what follows it. */
const textAt = (bytes: Uint8Array, start: number, end: number, what: string, offset: number) => {
  const nul = bytes.indexOf(0, start)
  if (nul < 0 || nul >= end) return refuse("Note", `its ${what} not end`, { offset })
  return { text: text.decode(bytes.subarray(start, nul)), next: nul + 1 }
}

const readNote = (section: NoteSection, view: DataView, start: number, size: number, offset: number): Probe => {
  const { base, bytes, is64, littleEndian } = section
  const word = is64 ? 8 : 4
  if (size < 3 * word + 3) {
    refuse("Note", `${size} bytes of description, at least ${3 * word + 3} are needed`, { offset })
  }
  const wordAt = (index: number): bigint =>
    is64
      ? view.getBigUint64(start + index * word, littleEndian)
      : BigInt(view.getUint32(start + index * word, littleEndian))
  const end = start + size
  const provider = textAt(bytes, start + 3 * word, end, "provider does", offset)
  const name = textAt(bytes, provider.next, end, "name does", offset)
  if (name.text === "") refuse("Note", "its name is empty", { offset })
  const parts = textAt(bytes, name.next, end, "arguments do", offset)
  const linkedBase = wordAt(1)
  const moved = base === undefined || base === 0n || linkedBase === 0n ? 0n : base - linkedBase
  const semaphore = wordAt(2)
  const bits = is64 ? 64 : 32
  return {
    provider: provider.text,
    name: name.text,
    address: BigInt.asUintN(bits, wordAt(0) + moved),
    semaphore: semaphore === 0n ? undefined : BigInt.asUintN(bits, semaphore + moved),
    arguments: parts.text,
    noteOffset: offset
  }
}

/** The probes that the notes tell of, in the order of the file. */
export const read = (section: NoteSection): Result.Result<ReadonlyArray<Probe>, UsdtError> =>
  attempt(isUsdtError, () => {
    const { bytes, littleEndian } = section
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const probes: Array<Probe> = []
    for (let at = 0; at < bytes.length;) {
      const offset = section.offset + at
      if (bytes.length - at < HEADER_BYTES) {
        // What the linker fills a section up with.
        if (bytes.subarray(at).every((byte) => byte === 0)) break
        refuse("Note", `${bytes.length - at} bytes are left, and a note has at least ${HEADER_BYTES}`, { offset })
      }
      const nameSize = view.getUint32(at, littleEndian)
      const size = view.getUint32(at + 4, littleEndian)
      const type = view.getUint32(at + 8, littleEndian)
      const start = at + HEADER_BYTES + padded(nameSize)
      if (start + size > bytes.length) {
        refuse("Note", `its ${nameSize} + ${size} bytes reach beyond the section`, { offset })
      }
      if (type === NOTE_TYPE && isOurs(bytes, at + HEADER_BYTES, nameSize)) {
        probes.push(readNote(section, view, start, size, offset))
      }
      at = start + padded(size)
    }
    return probes
  })

/** The largest section of notes that is read, in bytes: some hundred thousand probes. */
const SECTION_LIMIT = 2 ** 26

/** What can be wrong with a file and its notes. */
export type NotesError = UsdtError | ElfBinary.BinaryError

const isNotesError = (thrown: unknown): thrown is NotesError => isUsdtError(thrown) || ElfBinary.isBinaryError(thrown)

const need = <A>(result: Result.Result<A, NotesError>): A => {
  if (Result.isFailure(result)) throw result.failure
  return result.success
}

/**
 * The probes of a program or a shared library, in the order of its notes. Refused are files that are not linked, and those
 * without a section of notes.
 */
export const ofBinary = (binary: ElfBinary.ElfBinary): Result.Result<ReadonlyArray<Probe>, NotesError> =>
  attempt(isNotesError, () => {
    if (binary.type !== C.ET_EXEC && binary.type !== C.ET_DYN) {
      const hint = "link it: the addresses of its probes are not known yet"
      refuse("Elf", "it is neither a program nor a shared library", binary.type === C.ET_REL ? { hint } : {})
    }
    const section = need(ElfBinary.sectionNamed(binary, ".note.stapsdt"))
    if (section === undefined) {
      return refuse("NoNotes", "it has no section .note.stapsdt", {
        hint: binary.sections.length === 0
          ? "its section headers were removed, and with them the way to its notes"
          : "nobody has put probes into it, or they were stripped"
      })
    }
    if (section.type !== C.SHT_NOTE) {
      refuse("NoNotes", `its section .note.stapsdt is of type ${section.type}, and notes are of type ${C.SHT_NOTE}`)
    }
    if (section.size > SECTION_LIMIT) {
      refuse("Note", `${section.size} bytes of notes, the limit is ${SECTION_LIMIT}`, {
        offset: Number(section.offset)
      })
    }
    const base = need(ElfBinary.sectionNamed(binary, ".stapsdt.base"))
    return need(read({
      is64: binary.bits === 64,
      littleEndian: binary.byteOrder === "little",
      bytes: need(ElfBinary.sectionBytes(binary, section)),
      offset: Number(section.offset),
      base: base?.address
    }))
  })

const hexadecimal = (value: bigint): string => `0x${value.toString(16)}`

/** The name of a probe for people and errors: `provider:name`. */
export const fullName = (probe: Pick<Probe, "provider" | "name">): string => `${probe.provider}:${probe.name}`

/**
 * Where in its file a probe is. It must be in a segment that is executable, its semaphore in one that is not, for the kernel
 * counts in it.
 */
export const place = (binary: ElfBinary.ElfBinary, probe: Probe): Result.Result<Place, UsdtError> =>
  attempt(isUsdtError, () => {
    const about = { probe: fullName(probe), offset: probe.noteOffset }
    const offsetOf = (what: string, address: bigint, executable: boolean): bigint => {
      const segment = ElfBinary.segmentOf(binary, address) ??
        refuse("Address", `its ${what} ${hexadecimal(address)} is in no segment of the file`, about)
      if (((segment.flags & C.PF_X) !== 0) !== executable) {
        const where = executable ? "without code" : "of code"
        refuse("Address", `its ${what} ${hexadecimal(address)} is in a segment ${where}`, about)
      }
      return ElfBinary.fileOffsetOf(binary, address) ??
        refuse("Address", `its ${what} ${hexadecimal(address)} is in memory, but not in the file`, about)
    }
    return {
      fileOffset: offsetOf("address", probe.address, true),
      semaphoreOffset: probe.semaphore === undefined ? 0n : offsetOf("semaphore", probe.semaphore, false)
    }
  })

/**
 * Whether the six bytes at a probe are a `nop` and a `nop` of five bytes. Newer producers write both: a kernel that enters uprobes
 * by system calls can make the second one into a call, so a probe is then put there, one byte further.
 */
export const isNopPair = (bytes: Uint8Array): boolean =>
  bytes.length >= 6 && nopPair.every((byte, index) => bytes[index] === byte)

const nopPair = [0x90, 0x0f, 0x1f, 0x44, 0x00, 0x00]
