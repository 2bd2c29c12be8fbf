/**
 * Counts how often each name was used, by its bytes: what numbers the repetitions of a name in C.
 *
 * The table is open-addressed and holds string offsets, so that no name is decoded. Its hash begins at a random value:
 * nobody can prepare a blob whose names all fall into one place.
 */

/** Names and their counts. */
export interface NameCounts {
  readonly strings: Uint8Array
  readonly seed: number
  size: number
  mask: number
  /** Entry number plus one, by place; 0 is free. */
  places: Uint32Array
  /** Of each entry: hash, string offset and count. */
  hashes: Int32Array
  offsets: Uint32Array
  counts: Uint32Array
}

const SMALLEST = 1 << 8

/** An empty table for names of a string area, with room for about so many. */
export const makeNames = (strings: Uint8Array, expected: number): NameCounts => {
  let room = SMALLEST
  while (room < expected) room *= 2
  return {
    strings,
    seed: (Math.random() * 0x1_0000_0000) | 0,
    size: 0,
    mask: room * 2 - 1,
    places: new Uint32Array(room * 2),
    hashes: new Int32Array(room),
    offsets: new Uint32Array(room),
    counts: new Uint32Array(room)
  }
}

/** Counts the name at `offset` once more and answers how often it was counted so far. */
export const countName = (names: NameCounts, offset: number): number => {
  const { strings } = names
  let hash = names.seed
  for (let at = offset; at < strings.length; at++) {
    const byte = strings[at] ?? 0
    if (byte === 0) break
    hash = Math.imul(hash ^ byte, 0x01000193)
    hash ^= hash >>> 15
  }
  let place = hash & names.mask
  for (;;) {
    const entry = (names.places[place] ?? 0) - 1
    if (entry < 0) break
    if (names.hashes[entry] === hash && sameString(strings, names.offsets[entry] ?? 0, offset)) {
      const count = (names.counts[entry] ?? 0) + 1
      names.counts[entry] = count
      return count
    }
    place = (place + 1) & names.mask
  }
  const entry = names.size++
  names.hashes[entry] = hash
  names.offsets[entry] = offset
  names.counts[entry] = 1
  names.places[place] = entry + 1
  if (names.size === names.hashes.length) enlarge(names)
  return 1
}

const sameString = (strings: Uint8Array, left: number, right: number): boolean => {
  if (left === right) return true
  for (let index = 0;; index++) {
    const byte = strings[left + index]
    if (byte !== strings[right + index]) return false
    if (byte === 0 || byte === undefined) return true
  }
}

const enlarge = (names: NameCounts): void => {
  const room = names.hashes.length * 2
  const hashes = new Int32Array(room)
  const offsets = new Uint32Array(room)
  const counts = new Uint32Array(room)
  hashes.set(names.hashes)
  offsets.set(names.offsets)
  counts.set(names.counts)
  const mask = room * 2 - 1
  const places = new Uint32Array(mask + 1)
  for (let entry = 0; entry < names.size; entry++) {
    let place = (hashes[entry] ?? 0) & mask
    while (places[place] !== 0) place = (place + 1) & mask
    places[place] = entry + 1
  }
  names.hashes = hashes
  names.offsets = offsets
  names.counts = counts
  names.places = places
  names.mask = mask
}
