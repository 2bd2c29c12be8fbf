/** Relocation tables (`SHT_REL`, `SHT_RELA`): checked once as a whole, then read in place. */
import type * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import * as C from "./ElfConstants.ts"
import type { ElfError } from "./ElfError.ts"
import { isElfError, refuse } from "./ElfError.ts"
import type { ElfFile, ElfSection } from "./ElfModel.ts"
import { checkEntries, readNumber, symbolEntrySize, whereIsSection } from "./ElfSymbols.ts"

/** Bytes of `Elf64_Rel`. */
export const relEntrySize = 16
/** Bytes of `Elf64_Rela`. */
export const relaEntrySize = 24

/**
 * A relocation table over the file's own bytes, whose every symbol exists. Read it with the `relocation*` functions.
 */
export interface RelocationTable {
  /** Index of the table's section. */
  readonly section: number
  /** `sh_info`: index of the section to which the relocations apply; 0 in some executables. */
  readonly target: number
  /** `sh_link`: index of the symbol table's section; 0 if there is none, and then all symbols are 0. */
  readonly symbols: number
  /** Number of relocations. */
  readonly count: number
  /** Whether entries have an addend (`SHT_RELA`). */
  readonly hasAddends: boolean
  readonly littleEndian: boolean
  /** The entries. */
  readonly entries: DataView
  /** Bytes of an entry. */
  readonly entrySize: number
}

/** A relocation, decoded on demand by `relocationAt`. */
export interface ElfRelocation {
  readonly index: number
  /** `r_offset`: in relocatable files bytes from the start of the target section, in executables a virtual address. */
  readonly offset: bigint
  /** Meaning by machine: `R_BPF_*` for BPF. */
  readonly type: number
  /** Index into the symbol table, 0 if the relocation has no symbol. */
  readonly symbol: number
  /** `r_addend`, signed; 0 where the addend is in the relocated place (`SHT_REL`). */
  readonly addend: bigint
}

/**
 * The relocations in a `SHT_REL` or `SHT_RELA` section.
 *
 * Refused are other section types, a wrong entry size, a `sh_link` that is neither 0 nor a symbol table, and entries
 * whose symbol the table does not have. Offsets are not compared with the target section, since the width of a place
 * depends on the relocation's type.
 */
export const relocations = (file: ElfFile, section: ElfSection): Result.Result<RelocationTable, ElfError> =>
  attempt(isElfError, () => {
    const where = whereIsSection(section)
    if (section.type !== C.SHT_REL && section.type !== C.SHT_RELA) {
      refuse("SectionType", { ...where, field: "sh_type", value: String(section.type), expected: "9 or 4" })
    }
    const entrySize = section.type === C.SHT_REL ? relEntrySize : relaEntrySize
    checkEntries(section, entrySize)
    const table: RelocationTable = {
      section: section.index,
      target: section.info,
      symbols: section.link,
      count: section.size / entrySize,
      hasAddends: section.type === C.SHT_RELA,
      littleEndian: file.header.byteOrder === "little",
      entries: new DataView(section.data.buffer, section.data.byteOffset, section.data.byteLength),
      entrySize
    }
    const symbolCount = countSymbols(file, section)
    for (let index = 0; index < table.count; index++) {
      const symbol = relocationSymbol(table, index)
      if (symbol < symbolCount) continue
      refuse("Relocation", {
        ...where,
        relocation: index,
        field: "symbol index",
        value: String(symbol),
        expected: `below ${symbolCount}`,
        offset: section.offset + index * section.entrySize
      })
    }
    return table
  })

/** Number of symbol indices that the relocations of a section may use. */
const countSymbols = (file: ElfFile, section: ElfSection): number => {
  const { link } = section
  if (link === 0) return 1
  const symbols = file.sections[link]
  if (symbols === undefined || (symbols.type !== C.SHT_SYMTAB && symbols.type !== C.SHT_DYNSYM)) {
    const expected = "a symbol table"
    return refuse("Link", { ...whereIsSection(section), field: "sh_link", value: String(link), expected })
  }
  checkEntries(symbols, symbolEntrySize)
  return symbols.size / symbolEntrySize
}

// The accessors take an index below `table.count`; any other is a defect of the caller and throws a RangeError.

/**
 * `r_offset` as a number: exact up to 2^53, rounded beyond. Right for comparison with the size of a section, wrong for
 * virtual addresses.
 */
export const relocationOffset = (table: RelocationTable, index: number): number =>
  readNumber(table.entries, index * table.entrySize, table.littleEndian)

/** `r_offset` in full, which is a virtual address in executables. */
export const relocationAddress = (table: RelocationTable, index: number): bigint =>
  table.entries.getBigUint64(index * table.entrySize, table.littleEndian)

// r_info is one 64-bit number, symbol above type: which half comes first depends on the byte order.

/** Type of a relocation, meaning by machine: `R_BPF_*` for BPF. */
export const relocationType = (table: RelocationTable, index: number): number =>
  table.entries.getUint32(index * table.entrySize + (table.littleEndian ? 8 : 12), table.littleEndian)

/** Index of a relocation's symbol in the symbol table, 0 if it has none. */
export const relocationSymbol = (table: RelocationTable, index: number): number =>
  table.entries.getUint32(index * table.entrySize + (table.littleEndian ? 12 : 8), table.littleEndian)

/** `r_addend` of a relocation, signed; 0 where the addend is in the relocated place (`SHT_REL`). */
export const relocationAddend = (table: RelocationTable, index: number): bigint =>
  table.hasAddends ? table.entries.getBigInt64(index * table.entrySize + 16, table.littleEndian) : 0n

/** A relocation as an object. `index` must be below `table.count`. */
export const relocationAt = (table: RelocationTable, index: number): ElfRelocation => ({
  index,
  offset: relocationAddress(table, index),
  type: relocationType(table, index),
  symbol: relocationSymbol(table, index),
  addend: relocationAddend(table, index)
})
