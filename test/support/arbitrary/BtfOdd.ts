/** Arbitrary blobs: types of all kinds that refer to each other anyhow, cycles included, and damage to them. */
import * as fc from "fast-check"
import * as B from "./BtfBlob.ts"
import type { Rec } from "./BtfBlob.ts"

const name: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom("", "a", "b", "int", "long", "task_struct", "task_struct___v2", ".data", "größe"),
  fc.string({ maxLength: 12 }).map((text) => text.replaceAll("\0", "").toWellFormed())
)

const word = fc.oneof(fc.nat(64), fc.integer({ min: 0, max: 0xffff_ffff }))

/** One record that refers to types below `end`; a FUNC refers to one of `protos`. */
const record = (end: number, protos: ReadonlyArray<number>): fc.Arbitrary<Rec> => {
  const id = fc.nat(end - 1)
  const member = fc.tuple(name, id, fc.nat(0xff_ffff), fc.oneof(fc.constant(0), fc.nat(64)))
  const members = fc.array(member, { maxLength: 5 })
  const signed = fc.boolean()
  const size = fc.constantFrom(0, 1, 2, 3, 4, 8, 16, 24, 0x1000_0000)
  const values = fc.array(fc.tuple(name, fc.integer({ min: -0x8000_0000, max: 0xffff_ffff })), { maxLength: 4 })
  const wide = fc.array(fc.tuple(name, fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n })), { maxLength: 4 })
  const composite = fc.tuple(name, fc.constantFrom(0, 4, 8, 24, 0xffff_ffff), members)
  return fc.oneof(
    fc.tuple(name, size, fc.nat(15), fc.nat(255), fc.nat(255)).map((parts) => B.int(...parts)),
    id.map(B.ptr),
    fc.tuple(id, id, word).map((parts) => B.array(...parts)),
    composite.map((parts) => B.struct(...parts)),
    composite.map((parts) => B.union(...parts)),
    fc.tuple(name, size, signed, values).map((parts) => B.enumeration(...parts)),
    fc.tuple(name, signed).map((parts) => B.fwd(...parts)),
    fc.tuple(name, id).map((parts) => B.typedef(...parts)),
    id.map(B.volatile),
    id.map(B.constant),
    id.map(B.restrict),
    fc.tuple(id, fc.array(fc.tuple(name, id), { maxLength: 4 })).map((parts) => B.funcProto(...parts)),
    ...(protos.length === 0
      ? []
      : [fc.tuple(name, fc.constantFrom(...protos), fc.nat(2)).map((parts) => B.func(...parts))]),
    fc.tuple(name, id, fc.nat(2)).map((parts) => B.variable(...parts)),
    fc.tuple(name, word, fc.array(fc.tuple(id, word, word), { maxLength: 4 })).map((parts) => B.datasec(...parts)),
    fc.tuple(name, size).map((parts) => B.float(...parts)),
    fc.tuple(name, id, fc.integer({ min: -1, max: 4 }), signed).map((parts) => B.declTag(...parts)),
    fc.tuple(name, id, signed).map((parts) => B.typeTag(...parts)),
    fc.tuple(name, size, signed, wide).map((parts) => B.enum64(...parts))
  )
}

/** Valid types whose first id is `firstId`; every fifth is a prototype, so that functions have something to refer to. */
export const validTypes = (firstId = 1, maxLength = 30): fc.Arbitrary<ReadonlyArray<Rec>> =>
  fc.nat(maxLength).chain((count) => {
    const end = firstId + count
    const protos = Array.from({ length: count }, (_, index) => index).filter((index) => index % 5 === 0)
    const records = Array.from({ length: count }, (_, index) =>
      index % 5 === 0
        ? fc.tuple(fc.nat(end - 1), fc.array(fc.tuple(name, fc.nat(end - 1)), { maxLength: 3 })).map((parts) =>
          B.funcProto(...parts)
        )
        : record(end, protos.map((index) => index + firstId)))
    return fc.tuple(...records)
  })

export const order: fc.Arbitrary<B.Order> = fc.constantFrom("little", "big")

/** One change of some bytes: a word or a byte overwritten, a word cut out or doubled, a part removed from the end. */
export interface Damage {
  /** Millionths of the length, so that places shrink with it. */
  readonly at: number
  readonly what: "byte" | "word" | "cut" | "double" | "end"
  readonly value: number
}

/** A few changes, mostly of single words: a blob that is cut is refused for its lengths before its types are looked at. */
export const damages: fc.Arbitrary<ReadonlyArray<Damage>> = fc.array(
  fc.record({
    // Without the bias towards small numbers, which would spend most of the damage on the magic number.
    at: fc.noBias(fc.nat(999_999)),
    what: fc.oneof(
      { weight: 12, arbitrary: fc.constant("word" as const) },
      { weight: 4, arbitrary: fc.constant("byte" as const) },
      { weight: 1, arbitrary: fc.constantFrom("cut" as const, "double" as const, "end" as const) }
    ),
    value: fc.oneof(
      fc.nat(40),
      fc.constantFrom(0xffff_ffff, 0x8000_0000, 0x7fff_ffff, 0x0400_ffff, 0x84ff_ffff, 0x0300_0000, 0x0d00_0003),
      fc.integer({ min: 0, max: 0xffff_ffff })
    )
  }),
  { minLength: 1, maxLength: 4 }
)

export const damage = (bytes: Uint8Array, changes: ReadonlyArray<Damage>): Uint8Array => {
  let result = bytes.slice()
  for (const { at, value, what } of changes) {
    const place = Math.floor(at / 1e6 * result.length)
    const aligned = place - place % 4
    if (what === "byte" && place < result.length) result[place] = value
    else if (what === "word" && aligned + 4 <= result.length) {
      new DataView(result.buffer).setUint32(aligned, value, value % 2 === 0)
    } else if (what === "cut") {
      result = Uint8Array.from([...result.subarray(0, aligned), ...result.subarray(aligned + 4)])
    } else if (what === "double") {
      result = Uint8Array.from([...result.subarray(0, aligned + 4), ...result.subarray(aligned)])
    } else if (what === "end") result = result.slice(0, place)
  }
  return result
}
