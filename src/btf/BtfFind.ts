/**
 * Types by name.
 *
 * The first lookup builds hash chains over the names of a blob, eight bytes per type and no strings; a later lookup
 * compares bytes with the encoded needle. A blob is immutable, so the chains are kept in it.
 */
import { BTF_KIND_UNKN } from "./BtfKind.ts"
import type { Btf, NameIndex } from "./BtfModel.ts"
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
  if (needle !== undefined) collect(btf, needle, kind, ids, false)
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
  collect(btf, needle, kind, ids, true)
  return ids[0]
}

const isVoid = (name: string, kind: number | undefined): boolean => name === "void" || kind === BTF_KIND_UNKN

/** The needle's bytes. A name with a NUL in it is no name, and its bytes would match two adjacent strings. */
const encodeNeedle = (name: string): Uint8Array | undefined => name.includes("\0") ? undefined : utf8.encode(name)

const utf8 = new TextEncoder()

/** Appends the matches of the chain of blobs, bases first; of `first`, one is enough. */
const collect = (btf: Btf, needle: Uint8Array, kind: number | undefined, ids: Array<number>, first: boolean): void => {
  const chain: Array<Btf> = []
  for (let blob: Btf | undefined = btf; blob !== undefined; blob = blob.base) chain.push(blob)
  for (const blob of chain.reverse()) {
    if (needle.length === 0) collectAnonymous(blob, kind, ids, first)
    else collectNamed(blob, needle, kind, ids, first)
    if (first && ids.length > 0) return
  }
}

const collectAnonymous = (blob: Btf, kind: number | undefined, ids: Array<number>, first: boolean): void => {
  for (let index = 0; index < blob.offsets.length; index++) {
    if (hasKind(blob, index, kind) && nameEquals(blob, index, noBytes)) {
      ids.push(blob.firstId + index)
      if (first) return
    }
  }
}

const noBytes = new Uint8Array(0)

const collectNamed = (
  blob: Btf,
  needle: Uint8Array,
  kind: number | undefined,
  ids: Array<number>,
  first: boolean
): void => {
  const { heads, mask, next } = nameIndex(blob)
  for (let entry = heads[hash(needle, 0) & mask] ?? 0; entry !== 0; entry = next[entry - 1] ?? 0) {
    if (hasKind(blob, entry - 1, kind) && nameEquals(blob, entry - 1, needle)) {
      ids.push(blob.firstId + entry - 1)
      if (first) return
    }
  }
}

const hasKind = (blob: Btf, index: number, kind: number | undefined): boolean => {
  if (kind === undefined) return true
  const { littleEndian, view } = blob.internal
  return ((view.getUint32((blob.offsets[index] ?? 0) + 4, littleEndian) >>> 24) & 0x7f) === kind
}

/** Whether the name of the blob's own type `index` is `needle`: its bytes, then a NUL. */
const nameEquals = (blob: Btf, index: number, needle: Uint8Array): boolean => {
  const { littleEndian, view } = blob.internal
  const offset = view.getUint32(blob.offsets[index] ?? 0, littleEndian)
  const owner = stringOwnerOf(blob, offset)
  if (owner === undefined) return false
  const start = owner.stringsOffset + (offset - owner.stringsStart)
  const end = owner.stringsOffset + owner.stringsLength
  if (needle.length >= end - start) return false
  for (let at = 0; at < needle.length; at++) {
    if (owner.bytes[start + at] !== needle[at]) return false
  }
  return owner.bytes[start + needle.length] === 0
}

/** Names that agree in this many bytes share a chain: it bounds the work for names that share one long string. */
const HASHED_BYTES = 128

/** FNV-1a over the bytes up to a NUL, at most `HASHED_BYTES` of them. */
const hash = (bytes: Uint8Array, start: number): number => {
  const end = Math.min(bytes.length, start + HASHED_BYTES)
  let value = 0x811c9dc5
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0
    if (byte === 0) break
    value = Math.imul(value ^ byte, 0x01000193)
  }
  // The low bits choose the chain; FNV mixes upwards, so its high bits are folded in.
  return value ^ (value >>> 15)
}

const nameIndex = (blob: Btf): NameIndex => {
  const known = blob.internal.cache.names
  if (known !== undefined) return known
  const built = buildNameIndex(blob)
  blob.internal.cache.names = built
  return built
}

/** Walks the types backwards, so that each chain is in order of ids. */
const buildNameIndex = (blob: Btf): NameIndex => {
  const { littleEndian, view } = blob.internal
  const { offsets } = blob
  const count = offsets.length
  const mask = 2 ** Math.max(4, 32 - Math.clz32(count)) - 1
  const heads = new Uint32Array(mask + 1)
  const next = new Uint32Array(count)
  for (let index = count - 1; index >= 0; index--) {
    const offset = view.getUint32(offsets[index] ?? 0, littleEndian)
    if (offset === 0) continue
    const owner = stringOwnerOf(blob, offset)
    if (owner === undefined) continue
    const bucket = hash(owner.bytes, owner.stringsOffset + (offset - owner.stringsStart)) & mask
    next[index] = heads[bucket] ?? 0
    heads[bucket] = index + 1
  }
  return { mask, heads, next }
}
