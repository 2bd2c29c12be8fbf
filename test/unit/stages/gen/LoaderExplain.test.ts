import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import type { KernelCall } from "../../../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import { assemble } from "../../../../src/stages/gen/Assemble.ts"
import * as ForeignLoader from "../../../../src/stages/gen/ForeignLoader.ts"
import * as LightSkeletonC from "../../../../src/stages/gen/LightSkeletonC.ts"
import * as LoaderDiff from "../../../../src/stages/gen/LoaderDiff.ts"
import * as LoaderExplain from "../../../../src/stages/gen/LoaderExplain.ts"
import * as LoaderSymbols from "../../../../src/stages/gen/LoaderSymbols.ts"
import { format } from "../../../../src/stages/gen/replay/ReplayHelpers.ts"
import { callsOf, drawn } from "../../../support/arbitrary/Loader.ts"
import { runs } from "../../../support/Require.ts"
import { opened } from "../Pipeline.ts"
import { recorded } from "./Recorded.ts"

describe("what a loader would load", () => {
  it.effect("are its types, maps with their values, programs, symbols, and what it reads of its context", () =>
    Effect.gen(function*() {
      const loader = yield* recorded("ksyms.bpf.o")
      const { btf, inputs, maps, programs, symbols } = yield* LoaderExplain.explain(loader)
      assert.lengthOf(btf, 1)
      assert.deepStrictEqual(
        maps.map(({ create, frozen, published, values }) => [create.attr.name, values.length, frozen, published]),
        [["ksyms.data", 1, false, true], ["ksyms.bss", 1, false, true]]
      )
      assert.deepStrictEqual(programs.map(({ load, published }) => [load.attr.name, published]), [
        ["look_up_symbols", true],
        ["call_kernel", true]
      ])
      assert.includeDeepMembers([...symbols], [
        { kind: "Address", name: "schedule" },
        { kind: "Func", name: "bpf_rcu_read_lock" }
      ])
      assert.include(inputs.map(({ what }) => what), "max_entries of ksyms.data")
      assert.notInclude(inputs.map(({ what }) => what), "the size of the context")
    }))

  it.effect("of templates it says that they are not handed out, of constants that they are frozen", () =>
    Effect.gen(function*() {
      const { maps } = yield* LoaderExplain.explain(yield* recorded("map_in_map.bpf.o"))
      const hidden = maps.filter(({ published }) => !published).map(({ create }) => create.attr.name)
      assert.isAbove(hidden.length, 0)
      const constants = yield* LoaderExplain.explain(yield* recorded("xdp_firewall.bpf.o"))
      assert.isTrue(constants.maps.some(({ frozen }) => frozen))
    }))

  it.effect("is what the inputs say that stand in for a machine's", () =>
    Effect.gen(function*() {
      const { maps, replayed } = yield* LoaderExplain.explain(yield* recorded("map_kinds.bpf.o"))
      assert.strictEqual(replayed.retval, 0)
      const sizeOf = (name: string) => maps.find(({ create }) => create.attr.name === name)?.create.attr.maxEntries
      assert.strictEqual(sizeOf("perf_events"), 1)
      const structs = yield* LoaderExplain.explain(yield* recorded("struct_ops.bpf.o"))
      assert.strictEqual(structs.replayed.retval, 0)
    }))
})

describe("differences", () => {
  it("are none between calls and themselves, and one where anything is changed", () => {
    fc.assert(
      fc.property(drawn, fc.nat(), fc.nat(), (object, at, how) => {
        const calls = callsOf(object).filter((call) => call._tag !== "Close")
        const loader = Result.getOrThrow(assemble(calls))
        assert.deepStrictEqual(LoaderDiff.diff(calls, calls, loader), [])
        fc.pre(calls.length > 0)
        const position = at % calls.length
        const changed = spoil(calls[position], how)
        const others = calls.flatMap((call, index) =>
          index !== position ? [call] : changed === undefined ? [] : [changed]
        )
        assert.isAbove(LoaderDiff.diff(calls, others, loader).length, 0)
        assert.isAbove(LoaderDiff.diff(others, calls, loader).length, 0)
      }),
      { numRuns: runs(200) }
    )
  })

  /** A call with one thing changed, or left out. */
  const spoil = (call: KernelCall | undefined, how: number): KernelCall | undefined => {
    const turned = (bytes: Uint8Array): Uint8Array =>
      bytes.map((byte, at) => at === how % bytes.length ? byte ^ 1 : byte)
    if (how % 5 === 0) return undefined
    switch (call?._tag) {
      case "BtfLoad":
        return { ...call, bytes: turned(call.bytes) }
      case "MapCreate":
        return { ...call, attr: { ...call.attr, flags: call.attr.flags + 1 } }
      case "MapUpdate":
        return { ...call, flags: call.flags + 1n }
      case "ProgLoad":
        return { ...call, code: { ...call.code, insns: turned(call.code.insns) } }
      default:
        return undefined
    }
  }

  it("say where", () => {
    const freeze = (index: number): KernelCall => ({ _tag: "MapFreeze", map: Ref.map(index) })
    const loader = Result.getOrThrow(assemble([]))
    assert.deepStrictEqual(
      LoaderDiff.diff([freeze(0), freeze(1), freeze(2)], [freeze(0), freeze(3), freeze(2)], loader),
      [
        { _tag: "Added", position: 1, call: freeze(3) },
        { _tag: "Missing", position: 2, call: freeze(1) }
      ]
    )
  })
})

describe("loaders of others", () => {
  it.effect.each(["xdp_firewall.bpf.o", "global_data.bpf.o", "tracepoint.bpf.o"])(
    "are read out of our light skeletons: %s",
    (name) =>
      Effect.gen(function*() {
        const loader = yield* recorded(name)
        const text = Result.getOrThrow(LightSkeletonC.make(opened(name), loader, { name: "skeleton" }))
        const foreign = Result.getOrThrow(ForeignLoader.ofSkeleton(text))
        assert.deepStrictEqual([foreign.insns, foreign.data], [loader.insns, loader.data])
        assert.strictEqual(foreign.maps.length, loader.maps.length)
        assert.strictEqual(foreign.contextSize, loader.contextSize)
        const { replayed } = yield* LoaderExplain.explain(foreign)
        assert.deepStrictEqual([replayed.retval, replayed.leaked], [0, []])
        assert.strictEqual(replayed.calls.length, (yield* LoaderExplain.explain(loader)).replayed.calls.length)
      })
  )

  it.effect("are taken as two pieces: maps and programs are counted in the instructions, in either byte order", () =>
    Effect.gen(function*() {
      for (const name of ["xdp_firewall.bpf.o", "xdp_firewall.eb.o", "subprograms.bpf.o", "map_in_map.eb.o"]) {
        const { byteOrder, contextSize, data, insns } = yield* recorded(name)
        const foreign = Result.getOrThrow(ForeignLoader.ofPieces(insns, data))
        assert.strictEqual(foreign.byteOrder, byteOrder)
        assert.isAtMost(foreign.contextSize, contextSize)
        const { replayed } = yield* LoaderExplain.explain(foreign)
        assert.strictEqual(replayed.retval, 0, name)
        assert.deepStrictEqual(replayed.leaked, [], name)
      }
    }))

  const ofText = (data: string, insns: string) =>
    ForeignLoader.ofSkeleton(`opts.data = (void *)${data};\nopts.insns = (void *)${insns};`)

  it("have literals with every escape of C, in one piece or several", () => {
    const { data } = Result.getOrThrow(
      ofText("\"A\\x42\\103\\\n\\n\\0\\\\\\\"\" \n \"\\x9F~\"", "\"\\x95\\0\\0\\0\\0\\0\\0\\0\"")
    )
    assert.deepStrictEqual([...data], [65, 66, 67, 10, 0, 92, 34, 0x9f, 126])
  })

  it("are refused with the reason", () => {
    const why = (data: string, insns = "\"\\x95\\0\\0\\0\\0\\0\\0\\0\""): string => {
      const found = ofText(data, insns)
      return Result.isFailure(found) ? `${found.failure.reason} ${found.failure.message}` : "none"
    }
    assert.match(why("\"abc"), /Literal .*line that does not end/)
    assert.match(why("x"), /Literal .*is no literal/)
    assert.match(why("\"\\q\""), /Literal .*escape/)
    assert.match(why("\"\\x\""), /Literal .*no byte/)
    assert.match(why("\"\\x123\""), /Literal .*no byte/)
    assert.match(why("\"\\777\""), /Literal .*octal/)
    assert.match(why("\"ä\""), /Literal .*ASCII/)
    assert.match(why("\"\"", "\"\\x95\""), /Size .*whole number/)
    assert.match(why("\"\"; opts.data_sz = 5"), /Size .*should have 5 bytes/)
    const missing = ForeignLoader.ofSkeleton("int main(void) { return 0; }")
    assert.strictEqual(Result.isFailure(missing) ? missing.failure.reason : "", "Missing")
  })
})

describe("what loaders print", () => {
  it("is what the kernel's format makes of it", () => {
    assert.strictEqual(format("a %d b %u c %x%%", [0xffff_ffffn, 0xffff_ffffn, 255n]), "a -1 b 4294967295 c ff%")
    assert.strictEqual(format("%lld %llx %ld", [-5n & 0xffff_ffff_ffff_ffffn, 1n << 40n, 7n]), "-5 10000000000 7")
    assert.strictEqual(format("%d %d", [1n]), "1 %d")
    assert.strictEqual(format("%", []), "%")
  })
})

describe("symbols that a kernel has", () => {
  it("are there unless it is known that they are not", () => {
    const info = KernelInfo.make({ release: "", architecture: "", byteOrder: "little" })
    const find = LoaderSymbols.findIn(info)
    assert.deepStrictEqual(find({ kind: "Func", name: "f" }), {})
    assert.deepStrictEqual(find({ kind: "Address", name: "a" }), {})
    const known = LoaderSymbols.findIn(KernelInfo.add(info, {
      symbols: new Map([["a", KernelInfo.known<bigint | undefined>(undefined)], [
        "b",
        KernelInfo.known<bigint | undefined>(5n)
      ]])
    }))
    assert.strictEqual(known({ kind: "Address", name: "a" }), undefined)
    assert.deepStrictEqual(known({ kind: "Address", name: "b" }), {})
  })

  it("are asked for by what is looked up", () => {
    assert.deepStrictEqual(LoaderSymbols.requirements([]), [])
    assert.deepStrictEqual(
      LoaderSymbols.requirements([{ kind: "Address", name: "a" }, { kind: "Func", name: "f" }, {
        kind: "Address",
        name: "a"
      }]),
      [{ _tag: "Symbol", name: "a" }, { _tag: "VmlinuxTypes" }, { _tag: "ModuleTypes" }]
    )
  })
})

describe("the two pieces of no loader", () => {
  it("are a loader all the same, which does nothing", () => {
    const nothing = Result.getOrThrow(
      ForeignLoader.ofPieces(Encode.program(Encode.mov64Imm(0, 0), Encode.exit()), new Uint8Array())
    )
    const { replayed } = Effect.runSync(LoaderExplain.explain(nothing))
    assert.deepStrictEqual([replayed.retval, replayed.calls], [0, []])
  })
})
