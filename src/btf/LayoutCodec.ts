/**
 * Codecs of types whose layout was known when the code was written: what generated modules are made of.
 *
 * A generated codec reads with the getters of a `DataView` at offsets that stand in its text. This module has what is
 * more than one getter (text, wide integers, bit fields that no getter covers), and the writer, which checks each value
 * before it is written. Neither knows BTF.
 *
 * Values are those of `BtfValue` with `octets` and `flexible`; modules are written by `TsCodecs`.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import { halfToNumber, readBits } from "./BtfBits.ts"
import { readCharacters } from "./CharacterText.ts"
import { type Codec, CodecError } from "./Codec.ts"
import { type Segment, Writer } from "./LayoutWriter.ts"

export type { Codec } from "./Codec.ts"
export { bytes, CodecError, decode } from "./Codec.ts"
export { Writer } from "./LayoutWriter.ts"
export type { Segment } from "./LayoutWriter.ts"

/** A value of which parts may be missing: they are zero. */
export type Parts<A> = A extends Uint8Array ? Uint8Array
  : A extends object ? { readonly [K in keyof A]?: Parts<A[K]> | undefined }
  : A

/** Where a member of a struct or union is. */
export type Place =
  /** Whole bytes from the start of the struct. */
  | { readonly offset: number; readonly size: number }
  /** Bits, counted from the least significant one of the first byte, or in big-endian data from its most significant one. */
  | { readonly bitOffset: number; readonly bits: number }

/** A codec of a type of C. */
export interface LayoutCodec<A> extends Codec<A> {
  /** The bytes of a value. Parts that are missing are zero; in a union later members overwrite earlier ones. */
  readonly encode: (value: A | Parts<A>) => Result.Result<Uint8Array, CodecError>
  /**
   * The value of which these parts are given and all else is zero: of a union, the one member that is given in the words of
   * all members.
   */
  readonly of: (parts: A | Parts<A>) => Result.Result<A, CodecError>
}

/** A codec of a struct or union. */
export interface StructCodec<A> extends LayoutCodec<A> {
  /** Where its members are, those of its anonymous members among them. */
  readonly layout: Readonly<Record<keyof A, Place>>
}

/** A codec of an enum. */
export interface EnumCodec<A, Values> extends LayoutCodec<A> {
  /** The numbers of its names. */
  readonly values: Values
}

/** Writes a value at a place. `name` is what it is called there, for errors. */
export type Write<A> = (to: Writer, at: number, value: A | undefined, name: Segment) => void

const isCodecError = (thrown: unknown): thrown is CodecError => thrown instanceof CodecError

/** A codec by its two directions. */
export const make = <A>(
  name: string,
  size: number,
  littleEndian: boolean,
  read: Codec<A>["read"],
  write: Write<A | Parts<A>>,
  flexible: boolean = false
): LayoutCodec<A> => {
  const encode = (value: A | Parts<A>): Result.Result<Uint8Array, CodecError> =>
    attempt(isCodecError, () => {
      const to = new Writer(name, size, littleEndian)
      write(to, 0, value, "")
      return to.bytes
    })
  const of = (parts: A | Parts<A>): Result.Result<A, CodecError> =>
    attempt(isCodecError, () => {
      const to = new Writer(name, size, littleEndian)
      write(to, 0, parts, "")
      return read(to.view, 0)
    })
  return { name, size, ...(flexible ? { flexible } : {}), read, encode, of }
}

/** A codec of a struct or union. */
export const struct = <A>(
  name: string,
  size: number,
  littleEndian: boolean,
  layout: Readonly<Record<keyof A, Place>>,
  read: Codec<A>["read"],
  write: Write<A | Parts<A>>,
  flexible: boolean = false
): StructCodec<A> => ({ ...make<A>(name, size, littleEndian, read, write, flexible), layout })

/** A codec of an enum. */
export const enumeration = <A, const Values>(
  name: string,
  size: number,
  littleEndian: boolean,
  values: Values,
  read: Codec<A>["read"],
  write: Write<A | Parts<A>>
): EnumCodec<A, Values> => ({ ...make<A>(name, size, littleEndian, read, write), values })

const bytesOf = (view: DataView, at: number, length: number): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset + at, length)

/** The most bytes that are copied one by one, which costs less than a second view. */
const FEW = 32

/** `length` bytes, as a copy. */
export const octets = (view: DataView, at: number, length: number): Uint8Array => {
  if (length > FEW) return bytesOf(view, at, length).slice()
  const copy = new Uint8Array(length)
  for (let index = 0; index < length; index++) copy[index] = view.getUint8(at + index)
  return copy
}

/** The text in `length` characters, up to the first NUL; their bytes, as a copy, where they are no text. */
export const text = (view: DataView, at: number, length: number): string | Uint8Array =>
  readCharacters(view, at, at + length) ?? octets(view, at, length)

/** An integer of `bits` bits at a bit of the bytes from `at` on, as a number: there are at most 32. */
export const bits = (
  view: DataView,
  at: number,
  bitOffset: number,
  count: number,
  signed: boolean,
  littleEndian: boolean
): number => {
  const first = Math.floor(bitOffset / 8)
  const shift = bitOffset % 8
  const room = bytesOf(view, at + first, Math.ceil((shift + count) / 8))
  return Number(readBits(room, 0, shift, count, signed, littleEndian))
}

/** An integer of up to 128 bits at a bit of the bytes from `at` on. */
export const wideBits = (
  view: DataView,
  at: number,
  bitOffset: number,
  count: number,
  signed: boolean,
  littleEndian: boolean
): bigint => {
  const first = Math.floor(bitOffset / 8)
  const shift = bitOffset % 8
  const room = bytesOf(view, at + first, Math.ceil((shift + count) / 8))
  return BigInt(readBits(room, 0, shift, count, signed, littleEndian))
}

/** An integer of 16 bytes. */
export const int128 = (view: DataView, at: number, signed: boolean, littleEndian: boolean): bigint => {
  const low = view.getBigUint64(littleEndian ? at : at + 8, littleEndian)
  const high = littleEndian ? at + 8 : at
  const upper = signed ? view.getBigInt64(high, littleEndian) : view.getBigUint64(high, littleEndian)
  return (upper << 64n) | low
}

/** A floating-point number of half precision. */
export const half = (view: DataView, at: number, littleEndian: boolean): number =>
  halfToNumber(view.getUint16(at, littleEndian))
