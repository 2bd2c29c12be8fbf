import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../src/btf/BtfEdit.ts"
import {
  array,
  blob,
  btfOf,
  canonicalLayout,
  constant,
  datasec,
  enumeration,
  everyKind,
  expectSuccess,
  fwd,
  func,
  funcProto,
  int,
  ptr,
  refuses,
  struct,
  typedef,
  variable
} from "../../support/arbitrary/BtfBlob.ts"
import type { Order, Rec } from "../../support/arbitrary/BtfBlob.ts"

const orders: ReadonlyArray<Order> = ["little", "big"]

/** The bytes with one 32-bit word of the header, or another, replaced. */
const withWord = (bytes: Uint8Array, at: number, value: number): Uint8Array => {
  const copy = bytes.slice()
  new DataView(copy.buffer).setUint32(at, value, true)
  return copy
}

const plain = blob([int("int", 4, 1), ptr(1)])

describe("header", () => {
  it("is read in both byte orders", () => {
    for (const order of orders) {
      const btf = btfOf(everyKind, { order })
      assert.strictEqual(btf.byteOrder, order)
      assert.strictEqual(btf.headerLength, 24)
      assert.strictEqual(btf.firstId, 1)
      assert.strictEqual(btf.endId, 20)
      assert.strictEqual(btf.offsets.length, 19)
    }
  })

  it("is refused where it is cut off", () => {
    for (let length = 0; length < plain.length; length++) {
      const error = refuses(plain.subarray(0, length), length < 24 ? "Truncated" : "BadSection")
      assert.include(error.message, "BTF: ")
    }
  })

  it("is refused for each field that is wrong", () => {
    refuses(withWord(plain, 0, 0x0001_eb9e), "BadMagic")
    refuses(blob([], { version: 2 }), "BadVersion")
    refuses(blob([], { flags: 3 }), "BadFlags")
    // libbpf reads the fields that a short header leaves out as zeros, and so accepts an empty split BTF.
    for (const length of [0, 8, 12, 20, 23]) refuses(withWord(plain, 4, length), "BadHeader")
    refuses(withWord(plain, 4, 0x1000), "Truncated")
    refuses(withWord(plain, 4, 0xffff_ffff), "Truncated")
  })

  it("is refused where an area lies outside, overlaps or is misaligned", () => {
    refuses(withWord(plain, 8, 2), "BadSection")
    refuses(withWord(plain, 8, 0xffff_fffc), "BadSection")
    refuses(withWord(plain, 12, 0xffff_fffc), "BadSection")
    refuses(withWord(plain, 12, 1000), "BadSection")
    refuses(withWord(plain, 16, 0), "BadSection")
    refuses(withWord(plain, 16, 0xffff_ffff), "BadSection")
    refuses(withWord(plain, 20, 1000), "BadSection")
    const laidOut = blob([int("int", 4, 1)], { layout: canonicalLayout })
    assert.strictEqual(expectSuccess(Btf.parse(laidOut)).layoutLength, 80)
    refuses(withWord(laidOut, 24, 18), "BadSection")
    refuses(withWord(laidOut, 24, 12), "BadSection")
    refuses(withWord(laidOut, 24, 20), "BadSection")
    refuses(withWord(laidOut, 28, 82), "BadSection")
    // Without a length nothing looks at the offset.
    assert.strictEqual(expectSuccess(Btf.parse(withWord(withWord(laidOut, 24, 3), 28, 0))).layoutLength, 0)
  })

  it("may be longer, and gaps and trailing bytes are ignored", () => {
    const gapped = expectSuccess(Btf.parse(blob(everyKind, { headerLength: 36, gaps: [8, 3, 5] })))
    assert.strictEqual(gapped.headerLength, 36)
    assert.strictEqual(Btf.nameOf(gapped, 4), "event")
    assert.isFalse(gapped.internal.unknownHeader)
    assert.isTrue(expectSuccess(Btf.parse(blob([], { headerLength: 36, headerExtra: 1 }))).internal.unknownHeader)
    // A header whose length is odd puts every record at an odd address.
    const odd = expectSuccess(Btf.parse(blob(everyKind, { headerLength: 33 })))
    assert.strictEqual(Btf.nameOf(odd, 14), "counter")
  })
})

describe("strings", () => {
  const strings = (...bytes: ReadonlyArray<number>) => blob([], { strings: Uint8Array.from(bytes) })

  it("must be delimited by NULs", () => {
    refuses(strings(), "BadStrings")
    refuses(strings(0, 65), "BadStrings")
    assert.include(refuses(strings(65, 0), "BadStrings").message, "base BTF")
    assert.strictEqual(Btf.stringAt(expectSuccess(Btf.parse(strings(0, 65, 0))), 1), "A")
  })

  it("are found from any byte of theirs, and nowhere else", () => {
    const btf = btfOf([], { moreStrings: ["shared", "ünïcode", "\ufeffmark"] })
    assert.strictEqual(Btf.stringAt(btf, 0), "")
    assert.strictEqual(Btf.stringAt(btf, 1), "shared")
    assert.strictEqual(Btf.stringAt(btf, 4), "red")
    assert.strictEqual(Btf.stringAt(btf, 7), "")
    assert.strictEqual(Btf.stringAt(btf, 8), "ünïcode")
    assert.strictEqual(Btf.stringAt(btf, 18), "\ufeffmark")
    for (const offset of [btf.stringsLength, 0xffff_ffff, -1, NaN]) assert.isUndefined(Btf.stringAt(btf, offset))
  })

  it("are decoded whole when they are long", () => {
    for (const length of [255, 256, 257, 5000]) {
      const text = "x".repeat(length)
      assert.strictEqual(Btf.stringAt(btfOf([], { moreStrings: [text, "next"] }), 1), text)
    }
  })

  it("may not be shared so often that the names outgrow memory", () => {
    const long = "n".repeat(1 << 20)
    const members = Array.from({ length: 4000 }, (_, index) => [index === 0 ? long : "", 1, 0] as const)
    const type: Rec = struct("s", 4, members)
    // Each member's name is a tail of one long string.
    const shared: Rec = { ...type, rest: (type.rest ?? []).map((word, at) => at % 3 === 0 ? 5 + at : word) }
    refuses(blob([int("int", 4), shared], { moreStrings: [long] }), "NamesTooLong")
    // One type may well have a long name.
    assert.strictEqual(Btf.nameOf(btfOf([int("int", 4), typedef(long, 1)]), 2).length, 1 << 20)
  })
})

describe("types", () => {
  it("must end with the area", () => {
    for (const left of [1, 4, 11]) {
      const whole = blob([int("int", 4, 1)])
      const error = refuses(withWord(whole, 12, 16 - left), "Truncated")
      assert.isTrue(error.typeId === undefined || error.typeId === 1)
    }
    assert.strictEqual(refuses(blob([int("int", 4), { kind: 4, vlen: 1 }]), "Truncated").typeId, 2)
    // 24 bits of members times twelve bytes each.
    refuses(blob([{ kind: 4, vlen: 0xff_ffff }]), "Truncated")
    assert.strictEqual(refuses(blob([int("int", 4), { kind: 3, rest: [1, 1] }]), "Truncated").offset, 40)
  })

  it("of an unknown kind need a layout area that describes them", () => {
    for (const order of orders) {
      const types: ReadonlyArray<Rec> = [int("int", 4, 1), {
        name: "odd",
        kind: 25,
        vlen: 2,
        word: 7,
        rest: [1, 2, 3, 4, 5]
      }]
      const layout = [...canonicalLayout, ...Array.from({ length: 5 }, () => [0, 0] as const), [4, 8] as const]
      refuses(blob(types, { order }), "UnknownKind")
      refuses(blob(types, { order, layout: layout.slice(0, 25) }), "UnknownKind")
      refuses(blob(types, { order, layout: [...layout.slice(0, 25), [3, 8]] }), "UnknownKind")
      refuses(blob(types, { order, layout: [...layout.slice(0, 25), [4, 6]] }), "UnknownKind")
      refuses(blob(types, { order, layout: [...layout.slice(0, 25), [8, 8]] }), "Truncated")
      const btf = btfOf(types, { order, layout })
      assert.deepEqual(Btf.typeOf(btf, 2), {
        _tag: "Unknown",
        id: 2,
        name: "odd",
        kind: 25,
        vlen: 2,
        kflag: false,
        sizeOrType: 7
      })
      // Split BTF without a layout of its own takes the base's.
      const split = btfOf([{ kind: 25, vlen: 1, rest: [1, 2, 3] }, ptr(2)], { order, base: btf })
      assert.strictEqual(Btf.kindOf(split, 3), 25)
      assert.strictEqual(Btf.sizeOrTypeOf(split, 4), 2)
    }
  })

  it("of kind 0 exist only where a layout area says so", () => {
    const types = [{ kind: 0, word: 9 }, ptr(1)]
    assert.include(refuses(blob(types), "UnknownKind").message, "kind 0")
    assert.strictEqual(Btf.kindOf(btfOf(types, { layout: canonicalLayout }), 1), 0)
  })

  it("have the size of their kind whatever a layout area says", () => {
    const layout = canonicalLayout.map(() => [8, 4] as const)
    assert.strictEqual(btfOf(everyKind, { layout }).endId, 20)
  })

  it("have up to 24 bits of elements", () => {
    const values = Array.from({ length: 70_000 }, (_, index) => [`V${index}`, index] as const)
    const btf = btfOf([enumeration("many", 4, false, values), int("int", 4)])
    assert.strictEqual(Btf.vlenOf(btf, 1), 70_000)
    assert.strictEqual(Btf.nameOf(btf, 2), "int")
  })

  it("refer to strings and types that exist", () => {
    const check = (types: ReadonlyArray<Rec>, reason: Btf.BtfErrorReason, typeId: number): void => {
      for (const order of orders) {
        const error = refuses(blob(types, { order }), reason)
        assert.strictEqual(error.typeId, typeId, error.message)
        assert.isDefined(error.offset)
        assert.isDefined(error.hint)
      }
    }
    const bad = 99
    check([{ kind: 2, nameOffset: 500 }], "BadString", 1)
    check([int("int", 4), { kind: 4, vlen: 2, rest: [0, 1, 0, 500, 1, 0] }], "BadString", 2)
    check([{ kind: 6, vlen: 1, rest: [500, 0] }], "BadString", 1)
    check([{ kind: 13, vlen: 1, rest: [500, 0] }], "BadString", 1)
    check([{ kind: 19, vlen: 1, rest: [500, 0, 0] }], "BadString", 1)
    for (const kind of [2, 8, 9, 10, 11, 18]) check([{ kind, word: bad }], "BadTypeId", 1)
    for (const kind of [14, 17]) check([{ kind, word: bad, rest: [0] }], "BadTypeId", 1)
    check([array(bad, 1, 1)], "BadTypeId", 1)
    check([array(1, bad, 1)], "BadTypeId", 1)
    check([int("int", 4), struct("s", 4, [["a", 1, 0], ["b", bad, 0]])], "BadTypeId", 2)
    check([datasec(".data", 4, [[bad, 0, 4]])], "BadTypeId", 1)
    check([funcProto(0, [["a", bad]])], "BadTypeId", 1)
    // libbpf does not check what a prototype returns, and dereferences NULL when it gets there.
    check([funcProto(bad, [])], "BadTypeId", 1)
    check([{ kind: 12, word: bad }], "BadTypeId", 1)
    check([ptr(2)], "BadTypeId", 1)
  })

  it("of a FUNC are prototypes", () => {
    for (const proto of [0, 1]) {
      const error = refuses(blob([int("int", 4), { name: "f", kind: 12, word: proto }]), "WrongKind")
      assert.strictEqual(error.typeId, 2)
    }
    // Forward references are fine.
    assert.strictEqual(btfOf([func("f", 2, 0), funcProto(0, [])]).endId, 3)
  })

  it("may be none at all", () => {
    const btf = btfOf([])
    assert.strictEqual(btf.endId, 1)
    assert.deepEqual(Btf.typeOf(btf, 0), { _tag: "Void", id: 0 })
    assert.deepEqual(Btf.find(btf, "x"), { _tag: "None" })
  })
})

describe("split", () => {
  for (const order of orders) {
    const base = btfOf(everyKind, { order })
    const split = btfOf([constant(4), typedef("own", 20), fwd("event", false)], { base, order })

    it(`continues ids and strings of its base, ${order}`, () => {
      assert.strictEqual(split.firstId, 20)
      assert.strictEqual(split.endId, 23)
      assert.strictEqual(Btf.nameOf(split, 4), "event")
      assert.strictEqual(Btf.nameOf(split, 21), "own")
      assert.strictEqual(Btf.kindOf(split, 20), 10)
      assert.strictEqual(Btf.kindOf(base, 20), 0)
      assert.strictEqual(Btf.resolveType(split, 21), 4)
      assert.deepEqual(Btf.find(split, "event"), { _tag: "Ambiguous", ids: [4, 22] })
      assert.deepEqual(Btf.find(split, "event", 7), { _tag: "One", id: 22 })
      assert.strictEqual(Btf.findOne(split, "event"), 4)
      assert.strictEqual(Btf.findOne(split, "own"), 21)
      assert.isUndefined(Btf.findOne(base, "own"))
    })

    it(`can be split again, and have no strings of its own, ${order}`, () => {
      const third = btfOf([{ kind: 8, nameOffset: split.stringsStart, word: 21 }], {
        base: split,
        order,
        strings: new Uint8Array(0)
      })
      assert.strictEqual(Btf.nameOf(third, 23), "own")
      assert.strictEqual(Btf.resolveType(third, 23), 4)
      assert.strictEqual(Btf.typeName(third, 20), "const struct event")
      assert.strictEqual(Btf.findOne(third, "own"), 21)
      assert.deepEqual(Btf.find(third, "own"), { _tag: "Ambiguous", ids: [21, 23] })
    })
  }

  it("may have another byte order than its base", () => {
    const split = btfOf([ptr(4)], { base: btfOf(everyKind, { order: "big" }), order: "little" })
    assert.strictEqual(Btf.typeName(split, 20), "struct event *")
  })

  it("needs its base", () => {
    const base = btfOf(everyKind)
    const bytes = blob([typedef("own", 4)], { stringsStart: base.stringsLength })
    assert.include(refuses(bytes, "BadStrings").message, "base BTF")
    refuses(blob([ptr(1000)], { stringsStart: base.stringsLength }), "BadTypeId", base)
  })
})

it("reads in place: a blob inside a larger buffer, at an odd address", () => {
  const bytes = blob(everyKind)
  const larger = new Uint8Array(bytes.length + 64).fill(0xff)
  larger.set(bytes, 7)
  const btf = expectSuccess(Btf.parse(larger.subarray(7, 7 + bytes.length)))
  const alone = expectSuccess(Btf.parse(bytes))
  for (let id = 0; id < alone.endId; id++) assert.deepEqual(Btf.typeOf(btf, id), Btf.typeOf(alone, id))
  assert.isUndefined(Btf.stringAt(btf, btf.stringsLength))
})

it("survives a structured clone: a Btf is plain data", () => {
  const btf = structuredClone(btfOf(everyKind))
  assert.strictEqual(Btf.findOne(btf, "event"), 4)
  assert.strictEqual(Btf.typeName(btf, 11), "struct event *restrict")
})

describe("Node's buffers", () => {
  it("are bytes like any other: an edit leaves them as they were", () => {
    const buffer = Buffer.from(blob([int("int", 4, 1), variable("v", 1, 0)]))
    const before = new Uint8Array(buffer).slice()
    const btf = expectSuccess(Btf.parse(buffer))
    const editor = BtfEdit.edit(btf)
    editor.setVarLinkage(2, 1)
    assert.notDeepEqual(expectSuccess(editor.finish()).bytes, before)
    assert.deepStrictEqual(new Uint8Array(buffer), before)
    assert.strictEqual(btf.bytes.buffer, buffer.buffer, "not copied")
  })
})
