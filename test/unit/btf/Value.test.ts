import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../src/btf/Btf.ts"
import { halfToNumber, numberToHalf, readBits, writeBits } from "../../../src/btf/BtfBits.ts"
import * as BtfValue from "../../../src/btf/BtfValue.ts"
import { decode, encode } from "../../../src/btf/BtfValue.ts"
import type { BtfValueError } from "../../../src/btf/BtfValue.ts"
import {
  array,
  btfOf,
  constant,
  datasec,
  enum64,
  enumeration,
  expectFailure,
  expectSuccess,
  float,
  funcProto,
  fwd,
  int,
  ptr,
  struct,
  typedef,
  union,
  variable
} from "../../support/arbitrary/BtfBlob.ts"
import type { Rec } from "../../support/arbitrary/BtfBlob.ts"

/** A blob in which types are found by name; entries without one get their place. */
const types: ReadonlyArray<Rec> = [
  int("int", 4, Btf.BTF_INT_SIGNED), // 1
  int("unsigned short", 2), // 2
  int("char", 1, Btf.BTF_INT_SIGNED), // 3
  int("unsigned char", 1), // 4
  int("long", 8, Btf.BTF_INT_SIGNED), // 5
  int("unsigned long", 8), // 6
  int("__int128", 16, Btf.BTF_INT_SIGNED), // 7
  int("_Bool", 1, Btf.BTF_INT_BOOL), // 8
  float("float", 4), // 9
  float("double", 8), // 10
  float("long double", 16), // 11
  ptr(0), // 12
  array(3, 1, 8), // 13 char[8]
  array(2, 1, 4), // 14 unsigned short[4]
  enumeration("mode", 4, true, [["DROP", -1], ["PASS", 1], ["ALSO_PASS", 1]]), // 15
  enum64("wide", 8, false, [["BIG", 0x1_0000_0000n]]), // 16
  struct("inner", 8, [["x", 1, 0], ["y", 1, 32]]), // 17
  struct("", 8, [["a", 1, 0], ["b", 1, 32]]), // 18
  union("", 8, [["whole", 6, 0], ["", 18, 0]]), // 19
  struct("config", 48, [
    ["ports", 14, 0],
    ["inner", 17, 64],
    ["", 19, 128],
    ["name", 13, 192],
    ["mode", 15, 256],
    ["on", 8, 288],
    ["next", 12, 320]
  ]), // 20
  typedef("config_t", 20), // 21
  constant(21), // 22
  variable("settings", 22, 1), // 23
  variable("count", 6, 1), // 24
  datasec(".data", 56, [[23, 0, 48], [24, 48, 8]]), // 25
  struct("bits", 8, [
    ["low", 1, 0, 3],
    ["middle", 2, 3, 9],
    ["flag", 8, 12, 1],
    ["mode", 15, 13, 2],
    ["", 1, 15, 1],
    ["high", 5, 16, 40],
    ["last", 4, 56]
  ]), // 26
  array(4, 1, 6), // 27 unsigned char[6]
  array(27, 1, 2), // 28
  array(13, 1, 2), // 29 char[2][8]
  struct("flexible", 4, [["length", 1, 0], ["data", 31, 32]]), // 30
  array(4, 1, 0), // 31
  struct("empty", 0, []), // 32
  array(32, 1, 0x4000_0000), // 33
  fwd("opaque", false), // 34
  funcProto(0, []), // 35
  struct("outside", 4, [["a", 5, 0]]), // 36
  struct("crooked", 16, [["a", 12, 4]]), // 37 an ordinary member within a byte
  int("legacy", 4, Btf.BTF_INT_SIGNED, 5, 3), // 38: five bits at bit 3
  struct("with legacy", 4, [["field", 38, 8]]), // 39
  int("hollow", 4, 0, 0), // 40
  enumeration("tiny", 1, false, [["MINUS", 0xffff_ffff]]), // 41
  struct("recursive", 8, [["self", 42, 0]]), // 42
  typedef("cycle", 43), // 43
  array(4, 1, 0x2000_0000), // 44: 512 MiB
  int("medium", 3, Btf.BTF_INT_SIGNED), // 45
  struct("proto", 4, [["__proto__", 1, 0]]), // 46
  struct("at a bit", 5, [["field", 1, 4]]) // 47
]
const btf = btfOf(types)

const bytesOf = (id: number, value: unknown, order: "little" | "big" = "little"): ReadonlyArray<number> => [
  ...expectSuccess(encode(btf, id, value, order))
]
const valueOf = (id: number, bytes: ReadonlyArray<number>, order: "little" | "big" = "little") =>
  expectSuccess(decode(btf, id, Uint8Array.from(bytes), order))

const fails = (id: number, value: unknown, reason: BtfValueError["reason"], message?: string): void => {
  const error = expectFailure(encode(btf, id, value))
  assert.strictEqual(error.reason, reason, error.message)
  if (message !== undefined) assert.strictEqual(error.message, message)
}

describe("scalars", () => {
  it("have their bytes in both orders", () => {
    assert.deepEqual(bytesOf(1, -2), [0xfe, 0xff, 0xff, 0xff])
    assert.deepEqual(bytesOf(1, -2, "big"), [0xff, 0xff, 0xff, 0xfe])
    assert.deepEqual(bytesOf(2, 0x1234, "big"), [0x12, 0x34])
    assert.deepEqual(bytesOf(5, -1n), Array(8).fill(0xff))
    assert.deepEqual(bytesOf(6, 258), [2, 1, 0, 0, 0, 0, 0, 0])
    assert.deepEqual(bytesOf(7, -2n, "big"), [...Array<number>(15).fill(0xff), 0xfe])
    assert.deepEqual(bytesOf(7, 1n << 100n), [...Array<number>(12).fill(0), 16, 0, 0, 0])
    assert.deepEqual(bytesOf(12, 0x1234n, "big"), [0, 0, 0, 0, 0, 0, 0x12, 0x34])
    assert.deepEqual(bytesOf(9, 1.5), [0, 0, 0xc0, 0x3f])
    assert.deepEqual(bytesOf(10, 1.5, "big"), [0x3f, 0xf8, 0, 0, 0, 0, 0, 0])
    assert.deepEqual(bytesOf(45, -2, "big"), [0xff, 0xff, 0xfe])
    assert.strictEqual(valueOf(1, [0xfe, 0xff, 0xff, 0xff]), -2)
    assert.strictEqual(valueOf(2, [0x12, 0x34], "big"), 0x1234)
    assert.strictEqual(valueOf(5, Array(8).fill(0xff)), -1n)
    assert.strictEqual(valueOf(6, Array(8).fill(0xff)), 0xffff_ffff_ffff_ffffn)
    assert.strictEqual(valueOf(7, [...Array<number>(15).fill(0xff), 0xfe], "big"), -2n)
    assert.strictEqual(valueOf(12, [0, 0, 0, 0, 0, 0, 0x12, 0x34], "big"), 0x1234n)
    assert.strictEqual(valueOf(9, [0, 0, 0xc0, 0x3f]), 1.5)
    assert.strictEqual(valueOf(45, [0xff, 0xff, 0xfe], "big"), -2)
    assert.deepEqual(valueOf(11, Array.from({ length: 16 }, (_, index) => index)), Uint8Array.from(Array(16).keys()))
    assert.deepEqual(bytesOf(11, Uint8Array.of(1, 2)), [1, 2, ...Array<number>(14).fill(0)])
  })

  it("are checked against their range", () => {
    fails(2, 70_000, "OutOfRange", "unsigned short: 70000 does not fit unsigned short")
    fails(2, -1, "OutOfRange")
    fails(1, 0x8000_0000, "OutOfRange")
    fails(1, -0x8000_0001n, "OutOfRange")
    fails(6, 1n << 64n, "OutOfRange")
    fails(6, 2 ** 60, "OutOfRange")
    fails(1, 1.5, "OutOfRange")
    fails(1, NaN, "OutOfRange")
    fails(9, 1e300, "OutOfRange", "float: 1e+300 does not fit float")
    fails(12, -1n, "OutOfRange", "value: -1 does not fit void *")
    fails(1, "1", "WrongType", "int: int needs a number or bigint, not a string")
    fails(1, undefined, "WrongType")
    fails(1, true, "WrongType", "int: int needs a number or bigint, not the boolean true")
    fails(8, 2, "WrongType")
    fails(9, 1n, "WrongType")
    fails(11, 1, "WrongType")
    fails(11, new Uint8Array(17), "TooLong")
    assert.deepEqual(bytesOf(9, Infinity), [0, 0, 0x80, 0x7f])
    assert.deepEqual(bytesOf(1, 0x7fff_ffff), [0xff, 0xff, 0xff, 0x7f])
    assert.deepEqual(bytesOf(6, 0xffff_ffff_ffff_ffffn), Array(8).fill(0xff))
  })

  it("are booleans and names where the type says so", () => {
    assert.deepEqual([true, false, 1, 0n].map((value) => bytesOf(8, value)[0]), [1, 0, 1, 0])
    assert.strictEqual(valueOf(8, [7]), true)
    assert.strictEqual(valueOf(8, [0]), false)
    assert.deepEqual(bytesOf(15, "DROP"), [0xff, 0xff, 0xff, 0xff])
    assert.deepEqual(bytesOf(15, "ALSO_PASS"), [1, 0, 0, 0])
    assert.deepEqual(bytesOf(15, 7n), [7, 0, 0, 0])
    assert.strictEqual(valueOf(15, [1, 0, 0, 0]), "PASS")
    assert.strictEqual(valueOf(15, [2, 0, 0, 0]), 2)
    assert.deepEqual(bytesOf(16, "BIG"), [0, 0, 0, 0, 1, 0, 0, 0])
    assert.strictEqual(valueOf(16, [0, 0, 0, 0, 1, 0, 0, 0]), "BIG")
    assert.strictEqual(valueOf(16, [9, 0, 0, 0, 0, 0, 0, 0]), 9n)
    assert.strictEqual(valueOf(41, [0xff]), "MINUS")
    assert.deepEqual(bytesOf(41, "MINUS"), [0xff])
    fails(15, "NONE", "UnknownName", "mode: enum mode has no value called \"NONE\" (it has DROP, PASS, ALSO_PASS)")
    fails(15, 0x8000_0000, "OutOfRange")
  })
})

describe("arrays", () => {
  it("may be short, have holes, and not be too long", () => {
    assert.deepEqual(bytesOf(14, [1, 2], "big"), [0, 1, 0, 2, 0, 0, 0, 0])
    assert.deepEqual(bytesOf(14, [undefined, 2]), [0, 0, 2, 0, 0, 0, 0, 0])
    assert.deepEqual(valueOf(14, [1, 0, 2, 0, 3, 0, 4, 0]), [1, 2, 3, 4])
    assert.deepEqual(bytesOf(28, [[1], Uint8Array.of(2, 3)]), [1, 0, 0, 0, 0, 0, 2, 3, 0, 0, 0, 0])
    fails(14, [1, 2, 3, 4, 5], "TooLong", "value: 5 elements are too many for unsigned short[4] (it holds 4)")
    fails(14, [1, 70_000], "OutOfRange", "value[1]: 70000 does not fit unsigned short")
    fails(14, new Uint8Array(2), "WrongType")
    fails(14, "ab", "WrongType")
    fails(27, new Uint8Array(7), "TooLong")
    fails(27, { 0: 1 }, "WrongType")
  })

  it("of characters are text", () => {
    assert.deepEqual(bytesOf(13, "hi"), [104, 105, 0, 0, 0, 0, 0, 0])
    assert.strictEqual(bytesOf(13, "12345678").length, 8)
    assert.deepEqual(bytesOf(13, "ü").slice(0, 3), [0xc3, 0xbc, 0])
    assert.deepEqual(bytesOf(13, Uint8Array.of(0, 1)), [0, 1, 0, 0, 0, 0, 0, 0])
    assert.deepEqual(bytesOf(13, [-1]), [255, 0, 0, 0, 0, 0, 0, 0])
    assert.strictEqual(valueOf(13, [104, 105, 0, 0, 0, 0, 0, 0]), "hi")
    assert.strictEqual(valueOf(13, [104, 105, 0, 1, 2, 3, 4, 5]), "hi")
    assert.strictEqual(valueOf(13, [49, 50, 51, 52, 53, 54, 55, 56]), "12345678")
    assert.strictEqual(valueOf(13, [0xc3, 0xbc, 10, 0, 0, 0, 0, 0]), "ü\n")
    assert.deepEqual(valueOf(13, [1, 2, 0, 0, 0, 0, 0, 0]), [1, 2, 0, 0, 0, 0, 0, 0])
    assert.deepEqual(valueOf(13, [0xc3, 0x41, 0, 0, 0, 0, 0, 0]), [-61, 0x41, 0, 0, 0, 0, 0, 0])
    assert.deepEqual(bytesOf(29, ["ab", "cd"]).slice(8, 11), [99, 100, 0])
    assert.deepEqual(valueOf(29, [...bytesOf(29, ["ab", "cd"])]), ["ab", "cd"])
    fails(13, "123456789", "TooLong")
    fails(13, "üüüüü", "TooLong", "value: text of 10 bytes are too many for char[8] (it holds 8)")
    fails(13, "a\0b", "WrongType")
    // Bytes are numbers: only `char` is text.
    assert.deepEqual(valueOf(27, [65, 66, 0, 0, 0, 0]), [65, 66, 0, 0, 0, 0])
    fails(27, "AB", "WrongType")
  })

  it("may be flexible or of nothing", () => {
    assert.deepEqual(valueOf(30, [2, 0, 0, 0, 9, 9]), { length: 2, data: [] })
    assert.deepEqual(bytesOf(30, { length: 2 }), [2, 0, 0, 0])
    fails(30, { data: [1] }, "TooLong")
    assert.deepEqual(valueOf(33, []), [])
  })
})

describe("structs", () => {
  const value = {
    ports: [1, 2, 3, 4],
    inner: { x: -1, y: 2 },
    whole: 0x2_0000_0001n,
    a: 1,
    b: 2,
    name: "eth0",
    mode: "PASS",
    on: true,
    next: 0xffff_8880_0000_0000n
  }

  it("are objects with the members of anonymous members, in order", () => {
    for (const order of ["little", "big"] as const) {
      const given = order === "little" ? value : { ...value, whole: 0x1_0000_0002n }
      const bytes = expectSuccess(encode(btf, 20, given, order))
      const decoded = expectSuccess(decode(btf, 20, bytes, order))
      assert.deepEqual(decoded, given)
      assert.deepEqual(Object.keys(decoded), Object.keys(value))
    }
  })

  it("may be partial, through typedefs, qualifiers and variables", () => {
    assert.deepEqual(bytesOf(20, {}), Array(48).fill(0))
    assert.deepEqual(bytesOf(23, { b: 7, name: undefined }), bytesOf(20, { b: 7 }))
    assert.strictEqual(bytesOf(22, { b: 7 })[20], 7)
    assert.deepEqual(bytesOf(20, { whole: 3, a: 4 }).slice(16, 20), [4, 0, 0, 0])
  })

  it("name the part that does not fit", () => {
    fails(20, { ports: [1, 2, 3, 70_000] }, "OutOfRange", "config.ports[3]: 70000 does not fit unsigned short")
    fails(21, { inner: { z: 1 } }, "UnknownMember", "config_t.inner.z: struct inner has no such member (it has x, y)")
    fails(23, { inner: 5 }, "WrongType", "settings.inner: struct inner needs an object, not the number 5")
    fails(20, { a: 1n << 40n }, "OutOfRange", "config.a: 1099511627776 does not fit int")
    fails(20, [], "WrongType")
    fails(20, null, "WrongType")
    fails(20, new Uint8Array(48), "WrongType")
    fails(32, { x: 1 }, "UnknownMember", "empty.x: struct empty has no such member (it has none)")
    assert.strictEqual(expectFailure(encode(btf, 20, { ports: [1, "x"] })).typeId, 2)
  })

  it("of a section are its variables", () => {
    const bytes = bytesOf(25, { count: 5, settings: { b: 9 } })
    assert.strictEqual(bytes.length, 56)
    assert.strictEqual(bytes[48], 5)
    const decoded = valueOf(25, bytes)
    assert.deepPropertyVal(decoded, "count", 5n)
    assert.nestedPropertyVal(decoded, "settings.b", 9)
    fails(25, { total: 1 }, "UnknownMember")
  })

  it("hold names that objects give a meaning", () => {
    const decoded = valueOf(46, [5, 0, 0, 0])
    assert.deepEqual(Object.entries(decoded), [["__proto__", 5]])
    assert.strictEqual(Object.getPrototypeOf(decoded), Object.prototype)
    assert.deepEqual(bytesOf(46, decoded), [5, 0, 0, 0])
    fails(20, { constructor: 1 }, "UnknownMember")
  })
})

describe("bit fields", () => {
  const value = { low: -3, middle: 0x155, flag: true, mode: "PASS", high: -0x12_3456_789an, last: 0xab }

  it("count from the low bit in little-endian and from the high bit in big-endian data", () => {
    for (const order of ["little", "big"] as const) {
      const bytes = bytesOf(26, value, order)
      assert.deepEqual(valueOf(26, bytes, order), value)
      assert.strictEqual(bytes[7], 0xab)
    }
    assert.deepEqual(bytesOf(26, { low: 1, middle: 3 }).slice(0, 2), [0b0001_1001, 0])
    assert.deepEqual(bytesOf(26, { low: 1, middle: 3 }, "big").slice(0, 2), [0b0010_0000, 0b0011_0000])
    assert.deepEqual(bytesOf(26, { flag: true }, "big").slice(0, 2), [0, 0b0000_1000])
    assert.deepEqual(bytesOf(26, { flag: true }).slice(0, 2), [0, 0b0001_0000])
  })

  it("are checked against their width, and leave their neighbours alone", () => {
    fails(26, { low: 4 }, "OutOfRange", "bits.low: 4 does not fit 3 bits of int")
    fails(26, { middle: 512 }, "OutOfRange")
    fails(26, { mode: 2 }, "OutOfRange")
    assert.deepEqual(bytesOf(26, { middle: 0x1ff, low: 0 }).slice(0, 2), [0xf8, 0x0f])
    assert.deepEqual(bytesOf(26, { low: 0, middle: 0x1ff }).slice(0, 2), [0xf8, 0x0f])
  })

  it("of old compilers are integers with an offset of their own", () => {
    assert.deepEqual(bytesOf(39, { field: -1 }), [0, 0xf8, 0, 0])
    assert.deepEqual(valueOf(39, [0xff, 0x88, 0xff, 0xff]), { field: -15 })
    assert.deepEqual(bytesOf(39, { field: -1 }, "big"), [0, 0x1f, 0, 0])
    assert.deepEqual(valueOf(47, [0xf0, 1, 0, 0, 0]), { field: 31 })
    fails(39, { field: 16 }, "OutOfRange", "with legacy.field: 16 does not fit 5 bits of legacy")
  })

  it("are written and read at any bit", () => {
    for (const little of [true, false]) {
      const bytes = new Uint8Array(24).fill(0x5a)
      writeBits(bytes, 1, 5, 128, (1n << 127n) | 5n, little)
      assert.strictEqual(readBits(bytes, 1, 5, 128, false, little), (1n << 127n) | 5n)
      assert.strictEqual(readBits(bytes, 1, 5, 128, true, little), -(1n << 127n) + 5n)
      assert.strictEqual(readBits(bytes, 1, 0, 5, false, little), little ? 0x1a : 0x0b)
      assert.strictEqual(bytes[0], 0x5a)
      assert.strictEqual(bytes[18], 0x5a)
    }
  })
})

describe("hostile types", () => {
  it("without a size have no values", () => {
    for (const id of [0, 34, 35, 43, 999]) {
      assert.strictEqual(expectFailure(decode(btf, id, new Uint8Array(64))).reason, "NoSize")
      fails(id, 0, "NoSize")
    }
  })

  it("that are malformed are refused", () => {
    assert.strictEqual(
      expectFailure(decode(btf, 36, new Uint8Array(8))).message,
      "outside.a: it lies outside struct outside"
    )
    for (const id of [37, 40]) {
      assert.strictEqual(expectFailure(decode(btf, id, new Uint8Array(16))).reason, "Unsupported")
    }
    const other = btfOf([
      int("int", 4),
      struct("wide bits", 4, [["a", 1, 0, 33]]),
      struct("late bits", 4, [["a", 1, 30, 3]]),
      struct("s", 4, []),
      struct("bits of struct", 4, [["a", 4, 0, 3]]),
      enumeration("odd", 3, false, []),
      datasec(".bss", 0, [[8, 0, 4]]),
      variable("v", 1, 1)
    ])
    for (const id of [2, 3, 5, 6, 7]) {
      assert.strictEqual(expectFailure(decode(other, id, new Uint8Array(8))).reason, "Unsupported", `type ${id}`)
    }
  })

  it("that contain themselves, or are too large, end in an error", () => {
    assert.strictEqual(expectFailure(decode(btf, 42, new Uint8Array(8))).reason, "TooDeep")
    const deep = Array.from({ length: 100 }).reduce<object>((inner) => ({ self: inner }), {})
    fails(42, deep, "TooDeep")
    fails(44, [], "TooLarge")
    assert.strictEqual(expectFailure(decode(btf, 1, new Uint8Array(3))).reason, "TooShort")
  })

  it("whose unions multiply end in an error", () => {
    const named = btfOf([
      int("int", 4),
      ...Array.from({ length: 40 }, (_, index) => union("u", 4, [["a", index + 1, 0], ["b", index + 1, 0]]))
    ])
    assert.strictEqual(expectFailure(decode(named, 41, new Uint8Array(4))).reason, "TooLarge")
    assert.deepEqual(expectSuccess(decode(named, 2, new Uint8Array(4))), { a: 0, b: 0 })
    const anonymous = btfOf([
      union("", 0, []),
      ...Array.from({ length: 30 }, (_, index) => union("", 4, [["", index + 1, 0], ["", index + 1, 0]]))
    ])
    assert.strictEqual(expectFailure(decode(anonymous, 31, new Uint8Array(4))).reason, "TooLarge")
    const nested = btfOf([
      int("int", 4),
      ...Array.from({ length: 40 }, (_, index) => union("", 4, [["", index + 1, 0]]))
    ])
    assert.strictEqual(expectFailure(decode(nested, 41, new Uint8Array(4))).reason, "TooDeep")
  })
})

describe("options", () => {
  it("give characters and octets as they are asked for", () => {
    const how = (id: number, bytes: ReadonlyArray<number>, options: BtfValue.ValueOptions) =>
      expectSuccess(decode(btf, id, Uint8Array.from(bytes), options))
    const hi = [104, 105, 0, 7, 0, 0, 0, 0xff]
    assert.deepEqual(how(13, hi, { text: false }), [104, 105, 0, 7, 0, 0, 0, -1])
    assert.deepEqual(how(13, hi, { text: false, octets: true }), Uint8Array.from(hi))
    assert.strictEqual(how(13, hi, { octets: true }), "hi")
    // What is no text is octets, if they are wanted.
    assert.deepEqual(how(13, [1, 2, 3, 4, 5, 6, 7, 8], { octets: true }), Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))
    assert.deepEqual(how(27, [1, 2, 3, 4, 5, 6], { octets: true }), Uint8Array.of(1, 2, 3, 4, 5, 6))
    assert.deepEqual(how(28, [...Array(12).keys()], { octets: true }), [
      Uint8Array.of(0, 1, 2, 3, 4, 5),
      Uint8Array.of(6, 7, 8, 9, 10, 11)
    ])
    // A copy: the record may be overwritten.
    const record = Uint8Array.of(1, 2, 3, 4, 5, 6)
    const octets = expectSuccess(decode(btf, 27, record, { octets: true }))
    record.fill(0)
    assert.deepEqual(octets, Uint8Array.of(1, 2, 3, 4, 5, 6))
    assert.strictEqual(how(2, [1, 2], { byteOrder: "big" }), 0x102)
  })

  it("let a flexible array take what follows", () => {
    const other = btfOf([
      int("int", 4, Btf.BTF_INT_SIGNED), // 1
      int("unsigned char", 1), // 2
      int("char", 1, Btf.BTF_INT_SIGNED), // 3
      struct("pair", 8, [["x", 1, 0], ["y", 1, 32]]), // 4
      array(4, 1, 0), // 5
      struct("list", 4, [["n", 1, 0], ["items", 5, 32]]), // 6
      array(3, 1, 0), // 7
      struct("padded", 8, [["n", 1, 0], ["kind", 2, 32], ["text", 7, 40]]), // 8
      struct("nested", 12, [["head", 1, 0], ["body", 8, 32]]), // 9
      struct("", 0, []), // 10
      struct("", 0, [["empty", 10, 0], ["words", 12, 0]]), // 11
      array(1, 1, 0), // 12
      union("", 0, [["", 11, 0], ["items", 5, 0]]), // 13
      struct("declared", 4, [["n", 1, 0], ["", 13, 32]]), // 14
      struct("marker", 8, [["start", 12, 0], ["a", 1, 0], ["b", 1, 32]]), // 15
      array(8, 1, 2), // 16
      array(10, 1, 0) // 17
    ])
    const flexible = { flexible: true }
    const there = (id: number, value: unknown, length: number): Uint8Array => {
      const bytes = expectSuccess(encode(other, id, value, flexible))
      assert.strictEqual(bytes.length, length)
      assert.deepEqual(expectSuccess(decode(other, id, bytes, flexible)), value)
      return bytes
    }
    there(6, { n: 2, items: [{ x: 1, y: 2 }, { x: 3, y: 4 }] }, 20)
    there(6, { n: 0, items: [] }, 4)
    assert.deepEqual(
      [...there(8, { n: 1, kind: 9, text: "flexible" }, 13)],
      [1, 0, 0, 0, 9, ...new TextEncoder().encode("flexible")]
    )
    // It begins in the padding, which has room for three characters.
    assert.strictEqual(expectSuccess(encode(other, 8, { text: "abc" }, flexible)).length, 8)
    there(9, { head: 7, body: { n: 1, kind: 2, text: "nested" } }, 15)
    there(12, [1, 2, 3], 12)
    assert.deepEqual(
      expectSuccess(decode(other, 14, Uint8Array.of(1, 0, 0, 0, ...Array<number>(8).fill(1)), flexible)),
      {
        n: 1,
        empty: {},
        words: [0x01010101, 0x01010101],
        items: [{ x: 0x01010101, y: 0x01010101 }]
      }
    )
    // Bytes that are no whole element are left; arrays that others follow, or in arrays, stay empty.
    assert.deepEqual(expectSuccess(decode(other, 6, new Uint8Array(4 + 15), flexible)), {
      n: 0,
      items: [{ x: 0, y: 0 }]
    })
    assert.deepEqual(expectSuccess(decode(other, 15, new Uint8Array(32), flexible)), { start: [], a: 0, b: 0 })
    assert.strictEqual(expectFailure(encode(other, 15, { start: [1] }, flexible)).reason, "TooLong")
    assert.strictEqual(expectFailure(encode(other, 16, [{ text: "no" }], flexible)).reason, "TooLong")
    assert.strictEqual(expectFailure(encode(other, 17, [{}], flexible)).reason, "TooLong")
    assert.strictEqual(
      expectFailure(encode(other, 6, { items: [{ x: "1" }] }, flexible)).message.slice(0, 16),
      "list.items[0].x:"
    )
    assert.strictEqual(expectFailure(encode(other, 6, { items: { length: 1 } }, flexible)).reason, "WrongType")
    assert.strictEqual(expectFailure(encode(other, 12, new Array(2 ** 27), flexible)).reason, "TooLarge")
  })
})

describe("codecs", () => {
  it("know their size, and fail early where a type has no values", () => {
    const config = expectSuccess(BtfValue.codec(btf, 21))
    assert.strictEqual(config.size, 48)
    const bytes = expectSuccess(config.encode({ a: 1, name: "x" }))
    assert.deepPropertyVal(expectSuccess(config.decode(bytes)), "name", "x")
    assert.strictEqual(
      expectFailure(config.decode(bytes.subarray(1))).message,
      "config_t: 47 bytes are given and the type has 48"
    )
    assert.strictEqual(expectFailure(config.encode({ ports: [1, 70_000] })).path, "config_t.ports[1]")
    assert.strictEqual(expectFailure(BtfValue.codec(btf, 0)).reason, "NoSize")
    // What a part has is asked when it is needed.
    assert.strictEqual(
      expectFailure(expectSuccess(BtfValue.codec(btf, 42)).decode(new Uint8Array(8))).reason,
      "TooDeep"
    )
  })
})

describe("values of all CPUs", () => {
  it("begin at multiples of eight bytes", () => {
    assert.deepEqual([0, 1, 8, 9, 12].map(BtfValue.perCpuStride), [0, 8, 8, 16, 16])
    const bytes = expectSuccess(BtfValue.encodePerCpu(btf, 1, [1, -2]))
    assert.deepEqual([...bytes], [1, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0])
    assert.deepEqual(expectSuccess(BtfValue.decodePerCpu(btf, 1, bytes)), [1, -2])
    assert.deepEqual(expectSuccess(BtfValue.decodePerCpu(btf, 1, bytes, "big")), [0x0100_0000, -0x0100_0001])
    assert.deepEqual(expectSuccess(BtfValue.decodePerCpu(btf, 1, new Uint8Array(0))), [])
    // A flexible array takes nothing of the next CPU's.
    assert.deepEqual(expectSuccess(BtfValue.decodePerCpu(btf, 30, new Uint8Array(16), { flexible: true })), [
      { length: 0, data: [] },
      { length: 0, data: [] }
    ])
  })

  it("name the CPU that does not fit", () => {
    assert.strictEqual(expectFailure(BtfValue.encodePerCpu(btf, 20, [{}, { a: "1" }])).path, "config[1].a")
    assert.strictEqual(expectFailure(BtfValue.decodePerCpu(btf, 1, new Uint8Array(12))).reason, "TooShort")
    assert.strictEqual(expectFailure(BtfValue.decodePerCpu(btf, 32, new Uint8Array(8))).reason, "TooShort")
    assert.strictEqual(expectFailure(BtfValue.encodePerCpu(btf, 6, new Array(2 ** 26))).reason, "TooLarge")
  })
})

describe("half precision", () => {
  it("goes there and back for every pattern", () => {
    for (let bits = 0; bits < 0x1_0000; bits++) {
      const value = halfToNumber(bits)
      if (Number.isNaN(value)) continue
      assert.strictEqual(numberToHalf(value), bits)
    }
    assert.isTrue(Number.isNaN(halfToNumber(numberToHalf(NaN))))
  })

  it("rounds to the nearest, ties to even", () => {
    assert.deepEqual(
      [1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -11 + 2 ** -30, 2 ** -25, 2 ** -25 * 1.01, 65519.99, 65520, 2049].map(
        numberToHalf
      ),
      [0x3c00, 0x3c02, 0x3c01, 0, 1, 0x7bff, 0x7c00, 0x6800]
    )
  })

  it("is a number of two bytes", () => {
    const other = btfOf([float("_Float16", 2)])
    assert.deepEqual([...expectSuccess(encode(other, 1, -2.5, "big"))], [0xc1, 0])
    assert.strictEqual(expectSuccess(decode(other, 1, Uint8Array.of(0, 0xc1))), -2.5)
    assert.strictEqual(expectFailure(encode(other, 1, 70_000)).message, "_Float16: 70000 does not fit _Float16")
    assert.deepEqual([...expectSuccess(encode(other, 1, Infinity))], [0, 0x7c])
  })
})
