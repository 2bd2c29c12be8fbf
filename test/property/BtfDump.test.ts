/** Dumps of generated BTF: of what compilers make, of what parses, of what is damaged. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDump from "../../src/btf/BtfDump.ts"
import * as A from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { runs } from "../support/Require.ts"

const parse = (bytes: Uint8Array, base?: Btf.Btf): Btf.Btf => B.expectSuccess(Btf.parse(bytes, { base }))

const unsorted = { sorted: false, header: false } as const

const c = (btf: Btf.Btf, options: BtfDump.COptions = unsorted): BtfDump.Dumped =>
  BtfDump.collect(BtfDump.toC(btf, options))

/** The top-level definitions and declarations of a dump without header, as a sorted list. */
const definitions = (text: string): ReadonlyArray<string> => text.split(/;\n\n/).filter((part) => part !== "").sort()

describe("well-formed BTF", () => {
  it("is written without a problem, in any order", () => {
    const holds = (dump: typeof c) =>
      fc.property(A.wellFormed(), ({ bytes }) => {
        const btf = parse(bytes)
        for (const sorted of [false, true]) assert.deepStrictEqual(dump(btf, { sorted }).problems.map(String), [])
      })
    fc.assert(holds(c), { numRuns: runs(60) })
    // A dump for which a blob has one type more than it has.
    assert.throws(() => fc.assert(holds((btf) => c(btf, { rootIds: [btf.endId] })), { numRuns: 200 }))
  })

  it("of a base and of BTF over it is that of both in one", () => {
    const holds = (dump: typeof c) =>
      fc.property(A.split(), ({ base, split, whole }) => {
        const over = parse(split.bytes, parse(base.bytes))
        const one = parse(whole.bytes)
        for (const sorted of [false, true]) {
          assert.strictEqual(dump(over, { sorted }).text, c(one, { sorted }).text)
        }
      })
    fc.assert(holds(c), { numRuns: runs(60) })
    // A dump of the blob's own types and what they need.
    const own = (btf: Btf.Btf) =>
      c(btf, { ...unsorted, rootIds: Array.from({ length: btf.endId - btf.firstId }, (_, at) => btf.firstId + at) })
    assert.throws(() => fc.assert(holds(own), { numRuns: 200 }))
  })

  it("does not depend on the byte order, nor on where strings lie", () => {
    const holds = (dump: typeof c) =>
      fc.property(A.wellFormed(), ({ bytes, types }) => {
        const expected = c(parse(bytes)).text
        for (const order of ["little", "big"] as const) {
          const btf = parse(B.blob(types, { order, repeatStrings: true, moreStrings: ["zzz"] }))
          assert.strictEqual(dump(btf).text, expected)
        }
      })
    fc.assert(holds(c), { numRuns: runs(60) })
    // A dump in the order in which names lie.
    const byPlace = (btf: Btf.Btf) => {
      const ids = Array.from(btf.offsets, (_, at) => at + 1)
      const rootIds = ids.sort((one, other) => Btf.nameOffsetOf(btf, one) - Btf.nameOffsetOf(btf, other))
      return c(btf, { ...unsorted, rootIds })
    }
    assert.throws(() => fc.assert(holds(byPlace), { numRuns: 200 }))
  })
})

/** A dump type by type, in order of ids, by a dumper. */
const byType = (btf: Btf.Btf, makeDumper: () => BtfDump.Dumper): BtfDump.Dumped => {
  const problems = []
  let text = ""
  let dumper = makeDumper()
  for (let id = 1; id < btf.endId; id++) {
    const dumped = BtfDump.dumpType(dumper, id)
    if (Result.isFailure(dumped)) return { text, problems: [...problems, dumped.failure] }
    text += dumped.success.text
    problems.push(...dumped.success.problems)
    dumper = makeDumper()
  }
  return { text, problems }
}

describe("any BTF that parses", () => {
  const any = fc.oneof(A.wellFormed(), A.nearlyWellFormed())

  it("is dumped or refused with a tagged error, in proportion to its size, and twice the same", () => {
    fc.assert(
      fc.property(fc.oneof(A.nearlyWellFormed().map(({ bytes }) => bytes), A.hostile), (bytes) => {
        const parsed = Btf.parse(bytes)
        if (Result.isFailure(parsed)) return
        const btf = parsed.success
        for (const sorted of [false, true]) {
          const dumped = c(btf, { sorted })
          assert.isAtMost(dumped.text.length, 2 ** 23 + 32 * bytes.length)
          assert.deepStrictEqual(c(btf, { sorted }), dumped)
          // One problem per type at most, and per definition that an earlier one took with it.
          assert.isAtMost(dumped.problems.length, 2 * btf.endId)
        }
        assert.deepStrictEqual(BtfDump.collect(BtfDump.toRaw(btf)).problems, [])
        const { types } = JSON.parse(BtfDump.collect(BtfDump.toJson(btf)).text)
        assert.strictEqual(types.length, btf.endId - 1)
        const dumper = BtfDump.makeDumper(btf)
        for (let id = 0; id < btf.endId; id++) BtfDump.declareType(dumper, id, { name: "x" })
      }),
      { numRuns: runs(300) }
    )
  })

  it("is the same from a dumper that goes type by type", () => {
    const holds = (makeDumperOf: (btf: Btf.Btf) => () => BtfDump.Dumper) =>
      fc.property(any, ({ bytes }) => {
        const btf = parse(bytes)
        assert.deepStrictEqual(byType(btf, makeDumperOf(btf)), c(btf))
      })
    const kept = (btf: Btf.Btf) => {
      const dumper = BtfDump.makeDumper(btf)
      return () => dumper
    }
    fc.assert(holds(kept), { numRuns: runs(100) })
    // A dumper that remembers nothing writes types again.
    const forgetful = (btf: Btf.Btf) => () => BtfDump.makeDumper(btf)
    assert.throws(() => fc.assert(holds(forgetful), { numRuns: 200 }))
  })

  it("has each definition once, whatever the order", () => {
    const text = (btf: Btf.Btf, rootIds: ReadonlyArray<number>): string => c(btf, { ...unsorted, rootIds }).text
    const holds = (ids: (btf: Btf.Btf) => ReadonlyArray<number>) =>
      fc.property(A.wellFormed(), ({ bytes }) => {
        const btf = parse(bytes)
        // Only where no name was taken twice: numbers depend on the order, and so do declarations before definitions.
        const expected = definitions(c(btf).text)
        fc.pre(!expected.some((definition) => definition.includes("___")))
        const complete = (list: ReadonlyArray<string>) => list.filter((each) => /[{ ]/.test(each) && isDefinition(each))
        assert.deepStrictEqual(complete(definitions(text(btf, ids(btf)))), complete(expected))
      })
    const isDefinition = (part: string): boolean => part.includes("{") || part.startsWith("typedef ")
    const backwards = (btf: Btf.Btf) => Array.from({ length: btf.endId - 1 }, (_, index) => btf.endId - 1 - index)
    fc.assert(holds(backwards), { numRuns: runs(60) })
    assert.throws(() => fc.assert(holds((btf) => backwards(btf).slice(1)), { numRuns: 200 }))
  })
})

describe("lists", () => {
  it("in JSON say what the types are", () => {
    const named = (name: string) => name === "" ? "(anon)" : name
    const holds = (nameOf: (btf: Btf.Btf, id: number) => string) =>
      fc.property(A.wellFormed(), ({ bytes }) => {
        const btf = parse(bytes)
        const { types } = JSON.parse(BtfDump.collect(BtfDump.toJson(btf)).text)
        for (let id = 1; id < btf.endId; id++) {
          const { kind, name, size, type_id } = types[id - 1]
          assert.deepStrictEqual({ kind, name }, {
            kind: Btf.kindName(Btf.kindOf(btf, id)),
            name: named(nameOf(btf, id))
          })
          if (size !== undefined) assert.strictEqual(size, Btf.sizeOrTypeOf(btf, id))
          if (type_id !== undefined && kind !== "ARRAY") assert.strictEqual(type_id, Btf.sizeOrTypeOf(btf, id))
        }
      })
    fc.assert(holds(Btf.nameOf), { numRuns: runs(40) })
    assert.throws(() => fc.assert(holds((btf, id) => Btf.nameOf(btf, id - 1)), { numRuns: 100 }))
  })
})
