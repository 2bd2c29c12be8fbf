/** A function that was found, and one that was looked at: symbols as values. */
import type { BinarySymbols } from "./BinarySymbols.ts"
import { sizeOf, typeOf } from "./BinarySymbols.ts"
import * as C from "./ElfConstants.ts"
import type { FunctionName } from "./FunctionName.ts"
import type { Candidate } from "./FunctionOffsetError.ts"
import type { Places } from "./FunctionSymbol.ts"
import { addressOf, boundOf, placeOf, spellingOf, written } from "./FunctionSymbol.ts"

/** A function of a file. */
export interface FunctionOffset {
  /** As it was asked for; of a pattern the function's name. */
  readonly symbol: string
  /** Bytes from the start of the file: what a uprobe takes. Never 0. */
  readonly offset: bigint
  /** The virtual address that the file was linked for. */
  readonly address: bigint
  /** The function's name, without a version. */
  readonly name: string
  readonly version: string | undefined
  /** Whether a link that asks for no version gets this one. */
  readonly isDefault: boolean
  /** Bytes of the function, 0 if unknown. */
  readonly size: bigint
  readonly binding: "local" | "global" | "weak"
  readonly table: "dynsym" | "symtab"
  /** Whether the code is not the function itself but chooses it when the program starts (`STT_GNU_IFUNC`). */
  readonly isIndirect: boolean
}

/** The function of a symbol whose code begins at `offset`; as it was asked for, if it was asked for by a name. */
export const foundAt = (
  { binary }: Places,
  symbols: BinarySymbols,
  index: number,
  offset: number,
  asked?: FunctionName
): FunctionOffset => {
  const { isDefault, name, version } = spellingOf(symbols, index, asked?.name)
  const address = addressOf(binary, symbols, index)
  const isMoved = asked !== undefined && asked.delta !== 0n
  return {
    symbol: asked?.text ?? name,
    offset: isMoved ? BigInt(offset) + asked.delta : BigInt(offset),
    address: isMoved ? address + asked.delta : address,
    name,
    version,
    isDefault,
    size: sizeOf(symbols, index),
    binding: boundOf(symbols, index),
    table: symbols.table,
    isIndirect: typeOf(symbols, index) === C.STT_GNU_IFUNC
  }
}

/** What an error shows of a symbol. */
export const candidateAt = (places: Places, symbols: BinarySymbols, index: number): Candidate => {
  const place = placeOf(places, symbols, index)
  const symbol = written(spellingOf(symbols, index))
  return { symbol, binding: boundOf(symbols, index), ...(place > 0 ? { offset: BigInt(place) } : {}) }
}
