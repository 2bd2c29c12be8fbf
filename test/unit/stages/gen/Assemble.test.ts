import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Insn from "../../../../src/insn/Insn.ts"
import { MapType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import type { Code, KernelCall, MapAttributes, ProgLoad } from "../../../../src/services/Kernel/KernelCall.ts"
import * as KernelRecording from "../../../../src/services/Kernel/KernelRecording.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import { assemble, type AssembleError } from "../../../../src/stages/gen/Assemble.ts"
import type { LoaderProgram } from "../../../../src/stages/gen/LoaderProgram.ts"
import { plainMap } from "../../../support/LedgerKernel.ts"
import { faults } from "../../../support/LoaderCheck.ts"
import { deferred, loaderCalls, recordableAll } from "./Recorded.ts"

const mapCreate = (index: number, attr: Partial<MapAttributes> = {}): KernelCall => ({
  _tag: "MapCreate",
  as: Ref.map(index),
  attr: { ...plainMap, name: `map${index}`, ...attr }
})

const returning: Code = { insns: Encode.program(Encode.mov64Imm(0, 0), Encode.exit()), refs: [] }

const progLoad = (index: number, more: Partial<ProgLoad> = {}): ProgLoad => ({
  _tag: "ProgLoad",
  as: Ref.prog(index),
  attr: {
    name: `prog${index}`,
    type: 1,
    expectedAttachType: 0,
    license: "GPL",
    kernelVersion: 0,
    flags: 0,
    ifindex: 0
  },
  code: returning,
  log: { level: 0 },
  ...more
})

const loaderOf = (...calls: ReadonlyArray<KernelCall>): LoaderProgram => Result.getOrThrow(assemble(calls))

const errorOf = (...calls: ReadonlyArray<KernelCall>): AssembleError => {
  const result = assemble(calls)
  return Result.isFailure(result) ? result.failure : assert.fail("it was assembled")
}

describe("the code of a loader", () => {
  it.effect.each(recordableAll)(
    "%s: jumps to where it should, and stays in its memory",
    (name) =>
      Effect.gen(function*() {
        const planned = yield* deferred(name)
        const loader = yield* KernelRecording.record(planned)
        assert.deepStrictEqual(faults(loader), [])
        assert.strictEqual(loader.byteOrder, planned.object.byteOrder)
        const printing = yield* KernelRecording.record(planned, { logLevel: 1 })
        assert.deepStrictEqual(faults(printing), [])
        assert.isAbove(printing.insns.length, loader.insns.length)
        if (loader.inputs.length > 0) return
        // What is signed takes no changes; the older form looks at the digest of its data.
        const [all, insns] = [
          yield* KernelRecording.record(planned, { signed: true }),
          yield* KernelRecording.record(planned, { signed: "insns" })
        ]
        assert.deepStrictEqual([faults(all), faults(insns)], [[], []])
        const created = loader.created.maps.length > 0
        assert.strictEqual(all.insns.length < loader.insns.length, created)
        assert.isAbove(insns.insns.length, all.insns.length)
      })
  )

  it.effect("named fault: a jump, an address and an unchecked answer that are wrong are seen", () =>
    Effect.gen(function*() {
      const loader = loaderOf(...loaderCalls(yield* deferred("xdp_firewall.bpf.o")))
      const spoilt = (spoil: (insns: Uint8Array) => void) => {
        const insns = new Uint8Array(loader.insns)
        spoil(insns)
        return faults({ ...loader, insns })
      }
      const find = (is: (at: number) => boolean): number => {
        for (let at = 0; at < Insn.count(loader.insns); at = Insn.nextSlot(loader.insns, at)) if (is(at)) return at
        return assert.fail("not found")
      }
      const check = find((at) => Insn.opcode(loader.insns, at) === 0xc5)
      const call = find((at) => Insn.opcode(loader.insns, at) === Insn.CALL && Insn.imm(loader.insns, at) === 166)
      assert.isAbove(spoilt((insns) => Insn.setOffset(insns, 6, Insn.offset(insns, 6) - 1)).length, 0)
      assert.isAbove(spoilt((insns) => Insn.setOffset(insns, check, Insn.offset(insns, check) + 3)).length, 0)
      assert.isAbove(
        spoilt((insns) => Insn.setNextImm(insns, find((at) => Insn.isLdImm64(insns, at)), loader.data.length)).length,
        0
      )
      assert.isAbove(spoilt((insns) => Insn.setOpcode(insns, call + 2, 0xb7)).length, 0)
    }))

  it("is that of libbpf's loaders at the start", () => {
    const { insns } = loaderOf(mapCreate(0), progLoad(0))
    const expected = Encode.program(
      Encode.mov64Reg(6, 1),
      Encode.mov64Reg(1, 10),
      Encode.alu64Imm(0x00, 1, -136),
      Encode.mov64Imm(2, 136),
      Encode.mov64Imm(3, 0),
      Encode.callHelper(113),
      Encode.ja(3 * 3 + 5 + 2),
      ...[-136, -132, -128].flatMap((
        at
      ) => [Encode.ldx(0, 1, 10, at), Encode.jmpImm(0xd0, 1, 0, 1), Encode.callHelper(168)]),
      Encode.ldMapIdxValue(0, 0, 0),
      Encode.ldx(0, 1, 0, 0),
      Encode.jmpImm(0xd0, 1, 0, 1),
      Encode.callHelper(168),
      Encode.mov64Reg(0, 7),
      Encode.exit()
    )
    assert.deepStrictEqual(insns.subarray(0, expected.length), expected)
  })
})

describe("the data of a loader", () => {
  it("is laid out as libbpf does it: fd_array, then per call what it points to and its bpf_attr", () => {
    const bytes = Uint8Array.from({ length: 30 }, (_, at) => at + 1)
    const value = Uint8Array.of(9, 9, 9, 9)
    const insns = Encode.program(Encode.ldImm64(1, 0n), Encode.ldImm64(2, 0n), Encode.exit())
    const { data } = loaderOf(
      { _tag: "BtfLoad", as: Ref.btf(0), bytes },
      mapCreate(5, { name: "a name, too long", type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 1, extra: 7n }),
      mapCreate(8),
      { _tag: "MapUpdate", map: Ref.map(5), key: new Uint8Array(4), value: { bytes: value, refs: [] }, flags: 0n },
      progLoad(3, {
        code: {
          insns,
          refs: [
            { _tag: "MapRef", at: 0, map: Ref.map(8) },
            { _tag: "MapValueRef", at: 2, map: Ref.map(5), offset: 0x9000_0000 }
          ]
        }
      })
    )
    const view = new DataView(data.buffer)
    const padded = (size: number) => Math.ceil(size / 8) * 8
    const btf = 1280
    assert.deepStrictEqual(data.subarray(btf, btf + 30), bytes)
    const btfAttr = btf + padded(30)
    assert.strictEqual(view.getUint32(btfAttr + 16, true), 30)
    const map = btfAttr + padded(28)
    assert.strictEqual(view.getUint32(map, true), MapType.BPF_MAP_TYPE_ARRAY)
    assert.strictEqual(new TextDecoder().decode(data.subarray(map + 28, map + 44)), "a_name__too_lon\0")
    assert.strictEqual(view.getBigUint64(map + 64, true), 7n)
    const secondValue = map + 2 * padded(72)
    assert.deepStrictEqual(data.subarray(secondValue, secondValue + 4), value)
    const license = secondValue + 8 + 8 + padded(32)
    assert.strictEqual(new TextDecoder().decode(data.subarray(license, license + 4)), "GPL\0")
    const code = license + 8
    // Maps are numbered as they are created: the plan's 5 is 0, its 8 is 1.
    const bound = data.subarray(code, code + insns.length)
    assert.deepStrictEqual(
      new Uint8Array(bound),
      Encode.program(Encode.ldMapIdx(1, 1), Encode.ldMapIdxValue(2, 0, 0x9000_0000), Encode.exit())
    )
    const prog = code + padded(insns.length)
    assert.strictEqual(view.getUint32(prog + 4, true), 5)
    assert.strictEqual(data.length, prog + padded(140))
  })

  it("does not change what it was made of", () => {
    const code: Code = {
      insns: Encode.program(Encode.ldImm64(1, 0n), Encode.exit()),
      refs: [{ _tag: "MapRef", at: 0, map: Ref.map(0) }]
    }
    const before = new Uint8Array(code.insns)
    loaderOf(mapCreate(0), progLoad(0, { code }))
    assert.deepStrictEqual(code.insns, before)
  })
})

describe("what a loader says of itself", () => {
  it("names maps and programs as the plan does, and what it closes itself", () => {
    const loader = loaderOf(
      mapCreate(2, { maxEntries: 3, type: MapType.BPF_MAP_TYPE_ARRAY }),
      mapCreate(4),
      {
        _tag: "MapUpdate",
        map: Ref.map(2),
        key: new Uint8Array(4),
        value: { bytes: new Uint8Array(4), refs: [] },
        flags: 0n,
        overridable: true
      },
      progLoad(7),
      progLoad(9),
      { _tag: "Close", ref: Ref.map(4) },
      { _tag: "Close", ref: Ref.prog(7) }
    )
    const size = 24 + 16 * 2
    assert.deepStrictEqual(loader.maps, [
      {
        name: "map2",
        ref: 2,
        contextOffset: 24,
        maxEntries: 3,
        initialValue: { offset: 1280 + 144, size: 4 },
        published: true
      },
      { name: "map4", ref: 4, contextOffset: 40, maxEntries: 8, published: false }
    ])
    assert.deepStrictEqual(loader.programs, [
      { name: "prog7", ref: 7, contextOffset: size, published: false },
      { name: "prog9", ref: 9, contextOffset: size + 4, published: true }
    ])
    assert.strictEqual(loader.contextSize, size + 8)
    assert.deepStrictEqual(faults(loader), [])
  })
})

describe("calls that no loader makes", () => {
  it("are refused where there is no place for them", () => {
    const maps = Array.from({ length: 64 }, (_, index) => mapCreate(index))
    const programs = Array.from({ length: 32 }, (_, index) => progLoad(index))
    assert.strictEqual(loaderOf(...maps, ...programs).contextSize, 24 + 16 * 64 + 4 * 32)
    assert.deepStrictEqual(faults(loaderOf(...maps, ...programs)), [])
    assert.match(errorOf(...maps, mapCreate(64)).message, /MapCreate of map64: a loader creates at most 64 maps/)
    const many = Array.from({ length: 17_000 }, (_, index) => progLoad(index))
    assert.match(errorOf(...many).message, /cannot close 17002 descriptors/)
    const all = Array.from({ length: 17_000 }, (_, ref) => ({ name: "p", ref }))
    const listed = Result.getOrThrow(Result.flip(assemble([progLoad(0)], { listed: { maps: [], programs: all } })))
    assert.match(listed.message, /17000 programs .* would have 68024 bytes, and the kernel takes 65535/)
    const btf = (index: number): KernelCall => ({ _tag: "BtfLoad", as: Ref.btf(index), bytes: new Uint8Array(8) })
    assert.strictEqual(errorOf(btf(0), btf(1)).reason, "TooMany")
  })

  it("are refused where they name what is not there", () => {
    const close = { _tag: "Close", ref: Ref.map(0) } as const
    assert.strictEqual(errorOf(close).reason, "BadRef")
    assert.strictEqual(errorOf(mapCreate(0), close, close).reason, "BadRef")
    assert.strictEqual(errorOf({ _tag: "MapFreeze", map: Ref.map(3) }).name, "map#3")
    assert.strictEqual(errorOf(progLoad(0, { btf: Ref.btf(0) })).reason, "BadRef")
    const refs = [{ _tag: "MapRef", at: 0, map: Ref.map(0) }] as const
    assert.strictEqual(errorOf(progLoad(0, { code: { ...returning, refs } })).reason, "BadRef")
    assert.match(errorOf(mapCreate(0), progLoad(0, { code: { ...returning, refs } })).message, /64-bit immediate load/)
    const offset = {
      insns: Encode.program(Encode.ldImm64(1, 0n)),
      refs: [{ _tag: "MapValueRef", at: 0, map: Ref.map(0), offset: -1 }]
    } as const
    assert.match(errorOf(mapCreate(0), progLoad(0, { code: offset })).message, /no offset/)
  })

  it("are refused where a number does not fit its field", () => {
    assert.match(errorOf(mapCreate(0, { maxEntries: -1 })).message, /max_entries: "-1" does not fit/)
  })
})
