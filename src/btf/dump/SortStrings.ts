/** Orders strings by their bytes, as C does, without decoding them. */

/** Ranges of fewer strings are sorted by insertion. */
const FEW = 12

/**
 * The place of each string that one of the lists names, by its offset: equal strings have equal places, and places
 * follow the order of bytes. Entries of other offsets mean nothing. The empty string at offset 0 has the first place.
 */
export const sortStrings = (strings: Uint8Array, lists: ReadonlyArray<Uint32Array>): Uint32Array => {
  const places = new Uint32Array(strings.length)
  let count = 0
  for (const list of lists) {
    for (const offset of list) {
      if (places[offset] === 0) {
        places[offset] = 1
        count++
      }
    }
  }
  const offsets = new Uint32Array(count)
  let filled = 0
  for (const list of lists) {
    for (const offset of list) {
      if (places[offset] === 1) {
        places[offset] = 2
        offsets[filled++] = offset
      }
    }
  }
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

/**
 * Quicksort by one byte at a time: strings that agree in a byte are sorted by the next, so that no common beginning is
 * read twice. Pivots are random, since the blob chooses the strings.
 */
const sortOffsets = (strings: Uint8Array, offsets: Uint32Array): void => {
  const stack: Array<number> = [0, offsets.length, 0]
  while (stack.length > 0) {
    const depth = stack.pop() ?? 0
    const end = stack.pop() ?? 0
    const start = stack.pop() ?? 0
    if (end - start < FEW) {
      insertionSort(strings, offsets, start, end, depth)
      continue
    }
    const pivot = strings[(offsets[start + Math.floor(Math.random() * (end - start))] ?? 0) + depth] ?? 0
    let low = start
    let high = end
    for (let at = start; at < high;) {
      const offset = offsets[at] ?? 0
      const byte = strings[offset + depth] ?? 0
      if (byte < pivot) {
        offsets[at++] = offsets[low] ?? 0
        offsets[low++] = offset
      } else if (byte > pivot) {
        offsets[at] = offsets[--high] ?? 0
        offsets[high] = offset
      } else {
        at++
      }
    }
    stack.push(start, low, depth)
    if (pivot !== 0) stack.push(low, high, depth + 1)
    stack.push(high, end, depth)
  }
}

const insertionSort = (strings: Uint8Array, offsets: Uint32Array, start: number, end: number, depth: number): void => {
  for (let next = start + 1; next < end; next++) {
    const offset = offsets[next] ?? 0
    let at = next
    while (at > start && compare(strings, offsets[at - 1] ?? 0, offset, depth) > 0) {
      offsets[at] = offsets[at - 1] ?? 0
      at--
    }
    offsets[at] = offset
  }
}
