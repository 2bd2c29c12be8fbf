/**
 * The first half of writing: checks an image, puts symbols in order and collects strings, before any byte is placed.
 */
import * as C from "./ElfConstants.ts"
import { refuse } from "./ElfError.ts"
import type { ElfImage, ImageRelocation, ImageSection, ImageSymbol, SectionContent } from "./ElfImage.ts"
import { entrySizeOf, isNullSymbol, makeSection } from "./ElfImage.ts"
import { ElfLimits } from "./ElfModel.ts"
import { StringTableBuilder } from "./ElfStrings.ts"

/** A symbol table in the order in which it is written. */
export interface OrderedSymbols {
  readonly symbols: ReadonlyArray<ImageSymbol>
  readonly localCount: number
  /** From place in the image to place in the file; undefined if they are the same. */
  readonly places: Uint32Array | undefined
  /** Whether some section index does not fit 16 bits. */
  readonly needsExtension: boolean
}

/** All that is known of the output before bytes are written. */
export interface Plan {
  readonly image: ElfImage
  readonly sections: ReadonlyArray<ImageSection>
  readonly tables: ReadonlyMap<number, OrderedSymbols>
  readonly strings: ReadonlyMap<number, StringTableBuilder>
  readonly littleEndian: boolean
}

/** Plans the output of an image; throws `ElfError` for one that cannot be written. */
export const makePlan = (image: ElfImage): Plan => {
  const tables = new Map<number, OrderedSymbols>()
  for (const [index, section] of image.sections.entries()) {
    checkSection(image, section, index)
    const { content } = section
    if (content._tag === "Symbols") tables.set(index, orderSymbols(image, section, index, content.symbols))
  }
  const sections = withExtensions(image, tables)
  if (sections.length > ElfLimits.sections) {
    const value = String(sections.length)
    refuse("TooLarge", { field: "section count", value, expected: `at most ${ElfLimits.sections}` })
  }
  for (const [index, section] of sections.entries()) checkReferences(sections, tables, section, index)
  const strings = buildStrings(image, sections, tables)
  return { image, sections, tables, strings, littleEndian: image.byteOrder === "little" }
}

const contentTypes: Readonly<Record<SectionContent["_tag"], (type: number) => boolean>> = {
  Empty: (type) => type === C.SHT_NULL,
  NoBits: (type) => type === C.SHT_NOBITS,
  Bytes: (type) => type !== C.SHT_NULL && type !== C.SHT_NOBITS,
  Strings: (type) => type === C.SHT_STRTAB,
  Symbols: (type) => type === C.SHT_SYMTAB || type === C.SHT_DYNSYM,
  SymbolSectionIndices: (type) => type === C.SHT_SYMTAB_SHNDX,
  Relocations: (type) => type === C.SHT_REL || type === C.SHT_RELA
}

const checkSection = (image: ElfImage, section: ImageSection, sectionIndex: number): void => {
  const where = { sectionIndex, section: section.name }
  if (sectionIndex === 0 && section.type !== C.SHT_NULL) {
    refuse("Image", { ...where, field: "sh_type", value: String(section.type), expected: "0 for the first section" })
  }
  const { _tag } = section.content
  if (!contentTypes[_tag](section.type)) {
    refuse("Image", { ...where, field: "content", value: _tag, expected: `of a kind that fits type ${section.type}` })
  }
  const entrySize = entrySizeOf(section.type)
  if (_tag !== "Bytes" && entrySize !== 0 && section.entrySize !== entrySize) {
    const value = String(section.entrySize)
    refuse("Image", { ...where, field: "sh_entsize", value, expected: String(entrySize) })
  }
  if (section.type === C.SHT_NULL && !isInactive(section)) {
    refuse("Image", { ...where, hint: "a section of type SHT_NULL has no name and no other field set" })
  }
  if (image.sectionNames === 0 && section.name !== "") {
    refuse("Image", { ...where, hint: "sectionNames must be the index of the string table that takes section names" })
  }
}

const isInactive = (section: ImageSection): boolean =>
  section.name === "" && section.flags === 0n && section.address === 0n && section.link === 0 && section.info === 0 &&
  section.alignment === 0n && section.entrySize === 0

const orderSymbols = (
  image: ElfImage,
  section: ImageSection,
  sectionIndex: number,
  symbols: ReadonlyArray<ImageSymbol>
): OrderedSymbols => {
  const where = { sectionIndex, section: section.name }
  if (!isNullSymbol(symbols[0])) refuse("Image", { ...where, symbol: 0, expected: "the null symbol" })
  let localCount = 0
  let isOrdered = true
  let needsExtension = false
  for (const [index, symbol] of symbols.entries()) {
    if (symbol.binding === C.STB_LOCAL) {
      if (localCount !== index) isOrdered = false
      localCount++
    }
    const isExtended = !symbol.isReserved && symbol.sectionIndex >= C.SHN_LORESERVE
    needsExtension ||= isExtended
    checkSymbolSection(image, where, index, symbol)
  }
  if (isOrdered) return { symbols, localCount, places: undefined, needsExtension }
  const places = new Uint32Array(symbols.length)
  const ordered: Array<ImageSymbol> = [...symbols]
  let nextLocal = 0
  let nextOther = localCount
  for (const [index, symbol] of symbols.entries()) {
    const place = symbol.binding === C.STB_LOCAL ? nextLocal++ : nextOther++
    places[index] = place
    ordered[place] = symbol
  }
  return { symbols: ordered, localCount, places, needsExtension }
}

const checkSymbolSection = (
  { sections }: ElfImage,
  where: { readonly sectionIndex: number; readonly section: string },
  symbol: number,
  { isReserved, sectionIndex }: ImageSymbol
): void => {
  const isValid = isReserved
    ? sectionIndex >= C.SHN_LORESERVE && sectionIndex < C.SHN_XINDEX
    : sectionIndex >= 0 && sectionIndex < sections.length
  if (isValid && Number.isInteger(sectionIndex)) return
  const expected = isReserved ? "0xff00 to 0xfffe because it is reserved" : `below ${sections.length}`
  refuse("Image", { ...where, symbol, field: "section index", value: String(sectionIndex), expected })
}

/** The image's sections, and one for each symbol table whose section indices overflow without a place to go. */
const withExtensions = (
  image: ElfImage,
  tables: ReadonlyMap<number, OrderedSymbols>
): ReadonlyArray<ImageSection> => {
  const served = new Set<number>()
  for (const { content, link } of image.sections) {
    if (content._tag === "SymbolSectionIndices") served.add(link)
  }
  const added: Array<ImageSection> = []
  for (const [link, table] of tables) {
    if (!table.needsExtension || served.has(link)) continue
    const name = image.sectionNames === 0 ? "" : ".symtab_shndx"
    added.push(makeSection({ name, type: C.SHT_SYMTAB_SHNDX, link, content: { _tag: "SymbolSectionIndices" } }))
  }
  return added.length === 0 ? image.sections : [...image.sections, ...added]
}

const checkReferences = (
  sections: ReadonlyArray<ImageSection>,
  tables: ReadonlyMap<number, OrderedSymbols>,
  section: ImageSection,
  sectionIndex: number
): void => {
  const { content, info, link } = section
  const refuseLink = (field: string, value: number, expected: string): never =>
    refuse("Image", { sectionIndex, section: section.name, field, value: String(value), expected })
  const linked = sections[link]
  if (linked === undefined) return refuseLink("sh_link", link, `below ${sections.length}`)
  const hasTarget = content._tag === "Relocations" || (section.flags & C.SHF_INFO_LINK) !== 0n
  if (hasTarget && sections[info] === undefined) refuseLink("sh_info", info, `below ${sections.length}`)
  const table = tables.get(link)
  switch (content._tag) {
    case "Symbols":
      if (linked.content._tag !== "Strings") refuseLink("sh_link", link, "a section whose content is Strings")
      return
    case "SymbolSectionIndices":
      if (table === undefined) refuseLink("sh_link", link, "a section whose content is Symbols")
      return
    case "Relocations":
      if (table === undefined) return refuseLink("sh_link", link, "a section whose content is Symbols")
      return checkRelocations(section, sectionIndex, content.entries, table)
    case "Bytes":
      if (table?.places !== undefined) {
        refuseLink("sh_link", link, "no symbol table that is reordered, because raw bytes may hold symbol indices")
      }
      return
    default:
      return
  }
}

const checkRelocations = (
  section: ImageSection,
  sectionIndex: number,
  entries: ReadonlyArray<ImageRelocation>,
  { symbols: { length } }: OrderedSymbols
): void => {
  for (const [relocation, { addend, symbol }] of entries.entries()) {
    const where = { sectionIndex, section: section.name, relocation }
    if (!(Number.isInteger(symbol) && symbol >= 0 && symbol < length)) {
      refuse("Image", { ...where, field: "symbol index", value: String(symbol), expected: `below ${length}` })
    }
    if (section.type === C.SHT_REL && addend !== 0n) {
      refuse("Image", { ...where, field: "r_addend", value: String(addend), expected: "0 in a SHT_REL section" })
    }
  }
}

const buildStrings = (
  image: ElfImage,
  sections: ReadonlyArray<ImageSection>,
  tables: ReadonlyMap<number, OrderedSymbols>
): ReadonlyMap<number, StringTableBuilder> => {
  const strings = new Map<number, StringTableBuilder>()
  for (const [index, { content }] of sections.entries()) {
    if (content._tag === "Strings") strings.set(index, new StringTableBuilder())
  }
  if (image.sectionNames !== 0) {
    const names = strings.get(image.sectionNames)
    if (names === undefined) {
      const value = String(image.sectionNames)
      return refuse("Image", { field: "sectionNames", value, expected: "a section whose content is Strings" })
    }
    for (const [sectionIndex, { name }] of sections.entries()) {
      if (!names.add(name)) refuse("Image", { sectionIndex, section: name, hint: nameHint })
    }
  }
  for (const [sectionIndex, table] of tables) {
    const link = sections[sectionIndex]?.link ?? 0
    const names = strings.get(link)
    for (const [symbol, { name }] of table.symbols.entries()) {
      if (names?.add(name) !== true) refuse("Image", { sectionIndex, symbol, hint: nameHint })
    }
  }
  return strings
}

const nameHint = "a name holds no NUL character and no surrogates but U+DC80 to U+DCFF, which stand for bytes"
