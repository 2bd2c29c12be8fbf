import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../src/btf/Btf.ts"
import { edit } from "../../../src/btf/BtfEdit.ts"
import type { BtfEditor } from "../../../src/btf/BtfEdit.ts"
import { toByteOrder } from "../../../src/btf/BtfEncode.ts"
import {
  blob,
  btfOf,
  canonicalLayout,
  datasec,
  everyKind,
  expectFailure,
  expectSuccess,
  int,
  variable
} from "../../support/arbitrary/BtfBlob.ts"

for (const order of ["little", "big"] as const) {
  describe(`edit, ${order}`, () => {
    const original = btfOf(
      [...everyKind, datasec(".data", 0, [[14, 8, 4], [14, 4, 1], [14, 8, 2], [14, 0, 3]])],
      { order }
    )
    const before = original.bytes.slice()

    it("without a change gives the canonical blob, and never changes the original", () => {
      const same = expectSuccess(edit(original).finish())
      assert.deepEqual(same.bytes, before)
      const editor = edit(original)
      editor.setDatasecSize(20, 12)
      expectSuccess(editor.finish())
      assert.deepEqual(original.bytes, before)
      assert.propertyVal(Btf.typeOf(original, 20), "size", 0)
    })

    it("sets what it is asked to", () => {
      const editor = edit(original)
      editor.setDatasecSize(20, 12)
      editor.setDatasecEntry(20, 1, { offset: 5 })
      editor.setDatasecEntry(20, 3, { type: 14, size: 9 })
      editor.sortDatasec(20)
      editor.setVarLinkage(14, Btf.BTF_VAR_STATIC)
      editor.setVarType(14, 3)
      editor.setFuncLinkage(12, Btf.BTF_FUNC_STATIC)
      editor.setParamNameOffset(13, 0, editor.addString("event_t"))
      const edited = expectSuccess(editor.finish())
      assert.strictEqual(edited.byteOrder, order)
      assert.deepEqual(Btf.typeOf(edited, 20), {
        _tag: "Datasec",
        id: 20,
        name: ".data",
        size: 12,
        entries: [
          { type: 14, offset: 0, size: 9 },
          { type: 14, offset: 5, size: 1 },
          { type: 14, offset: 8, size: 4 },
          { type: 14, offset: 8, size: 2 }
        ]
      })
      assert.deepEqual(Btf.typeOf(edited, 14), { _tag: "Var", id: 14, name: "counter", type: 3, linkage: 0 })
      assert.deepEqual(Btf.typeOf(edited, 12), { _tag: "Func", id: 12, name: "handle", type: 13, linkage: 0 })
      assert.deepEqual(Btf.typeOf(edited, 13), {
        _tag: "FuncProto",
        id: 13,
        name: "",
        returnType: 1,
        params: [{ name: "event_t", type: 2 }, { name: "", type: 0 }]
      })
      // Strings that exist are used again.
      assert.strictEqual(edited.stringsLength, original.stringsLength)
      for (const id of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 17, 18, 19]) {
        assert.deepEqual(Btf.typeOf(edited, id), Btf.typeOf(original, id))
      }
    })

    it("adds types", () => {
      const editor = edit(original)
      const long = editor.addInt("long", 8, Btf.BTF_INT_SIGNED)
      const wide = editor.addInt("wide_int", 16, 0)
      const pointer = editor.addPtr(long)
      const table = editor.addArray(1, pointer, 6)
      const bits = editor.addStruct("bits", 8, [
        { name: "low", type: 1, bitOffset: 0, bitfieldSize: 4 },
        { name: "whole", type: 1, bitOffset: 32, bitfieldSize: 0 }
      ])
      const plain = editor.addStruct("", 4, [{ name: "whole", type: 1, bitOffset: 0x0100_0000, bitfieldSize: 0 }])
      const proto = editor.addFuncProto(long, [{ name: "größe", type: table }])
      const called = editor.addFunc("called", proto, Btf.BTF_FUNC_EXTERN)
      const dummy = editor.addVar("dummy", table, Btf.BTF_VAR_GLOBAL_EXTERN)
      const section = editor.addDatasec(".ksyms", 4, [{ type: dummy, offset: 0, size: 48 }])
      // One that was added can be edited.
      editor.setVarLinkage(dummy, Btf.BTF_VAR_GLOBAL_ALLOCATED)
      editor.setDatasecSize(section, 48)
      const edited = expectSuccess(editor.finish())
      assert.deepEqual([long, wide, pointer, table, bits, plain, proto, called, dummy, section], [
        21,
        22,
        23,
        24,
        25,
        26,
        27,
        28,
        29,
        30
      ])
      assert.strictEqual(edited.endId, 31)
      assert.deepEqual(Btf.typeOf(edited, 21), {
        _tag: "Int",
        id: 21,
        name: "long",
        size: 8,
        encoding: 1,
        bitOffset: 0,
        bits: 64
      })
      assert.propertyVal(Btf.typeOf(edited, 22), "bits", 128)
      assert.strictEqual(Btf.typeName(edited, 24), "long *[6]")
      assert.deepPropertyVal(Btf.typeOf(edited, 25), "members", [
        { name: "low", type: 1, bitOffset: 0, bitfieldSize: 4 },
        { name: "whole", type: 1, bitOffset: 32, bitfieldSize: 0 }
      ])
      assert.deepPropertyVal(Btf.typeOf(edited, 26), "members", [
        { name: "whole", type: 1, bitOffset: 0x0100_0000, bitfieldSize: 0 }
      ])
      assert.strictEqual(Btf.typeName(edited, 28), "long called(long *größe[6])")
      assert.deepEqual(Btf.typeOf(edited, 29), { _tag: "Var", id: 29, name: "dummy", type: 24, linkage: 1 })
      assert.deepEqual(Btf.typeOf(edited, 30), {
        _tag: "Datasec",
        id: 30,
        name: ".ksyms",
        size: 48,
        entries: [{ type: 29, offset: 0, size: 48 }]
      })
      assert.strictEqual(Btf.findOne(edited, "counter"), 14)
    })
  })
}

describe("edit", () => {
  it("keeps header lengths and layouts, and normalises gaps", () => {
    const gapped = expectSuccess(Btf.parse(blob(everyKind, {
      headerLength: 36,
      gaps: [8, 5, 3],
      layout: canonicalLayout
    })))
    const editor = edit(gapped)
    editor.addVar("added", 1, 1)
    const edited = expectSuccess(editor.finish())
    assert.strictEqual(edited.headerLength, 36)
    assert.strictEqual(edited.typesOffset, 36)
    assert.strictEqual(edited.layoutOffset, edited.typesOffset + edited.typesLength)
    assert.strictEqual(edited.stringsOffset, edited.layoutOffset + edited.layoutLength)
    assert.strictEqual(edited.bytes.length, edited.stringsOffset + edited.stringsLength)
    assert.strictEqual(edited.layoutLength, 80)
    assert.strictEqual(Btf.nameOf(edited, 20), "added")
  })

  it("of split BTF continues it and leaves the base alone", () => {
    const base = btfOf(everyKind)
    const split = btfOf([variable("own", 1, 1)], { base })
    const editor = edit(split)
    assert.strictEqual(editor.addVar("more", 20, 1), 21)
    assert.strictEqual(editor.addString("own"), base.stringsLength)
    const edited = expectSuccess(editor.finish())
    assert.strictEqual(edited.base, base)
    assert.strictEqual(Btf.nameOf(edited, 21), "more")
    const refused = edit(split)
    refused.setVarLinkage(14, 0)
    const error = expectFailure(refused.finish())
    assert.strictEqual(error.reason, "BadTypeId")
    assert.include(error.message, "base")
  })

  it("keeps the pointer size", () => {
    const narrow = expectSuccess(Btf.parse(blob(everyKind), { pointerSize: 4 }))
    assert.strictEqual(Btf.pointerSize(expectSuccess(edit(narrow).finish())), 4)
  })

  it("gives each text one offset, byte for byte", () => {
    // Two strings of bytes that are no UTF-8, then a tail that only an offset into another string finds.
    const btf = btfOf([int("int", 4)], { strings: Uint8Array.of(0, 0x69, 0x6e, 0x74, 0, 0xff, 0, 0xfe, 0) })
    const editor = edit(btf)
    assert.strictEqual(editor.addString(""), 0)
    assert.strictEqual(editor.addString("int"), 1)
    const tail = editor.addString("nt")
    assert.strictEqual(tail, btf.stringsLength)
    assert.strictEqual(editor.addString("nt"), tail)
    const replacement = editor.addString("\ufffd")
    assert.isAbove(replacement, tail)
    assert.strictEqual(editor.addString("\ufffd"), replacement)
    const edited = expectSuccess(editor.finish())
    assert.strictEqual(Btf.stringAt(edited, tail), "nt")
    assert.strictEqual(Btf.stringAt(edited, replacement), "\ufffd")
  })

  it("grows past its first room", () => {
    const editor = edit(btfOf([int("int", 4)]))
    const ids = Array.from({ length: 2000 }, (_, index) => editor.addVar(`v${index}`, 1, 1))
    const edited = expectSuccess(editor.finish())
    for (const [index, id] of ids.entries()) assert.strictEqual(Btf.nameOf(edited, id), `v${index}`)
  })

  const refusals: ReadonlyArray<readonly [string, Btf.BtfErrorReason, (editor: BtfEditor) => void]> = [
    ["a type that does not exist", "BadTypeId", (editor) => editor.setVarLinkage(99, 0)],
    ["void", "BadTypeId", (editor) => editor.setVarType(0, 1)],
    ["another kind", "WrongKind", (editor) => editor.setDatasecSize(14, 4)],
    ["an entry that does not exist", "BadArgument", (editor) => editor.setDatasecEntry(15, 1, { offset: 0 })],
    ["a parameter that does not exist", "BadArgument", (editor) => editor.setParamNameOffset(13, -1, 0)],
    ["a size of more than 32 bits", "BadArgument", (editor) => editor.setDatasecSize(15, 2 ** 32)],
    ["a fraction", "BadArgument", (editor) => editor.setDatasecEntry(15, 0, { size: 0.5 })],
    ["a linkage that does not exist", "BadArgument", (editor) => editor.setFuncLinkage(12, 3)],
    ["a reference to no type", "BadTypeId", (editor) => editor.setVarType(14, 500)],
    ["a name outside the strings", "BadString", (editor) => editor.setParamNameOffset(13, 0, 5000)],
    ["a NUL in a string", "BadArgument", (editor) => void editor.addString("a\0b")],
    ["an integer of three bytes", "BadArgument", (editor) => void editor.addInt("i", 3, 0)],
    ["an unknown encoding", "BadArgument", (editor) => void editor.addInt("i", 4, 8)],
    ["a variable without a name", "BadArgument", (editor) => void editor.addVar("", 1, 1)],
    ["a function of no prototype", "WrongKind", (editor) => void editor.addFunc("f", 1, 1)],
    ["a bit field too far away", "BadArgument", (editor) =>
      void editor.addStruct("s", 4, [
        { name: "a", type: 1, bitOffset: 0, bitfieldSize: 1 },
        { name: "b", type: 1, bitOffset: 0x0100_0000, bitfieldSize: 0 }
      ])]
  ]
  for (const [what, reason, change] of refusals) {
    it(`refuses ${what}`, () => {
      const editor = edit(btfOf(everyKind))
      change(editor)
      const error = expectFailure(editor.finish())
      assert.strictEqual(error.reason, reason, error.message)
    })
  }

  it("reports the first of several errors", () => {
    const editor = edit(btfOf(everyKind))
    editor.setVarLinkage(99, 0)
    editor.setDatasecSize(14, 4)
    assert.strictEqual(expectFailure(editor.finish()).reason, "BadTypeId")
  })

  it("refuses a blob whose header has unknown fields, which can still be written", () => {
    const newer = expectSuccess(Btf.parse(blob(everyKind, { headerLength: 40, headerExtra: 7 })))
    assert.strictEqual(expectFailure(edit(newer).finish()).reason, "ReadOnly")
    const written = expectSuccess(Btf.parse(expectSuccess(toByteOrder(newer, "big"))))
    assert.strictEqual(written.headerLength, 40)
    assert.isFalse(written.internal.unknownHeader)
  })
})
