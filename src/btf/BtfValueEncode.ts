/** JavaScript values to bytes, by plan. */
import { fitsBits, numberToHalf, writeBits } from "./BtfBits.ts"
import type { Btf } from "./BtfModel.ts"
import { typeName } from "./BtfName.ts"
import { DEPTH_LIMIT, isLast } from "./BtfValueDecode.ts"
import type { BtfValueError, PathSegment } from "./BtfValueError.ts"
import { failValue, isBtfValueError } from "./BtfValueError.ts"
import type { ArrayPlan, EnumPlan, Field, IntPlan, StructPlan, ValuePlan } from "./BtfValuePlan.ts"
import { planOfPart, SIZE_LIMIT } from "./BtfValuePlan.ts"

/** How values are encoded. */
export interface Encoding {
  readonly littleEndian: boolean
  /** A flexible array at the end may have elements, which follow the type's own bytes. */
  readonly flexible: boolean
}

/** What an encoding goes through its types with. */
interface State {
  readonly btf: Btf
  readonly littleEndian: boolean
  readonly flexible: boolean
  bytes: Uint8Array
  view: DataView
  /** Where the encoding is, for errors: kept in a second run, after the first one failed. */
  readonly path: Array<PathSegment> | undefined
}

/** The bytes of a value of a plan: as many as the plan has, and those of a flexible array. */
export const encodeAt = (btf: Btf, plan: ValuePlan, value: unknown, how: Encoding, root: () => string): Uint8Array => {
  try {
    return encodeWhole(btf, plan, value, how, undefined)
  } catch (thrown) {
    if (!isBtfValueError(thrown)) throw thrown
    // The same again, and this time with the way there.
    return encodeWhole(btf, plan, value, how, [root()])
  }
}

const encodeWhole = (
  btf: Btf,
  plan: ValuePlan,
  value: unknown,
  how: Encoding,
  path: Array<PathSegment> | undefined
): Uint8Array => {
  const bytes = new Uint8Array(plan.size)
  const { flexible, littleEndian } = how
  const state: State = { btf, littleEndian, flexible, bytes, view: new DataView(bytes.buffer), path }
  encodePlan(state, plan, plan.type, value, 0, 0, flexible)
  return state.bytes
}

const nowhere: ReadonlyArray<PathSegment> = []

const refuse = (
  state: State,
  reason: BtfValueError["reason"],
  type: number,
  detail: string,
  hint?: string
): never => failValue(reason, state.path ?? nowhere, type, detail, hint)

/** `type` is the type as declared, for errors. */
const encodePlan = (
  state: State,
  plan: ValuePlan,
  type: number,
  value: unknown,
  at: number,
  depth: number,
  last: boolean
): void => {
  switch (plan._tag) {
    case "Int": {
      const whole = plan.bits === plan.size * 8
      const raw = plan.bool ? boolValue(state, type, value) : intValue(state, plan, type, value, plan.bits)
      if (whole) writeInt(state, at, plan.size, raw)
      else writeBits(state.bytes, at, plan.bitOffset, plan.bits, raw, state.littleEndian)
      return
    }
    case "Enum":
      return writeInt(state, at, plan.size, enumValue(state, plan, type, value, plan.size * 8))
    case "Float":
      return encodeFloat(state, plan.size, type, value, at)
    case "Bytes":
      if (!(value instanceof Uint8Array)) return wrongType(state, type, value, `${plan.size} bytes as a Uint8Array`)
      if (value.length > plan.size) return tooLong(state, type, `${value.length} bytes`, plan.size)
      state.bytes.set(value, at)
      return
    case "Pointer":
      return writeInt(state, at, plan.size, intValue(state, { signed: false }, type, value, plan.size * 8))
    case "Array":
      return encodeArray(state, plan, type, value, at, depth, last)
    case "Struct":
      return encodeStruct(state, plan, type, value, at, depth, last)
  }
}

/** Writes `value`, which fits `size` bytes. */
const writeInt = (state: State, at: number, size: number, value: number | bigint): void => {
  const { littleEndian, view } = state
  switch (size) {
    case 1:
      return view.setUint8(at, Number(value))
    case 2:
      return view.setUint16(at, Number(value), littleEndian)
    case 4:
      return view.setUint32(at, Number(value), littleEndian)
    case 8:
      return view.setBigUint64(at, BigInt(value), littleEndian)
    default:
      return writeBits(state.bytes, at, 0, size * 8, value, littleEndian)
  }
}

const intValue = (
  state: State,
  plan: Pick<IntPlan, "signed">,
  type: number,
  value: unknown,
  bits: number
): number | bigint => {
  if (typeof value === "number" && bits <= 32 && fitsBits(value, bits, plan.signed)) return value
  if (typeof value !== "bigint" && typeof value !== "number") return wrongType(state, type, value, "a number or bigint")
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    const hint = Number.isInteger(value) ? "give it as a bigint" : undefined
    return refuse(state, "OutOfRange", type, `${value} is no safe integer`, hint)
  }
  const exact = BigInt(value)
  const fits = (plan.signed ? BigInt.asIntN(bits, exact) : BigInt.asUintN(bits, exact)) === exact
  return fits ? exact : doesNotFit(state, type, exact, bits)
}

const doesNotFit = (state: State, type: number, value: bigint | number, bits: number): never => {
  const plain = bits % 8 === 0 ? "" : `${bits} bits of `
  return refuse(state, "OutOfRange", type, `${value} does not fit ${plain}${typeName(state.btf, type)}`)
}

const boolValue = (state: State, type: number, value: unknown): number => {
  if (value === true || value === 1 || value === 1n) return 1
  if (value === false || value === 0 || value === 0n) return 0
  return wrongType(state, type, value, "a boolean")
}

const enumValue = (state: State, plan: EnumPlan, type: number, value: unknown, bits: number): number | bigint => {
  if (typeof value !== "string") return intValue(state, plan, type, value, bits)
  const found = plan.values.get(value)
  if (found === undefined) {
    const hint = choices(plan.values.keys(), plan.values.size)
    const what = `${typeName(state.btf, type)} has no value called ${JSON.stringify(value)}`
    return refuse(state, "UnknownName", type, what, hint)
  }
  return intValue(state, plan, type, found, bits)
}

const encodeFloat = (state: State, size: 2 | 4 | 8, type: number, value: unknown, at: number): void => {
  if (typeof value !== "number") return wrongType(state, type, value, "a number")
  if (size === 8) return state.view.setFloat64(at, value, state.littleEndian)
  const half = size === 2 ? numberToHalf(value) : 0
  const infinite = size === 2 ? (half & 0x7fff) === 0x7c00 : !Number.isFinite(Math.fround(value))
  if (Number.isFinite(value) && infinite) return doesNotFit(state, type, value, size * 8)
  if (size === 2) return state.view.setUint16(at, half, state.littleEndian)
  return state.view.setFloat32(at, value, state.littleEndian)
}

const encodeArray = (
  state: State,
  plan: ArrayPlan,
  type: number,
  value: unknown,
  at: number,
  depth: number,
  last: boolean
): void => {
  if (typeof value === "string") return encodeText(state, plan, type, value, at, last)
  if (value instanceof Uint8Array && plan.octets) {
    takeRoom(state, plan, type, value.length, "bytes", at, last)
    state.bytes.set(value, at)
    return
  }
  if (!Array.isArray(value)) {
    return wrongType(state, type, value, plan.text ? "a string, an array or a Uint8Array" : "an array")
  }
  takeRoom(state, plan, type, value.length, "elements", at, last)
  // Nothing is asked of the type of elements that are not there, as in decoding.
  if (value.length === 0) return
  deeper(state, type, depth)
  const element = plan.element.plan ?? planOfPart(state.btf, plan.element, state.path ?? nowhere)
  for (let index = 0; index < value.length; index++) {
    const item: unknown = value[index]
    // A hole is a missing element: zero.
    if (item === undefined) continue
    state.path?.push(index)
    encodePlan(state, element, plan.element.type, item, at + index * plan.element.size, depth + 1, false)
    state.path?.pop()
  }
}

/** Checks that an array holds `length` elements; a flexible one is given the bytes for them. */
const takeRoom = (
  state: State,
  plan: ArrayPlan,
  type: number,
  length: number,
  what: "bytes" | "elements" | "text",
  at: number,
  last: boolean
): void => {
  if (length <= plan.length) return
  if (!last || plan.length > 0 || plan.element.size === 0) {
    return tooLong(state, type, what === "text" ? `text of ${length} bytes` : `${length} ${what}`, plan.length)
  }
  const end = at + length * plan.element.size
  if (end > SIZE_LIMIT) return refuse(state, "TooLarge", type, `${end} bytes are too many for a value`)
  if (end <= state.bytes.length) return
  const bytes = new Uint8Array(end)
  bytes.set(state.bytes)
  state.bytes = bytes
  state.view = new DataView(bytes.buffer)
}

/** Longest text that is written code by code, which is fastest for short ones. */
const SHORT_TEXT = 64

const isAscii = (text: string): boolean => {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) >= 0x80) return false
  return true
}

/** Text may fill the array to the last byte: C allows it, and so a NUL is not asked for. */
const encodeText = (
  state: State,
  plan: ArrayPlan,
  type: number,
  value: string,
  at: number,
  last: boolean
): void => {
  if (!plan.text) return wrongType(state, type, value, "an array")
  if (value.includes("\0")) {
    const hint = "give bytes as a Uint8Array"
    return refuse(state, "WrongType", type, "text ends at its first NUL and cannot hold one", hint)
  }
  const encoded = value.length <= SHORT_TEXT && isAscii(value) ? undefined : utf8.encode(value)
  const length = encoded?.length ?? value.length
  takeRoom(state, plan, type, length, "text", at, last)
  if (encoded !== undefined) return state.bytes.set(encoded, at)
  for (let index = 0; index < length; index++) state.bytes[at + index] = value.charCodeAt(index)
}

const utf8 = new TextEncoder()

const encodeStruct = (
  state: State,
  plan: StructPlan,
  type: number,
  value: unknown,
  at: number,
  depth: number,
  last: boolean
): void => {
  if (!isObject(value)) return wrongType(state, type, value, "an object")
  deeper(state, type, depth)
  for (const name of Object.keys(value)) {
    const item = value[name]
    const field = plan.fields.get(name)
    state.path?.push(name)
    if (field === undefined) {
      const hint = choices(plan.fields.keys(), plan.fields.size)
      return refuse(state, "UnknownMember", type, `${typeName(state.btf, type)} has no such member`, hint)
    }
    if (item !== undefined) {
      const inner = field.plan ?? planOfPart(state.btf, field, state.path ?? nowhere)
      if (field.bits !== 0) encodeBitfield(state, inner, field, item, at)
      else encodePlan(state, inner, field.type, item, at + field.offset, depth + 1, last && isLast(plan, field))
    }
    state.path?.pop()
  }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)

const encodeBitfield = (state: State, plan: ValuePlan, field: Field, value: unknown, at: number): void => {
  const raw = bitfieldValue(state, plan, field, value)
  writeBits(state.bytes, at, field.bitOffset, field.bits, raw, state.littleEndian)
}

const bitfieldValue = (state: State, plan: ValuePlan, field: Field, value: unknown): number | bigint => {
  if (plan._tag === "Enum") return enumValue(state, plan, field.type, value, field.bits)
  if (plan._tag === "Int" && plan.bool) return boolValue(state, field.type, value)
  return intValue(state, { signed: plan._tag === "Int" && plan.signed }, field.type, value, field.bits)
}

/** What could have been meant, for hints. */
const choices = (names: Iterable<string>, count: number): string => {
  const first: Array<string> = []
  for (const name of names) {
    first.push(name)
    if (first.length === 8) break
  }
  return count === 0 ? "it has none" : `it has ${first.join(", ")}${count > first.length ? ", …" : ""}`
}

const wrongType = (state: State, type: number, value: unknown, expected: string): never =>
  refuse(state, "WrongType", type, `${typeName(state.btf, type)} needs ${expected}, not ${describe(value)}`)

const describe = (value: unknown): string => {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return "an array"
  if (value instanceof Uint8Array) return "a Uint8Array"
  if (typeof value === "object") return "an object"
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") {
    return `the ${typeof value} ${value}`
  }
  return `a ${typeof value}`
}

const tooLong = (state: State, type: number, what: string, room: number): never =>
  refuse(state, "TooLong", type, `${what} are too many for ${typeName(state.btf, type)}`, `it holds ${room}`)

const deeper = (state: State, type: number, depth: number): void => {
  if (depth >= DEPTH_LIMIT) refuse(state, "TooDeep", type, `it is nested more than ${DEPTH_LIMIT} levels deep`)
}
