/**
 * Integers of any width at any bit, and floating-point numbers of half precision.
 *
 * In little-endian data bits count from the least significant bit of the first byte, in big-endian data from its most
 * significant one: in both, a field's bits are neighbours in the number that its bytes form.
 */

/** The most bytes whose number a double holds exactly. */
const EXACT_BYTES = 6

/** Powers of two: a power that is computed costs as much as the rest of a bit field. */
const powers = Float64Array.from({ length: EXACT_BYTES * 8 + 1 }, (_, exponent) => 2 ** exponent)

const power = (exponent: number): number => powers[exponent] ?? 2 ** exponent

/** Whether `value` is an integer of `bits` bits, at most 48. */
export const fitsBits = (value: number, bits: number, signed: boolean): boolean => {
  if (!Number.isInteger(value)) return false
  return signed ? value >= -power(bits - 1) && value < power(bits - 1) : value >= 0 && value < power(bits)
}

/** Reads an integer of `size` bytes, 1 to 16: a number up to four bytes, a bigint of more. */
export const readInt = (
  view: DataView,
  bytes: Uint8Array,
  at: number,
  size: number,
  signed: boolean,
  littleEndian: boolean
): number | bigint => {
  switch (size) {
    case 1:
      return signed ? view.getInt8(at) : view.getUint8(at)
    case 2:
      return signed ? view.getInt16(at, littleEndian) : view.getUint16(at, littleEndian)
    case 4:
      return signed ? view.getInt32(at, littleEndian) : view.getUint32(at, littleEndian)
    case 8:
      return signed ? view.getBigInt64(at, littleEndian) : view.getBigUint64(at, littleEndian)
    default:
      return readBits(bytes, at, 0, size * 8, signed, littleEndian)
  }
}

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
  const unused = littleEndian ? shift : count * 8 - shift - bits
  if (bits <= 32 && count <= EXACT_BYTES) {
    let raw = 0
    for (let index = 0; index < count; index++) {
      raw = raw * 256 + (bytes[littleEndian ? first + count - 1 - index : first + index] ?? 0)
    }
    const value = Math.floor(raw / power(unused)) % power(bits)
    return signed && value >= power(bits - 1) ? value - power(bits) : value
  }
  const raw = joinBytes(bytes, first, count, littleEndian) >> BigInt(unused)
  const value = signed ? BigInt.asIntN(bits, raw) : BigInt.asUintN(bits, raw)
  return bits <= 32 ? Number(value) : value
}

/** Writes the low `bits` bits of `value`, an integer, at bit `bitOffset` of the bytes from `start` on; other bits stay. */
export const writeBits = (
  bytes: Uint8Array,
  start: number,
  bitOffset: number,
  bits: number,
  value: number | bigint,
  littleEndian: boolean
): void => {
  const first = start + Math.floor(bitOffset / 8)
  const shift = bitOffset % 8
  const count = Math.ceil((shift + bits) / 8)
  const below = littleEndian ? shift : count * 8 - shift - bits
  if (bits <= 32 && count <= EXACT_BYTES) {
    let raw = 0
    for (let index = 0; index < count; index++) {
      raw = raw * 256 + (bytes[littleEndian ? first + count - 1 - index : first + index] ?? 0)
    }
    const old = Math.floor(raw / power(below)) % power(bits)
    const low = typeof value === "number" && fitsBits(value, bits, value < 0)
      ? value < 0 ? value + power(bits) : value
      : Number(BigInt.asUintN(bits, BigInt(value)))
    let rest = raw + (low - old) * power(below)
    for (let index = 0; index < count; index++) {
      bytes[littleEndian ? first + index : first + count - 1 - index] = rest % 256
      rest = Math.floor(rest / 256)
    }
    return
  }
  const unused = BigInt(below)
  const mask = ((1n << BigInt(bits)) - 1n) << unused
  const kept = joinBytes(bytes, first, count, littleEndian) & ~mask
  let rest = kept | ((BigInt(value) << unused) & mask)
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

/** The number that the 16 bits of a half-precision float stand for. */
export const halfToNumber = (bits: number): number => {
  const sign = bits >= 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (fraction + 0x400) * 2 ** (exponent - 25))
}

/** The 16 bits of the half-precision float next to `value`, ties to even; infinity from 65520 on. */
export const numberToHalf = (value: number): number => {
  if (Number.isNaN(value)) return 0x7e00
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  if (size >= 65520) return sign | 0x7c00
  let exponent = -14
  while (exponent < 15 && size >= 2 ** (exponent + 1)) exponent++
  // Steps of the last bit: dividing by a power of two is exact.
  const steps = size / 2 ** (exponent - 10)
  const whole = Math.floor(steps)
  const rest = steps - whole
  const rounded = rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole
  // A carry out of the fraction goes to the exponent by itself; below 0x400 the number is subnormal.
  return sign | (rounded + (exponent + 14) * 0x400)
}
