import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDedup from "../../src/btf/BtfDedup.ts"
import type { Deduped } from "../../src/btf/BtfDedup.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"
import { toByteOrder } from "../../src/btf/BtfEncode.ts"
import * as BtfPermute from "../../src/btf/BtfPermute.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { echoes, echoesOver } from "../support/arbitrary/BtfEchoes.ts"
import { classes, declarations, isDeclaration, recordOf } from "../support/BtfClasses.ts"
import { fixture, runs, runsToMeet } from "../support/Require.ts"

type Dedup = (btf: Btf.Btf) => Result.Result<Deduped, { readonly message: string }>

/** A law must fail on its named fault: a counterexample must be found. */
const refuted = <T>(property: fc.IProperty<T>): void => {
  assert.isTrue(fc.check(property, { numRuns: 5000 }).failed, "the named fault went unnoticed")
}

const parsed = (bytes: Uint8Array, base?: Btf.Btf): Btf.Btf => B.expectSuccess(Btf.parse(bytes, { base }))

const appended = (btf: Btf.Btf, other: Btf.Btf): Btf.Btf => {
  const editor = BtfEdit.edit(btf)
  B.expectSuccess(editor.append(other))
  return B.expectSuccess(editor.finish())
}

/** The result with another map: what a dedup with a fault would answer. */
const withMap = (done: Deduped, change: (map: Uint32Array) => void): Deduped => {
  const map = done.map.slice()
  change(map)
  return { ...done, map }
}

/** A dedup that also merges what has one key. The key may be made of what types became. */
const merging = (same: (btf: Btf.Btf, id: number, map: Readonly<Uint32Array>) => string | undefined): Dedup => (btf) =>
  Result.map(BtfDedup.dedup(btf), (done) =>
    withMap(done, (map) => {
      const first = new Map<string, number>()
      for (let id = btf.firstId; id < btf.endId; id++) {
        const key = same(btf, id, done.map)
        if (key === undefined) continue
        if (!first.has(key)) first.set(key, map[id] ?? 0)
        map[id] = first.get(key) ?? 0
      }
    }))

/** Nothing is merged. */
const identity: Dedup = (btf) =>
  Result.map(
    BtfDedup.dedup(btf),
    (done) => ({ ...done, btf, map: Uint32Array.from({ length: btf.endId }, (_, id) => id) })
  )

describe("dedup without declarations", () => {
  /** Types are merged exactly when they are equal by structure. Variables and sections stay apart. */
  const law = (dedup: Dedup) =>
    fc.property(fc.oneof(echoes({}), echoes({ variables: true }), echoes({ functions: true })), ({ blob }) => {
      const btf = parsed(blob)
      const done = B.expectSuccess(dedup(btf))
      const [of = []] = classes([btf], { distinctVariables: true })
      const byClass = new Map<number, number>()
      for (let id = 0; id < btf.endId; id++) {
        const now = byClass.get(of[id] ?? -1) ?? done.map[id]
        assert.strictEqual(done.map[id], now, `type ${id}`)
        byClass.set(of[id] ?? -1, now ?? -1)
      }
      assert.strictEqual(done.btf.endId, byClass.size)
      const [old = [], made = []] = classes([btf, done.btf])
      for (let id = 0; id < btf.endId; id++) assert.strictEqual(made[done.map[id] ?? 0], old[id], `type ${id}`)
      assert.isFalse(done.report.exhausted)
    })

  it("has one type for each that differs by structure", () => {
    fc.assert(law(BtfDedup.dedup), { numRuns: runs(800) })
  })

  it("named fault: nothing is merged", () => {
    refuted(law(identity))
  })

  it("named fault: structs are merged without a look at the types of their members", () => {
    refuted(law(merging((btf, id) => Btf.kindOf(btf, id) === Btf.BTF_KIND_STRUCT ? recordOf(btf, id) : undefined)))
  })

  it("named fault: arrays of one length are merged", () => {
    refuted(law(merging((btf, id) => Btf.kindOf(btf, id) === Btf.BTF_KIND_ARRAY ? recordOf(btf, id) : undefined)))
  })

  it("named fault: the linkage of functions does not count", () => {
    refuted(law(merging((btf, id, map) => {
      const type = Btf.typeOf(btf, id)
      return type._tag === "Func" ? `${type.name} ${map[type.type]}` : undefined
    })))
  })

  it("named fault: parameters' names do not count", () => {
    refuted(law(merging((btf, id, map) => {
      const type = Btf.typeOf(btf, id)
      return type._tag === "FuncProto"
        ? [type.returnType, ...type.params.map((param) => param.type)].map((to) => map[to]).join(" ")
        : undefined
    })))
  })

  it("named fault: of each unit with a type twice one copy stays", () => {
    refuted(law((btf) =>
      Result.map(BtfDedup.dedup(btf), (done) =>
        withMap(done, (map) => {
          map[btf.endId - 1] = done.btf.endId
        }))
    ))
  })
})

/** Every old type is what it was, or a definition of what it declared. */
const keepsMeaning = (btf: Btf.Btf, done: Deduped): void => {
  const declared = declarations(btf)
  const [old = [], made = []] = classes([btf, done.btf], { declared })
  for (let id = 0; id < btf.endId; id++) {
    const now = done.map[id] ?? -1
    assert.isBelow(now, done.btf.endId)
    assert.strictEqual(made[now], old[id], `type ${id}, now ${now}`)
    if (!isDeclaration(Btf.typeOf(btf, id))) {
      assert.strictEqual(recordOf(done.btf, now), recordOf(btf, id), `type ${id}, now ${now}`)
    }
  }
}

/** Nothing was left to merge: the same types under the same ids. Only strings may have another order. */
const assertSame = (btf: Btf.Btf, done: Deduped): void => {
  assert.strictEqual(done.btf.endId, btf.endId)
  for (let id = btf.firstId; id < btf.endId; id++) {
    assert.strictEqual(done.map[id], id)
    assert.deepEqual(Btf.typeOf(done.btf, id), Btf.typeOf(btf, id))
  }
  assert.strictEqual(done.btf.bytes.length, btf.bytes.length)
}

/** Blobs of every sort whose graphs of types make sense. */
const sensible = fc.oneof(
  echoes({ declarations: true }).map(({ blob }) => blob),
  echoes({ declarations: true, variables: true }).map(({ blob }) => blob),
  Arbitrary.wellFormed().map(({ bytes }) => bytes),
  Arbitrary.units().map(({ concatenated }) => concatenated.bytes)
)

describe("dedup", () => {
  const meaning = (dedup: Dedup) =>
    fc.property(sensible, (blob) => {
      const btf = parsed(blob)
      keepsMeaning(btf, B.expectSuccess(dedup(btf)))
    })

  it("keeps the meaning of every type, up to declarations that got a definition", () => {
    fc.assert(meaning(BtfDedup.dedup), { numRuns: runs(500) })
  })

  it("named fault: a declaration becomes the first type of its name, of whatever kind", () => {
    refuted(meaning(merging((btf, id) => {
      const type = Btf.typeOf(btf, id)
      return type._tag === "Fwd" || type._tag === "Struct" || type._tag === "Union" ? type.name : undefined
    })))
  })

  const idempotent = (dedup: Dedup) =>
    fc.property(sensible, (blob) => {
      const once = B.expectSuccess(dedup(parsed(blob)))
      const twice = B.expectSuccess(dedup(once.btf))
      assertSame(once.btf, twice)
    })

  it("is idempotent", () => {
    fc.assert(idempotent(BtfDedup.dedup), { numRuns: runs(800) })
  })

  it("named fault: the order of types is turned round", () => {
    refuted(idempotent((btf) =>
      Result.map(BtfDedup.dedup(btf), (done) => {
        const count = done.btf.endId
        const order = Uint32Array.from({ length: count }, (_, id) => id === 0 ? 0 : count - id)
        return { ...done, btf: B.expectSuccess(BtfPermute.permute(done.btf, order)).btf }
      })
    ))
  })

  /** Appending to itself adds nothing; where a name is declared, its definitions count as one. */
  const doubling = (dedup: Dedup) =>
    fc.property(sensible, (blob) => {
      const btf = parsed(blob)
      const once = B.expectSuccess(dedup(btf))
      const twice = B.expectSuccess(dedup(appended(btf, btf)))
      const declared = declarations(btf)
      const [ofOnce = [], ofTwice = []] = classes([once.btf, twice.btf], { declared })
      assert.deepEqual(new Set(ofTwice), new Set(ofOnce))
      const hasVariables = once.map.some((_, id) => ["Var", "Datasec"].includes(Btf.typeOf(btf, id)._tag))
      if (declared.size === 0 && !hasVariables) assert.strictEqual(twice.btf.endId, once.btf.endId)
      keepsMeaning(appended(btf, btf), twice)
    })

  it("of a blob appended to itself has the types of the blob", () => {
    fc.assert(doubling(BtfDedup.dedup), { numRuns: runs(300) })
  })

  it("named fault: nothing is merged", () => {
    refuted(doubling(identity))
  })

  it("does not depend on the byte order", () => {
    fc.assert(
      fc.property(sensible, (blob) => {
        const btf = parsed(blob)
        const other = btf.byteOrder === "little" ? "big" : "little"
        const swapped = parsed(B.expectSuccess(toByteOrder(btf, other)))
        const done = B.expectSuccess(BtfDedup.dedup(btf))
        const doneSwapped = B.expectSuccess(BtfDedup.dedup(swapped))
        assert.deepEqual(B.expectSuccess(toByteOrder(doneSwapped.btf, btf.byteOrder)), done.btf.bytes)
        assert.deepEqual(doneSwapped.map, done.map)
      }),
      { numRuns: runs(300) }
    )
  })

  it("of two units of one program has the types of the program", () => {
    fc.assert(
      fc.property(Arbitrary.units(), ({ concatenated, merged }) => {
        const done = B.expectSuccess(BtfDedup.dedup(parsed(concatenated.bytes)))
        const whole = B.expectSuccess(BtfDedup.dedup(parsed(merged.bytes)))
        assert.strictEqual(done.btf.endId, whole.btf.endId)
        const [one = [], other = []] = classes([done.btf, whole.btf])
        assert.deepEqual(new Set(one), new Set(other))
      }),
      { numRuns: runs(250) }
    )
  })
})

describe("dedup over a base", () => {
  /** Over a base without doubles the result has what the base has not, once each. */
  const law = (dedup: Dedup) =>
    fc.property(echoesOver({}), ({ base: baseBlob, split: splitBlob }) => {
      const { btf: base, map } = B.expectSuccess(BtfDedup.dedup(parsed(baseBlob)))
      const split = parsed(splitBlob(base, (id) => map[id] ?? 0), base)
      const done = B.expectSuccess(dedup(split))
      assert.strictEqual(done.btf.base, base)
      const [of = []] = classes([split], { distinctVariables: true })
      const byClass = new Map<number, number>()
      for (let id = 0; id < split.endId; id++) {
        const now = byClass.get(of[id] ?? -1) ?? done.map[id]
        assert.strictEqual(done.map[id], now, `type ${id}`)
        byClass.set(of[id] ?? -1, now ?? -1)
      }
      assert.strictEqual(done.btf.endId, byClass.size)
      keepsMeaning(split, done)
    })

  it("merges types with the base's and with each other exactly when they are equal", () => {
    fc.assert(law(BtfDedup.dedup), { numRuns: runs(400) })
  })

  it("named fault: nothing is merged", () => {
    refuted(law(identity))
  })

  const meaning = (dedup: Dedup) =>
    fc.property(echoesOver({ declarations: true }), ({ base: baseBlob, split: splitBlob }) => {
      const base = parsed(baseBlob)
      const split = parsed(splitBlob(base, (id) => id), base)
      const done = B.expectSuccess(dedup(split))
      keepsMeaning(split, done)
      const again = B.expectSuccess(dedup(done.btf))
      assertSame(done.btf, again)
    })

  it("keeps the meaning and is idempotent with declarations on both sides", () => {
    fc.assert(meaning(BtfDedup.dedup), { numRuns: runsToMeet(1000) })
  })

  it("named fault: a type of the base is taken for the next one", () => {
    refuted(meaning((btf) =>
      Result.map(BtfDedup.dedup(btf), (done) =>
        withMap(done, (map) => {
          for (let id = btf.firstId; id < btf.endId; id++) {
            const now = map[id] ?? 0
            if (now > 0 && now + 1 < btf.firstId) map[id] = now + 1
          }
        }))
    ))
  })
})

describe("dedup of anything that parses", () => {
  const anything = fc.oneof(
    Arbitrary.nearlyWellFormed().map(({ bytes }) => bytes),
    Arbitrary.hostile,
    fc.tuple(fc.constantFrom("core_reads.bpf.o", "global_data.bpf.o", "events.bpf.o"), Arbitrary.damages).map(
      ([name, changes]) => Arbitrary.damage(B.elfSection(fixture(name), ".BTF"), changes)
    )
  )

  it("answers with BTF of the same meaning, or with an error that says where", () => {
    let answered = 0
    fc.assert(
      fc.property(anything, (bytes) => {
        const btf = Btf.parse(bytes)
        if (Result.isFailure(btf)) return
        const done = BtfDedup.dedup(btf.success)
        if (Result.isFailure(done)) {
          assert.include(["Cycle", "UnknownKind", "ReadOnly"], done.failure.reason, done.failure.message)
          assert.isTrue(done.failure.reason === "ReadOnly" || done.failure.typeId !== undefined)
          return
        }
        answered++
        keepsMeaning(btf.success, done.success)
        const again = B.expectSuccess(BtfDedup.dedup(done.success.btf))
        assert.strictEqual(again.btf.endId, done.success.btf.endId)
      }),
      { numRuns: runsToMeet(600) }
    )
    assert.isAbove(answered, 50)
  })

  it("keeps the meaning when the budget is used up", () => {
    fc.assert(
      fc.property(sensible, fc.nat(40), (blob, budget) => {
        const btf = parsed(blob)
        const done = B.expectSuccess(BtfDedup.dedup(btf, { budget }))
        keepsMeaning(btf, done)
        if (done.report.exhausted) assert.isAbove(done.report.work, budget)
      }),
      { numRuns: runs(300) }
    )
  })
})
