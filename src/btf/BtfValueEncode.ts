/** JavaScript values to bytes, by plan. */
import { writeBits } from "./BtfBits.ts"
import type { Btf, ByteOrder } from "./BtfModel.ts"
import { typeName } from "./BtfName.ts"
import { DEPTH_LIMIT } from "./BtfValueDecode.ts"
import type { PathSegment } from "./BtfValueError.ts"
import { failValue } from "./BtfValueError.ts"
import type { ArrayPlan, EnumPlan, Field, IntPlan, StructPlan, ValuePlan } from "./BtfValuePlan.ts"
import { planOfPart } from "./BtfValuePlan.ts"

/** What an encoding goes through its types with. */
interface Encoding {
  readonly btf: Btf
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly littleEndian: boolean
  readonly path: Array<PathSegment>
}

/** Writes a value of a plan to the start of `bytes`, which are zeros and enough. */
export const encodeInto = (
  btf: Btf,
  plan: ValuePlan,
  value: unknown,
  bytes: Uint8Array,
  byteOrder: ByteOrder,
  path: ReadonlyArray<PathSegment>
): void => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  encodePlan({ btf, bytes, view, littleEndian: byteOrder === "little", path: [...path] }, plan, plan.type, value, 0)
}

/** `type` is the type as declared, for errors. */
const encodePlan = (state: Encoding, plan: ValuePlan, type: number, value: unknown, at: number): void => {
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
      return encodeArray(state, plan, type, value, at)
    case "Struct":
      return encodeStruct(state, plan, type, value, at)
  }
}

/** Writes the low `size` bytes of `value`. */
const writeInt = (state: Encoding, at: number, size: number, value: bigint): void => {
  const { littleEndian, view } = state
  switch (size) {
    case 1:
      return view.setUint8(at, Number(BigInt.asUintN(8, value)))
    case 2:
      return view.setUint16(at, Number(BigInt.asUintN(16, value)), littleEndian)
    case 4:
      return view.setUint32(at, Number(BigInt.asUintN(32, value)), littleEndian)
    case 8:
      return view.setBigUint64(at, BigInt.asUintN(64, value), littleEndian)
    default:
      return writeBits(state.bytes, at, 0, size * 8, value, littleEndian)
  }
}

const intValue = (
  state: Encoding,
  plan: Pick<IntPlan, "signed">,
  type: number,
  value: unknown,
  bits: number
): bigint => {
  if (typeof value !== "bigint" && typeof value !== "number") return wrongType(state, type, value, "a number or bigint")
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    const hint = Number.isInteger(value) ? "give it as a bigint" : undefined
    return failValue("OutOfRange", state.path, type, `${value} is no safe integer`, hint)
  }
  const exact = BigInt(value)
  const fits = (plan.signed ? BigInt.asIntN(bits, exact) : BigInt.asUintN(bits, exact)) === exact
  return fits ? exact : doesNotFit(state, type, exact, bits)
}

const doesNotFit = (state: Encoding, type: number, value: bigint | number, bits: number): never => {
  const plain = bits % 8 === 0 ? "" : `${bits} bits of `
  return failValue("OutOfRange", state.path, type, `${value} does not fit ${plain}${typeName(state.btf, type)}`)
}

const boolValue = (state: Encoding, type: number, value: unknown): bigint => {
  if (value === true || value === 1 || value === 1n) return 1n
  if (value === false || value === 0 || value === 0n) return 0n
  return wrongType(state, type, value, "a boolean")
}

const enumValue = (state: Encoding, plan: EnumPlan, type: number, value: unknown, bits: number): bigint => {
  if (typeof value !== "string") return intValue(state, plan, type, value, bits)
  const found = plan.values.get(value)
  if (found === undefined) {
    const hint = choices(plan.values.keys(), plan.values.size)
    const what = `${typeName(state.btf, type)} has no value called ${JSON.stringify(value)}`
    return failValue("UnknownName", state.path, type, what, hint)
  }
  return intValue(state, plan, type, found, bits)
}

const encodeFloat = (state: Encoding, size: 4 | 8, type: number, value: unknown, at: number): void => {
  if (typeof value !== "number") return wrongType(state, type, value, "a number")
  if (size === 8) return state.view.setFloat64(at, value, state.littleEndian)
  if (Number.isFinite(value) && !Number.isFinite(Math.fround(value))) return doesNotFit(state, type, value, 32)
  return state.view.setFloat32(at, value, state.littleEndian)
}

const encodeArray = (state: Encoding, plan: ArrayPlan, type: number, value: unknown, at: number): void => {
  if (typeof value === "string") return encodeText(state, plan, type, value, at)
  if (value instanceof Uint8Array && plan.octets) {
    if (value.length > plan.length) return tooLong(state, type, `${value.length} bytes`, plan.length)
    state.bytes.set(value, at)
    return
  }
  if (!Array.isArray(value)) {
    return wrongType(state, type, value, plan.text ? "a string, an array or a Uint8Array" : "an array")
  }
  if (value.length > plan.length) return tooLong(state, type, `${value.length} elements`, plan.length)
  // Nothing is asked of the type of elements that are not there, as in decoding.
  if (value.length === 0) return
  deeper(state, type)
  const element = planOfPart(state.btf, plan.element, state.path)
  for (let index = 0; index < value.length; index++) {
    const item: unknown = value[index]
    // A hole is a missing element: zero.
    if (item === undefined) continue
    state.path.push(index)
    encodePlan(state, element, plan.element.type, item, at + index * plan.element.size)
    state.path.pop()
  }
}

/** Text may fill the array to the last byte: C allows it, and so a NUL is not asked for. */
const encodeText = (state: Encoding, plan: ArrayPlan, type: number, value: string, at: number): void => {
  if (!plan.text) return wrongType(state, type, value, "an array")
  if (value.includes("\0")) {
    const hint = "give bytes as a Uint8Array"
    return failValue("WrongType", state.path, type, "text ends at its first NUL and cannot hold one", hint)
  }
  const encoded = utf8.encode(value)
  if (encoded.length > plan.length) return tooLong(state, type, `text of ${encoded.length} bytes`, plan.length)
  state.bytes.set(encoded, at)
}

const utf8 = new TextEncoder()

const encodeStruct = (state: Encoding, plan: StructPlan, type: number, value: unknown, at: number): void => {
  if (typeof value !== "object" || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
    return wrongType(state, type, value, "an object")
  }
  deeper(state, type)
  for (const [name, item] of Object.entries(value)) {
    const field = plan.fields.get(name)
    state.path.push(name)
    if (field === undefined) {
      const hint = choices(plan.fields.keys(), plan.fields.size)
      return failValue("UnknownMember", state.path, type, `${typeName(state.btf, type)} has no such member`, hint)
    }
    if (item !== undefined) {
      const inner = planOfPart(state.btf, field, state.path)
      if (field.bits === 0) encodePlan(state, inner, field.type, item, at + field.offset)
      else encodeBitfield(state, inner, field, item, at)
    }
    state.path.pop()
  }
}

const encodeBitfield = (state: Encoding, plan: ValuePlan, field: Field, value: unknown, at: number): void => {
  const raw = bitfieldValue(state, plan, field, value)
  writeBits(state.bytes, at, field.bitOffset, field.bits, raw, state.littleEndian)
}

const bitfieldValue = (state: Encoding, plan: ValuePlan, field: Field, value: unknown): bigint => {
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

const wrongType = (state: Encoding, type: number, value: unknown, expected: string): never =>
  failValue("WrongType", state.path, type, `${typeName(state.btf, type)} needs ${expected}, not ${describe(value)}`)

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

const tooLong = (state: Encoding, type: number, what: string, room: number): never =>
  failValue("TooLong", state.path, type, `${what} are too many for ${typeName(state.btf, type)}`, `it holds ${room}`)

const deeper = (state: Encoding, type: number): void => {
  if (state.path.length > DEPTH_LIMIT) {
    failValue("TooDeep", state.path, type, `it is nested more than ${DEPTH_LIMIT} levels deep`)
  }
}
