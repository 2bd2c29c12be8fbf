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
  /** The entries. */
  readonly entries: DataView
  /** Bytes of an entry, and where its fields are. */
  readonly layout: SymbolLayout
  /** Ends with a NUL byte unless it is empty. */
  readonly strings: Uint8Array
  /** Section indices of symbols whose own field is too small. */
  readonly extended: DataView | undefined
  readonly versions: SymbolVersions | undefined
}

/** How the entries of a class are laid out: their size, and the places of fields, in bytes. */
export interface SymbolLayout {
  readonly entry: number
  readonly value: number
  readonly size: number
  readonly info: number
  readonly section: number
}

/** `Elf32_Sym`. */
const layout32: SymbolLayout = { entry: 16, value: 4, size: 8, info: 12, section: 14 }
/** `Elf64_Sym`. */
const layout64: SymbolLayout = { entry: 24, value: 8, size: 16, info: 4, section: 6 }

/** The layout of a class. */
export const layoutOf = (bits: 32 | 64): SymbolLayout => bits === 32 ? layout32 : layout64

/** The type of a symbol, one of `STT_*`. */
export const typeOf = ({ entries, layout }: BinarySymbols, index: number): number =>
  entries.getUint8(index * layout.entry + layout.info) & 0xf

/** The binding of a symbol, one of `STB_*`. */
export const bindingOf = ({ entries, layout }: BinarySymbols, index: number): number =>
  entries.getUint8(index * layout.entry + layout.info) >> 4

const wordAt = ({ bits, entries, little }: BinarySymbols, at: number): bigint =>
  bits === 64 ? entries.getBigUint64(at, little) : BigInt(entries.getUint32(at, little))

/** The lower half of `st_value`, as a number. */
export const lowValueOf = ({ bits, entries, layout, little }: BinarySymbols, index: number): number => {
  const at = index * layout.entry + layout.value
  return entries.getUint32(bits === 64 && !little ? at + 4 : at, little)
}

/** The upper half of `st_value`, as a number: 0 where values have 32 bits. */
export const highValueOf = ({ bits, entries, layout, little }: BinarySymbols, index: number): number => {
  const at = index * layout.entry + layout.value
  return bits === 64 ? entries.getUint32(little ? at + 4 : at, little) : 0
}

/** `st_value`: an address. */
export const valueOf = (symbols: BinarySymbols, index: number): bigint =>
  wordAt(symbols, index * symbols.layout.entry + symbols.layout.value)

/** `st_size` in bytes, 0 if unknown. */
export const sizeOf = (symbols: BinarySymbols, index: number): bigint =>
  wordAt(symbols, index * symbols.layout.entry + symbols.layout.size)

/** Where the name of a symbol begins in the table of names; checked. Throws. */
export const nameOffsetOf = ({ entries, layout, little, strings }: BinarySymbols, index: number): number => {
  const place = entries.getUint32(index * layout.entry, little)
  if (place >= strings.length && place !== 0) {
    refuse("Name", { symbol: index, field: "st_name", value: String(place), expected: `below ${strings.length}` })
  }
  return place
}

/** The section index of a symbol, or undefined for reserved ones, which name no section (`SHN_ABS`, `SHN_COMMON`). */
export const sectionOf = (symbols: BinarySymbols, index: number): number | undefined => {
  const { entries, extended, layout, little } = symbols
  const stored = entries.getUint16(index * layout.entry + layout.section, little)
  if (stored < C.SHN_LORESERVE) return stored
  if (stored !== C.SHN_XINDEX || extended === undefined || index * 4 + 4 > extended.byteLength) return undefined
  return extended.getUint32(index * 4, little)
}
