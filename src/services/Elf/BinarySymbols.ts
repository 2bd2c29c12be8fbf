/**
 * A symbol table of a binary of either class. Entries are looked at in place, by their index, which must be below the count;
 * `SymbolTables.ts` reads the tables.
 */
import * as C from "./ElfConstants.ts"
import { refuse } from "./ElfError.ts"
import type { SymbolVersions } from "./SymbolVersions.ts"

/** A symbol table, its names and their versions. */
export interface BinarySymbols {
  /** `dynsym`: for dynamic linking; `symtab`: for linkers and debuggers, often stripped. */
  readonly table: "dynsym" | "symtab"
  /** Whether it was found by sections: then a symbol's section is known by its index. */
  readonly bySections: boolean
  readonly bits: 32 | 64
  readonly little: boolean
  /** Number of symbols, the null symbol at 0 included. */
  readonly count: number
  /** The entries, of `symbolSizes[bits]` bytes each. */
  readonly entries: DataView
  /** Ends with a NUL byte unless it is empty. */
  readonly strings: Uint8Array
  /** Section indices of symbols whose own field is too small. */
  readonly extended: DataView | undefined
  readonly versions: SymbolVersions | undefined
}

/** Bytes of `Elf32_Sym` and `Elf64_Sym`. */
export const symbolSizes = { 32: 16, 64: 24 } as const

/** Where the fields of a symbol are that the classes place differently. */
const places = { 32: { value: 4, size: 8, info: 12, section: 14 }, 64: { value: 8, size: 16, info: 4, section: 6 } }

/** The type of a symbol, one of `STT_*`. */
export const typeOf = ({ bits, entries }: BinarySymbols, index: number): number =>
  entries.getUint8(index * symbolSizes[bits] + places[bits].info) & 0xf

/** The binding of a symbol, one of `STB_*`. */
export const bindingOf = ({ bits, entries }: BinarySymbols, index: number): number =>
  entries.getUint8(index * symbolSizes[bits] + places[bits].info) >> 4

const wordOf = ({ bits, entries, little }: BinarySymbols, index: number, place: number): bigint =>
  bits === 64
    ? entries.getBigUint64(index * symbolSizes[64] + place, little)
    : BigInt(entries.getUint32(index * symbolSizes[32] + place, little))

/** `st_value`: an address. */
export const valueOf = (symbols: BinarySymbols, index: number): bigint =>
  wordOf(symbols, index, places[symbols.bits].value)

/** `st_size` in bytes, 0 if unknown. */
export const sizeOf = (symbols: BinarySymbols, index: number): bigint =>
  wordOf(symbols, index, places[symbols.bits].size)

/** Where the name of a symbol begins in the table of names; checked. Throws. */
export const nameOffsetOf = ({ bits, entries, little, strings }: BinarySymbols, index: number): number => {
  const place = entries.getUint32(index * symbolSizes[bits], little)
  if (place >= strings.length && place !== 0) {
    refuse("Name", { symbol: index, field: "st_name", value: String(place), expected: `below ${strings.length}` })
  }
  return place
}

/** The section index of a symbol, or undefined for reserved ones, which name no section (`SHN_ABS`, `SHN_COMMON`). */
export const sectionOf = (symbols: BinarySymbols, index: number): number | undefined => {
  const { bits, entries, extended, little } = symbols
  const stored = entries.getUint16(index * symbolSizes[bits] + places[bits].section, little)
  if (stored < C.SHN_LORESERVE) return stored
  if (stored !== C.SHN_XINDEX || extended === undefined || index * 4 + 4 > extended.byteLength) return undefined
  return extended.getUint32(index * 4, little)
}
