/**
 * Values without parts as text, and arrays of characters as strings: what stands in a typed dump behind the types.
 *
 * Source: reference page `btf-dump`, section J; where libbpf does it wrong, see `BtfDataDump`.
 */
import { readBits, readInt } from "../BtfBits.ts"
import * as Kind from "../BtfKind.ts"
import type { Btf } from "../BtfModel.ts"
import { kindOf } from "../BtfModel.ts"
import type { PathSegment } from "../BtfValueError.ts"
import { failValue } from "../BtfValueError.ts"
import type { EnumPlan, IntPlan } from "../BtfValuePlan.ts"
import { formatFloat } from "./Float.ts"
import type { ArrayShape, Shape, StructShape } from "./Shape.ts"

/** Where values are read, and how one-byte integers are shown. */
export interface Source {
  readonly btf: Btf
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly littleEndian: boolean
  /** The part that is being shown. */
  readonly path: ReadonlyArray<PathSegment>
  /** The elements of a character array are being shown. */
  inCharacters: boolean
}

/** The text up to a NUL; `undefined` where there is none. */
export const stringText = (source: Source, shape: ArrayShape, at: number): string | undefined => {
  const end = Math.min(at + shape.length, source.bytes.length)
  const nul = source.bytes.indexOf(0, at)
  if (nul < 0 || nul >= end) return undefined
  let text = "\""
  for (const byte of source.bytes.subarray(at, nul)) {
    text += isPrintable(byte) ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`
  }
  return `${text}"`
}

/** As in the C locale. */
const isPrintable = (byte: number): boolean => byte >= 0x20 && byte <= 0x7e

/**
 * A number, a name or an address at byte `at`, which the bytes reach; of a bit field of `bits` bits at bit `bit` where that
 * is more than 0. Throws `Unsupported` for a floating-point number of a size that none has.
 */
export const scalarText = (
  source: Source,
  id: number,
  shape: Exclude<Shape, StructShape | ArrayShape>,
  at: number,
  bit: number,
  bits: number
): string => {
  switch (shape._tag) {
    case "Int":
      return bits > 0
        ? hexadecimal(readBits(source.bytes, at, bit, bits, false, source.littleEndian))
        : intText(source, shape, at)
    case "Enum":
      return enumText(
        source,
        shape,
        bits > 0
          ? readBits(source.bytes, at, bit, bits, shape.signed, source.littleEndian)
          : wholeInt(source, at, shape.size, shape.signed)
      )
    case "Pointer":
      return hexadecimal(wholeInt(source, at, shape.size, false))
    case "Float":
    case "Bytes": {
      const text = formatFloat(source.bytes, at, shape.size, source.littleEndian)
      return text ??
        failValue("Unsupported", source.path, id, `a floating-point number cannot have ${shape.size} bytes`)
    }
  }
}

const wholeInt = (source: Source, at: number, size: number, signed: boolean): number | bigint =>
  readInt(source.view, source.bytes, at, size, signed, source.littleEndian)

const hexadecimal = (value: number | bigint): string => `0x${value.toString(16)}`

const intText = (source: Source, plan: IntPlan, at: number): string => {
  const { bytes, littleEndian } = source
  if (plan.bits !== plan.size * 8) {
    return hexadecimal(readBits(bytes, at, plan.bitOffset, plan.bits, false, littleEndian))
  }
  if (plan.size === 16) return hexadecimal(wholeInt(source, at, 16, false))
  if (plan.size === 1 && source.inCharacters) {
    const byte = bytes[at] ?? 0
    if (byte === 0) return "'\\0'"
    if (isPrintable(byte)) return `'${String.fromCharCode(byte)}'`
  }
  return String(wholeInt(source, at, plan.size, plan.signed))
}

const enumText = (source: Source, plan: EnumPlan, raw: number | bigint): string => {
  const value = plan.size <= 4 ? Number(raw) : BigInt(raw)
  const name = plan.names.get(value)
  if (name !== undefined) return name
  const wide = kindOf(source.btf, plan.type) === Kind.BTF_KIND_ENUM64
  return `${value}${wide ? plan.signed ? "LL" : "ULL" : ""}`
}
