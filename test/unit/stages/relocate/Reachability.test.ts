import { assert, describe, it } from "@effect/vitest"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Insn from "../../../../src/insn/Insn.ts"
import * as C from "../../../../src/insn/InsnConstants.ts"
import type { Code, Function } from "../../../../src/stages/relocate/reachability/Flow.ts"
import * as Reachability from "../../../../src/stages/relocate/Reachability.ts"
import { assertQuick, cpuTime } from "../../../support/CpuTime.ts"

const { BPF_DW, BPF_W } = C

/** The call of a helper that no program here makes otherwise: the instruction that is asked for. */
const here = Encode.callHelper(200)

interface More extends Partial<Omit<Code, "insns" | "functions">> {
  /** The first slots of functions behind the main one, and which of them are global. */
  readonly functions?: ReadonlyArray<Omit<Function, "slots">>
}

const codeOf = (insns: Uint8Array, more: More = {}): Code => {
  const starts = [{ slot: 0, global: false }, ...(more.functions ?? [])]
  return {
    compiled: insns,
    littleEndian: true,
    exceptionCallback: undefined,
    loads: new Map(),
    kfuncs: new Map(),
    poisoned: new Set(),
    constantAt: () => undefined,
    isConstant: () => false,
    ...more,
    insns,
    functions: starts.map(({ global, slot }, index) => ({
      slot,
      global,
      slots: (starts[index + 1]?.slot ?? Insn.count(insns)) - slot
    }))
  }
}

/** The verdict on the instruction `here`. */
const verdict = (
  insns: ReadonlyArray<Uint8Array>,
  more: More = {},
  budget = Reachability.budget()
): Reachability.Verdict | undefined => {
  const whole = Encode.program(...insns)
  let slot = 0
  while (slot < Insn.count(whole) && !(Insn.isHelperCall(whole, slot) && Insn.imm(whole, slot) === 200)) {
    slot = Insn.nextSlot(whole, slot)
  }
  return Reachability.verdictsOf(codeOf(whole, more), [slot], budget).get(slot)
}

const end = [Encode.mov64Imm(0, 0), Encode.exit()]

/** `here` where r1 is not 0. */
const guardedByR1 = [Encode.jmpImm(C.BPF_JEQ, 1, 0, 1), here, ...end]

describe("an instruction is", () => {
  it("reachable where nothing stands before it", () => {
    assert.strictEqual(verdict([here, ...end]), "reachable")
  })

  it("guarded by a constant, however it gets into the comparison", () => {
    const ways: Readonly<Record<string, ReadonlyArray<Uint8Array>>> = {
      "moved": [Encode.mov64Imm(1, 0)],
      "moved in 32 bits": [Encode.mov32Imm(1, 0)],
      "loaded": [Encode.ldImm64(1, 0n)],
      "copied": [Encode.mov64Imm(6, 0), Encode.mov64Reg(1, 6)],
      "turned around": [Encode.mov64Imm(1, 1), Encode.alu64Imm(C.BPF_XOR, 1, 1)],
      "cut": [Encode.ldImm64(1, 0x1_0000_0000n), Encode.mov32Reg(1, 1)],
      "shifted": [
        Encode.ldImm64(1, 0x1_0000_0000n),
        Encode.alu64Imm(C.BPF_LSH, 1, 32),
        Encode.alu64Imm(C.BPF_RSH, 1, 32)
      ],
      "kept over a call": [Encode.mov64Imm(6, 0), Encode.callHelper(5), Encode.mov64Reg(1, 6)],
      "kept on the stack": [
        Encode.mov64Imm(6, 0),
        Encode.stx(BPF_DW, 10, 6, -8),
        Encode.callHelper(5),
        Encode.ldx(BPF_DW, 1, 10, -8)
      ],
      "the same both ways": [
        Encode.callHelper(7),
        Encode.mov64Imm(1, 0),
        Encode.jmpImm(C.BPF_JEQ, 0, 0, 1),
        Encode.mov64Imm(1, 0)
      ]
    }
    for (const [name, way] of Object.entries(ways)) {
      assert.strictEqual(verdict([...way, ...guardedByR1]), "guarded", name)
    }
    assert.strictEqual(verdict([Encode.mov64Imm(1, 1), ...guardedByR1]), "reachable")
  })

  it("open where not every verifier works the constant out", () => {
    const ways: Readonly<Record<string, ReadonlyArray<Uint8Array>>> = {
      "negated": [Encode.mov64Imm(1, 0), Encode.neg64(1)],
      "divided": [Encode.mov64Imm(1, 1), Encode.alu64Imm(C.BPF_DIV, 1, 2)],
      "swapped": [Encode.mov64Imm(1, 0), Encode.be(16, 1)],
      "stored as an immediate": [Encode.st(BPF_DW, 10, -8, 0), Encode.ldx(BPF_DW, 1, 10, -8)]
    }
    for (const [name, way] of Object.entries(ways)) {
      assert.strictEqual(verdict([...way, ...guardedByR1]), "unknown", name)
    }
    // The way that the constant leads is sure all the same.
    assert.strictEqual(verdict([Encode.mov64Imm(1, 5), Encode.neg64(1), ...guardedByR1]), "reachable")
  })

  it("reachable where only run time decides", () => {
    const inputs: Readonly<Record<string, ReadonlyArray<Uint8Array>>> = {
      "a helper's answer": [Encode.callHelper(7), Encode.mov64Reg(1, 0)],
      "its low half": [Encode.callHelper(7), Encode.mov32Reg(1, 0)],
      "its low half, with its sign": [
        Encode.callHelper(7),
        Encode.mov64Reg(1, 0),
        Encode.alu64Imm(C.BPF_LSH, 1, 32),
        Encode.alu64Imm(C.BPF_ARSH, 1, 32)
      ],
      "a bit of it": [Encode.callHelper(7), Encode.mov64Reg(1, 0), Encode.alu64Imm(C.BPF_AND, 1, 4)],
      "the context": [Encode.ldx(BPF_W, 1, 1, 4)],
      "what a helper has read": [
        Encode.mov64Reg(1, 10),
        Encode.alu64Imm(C.BPF_ADD, 1, -8),
        Encode.mov64Imm(2, 8),
        Encode.callHelper(113),
        Encode.ldx(BPF_DW, 1, 10, -8)
      ]
    }
    for (const [name, input] of Object.entries(inputs)) {
      assert.strictEqual(verdict([...input, ...guardedByR1]), "reachable", name)
    }
  })

  it("open where a verifier may know more", () => {
    const twice = [Encode.callHelper(7), Encode.mov64Reg(1, 0), Encode.jmpImm(C.BPF_JNE, 1, 0, 2), ...end]
    const ways: Readonly<Record<string, ReadonlyArray<Uint8Array>>> = {
      "one of two constants": [
        Encode.callHelper(7),
        Encode.mov64Imm(1, 0),
        Encode.jmpImm(C.BPF_JEQ, 0, 0, 1),
        Encode.mov64Imm(1, 1),
        ...guardedByR1
      ],
      "compared before": [...twice, Encode.jmpImm(C.BPF_JNE, 1, 0, 1), here, ...end],
      "out of range": [
        Encode.callHelper(7),
        Encode.mov64Reg(1, 0),
        Encode.alu64Imm(C.BPF_AND, 1, 7),
        Encode.jmpImm(C.BPF_JLE, 1, 7, 1),
        here,
        ...end
      ],
      "a pointer that may be trusted": [Encode.ldx(BPF_DW, 1, 1, 0), Encode.jmpImm(C.BPF_JNE, 1, 0, 1), here, ...end],
      "behind a loop": [
        Encode.mov64Imm(6, 0),
        Encode.alu64Imm(C.BPF_ADD, 6, 1),
        Encode.jmpImm(C.BPF_JLT, 6, 10, -2),
        here,
        ...end
      ]
    }
    for (const [name, insns] of Object.entries(ways)) assert.strictEqual(verdict(insns), "unknown", name)
  })

  it("guarded by constant variables, reachable by those that another may have set", () => {
    const insns = [Encode.ldMapValue(1, 0, 0), Encode.ldx(BPF_W, 1, 1, 4), ...guardedByR1]
    const loads: Code["loads"] = new Map([[0, { _tag: "MapValue", map: 3, offset: 8 }]])
    const seen: Array<string> = []
    const constantAt = (value: bigint | undefined): More => ({
      loads,
      isConstant: (map) => map === 3,
      constantAt: (map, offset, size) => {
        seen.push(`${map} ${offset} ${size}`)
        return value
      }
    })
    assert.strictEqual(verdict(insns, constantAt(0n)), "guarded")
    assert.strictEqual(verdict(insns, constantAt(1n)), "reachable")
    assert.strictEqual(verdict(insns, constantAt(undefined)), "unknown")
    assert.strictEqual(verdict(insns, { loads }), "reachable")
    assert.deepStrictEqual([...new Set(seen)], ["3 12 4"])
  })

  it("followed through static functions: arguments of all calls, results of all exits", () => {
    const callee = (argument: number) => [Encode.mov64Imm(1, argument), Encode.callSubprogram(1), Encode.exit()]
    const inside = [Encode.jmpImm(C.BPF_JEQ, 1, 0, 1), here, ...end]
    const functions = [{ slot: 3, global: false }]
    assert.strictEqual(verdict([...callee(0), ...inside], { functions }), "guarded")
    assert.strictEqual(verdict([...callee(1), ...inside], { functions }), "reachable")
    assert.strictEqual(verdict([...callee(0), ...inside], { functions: [{ slot: 3, global: true }] }), "reachable")
    const twoCalls = [
      Encode.mov64Imm(1, 0),
      Encode.callSubprogram(3),
      Encode.mov64Imm(1, 1),
      Encode.callSubprogram(1),
      Encode.exit()
    ]
    assert.strictEqual(verdict([...twoCalls, ...inside], { functions: [{ slot: 5, global: false }] }), "unknown")
    const result = [Encode.callSubprogram(4), Encode.jmpImm(C.BPF_JEQ, 0, 0, 1), here, ...end]
    const returns = (value: number) => [Encode.mov64Imm(0, value), Encode.exit()]
    const behind = { functions: [{ slot: 5, global: false }] }
    assert.strictEqual(verdict([...result, ...returns(0)], behind), "guarded")
    assert.strictEqual(verdict([...result, ...returns(1)], behind), "reachable")
    const global = { functions: [{ slot: 5, global: true }] }
    assert.strictEqual(verdict([...result, ...returns(0)], global), "reachable")
  })

  it("reachable in callbacks that are called, open in those that need not be", () => {
    const loop = (turns: number) => [
      Encode.mov64Imm(1, turns),
      Encode.ldFunc(2, 6),
      Encode.mov64Imm(3, 0),
      Encode.mov64Imm(4, 0),
      Encode.callHelper(181),
      ...end,
      here,
      ...end
    ]
    const functions = [{ slot: 8, global: false }]
    assert.strictEqual(verdict(loop(3), { functions }), "reachable")
    assert.strictEqual(verdict(loop(0), { functions }), "unknown")
  })

  it("not reached behind a throw, and reached in the function that catches it", () => {
    const insns = [Encode.callKfunc(1), here, ...end]
    assert.strictEqual(verdict(insns, { kfuncs: new Map([[0, "bpf_throw"]]) }), "unknown")
    assert.strictEqual(verdict(insns, { kfuncs: new Map([[0, "bpf_other"]]) }), "reachable")
    assert.strictEqual(
      verdict([...end, here, ...end], { functions: [{ slot: 2, global: false }], exceptionCallback: 2 }),
      "reachable"
    )
  })

  it("reachable behind others that are missing: as if those were there", () => {
    const compiled = Encode.program(Encode.mov64Imm(6, 0), Encode.ldImm64(1, 5n), here, ...end)
    const insns = new Uint8Array(compiled)
    Insn.setSlot(insns, 1, Insn.CALL, 0, 0, 0, 0xbad_2310)
    Insn.setSlot(insns, 2, Insn.CALL, 0, 0, 0, 0xbad_2310)
    const code = codeOf(insns, { compiled, poisoned: new Set([1]) })
    const verdicts = Reachability.verdictsOf(code, [1, 3], Reachability.budget())
    assert.deepStrictEqual([...verdicts], [[1, "reachable"], [3, "reachable"]])
  })

  it("open where the program jumps through a register", () => {
    assert.strictEqual(verdict([Encode.mov64Imm(1, 0), Encode.gotox(1), here, ...end]), "unknown")
    assert.strictEqual(verdict([Encode.mov64Imm(1, 0), ...end, here, ...end]), "guarded")
  })
})

describe("programs that were made to take long", () => {
  const inTime = (insns: Uint8Array, more: More = {}): Reachability.Verdict | undefined => {
    const begun = cpuTime()
    const found = Reachability.verdictsOf(codeOf(insns, more), [Insn.count(insns) - 2], Reachability.budget())
    assertQuick(cpuTime() - begun, 15_000)
    return found.get(Insn.count(insns) - 2)
  }

  const slots = 1_000_000

  const filled = (make: (slot: number, code: Uint8Array) => void): Uint8Array => {
    const code = new Uint8Array((slots + 2) * 8)
    for (let slot = 0; slot < slots; slot++) make(slot, code)
    Insn.setSlot(code, slots, C.BPF_ALU64 | C.BPF_MOV, 0, 0, 0, 0)
    Insn.setSlot(code, slots + 1, Insn.EXIT, 0, 0, 0, 0)
    return code
  }

  it("a million instructions in a row are followed", () => {
    const row = filled((slot, code) => Insn.setSlot(code, slot, C.BPF_ALU64 | C.BPF_ADD, 6, 0, 0, 1))
    assert.strictEqual(inTime(row), "reachable")
  })

  it("a million branches are given up", () => {
    const branches = filled((slot, code) => Insn.setSlot(code, slot, C.BPF_JMP | C.BPF_JEQ, 6, 0, slot % 100, slot))
    assert.strictEqual(inTime(branches), "unknown")
  })

  it("jumps back and forth, each with more to remember, are given up", () => {
    const zigzag = filled((slot, code) => {
      if (slot % 3 === 0) {
        Insn.setSlot(code, slot, C.BPF_STX | C.BPF_MEM | BPF_DW, 10, slot % 10, -8 * (1 + slot % 64), 0)
      } else if (slot % 3 === 1) Insn.setSlot(code, slot, C.BPF_ALU64 | C.BPF_ADD, slot % 10, 0, 0, slot)
      else Insn.setSlot(code, slot, C.BPF_JMP | C.BPF_JGT, slot % 10, 0, slot % 2 === 0 ? 30_000 : -30_000, 5)
    })
    assert.strictEqual(inTime(zigzag), "unknown")
  })

  it("calls of one function from everywhere are followed or given up", () => {
    const calls = filled((slot, code) => {
      if (slot % 2 === 0) Insn.setSlot(code, slot, C.BPF_ALU64 | C.BPF_MOV, 1, 0, 0, slot)
      else Insn.setSlot(code, slot, Insn.CALL, 0, C.BPF_PSEUDO_CALL, 0, slots - slot - 1)
    })
    assert.isDefined(inTime(calls, { functions: [{ slot: slots, global: false }] }))
    assert.isDefined(inTime(calls, { functions: [{ slot: slots, global: true }] }))
  })

  it("code that is no program is followed as far as it goes", () => {
    for (const opcode of [0x05, 0x06, 0x85, 0x95, 0x18, 0xff, 0x00]) {
      const code = new Uint8Array(64)
      for (let slot = 0; slot < 8; slot++) Insn.setSlot(code, slot, opcode, 15, 15, 0x7fff, 0x7fff_ffff)
      assert.isDefined(Reachability.verdictsOf(codeOf(code), [6], Reachability.budget()).get(6))
    }
  })
})
