import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Encode from "../../../../../src/insn/Encode.ts"
import * as Insn from "../../../../../src/insn/Insn.ts"
import type { Code, CodeRef, KernelSymbol } from "../../../../../src/services/Kernel/KernelCall.ts"
import { bind, KFUNC_POISON, MAP_POISON, type Target } from "../../../../../src/services/Kernel/live/Bind.ts"
import * as Ref from "../../../../../src/services/Kernel/Ref.ts"
import { runs } from "../../../../support/Require.ts"

const symbol = (name: string, more: Partial<KernelSymbol> = {}): KernelSymbol => ({
  name,
  kind: "Func",
  weak: false,
  ...more
})

const type = (id: number, moduleFd?: number): Target => ({ _tag: "Type", id, moduleFd })

const code = (insns: Uint8Array, ...refs: ReadonlyArray<CodeRef>): Code => ({ insns, refs })

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

const fds = (map: Ref.MapRef): number | undefined => map.index < 100 ? 20 + map.index : undefined

const bound = (code: Code, targetOf: (symbol: KernelSymbol) => Target | undefined = () => undefined) =>
  Result.getOrThrow(bind(code, fds, targetOf))

const refused = (code: Code, target?: Target) => {
  const result = bind(code, fds, () => target)
  return Result.isFailure(result) ? result.failure.reason : "bound"
}

const load = Encode.ldImm64(3, 0n)

describe("bind", () => {
  it("puts descriptors of maps into both halves of a load", () => {
    assert.strictEqual(
      hex(bound(code(load, { _tag: "MapRef", at: 0, map: Ref.map(2) })).insns),
      hex(Encode.ldMapFd(3, 22))
    )
    assert.strictEqual(
      hex(bound(code(load, { _tag: "MapValueRef", at: 0, map: Ref.map(0), offset: 0x80000001 })).insns),
      hex(Encode.ldMapValue(3, 20, 0x80000001 | 0))
    )
  })

  it("poisons both halves where the map does not exist, with the map's number", () => {
    const { insns } = bound(code(load, { _tag: "MapRef", at: 0, map: Ref.map(107) }))
    const poison = Encode.callHelper(MAP_POISON + 107)
    assert.strictEqual(hex(insns), hex(Encode.program(poison, poison)))
    assert.strictEqual(MAP_POISON, 2001000000)
  })

  it("binds functions, variables and addresses of the kernel", () => {
    const calls = Encode.program(Encode.callHelper(1), load, load)
    const refs: ReadonlyArray<CodeRef> = [
      { _tag: "SymbolRef", at: 0, symbol: symbol("f") },
      { _tag: "SymbolRef", at: 1, symbol: symbol("v", { kind: "Var" }) },
      { _tag: "SymbolRef", at: 3, symbol: symbol("a", { kind: "Address" }) }
    ]
    const { fdArray, insns } = bound(
      code(calls, ...refs),
      ({ kind }) =>
        kind === "Address" ? { _tag: "Address", address: 0xffff_ffff_8100_0010n } : type(kind === "Func" ? 77 : 88)
    )
    assert.strictEqual(
      hex(insns),
      hex(Encode.program(Encode.callKfunc(77), Encode.ldBtfId(3, 88), Encode.ldImm64(3, 0xffff_ffff_8100_0010n)))
    )
    assert.deepStrictEqual(fdArray, [])
  })

  it("numbers modules from 1, once each, and names their descriptor in loads", () => {
    const calls = Encode.program(Encode.callHelper(1), Encode.callHelper(1), Encode.callHelper(1), load)
    const names = ["a", "b", "a", "a"]
    const refs = names.map((name, at): CodeRef => ({ _tag: "SymbolRef", at, symbol: symbol(name) }))
    const { fdArray, insns } = bound(code(calls, ...refs), ({ name }) => type(5, name === "a" ? 31 : 32))
    assert.deepStrictEqual(fdArray, [0, 31, 32])
    assert.deepStrictEqual([0, 1, 2].map((slot) => Insn.offset(insns, slot)), [1, 2, 1])
    assert.strictEqual(hex(Insn.bytes(insns, 3)), hex(Encode.ldBtfId(3, 5, 31)))
  })

  it("zeroes what is weak and missing, and poisons its calls", () => {
    const weak = symbol("w", { weak: true })
    const calls = Encode.program(Encode.callKfunc(9), Encode.ldBtfId(3, 7, 4))
    const { insns } = bound(
      code(calls, { _tag: "SymbolRef", at: 0, symbol: weak }, { _tag: "SymbolRef", at: 1, symbol: weak })
    )
    assert.strictEqual(hex(insns), hex(Encode.program(Encode.callHelper(KFUNC_POISON), load)))
    assert.strictEqual(KFUNC_POISON, 2002000000)
    const numbered = bound(code(calls, { _tag: "SymbolRef", at: 0, symbol: weak, extern: 41 }))
    assert.strictEqual(hex(Insn.bytes(numbered.insns, 0)), hex(Encode.callHelper(2002000041)))
  })

  it("refuses what it cannot bind", () => {
    const call = Encode.program(Encode.callHelper(1), Encode.exit())
    const ref = (at: number): CodeRef => ({ _tag: "SymbolRef", at, symbol: symbol("s") })
    assert.strictEqual(refused(code(call, ref(0))), "Missing")
    assert.strictEqual(refused(code(call, ref(0)), { _tag: "Address", address: 1n }), "WrongTarget")
    assert.strictEqual(refused(code(call, ref(1)), type(1)), "BadPlace")
    for (const at of [-1, 2, 0.5, Number.NaN, 2 ** 31]) {
      assert.strictEqual(refused(code(call, ref(at)), type(1)), "BadPlace")
    }
    const map = (at: number): CodeRef => ({ _tag: "MapRef", at, map: Ref.map(0) })
    assert.strictEqual(refused(code(call, map(0))), "BadPlace")
    assert.strictEqual(refused(code(load.subarray(0, 8), map(0))), "BadPlace")
    for (const offset of [-1, 2 ** 32, 0.5]) {
      assert.strictEqual(refused(code(load, { _tag: "MapValueRef", at: 0, map: Ref.map(0), offset })), "BadOffset")
    }
  })

  it("refuses one module more than a call can number", () => {
    const count = 32_768
    const insns = Encode.program(...Array.from({ length: count }, () => Encode.callHelper(1)))
    const refs = Array.from(
      { length: count },
      (_, at): CodeRef => ({ _tag: "SymbolRef", at, symbol: symbol(String(at)) })
    )
    const moduleOf = ({ name }: KernelSymbol): Target => type(1, 100 + Number(name))
    const failed = bind({ insns, refs }, fds, moduleOf)
    assert.strictEqual(Result.isFailure(failed) && failed.failure.reason, "TooManyModules")
    assert.strictEqual(bound({ insns, refs: refs.slice(1) }, moduleOf).fdArray.length, 32_768)
  })

  /** Whether two programs differ only in the slots that refs name. */
  const differsOnlyAt = (before: Uint8Array, after: Uint8Array, slots: ReadonlySet<number>): boolean =>
    before.length === after.length && before.every((byte, at) => after[at] === byte || slots.has(Math.floor(at / 8)))

  const programs = fc.array(fc.record({ index: fc.integer({ min: 0, max: 200 }), isRef: fc.boolean() }), {
    maxLength: 30
  })

  it("law: changes the slots of references and nothing else, and not its input", () => {
    fc.assert(
      fc.property(programs, (items) => {
        const insns = new Uint8Array(Buffer.from(Encode.program(...items.map(() => load))))
        const before = hex(insns)
        const refs = items.flatMap(({ index, isRef }, at): ReadonlyArray<CodeRef> =>
          isRef ? [{ _tag: "MapRef", at: at * 2, map: Ref.map(index) }] : []
        )
        const slots = new Set(refs.flatMap(({ at }) => [at, at + 1]))
        const after = bound({ insns: Buffer.from(insns), refs }).insns
        assert.isTrue(differsOnlyAt(insns, after, slots))
        assert.strictEqual(hex(insns), before)
      }),
      { numRuns: runs(200) }
    )
  })

  it("named fault: a change elsewhere is seen", () => {
    const insns = Encode.program(load, Encode.exit())
    const broken = insns.slice()
    broken[17] = 1
    assert.isFalse(differsOnlyAt(insns, broken, new Set([0, 1])))
  })
})
