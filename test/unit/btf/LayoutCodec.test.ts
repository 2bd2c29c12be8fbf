/** What generated codecs are made of, with a codec that is written as they are. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as LayoutCodec from "../../../src/btf/LayoutCodec.ts"

interface point {
  readonly x: number
  readonly y: number
}

const point = LayoutCodec.struct<point>(
  "struct point",
  8,
  true,
  { x: { offset: 0, size: 4 }, y: { offset: 4, size: 4 } },
  (view, at) => ({ x: view.getInt32(at, true), y: view.getInt32(at + 4, true) }),
  (to, at, value, name) =>
    to.part(at, value, name, (to, at, value) => {
      to.int(at, 4, true, value.x, "x")
      to.int(at + 4, 4, true, value.y, "y")
    })
)

/** A union of eight bytes, and behind it a name of four characters and as many points as there are. */
interface shape {
  readonly whole: bigint
  readonly low: number
  readonly name: string | Uint8Array
  readonly points: ReadonlyArray<point>
}

const shape = LayoutCodec.make<shape>(
  "struct shape",
  12,
  true,
  (view, at) => {
    const points: Array<point> = []
    for (let next = at + 12; next + 8 <= view.byteLength; next += 8) points.push(point.read(view, next))
    return {
      whole: view.getBigUint64(at, true),
      low: view.getUint32(at, true),
      name: LayoutCodec.text(view, at + 8, 4),
      points
    }
  },
  (to, at, value, name) =>
    to.part(at, value, name, (to, at, value) => {
      to.int(at, 8, false, value.whole, "whole")
      to.int(at, 4, false, value.low, "low")
      to.text(at + 8, 4, false, value.name, "name")
      to.list(at + 12, 0, 8, true, value.points, "points", (to, at, value, name) =>
        to.part(at, value, name, (to, at, value) => {
          to.int(at, 4, true, value.x, "x")
          to.int(at + 4, 4, true, value.y, "y")
        }))
    }),
  true
)

const messageOf = <A>(result: Result.Result<A, LayoutCodec.CodecError>): string =>
  Result.isFailure(result) ? result.failure.message : "no error"

const hex = (result: Result.Result<Uint8Array, LayoutCodec.CodecError>): string =>
  Buffer.from(Result.getOrThrow(result)).toString("hex")

describe("LayoutCodec", () => {
  it("encodes parts: what is missing is zero", () => {
    assert.strictEqual(hex(point.encode({ y: -2 })), "00000000feffffff")
    assert.strictEqual(hex(point.encode({})), "0000000000000000")
    assert.strictEqual(
      hex(shape.encode({ points: [{ x: 1 }, undefined, { y: 2 }] })),
      [
        "000000000000000000000000",
        "0100000000000000",
        "0000000000000000",
        "0000000002000000"
      ].join("")
    )
  })

  it("makes whole values of parts: of a union all members by the one that is given", () => {
    assert.deepStrictEqual(Result.getOrThrow(shape.of({ low: 7 })), { whole: 7n, low: 7, name: "", points: [] })
    assert.deepStrictEqual(Result.getOrThrow(shape.of({ whole: 1n << 33n, name: "abcd", points: [{ x: 3 }] })), {
      whole: 1n << 33n,
      low: 0,
      name: "abcd",
      points: [{ x: 3, y: 0 }]
    })
    // Later members overwrite what they share with earlier ones.
    assert.strictEqual(Result.getOrThrow(shape.of({ whole: 0x1_0000_0002n, low: 5 })).whole, 0x1_0000_0005n)
  })

  it("tells which part does not fit, and why", () => {
    assert.strictEqual(
      messageOf(point.encode({ x: 2 ** 31 })),
      "struct point: x: 2147483648 does not fit 32 bits with a sign"
    )
    assert.strictEqual(messageOf(point.encode({ x: 1.5 })), "struct point: x: 1.5 is no safe integer")
    assert.strictEqual(
      messageOf(shape.encode({ points: [{}, { y: -(2 ** 40) }] })),
      "struct shape: points[1].y: -1099511627776 does not fit 32 bits with a sign"
    )
    assert.strictEqual(messageOf(shape.encode({ whole: -1n })), "struct shape: whole: -1 does not fit 64 bits")
    assert.strictEqual(
      messageOf(shape.encode({ name: "abcde" })),
      "struct shape: name: 5 bytes of text are too many: it holds 4"
    )
    assert.include(messageOf(shape.encode({ name: "a\0" })), "name: text ends at its first NUL")
    // After an error the next value is written from the beginning.
    assert.strictEqual(hex(point.encode({ x: 1, y: 1 })), "0100000001000000")
  })

  it("refuses what is no value at all without throwing", () => {
    const given: ReadonlyArray<unknown> = [null, 1, "x", [], new Uint8Array(8), true]
    for (const each of given) {
      // Who has no types may give anything.
      assert.match(messageOf(point.encode(each as point)), /^struct point: an object is needed, not /)
    }
    const text: unknown = "seven"
    assert.include(messageOf(point.encode({ x: text as number })), "x: a number or bigint is needed, not a string")
    assert.include(messageOf(shape.encode({ points: text as [] })), "points: an array is needed, not a string")
    // A whole value that is missing is zero, too.
    const nothing: unknown = undefined
    assert.strictEqual(hex(point.encode(nothing as point)), "0000000000000000")
  })

  it("decodes exactly its bytes, and a flexible tail of any length", () => {
    const decoded = (length: number) => LayoutCodec.decode(shape, new Uint8Array(length))
    assert.include(messageOf(LayoutCodec.decode(point, new Uint8Array(9))), "9 bytes are given, and a value has 8")
    assert.include(messageOf(decoded(11)), "at least 12")
    assert.strictEqual(Result.getOrThrow(decoded(12)).points.length, 0)
    assert.strictEqual(Result.getOrThrow(decoded(35)).points.length, 2)
  })

  it("refuses a tail that is too large for a value", () => {
    const letters = LayoutCodec.make<string | Uint8Array>(
      "char[]",
      0,
      true,
      (view, at) => LayoutCodec.text(view, at, view.byteLength - at),
      (to, at, value, name) => to.text(at, 0, true, value, name),
      true
    )
    assert.strictEqual(hex(letters.encode("é")), "c3a9")
    assert.include(messageOf(letters.encode(new Uint8Array((1 << 28) + 1))), "268435457 bytes are too many for a value")
  })

  it("reads bits, wide integers and halves of both byte orders", () => {
    const bytes = Uint8Array.from({ length: 24 }, (_, at) => at * 37 + 200)
    const view = new DataView(bytes.buffer, 4)
    const number = (order: "little" | "big", from: number, count: number): bigint => {
      const part = [...bytes.subarray(4 + from, 4 + from + count)]
      const hex = (order === "big" ? part : part.reverse()).map((byte) => byte.toString(16).padStart(2, "0")).join("")
      return BigInt(`0x${hex}`)
    }
    assert.strictEqual(LayoutCodec.int128(view, 1, false, true), number("little", 1, 16))
    assert.strictEqual(LayoutCodec.int128(view, 1, false, false), number("big", 1, 16))
    assert.strictEqual(LayoutCodec.int128(view, 1, true, false), BigInt.asIntN(128, number("big", 1, 16)))
    assert.strictEqual(
      LayoutCodec.bits(view, 1, 11, 27, false, true),
      Number(number("little", 1, 8) >> 11n & 0x7ff_ffffn)
    )
    assert.strictEqual(
      LayoutCodec.bits(view, 1, 11, 27, false, false),
      Number(number("big", 1, 8) >> 26n & 0x7ff_ffffn)
    )
    assert.strictEqual(
      LayoutCodec.wideBits(view, 0, 3, 60, false, true),
      number("little", 0, 8) >> 3n & (1n << 60n) - 1n
    )
    assert.strictEqual(LayoutCodec.half(new DataView(Uint8Array.of(0x00, 0xc0).buffer), 0, true), -2)
  })

  it("copies bytes, few and many", () => {
    const bytes = Uint8Array.from({ length: 100 }, (_, at) => at)
    const view = new DataView(bytes.buffer)
    for (const length of [0, 1, 32, 33, 90]) {
      const copy = LayoutCodec.octets(view, 10, length)
      assert.deepStrictEqual(copy, bytes.slice(10, 10 + length))
      assert.notStrictEqual(copy.buffer, bytes.buffer)
    }
  })
})
