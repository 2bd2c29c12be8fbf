/**
 * 64-bit multiplication and division on halves, in place: `dst` and `src` are indices of the register file.
 *
 * Rules of division, from RFC 9669: by zero gives 0, the remainder by zero is the dividend; the smallest number divided by -1
 * is itself, with remainder 0.
 */

const TWO32 = 0x1_0000_0000
/** Halves below this are those of numbers below 2^53, which a double holds exactly. */
const SAFE_HIGH = 0x20_0000

/** `dst *= src`, modulo 2^64. */
export const multiply = (low: Int32Array, high: Int32Array, dst: number, src: number): void => {
  const a = low[dst] as number
  const b = low[src] as number
  const a0 = a & 0xffff
  const a1 = a >>> 16
  const b0 = b & 0xffff
  const b1 = b >>> 16
  // The upper half of the 64-bit product of the low halves, from products of 16 bits; every sum is below 2^32.
  const middle = a1 * b0 + ((a0 * b0) >>> 16)
  const carry = a0 * b1 + (middle & 0xffff)
  const upper = a1 * b1 + (middle >>> 16) + (carry >>> 16)
  high[dst] = upper + Math.imul(high[dst] as number, b) + Math.imul(a, high[src] as number)
  low[dst] = Math.imul(a, b)
}

/** `dst /= src`, unsigned. */
export const divide = (low: Int32Array, high: Int32Array, dst: number, src: number): void => {
  const bl = (low[src] as number) >>> 0
  const bh = (high[src] as number) >>> 0
  if (bl === 0 && bh === 0) {
    low[dst] = 0
    high[dst] = 0
    return
  }
  const al = (low[dst] as number) >>> 0
  const ah = (high[dst] as number) >>> 0
  if (ah < SAFE_HIGH && bh < SAFE_HIGH) {
    // The quotient of numbers below 2^53 is below the next integer by more than a double rounds away.
    const quotient = Math.floor((ah * TWO32 + al) / (bh * TWO32 + bl))
    low[dst] = quotient
    high[dst] = quotient / TWO32
    return
  }
  store(low, high, dst, wide(al, ah) / wide(bl, bh))
}

/** `dst %= src`, unsigned. */
export const remainder = (low: Int32Array, high: Int32Array, dst: number, src: number): void => {
  const bl = (low[src] as number) >>> 0
  const bh = (high[src] as number) >>> 0
  if (bl === 0 && bh === 0) return
  const al = (low[dst] as number) >>> 0
  const ah = (high[dst] as number) >>> 0
  if (ah < SAFE_HIGH && bh < SAFE_HIGH) {
    const rest = (ah * TWO32 + al) % (bh * TWO32 + bl)
    low[dst] = rest
    high[dst] = rest / TWO32
    return
  }
  store(low, high, dst, wide(al, ah) % wide(bl, bh))
}

/** `dst s/= src`, towards zero. */
export const signedDivide = (low: Int32Array, high: Int32Array, dst: number, src: number): void => {
  const al = low[dst] as number
  const ah = high[dst] as number
  const bl = low[src] as number
  const bh = high[src] as number
  if (bl === 0 && bh === 0) {
    low[dst] = 0
    high[dst] = 0
    return
  }
  if (ah === al >> 31 && bh === bl >> 31) {
    const quotient = Math.trunc(al / bl)
    low[dst] = quotient
    high[dst] = Math.floor(quotient / TWO32)
    return
  }
  store(low, high, dst, BigInt.asIntN(64, wide(al, ah)) / BigInt.asIntN(64, wide(bl, bh)))
}

/** `dst s%= src`; the remainder has the sign of the dividend. */
export const signedRemainder = (low: Int32Array, high: Int32Array, dst: number, src: number): void => {
  const al = low[dst] as number
  const ah = high[dst] as number
  const bl = low[src] as number
  const bh = high[src] as number
  if (bl === 0 && bh === 0) return
  if (ah === al >> 31 && bh === bl >> 31) {
    const rest = al % bl
    low[dst] = rest
    high[dst] = rest < 0 ? -1 : 0
    return
  }
  store(low, high, dst, BigInt.asIntN(64, wide(al, ah)) % BigInt.asIntN(64, wide(bl, bh)))
}

const wide = (low: number, high: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)

const store = (low: Int32Array, high: Int32Array, at: number, value: bigint): void => {
  low[at] = Number(BigInt.asIntN(32, value))
  high[at] = Number(BigInt.asIntN(32, value >> 32n))
}
