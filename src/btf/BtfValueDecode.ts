/** Bytes to JavaScript values, by plan. */
import { readBits } from "./BtfBits.ts"
import type { Btf, ByteOrder } from "./BtfModel.ts"
import { decodeText } from "./BtfModel.ts"
import type { BtfValue } from "./BtfValue.ts"
import type { PathSegment } from "./BtfValueError.ts"
import { failValue } from "./BtfValueError.ts"
import type { ArrayPlan, EnumPlan, Field, IntPlan, StructPlan, ValuePlan } from "./BtfValuePlan.ts"
import { planOfPart } from "./BtfValuePlan.ts"

/** The deepest nesting of structs and arrays that is decoded. */
export const DEPTH_LIMIT = 64

/** What a decoding goes through its types with. */
interface Decoding {
  readonly btf: Btf
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly littleEndian: boolean
  readonly path: Array<PathSegment>
  /**
   * Parts that may still be decoded. Members of a union are decoded each, so nested unions multiply: without a bound in
   * proportion to the bytes, four bytes could decode to more than memory holds.
   */
  budget: number
}

/** The value of a plan at the start of `bytes`, which must be enough. */
export const decodeAt = (
  btf: Btf,
  plan: ValuePlan,
  bytes: Uint8Array,
  byteOrder: ByteOrder,
  path: ReadonlyArray<PathSegment>
): BtfValue => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const littleEndian = byteOrder === "little"
  const budget = (1 << 16) + 16 * plan.size
  return decodePlan({ btf, bytes, view, littleEndian, path: [...path], budget }, plan, 0, 0)
}

const spend = (state: Decoding, type: number, parts: number): void => {
  state.budget -= parts
  if (state.budget < 0) failValue("TooLarge", state.path, type, "its unions multiply to too many values")
}

const decodePlan = (state: Decoding, plan: ValuePlan, at: number, depth: number): BtfValue => {
  spend(state, plan.type, 1)
  switch (plan._tag) {
    case "Int":
      return decodeInt(state, plan, at)
    case "Enum": {
      const raw = readInt(state, at, plan.size, plan.signed)
      return plan.names.get(raw) ?? raw
    }
    case "Float":
      return plan.size === 4
        ? state.view.getFloat32(at, state.littleEndian)
        : state.view.getFloat64(at, state.littleEndian)
    case "Bytes":
      spend(state, plan.type, plan.size / 8)
      return state.bytes.slice(at, at + plan.size)
    case "Pointer":
      return plan.size === 4
        ? BigInt(state.view.getUint32(at, state.littleEndian))
        : state.view.getBigUint64(at, state.littleEndian)
    case "Array":
      return decodeArray(state, plan, at, depth)
    case "Struct":
      return decodeStruct(state, plan, at, depth)
  }
}

/** A number up to four bytes, a bigint of more. */
const readInt = (state: Decoding, at: number, size: number, signed: boolean): number | bigint => {
  const { littleEndian, view } = state
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
      return readBits(state.bytes, at, 0, size * 8, signed, littleEndian)
  }
}

const decodeInt = (state: Decoding, plan: IntPlan, at: number): number | bigint | boolean => {
  const raw = plan.bits === plan.size * 8
    ? readInt(state, at, plan.size, plan.signed)
    : readBits(state.bytes, at, plan.bitOffset, plan.bits, plan.signed, state.littleEndian)
  return plan.bool ? Boolean(raw) : raw
}

const decodeArray = (state: Decoding, plan: ArrayPlan, at: number, depth: number): BtfValue => {
  if (plan.text) {
    spend(state, plan.type, plan.length / 8)
    const text = decodeCharacters(state.bytes, at, at + plan.length)
    if (text !== undefined) return text
  }
  // Elements without bytes, of an empty struct, hold nothing, however many they claim to be.
  if (plan.element.size === 0) return []
  deeper(state, plan.type, depth)
  const element = planOfPart(state.btf, plan.element, state.path)
  const values: Array<BtfValue> = []
  for (let index = 0; index < plan.length; index++) {
    state.path.push(index)
    values.push(decodePlan(state, element, at + index * plan.element.size, depth + 1))
    state.path.pop()
  }
  return values
}

const decodeStruct = (state: Decoding, plan: StructPlan, at: number, depth: number): BtfValue => {
  deeper(state, plan.type, depth)
  const object: Record<string, BtfValue> = {}
  for (const field of plan.fields.values()) {
    state.path.push(field.name)
    const inner = planOfPart(state.btf, field, state.path)
    const value = field.bits === 0
      ? decodePlan(state, inner, at + field.offset, depth + 1)
      : decodeBitfield(state, inner, field, at)
    state.path.pop()
    // Assigned, this one name would set the prototype.
    if (field.name === "__proto__") Object.defineProperty(object, field.name, ownProperty(value))
    else object[field.name] = value
  }
  return object
}

const ownProperty = (value: BtfValue): PropertyDescriptor => ({
  value,
  writable: true,
  enumerable: true,
  configurable: true
})

const decodeBitfield = (state: Decoding, plan: ValuePlan, field: Field, at: number): BtfValue => {
  spend(state, plan.type, 1)
  const signed = (plan._tag === "Int" || plan._tag === "Enum") && plan.signed
  const raw = readBits(state.bytes, at, field.bitOffset, field.bits, signed, state.littleEndian)
  if (plan._tag === "Enum") return enumName(plan, raw)
  if (plan._tag === "Int" && plan.bool) return Boolean(raw)
  return plan.size > 4 ? BigInt(raw) : raw
}

const enumName = (plan: EnumPlan, raw: number | bigint): string | number | bigint => {
  const key = plan.size <= 4 ? Number(raw) : BigInt(raw)
  return plan.names.get(key) ?? key
}

const deeper = (state: Decoding, type: number, depth: number): void => {
  if (depth >= DEPTH_LIMIT) failValue("TooDeep", state.path, type, `it is nested more than ${DEPTH_LIMIT} levels deep`)
}

/** The text up to a NUL; `undefined` where the bytes have control characters or are no UTF-8. */
const decodeCharacters = (bytes: Uint8Array, start: number, end: number): string | undefined => {
  let at = start
  let ascii = true
  for (; at < end; at++) {
    const byte = bytes[at] ?? 0
    if (byte === 0) break
    if (byte >= 0x80) ascii = false
    else if (byte === 0x7f || (byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d)) return undefined
  }
  if (ascii) return decodeText(bytes, start, at)
  try {
    return strictUtf8.decode(bytes.subarray(start, at))
  } catch {
    // A fatal decoder has no other way to say that the bytes are no UTF-8.
    return undefined
  }
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
