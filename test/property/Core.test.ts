/**
 * Law 3: against its own types a program stays as it is; against those of a kernel that moved, padded, grouped or
 * renamed (by a flavor), each access reads the field of the same name; without the field, what asks for it says so and
 * what reads it is poisoned. Both byte orders. What is read is compared bit by bit with an independent model of C's
 * layout.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import { rememberPlace } from "../../src/btf/BtfEssential.ts"
import * as Encode from "../../src/insn/Encode.ts"
import * as Insn from "../../src/insn/Insn.ts"
import { BPF_W } from "../../src/insn/InsnConstants.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import { runs } from "../support/Require.ts"
import * as Arbitraries from "../support/arbitrary/BtfOdd.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import {
  type Access,
  accesses,
  bitten,
  bytesOf,
  type Experiment,
  extent,
  isSigned,
  order,
  removed,
  renamedField,
  resized,
  varied
} from "../unit/stages/relocate/core/Accesses.ts"
import { type Recorded, recorded, show } from "../unit/stages/relocate/core/Records.ts"
import * as Structs from "../unit/stages/relocate/core/Structs.ts"

/** The bits of memory as one number: from the lowest bit of each byte upwards, or from the highest downwards. */
const readBits = (memory: Uint8Array, bit: number, bits: number, order: B.Order): bigint => {
  let value = 0n
  for (let index = 0; index < bits; index++) {
    const at = bit + index
    const byte = memory[at >> 3] ?? 0
    const one = BigInt(order === "little" ? byte >> (at & 7) & 1 : byte >> (7 - (at & 7)) & 1)
    value = order === "little" ? value | one << BigInt(index) : value << 1n | one
  }
  return value
}

const loaded = (memory: Uint8Array, at: number, bytes: number, order: B.Order): bigint =>
  readBits(memory, at * 8, bytes * 8, order)

/** What of the law's experiment a named fault changes. */
interface Fault {
  readonly kernel?: (types: ReadonlyArray<B.Rec>) => ReadonlyArray<B.Rec>
  readonly order?: B.Order
  readonly after?: (relocated: Core.Relocated, before: Uint8Array) => Core.Relocated
}

const memory = Uint8Array.from({ length: 4096 }, (_, index) => (index * 167 + (index >> 5) * 91 + 13) & 0xff)

/** How relocating breaks the law, as lines. */
const breaks = ({ mine, names, order, theirs }: Experiment, fault: Fault = {}): ReadonlyArray<string> => {
  const local = Structs.struct(names[0], mine)
  const kernel = Structs.struct(names[1], theirs)
  const { list, specs } = accesses(local, local.types.length, order)
  const used = fault.order ?? order
  const program = recorded(local.types, specs, used)
  const target = Core.target(B.btfOf(fault.kernel?.(kernel.types) ?? kernel.types, { order: used }))
  const result = Core.relocate(program.insns, program.records, program.local, target)
  if (result._tag === "Failure") return [result.failure.message]
  const { insns, outcomes } = fault.after?.(result.success, program.insns) ?? result.success
  const found: Array<string> = []
  for (const { asks, first, path } of list) {
    const there = kernel.places.get(path)
    const slot = (what: Access["asks"][number]): number => asks.indexOf(what) < 0 ? -1 : first + asks.indexOf(what)
    const value = (what: Access["asks"][number]): number => Insn.imm(insns, slot(what))
    const complain = (what: string): number => found.push(`${path}: ${what}`)
    if (value("exists") !== (there === undefined ? 0 : 1)) complain(`exists is ${value("exists")}`)
    if (there === undefined) {
      for (const what of asks) {
        if (what === "exists") continue
        if (Insn.imm(insns, slot(what)) !== Core.POISON || outcomes[slot(what)]?.result._tag !== "Poisoned") {
          complain(`${what} is not poisoned`)
        }
      }
      continue
    }
    const { bits, bytes } = extent(there)
    const scalar = bytesOf(there.type)
    if (scalar === undefined || there.type._tag !== "Bits") {
      if (value("offset") * 8 !== there.bit) complain(`the offset is ${value("offset")}, not ${there.bit / 8}`)
    }
    if (scalar === undefined) continue
    const expected = readBits(memory, there.bit, bits, order)
    if (slot("load") >= 0) {
      const size = Insn.sizeInBytes(insns, slot("load"))
      const resized = Insn.opcode(insns, slot("load")) === Insn.CALL
      const mineSigned = isSigned(local.places.get(path)?.type ?? there.type)
      const sameSize = bytesOf(local.places.get(path)?.type ?? there.type) === bytes
      const isNumber = there.type._tag !== "Enum"
      const cannot = there.type._tag === "Bits" || (!sameSize && (mineSigned || isSigned(there.type)) && isNumber)
      if (resized !== cannot) complain(`poisoned: ${resized}`)
      else if (!resized && loaded(memory, Insn.offset(insns, slot("load")), size, order) !== expected) {
        complain(`a load reads something else`)
      }
    }
    if (slot("size") >= 0 && value("size") !== bytes) complain(`the size is ${value("size")}, not ${bytes}`)
    if (slot("left") >= 0 && value("size") <= 8) {
      const word = BigInt.asUintN(64, loaded(memory, value("offset"), value("size"), order) << BigInt(value("left")))
      const read = value("signed") === 1
        ? BigInt.asIntN(64, word) >> BigInt(value("right"))
        : word >> BigInt(value("right"))
      const wanted = isSigned(there.type) ? BigInt.asIntN(bits, expected) : expected
      if (read !== wanted) complain(`shifting reads ${read}, not ${wanted}`)
    }
  }
  return found
}

const law = (experiments: fc.Arbitrary<Experiment>, fault?: Fault): fc.IProperty<unknown> =>
  fc.property(experiments, (experiment) => {
    assert.deepStrictEqual(breaks(experiment, fault), [])
  })

const refuted = (experiments: fc.Arbitrary<Experiment>, fault: Fault): void => {
  assert.isTrue(
    fc.check(law(experiments, fault), { numRuns: 1000, endOnFailure: true }).failed,
    "the named fault went unnoticed"
  )
}

/** Changes the members of all structs and unions. */
const members = (change: (member: B.MemberRec, index: number) => B.MemberRec) => (types: ReadonlyArray<B.Rec>) =>
  types.map((type) => {
    if ((type.kind !== 4 && type.kind !== 5) || type.rest === undefined) return type
    const list: Array<B.MemberRec> = []
    for (let at = 0; at < type.rest.length; at += 3) {
      const offset = Number(type.rest[at + 2])
      const bits = type.kflag === true ? offset >>> 24 : 0
      list.push([
        String(type.rest[at]),
        Number(type.rest[at + 1]),
        type.kflag === true ? offset & 0xff_ffff : offset,
        bits
      ])
    }
    const make = type.kind === 4 ? B.struct : B.union
    return make(type.name ?? "", type.word ?? 0, list.map(change))
  })

describe("law 3: relocation finds the field of the same name", () => {
  it("against its own types a program stays as it is", () => {
    fc.assert(
      fc.property(Structs.structs, order, (mine, order) => {
        const laid = Structs.struct("s", mine)
        const program = recorded(laid.types, accesses(laid, laid.types.length, order).specs, order)
        const { insns, outcomes } = B.expectSuccess(
          Core.relocate(program.insns, program.records, program.local, Core.target(program.local))
        )
        assert.strictEqual(show(insns), show(program.insns))
        assert.isTrue(outcomes.every(({ found, result }) => found && result._tag === "Unchanged"))
      }),
      { numRuns: runs(300) }
    )
  })

  it("whatever was moved, padded, grouped or given a flavor", () => {
    fc.assert(law(varied), { numRuns: runs(1500) })
  })
  it("a field that is gone is said not to exist, and reading it is poisoned", () => {
    fc.assert(law(removed), { numRuns: runs(700) })
  })
  it("a field that has another name is gone as well", () => {
    fc.assert(law(renamedField), { numRuns: runs(500) })
  })
  it("an integer that has become a bit field is read by shifts and not by a load, and the other way round", () => {
    fc.assert(law(bitten), { numRuns: runs(700) })
  })
  it("unsigned integers and pointers of another size are loaded in that size, signed ones are poisoned", () => {
    fc.assert(law(resized), { numRuns: runs(700) })
  })

  it("named fault: nothing is relocated", () => {
    refuted(varied, { after: (relocated, before) => ({ ...relocated, insns: before }) })
  })
  it("named fault: members are taken by their position", () => {
    const names = ["f0", "f1", "f2", "f3", "f4", "f5", "f6"]
    refuted(varied, { kernel: members(([, ...rest], index) => [names[index] ?? "", ...rest]) })
  })
  it("named fault: where an anonymous struct stands is forgotten", () => {
    refuted(varied, { kernel: members(([name, type, bit, bits]) => [name, type, name === "" ? 0 : bit, bits ?? 0]) })
  })
  it("named fault: bit fields are taken for whole integers", () => {
    refuted(varied, { kernel: members(([name, type, bit]) => [name, type, bit]) })
  })
  it("named fault: shifts count as on a little-endian machine", () => {
    refuted(varied.map((experiment) => ({ ...experiment, order: "big" })), { order: "little" })
  })
  it("named fault: a missing field is said to exist", () => {
    const exists = Encode.mov64Imm(1, 1)
    refuted(removed, {
      after: ({ insns, outcomes }) => {
        const spoiled = insns.slice()
        for (const { kind, slot } of outcomes) if (kind === "field_exists") spoiled.set(exists, slot * 8)
        return { insns: spoiled, outcomes }
      }
    })
  })
  it("named fault: reading a missing field is left as it was", () => {
    refuted(removed, {
      after: ({ insns, outcomes }, before) => {
        const spoiled = insns.slice()
        for (const { result, slot } of outcomes) {
          if (result._tag === "Poisoned") spoiled.set(before.subarray(slot * 8, slot * 8 + 8), slot * 8)
        }
        return { insns: spoiled, outcomes }
      }
    })
  })
  it("named fault: a bit field is loaded as a whole", () => {
    refuted(bitten, {
      after: ({ insns, outcomes }, before) => {
        const spoiled = insns.slice()
        for (const { result, slot } of outcomes) {
          if (result._tag === "Poisoned" && result.why === "Resized") {
            spoiled.set(before.subarray(slot * 8, slot * 8 + 8), slot * 8)
          }
        }
        return { insns: spoiled, outcomes }
      }
    })
  })
  it("named fault: the size of a load stays what it was", () => {
    refuted(resized, {
      after: ({ insns, outcomes }, before) => {
        const spoiled = insns.slice()
        for (const { slot } of outcomes) {
          if (Insn.insnClass(spoiled, slot) === 1) spoiled[slot * 8] = before[slot * 8] ?? 0
        }
        return { insns: spoiled, outcomes }
      }
    })
  })
})

describe("whatever the records and types are", () => {
  const record = fc.record({
    insn: fc.constantFrom(Encode.mov64Imm(1, 0), Encode.ldx(BPF_W, 1, 2, 0), Encode.ldImm64(1, 0n), Encode.exit()),
    type: fc.nat(31),
    access: fc.oneof(
      fc.constantFrom("0", "0:0", "0:1", "1:0:0", "0:0:0:0", "", ":"),
      fc.array(fc.nat(5), { minLength: 1, maxLength: 6 }).map((list) => list.join(":"))
    ),
    kind: fc.nat(14)
  })
  it("the answer is a program or an error, and the same for a cache that was used before", () => {
    fc.assert(
      fc.property(
        Arbitraries.validTypes(),
        Arbitraries.validTypes(),
        fc.array(record, { minLength: 1, maxLength: 8 }),
        order,
        fc.boolean(),
        (mine, theirs, specs, order, own) => {
          const { insns, local, records } = recorded(mine, specs, order)
          const target = Core.target(own ? local : B.btfOf(theirs, { order }))
          const before = show(insns)
          const answer = () => {
            const done = B.expectSuccess(Core.examine(insns, records, local, target))
            return [
              show(done.insns),
              done.outcomes.map((each) => each._tag === "Failure" ? each.failure.message : each.success)
            ]
          }
          const once = answer()
          assert.deepStrictEqual(answer(), once)
          assert.strictEqual(show(insns), before)
        }
      ),
      { numRuns: runs(2000) }
    )
  })

  const answerOf = ({ insns, local, records }: Recorded, kernel: Btf.Btf): string => {
    const done = B.expectSuccess(Core.examine(insns, records, local, Core.target(kernel)))
    return show(done.insns) + done.outcomes.map((each) => each._tag === "Failure" ? each.failure.message : "").join()
  }
  /** What an object comes to is the same for a kernel that others were relocated for: `first` is what they leave behind. */
  const forgetful = (first: (other: Recorded, kernel: Btf.Btf) => void) =>
    fc.property(varied, Structs.structs, ({ mine, names, order, theirs }, others) => {
      // Members of both objects have the same names, and mostly other types.
      const [one, two] = [others, mine].map((items) => {
        const laid = Structs.struct(names[0], items)
        return recorded(laid.types, accesses(laid, laid.types.length, order).specs, order)
      })
      const kernel = (): Btf.Btf => B.btfOf(Structs.struct(names[1], theirs).types, { order })
      if (one === undefined || two === undefined) return
      const shared = kernel()
      first(one, shared)
      assert.strictEqual(answerOf(two, shared), answerOf(two, kernel()))
    })

  it("the answer is the same for a kernel that other objects were relocated for", () => {
    fc.assert(forgetful((one, kernel) => void answerOf(one, kernel)), { numRuns: runs(1000) })
  })
  it("named fault: where a member was found is remembered wrongly", () => {
    const wrong = forgetful((_, kernel) => {
      for (let id = 1; id < kernel.endId; id++) {
        for (const [name, index] of Btf.elementNames(kernel, id).named) {
          rememberPlace(kernel, id, name, { indices: [index], typeId: id, bitOffset: 4096, type: 1, bits: 0 })
        }
      }
    })
    assert.isTrue(fc.check(wrong, { numRuns: 3000, endOnFailure: true }).failed, "the named fault went unnoticed")
  })
})
