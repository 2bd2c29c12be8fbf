/**
 * Law 5, as far as it can be said without running programs: laying out subprograms keeps every function's instructions
 * but what says where calls lead, and each call leads to the start of the function that it named.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Insn from "../../src/insn/Insn.ts"
import { type BpfObject, functionAt } from "../../src/stages/open/BpfObject.ts"
import * as Layout from "../../src/stages/relocate/Layout.ts"
import { runs } from "../support/Require.ts"
import * as CallGraph from "../unit/stages/CallGraph.ts"
import * as Pipeline from "../unit/stages/Pipeline.ts"

/** The order in which calls reach functions, worked out in the plainest way. */
const reached = (object: BpfObject, entry: number): ReadonlyArray<number> => {
  const order: Array<number> = []
  const visit = (position: number): void => {
    if (order.includes(position)) return
    order.push(position)
    for (const relocation of object.programs[position]?.relocations ?? []) {
      if (relocation._tag !== "Call" && relocation._tag !== "Function") continue
      visit(functionAt(object.programs, relocation.section, relocation.slot) ?? assert.fail("leads nowhere"))
    }
  }
  visit(entry)
  return order
}

/** How a layout breaks the law, as text. */
const breaks = (object: BpfObject, entry: number, { insns, layout }: Layout.LaidOut): ReadonlyArray<string> => {
  const found: Array<string> = []
  const order = layout.map((placement) => placement.program)
  const expected = reached(object, entry)
  if (order.join() !== expected.join()) found.push(`the order is ${order.join()}, not ${expected.join()}`)
  const startOf = new Map(layout.map((placement) => [placement.program, placement.slot]))
  let end = 0
  for (const { program, slot, slots } of layout) {
    const original = object.programs[program]
    if (original === undefined || slot !== end || slots !== Insn.count(original.insns)) {
      found.push(`${original?.name} does not follow what is before it`)
      continue
    }
    end += slots
    const leading = new Map(original.relocations.map((relocation) => [relocation.at, relocation]))
    for (let at = 0; at < slots; at = Insn.nextSlot(original.insns, at)) {
      const relocation = leading.get(at)
      const place = slot + at
      if (relocation?._tag === "Call" || relocation?._tag === "Function") {
        const target = functionAt(object.programs, relocation.section, relocation.slot) ?? -1
        const isCall = relocation._tag === "Call"
        if (place + 1 + Insn.imm(insns, place) !== startOf.get(target)) {
          found.push(`${original.name}+${at} leads astray`)
        }
        if (Insn.opcode(insns, place) !== Insn.opcode(original.insns, at)) {
          found.push(`${original.name}+${at} is another instruction`)
        }
        if (Insn.dst(insns, place) !== Insn.dst(original.insns, at)) {
          found.push(`${original.name}+${at} has another register`)
        }
        if (!(isCall ? Insn.isSubprogramCall(insns, place) : Insn.isFunctionReference(insns, place))) {
          found.push(`${original.name}+${at} is not marked`)
        }
        if (!isCall && Insn.nextImm(insns, place) !== 0) found.push(`${original.name}+${at} has a second half`)
      } else {
        const before = Buffer.from(Insn.bytes(original.insns, at)).toString("hex")
        const after = Buffer.from(Insn.bytes(insns, place)).toString("hex")
        if (before !== after) found.push(`${original.name}+${at} was ${before} and is ${after}`)
      }
    }
  }
  if (end !== Insn.count(insns)) found.push("there is something behind the last function")
  return found
}

const laidOut = (object: BpfObject, entry: number): Layout.LaidOut => Layout.layOut(object, entry)

const graphs: fc.Arbitrary<BpfObject> = fc.integer({ min: 1, max: 10 }).chain((count) =>
  fc.array(
    fc.array(
      fc.oneof(
        fc.record({ _tag: fc.constant("Plain" as const), value: fc.nat(1000) }),
        fc.record({ _tag: fc.constant("Load" as const), value: fc.nat(1000) }),
        fc.record({ _tag: fc.constant("Call" as const), to: fc.nat(count - 1) }),
        fc.record({ _tag: fc.constant("Address" as const), of: fc.nat(count - 1) })
      ),
      { maxLength: 8 }
    ),
    { minLength: count, maxLength: count }
  ).map(CallGraph.make)
)

describe("law 5: layout keeps meaning", () => {
  it("of any functions that call each other", () => {
    fc.assert(
      fc.property(graphs, (object) => {
        const before = JSON.stringify(object.programs.map((each) => [...each.insns]))
        assert.deepStrictEqual(breaks(object, 0, laidOut(object, 0)), [])
        assert.strictEqual(JSON.stringify(object.programs.map((each) => [...each.insns])), before)
      }),
      { numRuns: runs(1500) }
    )
  })

  it("of every program of every fixture that opens", () => {
    for (const { planned: { object } } of Pipeline.plannedFixtures()) {
      object.programs.forEach((program, position) => {
        if (program.entry) assert.deepStrictEqual(breaks(object, position, laidOut(object, position)), [])
      })
    }
  })

  const faulty = (spoil: (laid: Layout.LaidOut) => Layout.LaidOut): boolean =>
    fc.check(
      fc.property(graphs, (object) => breaks(object, 0, spoil(laidOut(object, 0))).length === 0),
      { numRuns: 300 }
    ).failed

  it("named fault: calls that count from themselves break the law", () => {
    assert.isTrue(faulty(({ insns, layout }) => {
      const spoiled = insns.slice()
      for (let at = 0; at < Insn.count(spoiled); at = Insn.nextSlot(spoiled, at)) {
        if (Insn.isSubprogramCall(spoiled, at)) Insn.setImm(spoiled, at, Insn.imm(spoiled, at) + 1)
      }
      return { insns: spoiled, layout }
    }))
  })

  it("named fault: functions in another order break the law", () => {
    assert.isTrue(faulty(({ insns, layout }) => ({ insns, layout: [...layout].reverse() })))
  })

  it("named fault: an instruction that is changed on the way breaks the law", () => {
    assert.isTrue(faulty(({ insns, layout }) => {
      const spoiled = insns.slice()
      Insn.setDst(spoiled, 0, Insn.dst(spoiled, 0) + 1)
      return { insns: spoiled, layout }
    }))
  })
})
