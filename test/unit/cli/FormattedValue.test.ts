/** Bytes of a type in bpftool's form, of types that are as they should be, and of forged ones. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as BtfEdit from "../../../src/btf/BtfEdit.ts"
import { formatted } from "../../../src/cli/json/FormattedValue.ts"
import { jsonText } from "../../../src/cli/json/Json.ts"
import { richType, richValues } from "../../support/RichType.ts"

describe("formatted", () => {
  const { btf, size, type } = richType()

  it("has each kind in its form", () => {
    const [, , , named] = richValues(size)
    const found = formatted(btf, type, named ?? assert.fail("no bytes"))
    assert.deepStrictEqual(found, {
      u8: 0,
      s8: 0,
      letter: 65,
      truth: false,
      u32: 0,
      u64: 0,
      s64: 0,
      pointer: 0,
      big: "0x0",
      text: "hello",
      octets: [0, 0, 0, 0],
      color: "RED",
      wide: "HUGE",
      grid: [[0, 0], [0, 0]],
      points: [{ x: 0, y: 0 }, { x: 0, y: 0 }],
      "": { whole: 0, low: 0 },
      flags: { a: "0x0", b: "0x0", c: "0x0" },
      rest: [0, 0, 0, 0, 0, 0, 0, 0]
    })
  })

  it("needs all bytes of the type", () => {
    assert.isDefined(formatted(btf, type, new Uint8Array(size)))
    for (const length of [0, 1, size - 1]) assert.isUndefined(formatted(btf, type, new Uint8Array(length)))
  })

  it("of several anonymous members none is lost", () => {
    const editor = BtfEdit.make()
    const int = editor.addInt("int", 4, 0)
    const inner = editor.addStruct("", 4, [{ name: "a", type: int, bitOffset: 0, bitfieldSize: 0 }])
    const outer = editor.addStruct("outer", 8, [
      { name: "", type: inner, bitOffset: 0, bitfieldSize: 0 },
      { name: "", type: inner, bitOffset: 32, bitfieldSize: 0 }
    ])
    const both = formatted(Result.getOrThrow(editor.finish()), outer, Uint8Array.of(1, 0, 0, 0, 2, 0, 0, 0))
    assert.deepStrictEqual(both, { " 1": { a: 1 }, "": { a: 2 } })
  })

  it("names of members are names, whatever they mean to JavaScript", () => {
    const editor = BtfEdit.make()
    const int = editor.addInt("int", 4, 0)
    const type = editor.addStruct("s", 4, [{ name: "__proto__", type: int, bitOffset: 0, bitfieldSize: 0 }])
    const found = formatted(Result.getOrThrow(editor.finish()), type, Uint8Array.of(7, 0, 0, 0))
    assert.strictEqual(jsonText(found ?? null, false), "{\"__proto__\":7}\n")
  })

  it("arrays that claim more than there is end at once", () => {
    const editor = BtfEdit.make()
    const int = editor.addInt("int", 4, 0)
    const empty = editor.addStruct("empty", 0, [])
    const many = editor.addArray(int, int, 0xffff_ffff)
    const nothings = editor.addArray(int, empty, 0xffff_ffff)
    const forged = Result.getOrThrow(editor.finish())
    assert.isUndefined(formatted(forged, many, new Uint8Array(64)))
    assert.deepStrictEqual(formatted(forged, nothings, new Uint8Array(64)), [])
  })

  it("what has no value has no form", () => {
    const editor = BtfEdit.make()
    const proto = editor.addFuncProto(0, [])
    const forward = editor.addFwd("opaque", "struct")
    const forged = Result.getOrThrow(editor.finish())
    for (const type of [0, proto, forward]) assert.isUndefined(formatted(forged, type, new Uint8Array(8)))
  })
})
