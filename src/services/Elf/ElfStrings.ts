/**
 * Names in string tables. Bytes that are no UTF-8 survive: like Python's `surrogateescape`, each becomes a lone
 * surrogate (U+DC00 + byte), so that different names stay different and writing gives back the same bytes.
 */

const continuation = (bytes: Uint8Array, at: number, low: number, high: number): boolean => {
  const byte = bytes[at] ?? 0
  return byte >= low && byte <= high
}

/** Length of the well-formed UTF-8 sequence at `at` (Unicode 17, table 3-7), 0 if there is none. */
const sequenceLength = (bytes: Uint8Array, at: number): number => {
  const lead = bytes[at] ?? 0
  if (lead < 0x80) return 1
  if (lead < 0xc2 || lead > 0xf4) return 0
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  if (!continuation(bytes, at + 1, low, high)) return 0
  if (lead < 0xe0) return 2
  if (!continuation(bytes, at + 2, 0x80, 0xbf)) return 0
  if (lead < 0xf0) return 3
  return continuation(bytes, at + 3, 0x80, 0xbf) ? 4 : 0
}

const decodeUtf8 = (bytes: Uint8Array): string => {
  let text = ""
  for (let at = 0; at < bytes.length;) {
    const length = sequenceLength(bytes, at)
    const lead = bytes[at] ?? 0
    if (length < 2) {
      text += String.fromCharCode(length === 1 ? lead : 0xdc00 + lead)
      at += 1
      continue
    }
    let point = lead & (0x7f >> length)
    for (let next = 1; next < length; next++) point = (point << 6) | ((bytes[at + next] ?? 0) & 0x3f)
    text += String.fromCodePoint(point)
    at += length
  }
  return text
}

/**
 * The string at `start` of a table that ends with a NUL byte (an empty table holds the empty string at 0). Names are
 * short and ASCII, where a loop beats `TextDecoder` threefold.
 */
export const readString = (table: Uint8Array, start: number): string => {
  let end = start
  let bits = 0
  for (let byte = table[end] ?? 0; byte !== 0; byte = table[++end] ?? 0) bits |= byte
  if (bits > 0x7f) return decodeUtf8(table.subarray(start, end))
  let text = ""
  let at = start
  for (; at + 8 <= end; at += 8) {
    text += String.fromCharCode(
      table[at] ?? 0,
      table[at + 1] ?? 0,
      table[at + 2] ?? 0,
      table[at + 3] ?? 0,
      table[at + 4] ?? 0,
      table[at + 5] ?? 0,
      table[at + 6] ?? 0,
      table[at + 7] ?? 0
    )
  }
  for (; at < end; at++) text += String.fromCharCode(table[at] ?? 0)
  return text
}

/**
 * Whether a table that ends with a NUL byte holds a string of more than `limit` bytes. Every window of `limit + 1`
 * bytes must hold a NUL, and a window is searched from its end: the work is a small part of the table unless strings
 * are long.
 */
export const hasLongString = (table: Uint8Array, limit: number): boolean => {
  let start = 0
  while (start + limit < table.length) {
    let at = start + limit
    while (at >= start && table[at] !== 0) at--
    if (at < start) return true
    start = at + 1
  }
  return false
}

const encoder = new TextEncoder()

/**
 * The bytes of a name, or undefined for one that no file can hold: with a NUL, or with surrogates other than escapes.
 */
export const encodeString = (name: string): Uint8Array | undefined => {
  let ascii = true
  for (let at = 0; at < name.length; at++) {
    const unit = name.charCodeAt(at)
    if (unit === 0) return undefined
    if (unit > 0x7f) ascii = false
  }
  if (ascii || name.isWellFormed()) return encoder.encode(name)
  const bytes: Array<number> = []
  for (const character of name) {
    const point = character.codePointAt(0) ?? 0
    if (point >= 0xd800 && point <= 0xdfff) {
      if (point < 0xdc80 || point > 0xdcff) return undefined
      bytes.push(point - 0xdc00)
    } else {
      bytes.push(...encoder.encode(character))
    }
  }
  const encoded = Uint8Array.from(bytes)
  // Escapes that together are well-formed UTF-8 would be read back as another name.
  return decodeUtf8(encoded) === name ? encoded : undefined
}

/** A string table under construction: equal strings share one place, places are in order of first use. */
export class StringTableBuilder {
  readonly #offsets = new Map<string, number>([["", 0]])
  readonly #parts: Array<Uint8Array> = []
  #length = 1

  /** Bytes of the finished table. */
  get length(): number {
    return this.#length
  }

  /** Adds `name` if it is new. Returns false if it cannot be encoded. */
  add(name: string): boolean {
    if (this.#offsets.has(name)) return true
    const bytes = encodeString(name)
    if (bytes === undefined) return false
    this.#offsets.set(name, this.#length)
    this.#parts.push(bytes)
    this.#length += bytes.length + 1
    return true
  }

  /** Place of a string that was added, in bytes. */
  offsetOf(name: string): number {
    return this.#offsets.get(name) ?? 0
  }

  /** Copies the table to `at`; the target must be zero there. */
  writeTo(target: Uint8Array, at: number): void {
    let place = at + 1
    for (const part of this.#parts) {
      target.set(part, place)
      place += part.length + 1
    }
  }
}
