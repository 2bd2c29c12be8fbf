import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../src/btf/Btf.ts"
import {
  array,
  btfOf,
  constant,
  declTag,
  enum64,
  enumeration,
  everyKind,
  expectFailure,
  expectSuccess,
  float,
  func,
  funcProto,
  fwd,
  int,
  ptr,
  restrict,
  struct,
  typedef,
  typeTag,
  union,
  variable,
  volatile
} from "../../support/arbitrary/BtfBlob.ts"
import type { Rec } from "../../support/arbitrary/BtfBlob.ts"

describe("typeOf", () => {
  const expected: ReadonlyArray<Btf.BtfType> = [
    { _tag: "Void", id: 0 },
    { _tag: "Int", id: 1, name: "int", size: 4, encoding: 1, bitOffset: 0, bits: 32 },
    { _tag: "Ptr", id: 2, name: "", type: 4 },
    { _tag: "Array", id: 3, name: "", type: 1, indexType: 1, length: 4 },
    {
      _tag: "Struct",
      id: 4,
      name: "event",
      size: 16,
      members: [
        { name: "flag", type: 1, bitOffset: 0, bitfieldSize: 3 },
        { name: "rest", type: 1, bitOffset: 3, bitfieldSize: 29 },
        { name: "next", type: 2, bitOffset: 64, bitfieldSize: 0 }
      ]
    },
    {
      _tag: "Union",
      id: 5,
      name: "",
      size: 8,
      members: [
        { name: "number", type: 1, bitOffset: 0, bitfieldSize: 0 },
        { name: "pointer", type: 2, bitOffset: 0, bitfieldSize: 0 }
      ]
    },
    {
      _tag: "Enum",
      id: 6,
      name: "color",
      size: 4,
      signed: true,
      values: [{ name: "RED", value: -1 }, { name: "GREEN", value: 2 }]
    },
    { _tag: "Fwd", id: 7, name: "opaque", forward: "union" },
    { _tag: "Typedef", id: 8, name: "event_t", type: 4 },
    { _tag: "Volatile", id: 9, name: "", type: 1 },
    { _tag: "Const", id: 10, name: "", type: 9 },
    { _tag: "Restrict", id: 11, name: "", type: 2 },
    { _tag: "Func", id: 12, name: "handle", type: 13, linkage: 1 },
    {
      _tag: "FuncProto",
      id: 13,
      name: "",
      returnType: 1,
      params: [{ name: "event", type: 2 }, { name: "", type: 0 }]
    },
    { _tag: "Var", id: 14, name: "counter", type: 1, linkage: 1 },
    { _tag: "Datasec", id: 15, name: ".bss", size: 4, entries: [{ type: 14, offset: 0, size: 4 }] },
    { _tag: "Float", id: 16, name: "double", size: 8 },
    { _tag: "DeclTag", id: 17, name: "kept", type: 4, componentIndex: 1, attribute: false },
    { _tag: "TypeTag", id: 18, name: "rcu", type: 4, attribute: false },
    {
      _tag: "Enum64",
      id: 19,
      name: "wide",
      size: 8,
      signed: false,
      values: [{ name: "SMALL", value: 1n }, { name: "LARGE", value: 0xffff_ffff_0000_0001n }]
    },
    { _tag: "Void", id: 20 }
  ]

  for (const order of ["little", "big"] as const) {
    it(`reads every kind, ${order}`, () => {
      const btf = btfOf(everyKind, { order })
      for (const [id, type] of expected.entries()) assert.deepEqual(Btf.typeOf(btf, id), type)
    })
  }

  it("reads signs, attributes and wide words", () => {
    const btf = btfOf([
      enumeration("unsigned", 4, false, [["TOP", 0xffff_fffe]]),
      enum64("signed", 8, true, [["BOTTOM", -2n]]),
      declTag("whole", 1, -1, true),
      typeTag("attribute", 1, true),
      fwd("plain", false),
      struct("plain", 0x2000_0000, [["far", 1, 0xffff_fff8]])
    ])
    assert.deepPropertyVal(Btf.typeOf(btf, 1), "values", [{ name: "TOP", value: 0xffff_fffe }])
    assert.deepPropertyVal(Btf.typeOf(btf, 2), "values", [{ name: "BOTTOM", value: -2n }])
    assert.propertyVal(Btf.typeOf(btf, 3), "componentIndex", -1)
    assert.propertyVal(Btf.typeOf(btf, 3), "attribute", true)
    assert.propertyVal(Btf.typeOf(btf, 4), "attribute", true)
    assert.propertyVal(Btf.typeOf(btf, 5), "forward", "struct")
    // Without the flag all 32 bits are the offset.
    assert.deepPropertyVal(Btf.typeOf(btf, 6), "members", [
      { name: "far", type: 1, bitOffset: 0xffff_fff8, bitfieldSize: 0 }
    ])
  })

  it("is void for ids that do not exist", () => {
    const btf = btfOf(everyKind)
    for (const id of [20, -1, 1.5, NaN, Infinity, 2 ** 32]) {
      assert.strictEqual(Btf.typeOf(btf, id)._tag, "Void")
      assert.strictEqual(Btf.kindOf(btf, id), 0)
      assert.strictEqual(Btf.nameOf(btf, id), "")
      assert.strictEqual(Btf.vlenOf(btf, id), 0)
      assert.strictEqual(Btf.kflagOf(btf, id), false)
      assert.isFalse(Btf.exists(btf, id))
    }
    assert.isTrue(Btf.exists(btf, 0) && Btf.exists(btf, 19))
  })
})

describe("find", () => {
  const btf = btfOf([
    int("x", 4),
    struct("x", 4, []),
    typedef("x", 1),
    struct("y", 4, []),
    struct("", 4, []),
    struct("x", 8, []),
    union("", 4, [])
  ])

  it("tells none, one and several apart", () => {
    assert.deepEqual(Btf.find(btf, "x"), { _tag: "Ambiguous", ids: [1, 2, 3, 6] })
    assert.deepEqual(Btf.find(btf, "x", Btf.BTF_KIND_STRUCT), { _tag: "Ambiguous", ids: [2, 6] })
    assert.deepEqual(Btf.find(btf, "x", Btf.BTF_KIND_TYPEDEF), { _tag: "One", id: 3 })
    assert.deepEqual(Btf.find(btf, "y"), { _tag: "One", id: 4 })
    assert.deepEqual(Btf.find(btf, "z"), { _tag: "None" })
    assert.deepEqual(Btf.find(btf, "y", Btf.BTF_KIND_UNION), { _tag: "None" })
  })

  it("takes the first where one is asked for", () => {
    assert.strictEqual(Btf.findOne(btf, "x"), 1)
    assert.strictEqual(Btf.findOne(btf, "x", Btf.BTF_KIND_STRUCT), 2)
    assert.isUndefined(Btf.findOne(btf, "xy"))
    assert.isUndefined(Btf.findOne(btf, "x\0y"))
  })

  it("knows void and anonymous types", () => {
    assert.strictEqual(Btf.findOne(btf, "void"), 0)
    assert.strictEqual(Btf.findOne(btf, "anything", 0), 0)
    assert.deepEqual(Btf.find(btf, "void"), { _tag: "One", id: 0 })
    assert.strictEqual(Btf.findOne(btf, "", Btf.BTF_KIND_UNION), 7)
    assert.deepEqual(Btf.find(btf, ""), { _tag: "Ambiguous", ids: [5, 7] })
  })

  it("does not take a tail or a start of a name for the name", () => {
    const other = btfOf([struct("prefix_name", 4, []), { kind: 4, nameOffset: 8 }])
    assert.strictEqual(Btf.nameOf(other, 2), "name")
    assert.deepEqual(Btf.find(other, "name"), { _tag: "One", id: 2 })
    assert.deepEqual(Btf.find(other, "prefix_nam"), { _tag: "None" })
  })

  it("finds names beyond the part that is hashed, and other scripts", () => {
    const stem = "n".repeat(200)
    const names = [`${stem}a`, `${stem}b`, stem, "größe", "数"]
    const other = btfOf(names.map((name) => typedef(name, 0)))
    for (const [index, name] of names.entries()) {
      assert.deepEqual(Btf.find(other, name), { _tag: "One", id: index + 1 })
    }
    assert.deepEqual(Btf.find(other, `${stem}c`), { _tag: "None" })
  })
})

describe("resolution", () => {
  const btf = btfOf([
    int("int", 4, 1),
    constant(1),
    typedef("t", 2),
    volatile(3),
    typeTag("tag", 4),
    restrict(5),
    variable("v", 6, 1),
    constant(0),
    array(4, 1, 3),
    array(9, 1, 5),
    ptr(10)
  ])

  it("skips modifiers, typedefs and variables as asked", () => {
    assert.strictEqual(Btf.skipModifiers(btf, 6), 3)
    assert.strictEqual(Btf.skipModifiersAndTypedefs(btf, 6), 1)
    assert.strictEqual(Btf.skipModifiersAndTypedefs(btf, 7), 7)
    assert.strictEqual(Btf.resolveType(btf, 7), 1)
    assert.strictEqual(Btf.resolveType(btf, 8), 0)
    assert.strictEqual(Btf.resolveType(btf, 0), 0)
    assert.strictEqual(Btf.resolveType(btf, 9), 9)
  })

  it("gives sizes", () => {
    const sizes = [4, 4, 4, 4, 4, 4, 4, undefined, 12, 60, 8]
    for (const [index, size] of sizes.entries()) {
      const result = Btf.resolveSize(btf, index + 1)
      assert.strictEqual(Result.isSuccess(result) ? result.success : undefined, size, `type ${index + 1}`)
    }
    const every = btfOf(everyKind)
    const kinds = [undefined, 4, 8, 16, 16, 8, 4, undefined, 16, 4, 4, 8, undefined, undefined, 4, 4, 8, 16, 16, 8]
    for (const [id, size] of kinds.entries()) {
      const result = Btf.resolveSize(every, id)
      assert.strictEqual(
        Result.isSuccess(result) ? result.success : result.failure.reason,
        size ?? "NoSize",
        `type ${id}`
      )
    }
  })

  it("bounds sizes and chains", () => {
    const hostile = btfOf([
      typedef("cycle", 1),
      array(2, 2, 1),
      int("int", 4),
      array(3, 3, 0x4000_0000),
      array(4, 3, 0),
      array(3, 3, 0x3fff_ffff),
      constant(8),
      constant(7)
    ])
    for (const id of [1, 2, 7]) assert.strictEqual(expectFailure(Btf.resolveSize(hostile, id)).reason, "TooDeep")
    for (const id of [1, 7]) assert.strictEqual(Btf.resolveType(hostile, id), 0)
    assert.strictEqual(expectFailure(Btf.resolveSize(hostile, 4)).reason, "SizeOverflow")
    assert.strictEqual(expectSuccess(Btf.resolveSize(hostile, 5)), 0)
    assert.strictEqual(expectSuccess(Btf.resolveSize(hostile, 6)), 0xffff_fffc)
    const chain = btfOf([int("int", 4), ...Array.from({ length: 33 }, (_, index) => constant(index + 1))])
    assert.strictEqual(expectSuccess(Btf.resolveSize(chain, 33)), 4)
    assert.strictEqual(Btf.resolveType(chain, 33), 1)
    assert.strictEqual(expectFailure(Btf.resolveSize(chain, 34)).typeId, 34)
    assert.strictEqual(Btf.resolveType(chain, 34), 0)
  })

  it("gives pointers the size that the blob or the caller says", () => {
    assert.strictEqual(Btf.pointerSize(btfOf([])), 8)
    assert.strictEqual(Btf.pointerSize(btfOf([int("long", 4)])), 4)
    assert.strictEqual(Btf.pointerSize(btfOf([int("long", 2), int("long unsigned int", 8), int("long", 4)])), 8)
    const base = btfOf([int("unsigned long", 4), ptr(1)])
    assert.strictEqual(Btf.pointerSize(btfOf([int("long", 8)], { base })), 4)
    assert.strictEqual(expectSuccess(Btf.resolveSize(btfOf([ptr(2)], { base }), 3)), 4)
    assert.strictEqual(Btf.pointerSize(expectSuccess(Btf.parse(base.bytes, { pointerSize: 8 }))), 8)
  })
})

describe("alignOf", () => {
  const alignments = (types: ReadonlyArray<Rec>): ReadonlyArray<number | undefined> => {
    const btf = btfOf(types)
    return types.map((_, index) => {
      const result = Btf.alignOf(btf, index + 1)
      return Result.isSuccess(result) ? result.success : undefined
    })
  }

  it("is natural, and 1 for packed structs", () => {
    assert.deepEqual(
      alignments([
        int("char", 1),
        int("int", 4),
        int("long", 8),
        int("__int128", 16),
        ptr(0),
        float("double", 8),
        enumeration("e", 2, false, []),
        enum64("e64", 8, false, []),
        array(2, 2, 7),
        typedef("t", 3),
        struct("natural", 16, [["a", 1, 0], ["b", 3, 64]]),
        struct("packed member", 9, [["a", 1, 0], ["b", 3, 8]]),
        struct("packed size", 13, [["a", 3, 0], ["b", 2, 64]]),
        struct("bit field", 8, [["a", 2, 0, 5], ["b", 2, 5, 27], ["c", 2, 32]]),
        struct("empty", 0, []),
        union("u", 8, [["a", 1, 0], ["b", 2, 0], ["s", 11, 0]]),
        fwd("f", false),
        struct("with forward", 8, [["a", 17, 0]]),
        variable("v", 2, 0)
      ]),
      [1, 4, 8, 8, 8, 8, 2, 8, 4, 8, 8, 1, 1, 4, 1, 8, undefined, undefined, undefined]
    )
  })

  it("has no answer for what contains itself, in any order of asking", () => {
    const types: ReadonlyArray<Rec> = [
      struct("a", 8, [["b", 2, 0]]),
      struct("b", 8, [["t", 3, 0], ["i", 5, 32]]),
      typedef("t", 1),
      struct("outer", 8, [["i", 5, 0], ["a", 1, 32]]),
      int("int", 4),
      typedef("self", 6),
      struct("list", 8, [["next", 8, 0]]),
      ptr(7)
    ]
    const orders = [[1, 2, 3, 4, 6], [4, 3, 2, 1, 6], [3, 4, 2, 1, 6]]
    for (const order of orders) {
      const btf = btfOf(types)
      for (const id of order) assert.strictEqual(expectFailure(Btf.alignOf(btf, id)).reason, "NoSize")
      assert.strictEqual(expectSuccess(Btf.alignOf(btf, 7)), 8)
      assert.strictEqual(expectFailure(Btf.alignOf(btf, 0)).reason, "NoSize")
    }
  })

  it("takes each type once, however deep and often it is nested", () => {
    const depth = 20_000
    const types: ReadonlyArray<Rec> = [
      int("int", 4),
      ...Array.from({ length: depth }, (_, index) => struct("", 4, [["", index + 1, 0], ["", index + 1, 0]]))
    ]
    assert.strictEqual(expectSuccess(Btf.alignOf(btfOf(types), depth + 1)), 4)
  })

  it("asks the base about the base's types", () => {
    const base = btfOf([int("int", 4), struct("s", 4, [["i", 1, 0]])])
    const split = btfOf([struct("t", 8, [["s", 2, 0], ["i", 1, 32]])], { base })
    assert.strictEqual(expectSuccess(Btf.alignOf(split, 3)), 4)
    assert.strictEqual(expectSuccess(Btf.alignOf(base, 2)), 4)
  })
})

describe("typeName", () => {
  it("spells C", () => {
    const btf = btfOf([
      int("int", 4), // 1
      int("char", 1), // 2
      ptr(2), // 3
      struct("foo", 4, []), // 4
      constant(4), // 5
      ptr(5), // 6
      array(1, 1, 4), // 7
      array(7, 1, 2), // 8
      ptr(7), // 9
      array(3, 1, 3), // 10
      constant(3), // 11
      ptr(11), // 12
      funcProto(0, [["", 3], ["n", 1]]), // 13
      ptr(13), // 14
      array(14, 1, 2), // 15
      union("", 4, []), // 16
      fwd("later", true), // 17
      typedef("u32", 1), // 18
      volatile(18), // 19
      func("f", 13, 1), // 20
      variable("counters", 8, 1), // 21
      { name: ".data", kind: 15 }, // 22
      funcProto(14, [["cb", 14], ["", 0]]), // 23
      func("make", 23, 0), // 24
      funcProto(1, []), // 25
      typeTag("rcu", 4), // 26
      ptr(26), // 27
      declTag("note", 4, -1), // 28
      enumeration("e", 4, false, []), // 29
      restrict(6), // 30
      constant(7), // 31
      variable("table", 15, 1), // 32
      typeTag("noderef", 4, true), // 33
      constant(0), // 34
      ptr(34) // 35
    ])
    const names = [
      "void",
      "int",
      "char",
      "char *",
      "struct foo",
      "const struct foo",
      "const struct foo *",
      "int[4]",
      "int[2][4]",
      "int (*)[4]",
      "char *[3]",
      "char *const",
      "char *const *",
      "void (char *, int n)",
      "void (*)(char *, int n)",
      "void (*[2])(char *, int n)",
      "union (anonymous)",
      "union later",
      "u32",
      "volatile u32",
      "void f(char *, int n)",
      "int counters[2][4]",
      ".data",
      "void (*(void (*cb)(char *, int n), ...))(char *, int n)",
      "void (*make(void (*cb)(char *, int n), ...))(char *, int n)",
      "int (void)",
      "__attribute__((btf_type_tag(\"rcu\"))) struct foo",
      "__attribute__((btf_type_tag(\"rcu\"))) struct foo *",
      "__attribute__((btf_decl_tag(\"note\")))",
      "enum e",
      "const struct foo *restrict",
      "const int[4]",
      "void (*table[2])(char *, int n)",
      "__attribute__((noderef)) struct foo",
      "const void",
      "const void *"
    ]
    for (const [id, name] of names.entries()) assert.strictEqual(Btf.typeName(btf, id), name, `type ${id}`)
    assert.strictEqual(Btf.typeName(btf, 1000), "(no type 1000)")
  })

  it("ends where a blob has cycles, and leaves out what would explode", () => {
    const btf = btfOf([
      constant(1),
      ptr(2),
      array(3, 3, 9),
      // Each prototype takes pointers to the next, twice.
      ...Array.from(
        { length: 60 },
        (_, index) => index % 2 === 0 ? funcProto(0, [["", index + 5], ["", index + 5]]) : ptr(index + 5)
      ),
      typedef("end", 0)
    ])
    for (let id = 0; id < btf.endId; id++) {
      assert.isAtMost(Btf.typeName(btf, id).length, 4096)
    }
    assert.include(Btf.typeName(btf, 2), "…")
    assert.include(Btf.typeName(btf, 4), "…")
    const long = btfOf([typedef("n".repeat(100_000), 0)])
    assert.isAtMost(Btf.typeName(long, 1).length, 1000)
  })
})
