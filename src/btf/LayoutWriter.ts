/**
 * Writes values into the bytes of a type, each checked against what its place holds: the encoding half of generated codecs.
 */
import { fitsBits, numberToHalf, writeBits } from "./BtfBits.ts"
import { SIZE_LIMIT } from "./ValueLimits.ts"
import { CodecError } from "./Codec.ts"

/** What a part is called in what it is part of: the name of a member, or the index of an element. */
export type Segment = string | number

/** Writes one element of an array, or a member that has parts of its own. */
type WritePart<A> = (to: Writer, at: number, value: A | undefined, name: Segment) => void

const utf8 = new TextEncoder()

/** Longest text that is written code by code, which is fastest for short ones. */
const SHORT_TEXT = 64

const isAscii = (text: string): boolean => {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) >= 0x80) return false
  return true
}

const describe = (value: unknown): string => {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return "an array"
  if (value instanceof Uint8Array) return "a Uint8Array"
  if (typeof value === "object") return "an object"
  return typeof value === "number" || typeof value === "bigint" || typeof value === "boolean"
    ? `the ${typeof value} ${value}`
    : `a ${typeof value}`
}

/**
 * The bytes of one value while it is written. Its methods throw a `CodecError` that says which part does not fit; the codec
 * catches it. A value that is `undefined` is passed over: its bytes stay zero.
 */
export class Writer {
  /** The value's bytes: as many as its type has, and those of a flexible array. */
  bytes: Uint8Array
  /** The same bytes. */
  view: DataView
  readonly #name: string
  readonly #littleEndian: boolean
  /** The parts that are around the one that is written. */
  readonly #path: Array<Segment> = []

  constructor(name: string, size: number, littleEndian: boolean) {
    this.#name = name
    this.#littleEndian = littleEndian
    this.bytes = new Uint8Array(size)
    this.view = new DataView(this.bytes.buffer)
  }

  /** An integer of `size` bytes. */
  int(at: number, size: number, signed: boolean, value: number | bigint | undefined, name: Segment): void {
    if (value === undefined) return
    const exact = this.#integer(size * 8, signed, value, name)
    switch (size) {
      case 1:
        return this.view.setUint8(at, Number(exact))
      case 2:
        return this.view.setUint16(at, Number(exact), this.#littleEndian)
      case 4:
        return this.view.setUint32(at, Number(exact), this.#littleEndian)
      case 8:
        return this.view.setBigUint64(at, BigInt(exact), this.#littleEndian)
      default:
        return writeBits(this.bytes, at, 0, size * 8, exact, this.#littleEndian)
    }
  }

  /** An integer of `count` bits at a bit of the bytes from `at` on. */
  bits(
    at: number,
    bitOffset: number,
    count: number,
    signed: boolean,
    value: number | bigint | undefined,
    name: Segment
  ): void {
    if (value === undefined) return
    writeBits(this.bytes, at, bitOffset, count, this.#integer(count, signed, value, name), this.#littleEndian)
  }

  /** A boolean in `count` bits. */
  bool(at: number, bitOffset: number, count: number, value: boolean | undefined, name: Segment): void {
    if (value === undefined) return
    if (typeof value !== "boolean") this.#refuse(name, `a boolean is needed, not ${describe(value)}`)
    writeBits(this.bytes, at, bitOffset, count, value ? 1 : 0, this.#littleEndian)
  }

  /** A number or, of an enum, one of these names, in `count` bits. */
  named(
    at: number,
    bitOffset: number,
    count: number,
    signed: boolean,
    values: Readonly<Record<string, number | bigint>>,
    value: string | number | bigint | undefined,
    name: Segment
  ): void {
    if (typeof value !== "string") return this.bits(at, bitOffset, count, signed, value, name)
    const number = Object.hasOwn(values, value) ? values[value] : undefined
    if (number === undefined) this.#refuse(name, `the enum has no value called ${JSON.stringify(value)}`)
    this.bits(at, bitOffset, count, signed, number, name)
  }

  /** A floating-point number of 2, 4 or 8 bytes. */
  float(at: number, size: number, value: number | undefined, name: Segment): void {
    if (value === undefined) return
    if (typeof value !== "number") this.#refuse(name, `a number is needed, not ${describe(value)}`)
    const half = size === 2 ? numberToHalf(value) : 0
    const infinite = size === 2 ? (half & 0x7fff) === 0x7c00 : size === 4 && !Number.isFinite(Math.fround(value))
    if (infinite && Number.isFinite(value)) this.#refuse(name, `${value} does not fit ${size} bytes`)
    if (size === 2) return this.view.setUint16(at, half, this.#littleEndian)
    if (size === 4) return this.view.setFloat32(at, value, this.#littleEndian)
    this.view.setFloat64(at, value, this.#littleEndian)
  }

  /** Bytes, at most `length` of them unless they may grow. */
  octets(at: number, length: number, grows: boolean, value: Uint8Array | undefined, name: Segment): void {
    if (value === undefined) return
    if (!(value instanceof Uint8Array)) this.#refuse(name, `a Uint8Array is needed, not ${describe(value)}`)
    this.#room(at, length, grows, value.length, 1, "bytes", name)
    this.bytes.set(value, at)
  }

  /** Text in an array of `length` characters, to the last of which it may go, or their bytes. */
  text(at: number, length: number, grows: boolean, value: string | Uint8Array | undefined, name: Segment): void {
    if (typeof value !== "string") return this.octets(at, length, grows, value, name)
    if (value.includes("\0")) this.#refuse(name, "text ends at its first NUL and cannot hold one: give bytes")
    const encoded = value.length <= SHORT_TEXT && isAscii(value) ? undefined : utf8.encode(value)
    const needed = encoded?.length ?? value.length
    this.#room(at, length, grows, needed, 1, "bytes of text", name)
    if (encoded !== undefined) return this.bytes.set(encoded, at)
    for (let index = 0; index < needed; index++) this.bytes[at + index] = value.charCodeAt(index)
  }

  /** The elements of an array, at most `length` of them unless they may grow, `stride` bytes each. */
  list<A>(
    at: number,
    length: number,
    stride: number,
    grows: boolean,
    value: ReadonlyArray<A | undefined> | undefined,
    name: Segment,
    write: WritePart<A>
  ): void {
    if (value === undefined) return
    const items: ReadonlyArray<A | undefined> = value
    if (!Array.isArray(value)) this.#refuse(name, `an array is needed, not ${describe(value)}`)
    this.#room(at, length, grows, items.length, stride, "elements", name)
    this.#path.push(name)
    for (let index = 0; index < items.length; index++) write(this, at + index * stride, items[index], index)
    this.#path.pop()
  }

  /** A value that has parts: `write` writes each. */
  part<A extends object>(
    at: number,
    value: A | undefined,
    name: Segment,
    write: (to: Writer, at: number, value: A) => void
  ): void {
    if (value === undefined) return
    if (typeof value !== "object" || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
      this.#refuse(name, `an object is needed, not ${describe(value)}`)
    }
    this.#path.push(name)
    write(this, at, value)
    this.#path.pop()
  }

  /** Fails: this part does not fit. */
  #refuse(name: Segment, what: string): never {
    const path = [...this.#path, name].filter((segment) => segment !== "")
    const place = path.map((segment, index) =>
      typeof segment === "number" ? `[${segment}]` : index === 0 ? segment : `.${segment}`
    ).join("")
    const detail = place === "" ? what : `${place}: ${what}`
    throw new CodecError({ reason: "Value", subject: this.#name, detail })
  }

  #integer(count: number, signed: boolean, value: number | bigint, name: Segment): number | bigint {
    if (typeof value === "number" && count <= 32 && fitsBits(value, count, signed)) return value
    if (typeof value !== "number" && typeof value !== "bigint") {
      return this.#refuse(name, `a number or bigint is needed, not ${describe(value)}`)
    }
    if (typeof value === "number" && !Number.isSafeInteger(value)) {
      return this.#refuse(name, `${value} is no safe integer`)
    }
    const exact = BigInt(value)
    const fits = (signed ? BigInt.asIntN(count, exact) : BigInt.asUintN(count, exact)) === exact
    return fits ? exact : this.#refuse(name, `${exact} does not fit ${count} bits${signed ? " with a sign" : ""}`)
  }

  /** Checks that an array holds so many; one that grows is given the bytes for them. */
  #room(
    at: number,
    length: number,
    grows: boolean,
    needed: number,
    stride: number,
    what: string,
    name: Segment
  ): void {
    if (needed <= length) return
    if (!grows) this.#refuse(name, `${needed} ${what} are too many: it holds ${length}`)
    const end = at + needed * stride
    if (end > SIZE_LIMIT) this.#refuse(name, `${end} bytes are too many for a value`)
    if (end <= this.bytes.length) return
    const bytes = new Uint8Array(end)
    bytes.set(this.bytes)
    this.bytes = bytes
    this.view = new DataView(bytes.buffer)
  }
}
