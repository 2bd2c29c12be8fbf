/**
 * Reads the symbol tables of a binary: by sections or, where these were stripped, by the segment for dynamic linking.
 *
 * Checked is what concerns a table as a whole; names, sections and values of single symbols are checked by those who use
 * them.
 */
import type { BinarySymbols } from "./BinarySymbols.ts"
import { layoutOf } from "./BinarySymbols.ts"
import * as DynamicSegment from "./DynamicSegment.ts"
import type { BinarySection, ElfBinary } from "./ElfBinary.ts"
import { needSection, needStrings, viewOf } from "./ElfBinary.ts"
import * as C from "./ElfConstants.ts"
import { refuse } from "./ElfError.ts"
import type { SymbolVersions } from "./SymbolVersions.ts"
import { readVersions } from "./SymbolVersions.ts"

const noBytes = new Uint8Array(0)

const firstOf = (binary: ElfBinary, type: number): BinarySection | undefined =>
  binary.sections.find((section) => section.type === type)

const stringsOf = (binary: ElfBinary, section: BinarySection): Uint8Array => {
  const strings = binary.sections[section.link]
  if (strings === undefined || strings.type !== C.SHT_STRTAB) {
    const value = String(section.link)
    return refuse("Link", { sectionIndex: section.index, field: "sh_link", value, expected: "a string table" })
  }
  return needStrings(binary, strings)
}

/** The indices of versions, their definitions and needs: of the first section of each kind, as the dynamic linker has one. */
const versionsOf = (binary: ElfBinary, count: number, little: boolean): SymbolVersions | undefined => {
  const indices = firstOf(binary, C.SHT_GNU_versym)
  if (indices === undefined) return undefined
  const definitions = firstOf(binary, C.SHT_GNU_verdef)
  const needs = firstOf(binary, C.SHT_GNU_verneed)
  return readVersions(
    {
      indices: viewOf(needSection(binary, indices)),
      definitions: definitions === undefined ? undefined : viewOf(needSection(binary, definitions)),
      definitionStrings: definitions === undefined ? noBytes : stringsOf(binary, definitions),
      needs: needs === undefined ? undefined : viewOf(needSection(binary, needs)),
      needStrings: needs === undefined ? noBytes : stringsOf(binary, needs)
    },
    count,
    little
  )
}

const bySections = (binary: ElfBinary, section: BinarySection, table: "dynsym" | "symtab"): BinarySymbols => {
  const little = binary.byteOrder === "little"
  const layout = layoutOf(binary.bits)
  const size = layout.entry
  if (section.entrySize !== BigInt(size)) {
    const value = String(section.entrySize)
    refuse("EntrySize", { sectionIndex: section.index, field: "sh_entsize", value, expected: String(size) })
  }
  const entries = needSection(binary, section)
  if (entries.length % size !== 0) {
    const value = String(entries.length)
    refuse("EntrySize", { sectionIndex: section.index, field: "sh_size", value, expected: `a multiple of ${size}` })
  }
  const count = entries.length / size
  const extended = binary.sections.find(({ link, type }) => type === C.SHT_SYMTAB_SHNDX && link === section.index)
  return {
    table,
    bySections: true,
    bits: binary.bits,
    little,
    count,
    entries: viewOf(entries),
    layout,
    strings: stringsOf(binary, section),
    extended: extended === undefined ? undefined : viewOf(needSection(binary, extended)),
    versions: table === "dynsym" ? versionsOf(binary, count, little) : undefined
  }
}

/**
 * Reads a symbol table: the first of its kind; throws. The dynamic one of a file that has no section headers is looked for
 * in the segment for dynamic linking. Undefined where there is none.
 */
export const readSymbols = (binary: ElfBinary, table: "dynsym" | "symtab"): BinarySymbols | undefined => {
  const section = firstOf(binary, table === "dynsym" ? C.SHT_DYNSYM : C.SHT_SYMTAB)
  if (section !== undefined) return bySections(binary, section, table)
  // A file of debug information has the segments of another file: while there are sections, they have the word.
  const isStripped = binary.sections.every(({ type }) => type === C.SHT_NULL)
  return table === "dynsym" && isStripped ? DynamicSegment.readSymbols(binary) : undefined
}
