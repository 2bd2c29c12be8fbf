/**
 * Kernels of which it is known in advance what they answer: one small kernel and what was made of it, each with each of the
 * objects. `test/oracle/CoreKernels.full.test.ts` does the same with real kernels.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Encode from "../../../../../src/insn/Encode.ts"
import * as Open from "../../../../../src/stages/open/Open.ts"
import * as Core from "../../../../../src/stages/relocate/core/Core.ts"
import * as CoreReport from "../../../../../src/stages/relocate/CoreReport.ts"
import { objects, type QuestionName } from "../../../../support/CoreObjects.ts"
import * as Table from "../../../../support/KernelTable.ts"
import * as Variants from "../../../../support/KernelVariants.ts"

const kernel = Variants.smallKernel()
const before = Table.answers(Table.rowsOf(Core.target(kernel)))

describe("a small kernel", () => {
  for (const [name, value] of Object.entries(Variants.smallAnswers) as ReadonlyArray<[QuestionName, number]>) {
    it(`answers ${name} by its layout`, () => {
      const answer = Number.isNaN(value) ? "poisoned: Missing" : String(value)
      assert.strictEqual(before.get(name)?.replace(/ \(. bytes\)$/, ""), answer)
    })
  }
})

describe("each variant of it answers each object as it was written down:", () => {
  for (const variant of Variants.variants) {
    it(variant.name, () => assert.deepStrictEqual(Table.check(variant, kernel, before), []))
  }
})

describe("the table", () => {
  it("has more than 17 variants, each of another name, and all three verdicts", () => {
    assert.isAtLeast(Variants.variants.length, 18)
    assert.strictEqual(new Set(Variants.variants.map(({ name }) => name)).size, Variants.variants.length)
    const verdicts = Variants.variants.flatMap((variant) =>
      objects.map(({ name }) => Variants.verdictOf(name, variant))
    )
    for (const verdict of ["green", "guarded", "fatal"]) assert.include(verdicts, verdict)
  })

  it("has variants that are different kernels, but for their names", () => {
    const blobs = Variants.variants.map((variant) => {
      const { base, modules } = Variants.make(variant, kernel)
      return Buffer.from(base.bytes).toString("hex") + modules.length
    })
    assert.strictEqual(new Set(blobs).size, blobs.length)
  })

  it("has objects that an object file says the same of", () => {
    for (const { asks, bytes, name, recorded } of objects) {
      const object = Result.getOrThrow(Open.fromBytes(bytes, { path: `${name}.o` }))
      assert.deepStrictEqual(object.programs.map(({ insns }) => insns), [recorded.insns])
      assert.strictEqual(recorded.records.records.length, asks.length * 16)
    }
  })

  it("fares the same in the report, which follows the programs by itself", () => {
    for (const variant of Variants.variants) {
      const { base, modules } = Variants.make(variant, kernel)
      for (const { bytes, name } of objects) {
        const object = Result.getOrThrow(Open.fromBytes(bytes, { path: `${name}.o` }))
        const entries = Result.getOrThrow(CoreReport.examine(object, Core.target(base, modules)))
          .flatMap(({ entries }) => entries)
        const fatal = entries.some(({ outcome }) =>
          outcome._tag === "Failed" || (outcome._tag === "Poisoned" && outcome.verdict !== "guarded")
        )
        const lacks = entries.some(({ outcome }) => outcome._tag === "Absent" || outcome._tag === "Poisoned")
        const verdict = fatal ? "fatal" : lacks ? "guarded" : "green"
        assert.strictEqual(verdict, Variants.verdictOf(name, variant), `${variant.name}, ${name}`)
      }
    }
  })

  const wrong = (examine: typeof Core.examine): ReadonlyArray<string> =>
    Variants.variants.flatMap((variant) => Table.check(variant, kernel, before, examine))

  it("named fault: nothing is relocated", () => {
    assert.isNotEmpty(wrong((insns, records, local) => Core.examine(insns, records, local, Core.target(local))))
  })
  it("named fault: what is not there is left as it was", () => {
    const lines = wrong((insns, records, local, target) =>
      Result.map(Core.examine(insns, records, local, target), ({ insns: changed, outcomes }) => {
        const kept = changed.slice()
        for (const each of outcomes) {
          if (Result.isFailure(each) || each.success.result._tag !== "Poisoned") continue
          const { slot } = each.success
          kept.set(insns.subarray(slot * 8, slot * 8 + 8), slot * 8)
        }
        return { insns: kept, outcomes }
      })
    )
    assert.isTrue(lines.some((line) => line.endsWith("is guarded, not fatal")))
  })
  it("named fault: modules are not looked at", () => {
    const lines = wrong((insns, records, local, { base }) => Core.examine(insns, records, local, Core.target(base)))
    assert.isTrue(lines.length > 0 && lines.every((line) => line.startsWith("task_struct is in a module")))
  })
  it("named fault: guards are taken for what is always so", () => {
    const lines = wrong((insns, records, local, target) =>
      Result.map(Core.examine(insns, records, local, target), ({ insns: changed, outcomes }) => {
        const spoiled = changed.slice()
        for (const each of outcomes) {
          if (Result.isSuccess(each) && each.success.kind.endsWith("exists")) {
            spoiled.set(Encode.mov64Imm(0, 1), each.success.slot * 8)
          }
        }
        return { insns: spoiled, outcomes }
      })
    )
    assert.isTrue(lines.some((line) => line.endsWith("readPidGuarded is fatal, not guarded")))
  })
})

describe("objects", () => {
  it("ask every question that is written down", () => {
    const asked = new Set(objects.flatMap(({ asks }): ReadonlyArray<QuestionName> => asks))
    assert.deepStrictEqual([...asked].sort(), (Object.keys(Variants.smallAnswers) as Array<QuestionName>).sort())
  })
})
