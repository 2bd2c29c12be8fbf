/**
 * Floating-point numbers of any width as C prints them with `%f`: six decimals, never an exponent, exact.
 *
 * `Number.prototype.toFixed` rounds ties upwards and turns to exponents from 1e21 on; C rounds ties to even and prints
 * all digits. The value is therefore taken apart and rounded as an integer.
 */

/** How the bits of a number are divided. */
interface Format {
  readonly exponentBits: number
  readonly fractionBits: number
  /** The first bit of the significand is stored, as in x87 extended precision. */
  readonly explicitInteger: boolean
}

const half: Format = { exponentBits: 5, fractionBits: 10, explicitInteger: false }
const single: Format = { exponentBits: 8, fractionBits: 23, explicitInteger: false }
const double: Format = { exponentBits: 11, fractionBits: 52, explicitInteger: false }
const extended: Format = { exponentBits: 15, fractionBits: 63, explicitInteger: true }
const quadruple: Format = { exponentBits: 15, fractionBits: 112, explicitInteger: false }

/**
 * The format of a FLOAT of `size` bytes: 2, 4 and 8 are IEEE's. BTF does not tell the formats of longer ones apart:
 * 10, 12 and 16 little-endian bytes are taken for x86's extended precision, 16 big-endian ones for IEEE's quadruple.
 * `undefined` for other sizes.
 */
const formatOf = (size: number, littleEndian: boolean): Format | undefined => {
  switch (size) {
    case 2:
      return half
    case 4:
      return single
    case 8:
      return double
    case 10:
    case 12:
      return littleEndian ? extended : undefined
    case 16:
      return littleEndian ? extended : quadruple
    default:
      return undefined
  }
}

/** The number in `size` bytes at `at`, as `%f` prints it; `undefined` where no format has that size. */
export const formatFloat = (
  bytes: Uint8Array,
  at: number,
  size: number,
  littleEndian: boolean
): string | undefined => {
  const format = formatOf(size, littleEndian)
  if (format === undefined) return undefined
  const { exponentBits, explicitInteger, fractionBits } = format
  const width = 1 + exponentBits + fractionBits + (explicitInteger ? 1 : 0)
  let raw = 0n
  for (let index = width / 8 - 1; index >= 0; index--) {
    raw = (raw << 8n) | BigInt(bytes[littleEndian ? at + index : at + width / 8 - 1 - index] ?? 0)
  }
  const sign = raw >> BigInt(width - 1) === 0n ? "" : "-"
  const stored = width - 1 - exponentBits
  const exponent = Number((raw >> BigInt(stored)) & ((1n << BigInt(exponentBits)) - 1n))
  const significand = raw & ((1n << BigInt(stored)) - 1n)
  const fraction = significand & ((1n << BigInt(fractionBits)) - 1n)
  if (exponent === 2 ** exponentBits - 1) return sign + (fraction === 0n ? "inf" : "nan")
  const bias = 2 ** (exponentBits - 1) - 1
  const hidden = explicitInteger || exponent === 0 ? 0n : 1n << BigInt(fractionBits)
  return sign + fixed(significand + hidden, Math.max(exponent, 1) - bias - fractionBits)
}

const DECIMALS = 6

/** `significand * 2 ** exponent` with six decimals, ties to even. */
const fixed = (significand: bigint, exponent: number): string => {
  let scaled = significand * 10n ** BigInt(DECIMALS)
  if (exponent >= 0) scaled <<= BigInt(exponent)
  else {
    const cut = BigInt(-exponent)
    const rest = scaled & ((1n << cut) - 1n)
    const tie = 1n << (cut - 1n)
    scaled >>= cut
    if (rest > tie || (rest === tie && (scaled & 1n) === 1n)) scaled += 1n
  }
  const digits = scaled.toString().padStart(DECIMALS + 1, "0")
  return `${digits.slice(0, -DECIMALS)}.${digits.slice(-DECIMALS)}`
}
