import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../src/btf/BtfEdit.ts"
import type { BtfEditor, MakeOptions } from "../../../src/btf/BtfEdit.ts"
import { encode, toByteOrder } from "../../../src/btf/BtfEncode.ts"
import { assemble, imageOf } from "../../../src/btf/BtfImage.ts"
import {
  blob,
  btfOf,
  canonicalLayout,
  everyKind,
  expectFailure,
  expectSuccess,
  int,
  ptr,
  variable
} from "../../support/arbitrary/BtfBlob.ts"

const built = (make: (editor: BtfEditor) => void, options?: MakeOptions): Btf.Btf => {
  const editor = BtfEdit.make(options)
  make(editor)
  return expectSuccess(editor.finish())
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

const member = (name: string, type: number, bitOffset: number, bitfieldSize = 0): Btf.Member => ({
  name,
  type,
  bitOffset,
  bitfieldSize
})

/** One type of each kind, with the ids of `everyKind`. */
const addEveryKind = (editor: BtfEditor): void => {
  editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
  editor.addPtr(4)
  editor.addArray(1, 1, 4)
  editor.addStruct("event", 16, [member("flag", 1, 0, 3), member("rest", 1, 3, 29), member("next", 2, 64)])
  editor.addUnion("", 8, [member("number", 1, 0), member("pointer", 2, 0)])
  editor.addEnum("color", 4, [{ name: "RED", value: -1 }, { name: "GREEN", value: 2 }])
  editor.addFwd("opaque", "union")
  editor.addTypedef("event_t", 4)
  editor.addVolatile(1)
  editor.addConst(9)
  editor.addRestrict(2)
  editor.addFunc("handle", 13, Btf.BTF_FUNC_GLOBAL)
  editor.addFuncProto(1, [{ name: "event", type: 2 }, { name: "", type: 0 }])
  editor.addVar("counter", 1, Btf.BTF_VAR_GLOBAL_ALLOCATED)
  editor.addDatasec(".bss", 4, [{ type: 14, offset: 0, size: 4 }])
  editor.addFloat("double", 8)
  editor.addDeclTag("kept", 4, 1)
  editor.addTypeTag("rcu", 4)
  editor.addEnum64("wide", 8, [{ name: "SMALL", value: 1n }, { name: "LARGE", value: 0xffff_ffff_0000_0001n }])
}

describe("a new blob", () => {
  for (const byteOrder of ["little", "big"] as const) {
    it(`has the bytes that an encoder of the tests writes, ${byteOrder}`, () => {
      assert.deepEqual(built(addEveryKind, { byteOrder }).bytes, blob(everyKind, { order: byteOrder }))
      assert.deepEqual(
        built(addEveryKind, { byteOrder, layout: true }).bytes,
        blob(everyKind, { order: byteOrder, layout: canonicalLayout })
      )
    })
  }

  it("of one integer and a layout area is the reference's, byte for byte", () => {
    assert.strictEqual(
      hex(built((editor) => void editor.addInt("int", 4, Btf.BTF_INT_SIGNED), { layout: true }).bytes),
      [
        "9feb0100 20000000 00000000 10000000 60000000 05000000 10000000 50000000",
        "01000000 00000001 04000000 20000001",
        "00000000 04000000 00000000 0c000000 000c0000 000c0000 00080000 00000000 00000000 00000000",
        "00000000 00000000 00000000 00080000 04000000 000c0000 00000000 04000000 00000000 000c0000",
        "00696e7400"
      ].join("").replaceAll(" ", "")
    )
  })

  it("of nothing is valid, and so is one over a base", () => {
    const empty = built(() => {})
    assert.strictEqual(hex(empty.bytes), "9feb0100180000000000000000000000000000000100000000")
    const base = btfOf(everyKind, { order: "big" })
    const over = built(() => {}, { base })
    assert.strictEqual(over.byteOrder, "big")
    assert.strictEqual(over.endId, base.endId)
    assert.strictEqual(over.stringsLength, 0)
  })

  it("over a base uses its strings and types", () => {
    const base = btfOf(everyKind)
    const over = built((editor) => {
      assert.strictEqual(editor.nextId, 20)
      assert.strictEqual(editor.addString("event"), Btf.nameOffsetOf(base, 4))
      assert.strictEqual(editor.addString(""), 0)
      assert.strictEqual(editor.addString("vent"), base.stringsLength)
      assert.strictEqual(editor.addTypedef("event", 4), 20)
      assert.strictEqual(editor.addPtr(20), 21)
    }, { base })
    assert.strictEqual(over.stringsLength, 5)
    assert.deepEqual(Btf.typeOf(over, 20), { _tag: "Typedef", id: 20, name: "event", type: 4 })
    assert.strictEqual(Btf.typeName(over, 21), "event *")
  })

  it("has the pointer size that it is told", () => {
    assert.strictEqual(Btf.pointerSize(built(() => {}, { pointerSize: 4 })), 4)
    assert.strictEqual(Btf.pointerSize(built((editor) => void editor.addInt("long", 4, 1))), 4)
  })

  it("may refer to types that come later, or to themselves", () => {
    const btf = built((editor) => {
      const node = editor.nextId
      editor.addStruct("node", 8, [member("next", node + 1, 0)])
      editor.addPtr(node)
    })
    assert.strictEqual(Btf.typeName(btf, 2), "struct node *")
  })

  it("grows by members, values, parameters and entries of the last type", () => {
    const btf = built((editor) => {
      editor.addInt("int", 4, 0)
      editor.addStruct("s", 8, [])
      editor.addMember(member("a", 1, 0))
      // It turns into one with bit fields.
      editor.addMember(member("b", 1, 32, 5))
      editor.addMember(member("c", 1, 37, 27))
      editor.addEnum("e", 4, [{ name: "ZERO", value: 0 }])
      editor.addEnumValue({ name: "NEGATIVE", value: -(2 ** 31) })
      editor.addEnum64("w", 8, [])
      editor.addEnum64Value({ name: "LARGEST", value: 2n ** 64n - 1n })
      editor.addFuncProto(0, [])
      editor.addParam({ name: "a", type: 1 })
      editor.addVar("v", 1, 1)
      editor.addDatasec(".data", 4, [])
      editor.addDatasecEntry({ type: 6, offset: 0, size: 4 })
    })
    assert.deepPropertyVal(Btf.typeOf(btf, 2), "members", [
      member("a", 1, 0),
      member("b", 1, 32, 5),
      member("c", 1, 37, 27)
    ])
    assert.deepPropertyVal(Btf.typeOf(btf, 3), "values", [
      { name: "ZERO", value: 0 },
      { name: "NEGATIVE", value: -(2 ** 31) }
    ])
    assert.deepPropertyVal(Btf.typeOf(btf, 4), "values", [{ name: "LARGEST", value: 2n ** 64n - 1n }])
    assert.deepPropertyVal(Btf.typeOf(btf, 5), "params", [{ name: "a", type: 1 }])
    assert.deepPropertyVal(Btf.typeOf(btf, 7), "entries", [{ type: 6, offset: 0, size: 4 }])
  })

  it("of which an edit goes on where the first one ended", () => {
    const editor = BtfEdit.edit(built((editor) => void editor.addStruct("s", 4, [])))
    editor.addMember(member("a", 2, 0))
    editor.addInt("int", 4, 1)
    const btf = expectSuccess(editor.finish())
    assert.deepPropertyVal(Btf.typeOf(btf, 1), "members", [member("a", 2, 0)])
    // An editor can be finished again: the first answer stays as it is.
    editor.addPtr(1)
    assert.strictEqual(expectSuccess(editor.finish()).endId, 4)
    assert.strictEqual(btf.endId, 3)
  })

  it("says the ends of every range", () => {
    const btf = built((editor) => {
      for (const size of [1, 2, 4, 8, 16]) editor.addInt(`i${size}`, size, 7)
      for (const size of [2, 4, 8, 12, 16]) editor.addFloat(`f${size}`, size)
      for (const size of [1, 2, 4, 8]) {
        editor.addEnum("", size, [{ name: "A", value: 0 }, { name: "B", value: 2 ** 32 - 1 }])
        editor.addEnum("", size, [{ name: "A", value: -(2 ** 31) }, { name: "B", value: 2 ** 31 - 1 }])
        editor.addEnum64("", size, [{ name: "A", value: -(2n ** 63n) }, { name: "B", value: 2n ** 63n - 1n }])
      }
      editor.addStruct("", 2 ** 32 - 1, [member("far", 1, 2 ** 32 - 8)])
      editor.addStruct("", 1, [member("bits", 1, 2 ** 24 - 1, 255), member("plain", 1, 2 ** 24 - 8)])
      editor.addUnion("", 1, [member("bits", 1, 0, 1)])
      editor.addArray(1, 1, 2 ** 32 - 1)
      editor.addFuncProto(0, [{ name: "", type: 0 }])
      editor.addFunc("f", editor.nextId - 1, Btf.BTF_FUNC_EXTERN)
      editor.addDeclTag("t", 1, -1)
      editor.addDeclTag("t", 1, 2 ** 31 - 1, true)
      editor.addTypeTag("t", 1, true)
      editor.addEnum("", 4, [], true)
    })
    assert.propertyVal(Btf.typeOf(btf, 5), "bits", 128)
    assert.deepPropertyVal(Btf.typeOf(btf, 11), "values", [{ name: "A", value: 0 }, { name: "B", value: 2 ** 32 - 1 }])
    assert.propertyVal(Btf.typeOf(btf, 12), "signed", true)
    assert.propertyVal(Btf.typeOf(btf, 13), "signed", true)
    assert.deepPropertyVal(Btf.typeOf(btf, 23), "members", [member("far", 1, 2 ** 32 - 8)])
    assert.deepPropertyVal(Btf.typeOf(btf, 24), "members", [
      member("bits", 1, 2 ** 24 - 1, 255),
      member("plain", 1, 2 ** 24 - 8)
    ])
    assert.propertyVal(Btf.typeOf(btf, 29), "componentIndex", -1)
    assert.propertyVal(Btf.typeOf(btf, 30), "attribute", true)
    assert.propertyVal(Btf.typeOf(btf, 31), "attribute", true)
    assert.propertyVal(Btf.typeOf(btf, 32), "signed", true)
  })

  it("declares structs, unions and enums", () => {
    const btf = built((editor) => {
      editor.addFwd("s", "struct")
      editor.addFwd("u", "union")
      editor.addFwd("e", "enum")
    })
    assert.deepEqual(Btf.typeOf(btf, 1), { _tag: "Fwd", id: 1, name: "s", forward: "struct" })
    assert.deepEqual(Btf.typeOf(btf, 2), { _tag: "Fwd", id: 2, name: "u", forward: "union" })
    assert.deepEqual(Btf.typeOf(btf, 3), { _tag: "Enum", id: 3, name: "e", size: 4, signed: false, values: [] })
  })

  it("holds as many elements as a record can say", { timeout: 60_000 }, () => {
    // A prototype of one parameter less than the most, all of them zeros.
    const types = new Uint8Array(12 + (Btf.BTF_MAX_VLEN - 1) * 8)
    new DataView(types.buffer).setUint32(4, 0x0d00_0000 + Btf.BTF_MAX_VLEN - 1, true)
    const editor = BtfEdit.edit(expectSuccess(assemble({ ...imageOf(built(() => {})), types })))
    editor.addParam({ name: "last", type: 0 })
    const most = expectSuccess(editor.finish())
    assert.strictEqual(Btf.vlenOf(most, 1), Btf.BTF_MAX_VLEN)
    assert.strictEqual(most.typesLength, types.length + 8)
    editor.addParam({ name: "", type: 0 })
    const error = expectFailure(editor.finish())
    assert.strictEqual(error.reason, "BadArgument")
    assert.include(error.message, "16777215")
  })
})

describe("a builder refuses", () => {
  const value = (value: number): Btf.EnumValue => ({ name: "V", value })
  const value64 = (value: bigint): Btf.Enum64Value => ({ name: "V", value })
  const refusals: ReadonlyArray<readonly [string, Btf.BtfErrorReason, (editor: BtfEditor) => void]> = [
    ["an integer without a name", "BadArgument", (editor) => void editor.addInt("", 4, 0)],
    ["an integer of 32 bytes", "BadArgument", (editor) => void editor.addInt("i", 32, 0)],
    ["an integer of no bytes", "BadArgument", (editor) => void editor.addInt("i", 0, 0)],
    ["a float of a byte", "BadArgument", (editor) => void editor.addFloat("f", 1)],
    ["a float without a name", "BadArgument", (editor) => void editor.addFloat("", 4)],
    ["an id below zero", "BadTypeId", (editor) => void editor.addPtr(-1)],
    ["an id of 32 bits", "BadTypeId", (editor) => void editor.addConst(2 ** 31)],
    ["an id that is no number", "BadTypeId", (editor) => void editor.addVolatile(Number.NaN)],
    ["an id that is no integer", "BadTypeId", (editor) => void editor.addRestrict(0.5)],
    ["a reference to a type that never comes", "BadTypeId", (editor) => void editor.addPtr(99)],
    ["a typedef without a name", "BadArgument", (editor) => void editor.addTypedef("", 1)],
    ["a type tag without a text", "BadArgument", (editor) => void editor.addTypeTag("", 1)],
    ["a declaration tag without a text", "BadArgument", (editor) => void editor.addDeclTag("", 1, -1)],
    ["a component before the first", "BadArgument", (editor) => void editor.addDeclTag("t", 1, -2)],
    ["an array of 2^32 elements", "BadArgument", (editor) => void editor.addArray(1, 1, 2 ** 32)],
    ["an array of a bad element", "BadTypeId", (editor) => void editor.addArray(1, -1, 1)],
    ["a struct of 2^32 bytes", "BadArgument", (editor) => void editor.addStruct("s", 2 ** 32, [])],
    ["a member of a bad type", "BadTypeId", (editor) => void editor.addStruct("s", 4, [member("a", -1, 0)])],
    ["a member at 2^32", "BadArgument", (editor) => void editor.addStruct("s", 4, [member("a", 1, 2 ** 32)])],
    ["a member between bytes", "BadArgument", (editor) => void editor.addStruct("s", 4, [member("a", 1, 3)])],
    ["a bit field of 256 bits", "BadArgument", (editor) => void editor.addStruct("s", 4, [member("a", 1, 0, 256)])],
    ["a bit field of -1 bits", "BadArgument", (editor) => void editor.addStruct("s", 4, [member("a", 1, 0, -1)])],
    ["a bit field at 2^24", "BadArgument", (editor) => void editor.addStruct("s", 4, [member("a", 1, 2 ** 24, 1)])],
    [
      "a plain member at 2^24 after a bit field",
      "BadArgument",
      (editor) => void editor.addStruct("s", 4, [member("a", 1, 0, 1), member("b", 1, 2 ** 24)])
    ],
    [
      "a bit field after a plain member at 2^24",
      "BadArgument",
      (editor) => void editor.addStruct("s", 4, [member("b", 1, 2 ** 24), member("a", 1, 0, 1)])
    ],
    ["a union's member that is not at 0", "BadArgument", (editor) => void editor.addUnion("u", 4, [member("a", 1, 8)])],
    ["an enum of three bytes", "BadArgument", (editor) => void editor.addEnum("e", 3, [])],
    ["an enum of 16 bytes", "BadArgument", (editor) => void editor.addEnum64("e", 16, [])],
    ["a value without a name", "BadArgument", (editor) => void editor.addEnum("e", 4, [{ name: "", value: 1 }])],
    ["a value below 32 bits", "ValueRange", (editor) => void editor.addEnum("e", 4, [value(-(2 ** 31) - 1)])],
    ["a value above 32 bits", "ValueRange", (editor) => void editor.addEnum("e", 4, [value(2 ** 32)])],
    ["a value that is no integer", "ValueRange", (editor) => void editor.addEnum("e", 4, [value(0.5)])],
    [
      "a negative value after a large one",
      "ValueRange",
      (editor) => void editor.addEnum("e", 4, [value(2 ** 31), value(-1)])
    ],
    [
      "a large value after a negative one",
      "ValueRange",
      (editor) => void editor.addEnum("e", 4, [value(-1), value(2 ** 31)])
    ],
    ["a large value in a signed enum", "ValueRange", (editor) => void editor.addEnum("e", 4, [value(2 ** 31)], true)],
    ["a negative value in an unsigned enum", "ValueRange", (editor) => void editor.addEnum("e", 4, [value(-1)], false)],
    ["a value below 64 bits", "ValueRange", (editor) => void editor.addEnum64("e", 8, [value64(-(2n ** 63n) - 1n)])],
    ["a value above 64 bits", "ValueRange", (editor) => void editor.addEnum64("e", 8, [value64(2n ** 64n)])],
    [
      "a negative 64-bit value after a large one",
      "ValueRange",
      (editor) => void editor.addEnum64("e", 8, [value64(2n ** 63n), value64(-1n)])
    ],
    [
      "a large 64-bit value after a negative one",
      "ValueRange",
      (editor) => void editor.addEnum64("e", 8, [value64(-1n), value64(2n ** 63n)])
    ],
    ["a forward declaration without a name", "BadArgument", (editor) => void editor.addFwd("", "enum")],
    ["a function without a name", "BadArgument", (editor) => void editor.addFunc("", 13, 0)],
    ["a function of linkage 3", "BadArgument", (editor) => void editor.addFunc("f", 13, 3)],
    ["a function that is no prototype", "WrongKind", (editor) => void editor.addFunc("f", 1, 0)],
    ["a prototype of a bad type", "BadTypeId", (editor) => void editor.addFuncProto(-1, [])],
    ["a prototype of a type that never comes", "BadTypeId", (editor) => void editor.addFuncProto(99, [])],
    ["a parameter of a bad type", "BadTypeId", (editor) => void editor.addFuncProto(1, [{ name: "a", type: -1 }])],
    ["a variable of linkage -1", "BadArgument", (editor) => void editor.addVar("v", 1, -1)],
    ["a section without a name", "BadArgument", (editor) => void editor.addDatasec("", 4, [])],
    [
      "an entry of a bad type",
      "BadTypeId",
      (editor) => void editor.addDatasec("d", 4, [{ type: -1, offset: 0, size: 0 }])
    ],
    [
      "an entry at 2^32",
      "BadArgument",
      (editor) => void editor.addDatasec("d", 4, [{ type: 14, offset: 2 ** 32, size: 0 }])
    ],
    ["a member of an enum", "WrongKind", (editor) => editor.addMember(member("a", 1, 0))],
    ["a 32-bit value of a 64-bit enum", "WrongKind", (editor) => editor.addEnumValue(value(1))],
    ["a parameter of an enum", "WrongKind", (editor) => editor.addParam({ name: "", type: 0 })],
    ["an entry of an enum", "WrongKind", (editor) => editor.addDatasecEntry({ type: 14, offset: 0, size: 4 })],
    ["a 64-bit value of an integer", "WrongKind", (editor) => {
      editor.addInt("i", 4, 0)
      editor.addEnum64Value(value64(1n))
    }],
    ["a NUL in a name", "BadArgument", (editor) => void editor.addStruct("a\0b", 4, [])],
    ["a copy of void", "BadTypeId", (editor) => void editor.addType(btfOf(everyKind), 0)],
    ["a copy of a type that is not there", "BadTypeId", (editor) => void editor.addType(btfOf(everyKind), 20)],
    ["a copy with a bad reference", "BadTypeId", (editor) => void editor.addType(btfOf(everyKind), 2, () => -1)]
  ]
  for (const [what, reason, change] of refusals) {
    it(what, () => {
      // Its last type is an ENUM64.
      const editor = BtfEdit.edit(btfOf(everyKind))
      const first = editor.nextId
      change(editor)
      assert.isAtMost(editor.nextId, first + 1)
      const error = expectFailure(editor.finish())
      assert.strictEqual(error.reason, reason, error.message)
    })
  }

  it("elements where there is no type", () => {
    const editor = BtfEdit.make({
      base: btfOf([everyKind[3] ?? int("int", 4)].map((type) => ({ ...type, vlen: 0, rest: [] })))
    })
    editor.addMember(member("a", 1, 0))
    assert.strictEqual(expectFailure(editor.finish()).reason, "BadTypeId")
  })
})

describe("copies", () => {
  const source = btfOf(everyKind, { order: "big" })

  it("of every kind, from another byte order, with strings that are not there yet", () => {
    const btf = built((editor) => {
      editor.addString("rest")
      for (let id = 1; id < source.endId; id++) assert.strictEqual(editor.addType(source, id), id)
    })
    assert.strictEqual(btf.byteOrder, "little")
    for (let id = 1; id < source.endId; id++) assert.deepEqual(Btf.typeOf(btf, id), Btf.typeOf(source, id))
  })

  it("of a type that the base of a split blob holds", () => {
    const split = btfOf([ptr(1)], { base: btfOf([int("int", 4)]) })
    const btf = built((editor) => {
      editor.addType(split, 1)
      editor.addType(split, 2)
    })
    assert.strictEqual(Btf.typeName(btf, 2), "int *")
  })

  it("of names that are tails of other strings", () => {
    const tails = btfOf([{ ...int("x", 4), nameOffset: 2 }], { strings: Uint8Array.of(0, 0x61, 0x62, 0x63, 0) })
    assert.strictEqual(Btf.nameOf(tails, 1), "bc")
    const appended = built((editor) => void expectSuccess(editor.append(tails)))
    assert.strictEqual(hex(appended.bytes.subarray(appended.stringsOffset)), "00626300")
    const copied = built((editor) => void editor.addType(tails, 1))
    assert.deepEqual(copied.bytes, appended.bytes)
  })
})

describe("append", () => {
  const unknownKind = btfOf([int("int", 4), { name: "new", kind: 25, vlen: 0 }], {
    layout: Array.from({ length: 26 }, (_, kind) => canonicalLayout[kind] ?? [0, 0] as const)
  })

  it("leaves out strings that nothing uses", () => {
    const other = btfOf([int("int", 4)], { moreStrings: ["unused"] })
    const btf = built((editor) => assert.strictEqual(expectSuccess(editor.append(other)), 1))
    assert.strictEqual(btf.stringsLength, 5)
  })

  it("to itself doubles the types and no strings", () => {
    const btf = btfOf(everyKind)
    const editor = BtfEdit.edit(btf)
    assert.strictEqual(expectSuccess(editor.append(btf)), 20)
    const twice = expectSuccess(editor.finish())
    assert.strictEqual(twice.endId, 39)
    assert.strictEqual(twice.stringsLength, btf.stringsLength)
    assert.deepPropertyVal(Btf.typeOf(twice, 4 + 19), "members", [
      member("flag", 20, 0, 3),
      member("rest", 20, 3, 29),
      member("next", 21, 64)
    ])
    assert.deepPropertyVal(Btf.typeOf(twice, 13 + 19), "params", [
      { name: "event", type: 21 },
      { name: "", type: 0 }
    ])
  })

  it("of no types adds none", () => {
    const editor = BtfEdit.edit(btfOf(everyKind))
    assert.strictEqual(expectSuccess(editor.append(built(() => {}))), 20)
    assert.deepEqual(expectSuccess(editor.finish()).bytes, blob(everyKind))
  })

  it("takes split BTF over an equal base, whose ids and strings stay", () => {
    const base = btfOf(everyKind)
    const same = btfOf(everyKind)
    const split = btfOf([variable("counter2", 1, 1), ptr(20)], { base: same })
    const btf = built((editor) => {
      editor.addTypedef("mine", 4)
      assert.strictEqual(expectSuccess(editor.append(split)), 21)
    }, { base })
    assert.deepEqual(Btf.typeOf(btf, 21), { _tag: "Var", id: 21, name: "counter2", type: 1, linkage: 1 })
    assert.deepEqual(Btf.typeOf(btf, 22), { _tag: "Ptr", id: 22, name: "", type: 21 })
  })

  it("refuses split BTF of another base, and the edit goes on", () => {
    const split = btfOf([ptr(1)], { base: btfOf([int("int", 4)]) })
    for (
      const base of [
        undefined,
        btfOf([int("int", 8)]),
        btfOf([int("inx", 4)]),
        btfOf([int("int", 4)], { order: "big" })
      ]
    ) {
      const editor = BtfEdit.make({ base })
      const error = expectFailure(editor.append(split))
      assert.strictEqual(error.reason, "BadArgument")
      assert.include(error.message, "base")
      editor.addInt("after", 4, 0)
      assert.strictEqual(expectSuccess(editor.finish()).endId, (base?.endId ?? 1) + 1)
    }
  })

  it("refuses types of unknown kinds, all or nothing", () => {
    const editor = BtfEdit.edit(btfOf(everyKind))
    const error = expectFailure(editor.append(unknownKind))
    assert.strictEqual(error.reason, "UnknownKind")
    assert.strictEqual(error.typeId, 2)
    assert.deepEqual(expectSuccess(editor.finish()).bytes, blob(everyKind))
    const copying = BtfEdit.make()
    copying.addType(unknownKind, 2)
    assert.strictEqual(expectFailure(copying.finish()).reason, "UnknownKind")
  })

  it("to a blob of unknown kinds works, and keeps them and the layout", () => {
    const editor = BtfEdit.edit(unknownKind)
    assert.strictEqual(expectSuccess(editor.append(btfOf(everyKind))), 3)
    const btf = expectSuccess(editor.finish())
    assert.strictEqual(btf.layoutLength, 104)
    assert.propertyVal(Btf.typeOf(btf, 2), "kind", 25)
    assert.strictEqual(Btf.typeName(btf, 4), "struct event *")
  })
})

describe("written anew", () => {
  it("blobs have no gaps, and the header says so", () => {
    const gapped = expectSuccess(Btf.parse(blob(everyKind, { gaps: [8, 4, 7], layout: canonicalLayout })))
    const canonical = blob(everyKind, { layout: canonicalLayout })
    assert.deepEqual(encode(gapped), canonical)
    assert.deepEqual(expectSuccess(toByteOrder(gapped, "little")), canonical)
    assert.deepEqual(expectSuccess(BtfEdit.edit(gapped).finish()).bytes, canonical)
    assert.deepEqual(expectSuccess(assemble(imageOf(gapped))).bytes, canonical)
  })

  it("a header that cannot name a layout area grows where there is one", () => {
    const image = {
      ...imageOf(btfOf(everyKind)),
      layout: imageOf(btfOf(everyKind, { layout: canonicalLayout })).layout
    }
    const grown = expectSuccess(assemble(image))
    assert.strictEqual(grown.headerLength, 32)
    assert.deepEqual(grown.bytes, blob(everyKind, { layout: canonicalLayout }))
  })

  it("in another byte order, types of unknown kinds are refused if they have fields of their own", () => {
    const layout = (info: number, element: number): ReadonlyArray<readonly [number, number]> =>
      Array.from({ length: 26 }, (_, kind) => kind === 25 ? [info, element] : canonicalLayout[kind] ?? [0, 0])
    const fields = btfOf([int("int", 4), { name: "new", kind: 25, rest: [1] }], { layout: layout(4, 0) })
    const error = expectFailure(toByteOrder(fields, "big"))
    assert.strictEqual(error.reason, "UnknownKind")
    assert.strictEqual(error.typeId, 2)
    assert.deepEqual(expectSuccess(toByteOrder(fields, "little")), fields.bytes)
    const elements = btfOf([{ name: "new", kind: 25, vlen: 1, rest: [1] }], { layout: layout(0, 4) })
    assert.strictEqual(expectFailure(toByteOrder(elements, "big")).reason, "UnknownKind")
    // The three words that every type has can be swapped.
    const plain = btfOf([{ name: "new", kind: 25, vlen: 1, word: 5 }, int("int", 4)], { layout: layout(0, 0) })
    const swapped = expectSuccess(Btf.parse(expectSuccess(toByteOrder(plain, "big"))))
    assert.deepEqual(Btf.typeOf(swapped, 1), Btf.typeOf(plain, 1))
    assert.deepEqual(expectSuccess(toByteOrder(swapped, "little")), plain.bytes)
  })
})
