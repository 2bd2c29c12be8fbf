import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfDedup from "../../../src/btf/BtfDedup.ts"
import type { Deduped } from "../../../src/btf/BtfDedup.ts"
import * as BtfExt from "../../../src/btf/BtfExt.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"
import { differences } from "../../support/DedupCases.ts"
import { fixture } from "../../support/Require.ts"

const int = B.int("int", 4, 1)

const dedup = (types: ReadonlyArray<B.Rec>, options: Parameters<typeof B.btfOf>[1] = {}): Deduped =>
  B.expectSuccess(BtfDedup.dedup(B.btfOf(types, options)))

/** A type as `kind name`, with the ids that it refers to. */
const shown = (btf: Btf.Btf, id: number): string => {
  const type = Btf.typeOf(btf, id)
  if (type._tag === "Void" || type._tag === "Unknown") return type._tag
  const parts: Array<string | number> = [type._tag, type.name]
  if (type._tag === "Struct" || type._tag === "Union") {
    parts.push(...type.members.map((member) => `${member.name}:${member.type}`))
  } else if (type._tag === "FuncProto") {
    parts.push(type.returnType, ...type.params.map((param) => `${param.name}:${param.type}`))
  } else if (type._tag === "Array") parts.push(type.type, type.indexType, type.length)
  else if (type._tag === "Datasec") parts.push(...type.entries.map((entry) => entry.type))
  else if (type._tag === "Enum" || type._tag === "Enum64") parts.push(...type.values.map((value) => value.name))
  else if ("type" in type) parts.push(type.type)
  return parts.filter((part) => part !== "").join(" ")
}

const all = (btf: Btf.Btf): ReadonlyArray<string> =>
  Array.from({ length: btf.endId - btf.firstId }, (_, index) => shown(btf, btf.firstId + index))

const ids = (map: Uint32Array): ReadonlyArray<number> => [...map]

describe("dedup of two units", () => {
  it("makes one graph of them, declarations resolved on either side", () => {
    const { btf, map } = dedup([
      int,
      B.struct("disk", 24, [["n", 1, 0], ["me", 3, 64], ["up", 4, 128]]),
      B.ptr(2),
      B.ptr(6),
      B.fwd("net", false),
      B.struct("host", 16, [["d", 3, 0], ["w", 7, 64]]),
      B.ptr(5),
      // The other unit.
      int,
      B.fwd("disk", false),
      B.struct("net", 24, [["k", 8, 0], ["me", 11, 64], ["up", 12, 128]]),
      B.ptr(10),
      B.ptr(14),
      B.ptr(9),
      B.struct("host", 16, [["d", 13, 0], ["w", 11, 64]])
    ])
    assert.deepEqual(all(btf), [
      "Int int",
      "Struct disk n:1 me:3 up:4",
      "Ptr 2",
      "Ptr 5",
      "Struct host d:3 w:6",
      "Ptr 7",
      "Struct net k:1 me:6 up:4"
    ])
    assert.deepEqual(ids(map), [0, 1, 2, 3, 4, 7, 5, 6, 1, 2, 7, 6, 4, 3, 5])
  })

  it("takes strings in the order in which types name them, and leaves out those that none does", () => {
    const { btf } = dedup([B.typedef("b", 2), B.int("a", 4)], { moreStrings: ["unused"] })
    const strings = btf.bytes.subarray(btf.stringsOffset, btf.stringsOffset + btf.stringsLength)
    assert.strictEqual(new TextDecoder().decode(strings), "\0b\0a\0")
  })

  it("takes names for the same that are written twice or share a tail", () => {
    const strings = new TextEncoder().encode("\0int\0int\0uint\0")
    const { btf } = dedup([1, 5, 10].map((nameOffset) => ({ ...int, nameOffset })), { strings })
    assert.deepEqual(all(btf), ["Int int"])
    assert.strictEqual(btf.stringsLength, 5)
  })

  it("keeps pointer size, byte order and header", () => {
    const given = B.blob([int, int], { order: "big", headerLength: 32, layout: B.canonicalLayout })
    const { btf } = B.expectSuccess(BtfDedup.dedup(B.expectSuccess(Btf.parse(given, { pointerSize: 4 }))))
    assert.strictEqual(btf.byteOrder, "big")
    assert.strictEqual(btf.layoutLength, 80)
    assert.strictEqual(Btf.pointerSize(btf), 4)
    assert.deepEqual(all(btf), ["Int int"])
  })

  it("of no types is what it was", () => {
    assert.strictEqual(dedup([]).btf.endId, 1)
  })
})

describe("dedup of types by kind", () => {
  it("merges integers and floats that are equal in all they are", () => {
    const types = [
      int,
      B.int("int", 4),
      B.int("int", 8, 1),
      B.int("int", 4, 1, 31),
      int,
      B.float("float", 4),
      B.float("float", 8)
    ]
    assert.deepEqual(ids(dedup(types).map), [0, 1, 2, 3, 4, 1, 5, 6])
  })

  it("keeps full enums apart that differ, and gives a declaration the last one", () => {
    const one = B.enumeration("e", 4, false, [["A", 0]])
    const other = B.enumeration("e", 4, false, [["B", 0]])
    const declared = B.enumeration("e", 4, false, [])
    const before = dedup([declared, one, other, one, B.ptr(1)])
    assert.deepEqual(ids(before.map), [0, 2, 1, 2, 1, 3])
    // After others, a declaration is the newest at once.
    assert.deepEqual(ids(dedup([one, declared, other]).map), [0, 1, 1, 2])
    assert.deepEqual(ids(dedup([one, other, declared]).map), [0, 1, 2, 2])
    assert.strictEqual(before.report.forwardsResolved, 1)
  })

  it("takes enums of 32 and of 64 bits for definitions of either's declaration", () => {
    const wide = B.enum64("e", 8, false, [["A", 1n]])
    assert.deepEqual(ids(dedup([B.enumeration("e", 4, false, []), wide]).map), [0, 1, 1])
    assert.deepEqual(ids(dedup([wide, B.enumeration("e", 4, true, [])]).map), [0, 1, 1])
  })

  it("resolves a declaration whose name has one definition of its kind", () => {
    const { btf, map, report } = dedup([
      B.fwd("s1", false),
      B.fwd("u1", false),
      B.fwd("am", false),
      B.fwd("none", false),
      B.struct("s1", 1, []),
      B.union("u1", 1, []),
      B.struct("am", 1, []),
      B.struct("am", 2, []),
      B.fwd("s1", true)
    ])
    assert.deepEqual(ids(map), [0, 4, 1, 2, 3, 4, 5, 6, 7, 8])
    assert.strictEqual(btf.endId, 9)
    assert.strictEqual(report.forwardsResolved, 1)
    assert.deepEqual(report.survivors, [
      { id: 7, beside: 6, reason: "Shape" },
      { id: 2, beside: 7, reason: "Ambiguous" }
    ])
  })

  it("merges functions by name, linkage and prototype, prototypes with the names of their parameters", () => {
    const types = [
      int,
      B.funcProto(1, [["a", 1]]),
      B.funcProto(1, [["b", 1]]),
      B.funcProto(1, [["a", 1]]),
      B.func("f", 2, 0),
      B.func("f", 4, 1),
      B.func("f", 4, 0)
    ]
    assert.deepEqual(ids(dedup(types).map), [0, 1, 2, 3, 2, 4, 5, 4])
  })

  it("merges tags after what they tag", () => {
    const types = [
      B.struct("s", 4, [["m", 2, 0]]),
      int,
      B.declTag("t", 1, 0),
      B.declTag("t", 1, -1),
      B.declTag("t", 1, 0, true),
      B.typeTag("t", 2),
      B.typeTag("t", 2, true),
      // Again.
      B.declTag("t", 9, 0),
      B.struct("s", 4, [["m", 10, 0]]),
      int,
      B.typeTag("t", 10)
    ]
    assert.deepEqual(ids(dedup(types).map), [0, 1, 2, 3, 4, 5, 6, 7, 3, 1, 2, 6])
  })

  it("never merges variables and sections, and renews what they refer to", () => {
    const { btf, map } = dedup([
      int,
      B.variable("v", 1, 1),
      B.datasec(".data", 4, [[2, 0, 4]]),
      int,
      B.variable("v", 4, 1),
      B.datasec(".data", 4, [[5, 0, 4]])
    ])
    assert.deepEqual(all(btf), ["Int int", "Var v 1", "Datasec .data 2", "Var v 1", "Datasec .data 4"])
    assert.deepEqual(ids(map), [0, 1, 2, 3, 1, 4, 5])
  })

  it("tells structs by bit fields, sizes, offsets and names", () => {
    const types = [
      int,
      B.struct("s", 4, [["m", 1, 0]]),
      B.struct("s", 8, [["m", 1, 0]]),
      B.struct("s", 4, [["m", 1, 8]]),
      B.struct("s", 4, [["n", 1, 0]]),
      B.struct("s", 4, [["m", 1, 0, 3]]),
      { ...B.struct("s", 4, [["m", 1, 0]]), kflag: true },
      B.union("s", 4, [["m", 1, 0]]),
      B.struct("", 4, [["m", 1, 0]]),
      B.struct("s", 4, [["m", 1, 0]]),
      B.struct("", 4, [["m", 1, 0]])
    ]
    assert.deepEqual(ids(dedup(types).map), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 9])
  })

  it("merges typedefs that come back to themselves", () => {
    const { btf, map } = dedup([B.typedef("T", 2), B.ptr(1), B.typedef("T", 4), B.ptr(3), B.typedef("T", 5)])
    assert.deepEqual(all(btf), ["Typedef T 2", "Ptr 1", "Typedef T 3"])
    assert.deepEqual(ids(map), [0, 1, 2, 1, 2, 3])
  })
})

describe("dedup where libbpf's is wrong", () => {
  for (const { name, ours, types } of differences) {
    it(name, () => {
      const done = dedup(types)
      assert.strictEqual(done.btf.endId, ours, all(done.btf).join("\n"))
      assert.strictEqual(B.expectSuccess(BtfDedup.dedup(done.btf)).btf.endId, ours)
    })
  }

  it("keeps the element type of each array", () => {
    const types = differences[0]?.types ?? []
    const { btf, map } = dedup(types)
    assert.deepEqual(all(btf), [
      "Int int",
      "Array 1 1 2",
      "Struct S a:2 b:2",
      "Float float",
      "Array 4 1 2",
      "Struct S a:2 b:5"
    ])
    assert.notStrictEqual(map[7], map[3])
  })

  it("keeps both structs of one name where a declaration was resolved to the second", () => {
    const types = differences.find(({ name }) => name.startsWith("a declaration that was resolved"))?.types ?? []
    const { btf, map } = dedup(types)
    assert.strictEqual(shown(btf, map[5] ?? 0), "Struct a m:1")
    assert.strictEqual(shown(btf, map[13] ?? 0), "Struct a n:1")
  })
})

describe("dedup over a base", () => {
  const base = B.btfOf([
    int,
    B.fwd("late", false),
    B.ptr(2),
    B.struct("user", 8, [["p", 3, 0]]),
    B.ptr(1),
    B.enumeration("e", 4, false, [])
  ])

  it("leaves out what the base has, strings too", () => {
    const split = B.btfOf([int, B.ptr(7), B.ptr(8), B.int("long", 8)], { base })
    const { btf, map } = B.expectSuccess(BtfDedup.dedup(split))
    assert.deepEqual(all(btf), ["Ptr 5", "Int long"])
    assert.deepEqual(ids(map), [0, 1, 2, 3, 4, 5, 6, 1, 5, 7, 8])
    assert.strictEqual(btf.stringsLength, "long\0".length)
    assert.strictEqual(btf.base, base)
  })

  it("keeps a struct for which the base's would have to know a definition, and gives the declaration that definition", () => {
    const split = B.btfOf([
      int,
      B.struct("late", 4, [["k", 7, 0]]),
      B.ptr(8),
      B.struct("user", 8, [["p", 9, 0]]),
      B.ptr(2)
    ], { base })
    const { btf, map, report } = B.expectSuccess(BtfDedup.dedup(split))
    assert.deepEqual(all(btf), ["Struct late k:1", "Ptr 7", "Struct user p:8"])
    // What referred to the base's declaration refers to the definition now.
    assert.deepEqual(ids(map), [0, 1, 7, 3, 4, 5, 6, 1, 7, 8, 9, 8])
    assert.deepEqual(report.survivors, [{ id: 9, beside: 4, reason: "BaseForward" }])
    assert.strictEqual(report.forwardsResolved, 0)
  })

  it("keeps the base's declaration apart from its definition after it is known, too", () => {
    const split = B.btfOf([
      B.struct("late", 4, [["k", 1, 0]]),
      B.ptr(7),
      B.struct("user", 8, [["p", 8, 0]]),
      // The second copy must not become the base's: its graph ends with the definition.
      B.struct("twice", 16, [["a", 3, 0], ["b", 11, 64]]),
      B.ptr(7),
      B.struct("twice", 16, [["a", 8, 0], ["b", 8, 64]])
    ], { base })
    const { btf, map } = B.expectSuccess(BtfDedup.dedup(split))
    assert.deepEqual(all(btf), [
      "Struct late k:1",
      "Ptr 7",
      "Struct user p:8",
      "Struct twice a:3 b:8",
      "Struct twice a:8 b:8"
    ])
    assert.deepEqual(ids(map), [0, 1, 7, 3, 4, 5, 6, 7, 8, 9, 10, 8, 11])
  })

  it("merges own types that name the base's declaration with such that name its definition", () => {
    const split = B.btfOf([
      B.struct("late", 4, [["k", 1, 0]]),
      B.struct("both", 8, [["p", 9, 0]]),
      B.ptr(2),
      B.struct("both", 8, [["p", 11, 0]]),
      B.ptr(7)
    ], { base })
    const { btf, map } = B.expectSuccess(BtfDedup.dedup(split))
    assert.deepEqual(all(btf), ["Struct late k:1", "Struct both p:9", "Ptr 7"])
    assert.deepEqual(ids(map), [0, 1, 7, 3, 4, 5, 6, 7, 8, 9, 8, 9])
  })

  it("goes on until nothing is left to merge", () => {
    const split = B.btfOf([
      B.struct("late", 4, [["k", 1, 0]]),
      B.struct("both", 16, [["a", 9, 0], ["b", 10, 64]]),
      B.ptr(7),
      B.ptr(9),
      // Here a pointer to the declaration and one to the definition stand beside one pointer, until the latter is the same.
      B.struct("both", 16, [["a", 3, 0], ["b", 12, 64]]),
      B.ptr(13),
      B.ptr(7)
    ], { base })
    const { btf, map, report } = B.expectSuccess(BtfDedup.dedup(split))
    assert.deepEqual(all(btf), ["Struct late k:1", "Struct both a:9 b:10", "Ptr 7", "Ptr 9"])
    assert.deepEqual(ids(map), [0, 1, 7, 3, 4, 5, 6, 7, 8, 9, 10, 8, 10, 9])
    assert.deepEqual(report.types, { before: 7, after: 4 })
  })

  it("gives the base's declaration of an enum the definition", () => {
    const split = B.btfOf([B.enumeration("e", 4, false, [["A", 1]]), B.typedef("t", 6)], { base })
    const { btf, map } = B.expectSuccess(BtfDedup.dedup(split))
    assert.deepEqual(all(btf), ["Enum e A", "Typedef t 7"])
    assert.strictEqual(map[6], 7)
  })

  it("resolves own declarations by the base's definitions", () => {
    const split = B.btfOf([B.fwd("user", false), B.ptr(7)], { base })
    const { btf } = B.expectSuccess(BtfDedup.dedup(split))
    assert.deepEqual(all(btf), ["Ptr 4"])
  })

  it("takes the newest of a base's doubles", () => {
    const doubled = B.btfOf([int, int])
    const { map } = B.expectSuccess(BtfDedup.dedup(B.btfOf([int], { base: doubled })))
    assert.strictEqual(map[3], 2)
  })

  it("compares with a base that shares tails of strings, in either byte order", () => {
    const strings = new TextEncoder().encode("\0uint\0")
    for (const order of ["little", "big"] as const) {
      const odd = B.btfOf([{ ...int, nameOffset: 2 }], { strings, order })
      const { btf, map } = B.expectSuccess(BtfDedup.dedup(B.btfOf([int, B.typedef("uint", 2)], { base: odd })))
      assert.strictEqual(map[2], 1)
      assert.deepEqual(all(btf), ["Typedef uint 1"])
    }
  })
})

describe("dedup with .BTF.ext", () => {
  it("renumbers its types and strings", () => {
    const object = fixture("core_reads.bpf.o")
    const btf = B.expectSuccess(Btf.parse(B.elfSection(object, ".BTF")))
    const ext = B.expectSuccess(BtfExt.parse(B.elfSection(object, ".BTF.ext"), btf))
    const done = B.expectSuccess(BtfDedup.dedup(btf, { ext }))
    assert.isBelow(done.btf.endId, btf.endId + 1)
    for (const segment of ["funcInfo", "lineInfo", "coreRelocations"] as const) {
      const before = ext[segment]
      const after = done.ext?.[segment]
      assert.strictEqual(after?.sections.length, before?.sections.length)
      for (const [index, section] of (before?.sections ?? []).entries()) {
        const now = after?.sections[index]
        if (now === undefined || done.ext === undefined) throw new Error("a section is gone")
        assert.strictEqual(now.section, section.section)
        for (let record = 0; record < section.count; record++) {
          if (segment === "lineInfo") {
            assert.deepEqual(BtfExt.lineInfoAt(done.ext, now, record), BtfExt.lineInfoAt(ext, section, record))
          } else if (segment === "funcInfo") {
            const old = BtfExt.funcInfoAt(ext, section, record)
            assert.deepEqual(BtfExt.funcInfoAt(done.ext, now, record), { ...old, typeId: done.map[old.typeId] })
          } else {
            const old = BtfExt.coreRelocationAt(ext, section, record)
            assert.deepEqual(BtfExt.coreRelocationAt(done.ext, now, record), { ...old, typeId: done.map[old.typeId] })
          }
        }
      }
    }
  })
})

describe("dedup refuses", () => {
  const refused = (types: ReadonlyArray<B.Rec>, options: Parameters<typeof B.btfOf>[1] = {}): Btf.BtfError =>
    B.expectFailure(BtfDedup.dedup(B.btfOf(types, options)))

  it("rings of pointers and qualifiers, with one of their types", () => {
    const error = refused([int, B.ptr(3), B.constant(4), B.ptr(2)])
    assert.strictEqual(error.reason, "Cycle")
    assert.include([2, 3, 4], error.typeId)
    assert.include(error.message, "refers to itself")
    assert.strictEqual(refused([B.ptr(1)]).typeId, 1)
  })

  it("rings of functions and prototypes, tags and arrays", () => {
    assert.strictEqual(refused([B.func("f", 2, 0), B.funcProto(0, [["f", 1]])]).reason, "Cycle")
    assert.strictEqual(refused([B.declTag("t", 2, -1), B.declTag("t", 1, -1)]).reason, "Cycle")
    assert.strictEqual(refused([int, B.array(2, 1, 3)]).reason, "Cycle")
    // Through a section it is none: that one stays whatever it has in it.
    dedup([B.datasec(".d", 4, [[2, 0, 4]]), B.variable("v", 3, 1), B.ptr(1)])
  })

  it("kinds that are not known", () => {
    const layout = [...B.canonicalLayout, [4, 0]] as const
    const error = refused([int, { kind: 20, rest: [7] }], { layout })
    assert.strictEqual(error.reason, "UnknownKind")
    assert.strictEqual(error.typeId, 2)
    // The base's stay as they are.
    const base = B.btfOf([{ kind: 20, rest: [7] }], { layout })
    assert.strictEqual(B.expectSuccess(BtfDedup.dedup(B.btfOf([int, int], { base }))).btf.endId, 3)
  })

  it("headers with unknown fields", () => {
    assert.strictEqual(refused([int], { headerLength: 36, headerExtra: 1 }).reason, "ReadOnly")
  })

  it("strings that grow out of proportion because they share tails", () => {
    // Each type has another part of one string for a name.
    const strings = new Uint8Array(4096).fill(0x61)
    strings[0] = 0
    strings[strings.length - 1] = 0
    const types = Array.from({ length: 290 }, (_, index) => ({ ...int, nameOffset: 1 + index }))
    assert.strictEqual(refused(types, { strings }).reason, "NamesTooLong")
  })
})

describe("dedup of what was made to take long", () => {
  const COUNT = 50_000

  it("chains of types, however deep", () => {
    const chain = Array.from({ length: COUNT }, (_, index) => B.ptr(index === COUNT - 1 ? 0 : index + 2))
    assert.strictEqual(dedup(chain).btf.endId, COUNT + 1)
    const unit = (first: number) =>
      Array.from({ length: COUNT }, (_, index) => {
        const members: ReadonlyArray<B.MemberRec> = index === COUNT - 1 ? [] : [["m", first + index + 1, 0]]
        return B.struct(`s${index}`, 8, members)
      })
    const done = dedup([...unit(1), ...unit(COUNT + 1)])
    assert.strictEqual(done.btf.endId, COUNT + 1)
    assert.isBelow(done.report.work, COUNT * 5)
  })

  it("a chain of structs of one name, each containing one less than that before it", () => {
    const unit = (first: number, length: number) =>
      Array.from({ length }, (_, index) => B.struct("s", 8, index === length - 1 ? [] : [["m", first + index + 1, 0]]))
    const long = dedup([...unit(1, 1000), ...unit(1001, 1000)])
    assert.isTrue(long.report.exhausted)
    assert.isBelow(long.report.work, (1 << 20) + 2000 * 6 * 33)
    const short = dedup([...unit(1, 100), ...unit(101, 100)])
    assert.isFalse(short.report.exhausted)
    assert.strictEqual(short.btf.endId, 101)
  })

  it("structs of one shape that differ far away count as different when the work is out of proportion", () => {
    // Each is a pointer to a pointer to ... to a struct of its own; what they show at first sight is the same.
    const types: Array<B.Rec> = []
    for (let index = 0; index < 500; index++) {
      const first = types.length + 1
      types.push(B.struct("", 8, [["m", first + 1, 0]]))
      for (let level = 1; level < 12; level++) types.push(B.ptr(first + level + 1))
      types.push(B.int(`i${index}`, 4))
    }
    const done = dedup(types)
    assert.strictEqual(done.btf.endId, types.length + 1)
    assert.isBelow(done.report.work, (1 << 20) + types.length * 6 * 33)
    const poor = B.expectSuccess(BtfDedup.dedup(B.btfOf([...types, ...types.slice(0, 13)]), { budget: 1000 }))
    assert.isTrue(poor.report.exhausted)
    assert.isBelow(poor.report.work, 2000)
  })

  it("structs that differ behind many pointers, which count as work", () => {
    const depth = 60
    const types = Array.from({ length: 300 }, (_, index): ReadonlyArray<B.Rec> => {
      const first = 1 + index * (depth + 2)
      return [
        B.struct("s", 8, [["p", first + 1, 0]]),
        ...Array.from({ length: depth }, (_, at) => B.ptr(first + 2 + at)),
        B.int(`i${index}`, 4)
      ]
    }).flat()
    const btf = B.btfOf(types)
    const few = B.expectSuccess(BtfDedup.dedup(btf, { budget: 200_000 })).report
    assert.isTrue(few.exhausted)
    // Passed by a step for each that is left.
    assert.isBelow(few.work, 200_000 + 2 * 300)
    assert.isFalse(B.expectSuccess(BtfDedup.dedup(btf, { budget: 10_000_000 })).report.exhausted)
  })

  it("the same type twice in a unit, at every level of many", () => {
    // Level by level two equal structs that contain both of the next level: 2^200 paths.
    const unit = (first: number): ReadonlyArray<B.Rec> =>
      Array.from({ length: 400 }, (_, index) => {
        const next = first + (index - index % 2) + 2
        return B.struct(`s${index >> 1}`, 16, index >= 398 ? [] : [["a", next, 0], ["b", next + 1, 64]])
      })
    const done = dedup([
      ...unit(1),
      ...unit(401),
      B.struct("top", 16, [["a", 1, 0], ["b", 1, 64]]),
      B.struct("top", 16, [
        ["a", 401, 0],
        ["b", 402, 64]
      ])
    ])
    assert.strictEqual(done.btf.endId, 202)
    assert.isBelow(done.report.work, 20_000)
  })

  it("a base with thousands of declarations of one enum", () => {
    const base = B.btfOf(
      Array.from({ length: COUNT }, (_, index) => B.enumeration("e", index % 2 === 0 ? 4 : 8, false, []))
    )
    const split = B.btfOf(
      Array.from({ length: COUNT }, (_, index) => B.enumeration("e", 4, false, [[`V${index}`, index]])),
      {
        base
      }
    )
    const { btf, map } = B.expectSuccess(BtfDedup.dedup(split))
    assert.strictEqual(btf.endId, split.endId)
    assert.strictEqual(map[1], split.endId - 1)
    assert.strictEqual(map[COUNT], split.endId - 1)
  })

  it("a prototype with thousands of parameters that are not decided before it", () => {
    const params = Array.from({ length: COUNT }, (_, index): readonly [string, number] => ["", index + 2])
    const pointers = Array.from({ length: COUNT }, (_, index) => B.ptr(index === COUNT - 1 ? 0 : index + 3))
    assert.strictEqual(dedup([B.funcProto(0, params), ...pointers]).btf.endId, COUNT + 2)
  })

  it("thousands of declarations of one name", () => {
    const types = Array.from({ length: COUNT }, (_, index) => ({ ...B.fwd("s", false), word: index % 2 }))
    assert.strictEqual(dedup([...types, B.struct("s", 0, [])]).btf.endId, 2)
  })
})

describe("the report of dedup", () => {
  it("names what stayed beside its like, and where they part", () => {
    const { btf, report } = dedup([
      int,
      B.struct("s", 8, [["m", 3, 0]]),
      B.ptr(1),
      B.struct("s", 8, [["m", 5, 0]]),
      B.ptr(6),
      B.float("float", 4),
      B.typedef("t", 1),
      B.typedef("t", 6)
    ])
    assert.deepEqual(report.types, { before: 8, after: 8 })
    assert.deepEqual(report.survivors, [
      { id: 4, beside: 2, reason: "Shape" },
      { id: 8, beside: 7, reason: "Shape" }
    ])
    assert.strictEqual(report.strings.before, btf.stringsLength)
  })

  it("is bounded", () => {
    const types = Array.from({ length: 5000 }, (_, index) => B.struct("s", index, []))
    const { report } = dedup(types)
    assert.strictEqual(report.survivorCount, 4999)
    assert.strictEqual(report.survivors.length, BtfDedup.SURVIVOR_LIMIT)
  })
})
