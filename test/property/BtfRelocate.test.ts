import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import { distill } from "../../src/btf/BtfDistill.ts"
import { toByteOrder } from "../../src/btf/BtfEncode.ts"
import { forEachString, forEachTypeId } from "../../src/btf/BtfFields.ts"
import { permute } from "../../src/btf/BtfPermute.ts"
import { relocate } from "../../src/btf/BtfRelocate.ts"
import type { Relocated } from "../../src/btf/BtfRelocate.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { lower } from "../support/arbitrary/BtfC.ts"
import { roundTripFault } from "../support/BtfRoundTrip.ts"
import type { Transforms } from "../support/BtfRoundTrip.ts"
import { runs, runsToMeet } from "../support/Require.ts"

/** A law must fail on its named fault: a counterexample must be found. */
const refuted = <T>(property: fc.IProperty<T>): void => {
  assert.isTrue(fc.check(property, { numRuns: 2000 }).failed, "the named fault went unnoticed")
}

const transforms: Transforms = { distill, relocate }

/** The split BTF of a pair of blobs. */
const parsed = ({ base, split }: { readonly base: Arbitrary.Blob; readonly split: Arbitrary.Blob }): Btf.Btf =>
  B.expectSuccess(Btf.parse(split.bytes, { base: B.expectSuccess(Btf.parse(base.bytes)) }))

/** The result with one word of its types changed. */
const changed = (relocated: Relocated, change: (view: DataView, btf: Btf.Btf) => void): Relocated => {
  const bytes = relocated.btf.bytes.slice()
  change(new DataView(bytes.buffer), relocated.btf)
  return { ...relocated, btf: B.expectSuccess(Btf.parse(bytes, { base: relocated.btf.base })) }
}

/** `relocate` with a fault in its result. */
const faulty = (change: (view: DataView, btf: Btf.Btf) => void): Transforms => ({
  distill,
  relocate: (split, base) => Result.map(relocate(split, base), (relocated) => changed(relocated, change))
})

describe("what is distilled and relocated onto its own base", () => {
  const law = (under: Transforms) =>
    fc.property(Arbitrary.split({ maxLength: 20 }), (pair) => {
      assert.isUndefined(roundTripFault(parsed(pair), under))
    })

  it("is what it was", () => {
    fc.assert(law(transforms), { numRuns: runs(300) })
  })

  it("named fault: references to own types are one off", () => {
    refuted(law(faulty((view, btf) => {
      forEachTypeId(btf, (offset, id) => {
        // A FUNC has to refer to a FUNC_PROTO, or the result would not parse.
        if (Btf.kindOf(btf, id) !== Btf.BTF_KIND_FUNC_PROTO && id >= btf.firstId && id + 1 < btf.endId) {
          view.setUint32(offset, id + 1, btf.byteOrder === "little")
        }
      })
    })))
  })

  it("named fault: names that were in the base are lost", () => {
    refuted(law(faulty((view, btf) => {
      forEachString(btf, (offset, value) => {
        if (value < btf.stringsStart) view.setUint32(offset, 0)
      })
    })))
  })

  it("named fault: typedefs of the base are taken for what they name", () => {
    refuted(law({
      relocate,
      distill: (split) =>
        Result.map(distill(split), (distilled) => {
          const map = distilled.map.slice()
          for (let id = 1; id < split.firstId; id++) {
            if (Btf.kindOf(split, id) === Btf.BTF_KIND_TYPEDEF) map[id] = map[Btf.sizeOrTypeOf(split, id)] ?? 0
          }
          return { ...distilled, map }
        })
    }))
  })

  it("is what it was after other ids in the base", () => {
    fc.assert(
      fc.property(
        Arbitrary.split({ maxLength: 20 }).chain((pair) => {
          const ids = pair.base.types.map((_, index) => index + 1)
          return fc.tuple(fc.constant(pair), fc.shuffledSubarray(ids, { minLength: ids.length, maxLength: ids.length }))
        }),
        ([pair, order]) => {
          const split = parsed(pair)
          const { btf: base } = B.expectSuccess(permute(split.base ?? assert.fail(), [0, ...order]))
          assert.isUndefined(roundTripFault(split, transforms, { base, idOf: (id) => order[id - 1] ?? 0 }))
        }
      ),
      { numRuns: runs(100) }
    )
  })

  it("is what it was over a base of two blobs, or of the other byte order", () => {
    const share = fc.double({ min: 0.1, max: 0.9, noNaN: true })
    fc.assert(
      fc.property(Arbitrary.programs({ maxLength: 20 }), share, share, Arbitrary.forms, (program, one, other, form) => {
        const { declarations } = program
        const keys = (part: number) =>
          new Set(declarations.slice(0, Math.round(declarations.length * part)).map(({ key }) => key))
        const first = lower(program, { roots: keys(one * other) })
        const second = lower(program, { after: first, roots: keys(one) })
        const third = lower(program, { after: second })
        const chain = B.btfOf(second.types, { ...form, base: B.btfOf(first.types, form) })
        const whole = B.btfOf([...first.types, ...second.types], form)
        const split = B.btfOf(third.types, { ...form, base: whole })
        const same = (id: number) => id
        assert.isUndefined(roundTripFault(split, transforms, { base: chain, idOf: same }), "onto a chain")
        const fromChain = B.btfOf(third.types, { ...form, base: chain })
        assert.isUndefined(roundTripFault(fromChain, transforms, { base: whole, idOf: same }), "from a chain")
        const swapped = B.expectSuccess(toByteOrder(whole, whole.byteOrder === "little" ? "big" : "little"))
        const foreign = B.expectSuccess(Btf.parse(swapped))
        assert.isUndefined(roundTripFault(split, transforms, { base: foreign, idOf: same }), "onto foreign order")
        const overForeign = B.expectSuccess(Btf.parse(split.bytes, { base: foreign }))
        assert.isUndefined(roundTripFault(overForeign, transforms), "from foreign order")
      }),
      { numRuns: runs(100) }
    )
  })
})

describe("types that mean nothing", () => {
  /** How many types of the base have a distilled type's name and could be meant. */
  const namesakes = (base: Btf.Btf, name: string): number => {
    let count = 0
    for (let id = 1; id < base.endId; id++) count += Btf.nameOf(base, id) === name ? 1 : 0
    return count
  }

  /** The kinds that a distilled base keeps. */
  const kept: ReadonlySet<number> = new Set([1, 4, 5, 6, 7, 16, 19])

  /** The kinds that split BTF may not refer to. */
  const unreferable: ReadonlySet<number> = new Set([12, 14, 15, 17])

  /** The types with few names and sizes among those that a distilled base keeps, and integers for what it refuses. */
  const crowded = (types: ReadonlyArray<B.Rec>): ReadonlyArray<B.Rec> =>
    types.map((type, index) => {
      if (unreferable.has(type.kind)) return B.int(index % 3 === 0 ? "a" : "b", index % 2 === 0 ? 4 : 8)
      if (!kept.has(type.kind)) return type
      return { ...type, name: index % 3 === 0 ? "a" : "b", word: type.kind === 7 ? 0 : index % 2 === 0 ? 4 : 8 }
    })

  /** Types that contain themselves and each other, over others of this sort. */
  const oddSplit = fc.tuple(Arbitrary.validTypes(1, 12), Arbitrary.forms, fc.boolean()).chain(
    ([types, form, crowd]) => {
      const base = Arbitrary.write(crowd ? crowded(types) : types, form)
      // Where names are few, something refers to all of them.
      const all = B.ptr(types.length + 2)
      const pointed = B.struct("", 8, types.map((_, index) => ["m", index + 1, 0]))
      const first = crowd ? [all, pointed] : []
      return Arbitrary.validTypes(types.length + 1 + first.length, 12).map((own) => ({
        base,
        split: Arbitrary.write([...first, ...own], Arbitrary.over(base, form))
      }))
    }
  )

  it("come back as they were, or are ambiguous in their own base", () => {
    const seen = { same: 0, ambiguous: 0, refused: 0 }
    fc.assert(
      fc.property(fc.oneof(Arbitrary.nearlyWellFormedSplit(), oddSplit), (pair) => {
        const split = parsed(pair)
        const distilled = distill(split)
        if (Result.isFailure(distilled)) {
          assert.include(["WrongKind", "BadArgument"], distilled.failure.reason)
          seen.refused++
          return
        }
        const base = split.base ?? assert.fail()
        const relocated = relocate(distilled.success.split, base)
        if (Result.isSuccess(relocated)) {
          assert.isUndefined(roundTripFault(split, transforms))
          seen.same++
          return
        }
        const { failure } = relocated
        if (failure._tag !== "BtfRelocateError") throw failure
        assert.strictEqual(failure.reason, "Mismatch", failure.message)
        for (const { candidateCount, name, reason } of failure.mismatches) {
          assert.strictEqual(reason, "Ambiguous", failure.message)
          assert.isAtLeast(namesakes(base, name), candidateCount)
          assert.isAtLeast(candidateCount, 2)
        }
        seen.ambiguous++
      }),
      { numRuns: runsToMeet(400) }
    )
    for (const [what, count] of Object.entries(seen)) assert.isAbove(count, 0, what)
  })

  it("have an answer after damage of any kind", () => {
    let parsedSplits = 0
    let relocations = 0
    fc.assert(
      fc.property(
        fc.oneof(Arbitrary.split(), oddSplit),
        Arbitrary.damages,
        fc.boolean(),
        Arbitrary.wellFormed(),
        ({ base, split }, changes, inBase, other) => {
          const baseBytes = inBase ? Arbitrary.damage(base.bytes, changes) : base.bytes
          const splitBytes = inBase ? split.bytes : Arbitrary.damage(split.bytes, changes)
          const whole = Btf.parse(baseBytes)
          if (Result.isFailure(whole)) return
          const over = Btf.parse(splitBytes, { base: whole.success })
          if (Result.isFailure(over)) return
          parsedSplits++
          // Over what is no distilled base.
          relocate(over.success, B.expectSuccess(Btf.parse(other.bytes)))
          const distilled = distill(over.success)
          if (Result.isFailure(distilled)) return
          for (const target of [whole.success, B.expectSuccess(Btf.parse(other.bytes))]) {
            if (Result.isSuccess(relocate(distilled.success.split, target))) relocations++
          }
        }
      ),
      { numRuns: runsToMeet(400) }
    )
    assert.isAbove(parsedSplits, 0)
    assert.isAbove(relocations, 0)
  })
})
