/**
 * Whether two files define, or declare, the same map.
 *
 * Definitions are compared by what they say, not by how: a declaration must be complete, and equal in all.
 *
 * Source: reference page `linker`, section 6.
 */
import * as Btf from "../btf/Btf.ts"
import { type Comparison, typeDifference } from "./TypeDifference.ts"

/** Members that are numbers, in the order in which they are compared. */
const numbers = ["type", "key_size", "value_size", "max_entries", "map_flags", "numa_node", "pinning", "map_extra"]
const types = ["key", "value"]

/** More members than any definition has; there are about a dozen that mean something. */
const MAX_MEMBERS = 64

/** What a definition says. */
interface Definition {
  /** The members that are numbers, by name. */
  readonly numbers: ReadonlyMap<string, string>
  /** The types of keys and values. */
  readonly types: ReadonlyMap<string, number>
  /** Sizes that this file does not know: of types that it only names. */
  readonly unknown: ReadonlySet<string>
  /** The definition of inner maps, or the prototype of programs; 0 without values. */
  readonly inner: number
}

/** In what two maps differ, `undefined` where they are the same. The ids are those of variables. */
export const mapDifference = (comparison: Comparison, oneId: number, twoId: number): string | undefined => {
  const { one, two } = comparison
  if (Btf.kindOf(one, oneId) !== Btf.BTF_KIND_VAR || Btf.kindOf(two, twoId) !== Btf.BTF_KIND_VAR) {
    return "what stands in .maps is no variable"
  }
  return structsDiffer(comparison, Btf.sizeOrTypeOf(one, oneId), Btf.sizeOrTypeOf(two, twoId), true)
}

const structsDiffer = (
  comparison: Comparison,
  oneId: number,
  twoId: number,
  isOuter: boolean
): string | undefined => {
  const { one, two } = comparison
  const mine = read(one, oneId)
  const theirs = read(two, twoId)
  if (typeof mine === "string") return mine
  if (typeof theirs === "string") return theirs
  for (const name of numbers) {
    const first = mine.numbers.get(name)
    const second = theirs.numbers.get(name)
    if (mine.unknown.has(name) || theirs.unknown.has(name)) continue
    if (first !== second) return `${name} ${first ?? "not given"} and ${second ?? "not given"}`
  }
  for (const name of types) {
    const first = mine.types.get(name)
    const second = theirs.types.get(name)
    if (first === undefined && second === undefined) continue
    if (first === undefined || second === undefined) return `${name} type given by one file only`
    // A file that only names the struct can use the map all the same.
    const isNamed = mine.unknown.has(`${name}_size`) || theirs.unknown.has(`${name}_size`)
    const difference = typeDifference(comparison, first, second, !isNamed)
    if (difference !== undefined) return `${name} type: ${difference}`
  }
  if ((mine.inner === 0) !== (theirs.inner === 0)) return "inner map given by one file only"
  if (mine.inner === 0) return undefined
  const first = Btf.resolveType(one, mine.inner)
  const second = Btf.resolveType(two, theirs.inner)
  const isMap = Btf.kindOf(one, first) === Btf.BTF_KIND_STRUCT && Btf.kindOf(two, second) === Btf.BTF_KIND_STRUCT
  if (!isMap) {
    const difference = typeDifference(comparison, first, second)
    return difference === undefined ? undefined : `values: ${difference}`
  }
  if (!isOuter) return "an inner map has inner maps"
  const difference = structsDiffer(comparison, first, second, false)
  return difference === undefined ? undefined : `inner map: ${difference}`
}

/** Reads a definition; a text says why it is none. */
const read = (btf: Btf.Btf, id: number): Definition | string => {
  const struct = Btf.resolveType(btf, id)
  if (Btf.kindOf(btf, struct) !== Btf.BTF_KIND_STRUCT) return "a map definition is no struct"
  if (Btf.vlenOf(btf, struct) > MAX_MEMBERS) return `a map definition has more than ${MAX_MEMBERS} members`
  const type = Btf.typeOf(btf, struct)
  const found = {
    numbers: new Map<string, string>(),
    types: new Map<string, number>(),
    unknown: new Set<string>(),
    inner: 0
  }
  for (const member of type._tag === "Struct" ? type.members : []) {
    const { name } = member
    if (numbers.includes(name)) {
      const value = numberOf(btf, member.type)
      if (value === undefined) return `member ${name} is no number`
      found.numbers.set(name, value)
    } else if (types.includes(name)) {
      const pointer = Btf.resolveType(btf, member.type)
      if (Btf.kindOf(btf, pointer) !== Btf.BTF_KIND_PTR) return `member ${name} is no pointer`
      found.types.set(name, Btf.sizeOrTypeOf(btf, pointer))
      const size = Btf.resolveSize(btf, Btf.sizeOrTypeOf(btf, pointer))
      // A type gives its size, so that __type here and __uint there still are the same size.
      if (size._tag === "Success") found.numbers.set(`${name}_size`, String(size.success))
      else found.unknown.add(`${name}_size`)
    } else if (name === "values") {
      const array = Btf.resolveType(btf, member.type)
      const pointer = Btf.resolveType(btf, Btf.elementType(btf, array))
      if (Btf.kindOf(btf, array) !== Btf.BTF_KIND_ARRAY || Btf.kindOf(btf, pointer) !== Btf.BTF_KIND_PTR) {
        return "values are no array of pointers"
      }
      found.inner = Btf.sizeOrTypeOf(btf, pointer)
      if (!found.numbers.has("value_size")) found.numbers.set("value_size", "4")
    } else return `member ${name} is not understood`
  }
  return found
}

/** `__uint`, a pointer to an array of so many, or `__ulong`, an enum of one value. */
const numberOf = (btf: Btf.Btf, id: number): string | undefined => {
  const type = Btf.typeOf(btf, Btf.resolveType(btf, id))
  if (type._tag === "Ptr") {
    const array = Btf.resolveType(btf, type.type)
    return Btf.kindOf(btf, array) === Btf.BTF_KIND_ARRAY ? String(Btf.arrayLength(btf, array)) : undefined
  }
  if (type._tag !== "Enum" && type._tag !== "Enum64") return undefined
  return type.values.length === 1 ? String(BigInt.asUintN(64, BigInt(type.values[0]?.value ?? 0))) : undefined
}
