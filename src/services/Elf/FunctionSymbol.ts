/** One symbol of a binary as a function: its name and version, and where its code is in the file. */
import type { BinarySymbols } from "./BinarySymbols.ts"
import { bindingOf, highValueOf, lowValueOf, nameOffsetOf, sectionOf, valueOf } from "./BinarySymbols.ts"
import type { ElfBinary } from "./ElfBinary.ts"
import { fileOffsetOf } from "./ElfBinary.ts"
import * as C from "./ElfConstants.ts"
import { readString } from "./ElfStrings.ts"

/** A name, and the version that belongs to it. */
export interface Spelling {
  readonly name: string
  readonly version: string | undefined
  /** Whether a link that asks for no version gets this one: `name@@VERSION`. */
  readonly isDefault: boolean
  /** The file that has to have the version, for symbols that are not defined here. */
  readonly library: string | undefined
}

/**
 * Name and version of a symbol. A linker writes the version behind the name into `.symtab`; of dynamic symbols it is in
 * tables of its own. Where the name is known already, up to a version, it need not be read again.
 */
export const spellingOf = (symbols: BinarySymbols, index: number, known?: string): Spelling => {
  const start = nameOffsetOf(symbols, index)
  const text = known !== undefined && isWhole(symbols.strings, start, known)
    ? known
    : readString(symbols.strings, start)
  const at = text.indexOf("@", 1)
  if (at > 0) {
    const isDefault = text[at + 1] === "@"
    const version = text.slice(isDefault ? at + 2 : at + 1)
    return { name: text.slice(0, at), version: version === "" ? undefined : version, isDefault, library: undefined }
  }
  const { little, versions } = symbols
  const stored = versions?.indices.getUint16(index * 2, little) ?? C.VER_NDX_GLOBAL
  const number = stored & ~C.VERSYM_HIDDEN
  if (versions === undefined || number <= C.VER_NDX_GLOBAL) {
    return { name: text, version: undefined, isDefault: false, library: undefined }
  }
  // Only what is used from elsewhere has a version that is needed of elsewhere.
  const needed = sectionOf(symbols, index) === C.SHN_UNDEF ? versions.needed.get(number) : undefined
  return {
    name: text,
    version: needed?.version ?? versions.defined.get(number),
    isDefault: (stored & C.VERSYM_HIDDEN) === 0,
    library: needed?.library
  }
}

/** Whether a name that is known to begin a string is all of it. Of other letters than those of ASCII it may not be told. */
const isWhole = (strings: Uint8Array, start: number, known: string): boolean => strings[start + known.length] === 0

/** A name as it is written: `name`, `name@VERSION` or `name@@VERSION`. */
export const written = ({ isDefault, name, version }: Omit<Spelling, "library">): string =>
  version === undefined ? name : `${name}${isDefault ? "@@" : "@"}${version}`

/** How a symbol is bound. Bindings of systems and processors, such as `STB_GNU_UNIQUE`, are global. */
export const boundOf = (symbols: BinarySymbols, index: number): "local" | "global" | "weak" => {
  const binding = bindingOf(symbols, index)
  return binding === C.STB_LOCAL ? "local" : binding === C.STB_WEAK ? "weak" : "global"
}

/**
 * The address of a function: the symbol's value. Of 32-bit Arm the lowest bit is not of the address: it says that the code
 * is Thumb.
 */
export const addressOf = (binary: ElfBinary, symbols: BinarySymbols, index: number): bigint => {
  const value = valueOf(symbols, index)
  return binary.machine === C.EM_ARM ? value & ~1n : value
}

/** Why a symbol has no place in the file: it is not defined there. */
export const UNDEFINED = -1
/** It is defined without a section (`SHN_ABS`, `SHN_COMMON`), or with one that does not exist. */
const ABSOLUTE = -2
/** Its code is not in this file, or not in its section. */
const ELSEWHERE = -3

/**
 * Where the sections of a binary are in memory and in the file, as numbers for loops. An address is two halves, because a
 * number does not hold all addresses exactly; how far one is from another it does hold.
 */
export interface Places {
  readonly binary: ElfBinary
  readonly high: Uint32Array
  readonly low: Uint32Array
  readonly sizes: Float64Array
  readonly offsets: Float64Array
}

const noBytes = (type: number): boolean => type === C.SHT_NOBITS || type === C.SHT_NULL

/** Prepares `placeOf`. */
export const placesOf = (binary: ElfBinary): Places => {
  const { sections } = binary
  return {
    binary,
    high: Uint32Array.from(sections, ({ address }) => Number(address >> 32n)),
    low: Uint32Array.from(sections, ({ address }) => Number(address & 0xffff_ffffn)),
    sizes: Float64Array.from(sections, ({ size, type }) => noBytes(type) ? 0 : Number(size)),
    offsets: Float64Array.from(sections, ({ offset }) => Number(offset))
  }
}

/**
 * Where a symbol's code begins in the file, in bytes from its start; or a negative number that says why there is none. Never
 * 0, where the file's header is.
 */
export const placeOf = (places: Places, symbols: BinarySymbols, index: number): number => {
  const { binary } = places
  const number = sectionOf(symbols, index)
  if (number === C.SHN_UNDEF) return UNDEFINED
  if (number === undefined) return ABSOLUTE
  if (!symbols.bySections) return Number(fileOffsetOf(binary, addressOf(binary, symbols, index)) ?? 0n) || ELSEWHERE
  const section = binary.sections[number]
  if (section === undefined || section.type === C.SHT_NULL) return ABSOLUTE
  const into = (highValueOf(symbols, index) - (places.high[number] ?? 0)) * 0x1_0000_0000 +
    codeOf(binary, lowValueOf(symbols, index)) - (places.low[number] ?? 0)
  if (into < 0 || into >= (places.sizes[number] ?? 0)) return ELSEWHERE
  const offset = into + (places.offsets[number] ?? 0)
  return offset >= binary.source.size ? ELSEWHERE : offset || ELSEWHERE
}

/** The lower half of an address without what is not of the address; see `addressOf`. */
const codeOf = ({ machine }: ElfBinary, low: number): number => machine === C.EM_ARM && (low & 1) === 1 ? low - 1 : low
