/**
 * The text of types without parts: integers, booleans, floating-point numbers, pointers, bit fields.
 */
import type { Field, ValuePlan } from "../../../btf/BtfValuePlan.ts"

/** What the text of a scalar depends on. */
export interface Target {
  readonly runtime: string
  readonly littleEndian: boolean
}

/** How a scalar stands in the text. */
export interface Scalar {
  readonly type: string
  readonly read: (base: string, offset: number) => string
  readonly write: (base: string, offset: number, value: string, name: string) => string
}

const place = (base: string, offset: number): string => offset === 0 ? base : `${base} + ${offset}`

/** An integer of `size` bytes, as the number or, of more than four bytes, the bigint that it is. */
export const whole = (target: Target, size: number, signed: boolean, base: string, offset: number): string => {
  const at = place(base, offset)
  const sign = signed ? "Int" : "Uint"
  const { littleEndian, runtime } = target
  switch (size) {
    case 1:
      return `view.get${sign}8(${at})`
    case 2:
    case 4:
      return `view.get${sign}${size * 8}(${at}, ${littleEndian})`
    case 8:
      return `view.getBig${sign}64(${at}, ${littleEndian})`
    case 16:
      return `${runtime}.int128(view, ${at}, ${signed}, ${littleEndian})`
    default:
      return `${runtime}.${size > 4 ? "wideBits" : "bits"}(view, ${at}, 0, ${size * 8}, ${signed}, ${littleEndian})`
  }
}

/** The bits of an integer in the number that one to four bytes form: the lowest of it is bit `below`. */
const picked = (raw: string, below: number, bits: number, signed: boolean): string => {
  const left = 32 - bits - below
  if (!signed && bits < 32) {
    const mask = 2 ** bits - 1
    return below === 0 ? `${raw} & ${mask}` : `${raw} >>> ${below} & ${mask}`
  }
  const up = left === 0 ? raw : `${raw} << ${left}`
  return `${up} ${signed ? ">>" : ">>>"} ${32 - bits}`
}

/** The number that bytes form, of 1 to 4 of them. */
const joined = (target: Target, count: number, base: string, offset: number): string => {
  if (count !== 3) return whole(target, count, false, base, offset)
  const [low, high] = target.littleEndian ? [offset, offset + 2] : [offset + 1, offset]
  return target.littleEndian
    ? `(${whole(target, 2, false, base, low)} | ${whole(target, 1, false, base, high)} << 16)`
    : `(${whole(target, 1, false, base, high)} << 16 | ${whole(target, 2, false, base, low)})`
}

/** An integer of some bits at a bit of what begins at `base + offset`: a bigint if `wide`. */
export const bits = (
  target: Target,
  { bitOffset, bits: count }: Pick<Field, "bitOffset" | "bits">,
  signed: boolean,
  wide: boolean,
  base: string,
  offset: number
): string => {
  const { littleEndian, runtime } = target
  const first = offset + Math.floor(bitOffset / 8)
  const shift = bitOffset % 8
  const bytes = Math.ceil((shift + count) / 8)
  const below = littleEndian ? shift : bytes * 8 - shift - count
  if (bytes <= 4) {
    const number = picked(joined(target, bytes, base, first), below, count, signed)
    return wide ? `BigInt(${number})` : number
  }
  if (bytes === 8 && wide) {
    const raw = `view.getBigUint64(${place(base, first)}, ${littleEndian})`
    return `BigInt.as${signed ? "Int" : "Uint"}N(${count}, ${below === 0 ? raw : `${raw} >> ${below}n`})`
  }
  const method = wide ? "wideBits" : "bits"
  return `${runtime}.${method}(view, ${place(base, offset)}, ${bitOffset}, ${count}, ${signed}, ${littleEndian})`
}

/** A type without parts and without names. */
export const ofPlan = (
  target: Target,
  plan: Exclude<ValuePlan, { readonly _tag: "Enum" | "Array" | "Struct" }>
): Scalar => {
  const { littleEndian, runtime } = target
  switch (plan._tag) {
    case "Int": {
      const entire = plan.bits === plan.size * 8
      const wide = plan.bits > 32
      const type = plan.bool ? "boolean" : wide ? "bigint" : "number"
      const number = (base: string, offset: number): string =>
        entire
          ? whole(target, plan.size, plan.signed, base, offset)
          : bits(target, plan, plan.signed, wide, base, offset)
      const zero = wide ? "0n" : "0"
      return {
        type,
        read: (base, offset) => plan.bool ? `${parenthesised(number(base, offset))} !== ${zero}` : number(base, offset),
        write: (base, offset, value, name) => {
          const at = place(base, offset)
          if (plan.bool) return `to.bool(${at}, ${plan.bitOffset}, ${plan.bits}, ${value}, ${name})`
          return entire
            ? `to.int(${at}, ${plan.size}, ${plan.signed}, ${value}, ${name})`
            : `to.bits(${at}, ${plan.bitOffset}, ${plan.bits}, ${plan.signed}, ${value}, ${name})`
        }
      }
    }
    case "Float":
      return {
        type: "number",
        read: (base, offset) =>
          plan.size === 2
            ? `${runtime}.half(view, ${place(base, offset)}, ${littleEndian})`
            : `view.getFloat${plan.size * 8}(${place(base, offset)}, ${littleEndian})`,
        write: (base, offset, value, name) => `to.float(${place(base, offset)}, ${plan.size}, ${value}, ${name})`
      }
    case "Bytes":
      return {
        type: "Uint8Array",
        read: (base, offset) => `${runtime}.octets(view, ${place(base, offset)}, ${plan.size})`,
        write: (base, offset, value, name) =>
          `to.octets(${place(base, offset)}, ${plan.size}, false, ${value}, ${name})`
      }
    case "Pointer":
      return {
        type: "bigint",
        read: (base, offset) =>
          plan.size === 8 ? whole(target, 8, false, base, offset) : `BigInt(${whole(target, 4, false, base, offset)})`,
        write: (base, offset, value, name) => `to.int(${place(base, offset)}, ${plan.size}, false, ${value}, ${name})`
      }
  }
}

const parenthesised = (expression: string): string => /[&|<>]/.test(expression) ? `(${expression})` : expression

/** A bit field that is no enum. */
export const ofBits = (target: Target, plan: ValuePlan, field: Field): Scalar => {
  const bool = plan._tag === "Int" && plan.bool
  const signed = plan._tag === "Int" && plan.signed
  const wide = plan.size > 4 && !bool || bool && field.bits > 32
  return {
    type: bool ? "boolean" : wide ? "bigint" : "number",
    read: (base, offset) => {
      const number = bits(target, field, signed, wide, base, offset)
      return bool ? `${parenthesised(number)} !== ${wide ? "0n" : "0"}` : number
    },
    write: (base, offset, value, name) =>
      bool
        ? `to.bool(${place(base, offset)}, ${field.bitOffset}, ${field.bits}, ${value}, ${name})`
        : `to.bits(${place(base, offset)}, ${field.bitOffset}, ${field.bits}, ${signed}, ${value}, ${name})`
  }
}
