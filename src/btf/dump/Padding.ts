/**
 * Unnamed bit fields that put the next member where the BTF says it is.
 *
 * Source: reference page `btf-dump`, section E.
 */
import { fail } from "../BtfError.ts"
import type { Output } from "./Output.ts"
import { ascii, put, putByte, putNumber, putTabs } from "./Output.ts"

const NEWLINE = 0x0a
const COLON_ZERO = ascii(": 0;")
const COLON = ascii(": ")
const SEMICOLON = 0x3b
const LONG = ascii("long")
const INT = ascii("int")
const SHORT = ascii("short")
const CHAR = ascii("char")

/** The most lines of padding in one gap: a larger one is no struct's that a compiler has seen. */
const GAP_LINES = 1 << 14

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit

/** The name of the padding type of so many bits. */
const unitName = (pointerBits: number, bits: number): Uint8Array => {
  if (bits === pointerBits) return LONG
  return bits === 32 ? INT : bits === 16 ? SHORT : CHAR
}

/**
 * Fills the bits from `current` up to `next`, where something aligned to `alignment` bytes follows. `inBitfield` says
 * that bit fields are on both sides, so that the compiler closes no gap by itself.
 */
export const pad = (
  out: Output,
  pointerSize: number,
  current: number,
  next: number,
  alignment: number,
  inBitfield: boolean,
  level: number
): void => {
  if (current >= next) return
  const pointerBits = pointerSize * 8
  // The largest unit whose boundary comes no later than the next member.
  let unit = pointerBits
  if (roundUp(current, unit) > next) {
    unit = 32
    if (roundUp(current, unit) > next) {
      unit = 16
      if (roundUp(current, unit) > next) unit = 8
    }
  }
  let at = current
  const boundary = roundUp(current, unit)
  if (boundary > current && boundary <= next) {
    if (inBitfield) {
      line(out, unitName(pointerBits, unit), boundary - current, level)
    } else if (
      boundary === next
        ? roundUp(current, Math.max(alignment, 1) * 8) !== boundary
        : next - boundary <= boundary - current
    ) {
      line(out, unitName(pointerBits, unit), 0, level)
    }
    at = boundary
  }
  if ((next - at) / unit > GAP_LINES) {
    fail("TooLarge", `a gap of ${Math.ceil((next - at) / 8)} bytes is too large to be filled with bit fields`)
  }
  while (next - at >= unit) {
    line(out, unitName(pointerBits, unit), unit, level)
    at += unit
  }
  const rest = next - at
  if (rest === 0) return
  const smallest = rest <= 8 ? CHAR : rest <= 16 ? SHORT : rest <= 32 ? INT : LONG
  line(out, smallest, rest, level)
}

const line = (out: Output, unit: Uint8Array, bits: number, level: number): void => {
  putByte(out, NEWLINE)
  putTabs(out, level)
  put(out, unit)
  if (bits === 0) {
    put(out, COLON_ZERO)
    return
  }
  put(out, COLON)
  putNumber(out, bits)
  putByte(out, SEMICOLON)
}
