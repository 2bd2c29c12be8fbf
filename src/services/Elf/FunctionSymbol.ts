/** One symbol of a binary as a function: its name and version, and where its code is in the file. */
import type { BinarySymbols } from "./BinarySymbols.ts"
import { bindingOf, nameOffsetOf, sectionOf, valueOf } from "./BinarySymbols.ts"
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
 * tables of its own.
 */
export const spellingOf = (symbols: BinarySymbols, index: number): Spelling => {
  const text = readString(symbols.strings, nameOffsetOf(symbols, index))
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

/** Offset 0 holds the file's header, and no function. */
const nowhere = 0n

/**
 * Where a symbol's code begins in the file, in bytes; or why there is none: `undefined` here, defined without a section
 * (`absolute`), or with its code `elsewhere`: in a section without bytes in this file, or outside of its section.
 */
export const placeOf = (
  binary: ElfBinary,
  symbols: BinarySymbols,
  index: number
): bigint | "undefined" | "absolute" | "elsewhere" => {
  const number = sectionOf(symbols, index)
  if (number === C.SHN_UNDEF) return "undefined"
  if (number === undefined) return "absolute"
  const address = addressOf(binary, symbols, index)
  if (!symbols.bySections) {
    const offset = fileOffsetOf(binary, address)
    return offset === undefined || offset === nowhere ? "elsewhere" : offset
  }
  const section = binary.sections[number]
  if (section === undefined || section.type === C.SHT_NULL) return "absolute"
  const into = address - section.address
  if (section.type === C.SHT_NOBITS || into < 0n || into >= section.size) return "elsewhere"
  const offset = into + section.offset
  return offset >= BigInt(binary.source.size) || offset === nowhere ? "elsewhere" : offset
}
