/**
 * Which parts of the dumped bytes are zero as their types see them: padding does not count, and text counts up to its
 * NUL. Bytes that are missing are not zero.
 */
import { readBits } from "../BtfBits.ts"
import type { Btf } from "../BtfModel.ts"
import type { PathSegment } from "../BtfValueError.ts"
import { failValue } from "../BtfValueError.ts"
import { DEPTH_LIMIT } from "../BtfValueDecode.ts"
import type { Shape } from "./Shape.ts"
import { shapeOf } from "./Shape.ts"
import type { Shapes } from "./Shape.ts"

/** The bytes of a dump, and how much may still be asked about them. */
export interface Zeroes {
  readonly btf: Btf
  readonly shapes: Shapes
  readonly bytes: Uint8Array
  readonly littleEndian: boolean
  /** For each byte the place of the next one, itself included, that is not zero. */
  readonly next: Uint32Array
  /** Nested unions multiply: this bounds the parts that are looked at. */
  budget: number
}

/** Prepares questions about `bytes`. */
export const makeZeroes = (btf: Btf, shapes: Shapes, bytes: Uint8Array, littleEndian: boolean): Zeroes => {
  const next = new Uint32Array(bytes.length + 1)
  next[bytes.length] = bytes.length
  for (let at = bytes.length - 1; at >= 0; at--) next[at] = bytes[at] === 0 ? next[at + 1] ?? at + 1 : at
  return { btf, shapes, bytes, littleEndian, next, budget: (1 << 18) + 64 * bytes.length }
}

/** Whether the part of type `id` at byte `at` is zero; one of `bits` bits from bit `bit` of that byte on, if `bits > 0`. */
export const isZero = (
  zeroes: Zeroes,
  id: number,
  at: number,
  bit: number,
  bits: number,
  path: ReadonlyArray<PathSegment>
): boolean => partIsZero(zeroes, id, shapeOf(zeroes.shapes, id, path), at, bit, bits, 0, path)

const partIsZero = (
  zeroes: Zeroes,
  id: number,
  shape: Shape,
  at: number,
  bit: number,
  bits: number,
  depth: number,
  path: ReadonlyArray<PathSegment>
): boolean => {
  if (--zeroes.budget < 0) failValue("TooLarge", path, id, "its unions multiply to too many values")
  if (bits > 0) return bitsAreZero(zeroes, at, bit, bits)
  if (bytesAreZero(zeroes, at, shape.size)) return true
  switch (shape._tag) {
    case "Struct":
      if (depth >= DEPTH_LIMIT) failValue("TooDeep", path, id, `it is nested more than ${DEPTH_LIMIT} levels deep`)
      return shape.members.every((member) =>
        partIsZero(
          zeroes,
          member.type,
          shapeOf(zeroes.shapes, member.type, path),
          at + member.offset,
          member.bit,
          member.bits,
          depth + 1,
          path
        )
      )
    case "Array": {
      if (shape.character) return shape.length === 0 || zeroes.bytes[at] === 0
      if (shape.elementSize === 0) return true
      if (at + shape.size > zeroes.bytes.length) return false
      if (depth >= DEPTH_LIMIT) failValue("TooDeep", path, id, `it is nested more than ${DEPTH_LIMIT} levels deep`)
      const element = shapeOf(zeroes.shapes, shape.element, path)
      const end = at + shape.size
      // Only elements that have bytes other than zero need a look.
      for (let from = zeroes.next[at] ?? end; from < end;) {
        const index = Math.floor((from - at) / shape.elementSize)
        const start = at + index * shape.elementSize
        if (!partIsZero(zeroes, shape.element, element, start, 0, 0, depth + 1, path)) return false
        from = zeroes.next[start + shape.elementSize] ?? end
      }
      return true
    }
    case "Int":
      return shape.bits === shape.size * 8 ? false : bitsAreZero(zeroes, at, shape.bitOffset, shape.bits)
    default:
      return false
  }
}

const bytesAreZero = (zeroes: Zeroes, at: number, size: number): boolean =>
  at + size <= zeroes.bytes.length && (zeroes.next[at] ?? 0) >= at + size

const bitsAreZero = (zeroes: Zeroes, at: number, bit: number, bits: number): boolean => {
  const first = at + Math.floor(bit / 8)
  const covered = Math.ceil((bit % 8 + bits) / 8)
  if (first + covered > zeroes.bytes.length) return false
  if (bytesAreZero(zeroes, first, covered)) return true
  const raw = readBits(zeroes.bytes, at, bit, bits, false, zeroes.littleEndian)
  return raw === 0 || raw === 0n
}
