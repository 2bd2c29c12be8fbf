import { assert, describe, it } from "@effect/vitest"
import type { BtfErrorReason } from "../../../src/btf/Btf.ts"
import * as BtfExt from "../../../src/btf/BtfExt.ts"
import { btfOf, expectFailure, expectSuccess, func, funcProto, int } from "./Blob.ts"
import type { Order } from "./Blob.ts"

const btf = btfOf([int("int", 4), funcProto(0, []), func("main", 2, 1)], {
  moreStrings: ["xdp", "kprobe/f", "a.c", "return 0;", "0:1"]
})

/** String offset of a text of the blob. */
const at = (text: string): number => {
  const strings = new TextDecoder().decode(btf.bytes.subarray(btf.stringsOffset, btf.stringsOffset + btf.stringsLength))
  return strings.indexOf(`\0${text}\0`) + 1
}

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
