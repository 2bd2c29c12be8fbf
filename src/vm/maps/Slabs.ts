/**
 * Memory of elements that never moves: records of one size in slabs that are allocated, zeroed, when they are touched.
 *
 * An element's bytes stay where they are for the life of the map, so that a pointer which a program has got sees all
 * later writes, and the program's writes are seen by all later look-ups. A map of four thousand million elements costs
 * nothing until it is used.
 */

/** What a slab is meant to take, bytes; a record that is longer has a slab of its own. */
const slabBytes = 65536

/** Records of `stride` bytes, numbered from 0 to `total` - 1. */
export interface Slabs {
  readonly stride: number
  readonly total: number
  /** Records per slab are a power of two, `1 << shift`. */
  readonly shift: number
  readonly mask: number
  readonly slabs: Array<Uint8Array | undefined>
  /** Views of values that were handed out: the same element always gives the same view. */
  readonly views: Array<Array<Uint8Array | undefined> | undefined>
}

/** Room for `total` records of `stride` bytes, a multiple of 8; all of them in `contiguous`, where that is given. */
export const make = (stride: number, total: number, contiguous?: Uint8Array): Slabs => {
  const records = Math.min(total, Math.max(1, Math.floor(slabBytes / Math.max(stride, 1))))
  // A slab holds no more than 64 KiB, so only the one that somebody gives may be larger.
  const shift = contiguous === undefined ? 31 - Math.clz32(records) : 32 - Math.clz32(total - 1)
  return {
    stride,
    total,
    shift,
    mask: 2 ** shift - 1,
    slabs: contiguous === undefined ? [] : [contiguous],
    views: []
  }
}

/** The slab that holds record `index`, allocated if need be. `index` is below `total`; the caller checks. */
export const slabOf = (slabs: Slabs, index: number): Uint8Array =>
  slabs.slabs[index >>> slabs.shift] ?? allocate(slabs, index)

/** The slab that holds record `index`, or undefined where it was never touched and so is all zeros. */
export const touchedSlabOf = (slabs: Slabs, index: number): Uint8Array | undefined => slabs.slabs[index >>> slabs.shift]

/** Where record `index` begins in its slab, bytes. */
export const offsetOf = (slabs: Slabs, index: number): number => (index & slabs.mask) * slabs.stride

const allocate = (slabs: Slabs, index: number): Uint8Array => {
  const at = index >>> slabs.shift
  const records = Math.min(slabs.mask + 1, slabs.total - at * (slabs.mask + 1))
  const slab = new Uint8Array(records * slabs.stride)
  slabs.slabs[at] = slab
  return slab
}

/**
 * The view of `length` bytes of part `part` of record `index`, which has `parts` parts of equal stride; the same view at
 * every call.
 */
export const viewOf = (slabs: Slabs, index: number, part: number, parts: number, length: number): Uint8Array => {
  const at = index >>> slabs.shift
  const views = (slabs.views[at] ??= [])
  const slot = (index & slabs.mask) * parts + part
  const known = views[slot]
  if (known !== undefined) return known
  const start = offsetOf(slabs, index) + part * (slabs.stride / parts)
  const view = slabOf(slabs, index).subarray(start, start + length)
  views[slot] = view
  return view
}
