import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as BtfSchema from "../../../src/btf/BtfSchema.ts"
import * as BtfValue from "../../../src/btf/BtfValue.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"

const btf = B.btfOf([
  B.int("int", 4, 1), // 1
  B.int("unsigned char", 1), // 2
  B.int("char", 1, 1), // 3
  B.int("unsigned long", 8), // 4
  B.int("_Bool", 1, 4), // 5
  B.array(3, 1, 4), // 6
  B.array(2, 1, 3), // 7
  B.array(1, 1, 2), // 8
  B.enumeration("mode", 4, true, [["OFF", 0], ["ON", 1], ["FAR", 100]]), // 9
  B.enum64("wide", 8, false, [["BIG", 1n << 40n]]), // 10
  B.ptr(0), // 11
  B.float("float", 4), // 12
  B.float("long double", 16), // 13
  B.union("", 8, [["whole", 4, 0], ["half", 1, 0]]), // 14
  B.struct("event", 64, [
    ["name", 6, 0],
    ["octets", 7, 32],
    ["on", 5, 56],
    ["pair", 8, 64],
    ["mode", 9, 128],
    ["low", 1, 160, 5],
    ["state", 9, 165, 2],
    ["wide", 10, 192],
    ["", 14, 256],
    ["next", 11, 320],
    ["ratio", 12, 384]
  ]), // 15
  B.array(1, 1, 0), // 16
  B.struct("list", 4, [["n", 1, 0], ["items", 16, 32]]), // 17
  B.struct("self", 4, [["self", 18, 0]]), // 18
  B.struct("proto", 4, [["__proto__", 1, 0]]), // 19
  B.fwd("opaque", false) // 20
])

const schemaOf = (id: number, options: BtfSchema.SchemaOptions = {}) =>
  B.expectSuccess(BtfSchema.make(btf, id, options))
const accepts = (id: number, value: unknown, options: BtfSchema.SchemaOptions = {}): boolean =>
  Schema.is(schemaOf(id, options))(value)

const event = {
  name: "abc",
  octets: [1, 2, 255],
  on: true,
  pair: [-1, 2],
  mode: "ON",
  low: -16,
  state: 1,
  wide: "BIG",
  whole: 7n,
  half: 7,
  next: 0xffff_ffff_ffff_ffffn,
  ratio: 0.5
}

describe("schemas", () => {
  it("describe whole values", () => {
    assert.isTrue(accepts(15, event))
    for (const name of Object.keys(event)) {
      const partial: Record<string, unknown> = { ...event }
      delete partial[name]
      assert.isFalse(accepts(15, partial), name)
    }
  })

  it("know ranges, lengths and names", () => {
    const refused: ReadonlyArray<Partial<Record<keyof typeof event, unknown>>> = [
      { name: "abcde" },
      { name: "a\0" },
      { name: "äää" },
      { octets: [1, 2] },
      { octets: [1, 2, 256] },
      { on: 1 },
      { pair: [1, 2 ** 31] },
      { pair: [1, 1.5] },
      { mode: "DIM" },
      { mode: 2 ** 31 },
      { low: 16 },
      { low: -17 },
      // The name has a value that two bits do not hold.
      { state: "FAR" },
      { wide: 5 },
      { wide: -1n },
      { whole: 1n << 64n },
      { whole: 1 },
      { next: -1n },
      { ratio: 1e300 },
      { ratio: 1n }
    ]
    for (const part of refused) assert.isFalse(accepts(15, { ...event, ...part }), JSON.stringify(Object.keys(part)))
    const accepted: ReadonlyArray<Partial<Record<keyof typeof event, unknown>>> = [
      { name: [1, 2, 3, -4] },
      { name: "äb" },
      { mode: 7 },
      { state: "ON" },
      { wide: 9n },
      { ratio: Infinity },
      { ratio: NaN }
    ]
    for (const part of accepted) assert.isTrue(accepts(15, { ...event, ...part }), JSON.stringify(Object.keys(part)))
  })

  it("follow the options", () => {
    assert.isFalse(accepts(6, "ab", { text: false }))
    assert.isTrue(accepts(7, Uint8Array.of(1, 2, 3), { octets: true }))
    assert.isFalse(accepts(7, Uint8Array.of(1, 2), { octets: true }))
    assert.isFalse(accepts(17, { n: 1, items: [1] }))
    assert.isTrue(accepts(17, { n: 1, items: [1, 2, 3] }, { flexible: true }))
    assert.isTrue(accepts(13, new Uint8Array(16)))
    assert.isFalse(accepts(13, new Uint8Array(15)))
  })

  it("take names that objects give a meaning", () => {
    const value = B.expectSuccess(BtfValue.decode(btf, 19, Uint8Array.of(5, 0, 0, 0)))
    assert.isTrue(accepts(19, value))
    assert.isFalse(accepts(19, {}))
  })
})

describe("codecs", () => {
  const codec = B.expectSuccess(BtfSchema.codec(btf, 15))

  it("go from bytes to values and back", () => {
    const bytes = Schema.encodeSync(codec)(event)
    assert.deepEqual(bytes, B.expectSuccess(BtfValue.encode(btf, 15, event)))
    assert.deepEqual(Schema.decodeSync(codec)(bytes), { ...event, state: "ON" })
  })

  it("say what does not fit", () => {
    const short = Schema.decodeUnknownResult(codec)(new Uint8Array(63))
    if (Result.isSuccess(short)) return assert.fail("63 bytes are no event")
    assert.include(short.failure.message, "event: 63 bytes are given and the type has 64")
    assert.isTrue(Result.isFailure(Schema.decodeUnknownResult(codec)("bytes")))
    assert.isTrue(Result.isFailure(Schema.encodeUnknownResult(codec)({ ...event, low: 16 })))
  })

  it("of big-endian bytes, with flexible arrays", () => {
    const list = B.expectSuccess(BtfSchema.codec(btf, 17, { byteOrder: "big", flexible: true }))
    assert.deepEqual(Schema.decodeSync(list)(Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 2)), { n: 1, items: [2] })
    assert.deepEqual([...Schema.encodeSync(list)({ n: 1, items: [2] })], [0, 0, 0, 1, 0, 0, 0, 2])
  })
})

describe("hostile types", () => {
  it("end in an error", () => {
    const reason = (id: number): string => B.expectFailure(BtfSchema.make(btf, id)).reason
    assert.deepEqual([0, 18, 20, 99].map(reason), ["NoSize", "TooDeep", "NoSize", "NoSize"])
    assert.match(B.expectFailure(BtfSchema.make(btf, 18)).path, /^self\.self\.self/)
  })

  it("that share their parts are as large as they are", () => {
    const chain = B.btfOf([
      B.int("int", 4),
      ...Array.from({ length: 60 }, (_, at) => B.struct("s", 4, [["a", at + 1, 0], ["b", at + 1, 0]]))
    ])
    const schema = B.expectSuccess(BtfSchema.make(chain, 61))
    assert.isFalse(Schema.is(schema)({ a: 1 }))
    assert.strictEqual(B.expectFailure(BtfSchema.make(chain, 61, { flexible: true })).reason, "TooLarge")
    const deeper = B.btfOf([
      B.int("int", 4),
      ...Array.from({ length: 70 }, (_, at) => B.struct("s", 4, [["a", at + 1, 0]]))
    ])
    assert.isTrue(Result.isSuccess(BtfSchema.make(deeper, 65)))
    assert.strictEqual(B.expectFailure(BtfSchema.make(deeper, 66)).reason, "TooDeep")
  })
})
