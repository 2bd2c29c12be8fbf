/**
 * Codecs by BTF type: bytes that are read without a possibility of failure, since all that could fail was looked at before.
 *
 * Values are those of `BtfValue`, with its options.
 */
import * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import type { Btf } from "./BtfModel.ts"
import { nameOf } from "./BtfModel.ts"
import { skipModifiers } from "./BtfResolve.ts"
import * as BtfValue from "./BtfValue.ts"
import { budgetOf, type Decoding, decodeAt, DEPTH_LIMIT, isLast } from "./BtfValueDecode.ts"
import type { PathSegment } from "./BtfValueError.ts"
import { failValue, isBtfValueError } from "./BtfValueError.ts"
import type { ArrayPlan, StructPlan, ValuePlan } from "./BtfValuePlan.ts"
import { planOf, planOfPart, SIZE_LIMIT } from "./BtfValuePlan.ts"
import { type Codec, CodecError } from "./Codec.ts"

/** How values stand for bytes, and what they are called. */
export interface CodecOptions extends BtfValue.ValueOptions {
  /** What is decoded, for errors: `value of flows`. The type's name unless given. */
  readonly name?: string
}

/** A codec of values of a BTF type. It encodes whatever `BtfValue` does: of structs and arrays, parts that are missing are zero. */
export interface BtfCodec extends Codec<BtfValue.BtfValue> {
  readonly encode: (value: unknown) => Result.Result<Uint8Array, CodecError>
}

/**
 * The codec of values of type `typeId`. All parts of the type are looked at: fails where the type or a part of it has no values
 * (`NoSize`, `Unsupported`), where they are nested more than 64 levels deep (`TooDeep`), and where unions multiply to more
 * values than their bytes could justify, or a value has more than 256 MiB (`TooLarge`).
 */
export const make = (
  btf: Btf,
  typeId: number,
  options: CodecOptions = {}
): Result.Result<BtfCodec, BtfValue.BtfValueError> =>
  attempt(isBtfValueError, () => {
    const { byteOrder = btf.byteOrder, flexible = false, octets = false, text = true } = options
    const how: Decoding = { littleEndian: byteOrder === "little", text, octets, flexible }
    const root = nameOf(btf, skipModifiers(btf, typeId)) || "value"
    const name = options.name ?? root
    const path: Array<PathSegment> = [root]
    const plan = planOf(btf, typeId, path)
    if (plan.size > SIZE_LIMIT) failValue("TooLarge", path, typeId, `${plan.size} bytes are too many for a value`)
    const { cost, tail } = check({ btf, how, path, known: new Map() }, plan, 0, flexible)
    if (cost > budgetOf(plan.size) || tail > perByte) {
      failValue("TooLarge", path, typeId, "its unions multiply to too many values")
    }
    const hasTail = tail > 0
    const named = () => name
    return {
      name,
      size: plan.size,
      ...(hasTail ? { flexible: true } : {}),
      read: (view, at) => {
        const length = hasTail ? view.byteLength - at : plan.size
        return decodeAt(btf, plan, new Uint8Array(view.buffer, view.byteOffset + at, length), how, named)
      },
      encode: (value) =>
        Result.mapError(
          BtfValue.encode(btf, typeId, value, { byteOrder, flexible, octets, text }),
          (error) => new CodecError({ reason: "Value", subject: name, detail: error.message })
        )
    }
  })

/** Parts of a value that a decoding may have for each byte, beyond a number that all may have. */
const perByte = budgetOf(1) - budgetOf(0)

interface State {
  readonly btf: Btf
  readonly how: Decoding
  readonly path: Array<PathSegment>
  /** Plans that are not last in anything. */
  readonly known: Map<ValuePlan, Known>
}

/** What is known of a plan of which every part was looked at. */
interface Known {
  /** The most parts that a decoding of it has, as the decoding counts them. */
  readonly cost: number
  /** Levels of arrays and structs. */
  readonly height: number
  /** Parts for each byte of a flexible tail; 0 where there is none. */
  readonly tail: number
}

const leaf = (cost: number): Known => ({ cost, height: 0, tail: 0 })

const check = (state: State, plan: ValuePlan, depth: number, last: boolean): Known => {
  const known = last ? undefined : state.known.get(plan)
  if (known !== undefined) {
    if (depth + known.height > DEPTH_LIMIT) tooDeep(state, plan)
    return known
  }
  const made = measure(state, plan, depth, last)
  if (!last) state.known.set(plan, made)
  return made
}

const tooDeep = (state: State, plan: ValuePlan): never =>
  failValue("TooDeep", state.path, plan.type, `it is nested more than ${DEPTH_LIMIT} levels deep`)

const measure = (state: State, plan: ValuePlan, depth: number, last: boolean): Known => {
  switch (plan._tag) {
    case "Bytes":
      return leaf(1 + plan.size / 8)
    case "Array":
      return array(state, plan, depth, last)
    case "Struct":
      return struct(state, plan, depth, last)
    default:
      return leaf(1)
  }
}

/** An array may be tried as text and as bytes before its elements are decoded one by one. */
const array = (state: State, plan: ArrayPlan, depth: number, last: boolean): Known => {
  const { element } = plan
  const { octets, text } = state.how
  const tried = plan.octets ? (plan.text && text ? 1 / 8 : 0) + (octets ? 1 / 8 : 0) : 0
  const flexible = last && plan.length === 0 && element.size > 0
  const of = (cost: number, height: number): Known => ({
    cost: 1 + plan.length * (tried + cost),
    height,
    tail: flexible ? (tried + cost) / element.size : 0
  })
  if (plan.octets && octets) return of(0, 0)
  if (element.size === 0) return of(0, 0)
  if (depth >= DEPTH_LIMIT) tooDeep(state, plan)
  state.path.push(0)
  const inner = check(state, planOfPart(state.btf, element, state.path), depth + 1, false)
  state.path.pop()
  return of(inner.cost, inner.height + 1)
}

const struct = (state: State, plan: StructPlan, depth: number, last: boolean): Known => {
  if (depth >= DEPTH_LIMIT) tooDeep(state, plan)
  let cost = 1
  let height = 0
  let tail = 0
  for (const field of plan.list) {
    state.path.push(field.name)
    const inner = planOfPart(state.btf, field, state.path)
    if (field.bits === 0) {
      const known = check(state, inner, depth + 1, last && isLast(plan, field))
      cost += known.cost
      height = Math.max(height, known.height)
      tail += known.tail
    } else cost += 1
    state.path.pop()
  }
  return { cost, height: height + 1, tail }
}
