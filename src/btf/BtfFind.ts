/**
 * Types by name and by kind.
 *
 * A blob whose types are in the order of their names is searched by halves. Of any other the first few lookups walk over
 * all types, which is what a program with one question wants; when that has cost about as much, hash chains are built
 * over the names, eight bytes per type and no strings. All lookups compare bytes with the encoded needle. A blob is
 * immutable, so what was built is kept in it.
 *
 * ```ts
 * const found = Btf.find(vmlinux, "task_struct", Btf.BTF_KIND_STRUCT)
 * if (found._tag === "One") console.log(Btf.resolveSize(vmlinux, found.id))
 * ```
 */
import { BTF_KIND_LIMIT, BTF_KIND_UNKN } from "./BtfKind.ts"
import type { Btf, KindIndex, NameChains, NameIndex } from "./BtfModel.ts"
import { stringOwnerOf } from "./BtfModel.ts"

/** What `find` answers: no type of that name, exactly one, or several, in order of ids with the base's first. */
export type Found =
  | { readonly _tag: "None" }
  | { readonly _tag: "One"; readonly id: number }
  | { readonly _tag: "Ambiguous"; readonly ids: ReadonlyArray<number> }

/**
 * The types called `name`, of kind `kind` where one is given, in the base and in this blob. The empty name finds
 * anonymous types. `void` is type 0.
 */
export const find = (btf: Btf, name: string, kind?: number): Found => {
  const ids: Array<number> = []
  if (isVoid(name, kind)) return { _tag: "One", id: 0 }
  const needle = encodeNeedle(name)
  if (needle !== undefined) {
    for (const blob of chainOf(btf)) collect(blob, needle, kind, ids, false)
  }
  const [id] = ids
  if (id === undefined) return { _tag: "None" }
  return ids.length === 1 ? { _tag: "One", id } : { _tag: "Ambiguous", ids }
}

/**
 * The first type called `name`, of kind `kind` where one is given: the base's before this blob's, lower ids before
 * higher ones, as libbpf finds it; `undefined` where there is none.
 */
export const findOne = (btf: Btf, name: string, kind?: number): number | undefined => {
  if (isVoid(name, kind)) return 0
  const needle = encodeNeedle(name)
  if (needle === undefined) return undefined
  const ids: Array<number> = []
  for (const blob of chainOf(btf)) {
    collect(blob, needle, kind, ids, true)
    if (ids.length > 0) break
  }
  return ids[0]
}

/**
 * The first type called `name`, of kind `kind` where one is given, among the blob's own types, its base's left out;
 * `undefined` where there is none. `void` belongs to the blob without a base.
 */
export const findOwn = (btf: Btf, name: string, kind?: number): number | undefined => {
  if (isVoid(name, kind)) return btf.base === undefined ? 0 : undefined
  const needle = encodeNeedle(name)
  const ids: Array<number> = []
  if (needle !== undefined) collect(btf, needle, kind, ids, true)
  return ids[0]
}

/**
 * The ids of the blob's own types of kind `kind`, in order; those of its base are `idsOfKind(btf.base, kind)`. The array
 * is a view of an index that is built at the first call, four bytes per type, and must not be changed.
 */
export const idsOfKind = (btf: Btf, kind: number): Readonly<Uint32Array> => {
  const { ids, starts } = btf.internal.cache.kinds ??= buildKindIndex(btf)
  return Number.isInteger(kind) && kind >= 0 && kind < BTF_KIND_LIMIT
    ? ids.subarray(starts[kind], starts[kind + 1])
    : ids.subarray(0, 0)
}

/** Sorts by counting: how many types there are of each kind says where those of each begin. */
const buildKindIndex = (blob: Btf): KindIndex => {
  const { offsets } = blob
  const ids = new Uint32Array(offsets.length)
  const starts = new Uint32Array(BTF_KIND_LIMIT + 1)
  for (let index = 0; index < offsets.length; index++) {
    const after = kindAt(blob, index) + 1
    starts[after] = (starts[after] ?? 0) + 1
  }
  for (let kind = 0; kind < BTF_KIND_LIMIT; kind++) starts[kind + 1] = (starts[kind + 1] ?? 0) + (starts[kind] ?? 0)
  const places = starts.slice()
  for (let index = 0; index < offsets.length; index++) {
    const kind = kindAt(blob, index)
    const place = places[kind] ?? 0
    ids[place] = blob.firstId + index
    places[kind] = place + 1
  }
  return { ids, starts }
}

const isVoid = (name: string, kind: number | undefined): boolean => name === "void" || kind === BTF_KIND_UNKN

/** The needle's bytes. A name with a NUL in it is no name, and its bytes would match two adjacent strings. */
const encodeNeedle = (name: string): Uint8Array | undefined => name.includes("\0") ? undefined : utf8.encode(name)

const utf8 = new TextEncoder()

/** The blobs of a chain, the one without a base first. */
const chainOf = (btf: Btf): ReadonlyArray<Btf> => {
  const chain: Array<Btf> = []
  for (let blob: Btf | undefined = btf; blob !== undefined; blob = blob.base) chain.push(blob)
  return chain.reverse()
}

/** Lookups in one blob that walk over all types before chains are built, which takes about as long as these. */
const MAX_WALKS = 4

/** Appends the matches among the blob's own types, in order of ids; of `first`, one is enough. */
const collect = (blob: Btf, needle: Uint8Array, kind: number | undefined, ids: Array<number>, first: boolean): void => {
  if (needle.length === 0) return collectWalking(blob, needle, kind, ids, first)
  const names = blob.internal.cache.names ??= { sortedFrom: sortedFrom(blob), walks: 0, chains: undefined }
  if (names.sortedFrom >= 0) return collectSorted(blob, names, needle, kind, ids, first)
  if (names.chains === undefined && names.walks < MAX_WALKS) {
    names.walks++
    return collectWalking(blob, needle, kind, ids, first)
  }
  collectHashed(blob, names.chains ??= buildChains(blob), needle, kind, ids, first)
}

/** The walk: each type's kind and name in turn. */
const collectWalking = (
  blob: Btf,
  needle: Uint8Array,
  kind: number | undefined,
  ids: Array<number>,
  first: boolean
): void => {
  const { length } = blob.offsets
  let known = NO_STRING
  for (let index = 0; index < length; index++) {
    if (kind !== undefined && kindAt(blob, index) !== kind) continue
    const name = nameAt(blob, index)
    if (name !== known && compareName(blob, name, needle) !== 0) continue
    known = name
    ids.push(blob.firstId + index)
    if (first) return
  }
}

/** Halves the types until it is at the first of the name, then takes all that follow and have it too. */
const collectSorted = (
  blob: Btf,
  names: NameIndex,
  needle: Uint8Array,
  kind: number | undefined,
  ids: Array<number>,
  first: boolean
): void => {
  const { length } = blob.offsets
  let low = names.sortedFrom
  let high = length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareName(blob, nameAt(blob, middle), needle) < 0) low = middle + 1
    else high = middle
  }
  let known = NO_STRING
  for (let index = low; index < length; index++) {
    const name = nameAt(blob, index)
    if (name !== known && compareName(blob, name, needle) !== 0) return
    known = name
    if (kind !== undefined && kindAt(blob, index) !== kind) continue
    ids.push(blob.firstId + index)
    if (first) return
  }
}

/** Follows the chain of the needle's hash. */
const collectHashed = (
  blob: Btf,
  chains: NameChains,
  needle: Uint8Array,
  kind: number | undefined,
  ids: Array<number>,
  first: boolean
): void => {
  const { heads, mask, next } = chains
  let known = NO_STRING
  for (let entry = heads[hash(needle, 0) & mask] ?? 0; entry !== 0; entry = next[entry - 1] ?? 0) {
    if (kind !== undefined && kindAt(blob, entry - 1) !== kind) continue
    const name = nameAt(blob, entry - 1)
    if (name !== known && compareName(blob, name, needle) !== 0) continue
    known = name
    ids.push(blob.firstId + entry - 1)
    if (first) return
  }
}

/**
 * No string offset. A lookup remembers the offset that it last found equal to the needle, so that types which share one
 * long string are not compared byte by byte each.
 */
const NO_STRING = -1

const kindAt = (blob: Btf, index: number): number => {
  const { littleEndian, view } = blob.internal
  return (view.getUint32((blob.offsets[index] ?? 0) + 4, littleEndian) >>> 24) & 0x7f
}

const nameAt = (blob: Btf, index: number): number => {
  const { littleEndian, view } = blob.internal
  return view.getUint32(blob.offsets[index] ?? 0, littleEndian)
}

/**
 * Compares the string at `offset` with the needle, byte by byte: 0 where they are equal, below 0 where the string comes
 * first. A string that does not exist comes before all.
 */
const compareName = (blob: Btf, offset: number, needle: Uint8Array): number => {
  const owner = stringOwnerOf(blob, offset)
  if (owner === undefined) return -1
  const { bytes } = owner
  const start = owner.stringsOffset + (offset - owner.stringsStart)
  for (let at = 0; at < needle.length; at++) {
    // The area ends with a NUL, and a needle has none: the loop ends there at the latest.
    const difference = (bytes[start + at] ?? 0) - (needle[at] ?? 0)
    if (difference !== 0) return difference
  }
  return bytes[start + needle.length] ?? 0
}

/** Where the names of a sorted blob begin; -1 for an unsorted one, of which as a rule the first few types tell. */
const sortedFrom = (blob: Btf): number => {
  const { length } = blob.offsets
  let from = 0
  while (from < length && isAnonymous(blob, nameAt(blob, from))) from++
  for (let index = from + 1; index < length; index++) {
    if (!isOrdered(blob, nameAt(blob, index - 1), nameAt(blob, index))) return -1
  }
  return from
}

/** Whether the string at `offset` is empty, which one at another offset than 0 may also be. */
const isAnonymous = (blob: Btf, offset: number): boolean => compareName(blob, offset, noBytes) === 0

const noBytes = new Uint8Array(0)

const isOrdered = (blob: Btf, one: number, other: number): boolean => {
  if (one === other) return true
  const left = stringOwnerOf(blob, one)
  const right = stringOwnerOf(blob, other)
  if (left === undefined || right === undefined) return false
  let a = left.stringsOffset + (one - left.stringsStart)
  let b = right.stringsOffset + (other - right.stringsStart)
  for (;; a++, b++) {
    const first = left.bytes[a] ?? 0
    const second = right.bytes[b] ?? 0
    if (first !== second) return first < second
    if (first === 0) return true
  }
}

/**
 * FNV-1a over the bytes up to a NUL. The whole name counts: `BtfCheck` bounds the text that all names together have, and
 * so the time for all hashes.
 */
const hash = (bytes: Uint8Array, start: number): number => {
  let value = 0x811c9dc5
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0
    if (byte === 0) break
    value = Math.imul(value ^ byte, 0x01000193)
  }
  // The low bits choose the chain; FNV mixes upwards, so its high bits are folded in.
  return value ^ (value >>> 15)
}

/** Walks the types backwards, so that each chain is in order of ids. */
const buildChains = (blob: Btf): NameChains => {
  const { length } = blob.offsets
  const mask = 2 ** Math.max(4, 32 - Math.clz32(length)) - 1
  const heads = new Uint32Array(mask + 1)
  const next = new Uint32Array(length)
  for (let index = length - 1; index >= 0; index--) {
    const offset = nameAt(blob, index)
    if (offset === 0) continue
    const owner = stringOwnerOf(blob, offset)
    if (owner === undefined) continue
    const bucket = hash(owner.bytes, owner.stringsOffset + (offset - owner.stringsStart)) & mask
    next[index] = heads[bucket] ?? 0
    heads[bucket] = index + 1
  }
  return { mask, heads, next }
}
