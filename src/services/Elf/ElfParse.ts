/**
 * Bytes → `ElfFile`. Checks what the format itself demands and nothing that only one kind of file must obey; every
 * offset, count and index is checked before use, and nothing is copied.
 */
import type * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import * as C from "./ElfConstants.ts"
import type { ElfError } from "./ElfError.ts"
import { isElfError, refuse } from "./ElfError.ts"
import type { ElfFile, ElfHeader, ElfSection } from "./ElfModel.ts"
import { ElfLimits } from "./ElfModel.ts"
import { hasLongString, readString } from "./ElfStrings.ts"
import { decodeSymbolTable, whereIsSection } from "./ElfSymbols.ts"

/** Bytes of `Elf64_Ehdr`. */
export const headerSize = 64
/** Bytes of `Elf64_Phdr`. */
export const programHeaderSize = 56
/** Bytes of `Elf64_Shdr`. */
export const sectionHeaderSize = 64

/**
 * Parses an ELF64 file of either byte order, of any type and machine, without copying: the model's byte arrays are
 * views of `bytes`, which must not change afterwards.
 *
 * Checked are the identification, the sizes of header entries, the bounds of both header tables and of every section's
 * data, that sections do not together exceed the file, extended numbering (`e_shnum` 0, `PN_XNUM`, `SHN_XINDEX`), that
 * section 0 is inactive, that every `sh_link` and every `sh_info` that is a section index exist, that every
 * `SHT_STRTAB` ends with a NUL byte, and all entries of the first `SHT_SYMTAB` (see `symbolTable`). What only BPF
 * objects must obey (type, machine, one symbol table) is left to the caller. Source: System V gABI, chapters 4 and 5.
 */
export const parse = (bytes: Uint8Array): Result.Result<ElfFile, ElfError> =>
  attempt(isElfError, () => parseFile(bytes))

const parseFile = (bytes: Uint8Array): ElfFile => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const littleEndian = parseIdentification(bytes)
  const header = parseHeader(bytes, view, littleEndian)
  const sections = parseSections(bytes, view, littleEndian, header)
  const symbolTables: Array<number> = []
  const symbolIndexSections = new Map<number, number>()
  for (const section of sections) {
    if (section.type === C.SHT_SYMTAB) symbolTables.push(section.index)
    if (section.type === C.SHT_SYMTAB_SHNDX) symbolIndexSections.set(section.link, section.index)
    checkSection(section, sections)
  }
  const first = symbolTables[0]
  return {
    bytes,
    header,
    sections,
    symbolTables,
    symbolIndexSections,
    symbols: first === undefined
      ? undefined
      : decodeSymbolTable({ sections, symbolIndexSections }, first, littleEndian)
  }
}

/** Checks `e_ident` and returns whether the file is little-endian. */
const parseIdentification = (bytes: Uint8Array): boolean => {
  const magic = bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46
  if (!magic) return refuse("NotElf", { offset: 0, hint: "the first four bytes must be 7f 45 4c 46" })
  const fileClass = bytes[C.EI_CLASS]
  if (fileClass !== C.ELFCLASS64) {
    const hint = fileClass === C.ELFCLASS32 ? { hint: "32-bit files are not supported" } : {}
    return refuse("Class", { field: "EI_CLASS", value: String(fileClass), offset: C.EI_CLASS, ...hint })
  }
  if (bytes.length < headerSize) {
    return refuse("NotElf", { field: "file size", value: String(bytes.length), expected: "at least 64 bytes" })
  }
  const data = bytes[C.EI_DATA]
  if (data !== C.ELFDATA2LSB && data !== C.ELFDATA2MSB) {
    return refuse("ByteOrder", { field: "EI_DATA", value: String(data), expected: "1 or 2", offset: C.EI_DATA })
  }
  const version = bytes[C.EI_VERSION]
  if (version !== C.EV_CURRENT) {
    return refuse("Version", { field: "EI_VERSION", value: String(version), expected: "1", offset: C.EI_VERSION })
  }
  return data === C.ELFDATA2LSB
}

const parseHeader = (bytes: Uint8Array, view: DataView, littleEndian: boolean): ElfHeader => {
  const version = view.getUint32(20, littleEndian)
  if (version !== C.EV_CURRENT) {
    refuse("Version", { field: "e_version", value: String(version), expected: "1", offset: 20 })
  }
  checkSize(view, 52, littleEndian, "e_ehsize", headerSize)
  const sectionHeaderOffset = view.getBigUint64(40, littleEndian)
  const shnum = view.getUint16(60, littleEndian)
  const hasTable = sectionHeaderOffset !== 0n
  if (!hasTable && shnum !== 0) {
    refuse("OutOfBounds", { field: "e_shoff", value: "0", expected: `set for ${shnum} section headers`, offset: 40 })
  }
  let sectionHeaderCount = shnum
  if (hasTable) {
    checkSize(view, 58, littleEndian, "e_shentsize", sectionHeaderSize)
    // The first header must be readable before it may tell how many there are.
    checkTable(bytes, sectionHeaderOffset, Math.max(shnum, 1), sectionHeaderSize, "e_shoff", 40)
    const base = Number(sectionHeaderOffset)
    if (shnum === 0) {
      const size = view.getBigUint64(base + 32, littleEndian)
      if (size > BigInt(ElfLimits.sections)) tooManySections(String(size), base + 32)
      sectionHeaderCount = Number(size)
      checkTable(bytes, sectionHeaderOffset, sectionHeaderCount, sectionHeaderSize, "e_shoff", 40)
    }
  }
  const phnum = view.getUint16(56, littleEndian)
  const programHeaderOffset = view.getBigUint64(32, littleEndian)
  let programHeaderCount = phnum
  if (phnum === C.PN_XNUM && sectionHeaderCount > 0) {
    programHeaderCount = view.getUint32(Number(sectionHeaderOffset) + 44, littleEndian)
  }
  if (programHeaderCount > 0) {
    checkSize(view, 54, littleEndian, "e_phentsize", programHeaderSize)
    checkTable(bytes, programHeaderOffset, programHeaderCount, programHeaderSize, "e_phoff", 32)
  }
  return {
    byteOrder: littleEndian ? "little" : "big",
    osAbi: view.getUint8(C.EI_OSABI),
    abiVersion: view.getUint8(C.EI_ABIVERSION),
    type: view.getUint16(16, littleEndian),
    machine: view.getUint16(18, littleEndian),
    version,
    entry: view.getBigUint64(24, littleEndian),
    flags: view.getUint32(48, littleEndian),
    programHeaderOffset,
    programHeaderCount,
    sectionHeaderOffset,
    sectionHeaderCount,
    sectionNamesIndex: parseNamesIndex(view, littleEndian, Number(sectionHeaderOffset), sectionHeaderCount)
  }
}

const parseNamesIndex = (view: DataView, littleEndian: boolean, table: number, count: number): number => {
  const stored = view.getUint16(62, littleEndian)
  const isExtended = stored === C.SHN_XINDEX && count > 0
  const index = isExtended ? view.getUint32(table + 40, littleEndian) : stored
  const isReserved = stored >= C.SHN_LORESERVE && !isExtended
  if (index !== 0 && (index >= count || isReserved)) {
    refuse("Link", { field: "e_shstrndx", value: String(index), expected: `below ${count}`, offset: 62 })
  }
  return index
}

const tooManySections = (count: string, offset: number): never =>
  refuse("TooLarge", { field: "section count", value: count, expected: `at most ${ElfLimits.sections}`, offset })

const checkSize = (view: DataView, at: number, littleEndian: boolean, field: string, expected: number): void => {
  const size = view.getUint16(at, littleEndian)
  if (size !== expected) refuse("HeaderSize", { field, value: String(size), expected: String(expected), offset: at })
}

const truncated = "the file may have been cut off"

const checkTable = (
  bytes: Uint8Array,
  offset: bigint,
  count: number,
  entrySize: number,
  field: string,
  at: number
): void => {
  if (offset + BigInt(count * entrySize) <= BigInt(bytes.length)) return
  const expected = `a table of ${count} headers inside the file's ${bytes.length} bytes`
  refuse("OutOfBounds", { field, value: String(offset), expected, offset: at, hint: truncated })
}

const noBytes = new Uint8Array(0)

const inactive = (index: number): ElfSection => ({
  index,
  name: "",
  type: C.SHT_NULL,
  flags: 0n,
  address: 0n,
  offset: 0,
  size: 0,
  link: 0,
  info: 0,
  alignment: 0n,
  entrySize: 0,
  data: noBytes
})

/** Reads a 64-bit size or offset as a number; one that a number cannot hold exactly lies outside any file. */
const readSize = (view: DataView, at: number, littleEndian: boolean, field: string, sectionIndex: number): number => {
  const high = view.getUint32(littleEndian ? at + 4 : at, littleEndian)
  const low = view.getUint32(littleEndian ? at : at + 4, littleEndian)
  if (high >= 0x200000) {
    refuse("OutOfBounds", { sectionIndex, field, value: String(view.getBigUint64(at, littleEndian)), offset: at })
  }
  return high * 0x1_0000_0000 + low
}

const parseSections = (
  bytes: Uint8Array,
  view: DataView,
  littleEndian: boolean,
  header: ElfHeader
): ReadonlyArray<ElfSection> => {
  const count = header.sectionHeaderCount
  const table = Number(header.sectionHeaderOffset)
  const names = parseNames(bytes, view, littleEndian, table, header.sectionNamesIndex)
  // Without this a file of many headers, each named by another suffix of one long string, would cost its size squared.
  let nameBudget = hasLongString(names, ElfLimits.averageNameBytes)
    ? ElfLimits.averageNameBytes * count + 8 * names.length
    : Infinity
  const sections: Array<ElfSection> = []
  let dataBytes = 0
  for (let index = 0; index < count; index++) {
    const at = table + index * sectionHeaderSize
    const type = view.getUint32(at + 4, littleEndian)
    if (type === C.SHT_NULL) {
      sections.push(inactive(index))
      continue
    }
    if (index === 0) refuse("SectionType", { sectionIndex: 0, field: "sh_type", value: String(type), offset: at + 4 })
    const nameOffset = view.getUint32(at, littleEndian)
    if (nameOffset >= names.length && nameOffset !== 0) {
      const expected = `below ${names.length}`
      refuse("Name", { sectionIndex: index, field: "sh_name", value: String(nameOffset), expected, offset: at })
    }
    const name = readString(names, nameOffset)
    nameBudget -= name.length
    if (nameBudget < 0) refuse("TooLarge", { sectionIndex: index, field: "length of the sections' names", offset: at })
    const offset = readSize(view, at + 24, littleEndian, "sh_offset", index)
    const size = readSize(view, at + 32, littleEndian, "sh_size", index)
    const hasData = type !== C.SHT_NOBITS && size > 0
    if (hasData && offset + size > bytes.length) outside(bytes, index, name, offset, size, at + 24)
    // No byte belongs to two sections. Checked as a sum, which also keeps work over all sections proportional to the
    // file.
    if (hasData) dataBytes += size
    if (dataBytes > bytes.length) {
      const value = `${size}, ${dataBytes} with the sections before`
      const expected = `at most ${bytes.length} in all`
      refuse("Overlap", { sectionIndex: index, section: name, field: "sh_size", value, expected, offset: at + 32 })
    }
    sections.push({
      index,
      name,
      type,
      flags: view.getBigUint64(at + 8, littleEndian),
      address: view.getBigUint64(at + 16, littleEndian),
      offset,
      size,
      link: view.getUint32(at + 40, littleEndian),
      info: view.getUint32(at + 44, littleEndian),
      alignment: view.getBigUint64(at + 48, littleEndian),
      entrySize: readSize(view, at + 56, littleEndian, "sh_entsize", index),
      // Not `subarray`: of a Node Buffer that would be another Buffer.
      data: hasData ? new Uint8Array(bytes.buffer, bytes.byteOffset + offset, size) : noBytes
    })
  }
  return sections
}

const outside = (
  bytes: Uint8Array,
  sectionIndex: number,
  section: string,
  start: number,
  size: number,
  offset: number
): never => {
  const value = `${start} with size ${size}`
  const expected = `inside the file's ${bytes.length} bytes`
  return refuse("OutOfBounds", { sectionIndex, section, field: "sh_offset", value, expected, offset, hint: truncated })
}

/** The string table of the sections' names, which is needed before any other section is read. */
const parseNames = (
  bytes: Uint8Array,
  view: DataView,
  littleEndian: boolean,
  table: number,
  index: number
): Uint8Array => {
  if (index === 0) return noBytes
  const at = table + index * sectionHeaderSize
  const type = view.getUint32(at + 4, littleEndian)
  if (type !== C.SHT_STRTAB) {
    const expected = `${C.SHT_STRTAB} (SHT_STRTAB), because it holds the sections' names`
    refuse("SectionType", { sectionIndex: index, field: "sh_type", value: String(type), expected, offset: at + 4 })
  }
  if ((view.getBigUint64(at + 8, littleEndian) & C.SHF_COMPRESSED) !== 0n) {
    refuse("Compressed", { sectionIndex: index, offset: at + 8 })
  }
  const offset = readSize(view, at + 24, littleEndian, "sh_offset", index)
  const size = readSize(view, at + 32, littleEndian, "sh_size", index)
  if (size === 0) return noBytes
  if (offset + size > bytes.length) outside(bytes, index, "", offset, size, at + 24)
  const names = new Uint8Array(bytes.buffer, bytes.byteOffset + offset, size)
  checkStringTable(names, index, "", offset)
  return names
}

const checkStringTable = (data: Uint8Array, sectionIndex: number, section: string, start: number): void => {
  if (data.length === 0 || data[data.length - 1] === 0) return
  refuse("StringTable", { sectionIndex, section, offset: start + data.length - 1 })
}

/** Checks of one section that need the list of all. */
const checkSection = (section: ElfSection, sections: ReadonlyArray<ElfSection>): void => {
  const { index, name, type } = section
  if (type === C.SHT_STRTAB && (section.flags & C.SHF_COMPRESSED) === 0n) {
    checkStringTable(section.data, index, name, section.offset)
  }
  if (section.link >= sections.length) badLink(section, sections, "sh_link", section.link)
  const hasTarget = type === C.SHT_REL || type === C.SHT_RELA || (section.flags & C.SHF_INFO_LINK) !== 0n
  if (hasTarget && section.info >= sections.length) badLink(section, sections, "sh_info", section.info)
}

const badLink = (section: ElfSection, { length }: ReadonlyArray<ElfSection>, field: string, value: number): never =>
  refuse("Link", { ...whereIsSection(section), field, value: String(value), expected: `below ${length}` })
