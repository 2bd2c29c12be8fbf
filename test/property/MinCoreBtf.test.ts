/**
 * The law of minimal BTF: records come to the same against it as against the whole kernel it was made of: the same
 * instructions, the same candidates with the same answers and refusals, the same errors. Types of few names that lead
 * anywhere, with several candidates of each name, in modules too; structs of which loads read each member; types at random.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfSubset from "../../src/btf/BtfSubset.ts"
import * as Encode from "../../src/insn/Encode.ts"
import * as MinCoreBtf from "../../src/stages/gen/MinCoreBtf.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { order, validTypes } from "../support/arbitrary/BtfOdd.ts"
import { type CoreCase, cases } from "../support/arbitrary/CoreTypes.ts"
import * as MinCore from "../support/MinCore.ts"
import { runs } from "../support/Require.ts"
import {
  accesses,
  type Experiment,
  removed,
  resized,
  retypedAnyhow,
  varied
} from "../unit/stages/relocate/core/Accesses.ts"
import { type Recorded, recorded, type RecordSpec } from "../unit/stages/relocate/core/Records.ts"
import * as Structs from "../unit/stages/relocate/core/Structs.ts"

const targetOf = ({ kernel, modules, order }: CoreCase): Core.CoreTarget => {
  const base = B.btfOf(kernel, { order })
  const blobs = modules.map((types, index) => ({ name: `module${index}`, btf: B.btfOf(types, { order, base }) }))
  return Core.target(base, blobs)
}

const programOf = ({ order, records, types }: CoreCase): Recorded => recorded(types, records, order)

/** What a named fault makes of minimal BTF. */
type Fault = (minimal: MinCoreBtf.MinCoreBtf) => MinCoreBtf.MinCoreBtf

/** How programs break the law on a target, as lines; `undefined` where there is no minimal BTF for them together. */
const breaks = (
  target: Core.CoreTarget,
  programs: ReadonlyArray<Recorded>,
  fault: Fault = (minimal) => minimal
): ReadonlyArray<string> | undefined => {
  const made = MinCoreBtf.make(target, programs.map((program) => MinCore.objectOf(program)))
  if (Result.isFailure(made)) {
    const { reason } = made.failure
    // Modules' types that would be taken for the kernel's; pointers larger than what is called `long` here.
    return reason === "ModuleConflict" || reason === "PointerSize" ? undefined : [String(made.failure)]
  }
  return programs.flatMap((program) => MinCore.differences(program, target, fault(made.success)))
}

/** The records of loads and of whole types of an experiment, and the kernel that it is made for. */
const experimentOf = ({ mine, names, order, theirs }: Experiment): CoreCase => {
  const local = Structs.struct(names[0], mine)
  const kernel = Structs.struct(names[1], theirs)
  const type = local.types.length
  const one = Encode.mov64Imm(1, 1)
  const whole: ReadonlyArray<RecordSpec> = [
    { insn: one, type, access: "0", kind: "type_exists" },
    { insn: one, type, access: "0", kind: "type_matches" },
    { insn: Encode.mov64Imm(1, local.bytes), type, access: "0", kind: "type_size" },
    { insn: Encode.ldImm64(1, 5n), type, access: "0", kind: "target_type_id" }
  ]
  return {
    types: local.types,
    records: [...accesses(local, type, order).specs, ...whole],
    kernel: kernel.types,
    modules: [],
    order
  }
}

const law = (arbitrary: fc.Arbitrary<CoreCase>, fault?: Fault): fc.IProperty<unknown> =>
  fc.property(arbitrary, (one) => {
    const lines = breaks(targetOf(one), [programOf(one)], fault)
    fc.pre(lines !== undefined)
    assert.deepStrictEqual(lines, [])
  })

/** Some of the types of minimal BTF, which keep what they are from. */
const selected = (
  { btf, objects, origins }: MinCoreBtf.MinCoreBtf,
  take: (id: number) => BtfSubset.Taken | undefined
): MinCoreBtf.MinCoreBtf => {
  const types = new Map<number, BtfSubset.Taken>()
  for (let id = 1; id < btf.endId; id++) {
    const taken = take(id)
    if (taken !== undefined) types.set(id, taken)
  }
  const subset = B.expectSuccess(BtfSubset.subset([{ btf, types }]))
  return {
    btf: subset.btf,
    objects,
    origins: subset.origins.map(({ id }) => origins[id - 1] ?? { module: undefined, id: 0 })
  }
}

const isComposite = (btf: Btf.Btf, id: number): boolean =>
  Btf.kindOf(btf, id) === Btf.BTF_KIND_STRUCT || Btf.kindOf(btf, id) === Btf.BTF_KIND_UNION

const range = (length: number): ReadonlySet<number> => new Set(Array.from({ length }, (_, index) => index))

const faults: Readonly<Record<string, Fault>> = {
  "only the first type of each name is there": (minimal) => {
    const seen = new Set<string>()
    return selected(minimal, (id) => {
      const name = Btf.essentialName(Btf.nameOf(minimal.btf, id))
      const key = `${Btf.kindOf(minimal.btf, id)} ${name}`
      if (name === "" || !seen.has(key)) return seen.add(key) && "whole"
      return undefined
    })
  },
  "what pointers lead to is left out": (minimal) => {
    const { btf } = minimal
    const behind = new Set<number>()
    for (const id of Btf.idsOfKind(btf, Btf.BTF_KIND_PTR)) behind.add(Btf.sizeOrTypeOf(btf, id))
    return selected(minimal, (id) => behind.has(id) && Btf.nameOf(btf, id) === "" ? undefined : "whole")
  },
  "the last member of each struct is left out": (minimal) =>
    selected(minimal, (id) => isComposite(minimal.btf, id) ? range(Btf.vlenOf(minimal.btf, id) - 1) : "whole"),
  "members without a name are left out": (minimal) =>
    selected(minimal, (id) => {
      if (!isComposite(minimal.btf, id)) return "whole"
      const { anonymous } = Btf.elementNames(minimal.btf, id)
      return new Set([...range(Btf.vlenOf(minimal.btf, id))].filter((index) => !anonymous.includes(index)))
    }),
  "ids are taken for the kernel's": (minimal) => ({
    ...minimal,
    origins: minimal.origins.map((_, index) => ({ module: undefined, id: index + 1 }))
  })
}

describe("what records come to against minimal BTF", () => {
  it("is what they come to against the whole", () => {
    fc.assert(law(cases), { numRuns: runs(2500) })
  })
  it("for every access of structs, and loads of their members", () => {
    fc.assert(law(fc.oneof(varied, removed, resized, retypedAnyhow).map(experimentOf)), { numRuns: runs(800) })
  })
  it("for several objects together", () => {
    fc.assert(
      fc.property(cases, fc.array(cases, { minLength: 1, maxLength: 2 }), (one, others) => {
        const programs = [one, ...others].map((each) => programOf({ ...each, order: one.order }))
        const lines = breaks(targetOf(one), programs)
        fc.pre(lines !== undefined)
        assert.deepStrictEqual(lines, [])
      }),
      { numRuns: runs(700) }
    )
  })
  for (const [name, fault] of Object.entries(faults)) {
    it(`named fault: ${name}`, () => {
      assert.isTrue(
        fc.check(law(cases, fault), { numRuns: 3000, endOnFailure: true }).failed,
        "the named fault went unnoticed"
      )
    })
  }
})

describe("minimal BTF", () => {
  it("of minimal BTF is itself: nothing in it is more than is needed", () => {
    fc.assert(
      fc.property(cases, (one) => {
        const object = MinCore.objectOf(programOf(one))
        const once = MinCoreBtf.make(targetOf(one), [object])
        fc.pre(Result.isSuccess(once))
        const twice = B.expectSuccess(MinCoreBtf.make(Core.target(once.success.btf), [object]))
        assert.deepStrictEqual(twice.btf.bytes, once.success.btf.bytes)
      }),
      { numRuns: runs(1500) }
    )
  })
  it("named fault: more than is needed is seen", () => {
    const kernel = [B.int("int", 4, 1), B.struct("s", 4, [["x", 1, 0]])]
    const spec: RecordSpec = { insn: Encode.mov64Imm(1, 1), type: 2, access: "0", kind: "type_exists" }
    const target = Core.target(B.btfOf(kernel))
    const { btf } = B.expectSuccess(MinCoreBtf.make(target, [MinCore.objectOf(recorded(kernel, [spec]))]))
    assert.notDeepEqual(btf.bytes, target.base.bytes)
  })

  const record = fc.record({
    insn: fc.constant(Encode.mov64Imm(1, 1)),
    type: fc.nat(31),
    access: fc.oneof(
      fc.constantFrom("0", "0:0", "0:1", "1:0:0", "", ":"),
      fc.array(fc.nat(5), { minLength: 1, maxLength: 6 }).map((list) => list.join(":"))
    ),
    kind: fc.nat(14)
  })
  it("of any types and any records is BTF of some of those types, or a tagged error", () => {
    fc.assert(
      fc.property(
        validTypes(),
        validTypes(),
        fc.array(record, { minLength: 1, maxLength: 8 }),
        order,
        fc.boolean(),
        (mine, theirs, specs, order, own) => {
          const program = recorded(mine, specs, order)
          const target = Core.target(own ? program.local : B.btfOf(theirs, { order }))
          const lines = breaks(target, [program])
          if (lines !== undefined) assert.deepStrictEqual(lines, [])
        }
      ),
      { numRuns: runs(1000) }
    )
  })
})
