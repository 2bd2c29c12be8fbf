/**
 * Reachability before the virtual machine: what runs is never called guarded; what is called reachable runs for some
 * inputs.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { disassemble } from "../../src/insn/Disassemble.ts"
import * as Insn from "../../src/insn/Insn.ts"
import * as C from "../../src/insn/InsnConstants.ts"
import * as Reachability from "../../src/stages/relocate/Reachability.ts"
import type { Code } from "../../src/stages/relocate/reachability/Flow.ts"
import * as Flow from "../support/arbitrary/Flow.ts"
import { runs } from "../support/Require.ts"

/** Runs that a fault has to show in: the first that shows it is the last. */
const FAULT_RUNS = 50_000

const slotsOf = ({ compiled }: Code): ReadonlyArray<number> => {
  const slots: Array<number> = []
  for (let slot = 0; slot < Insn.count(compiled); slot = Insn.nextSlot(compiled, slot)) slots.push(slot)
  return slots
}

const verdictsOf = (code: Code) => Reachability.verdictsOf(code, slotsOf(code), Reachability.budget())

const textOf = ({ insns }: Code): string => disassemble(insns).map(({ slot, text }) => `${slot}: ${text}`).join("\n")

const inputs = fc.array(
  fc.oneof(
    fc.constantFrom(0n, 1n, 5n, 0xffff_ffff_ffff_ffffn, 0xffff_ffffn, 1n << 32n),
    fc.bigInt(0n, (1n << 64n) - 1n)
  ),
  { maxLength: 6 }
)

const samples = fc.tuple(Flow.programs({ everything: true }).map(Flow.assemble), inputs)

/** The first instruction that runs and is said not to; `follow` is handed what is run, or something else. */
const unsound = (code: Code, given: ReadonlyArray<bigint>, followed: Code): number | undefined => {
  const verdicts = verdictsOf(followed)
  return [...Flow.run(code, given, 5000)].find((slot) => verdicts.get(slot) === "guarded")
}

describe("law: what runs is not guarded", () => {
  it("in any program, for any inputs", () => {
    let guarded = 0
    let executed = 0
    fc.assert(
      fc.property(samples, ([code, given]) => {
        const slot = unsound(code, given, code)
        if (slot !== undefined) assert.fail(`instruction ${slot} runs:\n${textOf(code)}`)
        for (const verdict of verdictsOf(code).values()) if (verdict === "guarded") guarded++
        executed += Flow.run(code, given, 5000).size
      }),
      { numRuns: runs(3000) }
    )
    // The law would be easily kept by calling nothing guarded, or by programs that end at once.
    assert.isAbove(guarded, runs(3000))
    assert.isAbove(executed, runs(3000) * 5)
  })

  const faulty = (spoil: (code: Code) => Code): boolean =>
    fc.check(
      fc.property(samples, ([code, given]) => unsound(code, given, spoil(code)) === undefined),
      { numRuns: FAULT_RUNS, endOnFailure: true }
    ).failed

  it("named fault: constants of another map break it", () => {
    assert.isTrue(faulty((code) => ({
      ...code,
      constantAt: (map, offset, size) => (code.constantAt(map, offset, size) ?? 0n) ^ 1n
    })))
  })

  /** The program with the calls of a helper replaced by those of one that does nothing. */
  const deaf = (helper: number) => (code: Code): Code => {
    const insns = new Uint8Array(code.insns)
    for (const slot of slotsOf(code)) {
      if (Insn.isHelperCall(insns, slot) && Insn.imm(insns, slot) === helper) Insn.setImm(insns, slot, 5)
    }
    return { ...code, insns }
  }

  it("named fault: forgetting what helpers write to the stack breaks it", () => {
    assert.isTrue(faulty(deaf(4)))
    assert.isTrue(faulty(deaf(26)))
  })

  it("named fault: callbacks that nobody enters break it", () => {
    assert.isTrue(faulty((code) => ({
      ...code,
      loads: new Map([
        ...code.loads,
        ...slotsOf(code).filter((slot) => Insn.isFunctionReference(code.insns, slot))
          .map((slot) => [slot, { _tag: "Address" } as const] as const)
      ])
    })))
  })

  it("named fault: functions whose arguments are those of one call break it", () => {
    // The second call is not followed: as if it were one of a helper.
    assert.isTrue(faulty((code) => {
      const insns = new Uint8Array(code.insns)
      const calls = slotsOf(code).filter((slot) => Insn.isSubprogramCall(insns, slot))
      for (const slot of calls.slice(1)) Insn.setSlot(insns, slot, Insn.CALL, 0, 0, 0, 5)
      return { ...code, insns }
    }))
  })
})

describe("law: what is reachable runs for some inputs", () => {
  const halves = [0n, 1n, 4n, 5n, 6n, 0xffn, 0xfffn, 0x7fff_ffffn, 0xffff_ffffn, 0xffff_fffen]
  const numbers = halves.flatMap((high) => halves.map((low) => (high << 32n) | low))

  /** How many numbers a program asks for at most, where nothing leads back. */
  const inputsOf = (code: Code): number =>
    slotsOf(code).filter((slot) => Insn.isHelperCall(code.insns, slot))
      .reduce((sum, slot) => sum + Flow.inputsOf(Insn.imm(code.insns, slot)), 0)

  const codes = Flow.programs({ everything: false }).map(Flow.assemble).filter((code) => {
    const calls = slotsOf(code).filter((slot) => Insn.isSubprogramCall(code.insns, slot)).length
    return calls <= 1 && inputsOf(code) > 0 && inputsOf(code) <= 2
  })

  const tryAll = function*(code: Code): Generator<ReadonlySet<number>> {
    for (const first of numbers) {
      if (inputsOf(code) === 1) yield Flow.run(code, [first], 2000)
      else for (const second of numbers) yield Flow.run(code, [first, second], 2000)
    }
  }

  /** The first instruction that is said to be reachable and runs for no input. */
  const missed = (code: Code, verdicts: ReadonlyMap<number, Reachability.Verdict>): number | undefined => {
    const left = new Set([...verdicts].filter(([, verdict]) => verdict === "reachable").map(([slot]) => slot))
    for (const executed of tryAll(code)) {
      for (const slot of executed) left.delete(slot)
      if (left.size === 0) return undefined
    }
    return Math.min(...left)
  }

  it("in programs of few inputs, all of which can be tried", () => {
    let reachable = 0
    fc.assert(
      fc.property(codes, (code) => {
        const verdicts = verdictsOf(code)
        const slot = missed(code, verdicts)
        if (slot !== undefined) assert.fail(`instruction ${slot} never runs:\n${textOf(code)}`)
        for (const verdict of verdicts.values()) if (verdict === "reachable") reachable++
      }),
      { numRuns: runs(300) }
    )
    assert.isAbove(reachable, runs(300) * 3)
  })

  it("named fault: functions whose arguments are anything break it", () => {
    const open = (code: Code): Code => ({
      ...code,
      functions: code.functions.map((each, position) => ({ ...each, global: position > 0 }))
    })
    const failed = fc.check(
      fc.property(codes, (code) => missed(code, verdictsOf(open(code))) === undefined),
      { numRuns: FAULT_RUNS, endOnFailure: true }
    ).failed
    assert.isTrue(failed)
  })

  it("named fault: branches that are turned around break it", () => {
    const turned = (code: Code): Code => {
      const insns = new Uint8Array(code.insns)
      for (const slot of slotsOf(code)) {
        if (!Insn.isConditionalJump(insns, slot)) continue
        const op = Insn.op(insns, slot)
        const other = op === C.BPF_JEQ ? C.BPF_JNE : op === C.BPF_JNE ? C.BPF_JEQ : op
        Insn.setOpcode(insns, slot, (Insn.opcode(insns, slot) & 0x0f) | other)
      }
      return { ...code, insns }
    }
    const failed = fc.check(
      fc.property(codes, (code) => missed(code, verdictsOf(turned(code))) === undefined),
      { numRuns: FAULT_RUNS, endOnFailure: true }
    ).failed
    assert.isTrue(failed)
  })
})
