import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as SpecIds from "../../../src/usdt/SpecIds.ts"

type Give = typeof SpecIds.give

/** Takes and gives back in the order of the script, and checks that nobody has what another has. */
const sound = (give: Give) => (capacity: number, script: ReadonlyArray<readonly [take: boolean, number]>): boolean => {
  let ids = SpecIds.none(capacity)
  const held: Array<ReadonlyArray<number>> = []
  for (const [take, number] of script) {
    if (take) {
      const taken = SpecIds.take(ids, number)
      const used = held.flat().length
      if ((taken === undefined) !== (number > capacity - used)) return false
      if (taken === undefined) continue
      if (taken[0].length !== number) return false
      held.push(taken[0])
      ids = taken[1]
    } else {
      const [back] = held.splice(held.length === 0 ? 0 : number % held.length, 1)
      if (back !== undefined) ids = give(ids, back)
    }
    const all = held.flat()
    if (new Set(all).size !== all.length || all.some((id) => id < 0 || id >= capacity)) return false
    if (SpecIds.available(ids) !== capacity - all.length) return false
  }
  return true
}

const script = fc.array(fc.tuple(fc.boolean(), fc.nat(5)), { maxLength: 40 })

describe("records of argument specifications", () => {
  it("are each taken by one, never more than there are, and again when they were given back", () => {
    fc.assert(fc.property(fc.nat(12), script, sound(SpecIds.give)))
  })

  for (
    const [fault, give] of Object.entries<Give>({
      "forgets what is given back": (ids) => ids,
      "gives back what was never taken": (ids, taken) => SpecIds.give(ids, taken.map((id) => id + 1)),
      "gives back twice": (ids, taken) => SpecIds.give(SpecIds.give(ids, taken), taken)
    })
  ) {
    it(`would fail for one that ${fault}`, () => {
      assert.isTrue(fc.check(fc.property(fc.nat(12), script, sound(give)), { numRuns: 2000 }).failed)
    })
  }

  it("are used again before new ones are begun", () => {
    const [, first] = SpecIds.take(SpecIds.none(8), 3) ?? []
    if (first === undefined) throw new Error("nothing was taken")
    const [again] = SpecIds.take(SpecIds.give(first, [0, 1]), 3) ?? []
    assert.deepStrictEqual(again, [1, 0, 3])
  })
})
