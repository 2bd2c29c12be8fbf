import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfExt from "../../../src/btf/BtfExt.ts"
import { distill } from "../../../src/btf/BtfDistill.ts"
import { mismatchText, relocate } from "../../../src/btf/BtfRelocate.ts"
import type { BtfRelocateError, RelocateMismatch } from "../../../src/btf/BtfRelocate.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"
import type { Rec } from "../../support/arbitrary/BtfBlob.ts"
import { roundTripFault } from "../../support/BtfRoundTrip.ts"

/** The types that a blob holds itself, as the tests' encoder would be told to write them: enough to compare. */
const typesOf = (btf: Btf.Btf): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (let id = btf.firstId; id < btf.endId; id++) {
    const type = Btf.typeOf(btf, id)
    const kind = Btf.kindName(Btf.kindOf(btf, id))
    const name = "name" in type && type.name !== "" ? ` ${type.name}` : ""
    const size = "size" in type ? ` ${type.size}B` : ""
    const to = "type" in type ? ` -> ${type.type}` : ""
    const members = "members" in type
      ? ` {${type.members.map((member) => `${member.name}:${member.type}`).join(", ")}}`
      : ""
    lines.push(`${id} ${kind}${name}${size}${to}${members}`)
  }
  return lines
}

/** The example of the reference: a base, and a module's struct over it. */
const exampleBase = B.btfOf([
  B.int("int", 4, 1),
  B.struct("base_s", 8, [["x", 1, 0], ["y", 1, 32]]),
  B.ptr(2),
  B.enum64("ben", 8, false, [["BEN", 1n]]),
  B.struct("", 4, [["z", 1, 0]]),
  B.union("unused", 4, [["u", 1, 0]]),
  B.fwd("opaque", false),
  B.ptr(7),
  B.typedef("t_s", 2)
])
const example = B.btfOf([
  B.struct("mod_s", 40, [["p", 3, 0], ["emb", 9, 64], ["e", 4, 128], ["an", 5, 192], ["op", 8, 256]])
], { base: exampleBase })

describe("distill", () => {
  it("keeps what names identify and moves the rest", () => {
    const { base, map, split } = B.expectSuccess(distill(example))
    assert.deepEqual(typesOf(base), ["1 INT int 4B", "2 STRUCT base_s 8B {}", "3 ENUM ben 8B", "4 FWD opaque"])
    assert.deepEqual(typesOf(split), [
      "5 STRUCT mod_s 40B {p:6, emb:9, e:3, an:7, op:8}",
      "6 PTR -> 2",
      "7 STRUCT 4B {z:1}",
      "8 PTR -> 4",
      "9 TYPEDEF t_s -> 2"
    ])
    assert.deepEqual([...map], [0, 1, 2, 6, 3, 7, 0, 4, 8, 9, 5])
    assert.strictEqual(split.base, base)
    assert.isUndefined(roundTripFault(example, { distill, relocate }))
  })

  it("takes only what is referred to, through types without a name and not through those with one", () => {
    const base = B.btfOf([
      B.int("deep", 4),
      B.int("hidden", 4),
      B.struct("named", 4, [["h", 2, 0]]),
      B.union("", 4, [["d", 1, 0], ["n", 3, 0]]),
      B.funcProto(4, [["a", 3]]),
      B.array(5, 1, 2),
      B.typeTag("tag", 6)
    ])
    const split = B.btfOf([B.variable("v", 7, 1)], { base })
    assert.deepEqual(typesOf(B.expectSuccess(distill(split)).base), ["1 INT deep 4B", "2 STRUCT named 4B {}"])
    assert.isUndefined(roundTripFault(split, { distill, relocate }))
  })

  it("moves integers without a name, which a base could not be relocated with", () => {
    const base = B.btfOf([B.int("", 4), B.float("", 8), B.fwd("", true), B.ptr(3)])
    const split = B.btfOf([B.struct("s", 24, [["i", 1, 0], ["f", 2, 64], ["w", 4, 128]])], { base })
    const distilled = B.expectSuccess(distill(split))
    assert.strictEqual(distilled.base.endId, 1)
    assert.isUndefined(roundTripFault(split, { distill, relocate }))
  })

  it("takes a name that is empty by another offset for no name", () => {
    const strings = new Uint8Array([0, 97, 0])
    const base = B.btfOf([{ kind: 4, nameOffset: 2, word: 4 }], { strings })
    const split = B.btfOf([B.ptr(1)], { base })
    assert.strictEqual(B.expectSuccess(distill(split)).base.endId, 1)
  })

  it("survives cycles and long chains", () => {
    const count = 50_000
    const chain = Array.from({ length: count }, (_, index) => B.constant(index === count - 1 ? 1 : index + 2))
    const split = B.btfOf([B.ptr(1)], { base: B.btfOf(chain) })
    assert.strictEqual(B.expectSuccess(distill(split)).split.endId, count + 2)
    assert.isUndefined(roundTripFault(split, { distill, relocate }))
    const nested = Array.from({ length: count }, (_, index) => B.struct("", 4, [["m", index === 0 ? 0 : index, 0]]))
    const deep = B.btfOf([B.ptr(count)], { base: B.btfOf(nested) })
    assert.isUndefined(roundTripFault(deep, { distill, relocate }))
  })

  it("works over a base that is itself split", () => {
    const first = B.btfOf([B.int("int", 4), B.struct("one", 4, [["x", 1, 0]])])
    const second = B.btfOf([B.struct("two", 8, [["x", 1, 0]]), B.ptr(3), B.ptr(2)], { base: first })
    const split = B.btfOf([B.struct("three", 24, [["a", 4, 0], ["b", 5, 64], ["c", 3, 128]])], { base: second })
    const { base } = B.expectSuccess(distill(split))
    assert.deepEqual(typesOf(base), ["1 STRUCT one 4B {}", "2 STRUCT two 8B {}"])
    assert.isUndefined(roundTripFault(split, { distill, relocate }))
  })

  it("renumbers .BTF.ext", () => {
    const base = B.btfOf([B.int("int", 4), B.int("xdp", 4), B.typedef("t", 2)])
    const split = B.btfOf([B.funcProto(1, []), B.func("main", 4, 1), B.ptr(3)], { base, moreStrings: ["0:1"] })
    const text = new TextDecoder().decode(split.bytes.subarray(split.stringsOffset))
    const access = split.stringsStart + text.indexOf("0:1")
    const ext = B.expectSuccess(BtfExt.parse(extOf([5, 3], Btf.nameOffsetOf(base, 2), access), split))
    const distilled = B.expectSuccess(distill(split, { ext }))
    const back = B.expectSuccess(relocate(distilled.split, base, { ext: distilled.ext }))
    for (const [moved, ids] of [[distilled.ext, [4, 6]], [back.ext, [5, 7]]] as const) {
      if (moved === undefined) throw new Error("no .BTF.ext")
      const [functions, relocations] = [moved.funcInfo?.sections[0], moved.coreRelocations?.sections[0]]
      if (functions === undefined || relocations === undefined) throw new Error("no records")
      assert.deepEqual([functions.section, relocations.section], ["xdp", "xdp"])
      assert.strictEqual(BtfExt.funcInfoAt(moved, functions, 0).typeId, ids[0])
      const { accessString, typeId } = BtfExt.coreRelocationAt(moved, relocations, 0)
      assert.deepEqual([typeId, accessString], [ids[1], "0:1"])
    }
    assert.isUndefined(B.expectSuccess(distill(split)).ext)
    const bad = B.expectSuccess(BtfExt.parse(extOf([5, 99], Btf.nameOffsetOf(base, 2), access), split))
    assert.strictEqual(B.expectFailure(distill(split, { ext: bad })).reason, "BadTypeId")
  })

  it("keeps the pointer size that the base knew", () => {
    const base = B.btfOf([B.int("long", 4), B.struct("s", 4, [["l", 1, 0]])])
    const split = B.btfOf([B.ptr(2)], { base })
    assert.strictEqual(Btf.pointerSize(split), 4)
    const distilled = B.expectSuccess(distill(split))
    assert.strictEqual(Btf.pointerSize(distilled.split), 4)
    assert.strictEqual(Btf.pointerSize(distilled.base), 4)
  })

  it("refuses what cannot be distilled", () => {
    assert.strictEqual(B.expectFailure(distill(exampleBase)).reason, "BadArgument")
    const base = B.btfOf([
      B.int("int", 4),
      B.funcProto(0, []),
      B.func("f", 2, 1),
      B.variable("v", 1, 1),
      B.datasec(".d", 4, [[4, 0, 4]]),
      B.declTag("t", 4, -1),
      B.enumeration("e", 3, false, [])
    ])
    for (const [id, reason] of [[3, "WrongKind"], [4, "WrongKind"], [5, "WrongKind"], [6, "WrongKind"]] as const) {
      const error = B.expectFailure(distill(B.btfOf([B.ptr(id)], { base })))
      assert.deepInclude(error, { reason, typeId: id }, error.message)
    }
    assert.deepInclude(B.expectFailure(distill(B.btfOf([B.ptr(7)], { base }))), { reason: "BadArgument", typeId: 7 })
    const layout = [...B.canonicalLayout, [0, 0]] as const
    const unknown = B.btfOf([{ kind: 20 }], { base: B.btfOf([], { layout }) })
    assert.strictEqual(B.expectFailure(distill(unknown)).reason, "UnknownKind")
    const over = B.btfOf([B.ptr(1)], { base: B.btfOf([{ kind: 20 }], { layout }) })
    assert.strictEqual(B.expectFailure(distill(over)).reason, "UnknownKind")
  })
})

/** A `.BTF.ext` with one function and one CO-RE relocation. */
const extOf = ([func, root]: readonly [number, number], section: number, access: number): Uint8Array => {
  const functions = [8, section, 1, 0, func]
  const relocations = [16, section, 1, 0, root, access, 0]
  const header = [0x0001_eb9f, 32, 0, functions.length * 4, functions.length * 4, 0, functions.length * 4]
  const words = [...header, relocations.length * 4, ...functions, ...relocations]
  const bytes = new Uint8Array(words.length * 4)
  const view = new DataView(bytes.buffer)
  for (const [index, word] of words.entries()) view.setUint32(index * 4, word, true)
  return bytes
}

/** Split BTF over a distilled base of these types; it points to each type of the base, and contains some. */
const over = (types: ReadonlyArray<Rec>, contained: ReadonlyArray<number> = []): Btf.Btf =>
  B.btfOf([
    ...types.map((_, index) => B.ptr(index + 1)),
    ...contained.map((id, index) => B.struct(`contains${index}`, 64, [["it", id, 0]]))
  ], { base: B.btfOf(types) })

/** The ids of the new base that the distilled types become. */
const idsOn = (
  split: Btf.Btf,
  base: ReadonlyArray<Rec>
): ReadonlyArray<number> => [...B.expectSuccess(relocate(split, B.btfOf(base))).map.subarray(1, split.firstId)]

const refused = (split: Btf.Btf, base: Btf.Btf): BtfRelocateError => {
  const error = B.expectFailure(relocate(split, base))
  if (error._tag !== "BtfRelocateError") throw error
  return error
}

const mismatchesOn = (split: Btf.Btf, base: ReadonlyArray<Rec>): ReadonlyArray<RelocateMismatch> =>
  refused(split, B.btfOf(base)).mismatches

const reasonsOn = (split: Btf.Btf, base: ReadonlyArray<Rec>): ReadonlyArray<string> =>
  mismatchesOn(split, base).map(({ id, reason }) => `${id} ${reason}`)

const pair = (size: number, ...members: ReadonlyArray<B.MemberRec>): Rec => B.struct("pair", size, members)
const pairUnion = (size: number): Rec => B.union("pair", size, [])

describe("relocate", () => {
  it("finds the types of the example and renumbers the rest", () => {
    const { split } = B.expectSuccess(distill(example))
    const base = B.btfOf([
      B.int("long", 8, 1),
      B.int("int", 4, 1),
      B.struct("base_s", 8, []),
      B.enumeration("ben", 8, false, []),
      B.struct("opaque", 4, [])
    ])
    const { btf, map } = B.expectSuccess(relocate(split, base))
    assert.deepEqual(typesOf(btf), [
      "6 STRUCT mod_s 40B {p:7, emb:10, e:4, an:8, op:9}",
      "7 PTR -> 3",
      "8 STRUCT 4B {z:2}",
      "9 PTR -> 5",
      "10 TYPEDEF t_s -> 3"
    ])
    assert.deepEqual([...map], [0, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    assert.strictEqual(btf.base, base)
  })

  it("names what another size or several candidates make impossible, all at once", () => {
    const { split } = B.expectSuccess(distill(example))
    const grown = B.btfOf([B.int("int", 4, 1), B.struct("base_s", 12, []), B.fwd("opaque", true)])
    const error = refused(split, grown)
    assert.deepEqual(error.mismatches.map(mismatchText), [
      "STRUCT base_s of 8 bytes (type 2), which another type contains, has another size in the new base: STRUCT of 12 "
      + "bytes (type 2)",
      "ENUM ben of 8 bytes (type 3) is not in the new base",
      "FWD opaque, struct (type 4) is in the new base as FWD, union (type 3)"
    ])
    assert.include(error.message, "base_s")
    assert.include(error.message, "ben")
    const two = [
      B.int("int", 4, 1),
      B.struct("base_s", 8, []),
      B.struct("base_s", 8, []),
      B.enumeration("ben", 8, false, [])
    ]
    const twice = mismatchesOn(split, [...two, B.fwd("opaque", false)])
    assert.deepEqual(twice, [{
      reason: "Ambiguous",
      id: 2,
      name: "base_s",
      kind: "STRUCT",
      size: 8,
      embedded: true,
      candidates: [{ id: 2, kind: "STRUCT", size: 8 }, { id: 3, kind: "STRUCT", size: 8 }],
      candidateCount: 2
    }])
  })

  it("takes integers and floats of one name, size and encoding", () => {
    const split = over([B.int("int", 4, 1), B.float("double", 8)])
    const float = B.float("double", 8)
    // The bits and the offset do not count.
    assert.deepEqual(idsOn(split, [float, B.int("int", 4, 1, 7, 3)]), [2, 1])
    assert.deepEqual(idsOn(split, [B.int("int", 8, 1), B.int("int", 4, 0), float, B.int("int", 4, 1)]), [4, 3])
    assert.deepEqual(reasonsOn(split, [B.int("int", 4, 0), B.float("double", 4)]), ["1 OtherEncoding", "2 OtherSize"])
    assert.deepEqual(reasonsOn(split, [B.int("int", 8, 1), B.int("double", 8)]), ["1 OtherSize", "2 OtherKind"])
    assert.deepEqual(reasonsOn(split, [B.int("int", 4, 1), B.int("int", 4, 1), float]), ["1 Ambiguous"])
    const others = [B.int("int", 4, 0), B.int("int", 4, 6), float]
    assert.deepEqual(mismatchesOn(split, others).map(mismatchText), [
      "INT int of 4 bytes, signed (type 1) has another encoding in the new base: INT of 4 bytes, unsigned (type 1), INT of "
      + "4 bytes, char bool (type 2)"
    ])
    assert.deepEqual(reasonsOn(split, []), ["1 Missing", "2 Missing"])
  })

  it("takes enums of either width", () => {
    const split = over([B.enumeration("e", 4, false, [])])
    assert.deepEqual(idsOn(split, [B.enumeration("e", 4, true, [["A", 1]])]), [1])
    assert.deepEqual(idsOn(split, [B.enumeration("e", 8, false, []), B.enum64("e", 4, false, [["A", 1n]])]), [2])
    assert.deepEqual(reasonsOn(split, [B.enum64("e", 8, false, [])]), ["1 OtherSize"])
    assert.deepEqual(reasonsOn(split, [B.enum64("e", 4, false, []), B.enumeration("e", 4, false, [])]), ["1 Ambiguous"])
    assert.deepEqual(reasonsOn(split, [B.struct("e", 4, [])]), ["1 OtherKind"])
  })

  it("takes a struct of any size behind a pointer while its name is the only one", () => {
    const split = over([pair(8)])
    assert.deepEqual(idsOn(split, [pair(16)]), [1])
    assert.deepEqual(idsOn(split, [pair(16), pair(8)]), [2])
    assert.deepEqual(reasonsOn(split, [pair(16), pair(24)]), ["1 OtherSize"])
    assert.deepEqual(reasonsOn(split, [pair(8), pair(8)]), ["1 Ambiguous"])
    // Sizes are unsigned.
    assert.deepEqual(idsOn(over([pair(0x8000_0008)]), [pair(8), pair(0x8000_0008)]), [2])
  })

  it("takes a struct of the same size where it is contained, through whatever names it", () => {
    assert.deepEqual(idsOn(over([pair(8)], [1]), [pair(8)]), [1])
    assert.deepEqual(reasonsOn(over([pair(8)], [1]), [pair(16)]), ["1 OtherSize"])
    const wrappers: ReadonlyArray<(id: number) => Rec> = [
      B.constant,
      B.volatile,
      B.restrict,
      (id) => B.typedef("t", id),
      (id) => B.typeTag("tag", id),
      (id) => B.array(id, 1, 3)
    ]
    const base = B.btfOf([pair(8)])
    for (const wrap of wrappers) {
      // The last one refers back, so that every wrapper is on the way.
      const chain = [...wrappers, wrap].map((each, index) => each(index === 0 ? 1 : index + 1))
      const contains = B.btfOf([...chain, B.struct("s", 8, [["m", 8, 0]])], { base })
      assert.deepEqual(reasonsOn(contains, [pair(16)]), ["1 OtherSize"])
      const points = B.btfOf([B.ptr(1), wrap(2), B.struct("s", 8, [["m", 3, 0]])], { base })
      assert.deepEqual(idsOn(points, [pair(16)]), [1])
    }
    // A variable does not contain, and an anonymous struct does.
    assert.deepEqual(idsOn(B.btfOf([B.variable("v", 1, 1)], { base }), [pair(16)]), [1])
    assert.deepEqual(reasonsOn(B.btfOf([B.struct("", 8, [["m", 1, 0]])], { base }), [pair(16)]), ["1 OtherSize"])
  })

  it("takes a forward declaration for its definition by the declaration's own sort", () => {
    const split = over([B.fwd("pair", false)])
    assert.deepEqual(idsOn(split, [pair(8)]), [1])
    // libbpf refuses this one for its bit fields,
    assert.deepEqual(idsOn(split, [B.int("int", 4), pair(8, ["b", 1, 0, 3])]), [2])
    // and takes this one for them.
    assert.deepEqual(reasonsOn(split, [B.int("int", 4), B.union("pair", 8, [["b", 1, 0, 3]])]), ["1 OtherKind"])
    const ofUnion = over([B.fwd("pair", true)])
    assert.deepEqual(idsOn(ofUnion, [pairUnion(8)]), [1])
    assert.deepEqual(reasonsOn(ofUnion, [pair(8)]), ["1 OtherKind"])
    assert.deepEqual(reasonsOn(split, [pair(8), pair(16)]), ["1 Ambiguous"])
  })

  it("prefers types of the same kind to declarations and definitions", () => {
    const base = [B.fwd("pair", true), B.fwd("pair", false), pair(8), pairUnion(8)]
    assert.deepEqual(idsOn(over([B.fwd("pair", false)]), base), [2])
    assert.deepEqual(idsOn(over([B.fwd("pair", true)]), base), [1])
    assert.deepEqual(idsOn(over([pair(8)]), base), [3])
    assert.deepEqual(idsOn(over([pair(16)]), base), [3])
    assert.deepEqual(idsOn(over([pairUnion(8)]), base), [4])
    assert.deepEqual(idsOn(over([pair(8), pairUnion(8)], [1, 2]), base), [3, 4])
  })

  it("does not take a struct for a type of another kind, unless it is declared there", () => {
    const others = [pairUnion(8), B.int("pair", 8), B.enumeration("pair", 8, false, []), B.fwd("pair", true)]
    for (const other of others) assert.deepEqual(reasonsOn(over([pair(8)]), [other]), ["1 OtherKind"])
    assert.deepEqual(reasonsOn(over([pair(8)]), [B.typedef("pair", 0)]), ["1 Missing"])
    assert.deepEqual(idsOn(over([pair(8)]), [B.fwd("pair", false)]), [1])
    assert.deepEqual(idsOn(over([pairUnion(8)]), [B.fwd("pair", true)]), [1])
    assert.deepEqual(reasonsOn(over([pair(8)], [1]), [B.fwd("pair", false)]), ["1 OtherKind"])
    // Not the one that is meant, but a declaration of it.
    assert.deepEqual(idsOn(over([pair(8)]), [pair(16), pair(24), B.fwd("pair", false)]), [3])
  })

  it("passes over types without a name", () => {
    assert.deepEqual(idsOn(over([pair(8)]), [B.struct("", 8, []), B.int("", 4), pair(8)]), [3])
  })

  it("moves strings that are no names of types", () => {
    const base = B.btfOf([B.struct("outer", 8, [])], { moreStrings: ["field", "other"] })
    const text = new TextDecoder().decode(base.bytes.subarray(base.stringsOffset))
    const at = (name: string) => text.indexOf(name)
    const split = B.btfOf([
      { ...B.struct("mine", 24, []), vlen: 3, rest: [at("field"), 1, 0, at("ther"), 1, 64, at("outer"), 1, 128] }
    ], { base })
    for (const moreStrings of [[], ["field"], ["ther", "outer", "field"]]) {
      const target = B.btfOf([B.int("x", 4), B.struct("outer", 8, [])], { moreStrings })
      const { btf } = B.expectSuccess(relocate(split, target))
      assert.deepEqual(typesOf(btf), ["3 STRUCT mine 24B {field:2, ther:2, outer:2}"])
    }
  })

  it("onto a base that is itself split", () => {
    const first = B.btfOf([B.int("int", 4, 1), B.struct("base_s", 8, [])])
    const second = B.btfOf([B.enumeration("ben", 8, false, []), B.fwd("opaque", false)], { base: first })
    const { btf } = B.expectSuccess(relocate(B.expectSuccess(distill(example)).split, second))
    assert.deepEqual(typesOf(btf), [
      "5 STRUCT mod_s 40B {p:6, emb:9, e:3, an:7, op:8}",
      "6 PTR -> 2",
      "7 STRUCT 4B {z:1}",
      "8 PTR -> 4",
      "9 TYPEDEF t_s -> 2"
    ])
  })

  it("refuses bases that are not distilled, and arguments that make no sense", () => {
    const error = refused(example, B.btfOf([]))
    assert.strictEqual(error.reason, "BadBase")
    assert.deepEqual(error.mismatches.map(({ id, kind, reason }) => `${id} ${kind} ${reason}`), [
      "3 PTR NotDistilled",
      "4 ENUM64 NotDistilled",
      "5 STRUCT NotDistilled",
      "8 PTR NotDistilled",
      "9 TYPEDEF NotDistilled"
    ])
    assert.strictEqual(refused(over([B.int("", 4)]), exampleBase).reason, "BadBase")
    assert.strictEqual(refused(exampleBase, exampleBase).reason, "Arguments")
    assert.strictEqual(refused(example, exampleBase).reason, "Arguments")
  })

  it("counts what it does not list", () => {
    const many = over(Array.from({ length: 1200 }, (_, index) => B.int(`i${index}`, 4)))
    const error = refused(many, B.btfOf([]))
    assert.strictEqual(error.mismatches.length, 1000)
    assert.strictEqual(error.mismatchCount, 1200)
    assert.include(error.message, "and 1195 more")
  })

  it("takes no longer for thousands of types of one name, or for chains that end nowhere", () => {
    const count = 40_000
    const crowd = Array.from({ length: count }, (_, index) => pair(index * 8))
    assert.strictEqual(B.expectSuccess(relocate(over(crowd), B.btfOf(crowd))).map[count], count)
    const same = Array.from({ length: count }, () => pair(8))
    const error = refused(over(same), B.btfOf(same))
    assert.strictEqual(error.mismatchCount, count)
    assert.strictEqual(error.mismatches[0]?.candidateCount, count)
    assert.strictEqual(error.mismatches[0]?.candidates.length, 8)
    const base = B.btfOf([pair(8)])
    const members = Array.from({ length: count }, (_, index): B.MemberRec => ["m", 3 + index, 0])
    // Each constant refers to the one before, the first to the second, and all are members of one struct.
    const cycle = [
      B.struct("s", 8, members),
      ...Array.from({ length: count }, (_, index) => B.constant(index === 0 ? count + 2 : index + 2))
    ]
    const wound = B.expectSuccess(relocate(B.btfOf(cycle, { base }), B.btfOf([pair(16)])))
    assert.strictEqual(wound.map[1], 1)
  })
})
