import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { MapFlag } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import { supportOf } from "../../../../src/services/Kernel/Feature.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import * as LoadPlan from "../../../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../../../src/stages/open/BpfObject.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import { findVariable, variables } from "../../../../src/stages/open/Variables.ts"
import * as ArenaPlacement from "../../../../src/stages/relocate/ArenaPlacement.ts"
import { opened, planned, relocated } from "../Pipeline.ts"

const page = 4096

const calls = (object: BpfObject, atEnd: boolean) =>
  LoadPlan.mainCalls(planned(object, { features: new Map([["Ldimm64FullRangeOffset", atEnd]]) }).plan)

const places = (object: BpfObject, atEnd: boolean) =>
  calls(object, atEnd).flatMap((call): ReadonlyArray<number | ReadonlyArray<number>> =>
    call._tag === "ViewWrite"
      ? [call.offset]
      : call._tag === "ProgLoad"
      ? [call.code.refs.flatMap((ref) => ref._tag === "MapValueRef" && ref.map.index === 0 ? [ref.offset] : [])]
      : []
  )

describe("variables of an arena", () => {
  const object = opened("arena_anywhere.bpf.o")

  it("begin where the code refers to them: at the arena's end, or at its beginning", () => {
    const [atStart, inCode] = places(object, false)
    assert.strictEqual(atStart, 0)
    const [atEnd, alsoInCode] = places(object, true)
    // 4437 bytes of variables take two of three pages.
    assert.strictEqual(atEnd, page)
    if (!Array.isArray(inCode) || !Array.isArray(alsoInCode)) return assert.fail()
    assert.isAbove(inCode.length, 3)
    assert.deepStrictEqual(alsoInCode, inCode.map((offset: number) => offset + page))
  })

  it("are written before programs are loaded, in memory that the map says the place of", () => {
    const tags = calls(opened("arena.bpf.o"), false).map(({ _tag }) => _tag)
    const wanted = ["MapCreate", "MapMmap", "ViewWrite", "ProgLoad"]
    const firsts = wanted.map((wanted) => tags.findIndex((tag) => tag === wanted))
    assert.deepStrictEqual(firsts, [...firsts].sort((a, b) => a - b))
    assert.isFalse(firsts.includes(-1))
    const memory = (each: BpfObject) => calls(each, false).find((call) => call._tag === "MapMmap")
    assert.deepInclude(memory(opened("arena.bpf.o")), { address: 1n << 44n, length: 4 * page, writable: true })
    assert.notProperty(memory(object), "address")
    assert.deepInclude(memory(opened("arena_empty.bpf.o")), { length: 2 * page })
    assert.isFalse(calls(opened("arena_empty.bpf.o"), true).some(({ _tag }) => _tag === "ViewWrite"))
  })

  it("fit into the arena's end, whatever their number", () => {
    fc.assert(fc.property(
      fc.integer({ min: 1, max: 1 << 20 }),
      fc.integer({ min: 0, max: 300 }),
      fc.constantFrom(4096, 16384, 65536),
      (bytes, spare, pageSize) => {
        const pages = Math.ceil(bytes / pageSize) + spare
        const offset = ArenaPlacement.offsetAtEnd(bytes, pages, pageSize)
        assert.strictEqual(offset % pageSize, 0)
        assert.isAtMost(offset + bytes, pages * pageSize)
        // No page is left behind them.
        assert.isBelow(pages * pageSize - offset - bytes, pageSize)
      }
    ))
  })

  it("are variables of the object, which edits change", () => {
    assert.deepInclude(findVariable(object, "settings"), { section: ".addr_space.1", map: 0 })
    assert.includeMembers(variables(object).map(({ name }) => name), ["settings", "table", "mode"])
    const edited = Result.getOrThrow(Edit.setVariable(object, "negative", -9n))
    assert.strictEqual(Result.getOrThrow(Edit.getVariable(edited, "negative")), -9n)
  })

  const refused = (edit: Parameters<typeof Edit.setMap>[2]) => {
    const small = Result.getOrThrow(Edit.setMap(object, "arena", edit))
    const info = KernelInfo.add(KernelInfo.make({ release: "", architecture: "x64", byteOrder: "little" }), {
      pageSize: KernelInfo.known(page),
      features: new Map(KernelInfo.features.map((each) => [each, KernelInfo.known(supportOf(true))]))
    })
    const answer = Plan.toPlan(relocated(small), info)
    return Result.isFailure(answer) ? answer.failure : assert.fail("there is a plan")
  }

  it("that do not fit are refused, and those that cannot be written without harm", () => {
    const small = refused({ maxEntries: 1 })
    assert.deepInclude(small, { reason: "Arena", name: "arena" })
    assert.match(small.message, /its variables have \d+ bytes, and its memory 4096/)
    const harmful = refused({ flags: MapFlag.BPF_F_MMAPABLE | MapFlag.BPF_F_SEGV_ON_FAULT })
    assert.deepInclude(harmful, { reason: "Arena", name: "arena" })
    assert.match(harmful.message, /end this process/)
  })
})
