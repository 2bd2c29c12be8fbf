import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"
import type { BtfEditor } from "../../src/btf/BtfEdit.ts"
import * as BtfEncode from "../../src/btf/BtfEncode.ts"
import { assemble, imageOf } from "../../src/btf/BtfImage.ts"
import * as BtfPermute from "../../src/btf/BtfPermute.ts"
import * as BtfStrings from "../../src/btf/BtfStrings.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import { expectSuccess } from "../support/arbitrary/BtfBlob.ts"
import { runs } from "../support/Require.ts"
import { build, canBuild, mapIds } from "../support/RebuildBtf.ts"

/** A law must fail on its named fault: a counterexample must be found. */
const refuted = <T>(property: fc.IProperty<T>): void => {
  assert.isTrue(fc.check(property, { numRuns: 3000 }).failed, "the named fault went unnoticed")
}

const parsed = (blob: Arbitrary.Blob, base?: Btf.Btf): Btf.Btf => expectSuccess(Btf.parse(blob.bytes, { base }))

const single: fc.Arbitrary<Btf.Btf> = fc.oneof(Arbitrary.wellFormed(), Arbitrary.nearlyWellFormed()).map((blob) =>
  parsed(blob)
)

const split: fc.Arbitrary<Btf.Btf> = fc.oneof(Arbitrary.split(), Arbitrary.nearlyWellFormedSplit()).map((pair) =>
  parsed(pair.split, parsed(pair.base))
)

const any = fc.oneof(single, split)

/** All types of two blobs are the same, the second's references mapped back. */
const sameTypes = (
  one: Btf.Btf,
  other: Btf.Btf,
  ids: readonly [first: number, end: number],
  map: (id: number) => number = (id) => id
): void => {
  for (let id = ids[0]; id < ids[1]; id++) {
    assert.deepEqual(Btf.typeOf(other, map(id)), mapIds(Btf.typeOf(one, id), map))
  }
}

const opposite = (order: Btf.ByteOrder): Btf.ByteOrder => order === "little" ? "big" : "little"

describe("written anew", () => {
  type Convert = (btf: Btf.Btf, order: Btf.ByteOrder) => Uint8Array

  const law = (convert: Convert) =>
    fc.property(any, (btf) => {
      assert.deepEqual(convert(btf, btf.byteOrder), btf.bytes)
      const swapped = expectSuccess(Btf.parse(convert(btf, opposite(btf.byteOrder)), { base: btf.base }))
      assert.notStrictEqual(swapped.byteOrder, btf.byteOrder)
      assert.deepEqual(convert(swapped, btf.byteOrder), btf.bytes)
      sameTypes(btf, swapped, [0, btf.endId])
    })

  const convert: Convert = (btf, order) => expectSuccess(BtfEncode.toByteOrder(btf, order))

  it("canonical blobs, split ones too, come back byte for byte, also when swapped twice", () => {
    fc.assert(law(convert), { numRuns: runs(200) })
  })

  it("named fault: the header says another order than the types have", () => {
    refuted(law((btf, order) => {
      const bytes = convert(btf, btf.byteOrder).slice()
      BtfEncode.writeHeader(bytes, order, btf)
      return bytes
    }))
  })

  it("named fault: the layout area is left in the other order", () => {
    refuted(law((btf, order) => {
      const bytes = convert(btf, order)
      if (order === btf.byteOrder || btf.layoutLength === 0) return bytes
      const parsed = expectSuccess(Btf.parse(bytes, { base: btf.base }))
      BtfEncode.swapWords(bytes, parsed.layoutOffset, parsed.layoutLength)
      return bytes
    }))
  })
})

describe("built type by type", () => {
  /** What a builder makes of all types of a blob, those that it cannot say copied as they are. */
  const rebuilt = (btf: Btf.Btf, oneByOne: boolean, change: (editor: BtfEditor) => BtfEditor): Btf.Btf => {
    const editor = change(BtfEdit.make({ base: btf.base, byteOrder: btf.byteOrder }))
    for (let id = btf.firstId; id < btf.endId; id++) {
      const type = Btf.typeOf(btf, id)
      const added = canBuild(type) ? build(editor, type, oneByOne) : editor.addType(btf, id)
      assert.strictEqual(added, id)
    }
    return expectSuccess(editor.finish())
  }

  const law = (change: (editor: BtfEditor) => BtfEditor = (editor) => editor) =>
    fc.property(any, fc.boolean(), (btf, oneByOne) => {
      sameTypes(btf, rebuilt(btf, oneByOne, change), [0, btf.endId])
    })

  it("any BTF is the same", () => {
    fc.assert(law(), { numRuns: runs(200) })
  })

  it("BTF of a compiler needs no copies, and strings are held once", () => {
    fc.assert(
      fc.property(Arbitrary.wellFormed(), fc.boolean(), (blob, oneByOne) => {
        const btf = parsed(blob)
        for (let id = 1; id < btf.endId; id++) assert.isTrue(canBuild(Btf.typeOf(btf, id)))
        const again = rebuilt(btf, oneByOne, (editor) => editor)
        assert.isAtMost(again.stringsLength, btf.stringsLength)
        assert.strictEqual(again.typesLength, btf.typesLength)
      }),
      { numRuns: runs(100) }
    )
  })

  it("named fault: the sign of an enum is forgotten", () => {
    refuted(law((editor) => ({ ...editor, addEnum: (name, size, values) => editor.addEnum(name, size, values) })))
  })

  it("named fault: bit fields become whole members", () => {
    refuted(law((editor) => ({
      ...editor,
      addMember: (member) => editor.addMember({ ...member, bitfieldSize: 0, bitOffset: member.bitOffset & ~7 })
    })))
  })

  it("named fault: an attribute becomes a tag", () => {
    refuted(law((editor) => ({ ...editor, addTypeTag: (text, type) => editor.addTypeTag(text, type) })))
  })
})

describe("append", () => {
  type Append = (editor: BtfEditor, other: Btf.Btf) => number

  const append: Append = (editor, other) => expectSuccess(editor.append(other))

  /** Appends with `addType`, references moved by `map`. */
  const oneByOne = (map: (id: number, other: Btf.Btf, shift: number) => number): Append => (editor, other) => {
    const first = editor.nextId
    for (let id = other.firstId; id < other.endId; id++) {
      editor.addType(other, id, (type) => map(type, other, first - other.firstId))
    }
    return first
  }

  /** Two blobs without a base, of any byte order, or two that are split over one. */
  const pairs = fc.oneof(
    fc.tuple(single, single),
    Arbitrary.split().chain(({ base, split }) => {
      const parsedBase = parsed(base)
      return Arbitrary.programs({ maxLength: 4 }).map((program): [Btf.Btf, Btf.Btf] => {
        const other = BtfEdit.make({ base: parsedBase, byteOrder: opposite(parsedBase.byteOrder) })
        expectSuccess(other.append(parsed(Arbitrary.writeProgram(program))))
        return [parsed(split, parsedBase), expectSuccess(other.finish())]
      })
    })
  )

  const finish = (editor: BtfEditor): Btf.Btf => expectSuccess(editor.finish())

  const law = (append: Append, end: (editor: BtfEditor) => Btf.Btf = finish) =>
    fc.property(pairs, ([one, other]) => {
      const editor = BtfEdit.make({ base: one.base })
      assert.strictEqual(append(editor, one), one.firstId)
      assert.strictEqual(append(editor, other), one.endId)
      const whole = end(editor)
      assert.strictEqual(whole.endId - one.endId, other.endId - other.firstId)
      // Split apart again, each half is what it was.
      const shift = one.endId - other.firstId
      sameTypes(one, whole, [0, one.endId])
      sameTypes(other, whole, [0, other.endId], (id) => id < other.firstId ? id : id + shift)
      const again = BtfEdit.make({ base: other.base, byteOrder: other.byteOrder })
      for (let id = one.endId; id < whole.endId; id++) {
        again.addType(whole, id, (type) => type < one.endId ? type : type - shift)
      }
      sameTypes(other, expectSuccess(again.finish()), [0, other.endId])
      const seen = new Set<string>()
      for (const text of ownStrings(whole)) {
        assert.isFalse(seen.has(text), `${JSON.stringify(text)} is there twice`)
        seen.add(text)
      }
    })

  it("keeps both, each string once, and can be taken apart", () => {
    fc.assert(law(append), { numRuns: runs(200) })
  })

  it("is the same as copying type by type", () => {
    const slow = oneByOne((id, other, shift) => id < other.firstId ? id : id + shift)
    fc.assert(law(slow), { numRuns: runs(50) })
    fc.assert(
      fc.property(pairs, ([one, other]) => {
        const bytes = [append, slow].map((append) => {
          const editor = BtfEdit.edit(one)
          append(editor, other)
          return expectSuccess(editor.finish()).bytes
        })
        assert.deepEqual(bytes[0], bytes[1])
      }),
      { numRuns: runs(100) }
    )
  })

  it("named fault: references keep their ids", () => {
    refuted(law(oneByOne((id) => id)))
  })

  it("named fault: void moves with the others", () => {
    refuted(law(oneByOne((id, _other, shift) => id + shift)))
  })

  it("named fault: strings are appended without a look at what is there", () => {
    refuted(law(append, (editor) => {
      const image = imageOf(finish(editor))
      const first = image.strings.indexOf(0, 1) + 1
      const again = image.strings.subarray(image.base === undefined ? 1 : 0, first)
      return expectSuccess(assemble({ ...image, strings: Uint8Array.from([...image.strings, ...again]) }))
    }))
  })

  it("takes damaged blobs, or refuses them and goes on", () => {
    fc.assert(
      fc.property(Arbitrary.hostile, single, (bytes, one) => {
        const other = Btf.parse(bytes)
        if (Result.isFailure(other)) return
        const editor = BtfEdit.edit(one)
        const first = editor.append(other.success)
        if (Result.isFailure(first)) assert.strictEqual(first.failure.reason, "UnknownKind")
        const whole = expectSuccess(editor.finish())
        if (Result.isFailure(first)) assert.deepEqual(whole.bytes, one.bytes)
        else assert.strictEqual(whole.endId, one.endId + other.success.endId - 1)
      }),
      { numRuns: runs(300) }
    )
  })
})

/** The whole strings that a blob holds itself; bytes that are no UTF-8 are kept apart. */
const ownStrings = (btf: Btf.Btf): ReadonlyArray<string> => {
  const area = btf.bytes.subarray(btf.stringsOffset, btf.stringsOffset + btf.stringsLength)
  return Buffer.from(area).toString("latin1").split("\0").slice(btf.base === undefined ? 1 : 0, -1)
}

describe("permute", () => {
  /** A blob, and the new ids of its types in any order. */
  const orders = any.chain((btf) => {
    const own = Array.from({ length: btf.endId - btf.firstId }, (_, index) => btf.firstId + index)
    const kept = Array.from({ length: btf.firstId }, (_, id) => id)
    return fc.shuffledSubarray(own, { minLength: own.length, maxLength: own.length }).map((ids) => ({
      btf,
      map: Uint32Array.from([...kept, ...ids])
    }))
  })

  type Permute = (btf: Btf.Btf, map: Uint32Array) => Btf.Btf

  const permute: Permute = (btf, map) => expectSuccess(BtfPermute.permute(btf, map)).btf

  const law = (permute: Permute) =>
    fc.property(orders, ({ btf, map }) => {
      const moved = permute(btf, map)
      sameTypes(btf, moved, [0, btf.endId], (id) => map[id] ?? 0)
      assert.deepEqual(permute(moved, BtfPermute.inverse(map)).bytes, btf.bytes)
    })

  it("moves every type and reference, and is taken back by the inverse", () => {
    fc.assert(law(permute), { numRuns: runs(200) })
  })

  it("named fault: old ids by new ones are taken for new ids by old ones", () => {
    refuted(law((btf, map) => permute(btf, BtfPermute.inverse(map))))
  })

  it("named fault: references are left alone", () => {
    refuted(law((btf, map) => {
      const back = BtfPermute.inverse(map)
      const editor = BtfEdit.make({ base: btf.base, byteOrder: btf.byteOrder })
      for (let id = btf.firstId; id < btf.endId; id++) editor.addType(btf, back[id] ?? 0)
      return expectSuccess(editor.finish())
    }))
  })

  const nameBytes = (btf: Btf.Btf, id: number): Buffer => Buffer.from(Btf.nameOf(btf, id))

  const found = (btf: Btf.Btf, name: string): ReadonlyArray<number> => {
    const answer = Btf.find(btf, name)
    return answer._tag === "None" ? [] : answer._tag === "One" ? [answer.id] : answer.ids
  }

  const sorting = (sort: typeof BtfPermute.sortByName) =>
    fc.property(any, (btf) => {
      const sorted = expectSuccess(sort(btf))
      sameTypes(btf, sorted.btf, [0, btf.endId], (id) => sorted.map[id] ?? 0)
      const back = BtfPermute.inverse(sorted.map)
      for (let id = btf.firstId + 1; id < btf.endId; id++) {
        const order = Buffer.compare(nameBytes(sorted.btf, id - 1), nameBytes(sorted.btf, id))
        assert.isAtMost(order, 0)
        if (order === 0) assert.isBelow(back[id - 1] ?? 0, back[id] ?? 0)
      }
      assert.deepEqual(permute(sorted.btf, back).bytes, btf.bytes)
      for (let id = btf.firstId; id < btf.endId; id++) {
        const name = Btf.nameOf(btf, id)
        assert.sameMembers([...found(sorted.btf, name)], found(btf, name).map((id) => sorted.map[id] ?? 0))
      }
      assert.deepEqual(expectSuccess(BtfPermute.sortByName(sorted.btf)).btf.bytes, sorted.btf.bytes)
    })

  it("by name keeps the meaning and the order of types of one name", () => {
    fc.assert(sorting(BtfPermute.sortByName), { numRuns: runs(200) })
  })

  it("named fault: anonymous types come last", () => {
    refuted(sorting((btf) => {
      const ids = Array.from({ length: btf.endId - btf.firstId }, (_, index) => btf.firstId + index)
      const key = (id: number): string => Btf.nameOf(btf, id) || "\uffff"
      ids.sort((one, other) => Buffer.compare(Buffer.from(key(one)), Buffer.from(key(other))))
      const map = BtfPermute.inverse([...Array.from({ length: btf.firstId }, (_, id) => id), ...ids])
      return Result.map(BtfPermute.permute(btf, map), (permuted) => ({ ...permuted, map }))
    }))
  })
})

describe("permute of hostile blobs", () => {
  it("gives a value or a tagged error", () => {
    fc.assert(
      fc.property(Arbitrary.hostile, (bytes) => {
        const btf = Btf.parse(bytes)
        if (Result.isFailure(btf)) return
        const sorted = BtfPermute.sortByName(btf.success)
        if (Result.isFailure(sorted)) assert.include(["UnknownKind", "ReadOnly"], sorted.failure.reason)
        else assert.strictEqual(sorted.success.btf.endId, btf.success.endId)
      }),
      { numRuns: runs(300) }
    )
  })
})

describe("string table", () => {
  // Few bytes make equal strings, tails and strings that differ in their last byte likely.
  const text = fc.array(fc.constantFrom(0x61, 0x62, 0xff), { maxLength: 4 }).map((bytes) => Uint8Array.from(bytes))

  const law = (make: typeof BtfStrings.make) =>
    fc.property(fc.array(text), fc.array(text), fc.array(text), (inBase, initial, added) => {
      const baseTable = BtfStrings.make()
      for (const bytes of inBase) baseTable.add(bytes, 0, bytes.length)
      const base = expectSuccess(Btf.parse(emptyBlob(baseTable.content())))
      const table = make({ base, initial: Uint8Array.from(initial.flatMap((bytes) => [...bytes, 0])) })
      const offsets = new Map<string, number>()
      const note = (bytes: Uint8Array, at: number): number => {
        const key = bytes.join()
        const known = offsets.get(key)
        if (known === undefined) offsets.set(key, at)
        return known ?? at
      }
      note(new Uint8Array(0), 0)
      for (const bytes of inBase) note(bytes, baseTable.add(bytes, 0, bytes.length))
      let at = baseTable.length
      for (const bytes of initial) {
        note(bytes, at)
        at += bytes.length + 1
      }
      for (const bytes of added) {
        assert.strictEqual(table.find(bytes, 0, bytes.length), offsets.get(bytes.join()))
        const offset = table.add(bytes, 0, bytes.length)
        const expected = note(bytes, at)
        assert.strictEqual(offset, expected)
        if (expected === at) at += bytes.length + 1
        assert.strictEqual(table.length, at - baseTable.length)
      }
    })

  it("holds each string once, after those of the base", () => {
    fc.assert(law(BtfStrings.make), { numRuns: runs(500) })
  })

  it("named fault: the base's strings are not looked at", () => {
    refuted(law((options) => {
      const base = options?.base
      const own = BtfStrings.make({ initial: options?.initial })
      const start = base === undefined ? 0 : base.stringsLength
      const add: BtfStrings.StringTable["add"] = (...args) => own.add(...args) + start
      return { ...BtfStrings.make(options), add }
    }))
  })

  it("named fault: a tail counts as a string", () => {
    refuted(law((options) => {
      const table = BtfStrings.make(options)
      const add: BtfStrings.StringTable["add"] = (bytes, start, end) => {
        const at = Buffer.from(table.content()).indexOf(Buffer.from([...bytes.subarray(start, end), 0]))
        const own = options?.base?.stringsLength ?? 0
        return at < 0 || end === start ? table.add(bytes, start, end) : own + at
      }
      return { ...table, add }
    }))
  })
})

/** A blob without types. */
const emptyBlob = (strings: Uint8Array): Uint8Array =>
  BtfEncode.writeBlob({
    byteOrder: "little",
    headerLength: 24,
    types: new Uint8Array(0),
    layout: new Uint8Array(0),
    strings
  })
