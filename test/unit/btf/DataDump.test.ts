import { assert, describe, it } from "@effect/vitest"
import { dump } from "../../../src/btf/BtfDataDump.ts"
import type { DataDump, DataDumpOptions } from "../../../src/btf/BtfDataDump.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"

const types: ReadonlyArray<B.Rec> = [
  B.int("int", 4, 1), // 1
  B.int("char", 1, 1), // 2
  B.int("unsigned char", 1), // 3
  B.array(2, 1, 8), // 4
  B.struct("inner", 8, [["a", 1, 0], ["b", 1, 32]]), // 5
  B.struct("outer", 24, [["in", 5, 0], ["s", 4, 64], ["x", 3, 128], ["y", 3, 136], ["z", 1, 160]]), // 6
  B.array(1, 1, 4), // 7 int[4]
  B.array(5, 1, 3), // 8 inner[3]
  B.enumeration("mode", 4, false, [["NONE", 0], ["HIGH", 0x8000_0000]]), // 9
  B.enumeration("level", 4, true, [["LOW", -1], ["MIDDLE", 0]]), // 10
  B.enum64("wide", 8, false, [["ONE", 1n]]), // 11
  B.enum64("deep", 8, true, [["BELOW", -1n]]), // 12
  B.struct("enums", 28, [["m", 9, 0], ["l", 10, 32], ["w", 11, 64], ["d", 12, 128], ["z", 1, 192]]), // 13
  B.struct("bits", 8, [["a", 10, 0, 2], ["b", 1, 2, 30], ["c", 9, 32, 1], ["d", 1, 33, 31]]), // 14
  B.ptr(0), // 15
  B.struct("pointers", 16, [["p", 15, 0], ["q", 15, 64]]), // 16
  B.struct("empty", 0, []), // 17
  B.array(17, 1, 0xffff_ffff), // 18
  B.struct("holder", 4, [["e", 18, 0], ["i", 1, 0]]), // 19
  B.float("double", 8), // 20
  B.float("float", 4), // 21
  B.float("_Float16", 2), // 22
  B.float("long double", 16), // 23
  B.int("__int128", 16, 1), // 24
  B.int("medium", 3, 1), // 25
  B.variable("v", 6, 0), // 26
  B.variable("w", 1, 2), // 27
  B.variable("g", 1, 1), // 28
  B.datasec(".data", 32, [[26, 0, 24], [27, 24, 4], [28, 28, 4]]), // 29
  B.union("", 8, [["n", 1, 0], ["in", 5, 0]]), // 30
  B.struct("outside", 12, [["", 30, 0], ["t", 1, 64]]), // 31
  B.struct("x", 4, [["i", 1, 0]]), // 32
  B.struct("x", 4, [["i", 1, 0]]), // 33
  B.typedef("x", 33), // 34
  B.struct("names", 16, [["a", 32, 0], ["b", 33, 32], ["c", 34, 64], ["d", 33, 96]]), // 35
  B.funcProto(0, []), // 36
  B.ptr(36), // 37
  B.array(37, 1, 2), // 38
  B.ptr(38), // 39
  B.funcProto(39, [["", 34], ["n", 30]]), // 40
  B.ptr(40), // 41
  B.constant(41), // 42
  B.funcProto(1, [["a", 1], ["b", 15], ["", 0]]), // 43
  B.array(43, 1, 1), // 44, which C does not have
  B.typeTag("rcu", 32), // 45
  B.ptr(45), // 46
  B.ptr(46), // 47
  B.enumeration("", 4, false, [["ANON", 1]]), // 48
  B.fwd("opaque", true), // 49
  B.ptr(49), // 50
  B.struct("self", 8, [["self", 51, 0]]), // 51
  B.ptr(52), // 52: points to itself
  B.int("legacy", 4, 1, 5, 3), // 53
  B.struct("old", 4, [["f", 53, 0], ["g", 53, 8]]), // 54
  B.array(3, 1, 6), // 55 unsigned char[6]
  B.array(4, 1, 2), // 56 char[2][8]
  B.struct("unaligned", 5, [["c", 3, 0], ["l", 10, 8]]), // 57
  B.declTag("tag", 6, -1), // 58
  B.datasec(".odd", 4, [[1, 0, 4]]), // 59
  B.struct("spread", 5, [["a", 1, 0, 4], ["b", 1, 4, 32]]), // 60: five bytes of a four-byte type
  B.array(7, 1, 2), // 61 int[2][4]
  B.struct("after", 24, [["in", 8, 0]]), // 62
  B.struct("ends", 8, [["f", 49, 0]]), // 63: a member without a size
  B.array(8, 1, 0), // 64
  B.struct("flexible", 4, [["n", 1, 0], ["data", 64, 32]]), // 65
  B.ptr(43), // 66
  B.array(66, 1, 3), // 67
  B.enumeration("eight", 8, true, [["FIVE", 5]]), // 68
  B.struct("pointers as bits", 4, [["p", 15, 0, 3], ["d", 20, 3, 9]]), // 69
  B.int("long", 8), // 70
  B.struct("wide", 8, [["a", 70, 0, 36], ["b", 70, 36, 28]]) // 71: a zero of more than 32 bits beside other bits
]
const btf = B.btfOf(types)

const outer = Uint8Array.of(1, 0, 0, 0, 5, 0, 0, 0, 104, 105, 0, 0, 0, 0, 0, 0, 65, 7, 0, 0, 9, 0, 0, 0)
const dumped = (id: number, bytes: ReadonlyArray<number> | Uint8Array, options: DataDumpOptions = {}): DataDump =>
  B.expectSuccess(dump(btf, id, Uint8Array.from(bytes), options))
const compact = (id: number, bytes: ReadonlyArray<number> | Uint8Array, options: DataDumpOptions = {}): string => {
  const whole = dumped(id, bytes, { compact: true, ...options })
  assert.isUndefined(whole.error)
  return whole.text
}
const cut = (id: number, bytes: ReadonlyArray<number>, options: DataDumpOptions = {}): readonly [string, string] => {
  const { error, text } = dumped(id, bytes, { compact: true, ...options })
  return [text, `${error?.reason} ${error?.path}`]
}

describe("the format", () => {
  it("has names, types and values, one to a line", () => {
    assert.deepEqual(dumped(6, outer), {
      size: 24,
      error: undefined,
      text: `(struct outer){
	.in = (struct inner){
		.a = (int)1,
		.b = (int)5,
	},
	.s = (char[8])[
		'h',
		'i',
	],
	.x = (unsigned char)65,
	.y = (unsigned char)7,
	.z = (int)9,
}`
    })
  })

  it("goes on one line, without names, with zeroes, further in, by other steps", () => {
    assert.strictEqual(
      compact(6, outer, { skipNames: true, emitZeroes: true }),
      "{{1,5,},['h','i','\\0',],65,7,9,}"
    )
    assert.strictEqual(
      dumped(5, [1, 0, 0, 0], { indent: "..", level: 2 }).text,
      "....(struct inner){\n.......a = (int)1,\n"
    )
    assert.strictEqual(dumped(5, Array(8).fill(0), { level: -5 }).text, "(struct inner){\n}")
    assert.strictEqual(
      compact(5, [0, 0, 0, 1, 1, 0, 0, 0], { byteOrder: "big" }),
      "(struct inner){.a = (int)1,.b = (int)16777216,}"
    )
  })

  it("leaves out zeroes but for elements of arrays", () => {
    assert.strictEqual(compact(7, [0, 0, 0, 0, 1, 0, 0, 0, ...Array<number>(8).fill(0)]), "(int[4])[0,1,0,0,]")
    assert.strictEqual(compact(62, Array(24).fill(0)), "(struct after){}")
    assert.strictEqual(
      compact(62, [...Array<number>(8).fill(0), 1, ...Array<number>(15).fill(0)]),
      "(struct after){.in = (struct inner[3])[{.a = 0,.b = 0,},{.a = 1,.b = 0,},{.a = 0,.b = 0,},],}"
    )
    assert.strictEqual(compact(1, [0, 0, 0, 0]), "(int)0")
  })

  it("takes for zero what would be shown as zero, whatever lies behind or beside it", () => {
    const text = Uint8Array.from(outer)
    text.set([0, 66, 67, 0], 8)
    assert.strictEqual(
      compact(6, text),
      "(struct outer){.in = (struct inner){.a = (int)1,.b = (int)5,},.x = (unsigned char)65,.y = (unsigned char)7,.z = (int)9,}"
    )
    assert.include(compact(6, text, { emitZeroes: true }), ".s = (char[8])['\\0',],")
    assert.strictEqual(compact(71, [0, 0, 0, 0, 0xf0, 0, 0, 0]), "(struct wide){.b = (long)0xf,}")
  })

  it("keeps anonymous members where they are", () => {
    assert.strictEqual(
      compact(31, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]),
      "(struct outside){(union){.n = (int)1,.in = (struct inner){.a = (int)1,},},.t = (int)2,}"
    )
  })

  it("shows one-byte integers of arrays as characters up to a NUL", () => {
    assert.strictEqual(compact(4, [65, 0, 66, 0, 0, 0, 0, 0]), "(char[8])['A',]")
    assert.strictEqual(compact(4, [39, 92, 200, 10, 127, 32, 126, 31]), "(char[8])[''','\\',-56,10,127,' ','~',31,]")
    assert.strictEqual(compact(55, [200, 65, 10, 0, 0, 0]), "(unsigned char[6])[200,'A',10,]")
    assert.strictEqual(
      compact(56, [...Array<number>(8).fill(0), 66, ...Array<number>(7).fill(0)]),
      "(char[2][8])[[],['B',],]"
    )
  })

  it("shows strings if asked, with a separator behind them", () => {
    const strings = { emitStrings: true }
    assert.strictEqual(
      dumped(6, outer, strings).text.split("\n").slice(5, 7).join("\n"),
      "\t.s = (char[8])\"hi\",\n\t.x = (unsigned char)65,"
    )
    assert.strictEqual(compact(55, [200, 65, 10, 0, 7, 7], strings), "(unsigned char[6])\"\\xc8A\\x0a\"")
    // Without a NUL it is an array like any other.
    assert.strictEqual(compact(55, [65, 66, 67, 68, 69, 70], strings), "(unsigned char[6])['A','B','C','D','E','F',]")
    assert.strictEqual(compact(4, Array(8).fill(0), { ...strings, emitZeroes: true }), "(char[8])\"\"")
  })

  it("shows variables and sections with their linkage", () => {
    assert.strictEqual(compact(28, [7, 0, 0, 0]), "int g = (int)7")
    assert.strictEqual(dumped(27, [7, 0, 0, 0], { level: 1 }).text, "\textern int w = (int)7")
    assert.strictEqual(
      compact(29, [...outer, 1, 0, 0, 0, 0, 0, 0, 0], { skipNames: true }),
      "SEC(\".data\") static struct outer v = {{1,5,},['h','i',],65,7,9,};extern int w = 1;int g = 0;"
    )
    assert.deepEqual(cut(59, [1, 0, 0, 0]), ["SEC(\".odd\") ", "Unsupported .odd.int"])
  })
})

describe("values", () => {
  it("of enums are names, or numbers with a separator", () => {
    assert.strictEqual(
      compact(13, [
        0,
        0,
        0,
        128,
        255,
        255,
        255,
        255,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        ...Array<number>(8).fill(255),
        1,
        0,
        0,
        0
      ]),
      "(struct enums){.m = (enum mode)HIGH,.l = (enum level)LOW,.w = (enum wide)ONE,.d = (enum deep)BELOW,.z = (int)1,}"
    )
    assert.strictEqual(
      compact(13, [
        5,
        0,
        0,
        0,
        254,
        255,
        255,
        255,
        ...Array<number>(8).fill(255),
        254,
        ...Array<number>(7).fill(255),
        1,
        0,
        0,
        0
      ]),
      "(struct enums){.m = (enum mode)5,.l = (enum level)-2,.w = (enum wide)18446744073709551615ULL," +
        ".d = (enum deep)-2LL,.z = (int)1,}"
    )
    assert.strictEqual(
      compact(57, [1, 255, 255, 255, 255]),
      "(struct unaligned){.c = (unsigned char)1,.l = (enum level)LOW,}"
    )
    assert.strictEqual(compact(68, [0, 0, 0, 0, 1, 0, 0, 0]), "(enum eight)4294967296")
    assert.strictEqual(compact(48, [1, 0, 0, 0]), "(enum )ANON")
  })

  it("of bit fields are hexadecimal, in both byte orders", () => {
    assert.strictEqual(
      compact(14, [0xff, 0, 0, 0, 0, 0, 0, 0x80]),
      "(struct bits){.a = (enum level)LOW,.b = (int)0x3f,.d = (int)0x40000000,}"
    )
    assert.strictEqual(
      compact(14, [0xff, 0, 0, 0, 0, 0, 0, 0x80], { byteOrder: "big" }),
      "(struct bits){.a = (enum level)LOW,.b = (int)0x3f000000,.d = (int)0x80,}"
    )
    // A zero bit field whose storage is not zero, and one that takes a fifth byte.
    assert.strictEqual(compact(14, [4, 0, 0, 0, 0, 0, 0, 0]), "(struct bits){.b = (int)0x1,}")
    assert.strictEqual(compact(60, [0x10, 0, 0, 0, 0xf]), "(struct spread){.b = (int)0xf0000001,}")
    assert.deepEqual(cut(60, [0x10, 0, 0, 0]), ["(struct spread){", "TooShort spread.b"])
    assert.strictEqual(compact(54, [0xff, 0xff, 0, 0]), "(struct old){.f = (legacy)0x1f,.g = (legacy)0x1f,}")
    assert.strictEqual(compact(54, [7, 7, 0, 0]), "(struct old){}")
  })

  it("of pointers are hexadecimal, null too", () => {
    assert.strictEqual(
      compact(16, [0, 0, 0, 0, 0, 0, 0, 0, 0xef, 0xbe, 0, 0, 0, 0, 0xff, 0xff], { emitZeroes: true }),
      "(struct pointers){.p = (void *)0x0,.q = (void *)0xffff00000000beef,}"
    )
  })

  it("of integers are decimal up to eight bytes", () => {
    assert.strictEqual(compact(24, [...Array<number>(15).fill(0), 128]), "(__int128)0x80000000000000000000000000000000")
    assert.strictEqual(compact(24, [1, ...Array<number>(15).fill(0)]), "(__int128)0x1")
    assert.strictEqual(compact(25, [0xfe, 0xff, 0xff]), "(medium)-2")
  })

  it("of floating-point numbers have six decimals, as C prints them", () => {
    const double = (value: number): string => compact(20, new Uint8Array(Float64Array.of(value).buffer)).slice(8)
    assert.deepEqual([0, -0, 1.5, -2.25, 1e-7, 0.0078125, 0.0234375, 1e22, Infinity, -Infinity, NaN].map(double), [
      "0.000000",
      "-0.000000",
      "1.500000",
      "-2.250000",
      "0.000000",
      // Ties go to the even digit.
      "0.007812",
      "0.023438",
      "10000000000000000000000.000000",
      "inf",
      "-inf",
      "nan"
    ])
    assert.strictEqual(double(Number.MAX_VALUE).length, 309 + 7)
    assert.strictEqual(double(5e-324), "0.000000")
    assert.strictEqual(compact(21, new Uint8Array(Float32Array.of(0.1).buffer)), "(float)0.100000")
    assert.strictEqual(compact(22, [0, 0xc0]), "(_Float16)-2.000000")
    assert.strictEqual(compact(22, [0xff, 0x7b]), "(_Float16)65504.000000")
    // 1.5 in x86's extended precision and in IEEE's quadruple.
    assert.strictEqual(compact(23, [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0x3f, 1, 2, 3, 4, 5, 6]), "(long double)1.500000")
    assert.strictEqual(
      compact(23, [0x3f, 0xff, 0x80, ...Array<number>(13).fill(0)], { byteOrder: "big" }),
      "(long double)1.500000"
    )
  })
})

describe("types before values", () => {
  it("are declarations without qualifiers", () => {
    const cast = (id: number): string => {
      const { text } = dumped(id, new Uint8Array(64), { compact: true, emitZeroes: true })
      return text.replace(/^\((.*)\)(0x0|\[0x0,.*)$/, "$1")
    }
    assert.strictEqual(cast(37), "void (*)(void)")
    assert.strictEqual(cast(39), "void (*(*)[2])(void)")
    assert.strictEqual(cast(42), "void (*(* (*)(x, union n))[2])(void)")
    assert.strictEqual(cast(47), "struct x **")
    assert.strictEqual(cast(50), "union opaque *")
    assert.strictEqual(cast(67), "int (*[3])(int a, void *b, ...)")
  })

  it("are numbered where a name is used twice", () => {
    assert.strictEqual(
      compact(35, [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0]),
      "(struct names){.a = (struct x){.i = (int)1,},.b = (struct x___2){.i = (int)2,},.c = (x){.i = (int)3,}," +
        ".d = (struct x___2){.i = (int)4,},}"
    )
  })
})

describe("bytes that are too few", () => {
  it("end the text within a struct", () => {
    assert.deepEqual(cut(6, [1, 0, 0, 0, 5, 0], { skipNames: true }), ["{{1,", "TooShort outer.in.b"])
    assert.deepEqual(cut(6, [...outer.subarray(0, 10)]), [
      "(struct outer){.in = (struct inner){.a = (int)1,.b = (int)5,},.s = (char[8])['h','i',],",
      "TooShort outer.s[2]"
    ])
    assert.deepEqual(cut(1, [1, 2, 3]), ["(int)", "TooShort int"])
  })

  it("end an array, and that is reported", () => {
    assert.deepEqual(cut(7, [1, 0, 0, 0, 2, 0]), ["(int[4])[1,]", "TooShort value[1]"])
    assert.deepEqual(cut(61, [1, 0, 0, 0, 2, 0]), ["(int[2][4])[[1,],]", "TooShort value[0][1]"])
    assert.deepEqual(cut(8, [1, 0, 0, 0, 2, 0, 0, 0]), ["(struct inner[3])[{.a = 1,.b = 2,},]", "TooShort value[1]"])
    assert.deepEqual(cut(8, [1, 0, 0, 0, 2, 0]), ["(struct inner[3])[{.a = 1,", "TooShort value[0].b"])
    // A NUL is the end of characters, whatever else is missing.
    assert.strictEqual(compact(4, [65, 0]), "(char[8])['A',]")
    assert.deepEqual(cut(4, [65, 66]), ["(char[8])['A','B',]", "TooShort value[2]"])
  })

  it("are not zero where they are missing", () => {
    assert.deepEqual(cut(6, [0, 0, 0, 0]), ["(struct outer){.in = (struct inner){", "TooShort outer.in.b"])
  })
})

describe("hostile types", () => {
  it("without a size fail before anything is written", () => {
    for (const id of [0, 36, 49, 999]) {
      assert.strictEqual(B.expectFailure(dump(btf, id, new Uint8Array(8))).reason, "NoSize", `type ${id}`)
    }
    assert.deepEqual(cut(58, [...outer]), ["(tag)", "NoSize tag"])
    assert.deepEqual(cut(63, Array(8).fill(1)), ["(struct ends){", "NoSize ends.f"])
  })

  it("with bit fields of what has none read it whole", () => {
    assert.deepEqual(cut(69, [1, 0, 0, 0]), ["(struct pointers as bits){", "TooShort pointers as bits.p"])
    assert.include(cut(69, [0xff, 0, 0, 0, 0, 0, 0, 0])[0], ".p = (void *)0xff,.d = (double)0.000000,")
  })

  it("of nothing hold nothing, however often", () => {
    assert.strictEqual(
      compact(19, [1, 0, 0, 0], { emitZeroes: true }),
      "(struct holder){.e = (struct empty[4294967295])[],.i = (int)1,}"
    )
    assert.strictEqual(
      compact(65, [1, 0, 0, 0, 1, 1, 1, 1], { emitZeroes: true }),
      "(struct flexible){.n = (int)1,.data = (struct inner[0][3])[],}"
    )
  })

  it("that contain themselves end in an error", () => {
    assert.strictEqual(dumped(51, Array(8).fill(1)).error?.reason, "TooDeep")
    assert.strictEqual(dumped(51, Array(8).fill(1), { emitZeroes: true }).error?.reason, "TooDeep")
    assert.match(dumped(52, Array(8).fill(1)).text, /^\(….*\)0x/)
  })

  it("whose unions multiply, or whose names are long, end in an error", () => {
    const unions = B.btfOf([
      B.int("int", 4),
      ...Array.from({ length: 40 }, (_, index) => B.union("u", 4, [["a", index + 1, 0], ["b", index + 1, 0]]))
    ])
    for (const bytes of [new Uint8Array(4), Uint8Array.of(0, 0, 0, 1)]) {
      for (const emitZeroes of [true, false]) {
        const { error, text } = B.expectSuccess(dump(unions, 41, bytes, { emitZeroes }))
        if (emitZeroes || bytes[3] === 1) assert.strictEqual(error?.reason, "TooLarge")
        assert.isBelow(text.length, 2 ** 21)
      }
    }
    const padded = B.btfOf([
      B.int("int", 4),
      B.struct("s", 8, [["i", 1, 0]]),
      ...Array.from({ length: 40 }, (_, index) => B.union("u", 8, [["a", index + 2, 0], ["b", index + 2, 0]]))
    ])
    // Bytes that are not zero, in padding alone: every way through the unions has to be looked at.
    const { error } = B.expectSuccess(dump(padded, 42, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1)))
    assert.strictEqual(error?.reason, "TooLarge")
    const named = B.btfOf([
      B.int("int", 4),
      B.struct("s", 4, Array.from({ length: 2000 }, () => ["m".repeat(1000), 1, 0] as const))
    ])
    assert.strictEqual(B.expectSuccess(dump(named, 2, Uint8Array.of(1, 1, 1, 1))).error?.reason, "TooLarge")
    assert.strictEqual(
      dumped(5, Array(8).fill(1), { indent: " ".repeat(1 << 20), level: 1 << 20 }).error?.reason,
      "TooLarge"
    )
  })
})
