/**
 * JavaScript values to and from the bytes of a BTF type: map keys and values, global variables, events.
 *
 * | type | value |
 * |---|---|
 * | integer up to 4 bytes, float, double | `number` |
 * | integer of 8 or 16 bytes, pointer | `bigint` (a safe `number` is accepted) |
 * | `bool` | `boolean` |
 * | enum | the value's name; a number or bigint where it has none |
 * | array of `char` | `string`, NUL padded; an array of numbers where the bytes are no text |
 * | array | array; for one-byte integers a `Uint8Array` is accepted |
 * | struct, union | object with the members of anonymous members among its own; for a union, all members |
 * | section | object of its variables |
 * | other floating-point number | `Uint8Array` |
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import type { Btf, ByteOrder } from "./BtfModel.ts"
import { kindOf, nameOf } from "./BtfModel.ts"
import { BTF_KIND_VAR } from "./BtfKind.ts"
import { skipModifiers } from "./BtfResolve.ts"
import { decodeAt } from "./BtfValueDecode.ts"
import { encodeInto } from "./BtfValueEncode.ts"
import type { BtfValueError } from "./BtfValueError.ts"
import { failValue, isBtfValueError } from "./BtfValueError.ts"
import { planOf, SIZE_LIMIT } from "./BtfValuePlan.ts"

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

/** The name of the whole value in errors: the variable's or the type's. */
const rootName = (btf: Btf, typeId: number): string => {
  if (kindOf(btf, typeId) === BTF_KIND_VAR) return nameOf(btf, typeId) || "value"
  return nameOf(btf, skipModifiers(btf, typeId)) || "value"
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
  byteOrder: ByteOrder = btf.byteOrder
): Result.Result<Uint8Array, BtfValueError> =>
  attempt(isBtfValueError, () => {
    const path = [rootName(btf, typeId)]
    const plan = planOf(btf, typeId, path)
    if (plan.size > SIZE_LIMIT) failValue("TooLarge", path, typeId, `${plan.size} bytes are too many for a value`)
    const bytes = new Uint8Array(plan.size)
    encodeInto(btf, plan, value, bytes, byteOrder, path)
    return bytes
  })

/**
 * The value of type `typeId` at the start of `bytes`; what follows it is ignored. A flexible array is empty. Encoding
 * the value gives the bytes back but for padding, what follows the NUL in text, booleans other than 0 and 1, and the
 * payload of a NaN.
 */
export const decode = (
  btf: Btf,
  typeId: number,
  bytes: Uint8Array,
  byteOrder: ByteOrder = btf.byteOrder
): Result.Result<BtfValue, BtfValueError> =>
  attempt(isBtfValueError, () => {
    const path = [rootName(btf, typeId)]
    const plan = planOf(btf, typeId, path)
    if (plan.size > bytes.length) {
      failValue("TooShort", path, typeId, `${bytes.length} bytes are given and the type has ${plan.size}`)
    }
    return decodeAt(btf, plan, bytes, byteOrder, path)
  })
