/**
 * `ElfImage` → bytes. The layout is that of LLVM and libelf for relocatable files: header, sections in order of index
 * at aligned offsets, section header table. Equal images give equal bytes.
 */
import type * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import * as C from "./ElfConstants.ts"
import type { ElfError } from "./ElfError.ts"
import { isElfError, refuse } from "./ElfError.ts"
import type { ElfImage, ImageRelocation, ImageSection } from "./ElfImage.ts"
import { ElfLimits } from "./ElfModel.ts"
import { headerSize, sectionHeaderSize } from "./ElfParse.ts"
import type { Plan } from "./ElfPlan.ts"
import { makePlan } from "./ElfPlan.ts"
import { relaEntrySize, relEntrySize } from "./ElfRelocations.ts"
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
export const write = (model: ElfImage): Result.Result<Uint8Array, ElfError> =>
  attempt(isElfError, () => writeFile(model))

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

const writeHeader = (
  { image, littleEndian, sections }: Plan,
  bytes: Uint8Array,
  view: DataView,
  table: number
): void => {
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
