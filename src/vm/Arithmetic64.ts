/**
 * 64-bit division on halves, in place: `dst` and `src` are indices of the register file.
 *
 * Rules of division, from RFC 9669: by zero gives 0, the remainder by zero is the dividend; the smallest number divided by -1
 * is itself, with remainder 0.
 */

const TWO32 = 0x1_0000_0000
/** Halves below this are those of numbers below 2^53, which a double holds exactly. */
const SAFE_HIGH = 0x20_0000

/** Divisors below this leave remainders that, with 32 bits more, a double holds exactly. */
const SHORT = 0x20_0000

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
  if (bh === 0 && bl < SHORT) {
    // Two digits of 32 bits, as on paper.
    const digit = Math.floor(ah / bl)
    high[dst] = digit
    low[dst] = Math.floor(((ah - digit * bl) * TWO32 + al) / bl)
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
  if (bh === 0 && bl < SHORT) {
    low[dst] = ((ah % bl) * TWO32 + al) % bl
    high[dst] = 0
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
