/** Types as TypeScript text: names, shapes, and what has none. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../../../src/btf/BtfEdit.ts"
import * as TsCodecs from "../../../../../src/stages/gen/skeleton/TsCodecs.ts"
import { runCodecs } from "../../../../support/TsModule.ts"

const member = (name: string, type: number, bytes: number): Btf.Member => ({
  name,
  type,
  bitOffset: bytes * 8,
  bitfieldSize: 0
})

/** The codecs of types that `build` makes, and what each that it names is in the text. */
const written = (
  build: (editor: BtfEdit.BtfEditor) => ReadonlyArray<readonly [type: number, wanted?: string]>,
  reserved: ReadonlyArray<string> = []
) => {
  const editor = BtfEdit.make()
  const asked = build(editor)
  const btf = Result.getOrThrow(editor.finish())
  const codecs = TsCodecs.make(btf, { runtime: "LayoutCodec", reserved: new Set(reserved) })
  const types = asked.map(([type, wanted]) => TsCodecs.codecOf(codecs, type, wanted))
  const text = TsCodecs.text(codecs)
  return {
    text,
    module: () => runCodecs(text),
    names: types.map((type) => Result.isSuccess(type) ? type.success.codec : type.failure.message)
  }
}

/** The type that an interface has for a member. */
const typeOf = (text: string, name: string): string | undefined =>
  new RegExp(`^  readonly ${name}: (.*)$`, "m").exec(text)?.[1]

describe("TsCodecs", () => {
  it("names types as C does, without the words of TypeScript and of the module, each once", () => {
    const { names } = written((editor) => {
      const int = editor.addInt("unsigned int", 4, 0)
      const struct = (name: string) => editor.addStruct(name, 4, [member("x", int, 0)])
      const anonymous = () => editor.addStruct("", 4, [member("x", int, 0)])
      return [
        [struct("event")],
        [struct("event")],
        [struct("event")],
        [struct("string")],
        [struct("Map")],
        [struct("open")],
        [struct("event___v2")],
        [editor.addTypedef("named_t", anonymous())],
        [anonymous(), "variable"],
        [anonymous()],
        [int],
        [editor.addTypedef("__u32", int)],
        [editor.addArray(int, int, 3)],
        [editor.addConst(editor.addPtr(int))],
        [editor.addArray(int, editor.addVolatile(editor.addConst(int)), 3)]
      ]
    }, ["open"])
    assert.deepStrictEqual(names, [
      "event",
      "event_2",
      "event_3",
      "string_",
      "Map_",
      "open_",
      "event___v2",
      "named_t",
      "variable",
      "value",
      "unsigned_int",
      "__u32",
      "unsigned_int_3",
      "void_ptr",
      "unsigned_int_3"
    ])
  })

  it("names what is anonymous in a struct by its members, and takes members of anonymous members as its own", () => {
    const { text } = written((editor) => {
      const int = editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
      const inner = editor.addStruct("", 8, [member("a", int, 0), member("b", int, 4)])
      const either = editor.addUnion("", 8, [member("", inner, 0), member("c", int, 0)])
      return [[editor.addStruct("outer", 16, [member("", either, 0), member("d", inner, 8)])]]
    })
    assert.deepStrictEqual(["a", "b", "c", "d"].map((name) => typeOf(text, name)), [
      "number",
      "number",
      "number",
      "outer_d"
    ])
    assert.include(text, "export interface outer_d {")
    assert.include(text, "b: { offset: 4, size: 4 }")
  })

  it("gives each kind of type its type", () => {
    const { module, text } = written((editor) => {
      const int = editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
      const u64 = editor.addInt("unsigned long long", 8, 0)
      const u128 = editor.addInt("unsigned __int128", 16, 0)
      const bool = editor.addInt("_Bool", 1, Btf.BTF_INT_BOOL)
      const char = editor.addInt("char", 1, Btf.BTF_INT_SIGNED)
      const byte = editor.addInt("unsigned char", 1, 0)
      const level = editor.addEnum("level", 4, [{ name: "LOW", value: 0 }, { name: "HIGH", value: 1 }])
      const wide = editor.addEnum64("wide", 8, [{ name: "HUGE", value: 1n << 40n }])
      const double = editor.addFloat("double", 8)
      const later = editor.addFwd("later", "struct")
      const proto = editor.addFuncProto(int, [])
      return [[
        editor.addStruct("all", 1192, [
          member("i", int, 0),
          member("u", u64, 8),
          member("w", u128, 16),
          member("t", bool, 32),
          member("e", level, 36),
          member("h", wide, 40),
          member("f", double, 48),
          member("p", editor.addPtr(later), 56),
          member("fn", editor.addPtr(proto), 64),
          member("s", editor.addArray(int, char, 16), 72),
          member("o", editor.addArray(int, byte, 8), 88),
          member("few", editor.addArray(int, editor.addArray(int, int, 2), 2), 96),
          member("many", editor.addArray(int, int, 256), 112),
          member("none", editor.addArray(int, editor.addStruct("empty", 0, []), 4), 1136),
          member("tail", editor.addArray(int, u64, 0), 1136)
        ])
      ]]
    })
    const types = ["i", "u", "w", "t", "e", "h", "f", "p", "fn", "s", "o", "few", "many", "none", "tail"]
      .map((name) => typeOf(text, name))
    assert.deepStrictEqual(types, [
      "number",
      "bigint",
      "bigint",
      "boolean",
      "level",
      "wide",
      "number",
      "bigint",
      "bigint",
      "string | Uint8Array",
      "Uint8Array",
      "readonly [readonly [number, number], readonly [number, number]]",
      "ReadonlyArray<number>",
      "readonly []",
      "ReadonlyArray<bigint>"
    ])
    assert.include(text, `export type level = "LOW" | "HIGH" | number\n`)
    assert.include(text, `export type wide = "HUGE" | bigint\n`)
    assert.notMatch(text, /\b(any|unknown)\b/)
    // Many elements are read in a loop: the text does not grow with them.
    assert.isBelow(text.length, 10_000)
    assert.isTrue(module().get("all")?.flexible)
  })

  it("writes hostile names where they can do nothing", () => {
    const name = "x */ } globalThis.caught = 1 /* \n\"`${globalThis.caught = 1}"
    const { module, names } = written((editor) => {
      const int = editor.addInt(name, 4, 0)
      const level = editor.addEnum(name, 4, [{ name, value: 0 }, { name: "__proto__", value: 1 }])
      return [[
        editor.addStruct(name, 16, [
          member(name, int, 0),
          member("__proto__", level, 4),
          member("constructor", int, 8),
          member("default", int, 12)
        ])
      ]]
    })
    const codec = module().get(names[0] ?? "")
    assert.isFalse("caught" in globalThis)
    const bytes = Uint8Array.of(1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0)
    const value = codec?.read(new DataView(bytes.buffer), 0)
    assert.deepStrictEqual(Object.entries(value ?? {}), [
      [name, 1],
      ["__proto__", "__proto__"],
      ["constructor", 3],
      ["default", 4]
    ])
    assert.deepStrictEqual(codec?.encode(value ?? {}), Result.succeed(bytes))
    // What objects inherit is no member of theirs.
    assert.deepStrictEqual(codec?.encode({}), Result.succeed(new Uint8Array(16)))
  })

  it.each<readonly [string, (editor: BtfEdit.BtfEditor) => number, RegExp]>([
    ["what has no size", (editor) => editor.addFwd("later", "struct"), /has no values/],
    ["a function", (editor) => editor.addFuncProto(0, []), /has no values/],
    ["a member outside of its struct", (editor) => {
      const int = editor.addInt("int", 4, 0)
      return editor.addStruct("short", 4, [member("x", int, 2)])
    }, /short: x: it lies outside struct short|x: it lies outside/],
    ["what is too large", (editor) => {
      const int = editor.addInt("int", 4, 0)
      return editor.addArray(int, int, 1 << 28)
    }, /bytes are too many for a value/],
    ["what contains itself", (editor) => {
      const id = editor.nextId
      return editor.addStruct("self", 8, [member("self", id, 0)])
    }, /nested more than 64 levels deep/],
    ["unions in unions that multiply", (editor) => {
      let inner = editor.addInt("int", 4, 0)
      for (let depth = 0; depth < 40; depth++) {
        inner = editor.addUnion(`u${depth}`, 4, [member("a", inner, 0), member("b", inner, 0)])
      }
      return inner
    }, /its unions multiply to too many values/]
  ])("refuses %s", (_what, build, message) => {
    const { names } = written((editor) => [[build(editor)]])
    assert.match(names[0] ?? "", message)
  })

  it("is written in time that grows with the types, however many have one name", () => {
    const { names, text } = written((editor) => {
      const int = editor.addInt("int", 4, 0)
      return Array.from({ length: 5000 }, () => [editor.addStruct("", 4, [member("x", int, 0)])] as const)
    })
    assert.strictEqual(new Set(names).size, 5000)
    assert.isBelow(text.length, 5000 * 1200)
  })
})
