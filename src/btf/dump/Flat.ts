/**
 * A chain of blobs as three flat arrays, for code that reads every type: words in this machine's byte order, the place
 * of each record, and one string area. A blob without a base in this machine's order is not copied.
 */
import { BTF_KIND_LIMIT } from "../BtfKind.ts"
import type { Btf } from "../BtfModel.ts"

/** The flat view. Ids and string offsets are those of the `Btf` that it was made of. */
export interface Flat {
  /** All type records of the chain. */
  readonly words: Uint32Array
  /** Index in `words` of the record of each id; entry 0, `void`, means nothing. */
  readonly at: Uint32Array
  /** Kind of each id; 0 for `void`, `UNKNOWN_KIND` for kind 0 that a layout area describes. */
  readonly kinds: Uint8Array
  /** The string areas of the chain, joined: a string offset is an index. */
  readonly strings: Uint8Array
  readonly endId: number
}

/** Stands for a record of kind 0, which is not `void`. */
const UNKNOWN_KIND = BTF_KIND_LIMIT

const hostLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** Makes the flat view of a blob and its bases. */
export const flatten = (btf: Btf): Flat => {
  const chain: Array<Btf> = []
  for (let blob: Btf | undefined = btf; blob !== undefined; blob = blob.base) chain.unshift(blob)
  const words = joinWords(chain)
  const at = new Uint32Array(btf.endId)
  const kinds = new Uint8Array(btf.endId)
  let start = 0
  for (const blob of chain) {
    const { firstId, offsets, typesOffset } = blob
    for (let index = 0; index < offsets.length; index++) {
      const word = start + (((offsets[index] ?? 0) - typesOffset) >>> 2)
      at[firstId + index] = word
      kinds[firstId + index] = (((words[word + 1] ?? 0) >>> 24) & 0x7f) || UNKNOWN_KIND
    }
    start += blob.typesLength >>> 2
  }
  return { words, at, kinds, strings: joinStrings(chain), endId: btf.endId }
}

const joinWords = (chain: ReadonlyArray<Btf>): Uint32Array => {
  const only = chain[0]
  if (chain.length === 1 && only !== undefined) {
    const { buffer, byteOffset } = only.bytes
    const start = byteOffset + only.typesOffset
    if (isHostOrder(only) && start % 4 === 0) return new Uint32Array(buffer, start, only.typesLength >>> 2)
  }
  const words = new Uint32Array(chain.reduce((sum, blob) => sum + (blob.typesLength >>> 2), 0))
  const joined = new Uint8Array(words.buffer)
  let filled = 0
  for (const blob of chain) {
    joined.set(blob.bytes.subarray(blob.typesOffset, blob.typesOffset + blob.typesLength), filled)
    if (!isHostOrder(blob)) swap(words.subarray(filled >>> 2, (filled + blob.typesLength) >>> 2))
    filled += blob.typesLength
  }
  return words
}

const isHostOrder = (btf: Btf): boolean => (btf.byteOrder === "little") === hostLittleEndian

const swap = (words: Uint32Array): void => {
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? 0
    words[index] = (word >>> 24) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff_0000) | (word << 24)
  }
}

const joinStrings = (chain: ReadonlyArray<Btf>): Uint8Array => {
  const areas = chain.map((blob) => blob.bytes.subarray(blob.stringsOffset, blob.stringsOffset + blob.stringsLength))
  const only = areas[0]
  if (areas.length === 1 && only !== undefined) return only
  const strings = new Uint8Array(areas.reduce((sum, area) => sum + area.length, 0))
  let filled = 0
  for (const area of areas) {
    strings.set(area, filled)
    filled += area.length
  }
  return strings
}

/** The string offset of the name of type `id`; 0 for `void`. */
export const nameAt = (flat: Flat, id: number): number => id === 0 ? 0 : flat.words[flat.at[id] ?? 0] ?? 0

/** The count of type `id`: members, values, parameters or entries; 0 for `void`. */
export const countAt = (flat: Flat, id: number): number =>
  id === 0 ? 0 : (flat.words[(flat.at[id] ?? 0) + 1] ?? 0) & 0xff_ffff

/** The kind flag of type `id`. */
export const flagAt = (flat: Flat, id: number): boolean =>
  id !== 0 && (flat.words[(flat.at[id] ?? 0) + 1] ?? 0) >= 0x8000_0000

/** The third word of type `id`: a size or a type; 0 for `void`. */
export const wordAt = (flat: Flat, id: number): number => id === 0 ? 0 : flat.words[(flat.at[id] ?? 0) + 2] ?? 0

/** Word `index` past the common part of the record of type `id`. */
export const extraAt = (flat: Flat, id: number, index: number): number =>
  flat.words[(flat.at[id] ?? 0) + 3 + index] ?? 0
