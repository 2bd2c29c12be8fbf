/**
 * The order of a sorted dump, which makes headers of two builds comparable: by what a type is, then by names.
 *
 * Source: reference page `btf-dump`, section H.3. bpftool loses the first entry of its sorted list; here all are there.
 */
import * as Kind from "../BtfKind.ts"
import type { Flat } from "./Flat.ts"
import { countAt, extraAt, nameAt, wordAt } from "./Flat.ts"
import { sortStrings } from "./SortStrings.ts"
import type { State } from "./State.ts"
import { step } from "./State.ts"

/** The rank of types that have no place of their own. */
const LAST_RANK = 10

/** All ids but `void`'s, in the order of a sorted dump. */
export const sortedIds = (state: State): Uint32Array => {
  const { flat } = state
  const count = flat.endId
  const ends = behindReferences(flat)
  const ranks = new Uint8Array(count)
  const own = new Uint32Array(count)
  const sortNames = new Uint32Array(count)
  for (let id = 1; id < count; id++) {
    const end = ends[id] ?? 0
    const name = nameAt(flat, id)
    own[id] = name
    ranks[id] = rankOf(flat, id, end, name)
    sortNames[id] = end === id ? firstName(flat, id, name) : nameAt(flat, end)
  }
  // Names become their places among all names.
  const places = sortStrings(flat.strings, [own, sortNames])
  for (let id = 1; id < count; id++) {
    own[id] = places[own[id] ?? 0] ?? 0
    sortNames[id] = places[sortNames[id] ?? 0] ?? 0
  }
  let ids = new Uint32Array(count - 1)
  for (let index = 0; index < ids.length; index++) ids[index] = index + 1
  ids = sortBy(ids, own)
  ids = sortBy(ids, sortNames)
  ids = sortByDigit(ids, ranks, 0)
  sortTies(state, ids, (left, right) =>
    ranks[left] === ranks[right] && sortNames[left] === sortNames[right] && own[left] === own[right])
  return ids
}

const isReference = (kind: number | undefined): boolean => {
  switch (kind) {
    case Kind.BTF_KIND_TYPE_TAG:
    case Kind.BTF_KIND_CONST:
    case Kind.BTF_KIND_PTR:
    case Kind.BTF_KIND_VOLATILE:
    case Kind.BTF_KIND_RESTRICT:
    case Kind.BTF_KIND_TYPEDEF:
    case Kind.BTF_KIND_DECL_TAG:
    case Kind.BTF_KIND_ARRAY:
      return true
    default:
      return false
  }
}

const targetOf = (flat: Flat, id: number): number =>
  flat.kinds[id] === Kind.BTF_KIND_ARRAY ? extraAt(flat, id, 0) : wordAt(flat, id)

/** Of each type the one behind all references and arrays; `void` for those that lead into a cycle. */
const behindReferences = (flat: Flat): Uint32Array => {
  const ends = new Uint32Array(flat.endId)
  const seen = new Uint8Array(flat.endId)
  seen[0] = 1
  for (let id = 1; id < flat.endId; id++) {
    let current = id
    while (seen[current] === 0) {
      seen[current] = 1
      if (!isReference(flat.kinds[current])) {
        ends[current] = current
        break
      }
      current = targetOf(flat, current)
    }
    const end = ends[current] ?? 0
    for (let walked = id; walked !== current; walked = targetOf(flat, walked)) ends[walked] = end
  }
  return ends
}

/** A reference with a name has the rank of what is behind it, where no other name is asked for any more. */
const rankOf = (flat: Flat, id: number, end: number, name: number): number => {
  if (end !== id && name === 0) return LAST_RANK
  switch (flat.kinds[end]) {
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_ENUM64:
      return name === 0 ? 0 : 1
    case Kind.BTF_KIND_INT:
    case Kind.BTF_KIND_FLOAT:
      return 2
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      return name === 0 ? LAST_RANK : 3
    case Kind.BTF_KIND_FUNC_PROTO:
      return name === 0 ? LAST_RANK : 4
    default:
      return LAST_RANK
  }
}

/** The name to sort by of a type that is no reference: an enum without a name has that of its first value. */
const firstName = (flat: Flat, id: number, name: number): number => {
  const kind = flat.kinds[id]
  const enumeration = kind === Kind.BTF_KIND_ENUM || kind === Kind.BTF_KIND_ENUM64
  return name === 0 && enumeration && countAt(flat, id) > 0 ? extraAt(flat, id, 0) : name
}

/** Sorts ids by a 32-bit key, keeping the order of equal ones. */
const sortBy = (ids: Uint32Array<ArrayBuffer>, keys: Uint32Array): Uint32Array<ArrayBuffer> => {
  const low = sortByDigit(ids, keys, 0)
  return keys.some((key) => key > 0xffff) ? sortByDigit(low, keys, 16) : low
}

const sortByDigit = (
  ids: Uint32Array<ArrayBuffer>,
  keys: Uint32Array | Uint8Array,
  shift: number
): Uint32Array<ArrayBuffer> => {
  const starts = new Uint32Array(0x1_0001)
  for (const id of ids) {
    const digit = ((keys[id] ?? 0) >>> shift) & 0xffff
    starts[digit + 1] = (starts[digit + 1] ?? 0) + 1
  }
  for (let digit = 0; digit < 0x1_0000; digit++) starts[digit + 1] = (starts[digit + 1] ?? 0) + (starts[digit] ?? 0)
  const sorted = new Uint32Array(ids.length)
  for (const id of ids) {
    const digit = ((keys[id] ?? 0) >>> shift) & 0xffff
    const to = starts[digit] ?? 0
    starts[digit] = to + 1
    sorted[to] = id
  }
  return sorted
}

/** Sorts runs of ids that have all names in common by what is in the types, then by id. */
const sortTies = (state: State, ids: Uint32Array, same: (left: number, right: number) => boolean): void => {
  const hash: Hash = { high: 0, low: 0 }
  for (let start = 0; start < ids.length;) {
    let end = start + 1
    while (end < ids.length && same(ids[start] ?? 0, ids[end] ?? 0)) end++
    if (end - start > 1) {
      const highs = new Map<number, number>()
      const lows = new Map<number, number>()
      for (let index = start; index < end; index++) {
        const id = ids[index] ?? 0
        hashType(state, id, true, hash)
        highs.set(id, hash.high)
        lows.set(id, hash.low)
      }
      ids.subarray(start, end).sort((left, right) =>
        (highs.get(left) ?? 0) - (highs.get(right) ?? 0) || (lows.get(left) ?? 0) - (lows.get(right) ?? 0)
        || left - right
      )
    }
    start = end
  }
}

/** A 64-bit value in halves. */
interface Hash {
  high: number
  low: number
}

/** `hash * 31 + value`, modulo 2^64. */
const mix = (hash: Hash, high: number, low: number): void => {
  const product = hash.low * 31 + low
  hash.low = product >>> 0
  hash.high = (hash.high * 31 + high + Math.floor(product / 0x1_0000_0000)) % 0x1_0000_0000
}

const mixName = (state: State, hash: Hash, name: number): void => {
  if (name === 0) return
  const { strings } = state.flat
  const text: Hash = { high: 0, low: 0 }
  for (let at = name; at < strings.length; at++) {
    const byte = strings[at] ?? 0
    if (byte === 0) break
    // Characters are signed where bpftool is mostly run.
    if (byte < 0x80) mix(text, 0, byte)
    else mix(text, 0xffff_ffff, 0xffff_ff00 + byte)
  }
  mix(hash, text.high, text.low)
}

/** The hash that tells types of equal names apart: over the names in the type, and of its members' types. */
const hashType = (state: State, id: number, members: boolean, hash: Hash): void => {
  const { flat } = state
  const chain: Array<number> = []
  let current = id
  while (isReference(flat.kinds[current]) && chain.length < flat.endId) {
    chain.push(current)
    current = targetOf(flat, current)
  }
  step(state, chain.length + 1)
  hash.high = 0
  hash.low = 0
  mixName(state, hash, nameAt(flat, current))
  const kind = flat.kinds[current]
  const count = countAt(flat, current)
  if (kind === Kind.BTF_KIND_ENUM || kind === Kind.BTF_KIND_ENUM64) {
    step(state, count)
    const stride = kind === Kind.BTF_KIND_ENUM ? 2 : 3
    for (let index = 0; index < count; index++) mixName(state, hash, extraAt(flat, current, index * stride))
  } else if (members && (kind === Kind.BTF_KIND_STRUCT || kind === Kind.BTF_KIND_UNION)) {
    const member: Hash = { high: 0, low: 0 }
    for (let index = 0; index < count; index++) {
      mixName(state, hash, extraAt(flat, current, index * 3))
      hashType(state, extraAt(flat, current, index * 3 + 1), false, member)
      mix(hash, member.high, member.low)
    }
  }
  // Each reference mixes its own name, an array its length, and then the hash of what it refers to.
  for (let reference = chain.pop(); reference !== undefined; reference = chain.pop()) {
    const { high, low } = hash
    hash.high = 0
    hash.low = 0
    mixName(state, hash, nameAt(flat, reference))
    if (flat.kinds[reference] === Kind.BTF_KIND_ARRAY) mix(hash, 0, extraAt(flat, reference, 2))
    mix(hash, high, low)
  }
}
