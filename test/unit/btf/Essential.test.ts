/**
 * Names without their flavor, and types, members and enumerators by them: examples, and agreement with a walk over
 * everything on types at random.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Btf from "../../../src/btf/Btf.ts"
import { memberPlace, rememberPlace } from "../../../src/btf/BtfEssential.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"
import * as Odd from "../../support/arbitrary/BtfOdd.ts"
import { runs } from "../../support/Require.ts"

/** The essential part of a name, as the encoded bytes of a blob have it. */
const essentialOf = (name: string): Btf.EssentialName => {
  const btf = B.btfOf([B.typedef(name, 0)])
  return Btf.essentialAt(btf, Btf.nameOffsetOf(btf, 1))
}

const textOf = ({ bytes, end, start }: Btf.EssentialName): string =>
  new TextDecoder().decode(bytes.subarray(start, end))

/** Underscores in all numbers, between few letters and at both ends. */
const names = fc.array(fc.constantFrom("_", "__", "___", "____", "a", "b", "ä", "7"), { minLength: 1, maxLength: 9 })
  .map((parts) => parts.join(""))

describe("the essential name", () => {
  for (
    const [name, essential] of [
      ["a___b", "a"],
      ["a____b", "a____b"],
      ["___b", "___b"],
      ["a___", "a___"],
      ["a___b___c", "a___b"],
      ["x_y___z", "x_y"],
      ["task_struct___before_5_14", "task_struct"],
      ["plain", "plain"],
      ["", ""]
    ] as const
  ) {
    it(`of "${name}" is "${essential}"`, () => {
      assert.strictEqual(Btf.essentialName(name), essential)
      assert.strictEqual(textOf(essentialOf(name)), essential)
    })
  }

  it("is the same of text and of bytes, and names are equal where those are", () => {
    fc.assert(fc.property(names, names, (one, other) => {
      const [first, second] = [essentialOf(one), essentialOf(other)]
      assert.strictEqual(textOf(first), Btf.essentialName(one))
      assert.strictEqual(first.length, new TextEncoder().encode(one).length)
      const same = Btf.essentialName(one) === Btf.essentialName(other)
      assert.strictEqual(Btf.sameEssential(first, second), same)
      if (same) assert.strictEqual(first.hash, second.hash)
    }))
  })
  it("named fault: taken at the first separator it is another one", () => {
    const first = (name: string): string => /^(.*?[^_])___[^_]/.exec(name)?.[1] ?? name
    assert.isTrue(
      fc.check(fc.property(names, (name) => first(name) === Btf.essentialName(name)), { numRuns: 3000 }).failed
    )
  })
  it("of a string that does not exist is empty", () => {
    assert.strictEqual(Btf.essentialAt(B.btfOf([B.int("int", 4)]), 10_000).length, 0)
  })
})

const flavored = fc.array(
  fc.tuple(
    fc.constantFrom("a", "a___1", "a___1___2", "b", "b___x", "___", ""),
    fc.constantFrom(1, 4, 5, 6, 7, 8, 16, 19)
  ),
  { maxLength: 30 }
)

const typeOf = ([name, kind]: readonly [string, number]): B.Rec => {
  switch (kind) {
    case 1:
      return B.int(name, 4)
    case 4:
      return B.struct(name, 0, [])
    case 5:
      return B.union(name, 0, [])
    case 6:
      return B.enumeration(name, 4, false, [])
    case 7:
      return B.fwd(name, false)
    case 16:
      return B.float(name, 8)
    case 19:
      return B.enum64(name, 8, false, [])
    default:
      return B.typedef(name, 0)
  }
}

const isEnum = (kind: number): boolean => kind === Btf.BTF_KIND_ENUM || kind === Btf.BTF_KIND_ENUM64

/** The same by a walk over the blob's own types. */
const walked = (btf: Btf.Btf, kind: number, essential: string): ReadonlyArray<number> => {
  const ids: Array<number> = []
  for (let id = btf.firstId; id < btf.endId; id++) {
    const its = Btf.kindOf(btf, id)
    if (its !== kind && !(isEnum(its) && isEnum(kind))) continue
    const name = Btf.nameOf(btf, id)
    if (name !== "" && Btf.essentialName(name) === essential) ids.push(id)
  }
  return ids
}

const order = fc.constantFrom("little", "big")

describe("types by essential name", () => {
  const law = (find: typeof Btf.idsOfEssential) =>
    fc.property(flavored, flavored, order, (below, above, order) => {
      const base = B.btfOf(below.map(typeOf), { order })
      const split = B.btfOf(above.map(typeOf), { order, base })
      for (const btf of [base, split, base]) {
        for (const kind of [1, 4, 5, 6, 7, 8, 16, 19]) {
          for (const name of ["a", "b", "a___1", "b___nowhere", "c", "___"]) {
            assert.deepStrictEqual(find(btf, kind, essentialOf(name)), walked(btf, kind, Btf.essentialName(name)))
          }
        }
      }
    })

  it("are those that a walk finds, the blob's own, in order of ids", () => {
    fc.assert(law(Btf.idsOfEssential), { numRuns: runs(200) })
  })
  it("named fault: enums of 64 bits are of a kind of their own", () => {
    const narrow: typeof Btf.idsOfEssential = (btf, kind, name) =>
      Btf.idsOfEssential(btf, kind, name).filter((id) => Btf.kindOf(btf, id) === kind)
    assert.isTrue(fc.check(law(narrow), { numRuns: 3000 }).failed)
  })
  it("named fault: a flavor is a name like any other", () => {
    const whole: typeof Btf.idsOfEssential = (btf, kind, name) =>
      Btf.idsOfEssential(btf, kind, name).filter((id) => Btf.nameOf(btf, id) === textOf(name))
    assert.isTrue(fc.check(law(whole), { numRuns: 3000 }).failed)
  })

  it("is the same of text as of a blob's bytes", () => {
    fc.assert(fc.property(names, (name) => {
      const { hash, length, ...one } = Btf.essentialOf(name)
      const other = essentialOf(name)
      assert.deepStrictEqual([hash, length, textOf({ hash, length, ...one })], [
        other.hash,
        other.length,
        textOf(other)
      ])
    }))
    assert.strictEqual(textOf(Btf.essentialOf("a\0b")), "a")
  })

  const exactly = (find: typeof Btf.ownNamed) =>
    fc.property(flavored, flavored, order, (below, above, order) => {
      const base = B.btfOf(below.map(typeOf), { order })
      const split = B.btfOf(above.map(typeOf), { order, base })
      for (const btf of [base, split]) {
        for (const kind of [1, 4, 5, 6, 7, 8, 16, 19]) {
          for (const name of ["a", "a___1", "a___1___2", "b", "b___x", "b___y", "___", "", "a\0"]) {
            const wanted = walked(btf, kind, Btf.essentialName(name)).filter((id) =>
              Btf.nameOf(btf, id) === name && Btf.kindOf(btf, id) === kind
            )
            assert.deepStrictEqual(find(btf, name, kind), wanted)
          }
        }
      }
    })
  it("with a flavor or not are found by their whole names, too", () => {
    fc.assert(exactly(Btf.ownNamed), { numRuns: runs(200) })
  })
  it("named fault: those of another flavor are found as well", () => {
    const loose: typeof Btf.ownNamed = (btf, name, kind) =>
      name === "" ? [] : Btf.idsOfEssential(btf, kind, Btf.essentialOf(name))
    assert.isTrue(fc.check(exactly(loose), { numRuns: 3000 }).failed)
  })
  it("are not searched for longer than there are steps", () => {
    const many = B.btfOf(Array.from({ length: 100 }, () => B.struct("a", 0, [])))
    const steps = { left: 10 }
    assert.isAtMost(Btf.ownNamed(many, "a", Btf.BTF_KIND_STRUCT, steps).length, 10)
    assert.isBelow(steps.left, 0)
  })

  it("are remembered with the types, by kind", () => {
    const types = [B.struct("a", 0, []), B.typedef("a", 0)]
    const btf = B.btfOf(types)
    assert.deepStrictEqual(Btf.idsOfEssential(btf, Btf.BTF_KIND_STRUCT, essentialOf("a")), [1])
    assert.deepStrictEqual([...btf.internal.cache.essentials?.keys() ?? []], [Btf.BTF_KIND_STRUCT])
    const index = btf.internal.cache.essentials?.get(Btf.BTF_KIND_STRUCT)
    assert.deepStrictEqual(Btf.idsOfEssential(btf, Btf.BTF_KIND_STRUCT, essentialOf("b")), [])
    assert.strictEqual(btf.internal.cache.essentials?.get(Btf.BTF_KIND_STRUCT), index)
    assert.strictEqual(index?.hashes.length, 1)
    assert.isUndefined(B.btfOf(types).internal.cache.essentials)
  })

  it("cost steps, and no more than there are", () => {
    const btf = B.btfOf(Array.from({ length: 1000 }, () => B.struct("a", 0, [])))
    const steps = { left: 100 }
    assert.isAtMost(Btf.idsOfEssential(btf, Btf.BTF_KIND_STRUCT, essentialOf("a"), steps).length, 100)
    assert.isBelow(steps.left, 0)
    const enough = { left: 1000 }
    assert.strictEqual(Btf.idsOfEssential(btf, Btf.BTF_KIND_STRUCT, essentialOf("a"), enough).length, 1000)
    assert.strictEqual(enough.left, 0)
  })
})

/** Names of the elements of a type. */
const elements = (btf: Btf.Btf, id: number): ReadonlyArray<string> => {
  const type = Btf.typeOf(btf, id)
  switch (type._tag) {
    case "Struct":
    case "Union":
      return type.members.map(({ name }) => name)
    case "Enum":
    case "Enum64":
      return type.values.map(({ name }) => name)
    default:
      return []
  }
}

describe("elements by name", () => {
  const law = (find: typeof Btf.elementNames) =>
    fc.property(Odd.validTypes(), order, (types, order) => {
      const btf = B.btfOf(types, { order })
      for (let id = 0; id < btf.endId; id++) {
        const all = elements(btf, id)
        const { anonymous, named } = find(btf, id)
        const once = [...new Set(all)].filter((name) => name !== "")
        assert.deepStrictEqual([...named], once.map((name) => [name, all.indexOf(name)]))
        assert.deepStrictEqual(anonymous, [...all.keys()].filter((index) => all[index] === ""))
        const essentials = Btf.essentialElements(btf, id)
        assert.deepStrictEqual([...essentials.keys()], [...new Set(all.map(Btf.essentialName))])
        for (const [name, indices] of essentials) {
          assert.deepStrictEqual(indices, [...all.keys()].filter((at) => Btf.essentialName(all[at] ?? "") === name))
        }
        assert.strictEqual(Btf.elementNames(btf, id), Btf.elementNames(btf, id))
      }
    })

  it("are those of the type, the first of each name; of other types there are none", () => {
    fc.assert(law(Btf.elementNames), { numRuns: runs(300) })
  })
  it("named fault: the last of each name", () => {
    const last: typeof Btf.elementNames = (btf, id) => ({
      ...Btf.elementNames(btf, id),
      named: new Map(elements(btf, id).flatMap((name, index) => name === "" ? [] : [[name, index] as const]))
    })
    assert.isTrue(fc.check(law(last), { numRuns: 3000 }).failed)
  })

  it("of a base are remembered with the base", () => {
    const base = B.btfOf([B.int("int", 4), B.struct("s", 4, [["x", 1, 0]])])
    const split = B.btfOf([B.typedef("t", 2)], { base })
    assert.deepStrictEqual([...Btf.elementNames(split, 2).named], [["x", 0]])
    assert.isTrue(base.internal.cache.elementNames?.has(2))
    assert.isUndefined(split.internal.cache.elementNames)
  })

  it("are not remembered where the steps did not reach", () => {
    const btf = B.btfOf([B.int("int", 4), B.struct("s", 8, [["x", 1, 0], ["y".repeat(500), 1, 32]])])
    for (const find of [Btf.elementNames, Btf.essentialElements]) {
      const steps = { left: 2 }
      find(btf, 2, steps)
      assert.isBelow(steps.left, 0)
    }
    assert.strictEqual(Btf.elementNames(btf, 2).named.size, 2)
    assert.strictEqual(Btf.essentialElements(btf, 2).size, 2)
  })
})

describe("places of members", () => {
  const place = { indices: [1, 0], typeId: 3, bitOffset: 64, type: 1, bits: 0 }

  it("are remembered by struct and name, with the blob that holds the struct", () => {
    const base = B.btfOf([B.int("int", 4), B.struct("s", 4, [["x", 1, 0]])])
    const split = B.btfOf([B.typedef("t", 2)], { base })
    rememberPlace(split, 2, "x", place)
    assert.strictEqual(memberPlace(base, 2, "x"), place)
    assert.isUndefined(memberPlace(base, 2, "y"))
    assert.isUndefined(memberPlace(base, 1, "x"))
    assert.isUndefined(split.internal.cache.memberPlaces)
  })
  it("are no more than 65,536", () => {
    const btf = B.btfOf([B.struct("s", 0, [])])
    for (let index = 0; index < 70_000; index++) rememberPlace(btf, 1, `m${index}`, place)
    assert.strictEqual(btf.internal.cache.memberPlaces?.places.get(1)?.size, 1 << 16)
    assert.isUndefined(memberPlace(btf, 1, "m69999"))
  })
})
