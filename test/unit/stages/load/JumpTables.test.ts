/** Jump tables, from `.jumptables` in the object to the maps that a load makes of them. No clang at hand writes them yet. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Elf from "../../../../src/services/Elf/Elf.ts"
import { MapType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as LoadPlan from "../../../../src/stages/load/LoadPlan.ts"
import { code, type ObjectSpec } from "../ObjectBuilder.ts"
import { planned } from "../Pipeline.ts"
import { open, spec } from "./JumpTableObject.ts"

const refusal = (spec: ObjectSpec): string => {
  const opened = open(spec)
  return Result.isFailure(opened) ? opened.failure.message : assert.fail("opened")
}

describe("a jump table", () => {
  for (const byteOrder of ["little", "big"] as const) {
    it(`is a map of its program, with the places where its instructions have gone (${byteOrder}-endian)`, () => {
      const { plan, relocated } = planned(Result.getOrThrow(open(spec([40, 56], {}, byteOrder))))
      const calls = LoadPlan.mainCalls(plan)
      assert.deepStrictEqual(calls.map((call) => call._tag), [
        "MapCreate",
        "MapUpdate",
        "MapUpdate",
        "MapFreeze",
        "ProgLoad"
      ])
      const [create, first, second, , load] = calls
      if (create?._tag !== "MapCreate" || load?._tag !== "ProgLoad") return assert.fail("other calls")
      assert.deepInclude(create.attr, {
        name: ".jumptables",
        type: MapType.BPF_MAP_TYPE_INSN_ARRAY,
        keySize: 4,
        valueSize: 16,
        maxEntries: 2
      })
      // `switcher` was at slot 2 of `.text` and is at slot 3 of the program, so slots 5 and 7 are 6 and 8.
      const values = [first, second].map((call) => {
        if (call?._tag !== "MapUpdate") return assert.fail("no update")
        const word = (bytes: Uint8Array) => new DataView(bytes.buffer).getUint32(0, byteOrder === "little")
        assert.isTrue(call.value.bytes.subarray(4).every((byte) => byte === 0))
        return [word(call.key), word(call.value.bytes)]
      })
      assert.deepStrictEqual(values, [[0, 6], [1, 8]])
      assert.deepStrictEqual(load.code.refs, [{ _tag: "MapValueRef", at: 3, map: create.as, offset: 0 }])
      assert.deepStrictEqual(relocated.programs[0]?.jumpTables, [{ map: create.as.index, targets: [6, 8] }])
    })
  }

  it("is refused where it is no table", () => {
    assert.match(refusal(spec([40, 56], { size: 12 })), /12 bytes at byte 0 has no whole entries/)
    assert.match(refusal(spec([40, 56], { value: 4, size: 8 })), /at byte 4 has no whole entries/)
    assert.match(refusal(spec([40, 56], { size: 0 })), /0 bytes at byte 0/)
    assert.match(refusal(spec([40, 56], { value: 8, size: 16 })), /ends behind its section/)
    assert.match(refusal(spec([40, 57])), /entry 1 of the jump table, 57, is no place of an instruction/)
    assert.match(refusal(spec([40, 2 ** 35])), /entry 1 .* is no place/)
  })

  it("cannot lie over another, which would make work without end", () => {
    const twice = spec([40, 56], {}, "little", {
      symbols: [{ name: "again", section: ".jumptables", size: 16, type: Elf.STT_OBJECT }],
      // The program's own load of the other symbol stands in the place of its call.
      relocations: []
    })
    const sections = (twice.sections ?? []).map((section) =>
      section.name === "socket"
        ? { ...section, bytes: code(Encode.ldImm64(1, 0), Encode.callSubprogram(-1), Encode.exit()) }
        : section
    )
    const symbols = (twice.symbols ?? []).map((symbol) => symbol.name === "prog" ? { ...symbol, size: 32 } : symbol)
    const relocations = [
      { section: "socket", offset: 0, symbol: "again" },
      { section: "socket", offset: 16, symbol: "switcher" },
      { section: ".text", offset: 16, symbol: "table" }
    ]
    assert.match(refusal({ ...twice, sections, symbols, relocations }), /lie over each other/)
  })

  it("cannot lead out of its function", () => {
    const object = Result.getOrThrow(open(spec([40, 0])))
    assert.throws(() => planned(object), /entry 1 of the jump table leads out of the function/)
  })
})
