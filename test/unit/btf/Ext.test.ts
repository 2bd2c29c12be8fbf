import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../src/btf/Btf.ts"
import type { BtfErrorReason } from "../../../src/btf/Btf.ts"
import * as BtfExt from "../../../src/btf/BtfExt.ts"
import { allFixtures, fixture } from "../../support/Require.ts"
import {
  btfOf,
  elfSection,
  expectFailure,
  expectSuccess,
  func,
  funcProto,
  int
} from "../../support/arbitrary/BtfBlob.ts"
import type { Order } from "../../support/arbitrary/BtfBlob.ts"

const btf = btfOf([int("int", 4), funcProto(0, []), func("main", 2, 1)], {
  moreStrings: ["xdp", "kprobe/f", "a.c", "return 0;", "0:1"]
})

const strings = (of: Btf.Btf): string =>
  new TextDecoder().decode(of.bytes.subarray(of.stringsOffset, of.stringsOffset + of.stringsLength))

/** String offset of a text of the blob. */
const at = (text: string): number => strings(btf).indexOf(`\0${text}\0`) + 1

/** A segment: record size, then blocks. */
const segment = (
  recordSize: number,
  ...blocks: ReadonlyArray<readonly [section: number, count: number, ...ReadonlyArray<number>]>
) => [
  recordSize,
  ...blocks.flat()
]

interface Options {
  readonly order?: Order
  readonly header?: number
}

const section = (
  segments: ReadonlyArray<ReadonlyArray<number>>,
  { header = 32, order = "little" }: Options = {}
): Uint8Array => {
  const little = order === "little"
  const words = segments.flat()
  const bytes = new Uint8Array(header + words.length * 4)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, 0xeb9f, little)
  view.setUint8(2, 1)
  view.setUint32(4, header, little)
  let offset = 0
  for (const [index, part] of segments.entries()) {
    if (8 + index * 8 + 8 > header) break
    view.setUint32(8 + index * 8, offset, little)
    view.setUint32(12 + index * 8, part.length * 4, little)
    offset += part.length * 4
  }
  for (const [index, word] of words.entries()) view.setUint32(header + index * 4, word, little)
  return bytes
}

const functions = segment(8, [at("xdp"), 2, 0, 3, 16, 3], [at("kprobe/f"), 1, 8, 3])
const lines = segment(16, [at("xdp"), 1, 8, at("a.c"), at("return 0;"), (17 << 10) | 5])
const relocations = segment(20, [at("xdp"), 2, 0, 1, at("0:1"), 0, 7, 24, 1, at("0:1"), 5, 7])

describe("parse", () => {
  for (const order of ["little", "big"] as const) {
    it(`reads the three segments, ${order}`, () => {
      const ext = expectSuccess(BtfExt.parse(section([functions, lines, relocations], { order }), btf))
      assert.strictEqual(ext.byteOrder, order)
      assert.deepEqual(ext.funcInfo?.sections.map(({ count, section }) => [section, count]), [["xdp", 2], [
        "kprobe/f",
        1
      ]])
      const [xdp, kprobe] = ext.funcInfo?.sections ?? []
      if (xdp === undefined || kprobe === undefined) throw new Error("no sections")
      assert.strictEqual(ext.funcInfo?.recordSize, 8)
      assert.strictEqual(xdp.records.length, 16)
      assert.deepEqual(BtfExt.funcInfoAt(ext, xdp, 1), { insnOffset: 16, typeId: 3 })
      assert.deepEqual(BtfExt.funcInfoAt(ext, kprobe, 0), { insnOffset: 8, typeId: 3 })
      assert.deepEqual(BtfExt.funcInfoAt(ext, kprobe, 1), { insnOffset: 0, typeId: 0 })
      const [line] = ext.lineInfo?.sections ?? []
      if (line === undefined) throw new Error("no lines")
      assert.deepEqual(BtfExt.lineInfoAt(ext, line, 0), {
        insnOffset: 8,
        fileName: "a.c",
        line: "return 0;",
        lineNumber: 17,
        column: 5
      })
      // Records may be longer than what is known of them.
      const [relocation] = ext.coreRelocations?.sections ?? []
      if (relocation === undefined) throw new Error("no relocations")
      assert.strictEqual(ext.coreRelocations?.recordSize, 20)
      assert.deepEqual(BtfExt.coreRelocationAt(ext, relocation, 1), {
        insnOffset: 24,
        typeId: 1,
        accessString: "0:1",
        kind: 5
      })
    })
  }

  it("takes absent segments and a header without relocations", () => {
    const ext = expectSuccess(BtfExt.parse(section([functions, [], []]), btf))
    assert.isUndefined(ext.lineInfo)
    assert.isUndefined(ext.coreRelocations)
    const short = expectSuccess(BtfExt.parse(section([functions, lines], { header: 24 }), btf))
    assert.isUndefined(short.coreRelocations)
    assert.isDefined(short.lineInfo)
  })

  it("reads strings that do not exist as empty, and any type id", () => {
    const ext = expectSuccess(BtfExt.parse(section([[], segment(16, [at("xdp"), 1, 0, 9999, 9999, 0])]), btf))
    const [line] = ext.lineInfo?.sections ?? []
    if (line === undefined) throw new Error("no lines")
    const { fileName, line: text } = BtfExt.lineInfoAt(ext, line, 0)
    assert.deepEqual([fileName, text], ["", ""])
  })

  const refuses = (bytes: Uint8Array, reason: BtfErrorReason): void => {
    const error = expectFailure(BtfExt.parse(bytes, btf))
    assert.strictEqual(error.reason, reason, error.message)
  }
  const patched = (patch: (view: DataView) => void): Uint8Array => {
    const bytes = section([functions, lines, relocations])
    patch(new DataView(bytes.buffer))
    return bytes
  }

  it("refuses a header that is wrong", () => {
    const whole = section([functions, lines, relocations])
    for (let length = 0; length <= 32; length++) refuses(whole.subarray(0, length), "Truncated")
    refuses(patched((view) => view.setUint16(0, 0x1234)), "BadMagic")
    refuses(patched((view) => view.setUint8(2, 2)), "BadVersion")
    refuses(patched((view) => view.setUint8(3, 1)), "BadFlags")
    refuses(patched((view) => view.setUint32(4, 23, true)), "BadHeader")
    refuses(patched((view) => view.setUint32(4, whole.length, true)), "Truncated")
  })

  it("refuses segments that are wrong", () => {
    refuses(patched((view) => view.setUint32(8, 2, true)), "BadSection")
    refuses(patched((view) => view.setUint32(8, 0xffff_fffc, true)), "BadSection")
    refuses(patched((view) => view.setUint32(12, 0xffff_ffff, true)), "BadSection")
    refuses(patched((view) => view.setUint32(12, 3, true)), "Truncated")
    refuses(section([segment(4, [at("xdp"), 1, 0])]), "BadRecords")
    refuses(section([segment(10, [at("xdp"), 1, 0, 0, 0])]), "BadRecords")
    refuses(section([segment(0xffff_fffc, [at("xdp"), 1, 0, 0, 0])]), "Truncated")
    refuses(section([segment(8)]), "BadRecords")
    refuses(section([segment(8, [at("xdp"), 0])]), "BadRecords")
    refuses(section([[8, at("xdp")]]), "Truncated")
    refuses(section([segment(8, [at("xdp"), 2, 0, 0])]), "Truncated")
    // A count whose product with the size overflows 32 bits.
    refuses(section([segment(8, [at("xdp"), 0x2000_0001, 0, 0])]), "Truncated")
    refuses(section([segment(8, [9999, 1, 0, 0])]), "BadString")
  })

  it("refuses records that share long strings too often", () => {
    const long = "x".repeat(1 << 20)
    const other = btfOf([int("int", 4)], { moreStrings: [long] })
    const many = (count: number) =>
      segment(16, [0, count, ...Array.from({ length: count * 4 }, (_, word) => word % 4 === 2 ? 10 : 0)])
    assert.strictEqual(expectFailure(BtfExt.parse(section([[], many(100)]), other)).reason, "NamesTooLong")
    assert.isDefined(expectSuccess(BtfExt.parse(section([[], many(1)]), other)).lineInfo)
  })
})

/** What is visited: values by offset in the encoded section. */
const visited = (
  visit: (ext: BtfExt.BtfExt, each: (offset: number, value: number) => void) => void,
  ext: BtfExt.BtfExt
): ReadonlyArray<readonly [offset: number, value: number]> => {
  const words: Array<readonly [number, number]> = []
  visit(ext, (offset, value) => words.push([offset, value]))
  return words
}

describe("the visitors", () => {
  const ext = expectSuccess(BtfExt.parse(section([functions, lines, relocations]), btf))

  it("visit each reference once, by its offset in the encoded section", () => {
    // Header 32; functions: size, [name, count, 2 * 2 words], [name, count, 2 words].
    assert.deepEqual(visited(BtfExt.forEachTypeId, ext), [[48, 3], [56, 3], [72, 3], [120, 1], [140, 1]])
    assert.deepEqual(visited(BtfExt.forEachString, ext), [
      [36, at("xdp")],
      [60, at("kprobe/f")],
      [80, at("xdp")],
      [92, at("a.c")],
      [96, at("return 0;")],
      [108, at("xdp")],
      [124, at("0:1")],
      [144, at("0:1")]
    ])
  })

  for (const order of ["little", "big"] as const) {
    it(`read what encode writes, ${order}`, () => {
      const bytes = BtfExt.encode(ext, order)
      const view = new DataView(bytes.buffer)
      for (const [offset, value] of [...visited(BtfExt.forEachTypeId, ext), ...visited(BtfExt.forEachString, ext)]) {
        assert.strictEqual(view.getUint32(offset, order === "little"), value)
      }
    })
  }
})

describe("encode", () => {
  for (const order of ["little", "big"] as const) {
    for (const segments of [[functions, lines, relocations], [functions, [], relocations], [[], lines, []]]) {
      it(`gives canonical sections back and swaps them, ${order}, ${segments.map((words) => words.length).join(" ")} words`, () => {
        const bytes = section(segments, { order })
        const other = order === "little" ? "big" : "little"
        const ext = expectSuccess(BtfExt.parse(bytes, btf))
        assert.deepEqual(BtfExt.encode(ext), bytes)
        const swapped = BtfExt.encode(ext, other)
        assert.deepEqual(swapped, section(segments, { order: other }))
        assert.deepEqual(BtfExt.encode(expectSuccess(BtfExt.parse(swapped, btf)), order), bytes)
      })
    }
  }

  it("keeps the header's length", () => {
    for (const header of [24, 32, 40]) {
      const bytes = section([functions, lines, []].slice(0, header === 24 ? 2 : 3), { header })
      assert.deepEqual(BtfExt.encode(expectSuccess(BtfExt.parse(bytes, btf))), bytes)
    }
  })

  it("closes gaps and puts segments in order", () => {
    const words = [lines, [0xdead], functions].flat()
    const bytes = new Uint8Array(24 + words.length * 4)
    const view = new DataView(bytes.buffer)
    bytes.set(section([functions, lines], { header: 24 }).subarray(0, 8))
    view.setUint32(8, (lines.length + 1) * 4, true)
    view.setUint32(12, functions.length * 4, true)
    view.setUint32(16, 0, true)
    view.setUint32(20, lines.length * 4, true)
    for (const [index, word] of words.entries()) view.setUint32(24 + index * 4, word, true)
    const ext = expectSuccess(BtfExt.parse(bytes, btf))
    assert.deepEqual(BtfExt.encode(ext), section([functions, lines], { header: 24 }))
  })

  it("makes room for relocations in a header that had none", () => {
    const short = expectSuccess(BtfExt.parse(section([functions, lines], { header: 24 }), btf))
    const { coreRelocations } = expectSuccess(BtfExt.parse(section([functions, lines, relocations]), btf))
    assert.deepEqual(BtfExt.encode({ ...short, coreRelocations }), section([functions, lines, relocations]))
  })

  it("gives what clang wrote back", () => {
    let count = 0
    for (const name of allFixtures()) {
      const elf = fixture(name)
      const bytes = elfSection(elf, ".BTF.ext")
      assert.deepEqual(
        BtfExt.encode(expectSuccess(BtfExt.parse(bytes, expectSuccess(Btf.parse(elfSection(elf, ".BTF")))))),
        bytes,
        name
      )
      count++
    }
    assert.isAbove(count, 20)
  })
})

describe("remap", () => {
  // The same types two ids later, the same strings in another order.
  const moved = btfOf([int("long", 8), int("char", 1), int("int", 4), funcProto(0, []), func("main", 4, 1)], {
    moreStrings: ["0:1", "return 0;", "a.c", "kprobe/f", "xdp"]
  })
  const movedAt = (old: number): number => {
    const text = strings(btf).slice(old).split("\0", 1)[0] ?? ""
    return strings(moved).indexOf(`\0${text}\0`) + 1
  }

  for (const order of ["little", "big"] as const) {
    it(`renames every reference and nothing else, ${order}`, () => {
      const ext = expectSuccess(BtfExt.parse(section([functions, lines, relocations], { order }), btf))
      const result = expectSuccess(BtfExt.remap(ext, moved, (id) => id + 2, movedAt))
      const to = (text: string) => movedAt(at(text))
      assert.deepEqual(
        BtfExt.encode(result),
        section([
          segment(8, [to("xdp"), 2, 0, 5, 16, 5], [to("kprobe/f"), 1, 8, 5]),
          segment(16, [to("xdp"), 1, 8, to("a.c"), to("return 0;"), (17 << 10) | 5]),
          segment(20, [to("xdp"), 2, 0, 3, to("0:1"), 0, 7, 24, 3, to("0:1"), 5, 7])
        ], { order })
      )
      assert.strictEqual(result.btf, moved)
      assert.deepEqual(result.lineInfo?.sections.map(({ section: name }) => name), ["xdp"])
    })
  }

  it("leaves void and the empty string where they are", () => {
    const bytes = section([[], segment(16, [0, 1, 8, 0, 0, 0]), segment(16, [0, 1, 0, 0, 0, 0])])
    const ext = expectSuccess(BtfExt.parse(bytes, btf))
    const asked = (old: number): number => assert.fail(`${old} was asked for`)
    assert.deepEqual(BtfExt.encode(expectSuccess(BtfExt.remap(ext, moved, asked, asked))), bytes)
  })

  it("has nothing to do for a section without segments", () => {
    const ext = expectSuccess(BtfExt.parse(new Uint8Array([...section([[], [], []]), 1, 2, 3, 4]), btf))
    const result = expectSuccess(BtfExt.remap(ext, moved, (id) => id, (offset) => offset))
    assert.strictEqual(result.btf, moved)
    assert.deepEqual(BtfExt.encode(result), section([[], [], []]))
  })

  it("refuses references to nothing, old or new, and headers that it cannot keep", () => {
    const one = (
      record: ReadonlyArray<number>,
      bytes: Uint8Array = section([[], [], segment(16, [0, 1, ...record])])
    ) => expectSuccess(BtfExt.parse(bytes, btf))
    const fails = (
      ext: BtfExt.BtfExt,
      reason: BtfErrorReason,
      typeId = (id: number) => id,
      string = (old: number) => old
    ) => {
      const error = expectFailure(BtfExt.remap(ext, btf, typeId, string))
      assert.strictEqual(error.reason, reason, error.message)
    }
    const text = at("0:1")
    fails(one([0, 4, text, 0]), "BadTypeId")
    fails(one([0, 1, 9999, 0]), "BadString")
    for (const bad of [4, -1, 0.5, Number.NaN]) fails(one([0, 1, text, 0]), "BadTypeId", () => bad)
    for (const bad of [9999, -1, 0.5, Number.NaN]) fails(one([0, 1, text, 0]), "BadString", undefined, () => bad)
    const unknown = section([functions, lines], { header: 40 })
    unknown[36] = 1
    fails(one([], unknown), "ReadOnly")
  })
})
