/**
 * A hash table of byte keys whose entries have places that never move, and that remembers the order of insertion.
 *
 * Open addressing with linear probing over an `Int32Array` of places: as fast as a `Map` of numbers for keys of 4 bytes,
 * faster than one of bigints or strings for longer ones, and without garbage. What belongs to a place besides
 * its key is the caller's. A freed place is the next to be given out, as the kernel's free lists do.
 */
import { copyBytes, powerOfTwoAbove, roundUp8 } from "./MapModel.ts"
import * as Slabs from "./Slabs.ts"

/** A walk over the entries in the order of insertion, which survives changes of the table. */
export interface Walk {
  /** The next place, -1 at the end. */
  next: number
  /** The last place to be visited: entries that are added on the way are not. */
  last: number
}

/** How many walks of one table may be under way; the oldest ends when a further one starts. */
const maximumWalks = 16

/** A hash table. All of it is changed in place; use the functions of this module. */
export interface HashTable {
  readonly keySize: number
  /**
   * Bytes of a key that are compared where the hash is equal: the hash is a permutation of the last word, given those
   * before it, so of keys of whole words the last one needs no look.
   */
  readonly compared: number
  readonly keys: Slabs.Slabs
  readonly seed: number
  /** Place + 1 per bucket, 0 where it is empty; twice as many buckets as entries at least. */
  buckets: Int32Array
  /** Per place: hash of the key, neighbours in the order of insertion (-1: none), whether an entry lives there. */
  hashes: Int32Array
  before: Int32Array
  after: Int32Array
  living: Uint8Array
  first: number
  last: number
  count: number
  /** Freed places, the newest last. */
  free: Int32Array
  freed: number
  /** Places that were ever given out. */
  used: number
  readonly walks: Array<Walk>
}

const initialPlaces = 8

/** An empty table for at most `places` entries at a time. */
export const make = (keySize: number, places: number, seed: number): HashTable => ({
  keySize,
  compared: keySize % 4 === 0 ? keySize - 4 : keySize,
  keys: Slabs.make(roundUp8(keySize), places),
  seed,
  buckets: new Int32Array(initialPlaces * 2),
  hashes: new Int32Array(initialPlaces),
  before: new Int32Array(initialPlaces),
  after: new Int32Array(initialPlaces),
  living: new Uint8Array(initialPlaces),
  first: -1,
  last: -1,
  count: 0,
  free: new Int32Array(initialPlaces),
  freed: 0,
  used: 0,
  walks: []
})

const mix = (hash: number, word: number): number => {
  const mixed = Math.imul(hash ^ word, 0x9e3779b1)
  return mixed ^ (mixed >>> 15)
}

const finish = (hash: number): number => {
  const mixed = Math.imul(hash, 0x85ebca6b)
  return mixed ^ (mixed >>> 13)
}

/** The hash of the key at `at`, 32 bits. */
export const hashOf = (table: HashTable, key: Uint8Array, at: number): number => {
  const { keySize } = table
  let hash = table.seed
  const words = at + (keySize & ~3)
  for (let i = at; i < words; i += 4) {
    hash = mix(
      hash,
      (key[i] ?? 0) | ((key[i + 1] ?? 0) << 8) | ((key[i + 2] ?? 0) << 16) | ((key[i + 3] ?? 0) << 24)
    )
  }
  const end = at + keySize
  for (let i = words; i < end; i++) hash = mix(hash, key[i] ?? 0)
  return finish(hash)
}

const keyEquals = (table: HashTable, place: number, key: Uint8Array, at: number): boolean => {
  const { compared } = table
  if (compared === 0) return true
  const slab = Slabs.slabOf(table.keys, place)
  const start = Slabs.offsetOf(table.keys, place)
  for (let i = 0; i < compared; i++) if (slab[start + i] !== key[at + i]) return false
  return true
}

/** The place of the entry with this key and hash, or -1. */
export const find = (table: HashTable, key: Uint8Array, at: number, hash: number): number => {
  const { buckets, hashes } = table
  const mask = buckets.length - 1
  for (let bucket = hash & mask;; bucket = (bucket + 1) & mask) {
    const place = (buckets[bucket] ?? 0) - 1
    if (place < 0) return -1
    if (hashes[place] === hash && keyEquals(table, place, key, at)) return place
  }
}

/** Gives out a place that no entry has; the caller sees to it that there are any. */
export const take = (table: HashTable): number => {
  if (table.freed > 0) return table.free[--table.freed] ?? 0
  if (table.used === table.hashes.length) growPlaces(table)
  return table.used++
}

/** Gives a place back: it is the next to be given out. */
export const give = (table: HashTable, place: number): void => {
  if (table.freed === table.free.length) table.free = grown(table.free)
  table.free[table.freed++] = place
}

const grown = (array: Int32Array): Int32Array => {
  const longer = new Int32Array(array.length * 2)
  longer.set(array)
  return longer
}

const growPlaces = (table: HashTable): void => {
  table.hashes = grown(table.hashes)
  table.before = grown(table.before)
  table.after = grown(table.after)
  const living = new Uint8Array(table.living.length * 2)
  living.set(table.living)
  table.living = living
}

const growBuckets = (table: HashTable): void => {
  table.buckets = new Int32Array(powerOfTwoAbove(table.count * 4))
  for (let place = table.first; place >= 0; place = table.after[place] ?? -1) {
    enter(table, place, table.hashes[place] ?? 0)
  }
}

/** Puts a place into the first empty bucket for its hash. */
const enter = (table: HashTable, place: number, hash: number): void => {
  const { buckets } = table
  const mask = buckets.length - 1
  let bucket = hash & mask
  while (buckets[bucket] !== 0) bucket = (bucket + 1) & mask
  buckets[bucket] = place + 1
}

const bucketOf = (table: HashTable, place: number): number => {
  const { buckets } = table
  const mask = buckets.length - 1
  let bucket = (table.hashes[place] ?? 0) & mask
  while (buckets[bucket] !== place + 1) bucket = (bucket + 1) & mask
  return bucket
}

/** Makes an entry of a taken place, with a key that no other has. */
export const insert = (table: HashTable, place: number, key: Uint8Array, at: number, hash: number): void => {
  copyBytes(key, at, Slabs.slabOf(table.keys, place), Slabs.offsetOf(table.keys, place), table.keySize)
  table.hashes[place] = hash
  table.before[place] = table.last
  table.after[place] = -1
  table.living[place] = 1
  if (table.last < 0) table.first = place
  else table.after[table.last] = place
  table.last = place
  table.count++
  if (table.count * 2 > table.buckets.length) growBuckets(table)
  else enter(table, place, hash)
}

/** Lets a taken place stand where `old` stands, with its key and in its position; `old` is nobody's then. */
export const replace = (table: HashTable, old: number, place: number): void => {
  const from = Slabs.slabOf(table.keys, old)
  const fromAt = Slabs.offsetOf(table.keys, old)
  copyBytes(from, fromAt, Slabs.slabOf(table.keys, place), Slabs.offsetOf(table.keys, place), table.keySize)
  table.buckets[bucketOf(table, old)] = place + 1
  const before = table.before[old] ?? -1
  const after = table.after[old] ?? -1
  table.hashes[place] = table.hashes[old] ?? 0
  table.before[place] = before
  table.after[place] = after
  table.living[place] = 1
  table.living[old] = 0
  if (before < 0) table.first = place
  else table.after[before] = place
  if (after < 0) table.last = place
  else table.before[after] = place
  for (const walk of table.walks) {
    if (walk.next === old) walk.next = place
    if (walk.last === old) walk.last = place
  }
}

/** Takes an entry out. Its place is nobody's then: `give` it back. */
export const remove = (table: HashTable, place: number): void => {
  closeGap(table, bucketOf(table, place))
  const before = table.before[place] ?? -1
  const after = table.after[place] ?? -1
  if (before < 0) table.first = after
  else table.after[before] = after
  if (after < 0) table.last = before
  else table.before[after] = before
  table.living[place] = 0
  table.count--
  for (const walk of table.walks) {
    if (walk.next === place) walk.next = place === walk.last ? -1 : after
    if (walk.last === place) walk.last = before
  }
}

/** Empties a bucket and moves the entries behind it that a search would no longer reach. */
const closeGap = (table: HashTable, emptied: number): void => {
  const { buckets, hashes } = table
  const mask = buckets.length - 1
  let gap = emptied
  for (let bucket = (gap + 1) & mask;; bucket = (bucket + 1) & mask) {
    const place = (buckets[bucket] ?? 0) - 1
    if (place < 0) break
    const home = (hashes[place] ?? 0) & mask
    if (((bucket - home) & mask) >= ((bucket - gap) & mask)) {
      buckets[gap] = place + 1
      gap = bucket
    }
  }
  buckets[gap] = 0
}

/** The key of a place, in memory of its own. */
export const keyAt = (table: HashTable, place: number): Uint8Array => {
  const start = Slabs.offsetOf(table.keys, place)
  return Slabs.slabOf(table.keys, place).slice(start, start + table.keySize)
}

/** The place after the entry of this key; the first one when there is no key, or no such entry; -1 after the last. */
export const following = (table: HashTable, key: Uint8Array | undefined): number => {
  if (key === undefined) return table.first
  const place = find(table, key, 0, hashOf(table, key, 0))
  return place < 0 ? table.first : table.after[place] ?? -1
}

/** Starts a walk over the entries that there are now. */
export const walk = (table: HashTable): Walk => {
  const walk: Walk = { next: table.first, last: table.last }
  if (walk.next < 0) return walk
  table.walks.push(walk)
  // A program that was given up in the middle leaves its walk behind, so there is a limit.
  if (table.walks.length > maximumWalks) {
    const oldest = table.walks.shift()
    if (oldest !== undefined) oldest.next = -1
  }
  return walk
}

/** The next place of a walk, -1 when it is over. */
export const step = (table: HashTable, walk: Walk): number => {
  const place = walk.next
  if (place < 0 || place === walk.last) endWalk(table, walk)
  else walk.next = table.after[place] ?? -1
  return place
}

/** Ends a walk before its time. */
export const endWalk = (table: HashTable, walk: Walk): void => {
  walk.next = -1
  const at = table.walks.indexOf(walk)
  if (at >= 0) table.walks.splice(at, 1)
}
