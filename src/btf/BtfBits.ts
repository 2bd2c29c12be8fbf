/**
 * Integers of any width at any bit.
 *
 * In little-endian data bits count from the least significant bit of the first byte, in big-endian data from its most
 * significant one: in both, a field's bits are neighbours in the number that its bytes form.
 */

/** Reads `bits` bits at bit `bitOffset` of the bytes from `start` on: a number up to 32 bits, else a bigint. */
export const readBits = (
  bytes: Uint8Array,
  start: number,
  bitOffset: number,
  bits: number,
  signed: boolean,
  littleEndian: boolean
): number | bigint => {
  const first = start + Math.floor(bitOffset / 8)
  const shift = bitOffset % 8
  const count = Math.ceil((shift + bits) / 8)
  const unused = BigInt(littleEndian ? shift : count * 8 - shift - bits)
  const raw = joinBytes(bytes, first, count, littleEndian) >> unused
  const value = signed ? BigInt.asIntN(bits, raw) : BigInt.asUintN(bits, raw)
  return bits <= 32 ? Number(value) : value
}

/** Writes the low `bits` bits of `value` at bit `bitOffset` of the bytes from `start` on; other bits stay. */
export const writeBits = (
  bytes: Uint8Array,
  start: number,
  bitOffset: number,
  bits: number,
  value: bigint,
  littleEndian: boolean
): void => {
  const first = start + Math.floor(bitOffset / 8)
  const shift = bitOffset % 8
  const count = Math.ceil((shift + bits) / 8)
  const unused = BigInt(littleEndian ? shift : count * 8 - shift - bits)
  const mask = ((1n << BigInt(bits)) - 1n) << unused
  const kept = joinBytes(bytes, first, count, littleEndian) & ~mask
  let rest = kept | ((value << unused) & mask)
  for (let index = 0; index < count; index++) {
    bytes[littleEndian ? first + index : first + count - 1 - index] = Number(rest & 0xffn)
    rest >>= 8n
  }
}

/** The number that `count` bytes form. */
const joinBytes = (bytes: Uint8Array, first: number, count: number, littleEndian: boolean): bigint => {
  let value = 0n
  for (let index = 0; index < count; index++) {
    const byte = bytes[littleEndian ? first + count - 1 - index : first + index] ?? 0
    value = (value << 8n) | BigInt(byte)
  }
  return value
}
