/**
 * Passes over a symbol table: one that finds many names at once, and one that visits all functions.
 *
 * The work of a pass is in proportion to the table and to the length of the names that are looked for, however many these
 * are; no name of the table is looked at beyond that length, so that a hostile table whose symbols all share one long name
 * costs no more than another.
 */
import type { BinarySymbols } from "./BinarySymbols.ts"
import { nameOffsetOf } from "./BinarySymbols.ts"
import * as C from "./ElfConstants.ts"
import { refuse } from "./ElfError.ts"
import { ElfLimits } from "./ElfModel.ts"
import { encodeString, hasLongString } from "./ElfStrings.ts"

/** A set of names to look for. */
export interface Wanted {
  /** Number of names. */
  readonly count: number
  /** By the place where a name was given: its place in the set, which has each name once. */
  readonly groups: Int32Array
  /** The names, one behind the other. */
  readonly bytes: Uint8Array
  /** Where each name begins in `bytes`, and where the last one ends. */
  readonly starts: Uint32Array
  readonly hashes: Int32Array
  /** Slots of an open hash table: the place of a name plus one, 0 where the slot is free. */
  readonly slots: Int32Array
  /** Bytes of the longest name. */
  readonly longest: number
}

/** The symbols that were found of each wanted name: lists over shared arrays, since most have one symbol or none. */
export interface Matches {
  /** By the place of a name: its first match, -1 for none. */
  readonly heads: Int32Array
  /** By match: the index of the symbol, and the next match of the same name, -1 behind the last. */
  readonly indices: ReadonlyArray<number>
  readonly next: ReadonlyArray<number>
}

const AT = 0x40

/** Spreads a hash over the slots: names differ in their last bytes most. */
const slotOf = (hash: number, mask: number): number => (Math.imul(hash, 0x9e3779b1) >>> 8) & mask

/** Whether `length` bytes at two places are the same. */
const isEqual = (a: Uint8Array, from: number, b: Uint8Array, start: number, length: number): boolean => {
  for (let at = 0; at < length; at++) {
    if (a[from + at] !== b[start + at]) return false
  }
  return true
}

const noBytes = new Uint8Array(0)

/** Prepares names, which may repeat. */
export const wanted = (names: ReadonlyArray<string>): Wanted => {
  let size = 8
  let room = 0
  while (size < names.length * 4) size *= 2
  for (const name of names) room += name.length
  // A letter takes three bytes at most: those of four are two letters to JavaScript.
  const bytes = new Uint8Array(room * 3)
  const groups = new Int32Array(names.length)
  const starts = new Uint32Array(names.length + 1)
  const slots = new Int32Array(size)
  const hashes = new Int32Array(names.length)
  let longest = 0
  let count = 0
  for (let place = 0; place < names.length; place++) {
    const name = names[place] ?? ""
    const start = starts[count] ?? 0
    let end = start
    let hash = 0
    for (; end - start < name.length; end++) {
      const unit = name.charCodeAt(end - start)
      if (unit === 0 || unit > 0x7f) break
      bytes[end] = unit
      hash = (Math.imul(hash, 31) + unit) | 0
    }
    if (end - start < name.length) {
      // A name that no file can hold is empty, and found nowhere.
      const encoded = encodeString(name) ?? noBytes
      bytes.set(encoded, start)
      end = start + encoded.length
      hash = 0
      for (let at = start; at < end; at++) hash = (Math.imul(hash, 31) + (bytes[at] ?? 0)) | 0
    }
    let slot = slotOf(hash, size - 1)
    let group = (slots[slot] ?? 0) - 1
    for (; group >= 0; slot = (slot + 1) & (size - 1), group = (slots[slot] ?? 0) - 1) {
      const from = starts[group] ?? 0
      const length = (starts[group + 1] ?? 0) - from
      if (hashes[group] === hash && length === end - start && isEqual(bytes, from, bytes, start, length)) break
    }
    if (group < 0) {
      group = count++
      slots[slot] = count
      hashes[group] = hash
      starts[count] = end
      if (end - start > longest) longest = end - start
    }
    groups[place] = group
  }
  return { count, groups, bytes, starts, hashes, slots, longest }
}

/** The types of symbols that are looked at, as bits by type. */
export const functionTypes: number = (1 << C.STT_FUNC) | (1 << C.STT_GNU_IFUNC)
/** Data, in place of functions. */
export const objectTypes: number = 1 << C.STT_OBJECT
/** All that may have the name of a function and is none. What is used from elsewhere often has no type. */
export const otherTypes: number = (1 << C.STT_NOTYPE) | (1 << C.STT_OBJECT) | (1 << C.STT_COMMON) | (1 << C.STT_TLS) |
  functionTypes

/**
 * Finds the symbols of one of the types whose name, up to its end or to the `@` of a version, is wanted; of each name in the
 * order of the table. Throws `ElfError` for a name outside the table of names.
 */
export const findNames = (symbols: BinarySymbols, types: number, wanted: Wanted): Matches => {
  const { count, entries, layout, little, strings } = symbols
  const { bytes: names, hashes, longest, slots, starts } = wanted
  const heads = new Int32Array(wanted.count).fill(-1)
  const tails = new Int32Array(wanted.count)
  const indices: Array<number> = []
  const next: Array<number> = []
  const table = new Uint8Array(entries.buffer, entries.byteOffset, entries.byteLength)
  const size = layout.entry
  const mask = slots.length - 1
  for (let index = 1, info = size + layout.info; index < count; index++, info += size) {
    if (((types >> ((table[info] ?? 0) & 0xf)) & 1) === 0) continue
    const start = entries.getUint32(index * size, little)
    if (start >= strings.length) nameOffsetOf(symbols, index)
    const limit = Math.min(start + longest, strings.length)
    let hash = 0
    let end = start
    let byte = 0
    for (; end < limit; end++) {
      byte = strings[end] ?? 0
      if (byte === 0 || byte === AT) break
      hash = (Math.imul(hash, 31) + byte) | 0
    }
    if (end === limit) byte = strings[end] ?? 0
    if (byte !== 0 && byte !== AT) continue
    for (let slot = slotOf(hash, mask); slots[slot] !== 0; slot = (slot + 1) & mask) {
      const place = (slots[slot] ?? 0) - 1
      if (hashes[place] !== hash) continue
      const from = starts[place] ?? 0
      const length = end - start
      if (length === 0 || (starts[place + 1] ?? 0) - from !== length) continue
      if (!isEqual(names, from, strings, start, length)) continue
      const match = indices.length
      indices.push(index)
      next.push(-1)
      if ((heads[place] ?? -1) < 0) heads[place] = match
      else next[tails[place] ?? 0] = match
      tails[place] = match
      break
    }
  }
  return { heads, indices, next }
}

/** Bytes per symbol, on average, of names that symbols share beyond eight times over. */
const sharedNameBytes = 64

/**
 * Calls `visit` with the index of each symbol of one of the types that has a name, in the order of the table. Throws
 * `ElfError` for a name outside the table of names, and where the names together are many times larger than their table.
 */
export const visitFunctions = (symbols: BinarySymbols, types: number, visit: (index: number) => void): void => {
  const { count, entries, layout, strings } = symbols
  const bytes = new Uint8Array(entries.buffer, entries.byteOffset, entries.byteLength)
  const size = layout.entry
  let budget = hasLongString(strings, ElfLimits.averageNameBytes)
    ? sharedNameBytes * count + 8 * strings.length
    : Infinity
  for (let index = 1, info = size + layout.info; index < count; index++, info += size) {
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
