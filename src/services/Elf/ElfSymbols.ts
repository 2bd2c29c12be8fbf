/** Symbol tables: checked once as a whole, then read in place, without an object per symbol unless one is asked for. */
import type * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import * as C from "./ElfConstants.ts"
import type { ElfError } from "./ElfError.ts"
import { isElfError, refuse } from "./ElfError.ts"
import type { ElfFile, ElfSection, ElfSymbol, SymbolTable } from "./ElfModel.ts"
import { ElfLimits } from "./ElfModel.ts"
import { hasLongString, readString } from "./ElfStrings.ts"

/** Bytes of `Elf64_Sym`. */
export const symbolEntrySize = 24

/**
 * The symbol table in the section with index `section`, which must be `SHT_SYMTAB` or `SHT_DYNSYM`.
 *
 * Checked are the entry size (24), that `sh_link` is a string table, and of every symbol that its name lies inside that
 * table and that its section exists, be it stored in the symbol or in a `SHT_SYMTAB_SHNDX` section. `parse` does this
 * for the first `SHT_SYMTAB` and keeps it as `symbols`; all others are checked when asked for.
 */
export const symbolTable = (file: ElfFile, section: number): Result.Result<SymbolTable, ElfError> =>
  attempt(isElfError, () =>
    file.symbols?.section === section
      ? file.symbols
      : decodeSymbolTable(file, section, file.header.byteOrder === "little"))

const viewOf = (data: Uint8Array): DataView => new DataView(data.buffer, data.byteOffset, data.byteLength)

/** `symbolTable` over the part of a file that it needs; throws `ElfError`. */
export const decodeSymbolTable = (
  { sections, symbolIndexSections }: Pick<ElfFile, "sections" | "symbolIndexSections">,
  index: number,
  littleEndian: boolean
): SymbolTable => {
  const section = sections[index]
  if (section === undefined) return refuse("SectionType", { sectionIndex: index, hint: "there is no such section" })
  const where = whereIsSection(section)
  if (section.type !== C.SHT_SYMTAB && section.type !== C.SHT_DYNSYM) {
    return refuse("SectionType", { ...where, field: "sh_type", value: String(section.type), expected: "2 or 11" })
  }
  checkEntries(section, symbolEntrySize)
  const names = sections[section.link]
  if (names === undefined || names.type !== C.SHT_STRTAB) {
    return refuse("Link", { ...where, field: "sh_link", value: String(section.link), expected: "a string table" })
  }
  if ((names.flags & C.SHF_COMPRESSED) !== 0n) {
    return refuse("Compressed", whereIsSection(names))
  }
  const table: SymbolTable = {
    section: index,
    count: section.size / symbolEntrySize,
    littleEndian,
    entries: viewOf(section.data),
    strings: names.data,
    extendedIndices: extendedIndices(sections[symbolIndexSections.get(index) ?? 0])
  }
  checkSymbols(table, sections, section)
  return table
}

/** What an error says of the section at fault. */
export const whereIsSection = ({ index, name, offset }: ElfSection) => ({ sectionIndex: index, section: name, offset })

/** Refuses a section that is no table of whole, uncompressed entries of `size` bytes. */
export const checkEntries = (section: ElfSection, size: number): void => {
  const where = whereIsSection(section)
  if ((section.flags & C.SHF_COMPRESSED) !== 0n) refuse("Compressed", where)
  if (section.entrySize !== size) {
    refuse("EntrySize", { ...where, field: "sh_entsize", value: String(section.entrySize), expected: String(size) })
  }
  if (section.size % size !== 0) {
    refuse("EntrySize", { ...where, field: "sh_size", value: String(section.size), expected: `a multiple of ${size}` })
  }
}

const extendedIndices = (section: ElfSection | undefined): DataView | undefined => {
  if (section === undefined || section.index === 0) return undefined
  checkEntries(section, 4)
  return viewOf(section.data)
}

const checkSymbols = (table: SymbolTable, sections: ReadonlyArray<ElfSection>, section: ElfSection): void => {
  const { count, entries, littleEndian, strings } = table
  const nameLimit = Math.max(strings.length, 1) // an empty table has the empty name at 0
  let nameBudget = hasLongString(strings, ElfLimits.averageNameBytes)
    ? ElfLimits.averageNameBytes * count + 8 * strings.length
    : Infinity
  for (let index = 0; index < count; index++) {
    const at = index * symbolEntrySize
    const name = entries.getUint32(at, littleEndian)
    if (name >= nameLimit) {
      refuse("Name", {
        ...whereIs(section, index),
        field: "st_name",
        value: String(name),
        expected: `below ${nameLimit}`
      })
    }
    if (nameBudget !== Infinity) {
      nameBudget -= strings.indexOf(0, name) - name
      if (nameBudget < 0) refuse("TooLarge", { ...whereIs(section, index), field: "length of the symbols' names" })
    }
    const stored = entries.getUint16(at + 6, littleEndian)
    if (stored < C.SHN_LORESERVE) {
      if (stored >= sections.length) badSection(section, sections, index, stored)
    } else if (stored === C.SHN_XINDEX) {
      const words = table.extendedIndices
      if (words === undefined || index * 4 >= words.byteLength) {
        const expected = "an index that a SHT_SYMTAB_SHNDX section extends"
        refuse("Symbol", { ...whereIs(section, index), field: "st_shndx", value: "SHN_XINDEX", expected })
      } else {
        const extended = words.getUint32(index * 4, littleEndian)
        if (extended >= sections.length) badSection(section, sections, index, extended)
      }
    }
  }
}

const whereIs = (section: ElfSection, symbol: number) => ({
  ...whereIsSection(section),
  symbol,
  offset: section.offset + symbol * symbolEntrySize
})

const badSection = (section: ElfSection, { length }: ReadonlyArray<ElfSection>, symbol: number, index: number): never =>
  refuse("Symbol", {
    ...whereIs(section, symbol),
    field: "st_shndx",
    value: String(index),
    expected: `below ${length} or reserved`
  })

// The accessors take an index below `table.count`; any other is a defect of the caller and throws a RangeError.

/** Name of a symbol, empty if it has none. */
export const symbolName = (table: SymbolTable, index: number): string =>
  readString(table.strings, table.entries.getUint32(index * symbolEntrySize, table.littleEndian))

/** Place of a symbol's name in `table.strings`, in bytes; equal places mean equal names. */
export const symbolNameOffset = (table: SymbolTable, index: number): number =>
  table.entries.getUint32(index * symbolEntrySize, table.littleEndian)

/** `st_value` of a symbol. */
export const symbolValue = (table: SymbolTable, index: number): bigint =>
  table.entries.getBigUint64(index * symbolEntrySize + 8, table.littleEndian)

/** `st_size` of a symbol in bytes. */
export const symbolSize = (table: SymbolTable, index: number): bigint =>
  table.entries.getBigUint64(index * symbolEntrySize + 16, table.littleEndian)

/**
 * `st_value` as a number, for loops: exact up to 2^53, rounded beyond. Right for comparison with the size of a section,
 * wrong for virtual addresses.
 */
export const symbolOffset = (table: SymbolTable, index: number): number =>
  readNumber(table.entries, index * symbolEntrySize + 8, table.littleEndian)

/** `st_size` as a number, for loops: exact up to 2^53, rounded beyond. */
export const symbolLength = (table: SymbolTable, index: number): number =>
  readNumber(table.entries, index * symbolEntrySize + 16, table.littleEndian)

/** A 64-bit field as a number, rounded above 2^53. */
export const readNumber = (view: DataView, at: number, littleEndian: boolean): number =>
  littleEndian
    ? view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true)
    : view.getUint32(at, false) * 0x1_0000_0000 + view.getUint32(at + 4, false)

/** Binding of a symbol, one of `STB_*`. */
export const symbolBinding = (table: SymbolTable, index: number): number =>
  table.entries.getUint8(index * symbolEntrySize + 4) >> 4

/** Type of a symbol, one of `STT_*`. */
export const symbolType = (table: SymbolTable, index: number): number =>
  table.entries.getUint8(index * symbolEntrySize + 4) & 0xf

/** Visibility of a symbol, one of `STV_*`. */
export const symbolVisibility = (table: SymbolTable, index: number): number =>
  table.entries.getUint8(index * symbolEntrySize + 5) & 3

/** `st_shndx` of a symbol as stored: `SHN_XINDEX` is not resolved. */
export const symbolStoredSection = (table: SymbolTable, index: number): number =>
  table.entries.getUint16(index * symbolEntrySize + 6, table.littleEndian)

/**
 * Section index of a symbol, `SHN_XINDEX` resolved. Reserved values such as `SHN_ABS` are kept; in a file with more
 * than 65279 sections `symbolIsReserved` tells them from an index.
 */
export const symbolSection = (table: SymbolTable, index: number): number => {
  const stored = symbolStoredSection(table, index)
  return stored === C.SHN_XINDEX && table.extendedIndices !== undefined
    ? table.extendedIndices.getUint32(index * 4, table.littleEndian)
    : stored
}

/** Whether a symbol's section index is a reserved value (0xff00 to 0xfffe) and names no section. */
export const symbolIsReserved = (table: SymbolTable, index: number): boolean => {
  const stored = symbolStoredSection(table, index)
  return stored >= C.SHN_LORESERVE && stored !== C.SHN_XINDEX
}

/** A symbol as an object. `index` must be below `table.count`. */
export const symbolAt = (table: SymbolTable, index: number): ElfSymbol => ({
  index,
  name: symbolName(table, index),
  value: symbolValue(table, index),
  size: symbolSize(table, index),
  binding: symbolBinding(table, index),
  type: symbolType(table, index),
  visibility: symbolVisibility(table, index),
  other: table.entries.getUint8(index * symbolEntrySize + 5) & 0xfc,
  sectionIndex: symbolSection(table, index),
  isReserved: symbolIsReserved(table, index)
})
