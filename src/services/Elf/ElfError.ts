/** The error of the ELF room. */
import * as Schema from "effect/Schema"

/**
 * Bytes that are no ELF64 file that this library reads, or an image that cannot be written as one.
 *
 * - `NotElf`: too short for a header, or without the magic number
 * - `Class`: not 64-bit
 * - `ByteOrder`: neither little- nor big-endian
 * - `Version`: an unknown version of the format
 * - `HeaderSize`: the ELF header, or an entry of one of the two header tables, has not the size that ELF64 prescribes
 * - `OutOfBounds`: a table or the data of a section reaches beyond the end of the file
 * - `Overlap`: sections together are larger than the file, so some share bytes, which the format forbids
 * - `SectionType`: a section is of another type than its place requires
 * - `Link`: `sh_link`, `sh_info` or `e_shstrndx` names a section that does not exist or is of the wrong type
 * - `StringTable`: a string table does not end with a NUL byte
 * - `Name`: the name of a section or a symbol lies outside its string table
 * - `EntrySize`: the entry size of a table is wrong, or its size is no multiple of it
 * - `Symbol`: a symbol is in a section that does not exist
 * - `Relocation`: a relocation names a symbol that does not exist
 * - `Compressed`: a table is compressed (`SHF_COMPRESSED`), which tables needed here must not be
 * - `SymbolVersions`: a malformed table of symbol versions (`.gnu.version`, `_d`, `_r`)
 * - `Dynamic`: the information for dynamic linking is malformed, or does not say how many symbols there are
 * - `TooLarge`: more sections, longer names or a larger file than `ElfLimits` allows
 * - `Image`: an image to be written breaks a rule of the format or of the writer
 *
 * `field` is the field at fault in gABI spelling, `value` what it holds and `expected` what it must hold; `section` and
 * `sectionIndex` name the section, `symbol` and `relocation` an entry by index; `offset` is the place in the file: of
 * the field or entry at fault where it is known, otherwise of the section's data.
 */
export class ElfError extends Schema.TaggedError<ElfError>()("ElfError", {
  reason: Schema.Literals([
    "NotElf",
    "Class",
    "ByteOrder",
    "Version",
    "HeaderSize",
    "OutOfBounds",
    "Overlap",
    "SectionType",
    "Link",
    "StringTable",
    "Name",
    "EntrySize",
    "Symbol",
    "Relocation",
    "Compressed",
    "SymbolVersions",
    "Dynamic",
    "TooLarge",
    "Image"
  ]),
  section: Schema.optionalKey(Schema.String),
  sectionIndex: Schema.optionalKey(Schema.Number),
  symbol: Schema.optionalKey(Schema.Number),
  relocation: Schema.optionalKey(Schema.Number),
  field: Schema.optionalKey(Schema.String),
  value: Schema.optionalKey(Schema.String),
  expected: Schema.optionalKey(Schema.String),
  offset: Schema.optionalKey(Schema.Number),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const where: Array<string> = []
    if (this.sectionIndex !== undefined) where.push(`section ${this.sectionIndex}`)
    if (this.section !== undefined && this.section !== "") where.push(this.section)
    if (this.symbol !== undefined) where.push(`symbol ${this.symbol}`)
    if (this.relocation !== undefined) where.push(`relocation ${this.relocation}`)
    const place = where.length === 0 ? "" : `${where.join(" ")}: `
    const found = this.value === undefined ? "" : `: ${this.field ?? "it"} is ${this.value}`
    const wanted = this.expected === undefined ? "" : `${found === "" ? ": " : ", "}must be ${this.expected}`
    const offset = this.offset === undefined ? "" : ` (file offset 0x${this.offset.toString(16)})`
    const hint = this.hint === undefined ? "" : `; ${this.hint}`
    return place + sentences[this.reason] + found + wanted + offset + hint
  }
}

const sentences: Readonly<Record<ElfError["reason"], string>> = {
  NotElf: "not an ELF file",
  Class: "not a 64-bit ELF file",
  ByteOrder: "unknown byte order",
  Version: "unknown version of ELF",
  HeaderSize: "a header of unexpected size",
  OutOfBounds: "reaches beyond the end of the file",
  Overlap: "sections overlap",
  SectionType: "section of the wrong type",
  Link: "refers to a section that is absent or of the wrong type",
  StringTable: "string table without a NUL byte at its end",
  Name: "name outside its string table",
  EntrySize: "table with entries of unexpected size",
  Symbol: "symbol of a section that does not exist",
  Relocation: "relocation against a symbol that does not exist",
  Compressed: "a compressed table cannot be read",
  SymbolVersions: "malformed symbol versions",
  Dynamic: "malformed information for dynamic linking",
  TooLarge: "larger than this library accepts",
  Image: "cannot be written as ELF"
}

/** What an `ElfError` may carry beside its reason. */
export type ElfErrorFields = Omit<ConstructorParameters<typeof ElfError>[0], "reason">

/** Throws an `ElfError`; for the inside of this folder, whose public functions catch it with `attempt`. */
export const refuse: (reason: ElfError["reason"], fields: ElfErrorFields) => never = (reason, fields) => {
  throw new ElfError({ ...fields, reason })
}

/** Whether a thrown value is an `ElfError`; for `attempt`. */
export const isElfError = (thrown: unknown): thrown is ElfError => thrown instanceof ElfError
