/**
 * `ElfImage` → bytes. The layout is that of LLVM and libelf for relocatable files: header, sections in order of index at
 * aligned offsets, section header table. Equal images give equal bytes.
 */
import type * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import * as C from "./ElfConstants.ts"
import type { ElfError } from "./ElfError.ts"
import { isElfError, refuse } from "./ElfError.ts"
import type { ElfImage, ImageRelocation, ImageSection, ImageSymbol, SectionContent } from "./ElfImage.ts"
import { entrySizeOf, isNullSymbol, makeSection } from "./ElfImage.ts"
import { ElfLimits } from "./ElfModel.ts"
import { headerSize, sectionHeaderSize } from "./ElfParse.ts"
import { relaEntrySize, relEntrySize } from "./ElfRelocations.ts"
import { StringTableBuilder } from "./ElfStrings.ts"
import { symbolEntrySize } from "./ElfSymbols.ts"

/**
 * Writes an image as an ELF64 file.
 *
 * String tables are built from the names in use. In symbol tables locals come first, otherwise in the given order, with
 * `sh_info` the number of locals and relocations renumbered. With 0xff00 sections or more the numbering is extended; if
 * then a symbol's section index does not fit and no `SymbolSectionIndices` section serves its table, one named
 * `.symtab_shndx` is added at the end.
 *
 * Sections are placed at multiples of their alignment, 4096 at most: only the alignment of addresses has a meaning in a
 * relocatable file, and a larger one would let a small image make a huge file. `toImage(parse(write(x)))` is `x` if the
 * locals of `x` come first, its symbol tables have the right `info`, and no section had to be added.
 *
 * Refused (`Image`, `TooLarge`) is what the format cannot hold: values too large for their field, names with a NUL,
 * references to sections or symbols that do not exist, content of another kind than the section's type, more than
 * `ElfLimits` allows; and a symbol table that must be reordered while a section of raw bytes refers to its indices.
 */
export const write = (model: ElfImage): Result.Result<Uint8Array, ElfError> => attempt(isElfError, () => writeFile(model))

/** A symbol table in the order in which it is written. */
interface OrderedSymbols {
  readonly symbols: ReadonlyArray<ImageSymbol>
  readonly localCount: number
  /** From place in the image to place in the file; undefined if they are the same. */
  readonly places: Uint32Array | undefined
  /** Whether some section index does not fit 16 bits. */
  readonly needsExtension: boolean
}

/** All that is known of the output before bytes are written. */
interface Plan {
  readonly image: ElfImage
  readonly sections: ReadonlyArray<ImageSection>
  readonly tables: ReadonlyMap<number, OrderedSymbols>
  readonly strings: ReadonlyMap<number, StringTableBuilder>
  readonly littleEndian: boolean
}

const writeFile = (image: ElfImage): Uint8Array => {
  const plan = makePlan(image)
  const offsets: Array<number> = []
  let end = headerSize
  for (const [index, section] of plan.sections.entries()) {
    const start = section.content._tag === "Empty" ? 0 : alignUp(end, fileAlignment(section, index))
    const size = section.content._tag === "NoBits" ? 0 : sizeOf(plan, section, index)
    offsets.push(start)
    end = Math.max(end, start + size)
    if (end > ElfLimits.fileBytes) tooLarge(section, index, end)
  }
  const table = plan.sections.length === 0 ? 0 : alignUp(end, 8)
  const bytes = new Uint8Array(plan.sections.length === 0 ? end : table + plan.sections.length * sectionHeaderSize)
  const view = new DataView(bytes.buffer)
  writeHeader(plan, bytes, view, table)
  for (const [index, section] of plan.sections.entries()) {
    const start = offsets[index] ?? 0
    writeSectionHeader(plan, view, table + index * sectionHeaderSize, section, index, start)
    writeContent(plan, bytes, start, section, index)
  }
  return bytes
}

const tooLarge = ({ name }: ImageSection, sectionIndex: number, size: number): never =>
  refuse("TooLarge", {
    sectionIndex,
    section: name,
    field: "end of the section",
    value: String(size),
    expected: `at most ${ElfLimits.fileBytes} bytes`
  })

const alignUp = (offset: number, alignment: number): number => Math.ceil(offset / alignment) * alignment

/** The largest alignment of file offsets that the writer grants. */
const maxFileAlignment = 4096

const fileAlignment = ({ alignment, name }: ImageSection, sectionIndex: number): number => {
  if (alignment !== 0n && (alignment < 0n || (alignment & (alignment - 1n)) !== 0n)) {
    const value = String(alignment)
    refuse("Image", { sectionIndex, section: name, field: "sh_addralign", value, expected: "0 or a power of two" })
  }
  if (alignment > BigInt(maxFileAlignment)) return maxFileAlignment
  return alignment === 0n ? 1 : Number(alignment)
}

// ---- planning ----

const makePlan = (image: ElfImage): Plan => {
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
  if ((sectionIndex === 0) && section.type !== C.SHT_NULL) {
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

// ---- writing ----

const sizeOf = ({ strings, tables }: Plan, { content, link, type }: ImageSection, index: number): number => {
  switch (content._tag) {
    case "Empty":
      return 0
    case "NoBits":
      return content.size
    case "Bytes":
      return content.bytes.length
    case "Strings":
      return strings.get(index)?.length ?? 0
    case "Symbols":
      return content.symbols.length * symbolEntrySize
    case "SymbolSectionIndices":
      return (tables.get(link)?.symbols.length ?? 0) * 4
    case "Relocations":
      return content.entries.length * (type === C.SHT_RELA ? relaEntrySize : relEntrySize)
  }
}

/** Refuses a value that its field cannot hold; DataView would cut it silently. */
const fit = (value: number, bits: number, field: string, sectionIndex?: number): number => {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** bits) return value
  const where = sectionIndex === undefined ? {} : { sectionIndex }
  return refuse("Image", { ...where, field, value: String(value), expected: `an unsigned ${bits}-bit integer` })
}

const fitBig = (value: bigint, field: string, sectionIndex?: number): bigint => {
  if (value === BigInt.asUintN(64, value)) return value
  const where = sectionIndex === undefined ? {} : { sectionIndex }
  return refuse("Image", { ...where, field, value: String(value), expected: "an unsigned 64-bit integer" })
}

const writeHeader = ({ image, littleEndian, sections }: Plan, bytes: Uint8Array, view: DataView, table: number): void => {
  const count = sections.length
  const names = image.sectionNames
  bytes.set([0x7f, 0x45, 0x4c, 0x46, C.ELFCLASS64, littleEndian ? C.ELFDATA2LSB : C.ELFDATA2MSB, C.EV_CURRENT])
  view.setUint8(C.EI_OSABI, fit(image.osAbi, 8, "EI_OSABI"))
  view.setUint8(C.EI_ABIVERSION, fit(image.abiVersion, 8, "EI_ABIVERSION"))
  view.setUint16(16, fit(image.type, 16, "e_type"), littleEndian)
  view.setUint16(18, fit(image.machine, 16, "e_machine"), littleEndian)
  view.setUint32(20, C.EV_CURRENT, littleEndian)
  view.setBigUint64(24, fitBig(image.entry, "e_entry"), littleEndian)
  view.setBigUint64(40, BigInt(table), littleEndian)
  view.setUint32(48, fit(image.flags, 32, "e_flags"), littleEndian)
  view.setUint16(52, headerSize, littleEndian)
  view.setUint16(58, sectionHeaderSize, littleEndian)
  view.setUint16(60, count >= C.SHN_LORESERVE ? 0 : count, littleEndian)
  view.setUint16(62, names >= C.SHN_LORESERVE ? C.SHN_XINDEX : names, littleEndian)
}

const writeSectionHeader = (
  plan: Plan,
  view: DataView,
  at: number,
  section: ImageSection,
  index: number,
  start: number
): void => {
  const { image, littleEndian, sections, strings, tables } = plan
  if (index === 0) {
    // What does not fit the ELF header's 16-bit fields.
    const isExtended = sections.length >= C.SHN_LORESERVE
    view.setBigUint64(at + 32, isExtended ? BigInt(sections.length) : 0n, littleEndian)
    view.setUint32(at + 40, image.sectionNames >= C.SHN_LORESERVE ? image.sectionNames : 0, littleEndian)
    return
  }
  const info = tables.get(index)?.localCount ?? section.info
  const size = sizeOf(plan, section, index)
  view.setUint32(at, strings.get(image.sectionNames)?.offsetOf(section.name) ?? 0, littleEndian)
  view.setUint32(at + 4, fit(section.type, 32, "sh_type", index), littleEndian)
  view.setBigUint64(at + 8, fitBig(section.flags, "sh_flags", index), littleEndian)
  view.setBigUint64(at + 16, fitBig(section.address, "sh_addr", index), littleEndian)
  view.setBigUint64(at + 24, BigInt(start), littleEndian)
  view.setBigUint64(at + 32, BigInt(fit(size, 53, "sh_size", index)), littleEndian)
  view.setUint32(at + 40, fit(section.link, 32, "sh_link", index), littleEndian)
  view.setUint32(at + 44, fit(info, 32, "sh_info", index), littleEndian)
  view.setBigUint64(at + 48, fitBig(section.alignment, "sh_addralign", index), littleEndian)
  view.setBigUint64(at + 56, BigInt(fit(section.entrySize, 53, "sh_entsize", index)), littleEndian)
}

const writeContent = (plan: Plan, bytes: Uint8Array, start: number, section: ImageSection, index: number): void => {
  const { content, link } = section
  switch (content._tag) {
    case "Empty":
    case "NoBits":
      return
    case "Bytes":
      return bytes.set(content.bytes, start)
    case "Strings":
      return plan.strings.get(index)?.writeTo(bytes, start)
    case "Symbols":
      return writeSymbols(plan, bytes, start, index, link)
    case "SymbolSectionIndices":
      return writeExtendedIndices(plan, bytes, start, link)
    case "Relocations":
      return writeRelocations(plan, bytes, start, section, index, content.entries)
  }
}

const writeSymbols = (plan: Plan, bytes: Uint8Array, start: number, index: number, link: number): void => {
  const { littleEndian, strings, tables } = plan
  const view = new DataView(bytes.buffer, start)
  let at = 0
  for (const symbol of tables.get(index)?.symbols ?? []) {
    const { isReserved, other, sectionIndex } = symbol
    const stored = isReserved || sectionIndex < C.SHN_LORESERVE ? sectionIndex : C.SHN_XINDEX
    if ((other & ~0xfc) !== 0) refuse("Image", { sectionIndex: index, field: "st_other", value: String(other) })
    view.setUint32(at, strings.get(link)?.offsetOf(symbol.name) ?? 0, littleEndian)
    view.setUint8(at + 4, fit(symbol.binding, 4, "binding", index) << 4 | fit(symbol.type, 4, "type", index))
    view.setUint8(at + 5, other | fit(symbol.visibility, 2, "visibility", index))
    view.setUint16(at + 6, stored, littleEndian)
    view.setBigUint64(at + 8, fitBig(symbol.value, "st_value", index), littleEndian)
    view.setBigUint64(at + 16, fitBig(symbol.size, "st_size", index), littleEndian)
    at += symbolEntrySize
  }
}

const writeExtendedIndices = (plan: Plan, bytes: Uint8Array, start: number, link: number): void => {
  const view = new DataView(bytes.buffer, start)
  let at = 0
  for (const { isReserved, sectionIndex } of plan.tables.get(link)?.symbols ?? []) {
    view.setUint32(at, isReserved || sectionIndex < C.SHN_LORESERVE ? 0 : sectionIndex, plan.littleEndian)
    at += 4
  }
}

const writeRelocations = (
  { littleEndian, tables }: Plan,
  bytes: Uint8Array,
  start: number,
  section: ImageSection,
  index: number,
  entries: ReadonlyArray<ImageRelocation>
): void => {
  const view = new DataView(bytes.buffer, start)
  const places = tables.get(section.link)?.places
  const hasAddends = section.type === C.SHT_RELA
  let at = 0
  for (const { addend, offset, symbol, type } of entries) {
    view.setBigUint64(at, fitBig(offset, "r_offset", index), littleEndian)
    view.setUint32(at + (littleEndian ? 8 : 12), fit(type, 32, "relocation type", index), littleEndian)
    view.setUint32(at + (littleEndian ? 12 : 8), places?.[symbol] ?? symbol, littleEndian)
    if (hasAddends) {
      if (addend !== BigInt.asIntN(64, addend)) {
        refuse("Image", { sectionIndex: index, field: "r_addend", value: String(addend) })
      }
      view.setBigInt64(at + 16, addend, littleEndian)
    }
    at += hasAddends ? relaEntrySize : relEntrySize
  }
}
