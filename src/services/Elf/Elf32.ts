/**
 * The sections of ELF32 files, by name.
 *
 * BPF objects are ELF64, which `Elf.parse` reads whole. Kernels, modules and programs of 32-bit machines are not, and
 * carry BTF too: this is as much of ELF32 as it takes to find a section in them.
 */
import type * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import * as C from "./ElfConstants.ts"
import type { ElfError } from "./ElfError.ts"
import { isElfError, refuse } from "./ElfError.ts"

/** A section of an ELF32 file. */
export interface Section32 {
  readonly name: string
  /** `sh_type`. */
  readonly type: number
  /** `sh_flags`, widened as `ElfSection` has them. */
  readonly flags: bigint
  /** A view of the file; empty for `SHT_NOBITS`. */
  readonly data: Uint8Array
}

/** Bytes of `Elf32_Ehdr`. */
const HEADER_SIZE = 52
/** Bytes of `Elf32_Shdr`. */
const SECTION_HEADER_SIZE = 40

/** Whether the bytes start as an ELF32 file does. */
export const isElf32 = (bytes: Uint8Array): boolean =>
  bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46 &&
  bytes[C.EI_CLASS] === C.ELFCLASS32

/**
 * The first section of each of `names` in an ELF32 file of either byte order, in the order of the file; without those
 * that the file does not have. Checked are the header, the bounds of the section headers and names, and those of the
 * data of the sections that are found. Source: System V gABI, chapter 4.
 */
export const sectionsNamed = (
  bytes: Uint8Array,
  names: ReadonlyArray<string>
): Result.Result<ReadonlyArray<Section32>, ElfError> => attempt(isElfError, () => readSections(bytes, names))

const readSections = (bytes: Uint8Array, names: ReadonlyArray<string>): ReadonlyArray<Section32> => {
  if (!isElf32(bytes) || bytes.length < HEADER_SIZE) {
    return refuse("NotElf", { offset: 0, expected: `the header of a 32-bit file, ${HEADER_SIZE} bytes` })
  }
  const order = bytes[C.EI_DATA]
  if (order !== C.ELFDATA2LSB && order !== C.ELFDATA2MSB) {
    return refuse("ByteOrder", { field: "EI_DATA", value: String(order), expected: "1 or 2", offset: C.EI_DATA })
  }
  const little = order === C.ELFDATA2LSB
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const table = view.getUint32(32, little)
  if (table === 0) return []
  const entrySize = view.getUint16(46, little)
  if (entrySize !== SECTION_HEADER_SIZE) {
    refuse("HeaderSize", {
      field: "e_shentsize",
      value: String(entrySize),
      expected: String(SECTION_HEADER_SIZE),
      offset: 46
    })
  }
  const stored = view.getUint16(48, little)
  checkBounds(bytes, table, Math.max(stored, 1) * SECTION_HEADER_SIZE, "e_shoff", 32)
  // Section 0 has the number of sections and the index of their names where these do not fit the header.
  const count = stored === 0 ? view.getUint32(table + 20, little) : stored
  checkBounds(bytes, table, count * SECTION_HEADER_SIZE, "e_shoff", 32)
  const storedNames = view.getUint16(50, little)
  const namesIndex = storedNames === C.SHN_XINDEX ? view.getUint32(table + 24, little) : storedNames
  if (namesIndex >= count) refuse("Link", { field: "e_shstrndx", value: String(namesIndex), offset: 50 })
  const strings = dataOf(bytes, view, little, table + namesIndex * SECTION_HEADER_SIZE)
  const wanted = new Map(names.map((name) => [name, new TextEncoder().encode(`${name}\0`)]))
  const found: Array<Section32> = []
  for (let index = 1, at = table; index < count && wanted.size > 0; index++) {
    at += SECTION_HEADER_SIZE
    const nameOffset = view.getUint32(at, little)
    if (nameOffset >= strings.length) refuse("Name", { sectionIndex: index, field: "sh_name", offset: at })
    for (const [name, text] of wanted) {
      if (!text.every((byte, place) => strings[nameOffset + place] === byte)) continue
      wanted.delete(name)
      found.push({
        name,
        type: view.getUint32(at + 4, little),
        flags: BigInt(view.getUint32(at + 8, little)),
        data: dataOf(bytes, view, little, at)
      })
      break
    }
  }
  return found
}

const dataOf = (bytes: Uint8Array, view: DataView, little: boolean, header: number): Uint8Array => {
  if (view.getUint32(header + 4, little) === C.SHT_NOBITS) return bytes.subarray(0, 0)
  const offset = view.getUint32(header + 16, little)
  const size = view.getUint32(header + 20, little)
  checkBounds(bytes, offset, size, "sh_offset", header + 16)
  return bytes.subarray(offset, offset + size)
}

const checkBounds = (bytes: Uint8Array, start: number, length: number, field: string, offset: number): void => {
  if (start + length > bytes.length) {
    refuse("OutOfBounds", { field, value: String(start), expected: `room for ${length} bytes in the file`, offset })
  }
}
