/** Layouts of types as short texts: what changes them, and what does not. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../src/btf/BtfEdit.ts"
import * as BtfLayout from "../../../src/btf/BtfLayout.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import { allFixtures, fixture } from "../../support/Require.ts"

interface Member {
  readonly name: string
  readonly type: "int" | "long" | "pointer" | "flag" | "inner"
  readonly bitOffset: number
  readonly bits?: number
}

const plain: ReadonlyArray<Member> = [
  { name: "first", type: "int", bitOffset: 0 },
  { name: "second", type: "int", bitOffset: 32 },
  { name: "third", type: "inner", bitOffset: 64 }
]

/** BTF of `struct outer` with these members, and of what they are; `extra` types in front move all numbers. */
const outer = (members: ReadonlyArray<Member>, { extra = 0, flags = ["ON"] } = {}) => {
  const editor = BtfEdit.make()
  for (let at = 0; at < extra; at++) editor.addInt(`extra${at}`, 8, 0)
  const int = editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
  const long = editor.addInt("long", 8, 0)
  const pointer = editor.addPtr(long)
  const flag = editor.addEnum("flag", 4, flags.map((name, value) => ({ name, value })))
  const inner = editor.addStruct("inner", 4, [{ name: "value", type: int, bitOffset: 0, bitfieldSize: 0 }])
  const types = { int, long, pointer, flag, inner }
  const id = editor.addStruct(
    "outer",
    16,
    members.map(({ bitOffset, bits = 0, name, type }) => ({ name, type: types[type], bitOffset, bitfieldSize: bits }))
  )
  return { btf: Result.getOrThrow(editor.finish()), id }
}

const layoutsOf = (made: ReturnType<typeof outer>) => BtfLayout.layouts(made.btf, [made.id])

describe("BtfLayout", () => {
  it("is the same for the same types, whatever their numbers", () => {
    const layouts = layoutsOf(outer(plain))
    assert.deepStrictEqual([...layouts.keys()], ["struct outer", "struct inner"])
    assert.deepStrictEqual(layoutsOf(outer(plain, { extra: 3 })), layouts)
    for (const [name, layout] of layouts) {
      assert.isUndefined(BtfLayout.difference(outer(plain, { extra: 1 }).btf, name, layout))
    }
  })

  it("changes with names, places, sizes and types of members, and with the names of enums", () => {
    const [first, second, third] = plain
    if (first === undefined || second === undefined || third === undefined) return assert.fail()
    const layout = layoutsOf(outer(plain)).get("struct outer") ?? ""
    const others: ReadonlyArray<ReadonlyArray<Member>> = [
      [second, first, third],
      [{ ...first, name: "other" }, second, third],
      [{ ...first, bitOffset: 32 }, { ...second, bitOffset: 0 }, third],
      [{ ...first, type: "flag" }, second, third],
      [{ ...first, bits: 31 }, second, third],
      [first, second]
    ]
    for (const members of others) {
      assert.match(BtfLayout.difference(outer(members).btf, "struct outer", layout) ?? "", /laid out otherwise/)
    }
    const withFlag: ReadonlyArray<Member> = [{ name: "flag", type: "flag", bitOffset: 0 }]
    const flag = layoutsOf(outer(withFlag)).get("enum flag") ?? ""
    assert.isUndefined(BtfLayout.difference(outer(withFlag).btf, "enum flag", flag))
    assert.isDefined(BtfLayout.difference(outer(withFlag, { flags: ["OFF", "ON"] }).btf, "enum flag", flag))
    assert.strictEqual(
      BtfLayout.difference(outer(plain).btf, "union outer", layout),
      "the object has no union outer"
    )
  })

  it("takes no longer where anonymous types are in many others", () => {
    const editor = BtfEdit.make()
    let type = editor.addInt("int", 4, 0)
    for (let level = 0; level < 60; level++) {
      type = editor.addStruct("", 4, [
        { name: "a", type, bitOffset: 0, bitfieldSize: 0 },
        { name: "b", type, bitOffset: 0, bitfieldSize: 0 }
      ])
    }
    editor.addStruct("whole", 4, [{ name: "a", type, bitOffset: 0, bitfieldSize: 0 }])
    const btf = Result.getOrThrow(editor.finish())
    assert.deepStrictEqual([...BtfLayout.layouts(btf, [btf.endId - 1]).keys()], ["struct whole"])
  })

  it("does not follow pointers", () => {
    assert.deepStrictEqual(
      [...layoutsOf(outer([{ name: "next", type: "pointer", bitOffset: 0 }])).keys()],
      ["struct outer"]
    )
  })

  it("of the fixtures' types are found again in them", () => {
    let types = 0
    for (const file of allFixtures()) {
      const opened = Open.fromBytes(fixture(file))
      const btf = Result.isSuccess(opened) ? opened.success.btf : undefined
      if (btf === undefined) continue
      const all = Array.from({ length: btf.endId - btf.firstId }, (_, at) => at + btf.firstId)
      for (const [name, layout] of BtfLayout.layouts(btf, all)) {
        assert.isUndefined(BtfLayout.difference(btf, name, layout), `${file}: ${name}`)
        types++
      }
    }
    assert.isAbove(types, 150)
  })
})
