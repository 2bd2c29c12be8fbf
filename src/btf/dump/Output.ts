/**
 * Text as bytes in the making: what the writers of this folder write to.
 *
 * Names are copied from the blob's string area as they are, so most of a dump is never decoded nor encoded. What is
 * written is bounded: a blob of a few kilobytes can describe text of any length, by types that are spelled where they
 * are used.
 */
import { fail } from "../BtfError.ts"

/** Bytes that were written and not taken yet, and how many more may be. */
export interface Output {
  bytes: Uint8Array
  length: number
  /** Bytes that were taken. */
  taken: number
  readonly limit: number
}

const INITIAL = 1 << 17

/** Chunks are cut when at least this many bytes wait. */
export const CHUNK = 1 << 16

/** An empty output that takes `limit` bytes in all. */
export const makeOutput = (limit: number): Output => ({ bytes: new Uint8Array(INITIAL), length: 0, taken: 0, limit })

/** Makes room for `count` more bytes. */
const grow = (out: Output, count: number): void => {
  checkLimit(out, count)
  const bytes = new Uint8Array(Math.max(out.length + count, out.bytes.length * 2))
  bytes.set(out.bytes.subarray(0, out.length))
  out.bytes = bytes
}

/** Throws `TooComplex` where the limit is passed, or would be by `count` more bytes. */
export const checkLimit = (out: Output, count = 0): void => {
  if (out.taken + out.length + count <= out.limit) return
  fail("TooComplex", `the text would be longer than ${out.limit} bytes`, {
    hint: "types that are spelled where they are used repeat each other; the option limit sets the bound"
  })
}

/** Takes what was written, as a copy. */
export const take = (out: Output): Uint8Array => {
  const chunk = out.bytes.slice(0, out.length)
  out.taken += out.length
  out.length = 0
  return chunk
}

/** Bytes of ASCII text, to be written by `put`. */
export const ascii = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0))

/** Writes bytes; meant for few of them. */
export const put = (out: Output, text: Uint8Array): void => {
  const count = text.length
  if (out.length + count > out.bytes.length) grow(out, count)
  const bytes = out.bytes
  let to = out.length
  for (let index = 0; index < count; index++) bytes[to++] = text[index] ?? 0
  out.length = to
}

/** Writes one byte. */
export const putByte = (out: Output, byte: number): void => {
  if (out.length === out.bytes.length) grow(out, 1)
  out.bytes[out.length++] = byte
}

/** Writes the string at `offset`, up to its NUL. */
export const putString = (out: Output, strings: Uint8Array, offset: number): void => {
  let bytes = out.bytes
  let to = out.length
  for (let at = offset; at < strings.length; at++) {
    const byte = strings[at] ?? 0
    if (byte === 0) break
    if (to === bytes.length) {
      out.length = to
      grow(out, 1)
      bytes = out.bytes
    }
    bytes[to++] = byte
  }
  out.length = to
}

/** Writes an integer of up to 53 bits in decimal. */
export const putNumber = (out: Output, value: number): void => {
  if (out.length + 20 > out.bytes.length) grow(out, 20)
  const bytes = out.bytes
  let rest = value
  if (rest < 0) {
    bytes[out.length++] = 0x2d
    rest = -rest
  }
  let digits = 1
  for (let bound = 10; bound <= rest; bound *= 10) digits++
  let to = out.length + digits
  out.length = to
  if (rest <= 0x7fff_ffff) {
    let small = rest | 0
    do {
      const next = (small / 10) | 0
      bytes[--to] = 0x30 + small - next * 10
      small = next
    } while (small > 0)
    return
  }
  while (rest > 0) {
    const next = Math.floor(rest / 10)
    bytes[--to] = 0x30 + rest - next * 10
    rest = next
  }
}

/** Writes a 64-bit value, given as its halves, in decimal. */
export const putNumber64 = (out: Output, low: number, high: number, signed: boolean): void => {
  if (high === 0) {
    putNumber(out, low)
    return
  }
  const bits = (BigInt(high) << 32n) | BigInt(low)
  put(out, ascii(`${signed ? BigInt.asIntN(64, bits) : bits}`))
}

/** Writes `count` tabs. */
export const putTabs = (out: Output, count: number): void => {
  if (out.length + count > out.bytes.length) grow(out, count)
  const bytes = out.bytes
  let to = out.length
  for (let left = count; left > 0; left--) bytes[to++] = 0x09
  out.length = to
}
