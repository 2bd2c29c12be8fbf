/**
 * Sizes and alignments as the dump needs them: with no error, since whatever the blob says must be written somehow.
 *
 * Source: reference page `btf-dump`, section E, and `btf-format`, section 9. `BtfResolve` answers the same questions for
 * callers; here a type without an answer counts as 0, and each answer is kept.
 */
import * as Kind from "../BtfKind.ts"
import { MAX_HOPS } from "../BtfResolve.ts"
import { countAt, extraAt, flagAt, wordAt } from "./Flat.ts"
import type { State } from "./State.ts"
import { step } from "./State.ts"

/** States of `state.alignments`; other values are alignments of at most 8 bytes, with a bit for packed structs. */
const UNKNOWN = 0
const PACKED = 32
const INSIDE = 254
const NONE = 255

/** The size of a type in bytes; 0 where it has none or would be 4 GiB or more, as of a flexible array. */
export const sizeOf = (state: State, id: number): number => {
  const { flat } = state
  let count = 1
  let current = id
  for (let hops = 0; hops <= MAX_HOPS; hops++) {
    switch (flat.kinds[current]) {
      case Kind.BTF_KIND_INT:
      case Kind.BTF_KIND_STRUCT:
      case Kind.BTF_KIND_UNION:
      case Kind.BTF_KIND_ENUM:
      case Kind.BTF_KIND_ENUM64:
      case Kind.BTF_KIND_DATASEC:
      case Kind.BTF_KIND_FLOAT:
        return bounded(count * wordAt(flat, current))
      case Kind.BTF_KIND_PTR:
        return bounded(count * state.pointerSize)
      case Kind.BTF_KIND_TYPEDEF:
      case Kind.BTF_KIND_VOLATILE:
      case Kind.BTF_KIND_CONST:
      case Kind.BTF_KIND_RESTRICT:
      case Kind.BTF_KIND_VAR:
      case Kind.BTF_KIND_DECL_TAG:
      case Kind.BTF_KIND_TYPE_TAG:
        current = wordAt(flat, current)
        break
      case Kind.BTF_KIND_ARRAY:
        count *= extraAt(flat, current, 2)
        if (count > 0xffff_ffff) return 0
        current = extraAt(flat, current, 0)
        break
      default:
        return 0
    }
  }
  return 0
}

const bounded = (size: number): number => size > 0xffff_ffff ? 0 : size

/** The alignment of a type in bytes; 0 where it has none. A struct that is packed has alignment 1. */
export const alignmentOf = (state: State, id: number): number => {
  const inner = embedded(state, id)
  const known = leafAlignment(state, inner)
  if (known === UNKNOWN) return bytesOf(settle(state, inner))
  return bytesOf(known)
}

const bytesOf = (found: number): number => found >= INSIDE ? 0 : found & ~PACKED

/** Whether a struct needs the attribute `packed`: a member, or its size, breaks natural alignment. */
export const isPacked = (state: State, id: number): boolean => {
  const known = leafAlignment(state, id)
  const found = known === UNKNOWN ? settle(state, id) : known
  return found >= INSIDE ? looksPacked(state, id) : (found & PACKED) !== 0
}

/** The type whose alignment is that of `id`: behind typedefs, qualifiers and arrays. */
const embedded = (state: State, id: number): number => {
  const { flat } = state
  let current = id
  for (let hops = 0; hops <= flat.endId; hops++) {
    switch (flat.kinds[current]) {
      case Kind.BTF_KIND_TYPEDEF:
      case Kind.BTF_KIND_VOLATILE:
      case Kind.BTF_KIND_CONST:
      case Kind.BTF_KIND_RESTRICT:
      case Kind.BTF_KIND_TYPE_TAG:
        current = wordAt(flat, current)
        break
      case Kind.BTF_KIND_ARRAY:
        current = extraAt(flat, current, 0)
        break
      default:
        if (hops > 0) step(state, hops)
        return current
    }
  }
  step(state, flat.endId)
  return 0
}

/** The alignment of a type that contains none, or what is known of a struct or union. */
const leafAlignment = (state: State, id: number): number => {
  switch (state.flat.kinds[id]) {
    case Kind.BTF_KIND_INT:
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_ENUM64:
    case Kind.BTF_KIND_FLOAT:
      return Math.min(state.pointerSize, wordAt(state.flat, id)) || NONE
    case Kind.BTF_KIND_PTR:
      return state.pointerSize
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      return state.alignments[id] ?? NONE
    default:
      return NONE
  }
}

/**
 * Computes the alignment of a struct or union of which nothing is known, after those of the structs and unions in it.
 * The walk has a frame for each that is not complete: its id, the next member, the largest alignment so far.
 */
const settle = (state: State, id: number): number => {
  const { alignments, flat, layoutWalk: walk } = state
  let top = 0
  walk[0] = id
  walk[1] = 0
  walk[2] = 1
  alignments[id] = INSIDE
  while (top >= 0) {
    const current = walk[top] ?? 0
    const flagged = flagAt(flat, current)
    const end = countAt(flat, current)
    let largest = walk[top + 2] ?? 1
    let result = UNKNOWN
    let index = walk[top + 1] ?? 0
    for (; index < end; index++) {
      const member = embedded(state, extraAt(flat, current, index * 3 + 1))
      const alignment = leafAlignment(state, member)
      if (alignment === UNKNOWN) {
        walk[top + 1] = index
        walk[top + 2] = largest
        top += 3
        walk[top] = member
        walk[top + 1] = 0
        walk[top + 2] = 1
        alignments[member] = INSIDE
        break
      }
      // A member that contains this very type has none either.
      if (alignment >= INSIDE) {
        result = NONE
        break
      }
      const bytes = alignment & ~PACKED
      if (bytes > largest) largest = bytes
      const offset = extraAt(flat, current, index * 3 + 2)
      if (!isBitfield(flagged, offset) && bitOffset(flagged, offset) % (8 * bytes) !== 0) {
        result = 1 | PACKED
        break
      }
    }
    if (result === UNKNOWN) {
      if (index < end) continue
      result = wordAt(flat, current) % largest === 0 ? largest : 1 | PACKED
    }
    alignments[current] = result
    top -= 3
  }
  return alignments[id] ?? NONE
}

const isBitfield = (flagged: boolean, offset: number): boolean => flagged && offset >>> 24 !== 0

const bitOffset = (flagged: boolean, offset: number): number => flagged ? offset & 0xff_ffff : offset

/** Whether a struct looks packed that has members without an alignment: they are passed over. */
const looksPacked = (state: State, id: number): boolean => {
  const { flat } = state
  const flagged = flagAt(flat, id)
  const count = countAt(flat, id)
  let largest = 1
  for (let index = 0; index < count; index++) {
    const alignment = alignmentOf(state, extraAt(flat, id, index * 3 + 1))
    const offset = extraAt(flat, id, index * 3 + 2)
    if (alignment > 0 && !isBitfield(flagged, offset) && bitOffset(flagged, offset) % (8 * alignment) !== 0) {
      return true
    }
    if (alignment > largest) largest = alignment
  }
  return wordAt(flat, id) % largest !== 0
}
