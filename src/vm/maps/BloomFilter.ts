/**
 * Bloom filters: `BLOOM_FILTER`. They tell whether a value was perhaps pushed, and never forget one.
 *
 * The size of the bit set and its hash (Jenkins' lookup3, seeded) are the kernel's, so a filter that was made with
 * `BPF_F_ZERO_SEED` gives the same false positives as there; without the flag the kernel's seed is random.
 *
 * Semantics: `kernel/bpf/bloom_filter.c`; the hash: `lookup3.c` of Bob Jenkins (public domain), as in `linux/jhash.h`.
 */
import { MapFlag } from "../../services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import { BPF_ANY, type MapShape, powerOfTwoAbove, readU32 } from "./MapModel.ts"
import * as Slabs from "./Slabs.ts"

/** The bits of a filter. */
export interface BloomStore {
  readonly _tag: "Bloom"
  readonly shape: MapShape
  readonly hashes: number
  readonly seed: number
  readonly mask: number
  /** 64 bits a record. */
  readonly bits: Slabs.Slabs
}

const defaultHashes = 5

const hashesOf = (extra: bigint): number => Number(extra & 0xfn) || defaultHashes

/** How many bits the kernel gives a filter: a power of two of at least 64, about 1.4 per entry and hash function. */
export const bitsOf = (maxEntries: number, extra: bigint): number => {
  const product = maxEntries * hashesOf(extra)
  const bits = Math.floor(product / 5) * 7
  return product > 0xffff_ffff || bits > 2 ** 31 ? 2 ** 32 : bits <= 64 ? 64 : powerOfTwoAbove(bits)
}

/** An empty filter of this shape. */
export const make = (shape: MapShape, seed: number): BloomStore => {
  const { extra, flags, maxEntries } = shape.attr
  const bits = bitsOf(maxEntries, extra)
  return {
    _tag: "Bloom",
    shape,
    hashes: hashesOf(extra),
    seed: (flags & MapFlag.BPF_F_ZERO_SEED) === 0 ? seed : 0,
    mask: bits - 1,
    bits: Slabs.make(8, bits / 64)
  }
}

const rotate = (word: number, by: number): number => (word << by) | (word >>> (32 - by))

/** Up to four bytes as a little-endian word, the first `left` of those at `at`. */
const tailWord = (bytes: Uint8Array, at: number, left: number): number => {
  let word = 0
  for (let i = Math.min(left, 4) - 1; i >= 0; i--) word = (word << 8) | (bytes[at + i] ?? 0)
  return word
}

/** Jenkins' hash of `length` bytes at `at`, 32 bits. Of whole words it is the same as the hash of the words. */
const jenkinsHash = (bytes: Uint8Array, at: number, length: number, seed: number): number => {
  let a = (0xdeadbeef + length + seed) | 0
  let b = a
  let c = a
  let from = at
  let left = length
  for (; left > 12; left -= 12, from += 12) {
    a = (a + readU32(bytes, from)) | 0
    b = (b + readU32(bytes, from + 4)) | 0
    c = (c + readU32(bytes, from + 8)) | 0
    a = ((a - c) | 0) ^ rotate(c, 4)
    c = (c + b) | 0
    b = ((b - a) | 0) ^ rotate(a, 6)
    a = (a + c) | 0
    c = ((c - b) | 0) ^ rotate(b, 8)
    b = (b + a) | 0
    a = ((a - c) | 0) ^ rotate(c, 16)
    c = (c + b) | 0
    b = ((b - a) | 0) ^ rotate(a, 19)
    a = (a + c) | 0
    c = ((c - b) | 0) ^ rotate(b, 4)
    b = (b + a) | 0
  }
  if (left === 0) return c >>> 0
  a = (a + tailWord(bytes, from, left)) | 0
  b = (b + tailWord(bytes, from + 4, left - 4)) | 0
  c = (c + tailWord(bytes, from + 8, left - 8)) | 0
  c = ((c ^ b) - rotate(b, 14)) | 0
  a = ((a ^ c) - rotate(c, 11)) | 0
  b = ((b ^ a) - rotate(a, 25)) | 0
  c = ((c ^ b) - rotate(b, 16)) | 0
  a = ((a ^ c) - rotate(c, 4)) | 0
  b = ((b ^ a) - rotate(a, 14)) | 0
  c = ((c ^ b) - rotate(b, 24)) | 0
  return c >>> 0
}

/** The bit that hash function `index` gives the value at `at`. */
const bitAt = (store: BloomStore, value: Uint8Array, at: number, index: number): number => {
  const hash = jenkinsHash(value, at, store.shape.attr.valueSize, (store.seed + index) | 0)
  return (hash & store.mask) >>> 0
}

/** Adds the value at `at`. Answers 0, or `-EINVAL` for any flag. */
export const push = (store: BloomStore, value: Uint8Array, at: number, flags: number): number => {
  if (flags !== BPF_ANY) return -numbers.EINVAL
  for (let i = 0; i < store.hashes; i++) {
    const bit = bitAt(store, value, at, i)
    const word = Math.floor(bit / 64)
    const byte = Slabs.offsetOf(store.bits, word) + ((bit >>> 3) & 7)
    const slab = Slabs.slabOf(store.bits, word)
    slab[byte] = (slab[byte] ?? 0) | (1 << (bit & 7))
  }
  return 0
}

/** Answers 0 if the value at `at` was perhaps pushed, `-ENOENT` if it certainly was not. */
export const peek = (store: BloomStore, value: Uint8Array, at: number): number => {
  for (let i = 0; i < store.hashes; i++) {
    const bit = bitAt(store, value, at, i)
    const word = Math.floor(bit / 64)
    const slab = Slabs.touchedSlabOf(store.bits, word)
    const byte = Slabs.offsetOf(store.bits, word) + ((bit >>> 3) & 7)
    if (slab === undefined || ((slab[byte] ?? 0) & (1 << (bit & 7))) === 0) return -numbers.ENOENT
  }
  return 0
}
