import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfExt from "../../../src/btf/BtfExt.ts"
import * as BtfPermute from "../../../src/btf/BtfPermute.ts"
import {
  btfOf,
  canonicalLayout,
  elfSection,
  everyKind,
  expectFailure,
  expectSuccess,
  int,
  ptr
} from "../../support/arbitrary/BtfBlob.ts"
import { fixture } from "../../support/Require.ts"

describe("permute", () => {
  const btf = btfOf([int("int", 4), ptr(3), ptr(1)])

  it("moves types and what refers to them", () => {
    const { btf: moved, ext } = expectSuccess(BtfPermute.permute(btf, [0, 3, 1, 2]))
    assert.isUndefined(ext)
    assert.deepEqual([1, 2, 3].map((id) => Btf.typeName(moved, id)), ["int **", "int *", "int"])
  })

  const split = btfOf([ptr(1), ptr(4)], { base: btf })

  const refusals: ReadonlyArray<readonly [string, Btf.Btf, ReadonlyArray<number>, RegExp]> = [
    ["too few ids", btf, [0, 1, 2], /one of 3 ids and the blob has 4/],
    ["too many ids", btf, [0, 1, 2, 3, 4], /one of 5 ids/],
    ["void elsewhere", btf, [1, 0, 2, 3], /type 0: the order moves it to 1/],
    ["an id twice", btf, [0, 2, 2, 3], /type 2: the order moves it and type 1 to 2/],
    ["void as a place", btf, [0, 0, 2, 3], /type 1: the order moves it to 0, which/],
    ["an id past the last", btf, [0, 1, 2, 4], /type 3: the order moves it to 4, which/],
    ["no integer", btf, [0, 1, 2.5, 3], /2.5/],
    ["a type of the base elsewhere", split, [0, 1, 3, 2, 4, 5], /type 2: the order moves it to 3 \(void and/],
    ["a type moved into the base", split, [0, 1, 2, 3, 4, 3], /type 5: the order moves it to 3, which/]
  ]
  for (const [what, of, map, message] of refusals) {
    it(`refuses ${what}`, () => {
      const error = expectFailure(BtfPermute.permute(of, map))
      assert.strictEqual(error.reason, "BadArgument")
      assert.match(error.message, message)
    })
  }

  it("refuses kinds whose references cannot be told", () => {
    const layout = Array.from({ length: 26 }, (_, kind) => canonicalLayout[kind] ?? [0, 0] as const)
    const unknown = btfOf([int("int", 4), { name: "new", kind: 25 }], { layout })
    const error = expectFailure(BtfPermute.permute(unknown, [0, 2, 1]))
    assert.strictEqual(error.reason, "UnknownKind")
    assert.strictEqual(error.typeId, 2)
  })

  it("refuses a header with unknown fields", () => {
    const newer = btfOf([int("int", 4)], { headerLength: 40, headerExtra: 7 })
    assert.strictEqual(expectFailure(BtfPermute.permute(newer, [0, 1])).reason, "ReadOnly")
  })

  it("takes the records of .BTF.ext along", () => {
    const object = fixture("core_reads.bpf.o")
    const btf = expectSuccess(Btf.parse(elfSection(object, ".BTF")))
    const ext = expectSuccess(BtfExt.parse(elfSection(object, ".BTF.ext"), btf))
    const reversed = Uint32Array.from({ length: btf.endId }, (_, id) => id === 0 ? 0 : btf.endId - id)
    const moved = expectSuccess(BtfPermute.permute(btf, reversed, { ext }))
    const names = (ext: BtfExt.BtfExt): ReadonlyArray<string> => [
      ...(ext.funcInfo?.sections ?? []).flatMap((section) =>
        Array.from(
          { length: section.count },
          (_, index) => Btf.typeName(ext.btf, BtfExt.funcInfoAt(ext, section, index).typeId)
        )
      ),
      ...(ext.coreRelocations?.sections ?? []).flatMap((section) =>
        Array.from({ length: section.count }, (_, index) => {
          const { accessString, typeId } = BtfExt.coreRelocationAt(ext, section, index)
          return `${Btf.typeName(ext.btf, typeId)} ${accessString}`
        })
      )
    ]
    if (moved.ext === undefined) throw new Error("no records")
    assert.isAbove(names(ext).length, 5)
    assert.deepEqual(names(moved.ext), names(ext))
    assert.strictEqual(moved.ext.btf, moved.btf)
    const first = moved.ext.coreRelocations?.sections[0]
    const before = ext.coreRelocations?.sections[0]
    if (first === undefined || before === undefined) throw new Error("no relocations")
    assert.strictEqual(
      BtfExt.coreRelocationAt(moved.ext, first, 0).typeId,
      btf.endId - BtfExt.coreRelocationAt(ext, before, 0).typeId
    )
    const other = expectSuccess(Btf.parse(elfSection(object, ".BTF")))
    assert.strictEqual(expectFailure(BtfPermute.permute(other, reversed, { ext })).reason, "BadArgument")
  })
})

describe("sortByName", () => {
  it("puts anonymous types first and compares bytes", () => {
    const names = ["z", "ab", "é", "a", "abcde", "abcd", "Z", "abcdf", "ab", "\u{10000}", "\uffff"]
    const btf = btfOf([...names.map((name) => int(name, 4)), ptr(1)])
    const { btf: sorted, map } = expectSuccess(BtfPermute.sortByName(btf))
    const found = Array.from({ length: sorted.endId - 1 }, (_, index) => Btf.nameOf(sorted, index + 1))
    assert.deepEqual(found, ["", "Z", "a", "ab", "ab", "abcd", "abcde", "abcdf", "z", "é", "\uffff", "\u{10000}"])
    assert.deepEqual([...map], [0, 9, 4, 10, 3, 7, 6, 2, 8, 5, 12, 11, 1])
    assert.strictEqual(Btf.typeName(sorted, 1), "z *")
    // A lookup notices the order, and searches by halves.
    assert.deepEqual(Btf.find(sorted, "ab"), { _tag: "Ambiguous", ids: [4, 5] })
    assert.strictEqual(sorted.internal.cache.names?.sortedFrom, 1)
    Btf.find(btf, "ab")
    assert.strictEqual(btf.internal.cache.names?.sortedFrom, -1)
  })

  it("of split BTF sorts its own types, some named in the base", () => {
    const base = btfOf(everyKind)
    const split = btfOf(
      [int("zebra", 4), int("event", 4), int("apple", 4)].map((type, index) =>
        index === 1 ? { ...type, nameOffset: Btf.nameOffsetOf(base, 4) } : type
      ),
      { base }
    )
    const { btf: sorted } = expectSuccess(BtfPermute.sortByName(split))
    assert.deepEqual([20, 21, 22].map((id) => Btf.nameOf(sorted, id)), ["apple", "event", "zebra"])
    assert.strictEqual(Btf.nameOf(sorted, 1), "int")
  })

  it("of nothing is nothing", () => {
    assert.strictEqual(expectSuccess(BtfPermute.sortByName(btfOf([]))).btf.endId, 1)
  })

  it("takes long names with one beginning", () => {
    const strings = new Uint8Array(100_001).fill(0x61, 1)
    strings[100_000] = 0
    // Tails of one long string: each name is another one's beginning.
    const btf = btfOf(
      Array.from({ length: 2_000 }, (_, index) => ({ ...int("x", 4), nameOffset: 100_000 - (index * 7) % 1_000 })),
      { strings }
    )
    const { btf: sorted } = expectSuccess(BtfPermute.sortByName(btf))
    for (let id = 2; id < sorted.endId; id++) {
      assert.isAtMost(Btf.nameOf(sorted, id - 1).length, Btf.nameOf(sorted, id).length)
    }
  })
})
