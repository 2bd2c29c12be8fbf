/**
 * What the passes of dedup work on: all records of a blob and its bases as words, and what each type has become.
 *
 * Records are copied once into one array of native 32-bit words, so that the passes compare words and never bytes, and
 * may write what they find into the copy. There is no object per type.
 */
import { BTF_KIND_DATASEC, BTF_KIND_VAR, BTF_TYPE_SIZE, ELEMENT_SIZE, INFO_SIZE } from "../BtfKind.ts"
import type { Btf } from "../BtfModel.ts"

/** In `map`: nothing has been decided about this type yet. */
export const UNPROCESSED = -1

/** In `map`: the types that this one refers to are being decided. */
export const IN_PROGRESS = -2

/** In `hypothesis`: no type has been compared with this one. */
export const NO_TYPE = -1

/** The state of one dedup. Ids count over the chain of bases, as in `Btf`. */
export interface DedupWork {
  /** Id of the first type that may go; those below belong to the bases, and stay. */
  readonly firstOwn: number
  /** One past the last id. */
  readonly end: number
  /** All records, each word in native byte order and as a signed number; the first three words are `void`'s. */
  readonly words: Int32Array
  /** Index in `words` of each type's record. */
  readonly at: Int32Array
  /** The kind of each type. */
  readonly kinds: Uint8Array
  /** The type that each type has become, itself where it stays; or `UNPROCESSED`, `IN_PROGRESS`. */
  readonly map: Int32Array
  /** Entry of each type in a hash chain: the next older one, 0 at the end. */
  readonly next: Int32Array
  /** The hash under which each type is in a table. */
  readonly hashes: Int32Array
  /** What each type shows at first sight, for `DedupSignature`; 0 where that was not asked for. */
  readonly signatures: Int32Array
  /** The comparison in progress: what each type of the canonical side was found beside. */
  readonly hypothesis: Int32Array
  /** The types that `hypothesis` has an entry for, in the order of the entries. */
  touched: Int32Array
  touchedCount: number
  /** Pairs of types that are still to be compared. */
  stack: Int32Array
  /** Classes of types that were found to be identical, as a forest: 0 stands for a root. Made when first needed. */
  parents: Int32Array | undefined
  /** The types that `parents` has an entry for. */
  joined: Int32Array
  joinedCount: number
  /** The comparison in progress needs a base's forward declaration to be a type of this blob. */
  adjustsBase: boolean
  /** Where the last comparison found a difference. */
  differsAt: number
  differsFrom: number
  /** Words and types compared so far, and how many may be. */
  spent: number
  readonly budget: number
}

const hostIsLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/**
 * How many comparisons each word of the input pays for. The types of a kernel need 0.1, those of two or four kernels in
 * one blob less than one, so that it takes a blob made for the purpose to use it up.
 */
const WORK_PER_WORD = 32

/** What small blobs may use whatever their size. */
const LEAST_BUDGET = 1 << 20

/** Copies the records of `btf` and its bases. */
export const loadWork = (btf: Btf, budget?: number): DedupWork => {
  const chain: Array<Btf> = []
  for (let blob: Btf | undefined = btf; blob !== undefined; blob = blob.base) chain.unshift(blob)
  const end = btf.endId
  let size = BTF_TYPE_SIZE / 4
  for (const blob of chain) size += blob.typesLength / 4
  const words = new Int32Array(size)
  const bytes = new Uint8Array(words.buffer)
  const at = new Int32Array(end)
  const kinds = new Uint8Array(end)
  let place = BTF_TYPE_SIZE / 4
  for (const blob of chain) {
    const { firstId, offsets, typesLength, typesOffset } = blob
    bytes.set(blob.bytes.subarray(typesOffset, typesOffset + typesLength), place * 4)
    if (blob.internal.littleEndian !== hostIsLittleEndian) swapWords(words, place, place + typesLength / 4)
    for (let index = 0; index < offsets.length; index++) {
      const record = place + ((offsets[index] ?? 0) - typesOffset) / 4
      at[firstId + index] = record
      kinds[firstId + index] = ((words[record + 1] ?? 0) >>> 24) & 0x7f
    }
    place += typesLength / 4
  }
  const map = new Int32Array(end).fill(UNPROCESSED)
  for (let id = 0; id < end; id++) {
    // What belongs to the bases stays, and each variable and section is one of its own.
    if (id < btf.firstId || kinds[id] === BTF_KIND_VAR || kinds[id] === BTF_KIND_DATASEC) map[id] = id
  }
  return {
    firstOwn: btf.firstId,
    end,
    words,
    at,
    kinds,
    map,
    next: new Int32Array(end),
    hashes: new Int32Array(end),
    signatures: new Int32Array(end),
    hypothesis: new Int32Array(end).fill(NO_TYPE),
    touched: new Int32Array(256),
    touchedCount: 0,
    stack: new Int32Array(1024),
    parents: undefined,
    joined: new Int32Array(64),
    joinedCount: 0,
    adjustsBase: false,
    differsAt: 0,
    differsFrom: 0,
    spent: 0,
    budget: budget ?? LEAST_BUDGET + size * WORK_PER_WORD
  }
}

/** Swaps the bytes of each word, in place. */
export const swapWords = (words: Int32Array, start: number, end: number): void => {
  for (let index = start; index < end; index++) {
    const word = words[index] ?? 0
    words[index] = (word >>> 24) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff_0000) | (word << 24)
  }
}

/** The bytes of `words` in a byte order; `words` must not be used afterwards. */
export const bytesOfWords = (words: Int32Array, littleEndian: boolean): Uint8Array => {
  if (littleEndian !== hostIsLittleEndian) swapWords(words, 0, words.length)
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength)
}

/** Words of a record of kind `kind` with information word `info`. */
export const recordWords = (kind: number, info: number): number =>
  (BTF_TYPE_SIZE + (INFO_SIZE[kind] ?? 0)) / 4 + (info & 0xff_ffff) * ((ELEMENT_SIZE[kind] ?? 0) / 4)

/** What type `id` has become so far: the end of its chain in `map`. Chains are a few entries long. */
export const resolve = (map: Int32Array, id: number): number => {
  let current = id
  for (let to = map[current] ?? 0; to >= 0 && to !== current; to = map[current] ?? 0) current = to
  return current
}

/** A table that has room for twice as many values. */
export const larger = (table: Int32Array): Int32Array => {
  const copy = new Int32Array(table.length * 2)
  copy.set(table)
  return copy
}
