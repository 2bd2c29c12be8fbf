/**
 * JavaScript values to and from the bytes of a BTF type: map keys and values, global variables, events.
 *
 * | type | value |
 * |---|---|
 * | integer up to 4 bytes, `float`, `double`, half precision | `number` |
 * | integer of 8 or 16 bytes, pointer | `bigint` (a safe `number` is accepted) |
 * | `bool` | `boolean` |
 * | enum | the value's name; a number or bigint where it has none |
 * | array of `char` | `string`, NUL padded; an array of numbers where the bytes are no text |
 * | array | array; for one-byte integers a `Uint8Array` is accepted |
 * | struct, union | object with the members of anonymous members among its own; for a union, all members |
 * | section | object of its variables |
 * | other floating-point number | `Uint8Array` |
 *
 * ```ts
 * const events = BtfValue.codec(btf, eventType, { octets: true, flexible: true })
 * const event = Result.flatMap(events, (codec) => codec.decode(record))
 * ```
 *
 * Layout is what the BTF says, offset by offset: packed and unaligned members, bit fields of both byte orders and kinds.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import type { Btf, ByteOrder } from "./BtfModel.ts"
import { kindOf, nameOf } from "./BtfModel.ts"
import { BTF_KIND_VAR } from "./BtfKind.ts"
import { skipModifiers } from "./BtfResolve.ts"
import type { Decoding } from "./BtfValueDecode.ts"
import { decodeAt } from "./BtfValueDecode.ts"
import type { Encoding } from "./BtfValueEncode.ts"
import { encodeAt } from "./BtfValueEncode.ts"
import type { BtfValueError } from "./BtfValueError.ts"
import { failValue, isBtfValueError } from "./BtfValueError.ts"
import type { ValuePlan } from "./BtfValuePlan.ts"
import { knownPlan, planOf, SIZE_LIMIT } from "./BtfValuePlan.ts"

export { BtfValueError } from "./BtfValueError.ts"

/** What `decode` answers. */
export type BtfValue =
  | number
  | bigint
  | boolean
  | string
  | Uint8Array
  | ReadonlyArray<BtfValue>
  | { readonly [name: string]: BtfValue }

/** How values stand for bytes. */
export interface ValueOptions {
  /** Byte order of the bytes: the BTF's unless given. */
  readonly byteOrder?: ByteOrder
  /** Arrays of `char` decode to strings where they are text: `true` unless given. Encoding takes both always. */
  readonly text?: boolean
  /** Arrays of one-byte integers decode to a `Uint8Array`, a copy, where they are no text; `false` unless given. */
  readonly octets?: boolean
  /**
   * A flexible array (of 0 elements, with nothing behind it) has the elements that the bytes behind the type are enough
   * for, and encodes to as many; `false` unless given, and then it is empty.
   */
  readonly flexible?: boolean
}

/** Values of one type, worked out once: for streams of records. */
export interface Codec {
  /** The type that it was made for. */
  readonly type: number
  /** Bytes of the type, without those of a flexible array. */
  readonly size: number
  /** As the module's `decode`. */
  readonly decode: (bytes: Uint8Array) => Result.Result<BtfValue, BtfValueError>
  /** As the module's `encode`. */
  readonly encode: (value: unknown) => Result.Result<Uint8Array, BtfValueError>
}

/** The name of the whole value in errors: the variable's or the type's. */
const rootName = (btf: Btf, typeId: number): string => {
  if (kindOf(btf, typeId) === BTF_KIND_VAR) return nameOf(btf, typeId) || "value"
  return nameOf(btf, skipModifiers(btf, typeId)) || "value"
}

const decodingOf = (btf: Btf, options: ByteOrder | ValueOptions): Decoding => {
  if (typeof options === "string") return options === "little" ? littleEndian : bigEndian
  const { byteOrder = btf.byteOrder, flexible = false, octets = false, text = true } = options
  return { littleEndian: byteOrder === "little", text, octets, flexible }
}

const littleEndian: Decoding = { littleEndian: true, text: true, octets: false, flexible: false }
const bigEndian: Decoding = { ...littleEndian, littleEndian: false }

/** Names are read only where something fails. */
const planFor = (btf: Btf, typeId: number): ValuePlan =>
  knownPlan(btf, typeId) ?? planOf(btf, typeId, [rootName(btf, typeId)])

const encodeWhole = (btf: Btf, typeId: number, plan: ValuePlan, value: unknown, how: Encoding): Uint8Array => {
  if (plan.size > SIZE_LIMIT) {
    failValue("TooLarge", [rootName(btf, typeId)], typeId, `${plan.size} bytes are too many for a value`)
  }
  return encodeAt(btf, plan, value, how, () => rootName(btf, typeId))
}

/**
 * The bytes of `value` as type `typeId`. Objects and arrays may be partial: what is missing is zero. Errors name the
 * part that does not fit: `config.ports[3]: 70000 does not fit unsigned short`. In a union later members of the
 * object overwrite earlier ones. Types of more than 256 MiB are refused.
 */
export const encode = (
  btf: Btf,
  typeId: number,
  value: unknown,
  options: ByteOrder | ValueOptions = btf.byteOrder
): Result.Result<Uint8Array, BtfValueError> =>
  attempt(
    isBtfValueError,
    () => encodeWhole(btf, typeId, planFor(btf, typeId), value, decodingOf(btf, options))
  )

/**
 * The value of type `typeId` at the start of `bytes`; what follows it is ignored but for a flexible array, if that is
 * asked for. Encoding the value gives the bytes back but for padding, what follows the NUL in text, booleans other than 0
 * and 1, and the payload of a NaN; under a flexible array, but for bytes that are no whole element.
 */
export const decode = (
  btf: Btf,
  typeId: number,
  bytes: Uint8Array,
  options: ByteOrder | ValueOptions = btf.byteOrder
): Result.Result<BtfValue, BtfValueError> =>
  attempt(
    isBtfValueError,
    () => decodeWhole(btf, typeId, planFor(btf, typeId), bytes, decodingOf(btf, options))
  )

const decodeWhole = (btf: Btf, typeId: number, plan: ValuePlan, bytes: Uint8Array, how: Decoding): BtfValue => {
  if (plan.size > bytes.length) {
    const detail = `${bytes.length} bytes are given and the type has ${plan.size}`
    failValue("TooShort", [rootName(btf, typeId)], typeId, detail)
  }
  return decodeAt(btf, plan, bytes, how, () => rootName(btf, typeId))
}

/**
 * Decodes and encodes values of type `typeId`. Fails where the type has no values; a part of it that has none is found
 * when a value is decoded or encoded.
 */
export const codec = (btf: Btf, typeId: number, options: ValueOptions = {}): Result.Result<Codec, BtfValueError> =>
  attempt(isBtfValueError, () => {
    const plan = planFor(btf, typeId)
    const how = decodingOf(btf, options)
    return {
      type: typeId,
      size: plan.size,
      decode: (bytes) => attempt(isBtfValueError, () => decodeWhole(btf, typeId, plan, bytes, how)),
      encode: (value) => attempt(isBtfValueError, () => encodeWhole(btf, typeId, plan, value, how))
    }
  })

/** Bytes between the values of neighbouring CPUs in a per-CPU map's value: the kernel rounds up to 8. */
export const perCpuStride = (size: number): number => Math.ceil(size / 8) * 8

/**
 * The values of all CPUs, in order, out of the value of a per-CPU map: each begins at a multiple of 8 bytes. A flexible
 * array is empty. Bytes that are no whole number of values are `TooShort`.
 */
export const decodePerCpu = (
  btf: Btf,
  typeId: number,
  bytes: Uint8Array,
  options: ByteOrder | ValueOptions = btf.byteOrder
): Result.Result<ReadonlyArray<BtfValue>, BtfValueError> =>
  attempt(isBtfValueError, () => {
    const plan = planFor(btf, typeId)
    const stride = perCpuStride(plan.size)
    if (stride === 0 ? bytes.length > 0 : bytes.length % stride !== 0) {
      const detail = `${bytes.length} bytes are no whole number of values of ${stride} bytes`
      failValue("TooShort", [rootName(btf, typeId)], typeId, detail)
    }
    const how = { ...decodingOf(btf, options), flexible: false }
    const values: Array<BtfValue> = []
    for (let at = 0; at < bytes.length; at += stride) {
      values.push(
        decodeAt(btf, plan, bytes.subarray(at, at + stride), how, () => `${rootName(btf, typeId)}[${at / stride}]`)
      )
    }
    return values
  })

/** The value of a per-CPU map out of the values of all CPUs, in order: padding is zero. */
export const encodePerCpu = (
  btf: Btf,
  typeId: number,
  values: ReadonlyArray<unknown>,
  options: ByteOrder | ValueOptions = btf.byteOrder
): Result.Result<Uint8Array, BtfValueError> =>
  attempt(isBtfValueError, () => {
    const plan = planFor(btf, typeId)
    const stride = perCpuStride(plan.size)
    if (stride * values.length > SIZE_LIMIT) {
      const detail = `${values.length} values of ${stride} bytes are too many`
      failValue("TooLarge", [rootName(btf, typeId)], typeId, detail)
    }
    const how = { ...decodingOf(btf, options), flexible: false }
    const bytes = new Uint8Array(stride * values.length)
    for (const [cpu, value] of values.entries()) {
      bytes.set(encodeAt(btf, plan, value, how, () => `${rootName(btf, typeId)}[${cpu}]`), cpu * stride)
    }
    return bytes
  })
