/** Bytes to JavaScript values, by plan. */
import { halfToNumber, readBits, readInt } from "./BtfBits.ts"
import type { Btf } from "./BtfModel.ts"
import type { BtfValue } from "./BtfValue.ts"
import type { PathSegment } from "./BtfValueError.ts"
import { failValue, isBtfValueError } from "./BtfValueError.ts"
import type { ArrayPlan, EnumPlan, Field, IntPlan, StructPlan, ValuePlan } from "./BtfValuePlan.ts"
import { fieldEnd, planOfPart } from "./BtfValuePlan.ts"
import { readCharacters } from "./CharacterText.ts"
import { DEPTH_LIMIT } from "./ValueLimits.ts"

export { DEPTH_LIMIT } from "./ValueLimits.ts"

/** How values are decoded. */
export interface Decoding {
  readonly littleEndian: boolean
  /** Arrays of characters are strings. */
  readonly text: boolean
  /** Arrays of one-byte integers that are no text are a `Uint8Array`. */
  readonly octets: boolean
  /** A flexible array at the end takes the bytes that follow. */
  readonly flexible: boolean
}

/** What a decoding goes through its types with. */
interface State {
  readonly btf: Btf
  readonly how: Decoding
  readonly littleEndian: boolean
  readonly bytes: Uint8Array
  readonly view: DataView
  /**
   * Where the decoding is, for errors. Keeping it costs as much as reading an integer: it is kept in a second run, after
   * the first one failed.
   */
  readonly path: Array<PathSegment> | undefined
  /**
   * Parts that may still be decoded. Members of a union are decoded each, so nested unions multiply: without a bound in
   * proportion to the bytes, four bytes could decode to more than memory holds.
   */
  budget: number
}

/** The value of a plan at the start of `bytes`, which must be enough. `root` is what it is called in errors. */
export const decodeAt = (btf: Btf, plan: ValuePlan, bytes: Uint8Array, how: Decoding, root: () => string): BtfValue => {
  try {
    return decodePlan(makeState(btf, plan, bytes, how, undefined), plan, 0, 0, how.flexible)
  } catch (thrown) {
    if (!isBtfValueError(thrown)) throw thrown
    // The same again, and this time with the way there.
    return decodePlan(makeState(btf, plan, bytes, how, [root()]), plan, 0, 0, how.flexible)
  }
}

/** How many parts a value of so many bytes may have. */
export const budgetOf = (bytes: number): number => (1 << 16) + 16 * bytes

const makeState = (
  btf: Btf,
  plan: ValuePlan,
  bytes: Uint8Array,
  how: Decoding,
  path: Array<PathSegment> | undefined
): State => ({
  btf,
  how,
  littleEndian: how.littleEndian,
  bytes,
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  path,
  budget: budgetOf(how.flexible ? Math.max(bytes.length, plan.size) : plan.size)
})

const nowhere: ReadonlyArray<PathSegment> = []

const spend = (state: State, type: number, parts: number): void => {
  state.budget -= parts
  if (state.budget < 0) failValue("TooLarge", state.path ?? nowhere, type, "its unions multiply to too many values")
}

/** `last`: nothing follows the part but what a flexible array at its end may take. */
const decodePlan = (state: State, plan: ValuePlan, at: number, depth: number, last: boolean): BtfValue => {
  spend(state, plan.type, 1)
  switch (plan._tag) {
    case "Int":
      return decodeInt(state, plan, at)
    case "Enum": {
      const raw = readInt(state.view, state.bytes, at, plan.size, plan.signed, state.littleEndian)
      return plan.names.get(raw) ?? raw
    }
    case "Float":
      if (plan.size === 2) return halfToNumber(state.view.getUint16(at, state.littleEndian))
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
      return decodeArray(state, plan, at, depth, last)
    case "Struct":
      return decodeStruct(state, plan, at, depth, last)
  }
}

const decodeInt = (state: State, plan: IntPlan, at: number): number | bigint | boolean => {
  const raw = plan.bits === plan.size * 8
    ? readInt(state.view, state.bytes, at, plan.size, plan.signed, state.littleEndian)
    : readBits(state.bytes, at, plan.bitOffset, plan.bits, plan.signed, state.littleEndian)
  return plan.bool ? Boolean(raw) : raw
}

const decodeArray = (state: State, plan: ArrayPlan, at: number, depth: number, last: boolean): BtfValue => {
  const { element } = plan
  const length = plan.length === 0 && last && element.size > 0
    ? Math.max(0, Math.floor((state.bytes.length - at) / element.size))
    : plan.length
  if (plan.octets) {
    if (plan.text && state.how.text) {
      spend(state, plan.type, length / 8)
      const text = readCharacters(state.view, at, at + length)
      if (text !== undefined) return text
    }
    if (state.how.octets) {
      spend(state, plan.type, length / 8)
      return state.bytes.slice(at, at + length)
    }
  }
  // Elements without bytes, of an empty struct, hold nothing, however many they claim to be.
  if (element.size === 0) return []
  deeper(state, plan.type, depth)
  const inner = element.plan ?? planOfPart(state.btf, element, state.path ?? nowhere)
  const values: Array<BtfValue> = []
  if (inner._tag === "Int") {
    // The most there are of: an integer cannot fail.
    spend(state, plan.type, length)
    for (let index = 0; index < length; index++) values.push(decodeInt(state, inner, at + index * element.size))
    return values
  }
  for (let index = 0; index < length; index++) {
    state.path?.push(index)
    values.push(decodePlan(state, inner, at + index * element.size, depth + 1, false))
    state.path?.pop()
  }
  return values
}

const decodeStruct = (state: State, plan: StructPlan, at: number, depth: number, last: boolean): BtfValue => {
  deeper(state, plan.type, depth)
  const object: Record<string, BtfValue> = {}
  const { list } = plan
  for (let index = 0; index < list.length; index++) {
    const field = list[index]
    if (field === undefined) break
    state.path?.push(field.name)
    const inner = field.plan ?? planOfPart(state.btf, field, state.path ?? nowhere)
    const value = field.bits === 0
      ? decodePlan(state, inner, at + field.offset, depth + 1, last && isLast(plan, field))
      : decodeBitfield(state, inner, field, at)
    state.path?.pop()
    // Assigned, this one name would set the prototype.
    if (field.name === "__proto__") Object.defineProperty(object, field.name, ownProperty(value))
    else object[field.name] = value
  }
  return object
}

/** Whether nothing but padding follows a field. */
export const isLast = (plan: StructPlan, field: Field): boolean => field.bits === 0 && fieldEnd(field) >= plan.tail

const ownProperty = (value: BtfValue): PropertyDescriptor => ({
  value,
  writable: true,
  enumerable: true,
  configurable: true
})

const decodeBitfield = (state: State, plan: ValuePlan, field: Field, at: number): BtfValue => {
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

const deeper = (state: State, type: number, depth: number): void => {
  if (depth < DEPTH_LIMIT) return
  failValue("TooDeep", state.path ?? nowhere, type, `it is nested more than ${DEPTH_LIMIT} levels deep`)
}
