/** The kernel's lists of functions, whatever is in them. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as KernelFunctions from "../../../src/attach/KernelFunctions.ts"
import { isTraceable } from "../../../src/attach/Traceable.ts"
import * as BtfEdit from "../../../src/btf/BtfEdit.ts"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfFile from "../../../src/btf/BtfFile.ts"
import { fixture } from "../../support/Require.ts"

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

describe("functions that match", () => {
  it("are those of the names that were listed, with their addresses, in that order", () => {
    const functions = fc.uniqueArray(
      fc.record({ name: fc.stringMatching(/^[a-z_][a-z0-9_]{0,12}$/), address: fc.bigInt(1n, (1n << 64n) - 1n) }),
      { selector: ({ name }) => name }
    )
    fc.assert(fc.property(functions, fc.boolean(), (listed, isOlder) => {
      const hex = (address: bigint) => address.toString(16).padStart(16, "0")
      const lists: KernelFunctions.FunctionLists = isOlder
        ? {
          names: bytes(listed.map(({ name }) => `${name}\n`).join("")),
          symbols: bytes(listed.map(({ address, name }) => `${hex(address)} t ${name}\t[module]\n`).join(""))
        }
        : { withAddresses: bytes(listed.map(({ address, name }) => `${hex(address)} ${name} [module]\n`).join("")) }
      assert.deepStrictEqual(KernelFunctions.matching(lists, "*"), listed)
      const [first] = listed
      if (first !== undefined) assert.deepStrictEqual(KernelFunctions.matching(lists, first.name), [first])
    }))
  })

  it("named fault: a list whose addresses are shifted is not the same", () => {
    const lists = { withAddresses: bytes("10 a\n20 b\n") }
    assert.notDeepEqual(KernelFunctions.matching(lists, "*"), [{ name: "a", address: 0x20n }, {
      name: "b",
      address: 0x10n
    }])
  })

  it("of any bytes are some, or none", () => {
    fc.assert(fc.property(fc.uint8Array(), fc.uint8Array(), fc.string(), (first, second, pattern) => {
      for (const lists of [{ withAddresses: first }, { names: first, symbols: second }]) {
        for (const { address } of KernelFunctions.matching(lists, pattern) ?? []) assert.isTrue(address < 1n << 64n)
      }
      assert.strictEqual(KernelFunctions.matching({ names: first }, pattern), undefined)
    }))
  })
})

describe("functions that can be traced together", () => {
  it("are functions with arguments that a trampoline passes on", () => {
    const types = Result.getOrThrow(BtfFile.parse(fixture("section_kinds.bpf.o"), {})).btf
    let count = 0
    for (let id = 0; id < types.endId + 3; id++) {
      const isFunction = id > 0 && id < types.endId && Btf.kindOf(types, id) === Btf.BTF_KIND_FUNC
      if (isTraceable(types, id)) {
        assert.isTrue(isFunction, String(id))
        count++
      }
    }
    assert.isAbove(count, 0)
  })

  it("take no more than twelve arguments, each of 1 to 16 bytes, and give back no struct", () => {
    const editor = BtfEdit.make()
    const int = editor.addInt("int", 4, 1)
    const wide = editor.addStruct("wide", 17, [])
    const narrow = editor.addStruct("narrow", 16, [])
    const alias = editor.addTypedef("alias", narrow)
    const nothing = editor.addFwd("nothing", "struct")
    const many = (count: number) => Array.from({ length: count }, () => int)
    const cases: ReadonlyArray<readonly [boolean, returned: number, parameters: ReadonlyArray<number>]> = [
      [true, 0, []],
      [true, int, many(12)],
      [false, int, many(13)],
      [true, int, [narrow, alias]],
      [false, int, [wide]],
      [false, int, [nothing]],
      // What follows the last argument of printf.
      [false, int, [int, 0]],
      [false, narrow, []],
      [false, alias, []],
      [true, editor.addPtr(narrow), [editor.addPtr(0)]]
    ]
    const ids = cases.map(([, returned, parameters], index) =>
      editor.addFunc(`f${index}`, editor.addFuncProto(returned, parameters.map((type) => ({ name: "", type }))), 1)
    )
    const types = Result.getOrThrow(editor.finish())
    assert.deepStrictEqual(ids.map((id) => isTraceable(types, id)), cases.map(([expected]) => expected))
    assert.isFalse(isTraceable(types, int))
  })
})
