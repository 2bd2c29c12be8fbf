/**
 * Passes over a symbol table: one that finds many names at once, and one that visits all functions.
 *
 * The work of a pass is in proportion to the table and to the length of the names that are looked for, however many these
 * are; no name of the table is looked at beyond that length, so that a hostile table whose symbols all share one long name
 * costs no more than another.
 */
import type { BinarySymbols } from "./BinarySymbols.ts"
import { nameOffsetOf, symbolSizes } from "./BinarySymbols.ts"
import * as C from "./ElfConstants.ts"
import { refuse } from "./ElfError.ts"
import { ElfLimits } from "./ElfModel.ts"
import { hasLongString } from "./ElfStrings.ts"

/** A set of names to look for, by their bytes. */
export interface Wanted {
  readonly names: ReadonlyArray<Uint8Array>
  /** Slots of an open hash table: the place of a name in `names` plus one, 0 where the slot is free. */
  readonly slots: Int32Array
  readonly hashes: Int32Array
  /** Bytes of the longest name. */
  readonly longest: number
}

const AT = 0x40

const hashOf = (name: Uint8Array): number => {
  let hash = 0
  for (const byte of name) hash = (Math.imul(hash, 31) + byte) | 0
  return hash
}

/** Spreads a hash over the slots: names differ in their last bytes most. */
const slotOf = (hash: number, mask: number): number => (Math.imul(hash, 0x9e3779b1) >>> 8) & mask

/** Prepares names, which must be different from each other. */
export const wanted = (names: ReadonlyArray<Uint8Array>): Wanted => {
  let size = 8
  while (size < names.length * 2) size *= 2
  const slots = new Int32Array(size)
  const hashes = Int32Array.from(names, hashOf)
  let longest = 0
  names.forEach((name, place) => {
    let slot = slotOf(hashes[place] ?? 0, size - 1)
    while (slots[slot] !== 0) slot = (slot + 1) & (size - 1)
    slots[slot] = place + 1
    longest = Math.max(longest, name.length)
  })
  return { names, slots, hashes, longest }
}

const isAt = (name: Uint8Array, strings: Uint8Array, start: number): boolean => {
  for (let at = 0; at < name.length; at++) {
    if (name[at] !== strings[start + at]) return false
  }
  return true
}

/** The types of symbols that are looked at, as bits by type. */
export const functionTypes: number = (1 << C.STT_FUNC) | (1 << C.STT_GNU_IFUNC)
/** Data, in place of functions. */
export const objectTypes: number = 1 << C.STT_OBJECT
/** All that may have the name of a function and is none. What is used from elsewhere often has no type. */
export const otherTypes: number = (1 << C.STT_NOTYPE) | (1 << C.STT_OBJECT) | (1 << C.STT_COMMON) | (1 << C.STT_TLS) |
  functionTypes

/**
 * Calls `found` for each symbol of one of the types whose name, up to its end or to the `@` of a version, is wanted: with the
 * place of the name in the set and the index of the symbol, in the order of the table. Throws `ElfError` for a name outside
 * the table of names.
 */
export const findNames = (
  symbols: BinarySymbols,
  types: number,
  { hashes, longest, names, slots }: Wanted,
  found: (place: number, index: number) => void
): void => {
  const { bits, count, entries, strings } = symbols
  const bytes = new Uint8Array(entries.buffer, entries.byteOffset, entries.byteLength)
  const size = symbolSizes[bits]
  const mask = slots.length - 1
  for (let index = 1, info = size + (bits === 64 ? 4 : 12); index < count; index++, info += size) {
    if (((types >> ((bytes[info] ?? 0) & 0xf)) & 1) === 0) continue
    const start = nameOffsetOf(symbols, index)
    const limit = Math.min(start + longest, strings.length)
    let hash = 0
    let end = start
    for (; end < limit; end++) {
      const byte = strings[end] ?? 0
      if (byte === 0 || byte === AT) break
      hash = (Math.imul(hash, 31) + byte) | 0
    }
    const next = strings[end] ?? 0
    if (next !== 0 && next !== AT) continue
    for (let slot = slotOf(hash, mask); slots[slot] !== 0; slot = (slot + 1) & mask) {
      const place = (slots[slot] ?? 0) - 1
      const name = names[place]
      if (hashes[place] !== hash || name === undefined || name.length !== end - start) continue
      if (isAt(name, strings, start)) {
        found(place, index)
        break
      }
    }
  }
}

/**
 * Calls `visit` with the index of each symbol of one of the types that has a name, in the order of the table. Throws
 * `ElfError` for a name outside the table of names, and where the names together are many times larger than their table.
 */
export const visitFunctions = (symbols: BinarySymbols, types: number, visit: (index: number) => void): void => {
  const { bits, count, entries, strings } = symbols
  const bytes = new Uint8Array(entries.buffer, entries.byteOffset, entries.byteLength)
  const size = symbolSizes[bits]
  let budget = hasLongString(strings, ElfLimits.averageNameBytes)
    ? ElfLimits.averageNameBytes * count + 8 * strings.length
    : Infinity
  for (let index = 1, info = size + (bits === 64 ? 4 : 12); index < count; index++, info += size) {
    if (((types >> ((bytes[info] ?? 0) & 0xf)) & 1) === 0) continue
    const start = nameOffsetOf(symbols, index)
    if ((strings[start] ?? 0) === 0) continue
    if (budget !== Infinity) {
      budget -= strings.indexOf(0, start) - start
      if (budget < 0) refuse("TooLarge", { symbol: index, field: "length of the symbols' names" })
    }
    visit(index)
  }
}
