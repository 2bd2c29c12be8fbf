/**
 * Effect schemas of BTF types: of the values that `BtfValue` decodes, and codecs between bytes and those values.
 *
 * ```ts
 * const Event = Result.getOrThrow(BtfSchema.codec(btf, eventType))
 * const event = Schema.decodeUnknownSync(Event)(record) // { pid: 7, comm: "sh", … }
 * const record = Schema.encodeSync(Event)({ pid: 7, comm: "sh", … })
 * ```
 *
 * A schema describes whole values: all members, all elements, integers in range, names that the enum has. What BTF
 * shares is shared in the schema too, so that it is as large as the types are.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import { attempt } from "../internal/attempt.ts"
import type { Btf } from "./BtfModel.ts"
import { nameOf } from "./BtfModel.ts"
import { skipModifiers } from "./BtfResolve.ts"
import * as BtfValue from "./BtfValue.ts"
import { DEPTH_LIMIT, isLast } from "./BtfValueDecode.ts"
import type { PathSegment } from "./BtfValueError.ts"
import { failValue, isBtfValueError } from "./BtfValueError.ts"
import type { ArrayPlan, EnumPlan, Field, StructPlan, ValuePlan } from "./BtfValuePlan.ts"
import { planOf, planOfPart } from "./BtfValuePlan.ts"

/** The schema of values of a BTF type: they are plain data and encode to themselves. */
export type ValueSchema = Schema.Codec<BtfValue.BtfValue>

/** Which values are described: those that `BtfValue.decode` answers with these options. */
export type SchemaOptions = Pick<BtfValue.ValueOptions, "text" | "octets" | "flexible">

/**
 * The schema of the values that type `typeId` decodes to. Fails like `BtfValue.decode` where the type or a part of it has
 * no values: `NoSize`, `Unsupported`, `TooDeep` for more than 64 levels, as a type within itself has, and `TooLarge` for
 * more than 2^18 members in all.
 */
export const make = (
  btf: Btf,
  typeId: number,
  options: SchemaOptions = {}
): Result.Result<ValueSchema, BtfValue.BtfValueError> =>
  attempt(isBtfValueError, () => {
    const { flexible = false, octets = false, text = true } = options
    const path: Array<PathSegment> = [nameOf(btf, skipModifiers(btf, typeId)) || "value"]
    const state: State = { btf, text, octets, path, known: new Map(), budget: FIELD_LIMIT }
    return ofPlan(state, planOf(btf, typeId, path), 0, flexible)
  })

/**
 * The codec between the bytes of type `typeId` and its values. Decoding takes at least as many bytes as the type has,
 * encoding gives as many (and a flexible array's, with `flexible`); what does not fit is an issue with the text of the
 * `BtfValueError`. Fails as `make` does.
 */
export const codec = (
  btf: Btf,
  typeId: number,
  options: BtfValue.ValueOptions = {}
): Result.Result<Schema.Codec<BtfValue.BtfValue, Uint8Array>, BtfValue.BtfValueError> =>
  Result.flatMap(
    make(btf, typeId, options),
    (schema) =>
      Result.map(BtfValue.codec(btf, typeId, options), (values) =>
        Schema.Uint8Array.pipe(Schema.decodeTo(schema, {
          decode: SchemaGetter.transformEffect((bytes: Uint8Array) => toEffect(values.decode(bytes), bytes)),
          encode: SchemaGetter.transformEffect((value: BtfValue.BtfValue) => toEffect(values.encode(value), value))
        })))
  )

const toEffect = <A>(
  result: Result.Result<A, BtfValue.BtfValueError>,
  input: unknown
): Effect.Effect<A, SchemaIssue.Issue> =>
  Effect.fromResult(
    Result.mapError(result, (error) => new SchemaIssue.InvalidValue({ message: error.message }, input))
  )

/** The most members that a schema describes, those of shared types counted once. */
const FIELD_LIMIT = 1 << 18

interface State {
  readonly btf: Btf
  readonly text: boolean
  readonly octets: boolean
  readonly path: Array<PathSegment>
  /** Schemas of plans that are not last in anything. */
  readonly known: Map<ValuePlan, Known>
  budget: number
}

/** A schema with the levels of arrays and structs in it. */
interface Known {
  readonly schema: ValueSchema
  readonly height: number
}

const ofPlan = (state: State, plan: ValuePlan, depth: number, last: boolean): ValueSchema =>
  heightened(state, plan, depth, last).schema

const heightened = (state: State, plan: ValuePlan, depth: number, last: boolean): Known => {
  const known = last ? undefined : state.known.get(plan)
  if (known !== undefined) {
    if (depth + known.height > DEPTH_LIMIT) tooDeep(state, plan)
    return known
  }
  const made = build(state, plan, depth, last)
  if (!last) state.known.set(plan, made)
  return made
}

const tooDeep = (state: State, plan: ValuePlan): never =>
  failValue("TooDeep", state.path, plan.type, `it is nested more than ${DEPTH_LIMIT} levels deep`)

const build = (state: State, plan: ValuePlan, depth: number, last: boolean): Known => {
  switch (plan._tag) {
    case "Int":
      return leaf(plan.bool ? Schema.Boolean : integer(plan.bits, plan.signed, plan.bits > 32))
    case "Enum":
      return leaf(enumeration(plan, plan.size * 8))
    case "Float":
      return leaf(floating(plan.size))
    case "Bytes":
      return leaf(octetsOf(plan.size))
    case "Pointer":
      return leaf(integer(plan.size * 8, false, true))
    case "Array":
      return array(state, plan, depth, last)
    case "Struct":
      return struct(state, plan, depth, last)
  }
}

const leaf = (schema: ValueSchema): Known => ({ schema, height: 0 })

/** Integers of `bits` bits, as bigints if `wide`. */
const integer = (bits: number, signed: boolean, wide: boolean): ValueSchema => {
  const most = (1n << BigInt(signed ? bits - 1 : bits)) - 1n
  const least = signed ? -most - 1n : 0n
  return wide
    ? Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: least, maximum: most }))
    : Schema.Int.check(Schema.isBetween({ minimum: Number(least), maximum: Number(most) }))
}

/** Numbers that do not become infinite where they are stored. */
const floating = (size: 2 | 4 | 8): ValueSchema => {
  if (size === 8) return Schema.Number
  const stays = (value: number): boolean =>
    size === 4 ? Number.isFinite(Math.fround(value)) : Math.abs(value) < HALF_INFINITY
  return Schema.Number.check(
    Schema.makeFilter((value: number) =>
      !Number.isFinite(value) || stays(value) || `a number of ${size} bytes is expected`
    )
  )
}

/** Where rounding to half precision gives infinity. */
const HALF_INFINITY = 65520

/** Text that `length` bytes hold, if there is a bound: it has no NUL, which would end it. */
const textOf = (length: number | undefined): ValueSchema =>
  Schema.String.check(Schema.makeFilter((text: string) => {
    if (text.includes("\0")) return "text without a NUL is expected"
    if (length === undefined || text.length * 3 <= length) return true
    return utf8.encode(text).length <= length || `text of at most ${length} bytes is expected`
  }))

const utf8 = new TextEncoder()

/** The names of an enum whose values `bits` bits hold, and numbers. */
const enumeration = (plan: EnumPlan, bits: number): ValueSchema => {
  const names: Array<string> = []
  for (const [name, value] of plan.values) {
    const exact = BigInt(value)
    if ((plan.signed ? BigInt.asIntN(bits, exact) : BigInt.asUintN(bits, exact)) === exact) names.push(name)
  }
  const number = integer(bits, plan.signed, plan.size > 4)
  return names.length === 0 ? number : Schema.Union([Schema.Literals(names), number])
}

/** Exactly, or where `length` is `undefined` any number of, bytes. */
const octetsOf = (length: number | undefined): ValueSchema =>
  length === undefined ? Schema.Uint8Array : Schema.Uint8Array.check(
    Schema.makeFilter((bytes: Uint8Array) => bytes.length === length || `${length} bytes are expected`)
  )

const array = (state: State, plan: ArrayPlan, depth: number, last: boolean): Known => {
  const flexible = last && plan.length === 0 && plan.element.size > 0
  const length = flexible ? undefined : plan.length
  const { schema, height } = elements(state, plan, depth, length)
  return plan.text && state.text ? { schema: Schema.Union([textOf(length), schema]), height } : { schema, height }
}

const elements = (state: State, plan: ArrayPlan, depth: number, length: number | undefined): Known => {
  if (plan.octets && state.octets) return leaf(octetsOf(length))
  // As in decoding, elements without bytes are not there, and nothing is asked of their type.
  if (plan.element.size === 0) return leaf(Schema.Array(Schema.Never).check(Schema.isMaxLength(0)))
  if (depth >= DEPTH_LIMIT) tooDeep(state, plan)
  state.path.push(0)
  const { height, schema } = heightened(state, planOfPart(state.btf, plan.element, state.path), depth + 1, false)
  state.path.pop()
  const list = Schema.Array(schema)
  return {
    schema: length === undefined ? list : list.check(Schema.isBetweenLength(length, length)),
    height: height + 1
  }
}

const struct = (state: State, plan: StructPlan, depth: number, last: boolean): Known => {
  if (depth >= DEPTH_LIMIT) tooDeep(state, plan)
  state.budget -= plan.list.length
  if (state.budget < 0) failValue("TooLarge", state.path, plan.type, "its types have too many members in all")
  let height = 0
  const fields = plan.list.map((field): readonly [string, ValueSchema] => {
    state.path.push(field.name)
    const inner = planOfPart(state.btf, field, state.path)
    const made = field.bits > 0
      ? leaf(bitfield(inner, field))
      : heightened(state, inner, depth + 1, last && isLast(plan, field))
    state.path.pop()
    height = Math.max(height, made.height)
    return [field.name, made.schema]
  })
  // Entries become own properties, `__proto__` too.
  return { schema: Schema.Struct(Object.fromEntries(fields)), height: height + 1 }
}

const bitfield = (plan: ValuePlan, field: Field): ValueSchema => {
  if (plan._tag === "Enum") return enumeration(plan, field.bits)
  if (plan._tag === "Int" && plan.bool) return Schema.Boolean
  return integer(field.bits, plan._tag === "Int" && plan.signed, plan.size > 4)
}
