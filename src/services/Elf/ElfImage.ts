/**
 * What `write` makes a file of: like `ElfFile`, but with names, symbols and relocations as values instead of bytes, and
 * without file offsets. A place in a list is the index in the file, so that references between sections, symbols and
 * relocations are plain numbers.
 */
import * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import * as C from "./ElfConstants.ts"
import type { ElfError } from "./ElfError.ts"
import { isElfError, refuse } from "./ElfError.ts"
import type { ByteOrder, ElfFile, ElfSection, ElfSymbol } from "./ElfModel.ts"
import type { ElfRelocation } from "./ElfRelocations.ts"
import { relaEntrySize, relEntrySize, relocationAt, relocations } from "./ElfRelocations.ts"
import { symbolAt, symbolEntrySize, symbolTable, whereIsSection } from "./ElfSymbols.ts"

/** A symbol to be written; its index is its place in the list. */
export type ImageSymbol = Omit<ElfSymbol, "index">

/**
 * A relocation to be written. `symbol` is a place in the list of symbols of the section in `link`; `addend` must be 0
 * in a `SHT_REL` section.
 */
export type ImageRelocation = Omit<ElfRelocation, "index">

/**
 * What a section holds.
 *
 * - `Empty`: nothing; for `SHT_NULL` only
 * - `NoBits`: `size` bytes in memory and none in the file; for `SHT_NOBITS`
 * - `Bytes`: these bytes; for all types but the two above
 * - `Strings`: the strings that the image needs of this section: section names if the image's `sectionNames` is its
 *   index, and the names of all `Symbols` sections that link to it; for `SHT_STRTAB`
 * - `Symbols`: a symbol table; the first entry is `nullSymbol`. Any order will do: `write` puts locals first
 * - `SymbolSectionIndices`: the overflow of the symbols' section indices; for `SHT_SYMTAB_SHNDX`, whose `link` is the
 *   table
 * - `Relocations`: for `SHT_REL` and `SHT_RELA`; `link` is the symbol table and `info` the section that they apply to
 */
export type SectionContent =
  | { readonly _tag: "Empty" }
  | { readonly _tag: "NoBits"; readonly size: number }
  | { readonly _tag: "Bytes"; readonly bytes: Uint8Array }
  | { readonly _tag: "Strings" }
  | { readonly _tag: "Symbols"; readonly symbols: ReadonlyArray<ImageSymbol> }
  | { readonly _tag: "SymbolSectionIndices" }
  | { readonly _tag: "Relocations"; readonly entries: ReadonlyArray<ImageRelocation> }

/** A section to be written; its index is its place in the list. Fields as in `ElfSection`. */
export interface ImageSection {
  readonly name: string
  readonly type: number
  readonly flags: bigint
  readonly address: bigint
  readonly link: number
  /** `sh_info`. Of a `Symbols` section `write` ignores it and stores what the format demands: the number of locals. */
  readonly info: number
  /** 0 or a power of two. */
  readonly alignment: bigint
  readonly entrySize: number
  readonly content: SectionContent
}

/** A file to be written. It has no program headers: executables are read here, not made. */
export interface ElfImage {
  readonly byteOrder: ByteOrder
  readonly osAbi: number
  readonly abiVersion: number
  readonly type: number
  readonly machine: number
  readonly entry: bigint
  readonly flags: number
  /** Empty, or beginning with `nullSection`. */
  readonly sections: ReadonlyArray<ImageSection>
  /** Index of the `Strings` section that takes the sections' names; 0 if no section has one. */
  readonly sectionNames: number
}

/** The section that every file with sections has at index 0. */
export const nullSection: ImageSection = {
  name: "",
  type: C.SHT_NULL,
  flags: 0n,
  address: 0n,
  link: 0,
  info: 0,
  alignment: 0n,
  entrySize: 0,
  content: { _tag: "Empty" }
}

/** The symbol that every symbol table has at index 0. */
export const nullSymbol: ImageSymbol = {
  name: "",
  value: 0n,
  size: 0n,
  binding: C.STB_LOCAL,
  type: C.STT_NOTYPE,
  visibility: C.STV_DEFAULT,
  other: 0,
  sectionIndex: C.SHN_UNDEF,
  isReserved: false
}

const entrySizes: ReadonlyMap<number, number> = new Map([
  [C.SHT_SYMTAB, symbolEntrySize],
  [C.SHT_DYNSYM, symbolEntrySize],
  [C.SHT_SYMTAB_SHNDX, 4],
  [C.SHT_REL, relEntrySize],
  [C.SHT_RELA, relaEntrySize]
])

/** The entry size that ELF64 prescribes for a section type, 0 where it prescribes none. */
export const entrySizeOf = (type: number): number => entrySizes.get(type) ?? 0

/** A section with the usual values for what is not given: no flags, address, link or info, and the type's alignment. */
export const makeSection = (
  fields: Pick<ImageSection, "name" | "type" | "content"> & Partial<ImageSection>
): ImageSection => {
  const entrySize = entrySizeOf(fields.type)
  const alignment = entrySize === 0 ? 1n : entrySize === 4 ? 4n : 8n
  return { ...nullSection, alignment, entrySize, ...fields }
}

/** A symbol with the usual values for what is not given: undefined, local, without type, default visibility. */
export const makeSymbol = (fields: Partial<ImageSymbol>): ImageSymbol => ({ ...nullSymbol, ...fields })

/**
 * The image of a parsed relocatable file; data that is not decoded stays a view of the file's bytes.
 *
 * Symbol tables, relocations that refer to them and the string tables of names become values, all else stays bytes.
 * Refused (`Image`) are files with program headers, symbol tables without a null symbol, and string tables that hold
 * names and also serve a section of another kind, because their contents would move; `TooLarge`: symbol names that
 * together are many times larger than the file.
 */
export const toImage = (file: ElfFile): Result.Result<ElfImage, ElfError> =>
  attempt(isElfError, () => {
    const { header } = file
    if (header.programHeaderCount > 0) {
      refuse("Image", {
        field: "e_phnum",
        value: String(header.programHeaderCount),
        expected: "0",
        hint: "the segments of an executable prescribe file offsets, which the writer assigns itself"
      })
    }
    const rewritten = rewrittenStringTables(file)
    // Several symbol tables may name their symbols from one string table, which parse does not count together.
    const budget = { nameBytes: 16 * file.bytes.length }
    return {
      byteOrder: header.byteOrder,
      osAbi: header.osAbi,
      abiVersion: header.abiVersion,
      type: header.type,
      machine: header.machine,
      entry: header.entry,
      flags: header.flags,
      sections: file.sections.map((section) => imageSection(file, section, rewritten, budget)),
      sectionNames: header.sectionNamesIndex
    }
  })

const isSymbolTable = (section: ElfSection | undefined): boolean =>
  section !== undefined && (section.type === C.SHT_SYMTAB || section.type === C.SHT_DYNSYM)

const rewrittenStringTables = (file: ElfFile): ReadonlySet<number> => {
  const rewritten = new Set<number>()
  if (file.header.sectionNamesIndex !== 0) rewritten.add(file.header.sectionNamesIndex)
  for (const section of file.sections) {
    if (isSymbolTable(section)) rewritten.add(section.link)
  }
  for (const section of file.sections) {
    if (isSymbolTable(section) || section.link === 0 || !rewritten.has(section.link)) continue
    refuse("Image", {
      ...whereIsSection(section),
      field: "sh_link",
      value: String(section.link),
      expected: "no string table whose contents are written anew"
    })
  }
  return rewritten
}

interface Budget {
  nameBytes: number
}

const imageSection = (
  file: ElfFile,
  section: ElfSection,
  rewritten: ReadonlySet<number>,
  budget: Budget
): ImageSection => ({
  name: section.name,
  type: section.type,
  flags: section.flags,
  address: section.address,
  link: section.link,
  info: section.info,
  alignment: section.alignment,
  entrySize: section.entrySize,
  content: contentOf(file, section, rewritten, budget)
})

const contentOf = (
  file: ElfFile,
  section: ElfSection,
  rewritten: ReadonlySet<number>,
  budget: Budget
): SectionContent => {
  if (section.type === C.SHT_NULL) return { _tag: "Empty" }
  if (section.type === C.SHT_NOBITS) return { _tag: "NoBits", size: section.size }
  if (isSymbolTable(section)) return { _tag: "Symbols", symbols: symbolsOf(file, section, budget) }
  if (section.type === C.SHT_STRTAB && rewritten.has(section.index)) return { _tag: "Strings" }
  const linksToSymbols = isSymbolTable(file.sections[section.link])
  if (section.type === C.SHT_SYMTAB_SHNDX && linksToSymbols) return { _tag: "SymbolSectionIndices" }
  if ((section.type === C.SHT_REL || section.type === C.SHT_RELA) && linksToSymbols) {
    return { _tag: "Relocations", entries: relocationsOf(file, section) }
  }
  return { _tag: "Bytes", bytes: section.data }
}

const symbolsOf = (file: ElfFile, section: ElfSection, budget: Budget): ReadonlyArray<ImageSymbol> => {
  const table = Result.getOrThrow(symbolTable(file, section.index))
  const symbols: Array<ImageSymbol> = []
  for (let index = 0; index < table.count; index++) {
    const { index: _, ...symbol } = symbolAt(table, index)
    symbols.push(symbol)
    budget.nameBytes -= symbol.name.length
    if (budget.nameBytes < 0) {
      refuse("TooLarge", { ...whereIsSection(section), symbol: index, field: "length of the symbols' names" })
    }
  }
  if (!isNullSymbol(symbols[0])) {
    refuse("Image", { ...whereIsSection(section), symbol: 0, expected: "the null symbol" })
  }
  return symbols
}

/** Whether a symbol is the one that must be first in a table. */
export const isNullSymbol = (symbol: ImageSymbol | undefined): boolean =>
  symbol !== undefined && symbol.name === "" && symbol.value === 0n && symbol.size === 0n && symbol.binding === 0 &&
  symbol.type === 0 && symbol.visibility === 0 && symbol.other === 0 && symbol.sectionIndex === 0

const relocationsOf = (file: ElfFile, section: ElfSection): ReadonlyArray<ImageRelocation> => {
  const table = Result.getOrThrow(relocations(file, section))
  const entries: Array<ImageRelocation> = []
  for (let index = 0; index < table.count; index++) {
    const { index: _, ...entry } = relocationAt(table, index)
    entries.push(entry)
  }
  return entries
}
