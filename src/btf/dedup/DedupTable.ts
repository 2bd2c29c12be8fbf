/**
 * The candidates of a pass, by hash: chains of type ids, the newest first.
 *
 * The chains use `next` and `hashes` of the work area, since a type is in the table of one pass only.
 */
import { recordWords } from "./DedupWork.ts"
import type { DedupWork } from "./DedupWork.ts"

/** Heads of hash chains: type ids, 0 for an empty chain. */
export interface DedupTable {
  readonly mask: number
  readonly heads: Int32Array
}

/** A table for so many types. */
export const makeTable = (count: number): DedupTable => {
  const size = 2 ** Math.max(4, 33 - Math.clz32(count))
  return { mask: size - 1, heads: new Int32Array(size) }
}

/** Puts type `id` before all others that are there. */
export const insert = (work: DedupWork, table: DedupTable, id: number, hash: number): void => {
  const slot = hash & table.mask
  work.hashes[id] = hash
  work.next[id] = table.heads[slot] ?? 0
  table.heads[slot] = id
}

/**
 * A different hash in each process: the order of candidates with one and the same hash does not depend on it, so it
 * shows in no result, and nobody can prepare a blob of types that all collide.
 */
const seed = Math.floor(Math.random() * 0x1_0000_0000) | 0

/** The hash of nothing, to begin with. */
export const emptyHash = (): number => seed

/** The hash `hash` with one more word. */
export const mix = (hash: number, word: number): number => {
  const product = Math.imul(hash ^ word, 0x9e37_79b1)
  return product ^ (product >>> 15)
}

/** The hash of the whole record at `start`. */
export const hashRecord = (words: Int32Array, start: number, length: number): number => {
  let hash = seed
  for (let index = start; index < start + length; index++) {
    const product = Math.imul(hash ^ (words[index] ?? 0), 0x9e37_79b1)
    hash = product ^ (product >>> 15)
  }
  return hash
}

/**
 * The newest type of the table whose record has the same words as that of type `id`; 0 where there is none. `id` itself
 * must not be in the table.
 */
export const findEqual = (work: DedupWork, table: DedupTable, id: number, hash: number): number => {
  const { at, hashes, kinds, next, words } = work
  const start = at[id] ?? 0
  const length = recordWords(kinds[id] ?? 0, words[start + 1] ?? 0)
  let candidate = table.heads[hash & table.mask] ?? 0
  for (; candidate !== 0; candidate = next[candidate] ?? 0) {
    if (hashes[candidate] !== hash) continue
    if (work.spent > work.budget) return 0
    const equal = equalWords(words, start, at[candidate] ?? 0, length)
    if (equal === length) return candidate
    work.spent += equal + 1
  }
  return 0
}

/** How many words at `one` and `other` are equal before the first that differs; at most `length`. */
const equalWords = (words: Int32Array, one: number, other: number, length: number): number => {
  let count = 0
  while (count < length && words[one + count] === words[other + count]) count++
  return count
}
