/**
 * Which type of a base stands for each type of a distilled base.
 *
 * All that is known of a distilled type is its name, kind, size and, of an integer, its encoding. The types of the base
 * that have one of these names are counted by kind and size, so that each distilled type is decided by a few lookups,
 * however many types share its name.
 *
 * Source: reference page `split-relocate`, sections 3 and 4.
 */
import { idsOfKind } from "./BtfFind.ts"
import * as Kind from "./BtfKind.ts"
import type { Btf } from "./BtfModel.ts"
import {
  kflagOf,
  kindOf,
  nameOffsetOf,
  ownerOf,
  recordOffset,
  sizeOrTypeOf,
  stringAt,
  stringOwnerOf
} from "./BtfModel.ts"
import type { RelocateCandidate, RelocateMismatch } from "./BtfRelocateError.ts"
import * as BtfStrings from "./BtfStrings.ts"

/** The kinds that a distilled base may have. */
const distilledKinds: ReadonlySet<number> = new Set([
  Kind.BTF_KIND_INT,
  Kind.BTF_KIND_FLOAT,
  Kind.BTF_KIND_ENUM,
  Kind.BTF_KIND_STRUCT,
  Kind.BTF_KIND_UNION,
  Kind.BTF_KIND_FWD
])

const isComposite = (kind: number): boolean => kind === Kind.BTF_KIND_STRUCT || kind === Kind.BTF_KIND_UNION

/** Takes mismatches, and lists the first of them. */
export type Report = (make: () => RelocateMismatch) => void

/** Reports the types of `base` that a distilled base cannot have: of another kind, or without a name. */
export const checkDistilled = (base: Btf, report: Report): void => {
  for (let id = 1; id < base.endId; id++) {
    if (distilledKinds.has(kindOf(base, id)) && !isAnonymous(base, id)) continue
    report(() => mismatch("NotDistilled", base, id, false, nothing))
  }
}

const isAnonymous = (btf: Btf, id: number): boolean => {
  const offset = nameOffsetOf(btf, id)
  const owner = stringOwnerOf(btf, offset)
  return owner === undefined || owner.bytes[owner.stringsOffset + (offset - owner.stringsStart)] === 0
}

/** Types of a base that are alike: how many, and the first ids. */
interface Alike {
  count: number
  readonly ids: Array<number>
}

const nothing: Alike = { count: 0, ids: [] }

const MAX_CANDIDATES = 8

const add = (alike: Alike, id: number): void => {
  alike.count++
  if (alike.ids.length < MAX_CANDIDATES) alike.ids.push(id)
}

/** The types of a base that have one name. */
interface Namesakes {
  readonly all: Alike
  /** By what `sortOf` tells apart. */
  readonly bySort: Map<number, Alike>
  /** By sort and size. */
  readonly bySize: Map<number, Alike>
}

// The sorts of types that are matched with each other; integers count by their encoding, of four bits.
const SORT_FLOAT = 16
const SORT_ENUM = 17
const SORT_STRUCT = 18
const SORT_UNION = 19
const SORT_STRUCT_FWD = 20
const SORT_UNION_FWD = 21

/** The sort of a type that is of one of the kinds of a distilled base or an ENUM64. */
const sortOf = (btf: Btf, id: number, kind: number): number => {
  switch (kind) {
    case Kind.BTF_KIND_INT:
      return encodingOf(btf, id)
    case Kind.BTF_KIND_FLOAT:
      return SORT_FLOAT
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_ENUM64:
      return SORT_ENUM
    case Kind.BTF_KIND_STRUCT:
      return SORT_STRUCT
    case Kind.BTF_KIND_UNION:
      return SORT_UNION
    default:
      return kflagOf(btf, id) ? SORT_UNION_FWD : SORT_STRUCT_FWD
  }
}

const encodingOf = (btf: Btf, id: number): number => {
  const owner = ownerOf(btf, id) ?? btf
  const { littleEndian, view } = owner.internal
  return (view.getUint32(recordOffset(owner, id) + Kind.BTF_TYPE_SIZE, littleEndian) >>> 24) & 0xf
}

/** A forward declaration has no size; its third word is nothing. */
const sizeOf = (btf: Btf, id: number, kind: number): number => kind === Kind.BTF_KIND_FWD ? 0 : sizeOrTypeOf(btf, id)

const sizeKey = (sort: number, size: number): number => sort * 2 ** 32 + size

const entry = <K>(map: Map<K, Alike>, key: K): Alike => {
  const known = map.get(key)
  if (known !== undefined) return known
  const alike: Alike = { count: 0, ids: [] }
  map.set(key, alike)
  return alike
}

/** The types of `base` by the names that types of `distilled` have; the answer is by id of `distilled`. */
const namesakesOf = (distilled: Btf, base: Btf): ReadonlyArray<Namesakes | undefined> => {
  // Names as offsets of one string table: equal names have one offset, whichever blob they are in.
  const names = BtfStrings.make()
  const byName = new Map<number, Namesakes>()
  const byId: Array<Namesakes | undefined> = [undefined]
  for (let id = 1; id < distilled.endId; id++) {
    const name = names.addFrom(distilled, nameOffsetOf(distilled, id))
    let namesakes = byName.get(name)
    if (namesakes === undefined) {
      namesakes = { all: { count: 0, ids: [] }, bySort: new Map(), bySize: new Map() }
      byName.set(name, namesakes)
    }
    byId.push(namesakes)
  }
  for (let blob: Btf | undefined = base; blob !== undefined; blob = blob.base) {
    for (const kind of namedKinds) addNamesakes(blob, kind, names, byName)
  }
  return byId
}

/** The kinds that a type of a distilled base can become. */
const namedKinds: ReadonlyArray<number> = [...distilledKinds, Kind.BTF_KIND_ENUM64]

/** Adds the types of one kind that a blob holds itself to those of their name. */
const addNamesakes = (
  blob: Btf,
  kind: number,
  names: BtfStrings.StringTable,
  byName: ReadonlyMap<number, Namesakes>
): void => {
  const { littleEndian, view } = blob.internal
  for (const id of idsOfKind(blob, kind)) {
    const offset = view.getUint32(recordOffset(blob, id), littleEndian)
    const owner = stringOwnerOf(blob, offset)
    if (owner === undefined) continue
    const start = owner.stringsOffset + (offset - owner.stringsStart)
    const name = names.find(owner.bytes, start, owner.bytes.indexOf(0, start))
    const namesakes = name === undefined || name === 0 ? undefined : byName.get(name)
    if (namesakes === undefined) continue
    const sort = sortOf(blob, id, kind)
    add(namesakes.all, id)
    add(entry(namesakes.bySort, sort), id)
    add(entry(namesakes.bySize, sizeKey(sort, sizeOf(blob, id, kind))), id)
  }
}

/**
 * The ids of `base` by those of `distilled`, which `checkDistilled` found nothing wrong with; `embedded` says which of
 * these need their exact size. Types without a counterpart are reported, and their entry is 0.
 */
export const match = (distilled: Btf, base: Btf, embedded: Uint8Array, report: Report): Uint32Array => {
  const ids = new Uint32Array(distilled.endId)
  const namesakes = namesakesOf(distilled, base)
  for (let id = 1; id < distilled.endId; id++) {
    const known = namesakes[id]
    if (known === undefined) continue
    const exact = embedded[id] !== 0
    const found = choose(distilled, id, exact, known)
    if (found.count === 1) ids[id] = found.ids[0] ?? 0
    else if (found.count > 1) report(() => mismatch("Ambiguous", distilled, id, exact, found, base))
    else report(() => mismatch(whyNot(distilled, id, known), distilled, id, exact, known.all, base))
  }
  return ids
}

/** The types that can stand for a distilled type: one is an answer, several leave it open. */
const choose = (distilled: Btf, id: number, exact: boolean, { bySize, bySort }: Namesakes): Alike => {
  const kind = kindOf(distilled, id)
  const sort = sortOf(distilled, id, kind)
  const sameSize = bySize.get(sizeKey(sort, sizeOf(distilled, id, kind))) ?? nothing
  if (kind === Kind.BTF_KIND_FWD) {
    if (sameSize.count > 0) return sameSize
    // What was declared and not defined may be defined here. libbpf asks the base type's flag for bit fields instead.
    return bySort.get(sort === SORT_UNION_FWD ? SORT_UNION : SORT_STRUCT) ?? nothing
  }
  if (!isComposite(kind)) return sameSize
  // Behind a pointer the size may differ, as long as the name says which type is meant.
  const sameKind = bySort.get(sort) ?? nothing
  const found = exact || sameKind.count > 1 ? sameSize : sameKind
  if (found.count > 0 || exact) return found
  // Behind a pointer it may also be no more than declared. A type of another kind, which libbpf takes, is another type.
  return bySort.get(sort === SORT_UNION ? SORT_UNION_FWD : SORT_STRUCT_FWD) ?? nothing
}

/** Why none of the types of a name can stand for a distilled type. */
const whyNot = (distilled: Btf, id: number, { all, bySize, bySort }: Namesakes): RelocateMismatch["reason"] => {
  if (all.count === 0) return "Missing"
  const kind = kindOf(distilled, id)
  const sort = sortOf(distilled, id, kind)
  if (kind !== Kind.BTF_KIND_INT) return bySort.has(sort) ? "OtherSize" : "OtherKind"
  const size = sizeOf(distilled, id, kind)
  let reason: RelocateMismatch["reason"] = "OtherKind"
  for (let encoding = 0; encoding < 16; encoding++) {
    if (bySize.has(sizeKey(encoding, size))) return "OtherEncoding"
    if (bySort.has(encoding)) reason = "OtherSize"
  }
  return reason
}

const mismatch = (
  reason: RelocateMismatch["reason"],
  distilled: Btf,
  id: number,
  embedded: boolean,
  { count, ids }: Alike,
  base: Btf = distilled
): RelocateMismatch => ({
  reason,
  id,
  name: stringAt(distilled, nameOffsetOf(distilled, id)) ?? "",
  kind: Kind.kindName(kindOf(distilled, id)),
  size: statedSize(distilled, id),
  ...formOf(distilled, id),
  embedded,
  candidates: ids.toSorted((one, other) => one - other).map((candidate): RelocateCandidate => ({
    id: candidate,
    kind: Kind.kindName(kindOf(base, candidate)),
    size: statedSize(base, candidate),
    ...formOf(base, candidate)
  })),
  candidateCount: count
})

const encodings: ReadonlyArray<readonly [number, string]> = [
  [Kind.BTF_INT_SIGNED, "signed"],
  [Kind.BTF_INT_CHAR, "char"],
  [Kind.BTF_INT_BOOL, "bool"]
]

/** What tells a type from others of its kind, name and size. */
const formOf = (btf: Btf, id: number): { readonly form?: string } => {
  switch (kindOf(btf, id)) {
    case Kind.BTF_KIND_INT: {
      const encoding = encodingOf(btf, id)
      const names = encodings.filter(([bit]) => (encoding & bit) !== 0).map(([, name]) => name)
      return { form: names.length === 0 ? "unsigned" : names.join(" ") }
    }
    case Kind.BTF_KIND_FWD:
      return { form: kflagOf(btf, id) ? "union" : "struct" }
    default:
      return {}
  }
}

/** The size of a type of a kind that has one in its third word, else 0. */
const statedSize = (btf: Btf, id: number): number => {
  const kind = kindOf(btf, id)
  const sized = kind !== Kind.BTF_KIND_FWD && (distilledKinds.has(kind) || kind === Kind.BTF_KIND_ENUM64)
  return sized ? sizeOrTypeOf(btf, id) : 0
}

/**
 * Which types of the base of `split` the structs and unions of `split` contain, by id: 1 for those. What is pointed to
 * is not contained; qualifiers, typedefs, tags and arrays are looked through.
 */
export const markEmbedded = (split: Btf): Uint8Array => {
  const { littleEndian, view } = split.internal
  const marks = new Uint8Array(split.firstId)
  const ends = new Uint32Array(split.offsets.length)
  for (const at of split.offsets) {
    const info = view.getUint32(at + 4, littleEndian)
    if (!isComposite((info >>> 24) & 0x7f)) continue
    const stride = Kind.ELEMENT_SIZE[Kind.BTF_KIND_STRUCT] ?? 0
    let member = at + Kind.BTF_TYPE_SIZE
    for (let left = info & 0xff_ffff; left > 0; left--, member += stride) {
      const end = endOfChain(split, view.getUint32(member + 4, littleEndian), ends)
      if (end !== 0 && isComposite(kindOf(split, end))) marks[end] = 1
    }
  }
  return marks
}

/** What a chain of own types leads to that is no type of the base: an own struct, a cycle, something that ends it. */
const ENDS_HERE = 0xffff_ffff

/**
 * The type of the base that `id` is a qualified, named or repeated form of; 0 where it is none. `ends` keeps the answers
 * for own types, so that the links of all chains are followed once.
 */
const endOfChain = (split: Btf, id: number, ends: Uint32Array): number => {
  const { littleEndian, view } = split.internal
  let at = id
  while (at >= split.firstId) {
    const index = at - split.firstId
    const known = ends[index] ?? 0
    if (known !== 0) {
      at = known === ENDS_HERE ? 0 : known
      break
    }
    // Until the end is known: whoever comes back here is in a cycle.
    ends[index] = ENDS_HERE
    at = nextOfChain(view, littleEndian, split.offsets[index] ?? 0)
  }
  if (at !== 0) {
    for (let link = id; link >= split.firstId;) {
      const index = link - split.firstId
      if (ends[index] === at) break
      ends[index] = at
      link = nextOfChain(view, littleEndian, split.offsets[index] ?? 0)
    }
  }
  return at
}

/** What a record qualifies, names or repeats; 0 for a record that does none of these. */
const nextOfChain = (view: DataView, littleEndian: boolean, at: number): number => {
  switch ((view.getUint32(at + 4, littleEndian) >>> 24) & 0x7f) {
    case Kind.BTF_KIND_CONST:
    case Kind.BTF_KIND_VOLATILE:
    case Kind.BTF_KIND_RESTRICT:
    case Kind.BTF_KIND_TYPEDEF:
    case Kind.BTF_KIND_TYPE_TAG:
      return view.getUint32(at + 8, littleEndian)
    case Kind.BTF_KIND_ARRAY:
      return view.getUint32(at + Kind.BTF_TYPE_SIZE, littleEndian)
    default:
      return 0
  }
}
