/** Jump tables, from `.jumptables` in the object to the maps that a load makes of them. No clang at hand writes them yet. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Insn from "../../../../src/insn/Insn.ts"
import * as Elf from "../../../../src/services/Elf/Elf.ts"
import { MapType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as KernelLive from "../../../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../../../src/stages/load/Execute.ts"
import * as LoadPlan from "../../../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../../../src/stages/load/Plan.ts"
import * as Open from "../../../../src/stages/open/Open.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import { describeWith } from "../../../support/Require.ts"
import { build, code, EXEC, type ObjectSpec } from "../ObjectBuilder.ts"
import { planned } from "../Pipeline.ts"

/** The entries of tables, byte offsets. */
const entries = (byteOrder: Elf.ByteOrder, offsets: ReadonlyArray<number>): Uint8Array => {
  const bytes = new Uint8Array(8 * offsets.length)
  const view = new DataView(bytes.buffer)
  offsets.forEach((offset, at) => view.setBigUint64(8 * at, BigInt(offset), byteOrder === "little"))
  return bytes
}

/** `switcher` in `.text` jumps by a table, behind `first`; `prog` calls it from slot 1. */
const spec = (
  offsets: ReadonlyArray<number> = [40, 56],
  table: { readonly value?: number; readonly size?: number } = {},
  byteOrder: Elf.ByteOrder = "little",
  more: Pick<ObjectSpec, "symbols" | "relocations"> = {}
): ObjectSpec => {
  const first = code(Encode.mov64Imm(0, 1), Encode.exit())
  const switcher = code(
    Encode.ldImm64(1, 0),
    Encode.gotox(1),
    Encode.mov64Imm(0, 2),
    Encode.exit(),
    Encode.mov64Imm(0, 3),
    Encode.exit()
  )
  const prog = code(Encode.mov64Imm(0, 0), Encode.callSubprogram(-1), Encode.exit())
  const text = new Uint8Array(first.length + switcher.length)
  text.set(first)
  text.set(switcher, first.length)
  const order = (insns: Uint8Array): Uint8Array => Insn.toByteOrder(insns, byteOrder)
  return {
    byteOrder,
    sections: [
      { name: "socket", flags: EXEC, bytes: order(prog) },
      { name: ".text", flags: EXEC, bytes: order(text) },
      { name: ".jumptables", bytes: entries(byteOrder, offsets) },
      { name: "license", bytes: Uint8Array.of(71, 80, 76, 0) }
    ],
    symbols: [
      { name: "prog", section: "socket", size: prog.length },
      { name: "first", section: ".text", size: first.length },
      { name: "switcher", section: ".text", value: first.length, size: switcher.length },
      {
        name: "table",
        section: ".jumptables",
        value: table.value ?? 0,
        size: table.size ?? 8 * offsets.length,
        type: Elf.STT_OBJECT
      },
      ...more.symbols ?? []
    ],
    relocations: [
      { section: "socket", offset: 8, symbol: "switcher" },
      { section: ".text", offset: first.length, symbol: "table" },
      ...more.relocations ?? []
    ]
  }
}

const open = (spec: ObjectSpec) => Open.fromBytes(build(spec), { path: "tables.bpf.o" })

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

describeWith({ kind: "live" }, "a jump table on the running kernel", () => {
  it.live("is loaded where there are such maps, and else refused by the name of the map's type", () =>
    Effect.gen(function*() {
      const object = Result.getOrThrow(open(spec()))
      const result = yield* Effect.result(Effect.scoped(Effect.gen(function*() {
        return yield* Execute.toLoaded(yield* Plan.plan.run(yield* Relocate.relocate.run(object)))
      })))
      if (Result.isSuccess(result)) return
      const error = result.failure
      if (error._tag === "VerifierError") return assert.strictEqual(error.program, "prog")
      if (error._tag !== "KernelError") return assert.fail(error.message)
      assert.deepStrictEqual([error.call, error.errno, error.subject], ["MapCreate", "EINVAL", ".jumptables"])
      assert.match(error.hint ?? "", /may not know map type insn_array/)
    }).pipe(Effect.provide(KernelLive.layer)))
})
