/**
 * A string area in the making: each string once, by its exact bytes.
 *
 * No string becomes a JavaScript string. The index is a hash table of offsets, and what is looked up are bytes of other
 * blobs; so the strings of two kernels are merged in a few milliseconds. Only whole strings are in the index: the tail
 * of one, to which an offset may point, counts as a string of its own.
 *
 * Source: reference page `btf-format`, sections 2 and 7.
 */
import { fail } from "./BtfError.ts"
import type { Btf } from "./BtfModel.ts"
import { stringOwnerOf } from "./BtfModel.ts"

/** A growing string area. All offsets are those of the blob in the making: they count on from the base's. */
export interface StringTable {
  /** Bytes of the area so far, the base's left out. */
  readonly length: number
  /**
   * Offset of the string `bytes[start, end)`, which holds no NUL: the base's where the base has it as a whole string,
   * else this area's, to which it is appended where it is new. Of equal strings the first counts, in the order of the
   * chain of bases and of offsets. The empty string is 0.
   */
  readonly add: (bytes: Uint8Array, start: number, end: number) => number
  /** `add` for text, which holds no NUL. */
  readonly addText: (text: string) => number
  /** `add` for the string at offset `offset` of another BTF, or of the base; an offset outside its strings throws. */
  readonly addFrom: (btf: Btf, offset: number) => number
  /** What `add` would answer, or `undefined` where it would append. */
  readonly find: (bytes: Uint8Array, start: number, end: number) => number | undefined
  /** Forgets what was appended after the area had `length` bytes. */
  readonly truncate: (length: number) => void
  /** The area so far: a view that the next `add` may make stale. */
  readonly content: () => Uint8Array
}

/** Options of `make`. */
export interface StringTableOptions {
  /** The BTF whose strings this area continues. */
  readonly base?: Btf | undefined
  /** What the area begins with; by default the empty string, or nothing over a base. */
  readonly initial?: Uint8Array | undefined
}

/** An open-addressed hash table of the whole strings of one area. */
export interface StringIndex {
  readonly mask: number
  /** Offset in the area plus 1; 0 for a free slot. */
  readonly slots: Uint32Array
  /** The hash of each slot's string, which spares most comparisons and all hashing when the table grows. */
  readonly hashes: Uint32Array
}

/** Offsets and counts of BTF stay below 2^31. */
const STRINGS_LIMIT = 0x7fff_ffff

/** Begins a string area. */
export const make = (options: StringTableOptions = {}): StringTable => {
  const { base } = options
  const origin = base === undefined ? 0 : base.stringsStart + base.stringsLength
  const chain: Array<Btf> = []
  for (let blob = base; blob !== undefined; blob = blob.base) chain.unshift(blob)
  const initial = options.initial ?? new Uint8Array(base === undefined ? 1 : 0)
  let buffer = initial
  let length = initial.length
  // The initial bytes are the caller's: the first string that is appended moves them.
  let owned = false
  let index: StringIndex | undefined
  let count = 0

  const ownIndex = (): StringIndex => {
    if (index !== undefined) return index
    const area = { bytes: buffer, start: 0, end: length }
    const built = indexArea(area)
    index = built
    count = countUsed(built)
    return built
  }

  const findInBases = (bytes: Uint8Array, start: number, end: number, hash: number): number => {
    for (const blob of chain) {
      const found = blob.internal.cache.strings ??= indexArea({
        bytes: blob.bytes,
        start: blob.stringsOffset,
        end: blob.stringsOffset + blob.stringsLength
      })
      const slot = slotOf(found, blob.bytes, blob.stringsOffset, bytes, start, end, hash)
      const offset = found.slots[slot] ?? 0
      if (offset !== 0) return blob.stringsStart + offset - 1
    }
    return -1
  }

  const reserve = (more: number): void => {
    if (origin + length + more > STRINGS_LIMIT) fail("TooLarge", "the strings are more than a BTF blob can have")
    if (owned && length + more <= buffer.length) return
    const larger = new Uint8Array(Math.max(length + more, Math.min(length * 2, length + (1 << 26)), 256))
    larger.set(buffer.subarray(0, length))
    buffer = larger
    owned = true
  }

  const add = (bytes: Uint8Array, start: number, end: number): number => {
    if (start === end) return 0
    const hash = hashOf(bytes, start, end)
    const inherited = findInBases(bytes, start, end, hash)
    if (inherited >= 0) return inherited
    let own = ownIndex()
    let slot = slotOf(own, buffer, 0, bytes, start, end, hash)
    const found = own.slots[slot] ?? 0
    if (found !== 0) return origin + found - 1
    // `bytes` may be this very buffer; `reserve` leaves the old one as it is.
    reserve(end - start + 1)
    if (count * 2 >= own.mask) {
      own = grown(own)
      index = own
      slot = freeSlot(own, hash)
    }
    const at = length
    copy(bytes, start, end, buffer, at)
    buffer[at + end - start] = 0
    length = at + end - start + 1
    own.slots[slot] = at + 1
    own.hashes[slot] = hash
    count++
    return origin + at
  }

  return {
    get length() {
      return length
    },
    add,
    addText: (text) => {
      const bytes = utf8.encode(text)
      return add(bytes, 0, bytes.length)
    },
    addFrom: (btf, offset) => {
      const owner = stringOwnerOf(btf, offset)
        ?? fail("BadString", `there is no string at string offset ${offset}`)
      const start = owner.stringsOffset + (offset - owner.stringsStart)
      return add(owner.bytes, start, owner.bytes.indexOf(0, start))
    },
    find: (bytes, start, end) => {
      if (start === end) return 0
      const hash = hashOf(bytes, start, end)
      const inherited = findInBases(bytes, start, end, hash)
      if (inherited >= 0) return inherited
      const own = ownIndex()
      const found = own.slots[slotOf(own, buffer, 0, bytes, start, end, hash)] ?? 0
      return found === 0 ? undefined : origin + found - 1
    },
    truncate: (to) => {
      if (to >= length) return
      length = to
      index = undefined
    },
    content: () => buffer.subarray(0, length)
  }
}

const utf8 = new TextEncoder()

/** A string area inside some bytes; the last byte of one that is not empty is a NUL. */
interface Area {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
}

/** Copies a few bytes; a call of `set` with a new view costs more than most strings are long. */
const copy = (from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void => {
  if (end - start > 64) {
    to.set(from.subarray(start, end), at)
    return
  }
  for (let source = start, target = at; source < end; source++, target++) to[target] = from[source] ?? 0
}

/**
 * A different hash in each process: which slot a string has shows in no result, and nobody can prepare a blob whose
 * strings all have the same one.
 */
const seed = Math.floor(Math.random() * 0x1_0000_0000)

/** FNV-1a with a finish that moves the high bits, which are mixed best, to where the slots are chosen. */
const hashOf = (bytes: Uint8Array, start: number, end: number): number => {
  let value = seed
  for (let at = start; at < end; at++) value = Math.imul(value ^ (bytes[at] ?? 0), 0x01000193)
  return finish(value)
}

const finish = (value: number): number => {
  const mixed = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d)
  return (mixed ^ (mixed >>> 13)) >>> 0
}

const emptyIndex = (strings: number): StringIndex => {
  const size = 2 ** Math.max(4, 33 - Math.clz32(strings))
  return { mask: size - 1, slots: new Uint32Array(size), hashes: new Uint32Array(size) }
}

/** Indexes the whole strings of an area; of equal ones the first. */
const indexArea = (area: Area): StringIndex => {
  const { bytes, end, start } = area
  let strings = 0
  for (let at = start; at < end; at++) strings += bytes[at] === 0 ? 1 : 0
  const index = emptyIndex(strings)
  for (let at = start; at < end; at++) {
    const begin = at
    let value = seed
    for (let byte = bytes[at] ?? 0; byte !== 0; byte = bytes[++at] ?? 0) value = Math.imul(value ^ byte, 0x01000193)
    if (at === begin) continue
    const hash = finish(value)
    const slot = slotOf(index, bytes, start, bytes, begin, at, hash)
    if (index.slots[slot] !== 0) continue
    index.slots[slot] = begin - start + 1
    index.hashes[slot] = hash
  }
  return index
}

const countUsed = (index: StringIndex): number => {
  let used = 0
  for (const slot of index.slots) used += slot === 0 ? 0 : 1
  return used
}

/** The slot that holds the string `bytes[start, end)`, or the free one where it belongs. */
const slotOf = (
  index: StringIndex,
  area: Uint8Array,
  areaStart: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  hash: number
): number => {
  const { hashes, mask, slots } = index
  for (let slot = hash & mask;; slot = (slot + 1) & mask) {
    const offset = slots[slot] ?? 0
    if (offset === 0) return slot
    if (hashes[slot] === hash && isAt(area, areaStart + offset - 1, bytes, start, end)) return slot
  }
}

const isAt = (area: Uint8Array, at: number, bytes: Uint8Array, start: number, end: number): boolean => {
  let place = at
  for (let source = start; source < end; source++, place++) {
    if (area[place] !== bytes[source]) return false
  }
  return area[place] === 0
}

const freeSlot = (index: StringIndex, hash: number): number => {
  const { mask, slots } = index
  let slot = hash & mask
  while (slots[slot] !== 0) slot = (slot + 1) & mask
  return slot
}

/** The same strings in twice the room. */
const grown = (index: StringIndex): StringIndex => {
  const size = (index.mask + 1) * 2
  const larger = { mask: size - 1, slots: new Uint32Array(size), hashes: new Uint32Array(size) }
  for (let slot = 0; slot <= index.mask; slot++) {
    const offset = index.slots[slot] ?? 0
    if (offset === 0) continue
    const hash = index.hashes[slot] ?? 0
    const free = freeSlot(larger, hash)
    larger.slots[free] = offset
    larger.hashes[free] = hash
  }
  return larger
}
