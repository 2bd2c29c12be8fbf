/**
 * Damaged object files, for properties about bad input.
 *
 * Bytes that are changed at random seldom get past an ELF header. So most edits here know where the tables of the file
 * are (headers, symbols, relocations, BTF, code) and put a value there that is likely to hurt: a bound, one beside it,
 * what stood there give or take one, a length of something else.
 */
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Elf from "../../src/services/Elf/Elf.ts"

/** A part of a file, and how many bytes its entries have. */
export interface Region {
  readonly name: string
  readonly start: number
  readonly size: number
  readonly stride: number
}

/** A file with its parts. */
export interface Subject {
  readonly name: string
  readonly bytes: Uint8Array
  readonly littleEndian: boolean
  readonly regions: ReadonlyArray<Region>
}

const strides: ReadonlyMap<number, number> = new Map([[Elf.SHT_SYMTAB, 24], [Elf.SHT_REL, 16]])

/** Finds the parts of an undamaged object. */
export const subject = (name: string, bytes: Uint8Array): Subject => {
  const file = Result.getOrThrow(Elf.parse(bytes))
  const regions: Array<Region> = [
    { name: "ELF header", start: 16, size: 48, stride: 48 },
    {
      name: "section headers",
      start: Number(file.header.sectionHeaderOffset),
      size: file.header.sectionHeaderCount * 64,
      stride: 64
    }
  ]
  for (const section of file.sections) {
    if (section.data.length === 0) continue
    regions.push({
      name: section.name,
      start: section.offset,
      size: section.size,
      stride: strides.get(section.type) ?? ((section.flags & Elf.SHF_EXECINSTR) === 0n ? 4 : 8)
    })
  }
  return { name, bytes, littleEndian: file.header.byteOrder === "little", regions }
}

/** The parts of a `.BTF` or `.BTF.ext` blob that stands alone: its header and its words. */
export const blobSubject = (name: string, bytes: Uint8Array, littleEndian: boolean): Subject => ({
  name,
  bytes,
  littleEndian,
  regions: [
    { name: "header", start: 0, size: Math.min(32, bytes.length), stride: 4 },
    { name: "words", start: 24, size: Math.max(4, bytes.length - 24), stride: 4 }
  ]
})

/** What to put somewhere. */
export type Value =
  | { readonly _tag: "Constant"; readonly value: bigint }
  | { readonly _tag: "Add"; readonly value: bigint }
  /** The bytes of another place of the file. */
  | { readonly _tag: "From"; readonly place: number }

/** One change. Places are fractions of what they are in, scaled to 2^20, so that an edit fits every subject. */
export type Edit =
  | {
    readonly _tag: "Field"
    readonly region: number
    readonly place: number
    readonly width: 1 | 2 | 4 | 8
    readonly value: Value
  }
  | { readonly _tag: "Flip"; readonly place: number; readonly bit: number }
  | { readonly _tag: "Truncate"; readonly place: number }
  | {
    readonly _tag: "Splice"
    readonly from: number
    readonly source: number
    readonly place: number
    readonly length: number
  }
  | { readonly _tag: "Swap"; readonly region: number; readonly one: number; readonly other: number }

const scale = 1 << 20

const scaled = (place: number, size: number): number => Math.floor((place / scale) * size)

const place = fc.nat(scale - 1)

const hurtful: ReadonlyArray<bigint> = [
  0n,
  1n,
  2n,
  3n,
  4n,
  7n,
  8n,
  0x7fn,
  0xffn,
  0x100n,
  0xff00n,
  0xfff1n,
  0xfff2n,
  0xffffn,
  0x10000n,
  0xff_ffffn,
  0x100_0000n,
  0x1000_0000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_fff8n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x1f_ffff_ffff_ffffn,
  0x7fff_ffff_ffff_ffffn,
  0xffff_ffff_ffff_ffffn
]

const value: fc.Arbitrary<Value> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...hurtful).map((value) => ({ _tag: "Constant" as const, value })) },
  { weight: 3, arbitrary: fc.nat(64).map((value) => ({ _tag: "Constant" as const, value: BigInt(value) })) },
  {
    weight: 3,
    arbitrary: fc.constantFrom(-8n, -4n, -1n, 1n, 4n, 8n, 12n, 24n).map((value) => ({ _tag: "Add" as const, value }))
  },
  { weight: 2, arbitrary: place.map((place) => ({ _tag: "From" as const, place })) }
)

const edit: fc.Arbitrary<Edit> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      _tag: fc.constant("Field" as const),
      region: place,
      place,
      width: fc.constantFrom(1 as const, 2 as const, 4 as const, 4 as const, 8 as const),
      value
    })
  },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("Flip" as const), place, bit: fc.nat(7) }) },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Truncate" as const), place }) },
  {
    weight: 2,
    arbitrary: fc.record({
      _tag: fc.constant("Splice" as const),
      from: place,
      source: place,
      place,
      length: fc.nat(512)
    })
  },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("Swap" as const), region: place, one: place, other: place }) }
)

/** A few edits; mostly one, since a second seldom matters when the first is fatal. */
export const edits: fc.Arbitrary<ReadonlyArray<Edit>> = fc.oneof(
  { weight: 3, arbitrary: fc.array(edit, { minLength: 1, maxLength: 1 }) },
  { weight: 2, arbitrary: fc.array(edit, { minLength: 2, maxLength: 4 }) },
  { weight: 1, arbitrary: fc.array(edit, { minLength: 5, maxLength: 16 }) }
)

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const read = (bytes: Uint8Array, at: number, width: number, littleEndian: boolean): bigint => {
  let value = 0n
  for (let index = 0; index < width; index++) {
    value = (value << 8n) | BigInt(bytes[littleEndian ? at + width - 1 - index : at + index] ?? 0)
  }
  return value
}

const write = (bytes: Uint8Array, at: number, width: number, littleEndian: boolean, value: bigint): void => {
  for (let index = 0; index < width; index++) {
    const byte = Number((value >> BigInt(8 * index)) & 0xffn)
    const to = littleEndian ? at + index : at + width - 1 - index
    if (to < bytes.length) view(bytes).setUint8(to, byte)
  }
}

/** The subject with the edits made to it; `others` are what can be spliced in. */
export const apply = (
  subject: Subject,
  edits: ReadonlyArray<Edit>,
  others: ReadonlyArray<Subject>
): Uint8Array => {
  let bytes = subject.bytes.slice()
  const regionAt = (where: number): Region | undefined => subject.regions[scaled(where, subject.regions.length)]
  for (const edit of edits) {
    switch (edit._tag) {
      case "Field": {
        const region = regionAt(edit.region)
        if (region === undefined) break
        const at = region.start + Math.floor(scaled(edit.place, region.size) / edit.width) * edit.width
        if (at + edit.width > bytes.length) break
        const { littleEndian } = subject
        const stood = read(bytes, at, edit.width, littleEndian)
        const { value } = edit
        const from = value._tag === "From"
          ? region.start + Math.floor(scaled(value.place, region.size) / edit.width) * edit.width
          : 0
        write(
          bytes,
          at,
          edit.width,
          littleEndian,
          BigInt.asUintN(
            64,
            value._tag === "Constant"
              ? value.value
              : value._tag === "Add"
              ? stood + value.value
              : read(bytes, from, edit.width, littleEndian)
          )
        )
        break
      }
      case "Flip": {
        const at = scaled(edit.place, bytes.length)
        bytes[at] = (bytes[at] ?? 0) ^ (1 << edit.bit)
        break
      }
      case "Truncate":
        bytes = bytes.slice(0, scaled(edit.place, bytes.length))
        break
      case "Splice": {
        const source = others[scaled(edit.from, others.length)]
        if (source === undefined) break
        const start = scaled(edit.source, source.bytes.length)
        const piece = source.bytes.subarray(start, start + edit.length)
        const at = scaled(edit.place, bytes.length)
        bytes.set(piece.subarray(0, bytes.length - at), at)
        break
      }
      case "Swap": {
        const region = regionAt(edit.region)
        if (region === undefined || region.start + region.size > bytes.length) break
        const count = Math.floor(region.size / region.stride)
        const one = region.start + scaled(edit.one, count) * region.stride
        const other = region.start + scaled(edit.other, count) * region.stride
        const kept = bytes.slice(one, one + region.stride)
        bytes.copyWithin(one, other, other + region.stride)
        bytes.set(kept, other)
        break
      }
    }
  }
  return bytes
}
