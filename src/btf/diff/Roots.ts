/** The types of a blob that have a name to be compared by, and which of two blobs' types belong together. */
import * as Kind from "../BtfKind.ts"
import type { Btf } from "../BtfModel.ts"
import { kflagOf, kindOf, nameOffsetOf, stringAt, vlenOf } from "../BtfModel.ts"
import { diffKinds } from "./DiffModel.ts"
import type { DiffKind } from "./DiffModel.ts"
import type { Side } from "./Spelling.ts"
import { word } from "./Spelling.ts"

/** Types of one name and kind, in order of ids. */
export interface Root {
  readonly kind: DiffKind
  readonly name: string
  readonly ids: ReadonlyArray<number>
}

/** The kind under which a type is compared; `undefined` for what is compared as a part of others. */
const diffKindOf = (btf: Btf, id: number): DiffKind | undefined => {
  switch (kindOf(btf, id)) {
    case Kind.BTF_KIND_STRUCT:
      return "struct"
    case Kind.BTF_KIND_UNION:
      return "union"
    case Kind.BTF_KIND_FWD:
      return kflagOf(btf, id) ? "union" : "struct"
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_ENUM64:
      return "enum"
    case Kind.BTF_KIND_TYPEDEF:
      return "typedef"
    case Kind.BTF_KIND_INT:
      return "int"
    case Kind.BTF_KIND_FLOAT:
      return "float"
    case Kind.BTF_KIND_FUNC:
      return "func"
    case Kind.BTF_KIND_VAR:
      return "var"
    case Kind.BTF_KIND_DATASEC:
      return "datasec"
    default:
      return undefined
  }
}

/** Whether a struct, union or enum is declared and not defined. */
export const isDeclaredOnly = (btf: Btf, id: number): boolean => {
  const kind = kindOf(btf, id)
  return kind === Kind.BTF_KIND_FWD
    || ((kind === Kind.BTF_KIND_ENUM || kind === Kind.BTF_KIND_ENUM64) && vlenOf(btf, id) === 0)
}

/** Which types take part. */
export interface Selection {
  readonly accepts: (name: string) => boolean
  readonly kinds: ReadonlySet<DiffKind>
}

/**
 * The named types that a blob holds itself, by a number for name and kind. A declaration counts only where there is no
 * definition of that name.
 */
export const roots = (side: Side, selection: Selection): ReadonlyMap<number, Root> => {
  const { btf } = side
  const found = new Map<number, { kind: DiffKind; name: string; ids: Array<number>; declaredOnly: boolean }>()
  // One answer per name: it is asked again for each type of that name.
  const accepted = new Map<number, string | undefined>()
  for (let id = btf.firstId; id < btf.endId; id++) {
    const nameOffset = nameOffsetOf(btf, id)
    if (nameOffset === 0) continue
    const kind = diffKindOf(btf, id)
    if (kind === undefined || !selection.kinds.has(kind)) continue
    const number = side.nameAt(nameOffset)
    if (!accepted.has(number)) {
      const text = stringAt(btf, nameOffset) ?? ""
      accepted.set(number, text !== "" && selection.accepts(text) ? text : undefined)
    }
    const name = accepted.get(number)
    if (name === undefined) continue
    const key = number * 16 + diffKinds.indexOf(kind)
    const declaredOnly = isDeclaredOnly(btf, id)
    const known = found.get(key)
    if (known === undefined) found.set(key, { kind, name, ids: [id], declaredOnly })
    else if (known.declaredOnly && !declaredOnly) {
      known.ids = [id]
      known.declaredOnly = false
    } else if (known.declaredOnly === declaredOnly && !declaredOnly) known.ids.push(id)
  }
  return found
}

/** Types of two blobs that belong together, and those that found no partner. */
export interface Pairing {
  readonly pairs: ReadonlyArray<readonly [before: number, after: number]>
  readonly before: ReadonlyArray<number>
  readonly after: ReadonlyArray<number>
  /** Types are left on both sides, and which belongs to which is not clear. */
  readonly ambiguous: boolean
}

/** More pairs of types of one name than this are not compared with one another. */
const CANDIDATE_LIMIT = 256

/** The types of one name and kind of one side. */
export interface Candidates {
  readonly side: Side
  readonly ids: ReadonlyArray<number>
  /** What else of a type has to be the same, as text. */
  readonly more: (id: number) => string
}

/**
 * Pairs types of one name and kind: the same ones first, then the last one with the last one, then those that share
 * more names with each other than with any other.
 */
export const pair = (before: Candidates, after: Candidates): Pairing => {
  const [one] = before.ids
  const [other] = after.ids
  if (one !== undefined && other !== undefined && before.ids.length === 1 && after.ids.length === 1) {
    return { pairs: [[one, other]], before: [], after: [], ambiguous: false }
  }
  if (one === undefined || other === undefined) {
    return { pairs: [], before: before.ids, after: after.ids, ambiguous: false }
  }
  const pairs: Array<readonly [number, number]> = []
  const shape = ({ more, side }: Candidates, id: number): string => `${shapeOf(side, id)} ${more(id)}`
  const byShape = new Map<string, Array<number>>()
  for (const id of after.ids.toReversed()) {
    const key = shape(after, id)
    const list = byShape.get(key)
    if (list === undefined) byShape.set(key, [id])
    else list.push(id)
  }
  const left: Array<number> = []
  const taken = new Set<number>()
  for (const id of before.ids) {
    const found = byShape.get(shape(before, id))?.pop()
    if (found === undefined) {
      left.push(id)
      continue
    }
    taken.add(found)
    pairs.push([id, found])
  }
  const rest = after.ids.filter((id) => !taken.has(id))
  return pairAlike(before.side, left, after.side, rest, pairs)
}

const pairAlike = (
  before: Side,
  left: ReadonlyArray<number>,
  after: Side,
  rest: ReadonlyArray<number>,
  pairs: Array<readonly [number, number]>
): Pairing => {
  const [one] = left
  const [other] = rest
  if (one === undefined || other === undefined) return { pairs, before: left, after: rest, ambiguous: false }
  if (left.length === 1 && rest.length === 1) {
    pairs.push([one, other])
    return { pairs, before: [], after: [], ambiguous: false }
  }
  if (left.length * rest.length > CANDIDATE_LIMIT) return { pairs, before: left, after: rest, ambiguous: true }
  const names = rest.map((id) => ({ id, names: innerNames(after, id) }))
  const beforeLeft: Array<number> = []
  const used = new Set<number>()
  let ambiguous = false
  for (const id of left) {
    const own = innerNames(before, id)
    let best: number | undefined
    let most = 0
    let ties = false
    for (const candidate of names) {
      if (used.has(candidate.id)) continue
      let shared = 0
      for (const name of own) if (candidate.names.has(name)) shared += 1
      if (shared > most) [best, most, ties] = [candidate.id, shared, false]
      else if (shared === most && shared > 0) ties = true
    }
    if (best === undefined || ties) {
      if (ties) ambiguous = true
      beforeLeft.push(id)
      continue
    }
    used.add(best)
    pairs.push([id, best])
  }
  return { pairs, before: beforeLeft, after: rest.filter((id) => !used.has(id)), ambiguous }
}

/** The numbers of the names of a type's members, values or parameters. */
const innerNames = (side: Side, id: number): ReadonlySet<number> => {
  const { btf } = side
  const found = new Set<number>()
  const owner = functionProto(btf, id)
  const size = Kind.ELEMENT_SIZE[kindOf(btf, owner)] ?? 0
  if (size === 0 || kindOf(btf, owner) === Kind.BTF_KIND_DATASEC) return found
  for (let index = 0, count = vlenOf(btf, owner); index < count; index++) {
    found.add(side.nameAt(word(btf, owner, 12 + index * size)))
  }
  return found
}

/** The prototype of a function, or the type itself. */
const functionProto = (btf: Btf, id: number): number => kindOf(btf, id) === Kind.BTF_KIND_FUNC ? word(btf, id, 8) : id

/** All that is compared of a type, as text: equal for types between which there is no difference. */
const shapeOf = (side: Side, id: number): string => {
  const { btf } = side
  const kind = kindOf(btf, id)
  const kflag = kflagOf(btf, id)
  let shape = `${kind} ${kflag}`
  switch (kind) {
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      shape = `${kind} ${word(btf, id, 8)}`
      for (let index = 0, count = vlenOf(btf, id); index < count; index++) {
        const at = 12 + index * 12
        const type = word(btf, id, at + 4)
        const place = memberPlace(kflag, word(btf, id, at + 8))
        shape += ` ${side.nameAt(word(btf, id, at))},${side.layout(type)},${side.size(type)},${place}`
      }
      return shape
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_ENUM64: {
      const size = Kind.ELEMENT_SIZE[kind] ?? 8
      shape = `${kind} ${kflag} ${word(btf, id, 8)}`
      for (let index = 0, count = vlenOf(btf, id); index < count; index++) {
        const at = 12 + index * size
        shape += ` ${side.nameAt(word(btf, id, at))},${word(btf, id, at + 4)}`
        if (size === 12) shape += `,${word(btf, id, at + 8)}`
      }
      return shape
    }
    case Kind.BTF_KIND_TYPEDEF:
    case Kind.BTF_KIND_VAR:
      return `${shape} ${side.layout(word(btf, id, 8))} ${kind === Kind.BTF_KIND_VAR ? word(btf, id, 12) : 0}`
    case Kind.BTF_KIND_FUNC: {
      const proto = word(btf, id, 8)
      shape = `${shape} ${vlenOf(btf, id)} ${side.spelling(proto)}`
      for (let index = 0, count = vlenOf(btf, proto); index < count; index++) {
        shape += ` ${side.nameAt(word(btf, proto, 12 + index * 8))}`
      }
      return shape
    }
    case Kind.BTF_KIND_INT:
      return `${shape} ${word(btf, id, 8)} ${word(btf, id, 12)}`
    default:
      return `${shape} ${word(btf, id, 8)}`
  }
}

/** Offset and bit-field size of a member as one number, whichever of the two forms the struct has. */
export const memberPlace = (kflag: boolean, offset: number): number =>
  kflag ? (offset & 0xff_ffff) * 256 + (offset >>> 24) : offset * 256

/** Whether two structs or unions are the same, without making anything of them. */
export const sameComposite = (before: Side, one: number, after: Side, other: number): boolean => {
  const count = vlenOf(before.btf, one)
  if (vlenOf(after.btf, other) !== count || word(before.btf, one, 8) !== word(after.btf, other, 8)) return false
  const kflag = kflagOf(before.btf, one)
  const otherKflag = kflagOf(after.btf, other)
  for (let index = 0; index < count; index++) {
    const at = 12 + index * 12
    const type = word(before.btf, one, at + 4)
    const otherType = word(after.btf, other, at + 4)
    if (
      memberPlace(kflag, word(before.btf, one, at + 8)) !== memberPlace(otherKflag, word(after.btf, other, at + 8))
      || before.nameAt(word(before.btf, one, at)) !== after.nameAt(word(after.btf, other, at))
      || before.layout(type) !== after.layout(otherType)
      || before.size(type) !== after.size(otherType)
    ) return false
  }
  return true
}

/** Whether two enums have the same values in the same order. */
export const sameEnum = (before: Side, one: number, after: Side, other: number): boolean => {
  const kind = kindOf(before.btf, one)
  if (kindOf(after.btf, other) !== kind || word(before.btf, one, 4) !== word(after.btf, other, 4)) return false
  if (word(before.btf, one, 8) !== word(after.btf, other, 8)) return false
  const size = Kind.ELEMENT_SIZE[kind] ?? 8
  for (let index = 0, count = vlenOf(before.btf, one); index < count; index++) {
    const at = 12 + index * size
    if (before.nameAt(word(before.btf, one, at)) !== after.nameAt(word(after.btf, other, at))) return false
    for (let delta = 4; delta < size; delta += 4) {
      if (word(before.btf, one, at + delta) !== word(after.btf, other, at + delta)) return false
    }
  }
  return true
}

/** Whether two functions have the same linkage, and parameters of the same names and types. */
export const sameFunction = (before: Side, one: number, after: Side, other: number): boolean => {
  const proto = word(before.btf, one, 8)
  const otherProto = word(after.btf, other, 8)
  const count = vlenOf(before.btf, proto)
  if (vlenOf(before.btf, one) !== vlenOf(after.btf, other) || vlenOf(after.btf, otherProto) !== count) return false
  if (before.spelling(proto) !== after.spelling(otherProto)) return false
  for (let index = 0; index < count; index++) {
    const at = 12 + index * 8
    if (before.nameAt(word(before.btf, proto, at)) !== after.nameAt(word(after.btf, otherProto, at))) return false
  }
  return true
}
