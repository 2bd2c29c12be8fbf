import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import * as Layout from "../../../../src/stages/gen/LoaderLayout.ts"
import * as LoaderProgram from "../../../../src/stages/gen/LoaderProgram.ts"
import { recorded } from "./Recorded.ts"

const encode = Schema.encodeSync(LoaderProgram.codec)
const decode = Schema.decodeUnknownResult(LoaderProgram.codec)

/** Any loader that is consistent in itself. */
const loaders: fc.Arbitrary<LoaderProgram.LoaderProgram> = fc.record({
  slots: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  data: fc.uint8Array({ maxLength: 64 }),
  maps: fc.array(
    fc.record({
      name: fc.string(),
      ref: fc.nat(),
      maxEntries: fc.nat(),
      initialValue: fc.option(fc.record({ offset: fc.nat(1000), size: fc.nat(280) }), { nil: undefined }),
      published: fc.boolean()
    }),
    { maxLength: Layout.MAX_MAPS }
  ),
  programs: fc.array(fc.record({ name: fc.string(), ref: fc.nat(), published: fc.boolean() }), {
    maxLength: 2 * Layout.STACK_PROGRAMS
  }),
  created: fc.array(fc.record({ name: fc.string(), ref: fc.nat() }), { maxLength: 3 }),
  byteOrder: fc.constantFrom("little", "big"),
  notes: fc.array(fc.string())
}).map(({ byteOrder, created, data, maps, notes, programs, slots }) => ({
  byteOrder,
  insns: Uint8Array.from([...slots].flatMap((byte) => [byte, 0, 0, 0, byte, 0, 0, 0])),
  data: Uint8Array.from([...new Uint8Array(Layout.FD_ARRAY_SIZE), ...data]),
  license: "GPL",
  contextSize: Layout.contextSize(maps.length, programs.length),
  maps: maps.map(({ initialValue, ...map }, number) => ({
    ...map,
    contextOffset: Layout.contextMap(number),
    ...(initialValue === undefined ? {} : { initialValue })
  })),
  programs: programs.map((program, number) => ({
    ...program,
    contextOffset: Layout.contextProgram(maps.length, number)
  })),
  created: { maps: created, programs: created.slice(1) },
  inputs: [],
  notes
}))

describe("LoaderProgram as JSON", () => {
  it("comes back as it was", () => {
    fc.assert(fc.property(loaders, (loader) => {
      const text = JSON.stringify(encode(loader))
      assert.deepStrictEqual(decode(JSON.parse(text)), Result.succeed(loader))
    }))
  })

  it("has keys in snake case and bytes in base64", () => {
    const json = encode({
      byteOrder: "big",
      insns: Uint8Array.of(0x95, 0, 0, 0, 0, 0, 0, 0),
      data: new Uint8Array(Layout.FD_ARRAY_SIZE),
      license: "GPL",
      contextSize: 44,
      maps: [{
        name: "m",
        ref: 3,
        contextOffset: 24,
        maxEntries: 1,
        initialValue: { offset: 8, size: 4 },
        published: true
      }],
      programs: [{ name: "p", ref: 2, contextOffset: 40, published: true }],
      created: { maps: [{ name: "m", ref: 3 }], programs: [{ name: "p", ref: 2 }] },
      inputs: [],
      notes: []
    })
    assert.deepStrictEqual(json, {
      byte_order: "big",
      insns: "lQAAAAAAAAA=",
      data: `${"AAAA".repeat(426)}AAA=`,
      license: "GPL",
      context_size: 44,
      maps: [{
        name: "m",
        ref: 3,
        context_offset: 24,
        max_entries: 1,
        initial_value: { offset: 8, size: 4 },
        published: true
      }],
      programs: [{ name: "p", ref: 2, context_offset: 40, published: true }],
      created: { maps: [{ name: "m", ref: 3 }], programs: [{ name: "p", ref: 2 }] },
      inputs: [],
      notes: []
    })
  })

  it.effect("refuses what contradicts itself", () =>
    Effect.gen(function*() {
      const json = encode(yield* recorded("global_data.bpf.o"))
      const [map] = json.maps
      const [program] = json.programs
      if (map?.initial_value === undefined || program === undefined) return assert.fail("the fixture has changed")
      const contradictions: ReadonlyArray<readonly [object, RegExp]> = [
        [{ insns: "lQAAAAAAAA==" }, /whole number of instructions/],
        [{ insns: "" }, /whole number of instructions/],
        [{ insns: "not base64!" }, /insns/],
        [{ data: "AAAA" }, /at least 1280 bytes/],
        [{ context_size: 8 }, /has not 8 bytes/],
        [{ maps: [{ ...map, context_offset: 25 }, ...json.maps.slice(1)] }, /map 0 is not at its place/],
        [{ maps: [{ ...map, max_entries: 2 ** 32 }, ...json.maps.slice(1)] }, /map 0 has more elements/],
        [
          { context_size: 24 + 4 * 20_000, maps: [], programs: Array.from({ length: 20_000 }, () => program) },
          /no context of 80024 bytes/
        ],
        [{ programs: [{ ...program, context_offset: 0 }] }, /program 0 is not at its place/],
        [
          { maps: [{ ...map, initial_value: { offset: 9000, size: 0x7fffffff } }, ...json.maps.slice(1)] },
          /beyond the data/
        ],
        [{ byte_order: "middle" }, /byte_order/],
        [{ notes: undefined }, /notes/]
      ]
      for (const [wrong, why] of contradictions) {
        const decoded = decode({ ...json, ...wrong })
        assert.isTrue(Result.isFailure(decoded), String(why))
        if (Result.isFailure(decoded)) assert.match(decoded.failure.message, why)
      }
      assert.isTrue(Result.isSuccess(decode(json)))
    }))
})

describe("LoaderProgram", () => {
  it.effect("is put into a context and read out of it", () =>
    Effect.gen(function*() {
      const loader = yield* recorded("xdp_firewall.bpf.o")
      const bytes = LoaderProgram.context(loader, {
        log: { address: 0x1122334455667788n, size: 4096, level: 2 },
        maps: new Map([[1, { maxEntries: 9, initialValue: 0xffff_ffff_ffff_fff0n }], [99, { maxEntries: 1 }]])
      })
      const view = new DataView(bytes.buffer)
      assert.strictEqual(bytes.length, 24 + 16 * loader.maps.length + 4 * loader.programs.length)
      assert.strictEqual(view.getUint32(0, true), bytes.length)
      assert.strictEqual(view.getUint32(4, true), 0)
      assert.strictEqual(view.getUint32(8, true), 2)
      assert.strictEqual(view.getUint32(12, true), 4096)
      assert.strictEqual(view.getBigUint64(16, true), 0x1122334455667788n)
      assert.strictEqual(view.getUint32(24 + 16 + 4, true), 9)
      assert.strictEqual(view.getBigUint64(24 + 16 + 8, true), 0xffff_ffff_ffff_fff0n)
      view.setInt32(24, 5, true)
      view.setInt32(24 + 16 * loader.maps.length, 6, true)
      const { maps, programs } = LoaderProgram.descriptors(loader, bytes)
      assert.deepStrictEqual(maps, [5, ...loader.maps.slice(1).map(() => 0)])
      assert.deepStrictEqual(programs, [6, ...loader.programs.slice(1).map(() => 0)])
      assert.deepStrictEqual(LoaderProgram.descriptors(loader, new Uint8Array(3)).maps, loader.maps.map(() => 0))
    }))

  it("names its data where its code uses them", () => {
    const insns = Encode.program(Encode.ldMapIdxValue(1, 0, 0x80000000), Encode.ldImm64(2, 7n), Encode.exit())
    const loader: LoaderProgram.LoaderProgram = {
      byteOrder: "little",
      insns,
      data: new Uint8Array(Layout.FD_ARRAY_SIZE),
      license: "GPL",
      contextSize: 24,
      maps: [],
      programs: [],
      created: { maps: [], programs: [] },
      inputs: [],
      notes: []
    }
    assert.deepStrictEqual(LoaderProgram.code(loader, Ref.map(4)), {
      insns,
      refs: [{ _tag: "MapValueRef", at: 0, map: Ref.map(4), offset: 0x80000000 }]
    })
  })
})
