/** Orders strings by their bytes, as C does, without decoding them. */

/** Ranges of fewer strings are sorted by insertion. */
const FEW = 12

/** How many bytes of a string are looked at together. */
const WIDTH = 4

/**
 * The place of each string that one of the lists names, by its offset: equal strings have equal places, and places
 * follow the order of bytes. Entries of other offsets mean nothing. The empty string at offset 0 has the first place.
 */
export const sortStrings = (strings: Uint8Array, lists: ReadonlyArray<Uint32Array>): Uint32Array => {
  const places = new Uint32Array(strings.length)
  const named = new Uint32Array(lists.reduce((sum, list) => sum + list.length, 0))
  let count = 0
  for (const list of lists) {
    for (let index = 0; index < list.length; index++) {
      const offset = list[index] ?? 0
      if (places[offset] !== 0) continue
      places[offset] = 1
      named[count++] = offset
    }
  }
  const offsets = named.subarray(0, count)
  sortOffsets(strings, offsets)
  let place = 0
  for (let index = 0; index < count; index++) {
    const offset = offsets[index] ?? 0
    if (index > 0 && compare(strings, offsets[index - 1] ?? 0, offset, 0) !== 0) place++
    places[offset] = place
  }
  return places
}

/** Compares two strings from byte `depth` on, by their bytes. */
export const compare = (strings: Uint8Array, left: number, right: number, depth: number): number => {
  for (let index = depth;; index++) {
    const one = strings[left + index] ?? 0
    const difference = one - (strings[right + index] ?? 0)
    if (difference !== 0 || one === 0) return difference
  }
}

/** The bytes from `at` on as a number in their order, with zeroes from the end of the string on. */
const keyAt = (strings: Uint8Array, at: number): number => {
  const first = strings[at] ?? 0
  if (first === 0) return 0
  const second = strings[at + 1] ?? 0
  if (second === 0) return (first << 24) >>> 0
  const third = strings[at + 2] ?? 0
  if (third === 0) return ((first << 24) | (second << 16)) >>> 0
  return ((first << 24) | (second << 16) | (third << 8) | (strings[at + 3] ?? 0)) >>> 0
}

/**
 * Quicksort by a few bytes at a time: strings that agree in them are sorted by the next, so that no common beginning is
 * read twice. Pivots are random, since the blob chooses the strings.
 */
const sortOffsets = (strings: Uint8Array, offsets: Uint32Array): void => {
  const keys = new Uint32Array(offsets.length)
  for (let index = 0; index < keys.length; index++) keys[index] = keyAt(strings, offsets[index] ?? 0)
  const stack: Array<number> = [0, offsets.length, 0]
  while (stack.length > 0) {
    const depth = stack.pop() ?? 0
    const end = stack.pop() ?? 0
    const start = stack.pop() ?? 0
    if (end - start < FEW) {
      insertionSort(strings, offsets, keys, start, end, depth)
      continue
    }
    const pivot = keys[start + Math.floor(Math.random() * (end - start))] ?? 0
    let low = start
    let high = end
    for (let at = start; at < high;) {
      const key = keys[at] ?? 0
      if (key < pivot) {
        exchange(offsets, keys, at++, low++)
      } else if (key > pivot) {
        exchange(offsets, keys, at, --high)
      } else {
        at++
      }
    }
    stack.push(start, low, depth, high, end, depth)
    // A key that ends in a zero is the end of the strings: they are equal.
    if ((pivot & 0xff) !== 0) {
      for (let at = low; at < high; at++) keys[at] = keyAt(strings, (offsets[at] ?? 0) + depth + WIDTH)
      stack.push(low, high, depth + WIDTH)
    }
  }
}

const exchange = (offsets: Uint32Array, keys: Uint32Array, one: number, other: number): void => {
  const offset = offsets[one] ?? 0
  const key = keys[one] ?? 0
  offsets[one] = offsets[other] ?? 0
  keys[one] = keys[other] ?? 0
  offsets[other] = offset
  keys[other] = key
}

const insertionSort = (
  strings: Uint8Array,
  offsets: Uint32Array,
  keys: Uint32Array,
  start: number,
  end: number,
  depth: number
): void => {
  for (let next = start + 1; next < end; next++) {
    const offset = offsets[next] ?? 0
    const key = keys[next] ?? 0
    let at = next
    for (; at > start; at--) {
      const before = keys[at - 1] ?? 0
      if (before < key) break
      if (before === key && compare(strings, offsets[at - 1] ?? 0, offset, depth) <= 0) break
      offsets[at] = offsets[at - 1] ?? 0
      keys[at] = before
    }
    offsets[at] = offset
    keys[at] = key
  }
}
