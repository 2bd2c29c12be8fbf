import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as BtfExt from "../../src/btf/BtfExt.ts"
import { damage, damages, order } from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { runs } from "../support/Require.ts"

const btf = B.btfOf([B.int("int", 4), B.funcProto(0, []), B.func("main", 2, 1)], {
  moreStrings: ["xdp", "kprobe/f", "a.c", "return 0;", "0:1"]
})
const strings = btf.stringsLength

/** The fields of a record after the instruction's offset: type ids, string offsets, and others. */
type Field = "type" | "string" | "other"

const shapes = {
  functions: ["type"],
  lines: ["string", "string", "other"],
  relocations: ["type", "string", "other"]
} as const

const fields: Readonly<Record<Field, fc.Arbitrary<number>>> = {
  type: fc.nat(3),
  string: fc.nat(strings - 1),
  other: fc.integer({ min: 0, max: 0xffff_ffff })
}

/** A segment as words: record size, then blocks. Some records are longer than what is known of them. */
const segment = (shape: ReadonlyArray<Field>): fc.Arbitrary<ReadonlyArray<number>> =>
  fc.nat(2).chain((more) => {
    const words = [...shape.map((field) => fields[field]), ...Array.from({ length: more }, () => fields.other)]
    const record: fc.Arbitrary<ReadonlyArray<number>> = fc.tuple(fields.other, ...words)
    const block = fc.tuple(fields.string, fc.array(record, { minLength: 1, maxLength: 3 })).map(([name, records]) => [
      name,
      records.length,
      ...records.flat()
    ])
    const size = (1 + words.length) * 4
    return fc.array(block, { maxLength: 3 }).map((blocks) => blocks.length === 0 ? [] : [size, ...blocks.flat()])
  })

/** The bytes of a section. */
const write = (segments: ReadonlyArray<ReadonlyArray<number>>, header: number, order: B.Order): Uint8Array => {
  const little = order === "little"
  const words = segments.flat()
  const bytes = new Uint8Array(header + words.length * 4)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, 0xeb9f, little)
  view.setUint8(2, 1)
  view.setUint32(4, header, little)
  let offset = 0
  for (const [index, part] of segments.entries()) {
    view.setUint32(8 + index * 8, offset, little)
    view.setUint32(12 + index * 8, part.length * 4, little)
    offset += part.length * 4
  }
  for (const [index, word] of words.entries()) view.setUint32(header + index * 4, word, little)
  return bytes
}

/** A canonical section, in both byte orders. */
const sections = fc.record({
  functions: segment(shapes.functions),
  lines: segment(shapes.lines),
  relocations: segment(shapes.relocations),
  header: fc.constantFrom(24, 32, 40),
  order
}).map(({ functions, header, lines, order, relocations }) => {
  const segments = [functions, lines, ...(header === 24 ? [] : [relocations])]
  const other = order === "little" ? "big" : "little"
  return { order, segments, bytes: write(segments, header, order), swapped: write(segments, header, other) }
}).filter(({ segments }) => segments.some((words) => words.length > 0))

/** A law must fail on its named fault: a counterexample must be found. */
const refuted = <T>(property: fc.IProperty<T>): void => {
  assert.isTrue(fc.check(property, { numRuns: 2000 }).failed, "the named fault went unnoticed")
}

const parsed = (bytes: Uint8Array): BtfExt.BtfExt => B.expectSuccess(BtfExt.parse(bytes, btf))

describe("a canonical section", () => {
  const law = (encode: typeof BtfExt.encode) =>
    fc.property(sections, ({ bytes, order, swapped }) => {
      const ext = parsed(bytes)
      assert.deepEqual(encode(ext), bytes)
      assert.deepEqual(encode(ext, order === "little" ? "big" : "little"), swapped)
      assert.deepEqual(encode(parsed(swapped), order), bytes)
    })

  it("comes back byte for byte, in either byte order", () => {
    fc.assert(law(BtfExt.encode), { numRuns: runs(200) })
  })

  it("named fault: records are cut to what is known of them", () => {
    refuted(law((ext, order) => {
      const cut = (segment: BtfExt.InfoSegment | undefined) =>
        segment === undefined ? undefined : {
          recordSize: 16,
          sections: segment.sections.map((section) => ({
            ...section,
            records: section.records.slice(0, section.count * 16)
          }))
        }
      return BtfExt.encode({ ...ext, lineInfo: cut(ext.lineInfo) }, order)
    }))
  })

  it("is remapped where it refers to types and strings, and nowhere else", () => {
    const law = (remap: typeof BtfExt.remap) =>
      fc.property(sections, ({ bytes }) => {
        const ext = parsed(bytes)
        // Ids and offsets turned around, with what stays where it is.
        const other = (count: number) => (old: number): number => old === 0 ? 0 : count - old
        const moved = B.expectSuccess(remap(ext, btf, other(4), other(strings)))
        const words = new Map<number, number>()
        const note = (count: number) => (offset: number, value: number) => words.set(offset, other(count)(value))
        BtfExt.forEachTypeId(ext, note(4))
        BtfExt.forEachString(ext, note(strings))
        const expected = bytes.slice()
        const view = new DataView(expected.buffer)
        for (const [offset, value] of words) view.setUint32(offset, value, ext.byteOrder === "little")
        assert.deepEqual(BtfExt.encode(moved), expected)
        assert.deepEqual(BtfExt.encode(B.expectSuccess(remap(moved, btf, other(4), other(strings)))), bytes)
      })
    fc.assert(law(BtfExt.remap), { numRuns: runs(200) })
    // Named fault: names of ELF sections stay.
    refuted(law((ext, onto, typeId, string) =>
      Result.map(BtfExt.remap(ext, onto, typeId, string), (moved) => {
        const kept = (segment: BtfExt.InfoSegment | undefined, old: BtfExt.InfoSegment | undefined) =>
          segment === undefined ? undefined : {
            ...segment,
            sections: segment.sections.map((section, index) => ({
              ...section,
              nameOffset: old?.sections[index]?.nameOffset ?? 0
            }))
          }
        return { ...moved, funcInfo: kept(moved.funcInfo, ext.funcInfo) }
      })
    ))
  })
})

it("a damaged section has an answer, and what is parsed is written again", () => {
  let survived = 0
  fc.assert(
    fc.property(sections, damages, ({ bytes }, changes) => {
      const result = BtfExt.parse(damage(bytes, changes), btf)
      if (Result.isFailure(result)) return
      const remapped = BtfExt.remap(result.success, btf, (id) => id, (offset) => offset)
      const { coreRelocations, funcInfo, lineInfo } = result.success
      if (funcInfo === undefined && lineInfo === undefined && coreRelocations === undefined) return
      const written = BtfExt.encode(result.success)
      assert.deepEqual(BtfExt.encode(parsed(written)), written)
      if (Result.isSuccess(remapped)) assert.deepEqual(BtfExt.encode(remapped.success), written)
      survived++
    }),
    { numRuns: runs(500) }
  )
  assert.isAbove(survived, 0)
})
