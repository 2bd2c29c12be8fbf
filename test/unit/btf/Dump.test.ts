import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import type { Btf } from "../../../src/btf/Btf.ts"
import * as BtfDump from "../../../src/btf/BtfDump.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"

/** The types in order of ids, without what makes them a header. */
const body = (btf: Btf): string => {
  const { problems, text } = BtfDump.collect(BtfDump.toC(btf, { sorted: false, header: false }))
  assert.deepStrictEqual(problems.map(String), [])
  return text
}

const dumped = (types: ReadonlyArray<B.Rec>): string => body(B.btfOf(types))

/** Definitions, each with the empty line after it. */
const lines = (...text: ReadonlyArray<string>): string => text.map((line) => `${line}\n`).join("")

const int = B.int("int", 4, 1)
const char = B.int("char", 1, 1)

describe("order", () => {
  it("declares what is only pointed to, and defines what is embedded first", () => {
    const text = dumped([
      int,
      B.struct("A", 8, [["b", 3, 0]]),
      B.ptr(4),
      B.struct("B", 8, [["a", 2, 0]])
    ])
    assert.strictEqual(
      text,
      lines("struct B;", "", "struct A {", "\tstruct B *b;", "};", "", "struct B {", "\tstruct A a;", "};", "")
    )
  })

  it("writes a typedef before the struct that it is used in, and declares that struct for it", () => {
    const text = dumped([
      B.typedef("cb_t", 2),
      B.ptr(3),
      B.funcProto(0, [["s", 4]]),
      B.ptr(5),
      B.struct("S", 16, [["cb", 1, 0], ["n", 4, 64]])
    ])
    assert.strictEqual(
      text,
      lines(
        "struct S;",
        "",
        "typedef void (*cb_t)(struct S *s);",
        "",
        "struct S {",
        "\tcb_t cb;",
        "\tstruct S *n;",
        "};",
        ""
      )
    )
  })

  it("writes a typedef of a struct while it is inside that struct", () => {
    const text = dumped([B.struct("node", 8, [["next", 2, 0]]), B.ptr(3), B.typedef("node_t", 1)])
    assert.strictEqual(
      text,
      lines("struct node;", "", "typedef struct node node_t;", "", "struct node {", "\tnode_t *next;", "};", "")
    )
  })

  it("defines the element of an array first, though only a pointer leads to the array", () => {
    const text = dumped([
      B.struct("H", 8, [["p", 2, 0]]),
      B.ptr(3),
      B.array(4, 5, 2),
      B.struct("E", 4, [["x", 5, 0]]),
      int
    ])
    assert.strictEqual(text, lines("struct E {", "\tint x;", "};", "", "struct H {", "\tstruct E (*p)[2];", "};", ""))
  })

  it("leaves referenced enums without a name to where they are used, and writes others", () => {
    const text = dumped([
      B.enumeration("", 4, false, [["ALONE", 1]]),
      B.struct("s", 4, [["used", 3, 0]]),
      B.enumeration("", 4, false, [["USED", 1]])
    ])
    assert.strictEqual(
      text,
      lines("enum {", "\tALONE = 1,", "};", "", "struct s {", "\tenum {", "\t\tUSED = 1,", "\t} used;", "};", "")
    )
  })

  it("takes the types of the base, too", () => {
    const base = B.btfOf([int, B.typedef("number", 1)])
    const split = B.btfOf([B.struct("s", 4, [["n", 2, 0]])], { base })
    assert.strictEqual(body(split), lines("typedef int number;", "", "struct s {", "\tnumber n;", "};", ""))
  })
})

describe("names", () => {
  it("numbers the repetitions of tags, and of typedefs and enumerators", () => {
    const text = dumped([
      int,
      B.struct("x", 4, [["a", 1, 0]]),
      B.typedef("x", 2),
      B.enumeration("x", 4, false, [["x", 1]]),
      B.struct("x", 4, [["b", 1, 0]]),
      B.struct("int", 4, [["c", 1, 0]]),
      B.fwd("x", false)
    ])
    assert.strictEqual(
      text,
      lines(
        "struct x {",
        "\tint a;",
        "};",
        "",
        "typedef struct x x;",
        "",
        "enum x___2 {",
        "\tx___2 = 1,",
        "};",
        "",
        "struct x___3 {",
        "\tint b;",
        "};",
        "",
        // The integer has taken the tag.
        "struct int___2 {",
        "\tint c;",
        "};",
        "",
        "struct x;",
        ""
      )
    )
  })

  it("takes names for equal by their bytes, not by their place", () => {
    const btf = B.btfOf([int, B.struct("a", 4, [["n", 1, 0]]), B.struct("a", 4, [["m", 1, 0]])], {
      repeatStrings: true
    })
    assert.include(body(btf), "struct a___2 {")
  })

  it("cuts a numbered name to 255 bytes", () => {
    const long = "n".repeat(300)
    const text = dumped([B.struct(long, 0, []), B.struct(long, 0, [])])
    assert.strictEqual(text, lines(`struct ${long} {};`, "", `struct ${"n".repeat(255)} {};`, ""))
  })

  it("copies bytes that are no UTF-8", () => {
    const strings = Uint8Array.of(0, 0xff, 0xfe, 0)
    const btf = B.btfOf([{ kind: 4, nameOffset: 1, word: 0 }], { strings })
    const parts = [...BtfDump.toC(btf, { header: false })].map((part) => [...B.expectSuccess(part)])
    assert.deepStrictEqual(parts, [[...Buffer.from("struct "), 0xff, 0xfe, ...Buffer.from(" {};\n\n")]])
  })

  it("keeps the number of each name in a dumper", () => {
    const dumper = BtfDump.makeDumper(B.btfOf([B.struct("a", 0, []), B.struct("a", 0, [])]))
    assert.strictEqual(B.expectSuccess(BtfDump.dumpType(dumper, 2)).text, "struct a {};\n\n")
    assert.strictEqual(B.expectSuccess(BtfDump.dumpType(dumper, 2)).text, "")
    assert.strictEqual(B.expectSuccess(BtfDump.declareType(dumper, 1, { name: "x" })), "struct a___2 x")
    assert.strictEqual(B.expectSuccess(BtfDump.dumpType(dumper, 1)).text, "struct a___2 {};\n\n")
  })
})

describe("structs", () => {
  const long = B.int("long", 8, 1)
  const struct = (size: number, members: ReadonlyArray<B.MemberRec>): ReadonlyArray<string> =>
    dumped([char, int, B.int("unsigned int", 4), long, B.struct("s", size, members)]).trimEnd().split("\n")

  it("fills gaps so that members lie where they should", () => {
    assert.deepStrictEqual(struct(32, [["a", 1, 0], ["b", 1, 64], ["c", 2, 192]]), [
      "struct s {",
      "\tchar a;",
      "\tlong: 0;",
      "\tchar b;",
      "\tlong: 64;",
      "\tint c;",
      "\tlong: 0;",
      "};"
    ])
  })

  it("fills gaps between bit fields by their width", () => {
    assert.deepStrictEqual(struct(16, [["a", 3, 0, 3], ["b", 3, 8, 4], ["c", 3, 32, 5], ["d", 1, 64]]), [
      "struct s {",
      "\tunsigned int a: 3;",
      "\tchar: 5;",
      "\tunsigned int b: 4;",
      "\tint: 20;",
      "\tunsigned int c: 5;",
      "\tlong: 0;",
      "\tchar d;",
      "\tlong: 0;",
      "};"
    ])
  })

  it("fills a struct without members, and keeps an empty one in a line", () => {
    assert.deepStrictEqual(struct(4, []), ["struct s {", "\tint: 32;", "};"])
    assert.deepStrictEqual(struct(0, []), ["struct s {};"])
  })

  it("is packed where a member or the size breaks alignment", () => {
    assert.deepStrictEqual(struct(5, [["c", 2, 0]]), [
      "struct s {",
      "\tint c;",
      "\tchar: 8;",
      "} __attribute__((packed));"
    ])
    assert.include(struct(12, [["c", 1, 0], ["l", 4, 8]]).join("\n"), "} __attribute__((packed))")
  })

  it("takes pointers of four bytes where the blob has them", () => {
    const btf = B.btfOf([B.int("long", 4, 1), char, B.struct("s", 8, [["c", 2, 0], ["d", 2, 32]])])
    assert.strictEqual(body(btf), lines("struct s {", "\tchar c;", "\tlong: 0;", "\tchar d;", "\tlong: 0;", "};", ""))
  })

  it("spells anonymous types in place, one tab deeper each", () => {
    const text = dumped([
      int,
      B.struct("O", 8, [["", 3, 0], ["t", 1, 32]]),
      B.union("", 4, [["q", 4, 0], ["w", 1, 0]]),
      B.enumeration("", 4, false, [["K1", 1]])
    ])
    assert.strictEqual(
      text,
      lines(
        "struct O {",
        "\tunion {",
        "\t\tenum {",
        "\t\t\tK1 = 1,",
        "\t\t} q;",
        "\t\tint w;",
        "\t};",
        "\tint t;",
        "};",
        ""
      )
    )
  })
})

describe("enums", () => {
  const wide = (signed: boolean, value: bigint): string => dumped([B.enum64("e", 8, signed, [["A", value]])])

  it("has values by their sign, and attributes by their size", () => {
    assert.strictEqual(
      dumped([B.enumeration("e", 1, true, [["A", -1]]), B.enumeration("f", 4, false, [["B", -1]])]),
      lines("enum e {", "\tA = -1,", "} __attribute__((mode(byte)));", "", "enum f {", "\tB = 4294967295,", "};", "")
    )
    assert.include(dumped([B.enumeration("h", 2, false, [["A", 1]])]), "} __attribute__((mode(HI)));")
    assert.include(wide(true, -1n), "\tA = -1LL,\n};")
    assert.include(wide(false, 1n), "\tA = 1ULL,\n} __attribute__((mode(word)));")
    assert.include(wide(false, 0xffff_ffff_ffff_ffffn), "\tA = 18446744073709551615ULL,\n};")
    assert.include(dumped([B.enumeration("e", 8, false, [["A", 1]])]), "} __attribute__((mode(word)));")
  })

  it("numbers enumerators that come again", () => {
    const text = dumped([B.enumeration("a", 4, false, [["A", 1]]), B.enumeration("b", 4, false, [["A", 2]])])
    assert.include(text, "enum b {\n\tA___2 = 2,\n};")
  })

  it("names an enum without values", () => {
    assert.strictEqual(dumped([B.enumeration("e", 4, false, [])]), "enum e;\n\n")
  })
})

describe("declarations", () => {
  const declare = (types: ReadonlyArray<B.Rec>, id: number, name = "m"): string =>
    B.expectSuccess(BtfDump.typeDeclaration(B.btfOf(types), id, name))

  const chain = [
    int,
    B.constant(1),
    B.volatile(2),
    B.ptr(3),
    B.restrict(4),
    B.array(5, 1, 0),
    B.constant(6),
    B.ptr(7),
    B.funcProto(8, [["", 5]]),
    B.ptr(9),
    B.funcProto(10, []),
    B.ptr(11)
  ]

  it("writes chains from the inside out", () => {
    assert.strictEqual(declare(chain, 5), "const volatile int * restrict m")
    assert.strictEqual(declare(chain, 6), "const volatile int * restrict m[0]")
    assert.strictEqual(declare(chain, 7), "const volatile int * restrict m[0]")
    assert.strictEqual(declare(chain, 8), "const volatile int * restrict (*m)[0]")
    assert.strictEqual(declare(chain, 10), "const volatile int * restrict (* (*m)(const volatile int * restrict))[0]")
    assert.strictEqual(
      declare(chain, 12),
      "const volatile int * restrict (* (* (*m)(void))(const volatile int * restrict))[0]"
    )
  })

  it("writes arrays, prototypes and tags", () => {
    const types = [
      int,
      B.array(1, 1, 4),
      B.array(2, 1, 2),
      B.ptr(2),
      B.ptr(6),
      B.funcProto(1, [["x", 1], ["", 0]]),
      B.array(5, 1, 3),
      B.typeTag("rcu", 1),
      B.ptr(8),
      B.typeTag("address_space(1)", 0, true),
      B.ptr(10),
      B.volatile(6),
      B.ptr(12),
      B.funcProto(0, [["", 0]])
    ]
    assert.strictEqual(declare(types, 3), "int m[2][4]")
    assert.strictEqual(declare(types, 4), "int (*m)[4]")
    assert.strictEqual(declare(types, 7), "int (*m[3])(int x, ...)")
    assert.strictEqual(declare(types, 9), "int __attribute__((btf_type_tag(\"rcu\"))) *m")
    assert.strictEqual(declare(types, 11), "void __attribute__((address_space(1))) *m")
    assert.strictEqual(declare(types, 13), "int (*m)(int x, ...)")
    assert.strictEqual(declare(types, 14), "void m(void)")
    assert.strictEqual(declare(types, 9, ""), "int __attribute__((btf_type_tag(\"rcu\"))) *")
    assert.strictEqual(declare(types, 0), "void m")
  })

  it("follows its options", () => {
    const btf = B.btfOf([int, B.constant(1), B.struct("", 4, [["a", 2, 0]]), B.constant(3), B.ptr(4)])
    const options = (option: BtfDump.DeclarationOptions) =>
      B.expectSuccess(BtfDump.typeDeclaration(btf, 5, "p", option))
    assert.strictEqual(options({}), "const struct {\n\tconst int a;\n} *p")
    assert.strictEqual(options({ level: 2 }), "const struct {\n\t\t\tconst int a;\n\t\t} *p")
    assert.strictEqual(options({ stripModifiers: true }), "struct {\n\tint a;\n} *p")
    assert.strictEqual(options({ omitBodies: true, stripModifiers: true }), "struct *p")
  })

  it("refuses what C cannot declare, and types that do not exist", () => {
    const btf = B.btfOf(B.everyKind)
    const failure = (id: number) => B.expectFailure(BtfDump.typeDeclaration(btf, id, "x"))
    assert.strictEqual(failure(14).reason, "WrongKind")
    assert.strictEqual(failure(99).reason, "BadTypeId")
    assert.strictEqual(B.expectFailure(BtfDump.dumpType(BtfDump.makeDumper(btf), 99)).reason, "BadTypeId")
  })

  it("goes on after a refusal", () => {
    const dumper = BtfDump.makeDumper(B.btfOf([B.struct("", 4, [["v", 2, 0]]), B.variable("v", 3, 1), int]))
    assert.isTrue(Result.isFailure(BtfDump.declareType(dumper, 1, { name: "x" })))
    assert.isTrue(Result.isFailure(BtfDump.declareType(dumper, 1, { name: "x" })))
    assert.strictEqual(B.expectSuccess(BtfDump.declareType(dumper, 3, { name: "x" })), "int x")
  })
})

describe("special types", () => {
  it("aliases the polynomials of compilers, and never redefines a builtin", () => {
    const text = dumped([
      B.int("__Poly8_t", 1),
      B.typedef("__builtin_va_list", 1),
      B.typedef("__gnuc_va_list", 0),
      B.typedef("p", 1)
    ])
    assert.strictEqual(
      text,
      lines(
        "typedef unsigned char __Poly8_t;",
        "",
        "typedef __builtin_va_list __gnuc_va_list;",
        "",
        "typedef __Poly8_t p;",
        ""
      )
    )
  })
})

describe("headers", () => {
  const btf = B.btfOf([
    int,
    B.funcProto(1, [["a", 1]]),
    B.func("second", 2, 1),
    B.func("first", 2, 1),
    B.declTag("bpf_kfunc", 3, -1),
    B.declTag("bpf_kfunc", 4, -1),
    B.declTag("bpf_fastcall", 4, -1),
    B.declTag("bpf_kfunc", 2, 0),
    B.struct("s", 4, [["a", 1, 0]]),
    B.struct("t", 4, [["a", 9, 0]]),
    B.struct("u", 4, [["a", 1, 0]])
  ])

  it("have guards, the pragma of CO-RE, macros, kfuncs by name", () => {
    const { text } = BtfDump.collect(BtfDump.toC(btf))
    assert.match(
      text,
      /^#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n\n#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute push/
    )
    assert.include(text, "#if __has_attribute(bpf_fastcall)\n")
    assert.include(
      text,
      lines(
        "",
        "/* BPF kfuncs */",
        "#ifndef BPF_NO_KFUNC_PROTOTYPES",
        "extern __bpf_fastcall int first(int a) __weak __ksym;",
        "extern int second(int a) __weak __ksym;",
        "#endif",
        "",
        "#ifndef BPF_NO_PRESERVE_ACCESS_INDEX",
        "#pragma clang attribute pop",
        "#endif",
        "",
        "#endif /* __VMLINUX_H__ */"
      )
    )
  })

  it("have only the roots and what they need, and then no kfuncs", () => {
    const { text } = BtfDump.collect(BtfDump.toC(btf, { rootIds: [10] }))
    assert.include(text, "struct s {\n\tint a;\n};\n\nstruct t {\n\tstruct s a;\n};\n\n#ifndef BPF_NO_PRESERVE")
    assert.notInclude(text, "kfunc")
    assert.notInclude(text, "struct u")
  })

  it("refuse a root that does not exist before anything is written", () => {
    const parts = [...BtfDump.toC(btf, { rootIds: [10, 99] })]
    assert.deepStrictEqual(parts.map((part) => B.expectFailure(part).reason), ["BadTypeId"])
  })

  it("are sorted by kind and name", () => {
    const types = B.btfOf([
      B.struct("b", 4, [["n", 6, 0]]),
      B.struct("a", 4, [["n", 6, 0]]),
      B.typedef("z", 2),
      B.enumeration("second", 4, false, [["S", 1]]),
      B.enumeration("", 4, false, [["A", 1]]),
      int,
      B.enumeration("first", 4, false, [["F", 1]]),
      B.typedef("number", 6),
      // Of two types with the same names the one whose hash is smaller comes first, of equal ones the smaller id.
      B.struct("a", 8, [["n", 6, 0], ["m", 6, 32]]),
      B.struct("a", 4, [["n", 6, 0]])
    ])
    const { text } = BtfDump.collect(BtfDump.toC(types, { header: false }))
    const heads = text.split("\n").filter((line) => /^[a-z]/.test(line))
    assert.deepStrictEqual(heads, [
      "enum {",
      "enum first {",
      "enum second {",
      "typedef int number;",
      "struct a {",
      "struct a___2 {",
      "struct a___3 {",
      "typedef struct a z;",
      "struct b {"
    ])
  })
})

describe("lists", () => {
  const btf = B.btfOf(B.everyKind)

  it("have a line per type and per element", () => {
    assert.strictEqual(
      BtfDump.collect(BtfDump.toRaw(btf)).text,
      lines(
        "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED",
        "[2] PTR '(anon)' type_id=4",
        "[3] ARRAY '(anon)' type_id=1 index_type_id=1 nr_elems=4",
        "[4] STRUCT 'event' size=16 vlen=3",
        "\t'flag' type_id=1 bits_offset=0 bitfield_size=3",
        "\t'rest' type_id=1 bits_offset=3 bitfield_size=29",
        "\t'next' type_id=2 bits_offset=64",
        "[5] UNION '(anon)' size=8 vlen=2",
        "\t'number' type_id=1 bits_offset=0",
        "\t'pointer' type_id=2 bits_offset=0",
        "[6] ENUM 'color' encoding=SIGNED size=4 vlen=2",
        "\t'RED' val=-1",
        "\t'GREEN' val=2",
        "[7] FWD 'opaque' fwd_kind=union",
        "[8] TYPEDEF 'event_t' type_id=4",
        "[9] VOLATILE '(anon)' type_id=1",
        "[10] CONST '(anon)' type_id=9",
        "[11] RESTRICT '(anon)' type_id=2",
        "[12] FUNC 'handle' type_id=13 linkage=global",
        "[13] FUNC_PROTO '(anon)' ret_type_id=1 vlen=2",
        "\t'event' type_id=2",
        "\t'(anon)' type_id=0",
        "[14] VAR 'counter' type_id=1, linkage=global",
        "[15] DATASEC '.bss' size=4 vlen=1",
        "\ttype_id=14 offset=0 size=4 (VAR 'counter')",
        "[16] FLOAT 'double' size=8",
        "[17] DECL_TAG 'kept' type_id=4 component_idx=1",
        "[18] TYPE_TAG 'rcu' type_id=4",
        "[19] ENUM64 'wide' encoding=UNSIGNED size=8 vlen=2",
        "\t'SMALL' val=1ULL",
        "\t'LARGE' val=18446744069414584321ULL"
      )
    )
  })

  it("are JSON with the same fields", () => {
    const { text } = BtfDump.collect(BtfDump.toJson(btf))
    const { types } = JSON.parse(text)
    assert.strictEqual(types.length, 19)
    assert.deepStrictEqual(types[3], {
      id: 4,
      kind: "STRUCT",
      name: "event",
      size: 16,
      vlen: 3,
      members: [
        { name: "flag", type_id: 1, bits_offset: 0, bitfield_size: 3 },
        { name: "rest", type_id: 1, bits_offset: 3, bitfield_size: 29 },
        { name: "next", type_id: 2, bits_offset: 64 }
      ]
    })
    assert.deepStrictEqual(types[14], {
      id: 15,
      kind: "DATASEC",
      name: ".bss",
      size: 4,
      vlen: 1,
      vars: [{ type_id: 14, offset: 0, size: 4 }]
    })
    assert.deepStrictEqual(types[16], { id: 17, kind: "DECL_TAG", name: "kept", type_id: 4, component_idx: 1 })
    assert.include(text, "{\"name\":\"LARGE\",\"val\":18446744069414584321}")
  })

  it("are valid JSON whatever the names are", () => {
    const strings = new Uint8Array([0, 0x22, 0x5c, 0x0a, 0xff, 0xc3, 0xa4, 0])
    const odd = B.btfOf([{ kind: 4, nameOffset: 1, word: 0 }], { strings })
    const { types } = JSON.parse(BtfDump.collect(BtfDump.toJson(odd)).text)
    assert.strictEqual(types[0].name, "\"\\\n\ufffdä")
  })

  it("have the blob's own types alone", () => {
    const base = B.btfOf([int])
    const split = B.btfOf([B.typedef("t", 1)], { base })
    assert.strictEqual(BtfDump.collect(BtfDump.toRaw(split)).text, "[2] TYPEDEF 't' type_id=1\n")
    assert.deepStrictEqual(JSON.parse(BtfDump.collect(BtfDump.toJson(split)).text), {
      types: [{ id: 2, kind: "TYPEDEF", name: "t", type_id: 1 }]
    })
  })

  it("have only the roots if asked, the base's too", () => {
    const base = B.btfOf([B.int("int", 4, 1), B.ptr(1)])
    const btf = B.btfOf([B.typedef("t", 1), B.ptr(3)], { base })
    const { problems, text } = BtfDump.collect(BtfDump.toRaw(btf, { rootIds: [4, 0, 2] }))
    assert.deepStrictEqual(problems, [])
    assert.strictEqual(text, "[4] PTR '(anon)' type_id=3\n[2] PTR '(anon)' type_id=1\n")
    assert.deepStrictEqual(JSON.parse(BtfDump.collect(BtfDump.toJson(btf, { rootIds: [3] })).text), {
      types: [{ id: 3, kind: "TYPEDEF", name: "t", type_id: 1 }]
    })
    assert.strictEqual(BtfDump.collect(BtfDump.toJson(btf, { rootIds: [] })).text, "{\"types\":[]}\n")
    for (const id of [5, -1, 1.5]) {
      const dumped = BtfDump.collect(BtfDump.toRaw(btf, { rootIds: [1, id] }))
      assert.strictEqual(dumped.text, "")
      assert.deepStrictEqual(dumped.problems.map(({ reason }) => reason), ["BadTypeId"])
    }
  })

  it("name kinds that nobody knows", () => {
    const layout = [...B.canonicalLayout, [4, 0] as const]
    const btf = B.btfOf([{ name: "new", kind: 20, word: 7, rest: [1] }], { layout })
    assert.strictEqual(BtfDump.collect(BtfDump.toRaw(btf)).text, "[1] UNKNOWN 'new'\n")
  })
})
