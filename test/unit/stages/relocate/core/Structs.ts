/**
 * Structs as C lays them out, made at random, and what a kernel may have made of them since.
 *
 * The layout here is an independent model: natural alignment, bit fields within a unit of their declared type. It knows
 * where each named field is, so that what a relocated instruction reads can be compared with what it should read.
 */
import * as fc from "fast-check"
import * as B from "../../../../support/arbitrary/BtfBlob.ts"

/** What a field is. */
export type FieldType =
  | { readonly _tag: "Int"; readonly bytes: 1 | 2 | 4 | 8; readonly signed: boolean }
  | { readonly _tag: "Pointer" }
  | { readonly _tag: "Enum"; readonly wide: boolean; readonly signed: boolean }
  | { readonly _tag: "Bits"; readonly bytes: 1 | 2 | 4 | 8; readonly signed: boolean; readonly bits: number }
  | { readonly _tag: "Array"; readonly bytes: 1 | 2 | 4 | 8; readonly lengths: ReadonlyArray<number> }
  | { readonly _tag: "Struct"; readonly items: ReadonlyArray<Item>; readonly packed: boolean }
  /** An array of structs. */
  | {
    readonly _tag: "Structs"
    readonly items: ReadonlyArray<Item>
    readonly packed: boolean
    readonly lengths: ReadonlyArray<number>
  }

/** What stands between a member and its type. */
export type Wrapper = "const" | "volatile" | "typedef"

/** A member: with a name, or a struct or union without one, whose members count as those of the struct around it. */
export type Item =
  | {
    readonly _tag: "Field"
    readonly name: string
    readonly type: FieldType
    /** From the inside out. */
    readonly through?: ReadonlyArray<Wrapper>
  }
  | {
    readonly _tag: "Anonymous"
    readonly union: boolean
    readonly items: ReadonlyArray<Item>
    readonly packed: boolean
  }

/** Where a field is, in bits from the start of the outermost struct. */
export interface Place {
  readonly bit: number
  readonly type: FieldType
  /** As an access string of the struct's own BTF. */
  readonly access: string
}

/** A struct that was laid out. */
export interface LaidOut {
  readonly bytes: number
  readonly align: number
  readonly members: ReadonlyArray<B.MemberRec>
  /** By path: `a`, `b.c`, `d[1][0]`. */
  readonly places: ReadonlyMap<string, Place>
}

/** Types in the making; ids are positions. */
export interface Types {
  readonly list: Array<B.Rec>
}

const add = (types: Types, type: B.Rec): number => types.list.push(type)

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to

interface Sized {
  readonly id: number
  readonly bytes: number
  readonly align: number
  /** Fields in it, from its own start. */
  readonly inner: ReadonlyMap<string, Place>
}

/** All indices of an array of arrays, in order: of the first one of `lengths` alone, of the first two, and so on. */
export const indicesOf = (lengths: ReadonlyArray<number>): ReadonlyArray<ReadonlyArray<number>> => {
  const found: Array<ReadonlyArray<number>> = []
  let before: ReadonlyArray<ReadonlyArray<number>> = [[]]
  for (const length of lengths) {
    before = before.flatMap((all) => Array.from({ length }, (_, index) => [...all, index]))
    found.push(...before)
  }
  return found
}

/** The elements of an array by their indices in brackets, arrays that it is made of included, each with what is in it. */
const elements = (
  lengths: ReadonlyArray<number>,
  bytes: number,
  typeOf: (rest: ReadonlyArray<number>) => FieldType,
  inner: ReadonlyMap<string, Place>
): ReadonlyMap<string, Place> => {
  const places = new Map<string, Place>()
  const size = (rest: ReadonlyArray<number>): number => rest.reduce((product, length) => product * length, bytes)
  for (const indices of indicesOf(lengths)) {
    const path = indices.map((each) => `[${each}]`).join("")
    const access = indices.map((each) => `:${each}`).join("")
    const bit = indices.reduce((sum, index, level) => sum + index * size(lengths.slice(level + 1)) * 8, 0)
    const rest = lengths.slice(indices.length)
    places.set(path, { bit, type: typeOf(rest), access })
    if (rest.length > 0) continue
    for (const [name, place] of inner) {
      places.set(`${path}.${name}`, { ...place, bit: bit + place.bit, access: access + place.access })
    }
  }
  return places
}

/** What an array is made of: arrays of the other lengths, or its element where there are none. */
export const elementOf = (
  type: Extract<FieldType, { _tag: "Array" | "Structs" }>,
  rest: ReadonlyArray<number>
): FieldType => {
  if (rest.length > 0) return { ...type, lengths: rest }
  return type._tag === "Array"
    ? { _tag: "Int", bytes: type.bytes, signed: false }
    : { _tag: "Struct", items: type.items, packed: type.packed }
}

/** An array of a type that was added. */
const arrayOf = (types: Types, element: number, lengths: ReadonlyArray<number>): number => {
  let id = element
  for (const length of [...lengths].reverse()) id = add(types, B.array(id, element, length))
  return id
}

const make = (types: Types, type: FieldType): Sized => {
  const none: ReadonlyMap<string, Place> = new Map()
  switch (type._tag) {
    case "Int":
    case "Bits": {
      const id = add(types, B.int(`${type.signed ? "s" : "u"}${type.bytes * 8}`, type.bytes, type.signed ? 1 : 0))
      return { id, bytes: type.bytes, align: type.bytes, inner: none }
    }
    case "Pointer":
      return { id: add(types, B.ptr(0)), bytes: 8, align: 8, inner: none }
    case "Enum": {
      const wide = B.enum64("choice", 8, type.signed, [["CHOICE", 1n]])
      const id = add(types, type.wide ? wide : B.enumeration("choice", 4, type.signed, [["CHOICE", 1]]))
      const bytes = type.wide ? 8 : 4
      return { id, bytes, align: bytes, inner: none }
    }
    case "Array": {
      const element = add(types, B.int(`u${type.bytes * 8}`, type.bytes))
      const bytes = type.lengths.reduce((product, length) => product * length, type.bytes)
      const inner = elements(type.lengths, type.bytes, (rest) => elementOf(type, rest), none)
      return { id: arrayOf(types, element, type.lengths), bytes, align: type.bytes, inner }
    }
    case "Struct": {
      const laid = layOut(types, type.items, { packed: type.packed })
      const id = add(types, B.struct("", laid.bytes, laid.members))
      return { id, bytes: laid.bytes, align: laid.align, inner: laid.places }
    }
    case "Structs": {
      const { bytes, id, align, inner } = make(types, { ...type, _tag: "Struct" })
      return {
        id: arrayOf(types, id, type.lengths),
        bytes: type.lengths.reduce((product, length) => product * length, bytes),
        align,
        inner: elements(type.lengths, bytes, (rest) => elementOf(type, rest), inner)
      }
    }
  }
}

/** Puts the wrappers around a type. */
const wrapped = (types: Types, inner: number, wrappers: ReadonlyArray<Wrapper>): number =>
  wrappers.reduce((id, wrapper) => {
    switch (wrapper) {
      case "const":
        return add(types, B.constant(id))
      case "volatile":
        return add(types, B.volatile(id))
      case "typedef":
        return add(types, B.typedef("alias", id))
    }
  }, inner)

/** Whether there are bit fields in it, at whatever depth. */
export const hasBits = (items: ReadonlyArray<Item>): boolean =>
  items.some((item) => {
    if (item._tag === "Anonymous") return hasBits(item.items)
    const { type } = item
    return type._tag === "Bits" || ((type._tag === "Struct" || type._tag === "Structs") && hasBits(type.items))
  })

/**
 * Whether members may lie at any byte. Of what has bit fields none is packed here: those are laid out by other rules then,
 * and no aligned load may have all of one.
 */
export const isPacked = (
  { items, packed }: { readonly items: ReadonlyArray<Item>; readonly packed: boolean }
): boolean => packed && !hasBits(items)

/** Lays members out one behind the other, or at one place in a union, and adds their types. */
export const layOut = (
  types: Types,
  items: ReadonlyArray<Item>,
  { packed = false, union = false }: { readonly packed?: boolean; readonly union?: boolean } = {}
): LaidOut => {
  const dense = isPacked({ items, packed })
  const members: Array<B.MemberRec> = []
  const places = new Map<string, Place>()
  let end = 0
  let bytes = 0
  let align = 1
  for (const [index, item] of items.entries()) {
    const isField = item._tag === "Field"
    const type: FieldType = isField ? item.type : { _tag: "Struct", items: item.items, packed: item.packed }
    const sized = isField ? make(types, type) : anonymous(types, item)
    const id = isField ? wrapped(types, sized.id, item.through ?? []) : sized.id
    const unit = sized.bytes * 8
    let bit = union ? 0 : roundUp(end, (dense ? 1 : sized.align) * 8)
    let bits = unit
    if (type._tag === "Bits") {
      bits = type.bits
      bit = union ? 0 : end
      if (bit % unit + bits > unit) bit = roundUp(bit, unit)
    }
    if (!dense) align = Math.max(align, sized.align)
    end = bit + bits
    bytes = Math.max(bytes, Math.ceil(end / 8))
    members.push([isField ? item.name : "", id, bit, type._tag === "Bits" ? bits : 0])
    if (isField) places.set(item.name, { bit, type, access: `:${index}` })
    const separator = isField && type._tag === "Struct" ? `${item.name}.` : isField ? item.name : ""
    for (const [path, place] of sized.inner) {
      places.set(separator + path, { ...place, bit: bit + place.bit, access: `:${index}${place.access}` })
    }
  }
  return { bytes: roundUp(bytes, align), align, members, places }
}

const anonymous = (types: Types, item: Extract<Item, { _tag: "Anonymous" }>): Sized => {
  const laid = layOut(types, item.items, item)
  const id = add(types, (item.union ? B.union : B.struct)("", laid.bytes, laid.members))
  return { id, bytes: laid.bytes, align: laid.align, inner: laid.places }
}

/** A named struct with all types in it; its id is the last. */
export const struct = (
  name: string,
  items: ReadonlyArray<Item>
): LaidOut & { readonly types: ReadonlyArray<B.Rec> } => {
  const types: Types = { list: [] }
  const laid = layOut(types, items)
  add(types, B.struct(name, laid.bytes, laid.members))
  return { ...laid, types: types.list }
}

// ---- Arbitraries ---------------------------------------------------------------------------------------------------

const width = fc.constantFrom(1 as const, 2 as const, 4 as const, 8 as const)

const scalar: fc.Arbitrary<FieldType> = fc.oneof(
  fc.record({ _tag: fc.constant("Int" as const), bytes: width, signed: fc.boolean() }),
  fc.constant({ _tag: "Pointer" as const }),
  fc.record({ _tag: fc.constant("Enum" as const), wide: fc.boolean(), signed: fc.boolean() }),
  width.chain((bytes) =>
    fc.record({
      _tag: fc.constant("Bits" as const),
      bytes: fc.constant(bytes),
      signed: fc.boolean(),
      bits: fc.integer({ min: 1, max: bytes * 8 - 1 })
    })
  ),
  fc.record({
    _tag: fc.constant("Array" as const),
    bytes: width,
    lengths: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 2 })
  })
)

/** Wrappers of a member: as a rule none. */
const through: fc.Arbitrary<ReadonlyArray<Wrapper>> = fc.oneof(
  { weight: 4, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: fc.subarray<Wrapper>(["const", "typedef", "volatile"]) }
)

const named = (type: fc.Arbitrary<FieldType>, prefix: string, count: number): fc.Arbitrary<ReadonlyArray<Item>> =>
  fc.array(fc.tuple(type, through), { minLength: 1, maxLength: count }).map((list) =>
    list.map(([type, through], index) => ({ _tag: "Field" as const, name: `${prefix}${index}`, type, through }))
  )

const packing = fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) })

const nested: fc.Arbitrary<FieldType> = fc.oneof(
  { weight: 8, arbitrary: scalar },
  {
    weight: 2,
    arbitrary: fc.record({ _tag: fc.constant("Struct" as const), items: named(scalar, "n", 4), packed: packing })
  },
  {
    weight: 1,
    arbitrary: fc.record({
      _tag: fc.constant("Structs" as const),
      items: named(scalar, "n", 3),
      packed: packing,
      lengths: fc.array(fc.integer({ min: 1, max: 2 }), { minLength: 1, maxLength: 2 })
    })
  }
)

/** The members of a struct as an object's author wrote them: some of them grouped without a name. */
export const structs: fc.Arbitrary<ReadonlyArray<Item>> = named(nested, "f", 7).chain(grouped)

/** Some neighbours among the members put into structs or unions without a name. */
function grouped(items: ReadonlyArray<Item>): fc.Arbitrary<ReadonlyArray<Item>> {
  return fc.tuple(fc.nat(items.length), fc.nat(items.length), fc.constantFrom("none", "struct", "union"), packing).map(
    ([one, other, how, packed]) => {
      const [start, end] = [Math.min(one, other), Math.max(one, other)]
      if (how === "none" || start === end) return items
      const group = { _tag: "Anonymous" as const, union: how === "union", items: items.slice(start, end), packed }
      return [...items.slice(0, start), group, ...items.slice(end)]
    }
  )
}

/** All members on one level: what was grouped is taken out of its groups. */
const flat = (items: ReadonlyArray<Item>): ReadonlyArray<Extract<Item, { _tag: "Field" }>> =>
  items.flatMap((item) => item._tag === "Field" ? [item] : flat(item.items))

const paddings = fc.array(fc.tuple(fc.nat(20), scalar), { maxLength: 4 })

/**
 * What another kernel has: the same members in another order, with others between them, in other groups, nested structs
 * likewise.
 */
export const variantOf = (items: ReadonlyArray<Item>): fc.Arbitrary<ReadonlyArray<Item>> => {
  const members = flat(items)
  const inner = members.map((item) => {
    const { type } = item
    if (type._tag !== "Struct" && type._tag !== "Structs") {
      return through.map((through): Item => ({ ...item, through }))
    }
    return fc.tuple(variantOf(type.items), packing).map(([items, packed]): Item => ({
      ...item,
      type: { ...type, items, packed }
    }))
  })
  return fc.tuple(fc.tuple(...inner), paddings).chain(([changed, added]) =>
    fc.shuffledSubarray(changed, { minLength: changed.length }).chain((permuted) => {
      const all: Array<Item> = [...permuted]
      for (const [index, [at, type]] of added.entries()) {
        all.splice(at % (all.length + 1), 0, { _tag: "Field", name: `other${index}`, type })
      }
      return grouped(all).chain(grouped)
    })
  )
}

/** The same members without the one of this name, at whatever level. */
export const without = (items: ReadonlyArray<Item>, name: string): ReadonlyArray<Item> =>
  items.flatMap((item): ReadonlyArray<Item> => {
    if (item._tag === "Anonymous") return [{ ...item, items: without(item.items, name) }]
    return item.name === name ? [] : [item]
  })

/** The same members with this function applied to the type of each named one of the outer struct. */
export const retyped = (
  items: ReadonlyArray<Item>,
  retype: (type: FieldType, name: string) => FieldType
): ReadonlyArray<Item> =>
  items.map((item): Item =>
    item._tag === "Anonymous"
      ? { ...item, items: retyped(item.items, retype) }
      : { ...item, type: retype(item.type, item.name) }
  )

/** The same members with this name in place of another, at whatever level. */
export const renamed = (items: ReadonlyArray<Item>, name: string, other: string): ReadonlyArray<Item> =>
  items.map((item): Item =>
    item._tag === "Anonymous"
      ? { ...item, items: renamed(item.items, name, other) }
      : item.name === name
      ? { ...item, name: other }
      : item
  )
