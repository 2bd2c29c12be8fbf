/**
 * Whether types are laid out as they were: the layout of each named struct, union and enum as a short text, equal where
 * members have the same names, places and types.
 *
 * What generated code reads by offsets that stand in its text is compared by it with the object that it is used on.
 */
import { sha256 } from "../internal/Sha256.ts"
import * as Find from "./BtfFind.ts"
import type { Btf } from "./BtfModel.ts"
import { resolveType } from "./BtfResolve.ts"
import { typeOf } from "./BtfType.ts"

/** Levels of anonymous structs and arrays that are looked into. */
const DEPTH = 32

/** What stands in front of a type's name in C; `undefined` of other types. */
const keywordOf = (tag: string): string | undefined => {
  switch (tag) {
    case "Struct":
      return "struct"
    case "Union":
      return "union"
    case "Enum":
    case "Enum64":
      return "enum"
    default:
      return undefined
  }
}

/** What a walk over types has found. */
interface Walk {
  readonly btf: Btf
  /** Named types, by their C names: the first of a name. */
  readonly found: Map<string, number>
  /** Layouts of anonymous types, each made once: a type can be in many others. */
  readonly anonymous: Map<number, string>
}

/** A part of a layout: what the type of a place is, without what has a name of its own. */
const partOf = (walk: Walk, id: number, depth: number): string => {
  const type = typeOf(walk.btf, resolveType(walk.btf, id))
  switch (type._tag) {
    case "Int":
      return `int ${type.size} ${type.encoding} ${type.bitOffset} ${type.bits}`
    case "Float":
      return `float ${type.size}`
    case "Ptr":
      return "pointer"
    case "Array":
      return depth >= DEPTH ? "array" : `${partOf(walk, type.type, depth + 1)}[${type.length}]`
    case "Struct":
    case "Union":
    case "Enum":
    case "Enum64": {
      if (type.name === "") return anonymous(walk, type.id, depth + 1)
      const name = `${keywordOf(type._tag)} ${type.name}`
      if (!walk.found.has(name)) walk.found.set(name, type.id)
      return name
    }
    default:
      return type._tag
  }
}

/** The layout of a type without a name. What contains itself, or is nested too deep, has none. */
const anonymous = (walk: Walk, id: number, depth: number): string => {
  const known = walk.anonymous.get(id)
  if (known !== undefined) return known
  if (depth > DEPTH) return "deep"
  walk.anonymous.set(id, "itself")
  const layout = digest(bodyOf(walk, id, depth))
  walk.anonymous.set(id, layout)
  return layout
}

/** The layout of a struct, union or enum. */
const bodyOf = (walk: Walk, id: number, depth: number): string => {
  const type = typeOf(walk.btf, id)
  switch (type._tag) {
    case "Struct":
    case "Union":
      return `${type._tag} ${type.size} {${
        type.members.map((member) =>
          `${member.name} ${member.bitOffset} ${member.bitfieldSize} ${partOf(walk, member.type, depth)}`
        ).join(";")
      }}`
    case "Enum":
    case "Enum64":
      return `${type._tag} ${type.size} ${type.signed} {${
        type.values.map(({ name, value }) => `${name} ${value}`).join(";")
      }}`
    default:
      return type._tag
  }
}

/** A layout, short: 64 bits of a digest. */
const digest = (text: string): string =>
  [...sha256(new TextEncoder().encode(text)).subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("")

/** The layout of a type, which must be a struct, a union or an enum. */
const layoutOf = (walk: Walk, id: number): string => digest(bodyOf(walk, id, 0))

/**
 * The layouts of the named structs, unions and enums that values of these types consist of, by their C names (`struct flow`),
 * in the order in which they are come upon. What pointers lead to is none of a value.
 */
export const layouts = (btf: Btf, types: ReadonlyArray<number>): ReadonlyMap<string, string> => {
  const walk: Walk = { btf, found: new Map(), anonymous: new Map() }
  for (const type of types) partOf(walk, type, 0)
  const layouts = new Map<string, string>()
  // Types that are come upon meanwhile are appended to it.
  for (const [name, id] of walk.found) layouts.set(name, layoutOf(walk, id))
  return layouts
}

/**
 * How the type of a C name differs from a layout, as a phrase; `undefined` where it does not. Of several types of the name one
 * that is laid out so is enough.
 */
export const difference = (btf: Btf, name: string, layout: string): string | undefined => {
  const space = name.indexOf(" ")
  const found = Find.find(btf, name.slice(space + 1))
  const all = found._tag === "None" ? [] : found._tag === "One" ? [found.id] : found.ids
  const types = all.map((id) => typeOf(btf, id)).filter((type) => keywordOf(type._tag) === name.slice(0, space))
  if (types.length === 0) return `the object has no ${name}`
  const walk: Walk = { btf, found: new Map(), anonymous: new Map() }
  return types.some((type) => layoutOf(walk, type.id) === layout) ? undefined : `${name} is laid out otherwise`
}
