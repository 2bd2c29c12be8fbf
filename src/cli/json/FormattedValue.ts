/**
 * Bytes of a BTF type as bpftool writes them in JSON: `formatted` of a map's elements.
 *
 * What differs from `BtfValue`: sections are lists of their variables, anonymous members have the empty name, bit fields
 * are hexadecimal texts, characters texts of one character, pointers and 64-bit integers numbers.
 *
 * Two differences from bpftool: of several anonymous members of one struct it writes the empty name more than once, which
 * most readers of JSON take for the last; here the first are called ` 1`, ` 2` and so on. And floating-point numbers, which
 * bpftool does not know, are numbers.
 */
import * as Schema from "effect/Schema"
import * as Btf from "../../btf/Btf.ts"
import { readBits } from "../../btf/BtfBits.ts"
import * as BtfValue from "../../btf/BtfValue.ts"
import * as Result from "effect/Result"
import { exact } from "./Exact.ts"
import { type Json, valueJson } from "./Json.ts"

/** How deep types are followed; those of C that anybody reads are flatter. */
const maximumDepth = 64

/** The most parts that one value is written with: a forged type may have more elements than there are bytes. */
const maximumParts = 1 << 22

/** Encodings of integers. */
const SIGNED = 1
const CHAR = 2
const BOOL = 4

/**
 * What stands in the place of pointers to functions, in structs of which the kernel shows the programs: by the type of the
 * function and the program's identifier (0 for none); `undefined` leaves the number.
 */
export type Functions = (btf: Btf.Btf, proto: number, prog: number) => string | undefined

interface Reading {
  readonly btf: Btf.Btf
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly littleEndian: boolean
  /** Parts that may still be written. */
  left: number
  readonly functions: Functions | undefined
}

/** A type that has no values, or a value that the bytes are not enough for. */
class NotFormatted extends Schema.TaggedError<NotFormatted>()("NotFormatted", { why: Schema.String }) {}

const no = (why: string): never => {
  throw new NotFormatted({ why })
}

/** Bits as a text in hexadecimal. */
const hexBits = (reading: Reading, bitOffset: number, bits: number): Json => {
  if (Math.ceil((bitOffset + bits) / 8) > reading.bytes.length) return no("the bytes end in it")
  return `0x${readBits(reading.bytes, 0, bitOffset, bits, false, reading.littleEndian).toString(16)}`
}

const integer = (reading: Reading, at: number, size: number, signed: boolean): bigint => {
  if (at + size > reading.bytes.length) return no("the bytes end in it")
  return BigInt(readBits(reading.bytes, at, 0, size * 8, signed, reading.littleEndian))
}

const int = (reading: Reading, type: Extract<Btf.BtfType, { readonly _tag: "Int" }>, at: number): Json => {
  const { bitOffset, bits, encoding, size } = type
  if (bitOffset !== 0 || bits % 8 !== 0 || (bits !== 128 && ![8, 16, 32, 64].includes(bits))) {
    return hexBits(reading, at * 8 + bitOffset, bits)
  }
  if (bits === 128) return hexBits(reading, at * 8, 128)
  const value = integer(reading, at, size, (encoding & SIGNED) !== 0)
  switch (encoding) {
    case 0:
    case SIGNED:
      return exact(value)
    case CHAR: {
      const character = Number(integer(reading, at, 1, false))
      return String.fromCharCode(character)
    }
    case BOOL:
      return integer(reading, at, 1, false) !== 0n
    default:
      return no(`integers of encoding ${encoding} have no form`)
  }
}

/** The type behind `const` and its like, not behind typedefs. */
const behindModifiers = (btf: Btf.Btf, id: number): number => Btf.skipModifiers(btf, id)

/** Whether an array is text: characters, all of them printable, up to a NUL. */
const textOf = (reading: Reading, element: number, length: number, at: number): string | undefined => {
  const { btf, bytes } = reading
  if (length === 0) return undefined
  const type = Btf.typeOf(btf, behindModifiers(btf, element))
  if (type._tag !== "Int" || type.size !== 1 || (type.encoding !== CHAR && type.name !== "char")) return undefined
  for (let end = at; end < at + length; end++) {
    const byte = bytes[end] ?? 0
    if (byte === 0) return Buffer.from(bytes.subarray(at, end)).toString("latin1")
    if (byte <= 0x1f || byte >= 0x7f) return undefined
  }
  return undefined
}

const pointer = (reading: Reading, to: number, at: number): Json => {
  const { btf, functions } = reading
  const value = integer(reading, at, 8, false)
  if (functions === undefined || value > 0xffff_ffffn) return exact(value)
  const pointee = Btf.resolveType(btf, to)
  return Btf.typeOf(btf, pointee)._tag === "FuncProto"
    ? functions(btf, pointee, Number(value)) ?? exact(value)
    : exact(value)
}

/** Members of a struct or a union. */
const members = (
  reading: Reading,
  type: Extract<Btf.BtfType, { readonly _tag: "Struct" | "Union" }>,
  at: number,
  depth: number
): Json => {
  const found: { [name: string]: Json } = {}
  const unnamed = type.members.filter(({ name }) => name === "").length
  let seen = 0
  for (const member of type.members) {
    const bits = member.bitfieldSize
    const value = bits > 0
      ? hexBits(reading, at * 8 + member.bitOffset, bits)
      : member.bitOffset % 8 !== 0
      ? of(reading, member.type, at + Math.floor(member.bitOffset / 8), depth, member.bitOffset % 8)
      : of(reading, member.type, at + member.bitOffset / 8, depth, 0)
    if (member.name === "" && ++seen < unnamed) found[` ${seen}`] = value
    else Object.defineProperty(found, member.name, { value, enumerable: true, configurable: true, writable: true })
  }
  return found
}

const named = (name: string, value: Json): Json => Object.fromEntries([[name, value]])

/** The value of a type at a byte, and a bit of it for old bit fields. */
const of = (reading: Reading, id: number, at: number, depth: number, bit: number): Json => {
  if (depth > maximumDepth) return no("types are nested too deep")
  if (--reading.left < 0) return no("it has too many parts")
  const { btf } = reading
  const type = Btf.typeOf(btf, behindModifiers(btf, id))
  switch (type._tag) {
    case "Int":
      return bit === 0 ? int(reading, type, at) : hexBits(reading, at * 8 + bit + type.bitOffset, type.bits)
    case "Typedef":
      return of(reading, type.type, at, depth + 1, bit)
    case "Ptr":
      return pointer(reading, type.type, at)
    case "Enum":
    case "Enum64": {
      const value = integer(reading, at, type.size, type.signed)
      const name = type.values.find((each) => BigInt(each.value) === value)?.name
      return name ?? exact(value)
    }
    case "Array": {
      const text = textOf(reading, type.type, type.length, at)
      if (text !== undefined) return text
      const size = Result.getOrElse(Btf.resolveSize(btf, type.type), () => 0)
      const count = size === 0 ? 0 : type.length
      if (at + size * count > reading.bytes.length) return no("the bytes end in it")
      return Array.from({ length: count }, (_, index) => of(reading, type.type, at + index * size, depth + 1, 0))
    }
    case "Struct":
    case "Union":
      return members(reading, type, at, depth + 1)
    case "Var":
      return named(type.name, of(reading, type.type, at, depth + 1, 0))
    case "Datasec":
      return named(type.name, type.entries.map((entry) => of(reading, entry.type, at + entry.offset, depth + 1, 0)))
    case "Float": {
      const value = Result.getOrUndefined(BtfValue.decode(btf, id, reading.bytes.subarray(at)))
      return value === undefined ? no("it has no form") : valueJson(value)
    }
    default:
      return no(`${type._tag} has no values`)
  }
}

/** The value of type `id` at the start of `bytes`; `undefined` where the type has no values or needs more bytes. */
export const formatted = (btf: Btf.Btf, id: number, bytes: Uint8Array, functions?: Functions): Json | undefined => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const reading: Reading = { btf, bytes, view, littleEndian: btf.byteOrder === "little", left: maximumParts, functions }
  try {
    return of(reading, id, 0, 0, 0)
  } catch (thrown) {
    if (thrown instanceof NotFormatted) return undefined
    throw thrown
  }
}
