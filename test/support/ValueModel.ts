/**
 * What bytes of a type mean, by the book: an independent model of values, over the records that a test wrote.
 *
 * A value's bytes are one large number, in which a part is some neighbouring bits. Nothing here knows a getter, an aligned
 * read or a plan; nothing is fast.
 */
import type { Order, Rec } from "./arbitrary/BtfBlob.ts"

/** The records of types, from id 1 on. */
export type Records = ReadonlyArray<Rec>

const wordsOf = (rec: Rec): ReadonlyArray<number> => (rec.rest ?? []).map(Number)

/** The record behind typedefs, qualifiers, tags and variables. */
const behind = (types: Records, id: number): { readonly id: number; readonly rec: Rec } | undefined => {
  let at = id
  for (let hops = 0; hops < 40; hops++) {
    const rec = types[at - 1]
    if (rec === undefined) return undefined
    if (![8, 9, 10, 11, 14, 18].includes(rec.kind)) return { id: at, rec }
    at = rec.word ?? 0
  }
  return undefined
}

/** Bytes of a type, or `undefined`. */
export const sizeOf = (types: Records, id: number): number | undefined => {
  const found = behind(types, id)
  if (found === undefined) return undefined
  const { rec } = found
  switch (rec.kind) {
    case 1:
    case 4:
    case 5:
    case 6:
    case 15:
    case 16:
    case 19:
      return rec.word ?? 0
    case 2:
      return 8
    case 3: {
      const [element = 0, , length = 0] = wordsOf(rec)
      const size = sizeOf(types, element)
      return size === undefined ? undefined : size * length
    }
    default:
      return undefined
  }
}

/** The bytes as bits: bit 0 is the first, by the rules of the byte order. */
interface Bits {
  readonly number: bigint
  readonly length: number
  readonly order: Order
}

const bitsOf = (bytes: Uint8Array, order: Order): Bits => {
  const ordered = order === "big" ? [...bytes] : [...bytes].reverse()
  const hex = ordered.map((byte) => byte.toString(16).padStart(2, "0")).join("")
  return { number: BigInt(`0x0${hex}`), length: bytes.length * 8, order }
}

const pick = ({ length, number, order }: Bits, at: number, count: number, signed: boolean): bigint => {
  const below = order === "big" ? length - at - count : at
  const raw = (number >> BigInt(below)) % (1n << BigInt(count))
  return signed && raw >= 1n << BigInt(count - 1) ? raw - (1n << BigInt(count)) : raw
}

const byteAt = (bits: Bits, at: number): number => Number(pick(bits, at, 8, false))

/** A floating-point number by its sign, exponent and fraction. */
const floating = (raw: bigint, exponentBits: number, fractionBits: number): number => {
  const fraction = Number(raw % (1n << BigInt(fractionBits)))
  const exponent = Number((raw >> BigInt(fractionBits)) % (1n << BigInt(exponentBits)))
  const sign = raw >> BigInt(fractionBits + exponentBits) === 0n ? 1 : -1
  const bias = 2 ** (exponentBits - 1) - 1
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN
  const significand = exponent === 0 ? fraction / 2 ** fractionBits : 1 + fraction / 2 ** fractionBits
  return sign * significand * 2 ** Math.max(exponent - bias, 1 - bias)
}

const textOf = (bytes: ReadonlyArray<number>): string | undefined => {
  const end = bytes.indexOf(0)
  const text = end < 0 ? bytes : bytes.slice(0, end)
  if (text.some((byte) => byte === 0x7f || (byte < 0x20 && ![9, 10, 13].includes(byte)))) return undefined
  const decoded = new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(text))
  // Bytes that are no UTF-8 do not come back.
  return [...new TextEncoder().encode(decoded)].join() === text.join() ? decoded : undefined
}

/** Words of a record in groups that begin with a name. */
const groups = (
  words: ReadonlyArray<number | string>,
  of: number
): ReadonlyArray<{ readonly name: string; readonly numbers: ReadonlyArray<number> }> =>
  Array.from({ length: Math.floor(words.length / of) }, (_, at) => ({
    name: String(words[at * of]),
    numbers: words.slice(at * of + 1, at * of + of).map(Number)
  }))

interface Named {
  readonly name: string
  readonly type: number
  readonly at: number
  readonly bits: number
}

/** Members with the strings that the records hold as text. */
const membersOf = (rec: Rec, from: number): ReadonlyArray<Named> => {
  return groups(rec.rest ?? [], 3).map(({ name, numbers: [type = 0, offset = 0] }) => ({
    name,
    type,
    at: from + (rec.kflag === true ? offset % 2 ** 24 : offset),
    bits: rec.kflag === true ? Math.floor(offset / 2 ** 24) : 0
  }))
}

/** The members of a struct, those of anonymous members among them: the first of each name. */
const fieldsOf = (types: Records, rec: Rec, from: number): ReadonlyArray<Named> => {
  const all = membersOf(rec, from).flatMap((member): ReadonlyArray<Named> => {
    if (member.name !== "") return [member]
    const inner = behind(types, member.type)
    return inner !== undefined && (inner.rec.kind === 4 || inner.rec.kind === 5)
      ? fieldsOf(types, inner.rec, member.at)
      : []
  })
  return all.filter((field, index) => all.findIndex((each) => each.name === field.name) === index)
}

/** The value of the type `id` in bytes; those behind it are a flexible array's. */
export const valueOf = (types: Records, id: number, bytes: Uint8Array, order: Order): unknown =>
  value(types, id, bitsOf(bytes, order), 0, true)

const enumOf = (rec: Rec, raw: bigint, wide: boolean): unknown => {
  const size = rec.word ?? 0
  const entries = groups(rec.rest ?? [], rec.kind === 19 ? 3 : 2).map(({ name, numbers: [low = 0, high = 0] }) => {
    const stored = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
    const exact = rec.kind === 19
      ? rec.kflag === true ? BigInt.asIntN(64, stored) : stored
      : rec.kflag === true
      ? BigInt.asIntN(32, stored)
      : stored
    const held = rec.kflag === true ? BigInt.asIntN(size * 8, exact) : BigInt.asUintN(size * 8, exact)
    return [name, held] as const
  })
  const found = entries.find(([, held]) => held === raw)
  return found === undefined ? (wide ? raw : Number(raw)) : found[0]
}

const value = (types: Records, id: number, bits: Bits, at: number, last: boolean): unknown => {
  const found = behind(types, id)
  if (found === undefined) throw new Error(`type ${id} has no values`)
  const { rec } = found
  const size = rec.word ?? 0
  switch (rec.kind) {
    case 1: {
      const word = Number(rec.rest?.[0] ?? 0)
      const [encoding, shift, count] = [word >>> 24 & 0xf, word >>> 16 & 0xff, word & 0xff]
      const raw = pick(bits, at + shift, count, (encoding & 1) !== 0)
      return (encoding & 4) !== 0 ? raw !== 0n : count > 32 ? raw : Number(raw)
    }
    case 2:
      return pick(bits, at, 64, false)
    case 3: {
      const [element = 0, , fixed = 0] = wordsOf(rec)
      const each = sizeOf(types, element) ?? 0
      const length = fixed === 0 && last && each > 0 ? Math.floor((bits.length - at) / (each * 8)) : fixed
      const inner = behind(types, element)?.rec
      const word = Number(inner?.rest?.[0] ?? 0)
      if (inner?.kind === 1 && inner.word === 1 && (word & 0xff) === 8 && (word >>> 24 & 4) === 0) {
        const octets = Array.from({ length }, (_, index) => byteAt(bits, at + index * 8))
        const isText = inner.name === "char" || (word >>> 24 & 2) !== 0
        return (isText ? textOf(octets) : undefined) ?? Uint8Array.from(octets)
      }
      return each === 0
        ? []
        : Array.from({ length }, (_, index) => value(types, element, bits, at + index * each * 8, false))
    }
    case 4:
    case 5: {
      const fields = fieldsOf(types, rec, 0)
      const ends = fields.map((field) => field.at + (field.bits || (sizeOf(types, field.type) ?? 0) * 8))
      const tail = Math.max(0, ...ends.filter((end, index) => end > (fields[index]?.at ?? 0)))
      return Object.fromEntries(fields.map((field, index) => {
        if (field.bits === 0) {
          const final = last && Math.ceil((ends[index] ?? 0) / 8) >= Math.ceil(tail / 8)
          return [field.name, value(types, field.type, bits, at + field.at, final)]
        }
        const inner = behind(types, field.type)?.rec
        const wide = (inner?.word ?? 0) > 4
        const encoding = inner?.kind === 1 ? Number(inner.rest?.[0] ?? 0) >>> 24 : 0
        const signed = inner?.kind === 1 ? (encoding & 1) !== 0 : inner?.kflag === true
        const raw = pick(bits, at + field.at, field.bits, signed)
        if (inner !== undefined && inner.kind !== 1) return [field.name, enumOf(inner, raw, wide)]
        return [field.name, (encoding & 4) !== 0 ? raw !== 0n : wide ? raw : Number(raw)]
      }))
    }
    case 6:
    case 19:
      return enumOf(rec, pick(bits, at, size * 8, rec.kflag === true), size > 4)
    case 16:
      if (size === 2) return floating(pick(bits, at, 16, false), 5, 10)
      if (size === 4) return floating(pick(bits, at, 32, false), 8, 23)
      if (size === 8) return floating(pick(bits, at, 64, false), 11, 52)
      return Uint8Array.from({ length: size }, (_, index) => byteAt(bits, at + index * 8))
    default:
      throw new Error(`a type of kind ${rec.kind} has no values`)
  }
}
