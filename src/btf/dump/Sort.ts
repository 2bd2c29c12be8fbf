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

/** The rank of types that have no place of their own. */
const LAST_RANK = 10

/** All ids but `void`'s, in the order of a sorted dump. */
export const sortedIds = (state: State): Uint32Array => {
  const { flat } = state
  const count = flat.endId
  const ends = behindReferences(flat)
  const ranks = new Uint32Array(count)
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
  ids = sortBy(ids, ranks)
  sortTies(
    state,
    ids,
    (left, right) => ranks[left] === ranks[right] && sortNames[left] === sortNames[right] && own[left] === own[right]
  )
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

/** Bits of a key that one pass sorts by: its counts fit into the nearest cache. */
const DIGIT = 11

/** Sorts ids by a 32-bit key, keeping the order of equal ones. */
const sortBy = (ids: Uint32Array<ArrayBuffer>, keys: Uint32Array): Uint32Array<ArrayBuffer> => {
  let largest = 0
  for (let index = 0; index < ids.length; index++) {
    const key = keys[ids[index] ?? 0] ?? 0
    if (key > largest) largest = key
  }
  let sorted = ids
  for (let shift = 0; shift < 32 && largest >>> shift > 0; shift += DIGIT) sorted = sortByDigit(sorted, keys, shift)
  return sorted
}

const sortByDigit = (
  ids: Uint32Array<ArrayBuffer>,
  keys: Uint32Array,
  shift: number
): Uint32Array<ArrayBuffer> => {
  const count = ids.length
  const mask = (1 << DIGIT) - 1
  const starts = new Uint32Array((1 << DIGIT) + 1)
  for (let index = 0; index < count; index++) {
    const next = (((keys[ids[index] ?? 0] ?? 0) >>> shift) & mask) + 1
    starts[next] = (starts[next] ?? 0) + 1
  }
  for (let digit = 0; digit < mask; digit++) starts[digit + 1] = (starts[digit + 1] ?? 0) + (starts[digit] ?? 0)
  const sorted = new Uint32Array(count)
  for (let index = 0; index < count; index++) {
    const id = ids[index] ?? 0
    const digit = ((keys[id] ?? 0) >>> shift) & mask
    const to = starts[digit] ?? 0
    starts[digit] = to + 1
    sorted[to] = id
  }
  return sorted
}

/** Groups of more types than this are sorted digit by digit. */
const MANY = 2048

/** Sorts runs of ids that have all names in common by what is in the types, then by id. */
const sortTies = (
  state: State,
  ids: Uint32Array<ArrayBuffer>,
  same: (left: number, right: number) => boolean
): void => {
  const count = state.flat.endId
  const hashes: Hashes = { full: makeHalves(count), short: makeHalves(count), high: 0, low: 0 }
  const { high, low } = hashes.full
  for (let start = 0; start < ids.length;) {
    let end = start + 1
    while (end < ids.length && same(ids[start] ?? 0, ids[end] ?? 0)) end++
    if (end - start > 1) {
      const run = ids.slice(start, end)
      for (const id of run) hashType(state, hashes, id, hashes.full)
      if (run.length > MANY) ids.set(sortBy(sortBy(run, low), high), start)
      else {
        ids.set(
          run.sort((left, right) =>
            (high[left] ?? 0) - (high[right] ?? 0) || (low[left] ?? 0) - (low[right] ?? 0) || left - right
          ),
          start
        )
      }
    }
    start = end
  }
}

/** 64-bit hashes of types, in halves by id: of all that is in a type, or short ones, without members. */
interface Hashes {
  readonly full: Halves
  readonly short: Halves
  /** The hash that is being computed: halves as signed integers, which engines handle best. */
  high: number
  low: number
}

interface Halves {
  readonly known: Uint8Array
  readonly high: Uint32Array
  readonly low: Uint32Array
}

const makeHalves = (count: number): Halves => ({
  known: new Uint8Array(count),
  high: new Uint32Array(count),
  low: new Uint32Array(count)
})

/** Turns the order of signed integers into that of unsigned ones. */
const SIGN = -0x8000_0000

/** `hash * 31 + value`, modulo 2^64: 32 times less once, and the carries. */
const mix = (hashes: Hashes, high: number, low: number): void => {
  const shifted = hashes.low << 5
  const product = (shifted - hashes.low) | 0
  const sum = (product + low) | 0
  const borrow = (shifted ^ SIGN) < (hashes.low ^ SIGN) ? 1 : 0
  const carry = (sum ^ SIGN) < (product ^ SIGN) ? 1 : 0
  hashes.high = (((hashes.high << 5) | (hashes.low >>> 27)) - hashes.high - borrow + high + carry) | 0
  hashes.low = sum
}

/** Mixes the hash of a name, which is made of its bytes in the same way; a type without a name mixes nothing. */
const mixName = (state: State, hashes: Hashes, name: number): void => {
  if (name === 0) return
  const { strings } = state.flat
  const { high, low } = hashes
  hashes.high = 0
  hashes.low = 0
  for (let at = name; at < strings.length; at++) {
    const byte = strings[at] ?? 0
    if (byte === 0) break
    // Characters are signed where bpftool is mostly run.
    if (byte < 0x80) mix(hashes, 0, byte)
    else mix(hashes, -1, byte - 0x100)
  }
  const nameHigh = hashes.high
  const nameLow = hashes.low
  hashes.high = high
  hashes.low = low
  mix(hashes, nameHigh, nameLow)
}

/** Computes the hash that tells types of equal names apart: over the names in the type, and of its members' types. */
const hashType = (state: State, hashes: Hashes, id: number, halves: Halves): void => {
  const { flat } = state
  const chain: Array<number> = []
  let current = id
  while (halves.known[current] === 0 && isReference(flat.kinds[current]) && chain.length < flat.endId) {
    chain.push(current)
    current = targetOf(flat, current)
  }
  if (halves.known[current] === 0) hashEnd(state, hashes, current, halves)
  // Each reference mixes its own name, an array its length, and then the hash of what it refers to.
  for (let reference = chain.pop(); reference !== undefined; reference = chain.pop()) {
    hashes.high = 0
    hashes.low = 0
    mixName(state, hashes, nameAt(flat, reference))
    if (flat.kinds[reference] === Kind.BTF_KIND_ARRAY) mix(hashes, 0, extraAt(flat, reference, 2))
    mix(hashes, halves.high[current] ?? 0, halves.low[current] ?? 0)
    keep(hashes, reference, halves)
    current = reference
  }
}

const keep = (hashes: Hashes, id: number, halves: Halves): void => {
  halves.known[id] = 1
  halves.high[id] = hashes.high
  halves.low[id] = hashes.low
}

/** The hash of a type that is no reference. */
const hashEnd = (state: State, hashes: Hashes, id: number, halves: Halves): void => {
  const { flat } = state
  const kind = flat.kinds[id]
  const count = countAt(flat, id)
  const composite = kind === Kind.BTF_KIND_STRUCT || kind === Kind.BTF_KIND_UNION
  const withMembers = composite && halves === hashes.full
  if (withMembers) {
    for (let index = 0; index < count; index++) {
      hashType(state, hashes, extraAt(flat, id, index * 3 + 1), hashes.short)
    }
  }
  hashes.high = 0
  hashes.low = 0
  mixName(state, hashes, nameAt(flat, id))
  if (kind === Kind.BTF_KIND_ENUM || kind === Kind.BTF_KIND_ENUM64) {
    const stride = kind === Kind.BTF_KIND_ENUM ? 2 : 3
    for (let index = 0; index < count; index++) mixName(state, hashes, extraAt(flat, id, index * stride))
  } else if (withMembers) {
    const { high, low } = hashes.short
    for (let index = 0; index < count; index++) {
      const type = extraAt(flat, id, index * 3 + 1)
      mixName(state, hashes, extraAt(flat, id, index * 3))
      mix(hashes, high[type] ?? 0, low[type] ?? 0)
    }
  }
  keep(hashes, id, halves)
}
