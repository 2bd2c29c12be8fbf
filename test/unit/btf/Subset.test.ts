import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Result from "effect/Result"
import * as Btf from "../../../src/btf/Btf.ts"
import { visitTypeIds } from "../../../src/btf/BtfFields.ts"
import * as BtfSubset from "../../../src/btf/BtfSubset.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"
import { order, validTypes } from "../../support/arbitrary/BtfOdd.ts"
import { runs } from "../../support/Require.ts"

const subset = (btf: Btf.Btf, types: ReadonlyArray<readonly [number, BtfSubset.Taken]>): BtfSubset.Subset =>
  B.expectSuccess(BtfSubset.subset([{ btf, types: new Map(types) }]))

const reason = (selections: ReadonlyArray<BtfSubset.Selection>): string =>
  B.expectFailure(BtfSubset.subset(selections)).reason

describe("some of the types of a blob", () => {
  it("keep what they are, whatever their kind, where they all are taken", () => {
    const btf = B.btfOf(B.everyKind)
    const all = subset(btf, B.everyKind.map((_, index) => [index + 1, "whole"]))
    assert.deepStrictEqual(all.btf.bytes, btf.bytes)
    assert.deepStrictEqual(all.origins.map(({ id }) => id), B.everyKind.map((_, index) => index + 1))
  })
  it("refer to void where they referred to others", () => {
    const btf = B.btfOf(B.everyKind)
    for (let id = 1; id <= B.everyKind.length; id++) {
      const only = BtfSubset.subset([{ btf, types: new Map([[id, "whole"]]) }])
      if (Btf.kindOf(btf, id) === Btf.BTF_KIND_FUNC) {
        // A function needs its prototype.
        assert.strictEqual(B.expectFailure(only).reason, "WrongKind")
        continue
      }
      const { btf: one } = B.expectSuccess(only)
      assert.strictEqual(Btf.kindOf(one, 1), Btf.kindOf(btf, id))
      assert.strictEqual(Btf.nameOf(one, 1), Btf.nameOf(btf, id))
      visitTypeIds(one.internal.view, true, one.offsets[0] ?? 0, (_, to) => assert.isAtMost(to, 1))
    }
  })
  it("have the members that are taken, with their places and bits, and the tags of those", () => {
    const int = B.int("int", 4, 1)
    const btf = B.btfOf([
      int,
      B.struct("s", 16, [["a", 1, 0, 3], ["b", 1, 3, 5], ["c", 1, 64], ["d", 1, 96]]),
      B.declTag("of s", 2, -1),
      B.declTag("of a", 2, 0),
      B.declTag("of c", 2, 2)
    ])
    const { btf: some, origins } = subset(btf, [[2, new Set([2, 1])], [1, "whole"]])
    assert.deepStrictEqual(origins.map(({ id }) => id), [1, 2, 3, 5])
    const type = Btf.typeOf(some, 2)
    assert.deepInclude(type, { _tag: "Struct", size: 16 })
    assert.deepStrictEqual(
      type._tag === "Struct"
        ? type.members.map(({ bitOffset, bitfieldSize, name }) => [name, bitOffset, bitfieldSize])
        : [],
      [["b", 3, 5], ["c", 64, 0]]
    )
    const tags = [3, 4].map((id) => Btf.typeOf(some, id)).map((tag) => tag._tag === "DeclTag" ? tag.componentIndex : 99)
    assert.deepStrictEqual(tags, [-1, 1])
    assert.deepStrictEqual(subset(btf, [[2, new Set()]]).origins.map(({ id }) => id), [2, 3])
    // Taken by itself, a tag is there, and tags the whole where its member is not.
    const tag = Btf.typeOf(subset(btf, [[2, new Set([1])], [5, "whole"]]).btf, 3)
    assert.deepInclude(tag, { _tag: "DeclTag", componentIndex: -1 })
    assert.strictEqual(Btf.vlenOf(subset(btf, [[2, new Set([0, 7, -1])]]).btf, 1), 1)
  })
  it("have the values that are taken, of enums of both widths", () => {
    const btf = B.btfOf([
      B.enumeration("e", 4, true, [["A", 1], ["B", -2], ["C", 3]]),
      B.enum64("w", 8, false, [["A", 1n], ["B", 0xffff_ffff_0000_0001n]])
    ])
    const { btf: some } = subset(btf, [[1, new Set([1])], [2, new Set([1])]])
    assert.deepInclude(Btf.typeOf(some, 1), { _tag: "Enum", name: "e", size: 4, signed: true })
    const values = [1, 2].map((id) => Btf.typeOf(some, id)).map((type) =>
      type._tag === "Enum" || type._tag === "Enum64" ? type.values.map(({ name, value }) => [name, value]) : []
    )
    assert.deepStrictEqual(values, [[["B", -2]], [["B", 0xffff_ffff_0000_0001n]]])
    assert.strictEqual(Btf.vlenOf(subset(btf, [[1, new Set()]]).btf, 1), 0)
  })
  it("of a base and of blobs over it are one blob, in the order of the selections", () => {
    const base = B.btfOf([B.int("int", 4, 1), B.int("unused", 8)])
    const [one, two] = ["one", "two"].map((name) => B.btfOf([B.struct(name, 4, [["x", 1, 0]]), B.ptr(3)], { base }))
    if (one === undefined || two === undefined) return assert.fail("no blobs")
    const { btf, origins } = B.expectSuccess(BtfSubset.subset([
      { btf: base, types: new Map([[1, "whole"]]) },
      { btf: two, types: new Map([[4, "whole"], [3, "whole"]]) },
      { btf: one, types: new Map([[4, "whole"], [3, "whole"]]) }
    ]))
    assert.isUndefined(btf.base)
    assert.deepStrictEqual(origins.map(({ btf, id }) => [btf === base ? 0 : btf === one ? 1 : 2, id]), [
      [0, 1],
      [2, 3],
      [2, 4],
      [1, 3],
      [1, 4]
    ])
    assert.deepStrictEqual([2, 3, 4, 5].map((id) => Btf.typeName(btf, id)), [
      "struct two",
      "struct two *",
      "struct one",
      "struct one *"
    ])
  })
  it("of the other byte order are in that of the first", () => {
    const [little, big] = (["little", "big"] as const).map((order) => B.btfOf(B.everyKind, { order }))
    if (little === undefined || big === undefined) return assert.fail("no blobs")
    const all = new Map(B.everyKind.map((_, index) => [index + 1, "whole" as const]))
    const { btf } = B.expectSuccess(BtfSubset.subset([{ btf: little, types: new Map() }, { btf: big, types: all }]))
    assert.deepStrictEqual(btf.bytes, little.bytes)
  })
  it("are none, where none are taken", () => {
    assert.strictEqual(subset(B.btfOf(B.everyKind, { order: "big" }), []).btf.byteOrder, "big")
    assert.strictEqual(B.expectSuccess(BtfSubset.subset([])).btf.endId, 1)
  })

  it("that cannot be taken are refused", () => {
    const base = B.btfOf([B.int("int", 4, 1)])
    const split = B.btfOf([B.ptr(1)], { base })
    for (const id of [0, 1, 3, -1, 1.5, Number.NaN]) {
      assert.strictEqual(reason([{ btf: split, types: new Map([[id, "whole"]]) }]), "BadTypeId")
    }
    assert.strictEqual(reason([{ btf: base, types: new Map() }, { btf: base, types: new Map() }]), "BadArgument")
    const layout = [...B.canonicalLayout, [0, 0] as const]
    const newer = B.btfOf([{ name: "new", kind: 20 }, B.ptr(1)], { layout })
    assert.strictEqual(reason([{ btf: newer, types: new Map([[1, "whole"]]) }]), "UnknownKind")
    assert.isTrue(Result.isSuccess(BtfSubset.subset([{ btf: newer, types: new Map([[2, "whole"]]) }])))
  })

  it("say of each type what the whole says", () => {
    const taken = fc.oneof(fc.constant("whole" as const), fc.constant(undefined), fc.array(fc.nat(4)))
    fc.assert(
      fc.property(validTypes(), order, fc.array(taken, { minLength: 30, maxLength: 30 }), (types, order, choice) => {
        const btf = B.btfOf(types, { order })
        const chosen = new Map<number, BtfSubset.Taken>()
        for (const [index, each] of choice.entries()) {
          if (index < types.length && each !== undefined) chosen.set(index + 1, each === "whole" ? each : new Set(each))
        }
        // Functions need their prototypes.
        for (const id of chosen.keys()) {
          if (Btf.kindOf(btf, id) === Btf.BTF_KIND_FUNC) chosen.set(Btf.sizeOrTypeOf(btf, id), "whole")
        }
        const { btf: some, origins } = B.expectSuccess(BtfSubset.subset([{ btf, types: chosen }]))
        const idOf = new Map(origins.map(({ id }, index) => [id, index + 1]))
        for (const [index, { id }] of origins.entries()) {
          const one = Btf.typeOf(some, index + 1)
          const other = Btf.typeOf(btf, id)
          assert.strictEqual(one._tag, other._tag)
          assert.strictEqual(Btf.nameOf(some, index + 1), Btf.nameOf(btf, id))
          const kept = chosen.get(id)
          const isKept = (_: unknown, position: number): boolean => kept === "whole" || kept?.has(position) === true
          if (one._tag === "Enum" && other._tag === "Enum") {
            assert.deepStrictEqual(one.values, other.values.filter(isKept))
          }
          if ((other._tag === "Struct" || other._tag === "Union") && (one._tag === "Struct" || one._tag === "Union")) {
            const members = other.members.filter(isKept)
            assert.deepStrictEqual(
              one.members,
              members.map((member) => ({ ...member, type: idOf.get(member.type) ?? 0 }))
            )
          }
        }
      }),
      { numRuns: runs(500) }
    )
  })
})
