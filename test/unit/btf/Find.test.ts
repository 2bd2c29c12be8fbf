import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfPermute from "../../../src/btf/BtfPermute.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"

describe("find", () => {
  const btf = B.btfOf(B.everyKind)

  it("tells none, one and several apart", () => {
    const twice = B.btfOf([B.int("x", 4), B.fwd("x", false), B.typedef("y", 1)])
    assert.deepEqual(Btf.find(twice, "z"), { _tag: "None" })
    assert.deepEqual(Btf.find(twice, "y"), { _tag: "One", id: 3 })
    assert.deepEqual(Btf.find(twice, "x"), { _tag: "Ambiguous", ids: [1, 2] })
    assert.deepEqual(Btf.find(twice, "x", Btf.BTF_KIND_FWD), { _tag: "One", id: 2 })
    assert.deepEqual(Btf.find(twice, "x", Btf.BTF_KIND_STRUCT), { _tag: "None" })
  })

  it("takes void for type 0, which is no split blob's own", () => {
    const split = B.btfOf([B.ptr(4)], { base: btf })
    assert.strictEqual(Btf.findOne(split, "void", Btf.BTF_KIND_INT), 0)
    assert.strictEqual(Btf.findOne(split, "event", Btf.BTF_KIND_UNKN), 0)
    assert.strictEqual(Btf.findOwn(btf, "void"), 0)
    assert.isUndefined(Btf.findOwn(split, "void"))
  })

  it("compares bytes: prefixes, NULs and other characters are no match", () => {
    const names = B.btfOf([B.int("int", 4), B.int("integer", 4), B.int("ünt", 4)])
    for (const name of ["in", "inte", "integers", "int\0", "int\0integer", "\0", "\ud800"]) {
      assert.deepEqual(Btf.find(names, name), { _tag: "None" })
    }
    assert.strictEqual(Btf.findOne(names, "ünt"), 3)
  })

  it("finds types without a name, however they lack it, and names that start inside of others", () => {
    const blob = B.btfOf([{ kind: 2 }, { kind: 4, nameOffset: 4 }, { kind: 4, nameOffset: 3 }], {
      moreStrings: ["abc"]
    })
    assert.deepEqual(Btf.find(blob, ""), { _tag: "Ambiguous", ids: [1, 2] })
    assert.deepEqual(Btf.find(blob, "", Btf.BTF_KIND_STRUCT), { _tag: "One", id: 2 })
    assert.deepEqual(Btf.find(blob, "c"), { _tag: "One", id: 3 })
    assert.strictEqual(blob.internal.cache.names?.sortedFrom, 2)
  })

  it("walks at first, then builds chains, and builds nothing where names are in order", () => {
    const unsorted = B.btfOf([B.int("b", 4), B.int("a", 4)])
    for (let count = 0; count < 4; count++) {
      assert.strictEqual(Btf.findOne(unsorted, "a"), 2)
      assert.isUndefined(unsorted.internal.cache.names?.chains)
    }
    assert.strictEqual(Btf.findOne(unsorted, "a"), 2)
    assert.isDefined(unsorted.internal.cache.names?.chains)
    const { btf: sorted } = B.expectSuccess(BtfPermute.sortByName(unsorted))
    for (let count = 0; count < 9; count++) assert.strictEqual(Btf.findOne(sorted, "b"), 2)
    assert.isUndefined(sorted.internal.cache.names?.chains)
  })
})

describe("idsOfKind", () => {
  it("has the own types of each kind, and none of numbers that are no kind", () => {
    const base = B.btfOf(B.everyKind)
    const split = B.btfOf([B.ptr(4), B.typedef("own", 20), B.ptr(21)], { base })
    assert.deepEqual([...Btf.idsOfKind(split, Btf.BTF_KIND_PTR)], [20, 22])
    assert.deepEqual([...Btf.idsOfKind(base, Btf.BTF_KIND_PTR)], [2])
    assert.deepEqual([...Btf.idsOfKind(base, Btf.BTF_KIND_UNKN)], [])
    for (const kind of [127, 128, -1, 1.5, NaN, 1e9]) assert.strictEqual(Btf.idsOfKind(base, kind).length, 0)
    const layout = [...B.canonicalLayout, [0, 0] as const]
    assert.deepEqual([...Btf.idsOfKind(B.btfOf([{ kind: 20 }, { kind: 0 }], { layout }), 20)], [1])
  })
})

describe("hostile names", () => {
  const count = 30_000
  /** Lookups of every name, as many as types. */
  const askAll = (btf: Btf.Btf): number => {
    let found = 0
    for (let id = 1; id < btf.endId; id++) {
      if (Btf.findOne(btf, Btf.nameOf(btf, id), Btf.kindOf(btf, id)) !== undefined) found++
    }
    return found
  }

  it("that agree in a thousand bytes are told apart by the rest", () => {
    const prefix = "p".repeat(1000)
    const few = 3000
    const btf = B.btfOf(Array.from({ length: few }, (_, index) => B.int(`${prefix}${few - index}`, 4)))
    assert.strictEqual(askAll(btf), few)
    const chains = btf.internal.cache.names?.chains
    if (chains === undefined) return assert.fail("no chains were built")
    // A hash of the first bytes alone would put all of them into one chain.
    assert.isAbove(chains.heads.filter((head) => head !== 0).length, few / 3)
  })

  it("that are one string of all types are all found", () => {
    const types = Array.from({ length: count }, (_, index): B.Rec => ({
      nameOffset: 1,
      kind: index === count - 1 ? Btf.BTF_KIND_FWD : Btf.BTF_KIND_STRUCT
    }))
    const btf = B.btfOf(types, { moreStrings: ["n".repeat(1000)] })
    const found = Btf.find(btf, "n".repeat(1000))
    assert.strictEqual(found._tag === "Ambiguous" ? found.ids.length : 0, count)
    assert.strictEqual(Btf.findOne(btf, "n".repeat(1000), Btf.BTF_KIND_FWD), count)
  })

  it("that are the ends of a few strings are each found", () => {
    const long = Array.from({ length: 30 }, (_, index) => String.fromCharCode(65 + index).repeat(1000))
    const types = Array.from({ length: count }, (_, index): B.Rec => ({
      nameOffset: 1 + Math.floor(index / 1000) * 1001 + index % 1000,
      kind: Btf.BTF_KIND_STRUCT
    }))
    assert.strictEqual(askAll(B.btfOf(types, { moreStrings: long })), count)
  })
})
