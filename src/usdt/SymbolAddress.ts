/**
 * The addresses of variables by their names: assemblers may name a variable as the place of an argument, `4@counter(%rip)`.
 *
 * libbpf does not understand these. A place relative to the instruction is as far from the probe at run time as it was when the file
 * was linked, so programs can read it relative to the instruction pointer, wherever the file is loaded.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import type { BinarySymbols } from "../services/Elf/BinarySymbols.ts"
import * as Symbols from "../services/Elf/BinarySymbols.ts"
import * as ElfBinary from "../services/Elf/ElfBinary.ts"
import * as C from "../services/Elf/ElfConstants.ts"
import { readSymbols } from "../services/Elf/SymbolTables.ts"

/** What is known of a name: its address, or that it stands for several. */
export type SymbolAddress = bigint | "ambiguous"

const isNamed = (strings: Uint8Array, at: number, name: Uint8Array): boolean => {
  for (let index = 0; index < name.length; index++) {
    if (strings[at + index] !== name[index]) return false
  }
  return true
}

const search = (
  symbols: BinarySymbols,
  wanted: ReadonlyArray<readonly [name: string, bytes: Uint8Array]>,
  found: Map<string, SymbolAddress>
): void => {
  for (let index = 1; index < symbols.count; index++) {
    const at = Symbols.nameOffsetOf(symbols, index)
    const first = symbols.strings[at]
    for (const [name, bytes] of wanted) {
      if (bytes[0] !== first || !isNamed(symbols.strings, at, bytes)) continue
      const section = Symbols.sectionOf(symbols, index)
      if (section === undefined || section === C.SHN_UNDEF || Symbols.typeOf(symbols, index) === C.STT_TLS) continue
      const address = Symbols.valueOf(symbols, index)
      const known = found.get(name)
      found.set(name, known === undefined || known === address ? address : "ambiguous")
    }
  }
}

/**
 * The addresses of these names, as far as they are defined in the file: in one pass over its symbols, first those for linkers and
 * debuggers, then, for what is not among them, those for dynamic linking.
 */
export const addressesOf = (
  binary: ElfBinary.ElfBinary,
  names: ReadonlySet<string>
): Result.Result<ReadonlyMap<string, SymbolAddress>, ElfBinary.BinaryError> =>
  attempt(ElfBinary.isBinaryError, () => {
    const found = new Map<string, SymbolAddress>()
    for (const table of ["symtab", "dynsym"] as const) {
      const missing = [...names].filter((name) => !found.has(name))
      if (missing.length === 0) break
      const symbols = readSymbols(binary, table)
      if (symbols === undefined) continue
      search(symbols, missing.map((name) => [name, new TextEncoder().encode(`${name}\0`)]), found)
    }
    return found
  })
