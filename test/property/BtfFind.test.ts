import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import { forEachString, forEachTypeId } from "../../src/btf/BtfFields.ts"
import type { NameIndex } from "../../src/btf/BtfModel.ts"
import * as BtfPermute from "../../src/btf/BtfPermute.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { runs } from "../support/Require.ts"

/** A law must fail on its named fault: a counterexample must be found. */
const refuted = <T>(property: fc.IProperty<T>): void => {
  assert.isTrue(fc.check(property, { numRuns: 3000 }).failed, "the named fault went unnoticed")
}

const parsed = (bytes: Uint8Array, base?: Btf.Btf): Btf.Btf => B.expectSuccess(Btf.parse(bytes, { base }))

const idsOf = (btf: Btf.Btf): ReadonlyArray<number> => Array.from({ length: btf.endId - 1 }, (_, index) => index + 1)

/** How one blob looks names up from now on. */
type Way = "as it will" | "walks" | "hashes"

const go = (btf: Btf.Btf, way: Way): Btf.Btf => {
  if (way === "as it will") return btf
  Btf.findOwn(btf, "any")
  const { names } = btf.internal.cache
  if (names === undefined) return assert.fail("a lookup left no index")
  // Negative counts keep it walking; a count beyond all walks makes it hash.
  const index: NameIndex = { ...names, sortedFrom: -1, walks: way === "walks" ? -1e6 : 1e6 }
  btf.internal.cache.names = index
  return btf
}

/** Blobs of few names, so that many types share one; the own types of the second in the order of their names or not. */
const named = fc.record({
  names: fc.array(fc.constantFrom("a", "ab", "abc", "b", "ä", "_", "aa", "z".repeat(200), ""), { maxLength: 25 }),
  kinds: fc.infiniteStream(fc.constantFrom(1, 4, 7, 8)),
  sorted: fc.boolean(),
  share: fc.nat(25),
  order: Arbitrary.order
})

const typeOf = (name: string, kind: number): B.Rec => {
  switch (kind) {
    case 1:
      return B.int(name, 4)
    case 4:
      return B.struct(name, 0, [])
    case 7:
      return B.fwd(name, false)
    default:
      return B.typedef(name, 0)
  }
}

const splitOf = (given: typeof named extends fc.Arbitrary<infer A> ? A : never): Btf.Btf => {
  const types = given.names.map((name) => typeOf(name, given.kinds.next().value))
  const blob = (types: ReadonlyArray<B.Rec>, base?: Btf.Btf): Btf.Btf => {
    const btf = B.btfOf(types, { order: given.order, ...(base === undefined ? {} : { base }) })
    return given.sorted ? B.expectSuccess(BtfPermute.sortByName(btf)).btf : btf
  }
  return blob(types.slice(given.share), blob(types.slice(0, given.share)))
}

const queries = [
  "a",
  "ab",
  "abc",
  "abcd",
  "b",
  "ä",
  "_",
  "aa",
  "aaa",
  "z".repeat(200),
  "z".repeat(199),
  "",
  "\0",
  "absent"
]

describe("lookup", () => {
  type Find = (btf: Btf.Btf, name: string, kind?: number) => Btf.Found

  const law = (find: Find, way: Way) =>
    fc.property(named, (given) => {
      const btf = splitOf(given)
      go(btf, way)
      if (btf.base !== undefined) go(btf.base, way)
      for (const name of queries) {
        for (const kind of [undefined, 1, 4, 7, 8]) {
          const expected = idsOf(btf).filter((id) =>
            Btf.nameOf(btf, id) === name && (kind === undefined || Btf.kindOf(btf, id) === kind)
          )
          const found = find(btf, name, kind)
          assert.deepEqual(found._tag === "Ambiguous" ? found.ids : found._tag === "One" ? [found.id] : [], expected)
          assert.strictEqual(Btf.findOne(btf, name, kind), expected[0])
          assert.strictEqual(Btf.findOwn(btf, name, kind), expected.find((id) => id >= btf.firstId))
        }
      }
    })

  for (const way of ["as it will", "walks", "hashes"] as const) {
    it(`finds what is there, in order of ids, when it ${way === "as it will" ? "chooses" : way}`, () => {
      fc.assert(law(Btf.find, way), { numRuns: runs(150) })
    })
  }

  it("knows types that are in the order of their names", () => {
    fc.assert(
      fc.property(named, (given) => {
        const btf = splitOf({ ...given, sorted: true })
        Btf.findOwn(btf, "any")
        const from = btf.internal.cache.names?.sortedFrom ?? -1
        const ids = idsOf(btf).filter((id) => id >= btf.firstId)
        assert.strictEqual(from, ids.filter((id) => Btf.nameOf(btf, id) === "").length)
      }),
      { numRuns: runs(100) }
    )
  })

  it("named fault: types are taken for sorted", () => {
    refuted(law((btf, name, kind) => {
      const cache = { ...btf.internal.cache, names: { sortedFrom: 0, walks: 0, chains: undefined } }
      return Btf.find({ ...btf, internal: { ...btf.internal, cache } }, name, kind)
    }, "as it will"))
  })

  it("named fault: chains end after one type", () => {
    refuted(law((btf, name, kind) => {
      Btf.find(btf, name, kind)
      btf.internal.cache.names?.chains?.next.fill(0)
      return Btf.find(btf, name, kind)
    }, "hashes"))
  })

  it("named fault: of several the first is told alone", () => {
    refuted(law((btf, name, kind) => {
      const found = Btf.find(btf, name, kind)
      return found._tag === "Ambiguous" ? { _tag: "One", id: found.ids[0] ?? 0 } : found
    }, "walks"))
  })

  it("by kind gives each own type once, in order", () => {
    const byKind = (idsOfKind: typeof Btf.idsOfKind) =>
      fc.property(Arbitrary.split(), ({ base, split }) => {
        const btf = parsed(split.bytes, parsed(base.bytes))
        for (let kind = 0; kind < 128; kind++) {
          const expected = idsOf(btf).filter((id) => id >= btf.firstId && Btf.kindOf(btf, id) === kind)
          assert.deepEqual([...idsOfKind(btf, kind)], expected)
        }
      })
    fc.assert(byKind(Btf.idsOfKind), { numRuns: runs(50) })
    refuted(byKind((btf, kind) => Btf.idsOfKind(btf, kind).filter((id) => id !== btf.firstId)))
  })
})

describe("validation", () => {
  type Parse = (bytes: Uint8Array, base: Btf.Btf) => ReturnType<typeof Btf.parse>

  /**
   * Each word that the field visitor names is looked at: with a value past the last type or string it is refused, and
   * the error gives its place.
   */
  const law = (parse: Parse) =>
    fc.property(Arbitrary.nearlyWellFormedSplit(12), fc.boolean(), ({ base, split }, atLimit) => {
      const under = parsed(base.bytes)
      const btf = parsed(split.bytes, under)
      const check = (offset: number, limit: number, reason: Btf.BtfErrorReason): void => {
        const bytes = split.bytes.slice()
        const value = atLimit ? limit : 0xffff_ffff
        new DataView(bytes.buffer).setUint32(offset, value, btf.byteOrder === "little")
        const error = B.expectFailure(parse(bytes, under))
        assert.strictEqual(error.reason, reason)
        assert.strictEqual(error.offset, offset)
        assert.isAtLeast(error.typeId ?? 0, btf.firstId)
      }
      const words: Array<readonly [number, number, Btf.BtfErrorReason]> = []
      forEachTypeId(btf, (offset) => words.push([offset, btf.endId, "BadTypeId"]))
      forEachString(btf, (offset) => words.push([offset, btf.stringsStart + btf.stringsLength, "BadString"]))
      for (const word of words) check(...word)
    })

  it("looks at every type id and string offset", () => {
    fc.assert(law((bytes, base) => Btf.parse(bytes, { base })), { numRuns: runs(100) })
  })

  it("named fault: what a prototype returns is not looked at", () => {
    refuted(law((bytes, base) => {
      const result = Btf.parse(bytes, { base })
      if (result._tag === "Success" || result.failure.reason !== "BadTypeId") return result
      const { offset = 0, typeId = 0 } = result.failure
      const trusted = B.expectSuccess(Btf.parse(bytes, { base, trusted: true }))
      const at = trusted.offsets[typeId - trusted.firstId] ?? 0
      return Btf.kindOf(trusted, typeId) === Btf.BTF_KIND_FUNC_PROTO && offset === at + 8
        ? Btf.parse(bytes, { base, trusted: true })
        : result
    }))
  })

  it("left out, the same types are there, in either byte order and at any address", () => {
    fc.assert(
      fc.property(Arbitrary.wellFormed(), fc.nat(7), ({ bytes }, shift) => {
        const moved = new Uint8Array(bytes.length + shift)
        moved.set(bytes, shift)
        const trusted = B.expectSuccess(Btf.parse(moved.subarray(shift), { trusted: true }))
        const btf = parsed(bytes)
        assert.deepEqual(trusted.offsets, btf.offsets)
        for (let id = 0; id < btf.endId; id++) assert.deepEqual(Btf.typeOf(trusted, id), Btf.typeOf(btf, id))
      }),
      { numRuns: runs(100) }
    )
  })
})
