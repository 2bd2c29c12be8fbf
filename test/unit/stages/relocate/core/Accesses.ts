/** Accesses of every field of a struct, with the values that its own layout gives them, and kernels to try them on. */
import * as fc from "fast-check"
import * as Encode from "../../../../../src/insn/Encode.ts"
import { BPF_B, BPF_DW, BPF_H, BPF_LSH, BPF_RSH, BPF_W } from "../../../../../src/insn/InsnConstants.ts"
import type * as Core from "../../../../../src/stages/relocate/core/Core.ts"
import type * as B from "../../../../support/arbitrary/BtfBlob.ts"
import type { RecordSpec } from "./Records.ts"
import {
  type FieldType,
  type Item,
  type LaidOut,
  type Place,
  renamed,
  retyped,
  structs,
  variantOf,
  without
} from "./Structs.ts"

const sizes = { 1: BPF_B, 2: BPF_H, 4: BPF_W, 8: BPF_DW } as const

/** One access of a field: the records for it, by what they ask. */
export interface Access {
  readonly path: string
  readonly place: Place
  readonly first: number
  readonly asks: ReadonlyArray<"exists" | "offset" | "size" | "load" | "signed" | "left" | "right">
}

/** Bytes of a number; `undefined` for arrays and structs. */
export const bytesOf = (type: FieldType): 1 | 2 | 4 | 8 | undefined => {
  switch (type._tag) {
    case "Int":
    case "Bits":
      return type.bytes
    case "Pointer":
      return 8
    case "Enum":
      return type.wide ? 8 : 4
    default:
      return undefined
  }
}

/** The bits of a field, and of the load that covers it. */
export const extent = (
  { bit, type }: Place
): { readonly bits: number; readonly bytes: number; readonly at: number } => {
  const bytes = bytesOf(type) ?? 1
  const bits = type._tag === "Bits" ? type.bits : bytes * 8
  return { bits, bytes, at: type._tag === "Bits" ? Math.floor(bit / 8 / bytes) * bytes : bit / 8 }
}

/** Whether a number is signed. */
export const isSigned = (type: FieldType): boolean =>
  (type._tag === "Int" || type._tag === "Bits" || type._tag === "Enum") && type.signed

/** The records that access each field of a struct, with the values that its own layout gives them. */
export const accesses = (
  laid: LaidOut,
  type: number,
  order: B.Order
): { readonly specs: ReadonlyArray<RecordSpec>; readonly list: ReadonlyArray<Access> } => {
  const specs: Array<RecordSpec> = []
  const list: Array<Access> = []
  for (const [path, place] of laid.places) {
    const asks: Array<Access["asks"][number]> = []
    const first = specs.length
    const ask = (what: Access["asks"][number], kind: Core.CoreKind, insn: Uint8Array): void => {
      asks.push(what)
      specs.push({ insn, type, access: `0${place.access}`, kind })
    }
    const { at, bits, bytes } = extent(place)
    const scalar = bytesOf(place.type)
    ask("exists", "field_exists", Encode.mov64Imm(1, 1))
    ask("offset", "byte_off", Encode.mov64Imm(1, scalar === undefined ? place.bit / 8 : at))
    if (scalar !== undefined) {
      ask("size", "byte_sz", Encode.mov64Imm(1, bytes))
      if (place.type._tag !== "Bits") ask("load", "byte_off", Encode.ldx(sizes[scalar], 1, 2, at))
      if (!path.endsWith("]")) {
        const left = order === "little" ? 64 - (place.bit + bits - at * 8) : (8 - bytes) * 8 + place.bit - at * 8
        ask("signed", "signed", Encode.mov64Imm(1, isSigned(place.type) ? 1 : 0))
        ask("left", "lshift_u64", Encode.alu64Imm(BPF_LSH, 1, left))
        ask("right", "rshift_u64", Encode.alu64Imm(BPF_RSH, 1, 64 - bits))
      }
    }
    list.push({ path, place, first, asks })
  }
  return { specs, list }
}

/** A struct of an object, and what the kernel has. */
export interface Experiment {
  readonly mine: ReadonlyArray<Item>
  readonly theirs: ReadonlyArray<Item>
  readonly order: B.Order
  readonly names: readonly [mine: string, theirs: string]
}

/** A byte order. */
export const order: fc.Arbitrary<B.Order> = fc.constantFrom("little", "big")
const names = fc.constantFrom(
  ["s", "s"],
  ["s___mine", "s"],
  ["s", "s___v2"],
  ["s___a", "s___b"] as const
) as fc.Arbitrary<
  readonly [string, string]
>

/** A struct and a kernel's variant of it. */
export const varied: fc.Arbitrary<Experiment> = structs.chain((mine) =>
  fc.record({ mine: fc.constant(mine), theirs: variantOf(mine), order, names })
)

/** One of the fields is gone. */
export const removed: fc.Arbitrary<Experiment> = varied.chain((experiment) =>
  fc.constantFrom("f0", "f1", "f2", "n0", "n1").map((name) => ({
    ...experiment,
    theirs: without(experiment.theirs, name)
  }))
)

/** Integers have another size. */
export const resized: fc.Arbitrary<Experiment> = varied.chain((experiment) =>
  fc.array(fc.constantFrom(1 as const, 2 as const, 4 as const, 8 as const), { minLength: 8, maxLength: 8 }).map((
    widths
  ) => ({
    ...experiment,
    theirs: retyped(
      experiment.theirs,
      (type, name) => type._tag === "Int" ? { ...type, bytes: widths[Number(name.slice(1)) % 8] ?? 4 } : type
    )
  }))
)

/** One of the fields has another name. */
export const renamedField: fc.Arbitrary<Experiment> = varied.chain((experiment) =>
  fc.constantFrom("f0", "f1", "f2", "n0", "n1").map((name) => ({
    ...experiment,
    theirs: renamed(experiment.theirs, name, `${name}_now`)
  }))
)

/** Integers have become bit fields, and bit fields integers; of the same declared size or of another. */
export const bitten: fc.Arbitrary<Experiment> = varied.chain((experiment) =>
  fc.array(fc.tuple(fc.integer({ min: 1, max: 63 }), fc.constantFrom(1 as const, 2 as const, 4 as const, 8 as const)), {
    minLength: 8,
    maxLength: 8
  }).map((choices) => ({
    ...experiment,
    theirs: retyped(experiment.theirs, (type, name) => {
      const [bits, bytes] = choices[Number(name.slice(1)) % 8] ?? [1, 4]
      if (type._tag === "Bits") return bits % 3 === 0 ? { _tag: "Int", bytes, signed: type.signed } : type
      return type._tag === "Int" && bits < bytes * 8 ? { _tag: "Bits", bytes, signed: type.signed, bits } : type
    })
  }))
)

/** Fields are of other types altogether. */
export const retypedAnyhow: fc.Arbitrary<Experiment> = varied.chain((experiment) =>
  fc.array(structs, { minLength: 1, maxLength: 3 }).map((others) => {
    const types = others.flat().flatMap((item) => item._tag === "Field" ? [item.type] : [])
    return {
      ...experiment,
      theirs: retyped(experiment.theirs, (type, name) => types[(name.charCodeAt(1) * 7) % 11] ?? type)
    }
  })
)
