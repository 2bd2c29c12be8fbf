/**
 * One ring that is shared with the kernel: one side writes entries and moves `producer`, the other reads them and moves `consumer`.
 *
 * Both indices are free-running 32-bit numbers, and an entry's place is its index modulo the size. Each side keeps a copy of the
 * other's index and looks at the shared one only when the copy says that there is nothing to do: that one is in a cache line that
 * the other processor writes. Indices are read with acquire and written with release ordering (JavaScript's atomic accesses are
 * stronger), entries plainly: they are the other side's only after the index was moved.
 *
 * What is in the shared memory is not believed: an index that is further away than the size of the ring makes the answer
 * `CORRUPT`, and our own index is never read back. Nothing here allocates, and nothing throws.
 *
 * A fill or tx ring is a producer's, an rx or completion ring a consumer's.
 */
import { ADDRESS_SIZE, DESCRIPTOR_SIZE, RingFlag, type RingOffsets } from "./Abi.ts"

/** Answers that are no count: the other side's index cannot be right. */
export const CORRUPT = -1

/** A ring, as one side has it. Its fields are this module's business. */
export interface Ring {
  /** The shared memory, as numbers of four bytes. Replaced where the same memory is mapped at another place. */
  words: Uint32Array
  /** Places in `words`. */
  readonly producerAt: number
  readonly consumerAt: number
  readonly flagsAt: number
  readonly entriesAt: number
  /** Words of an entry: 2 or 4. */
  readonly stride: number
  /** Entries, a power of two. */
  readonly size: number
  readonly mask: number
  /** The index that the next entry gets that is reserved (producer), or the last known one of the other side (consumer). */
  cachedProducer: number
  /** The other side's last known index plus the size (producer), or the index of the next entry that is looked at (consumer). */
  cachedConsumer: number
  /** Our own index as the other side sees it. */
  published: number
}

/** Which half of a 64-bit number comes first in memory: 0 on little-endian machines, where the low one does. */
const low = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 0 : 1
const high = 1 - low

/** The distance of two indices, forwards. */
const distance = (from: number, to: number): number => (to - from) >>> 0

/** Whether a ring may have this size: the kernel takes powers of two. */
export const isSize = (size: number): boolean =>
  Number.isInteger(size) && size > 0 && size <= 0x4000_0000 && (size & (size - 1)) === 0

/** Bytes of a ring's memory. */
export const memorySize = (offsets: RingOffsets, size: number, entrySize: number): number =>
  offsets.descriptors + size * entrySize

const make = (memory: ArrayBuffer, offsets: RingOffsets, size: number, entrySize: number): Ring => ({
  words: new Uint32Array(memory, 0, Math.floor(memory.byteLength / 4)),
  producerAt: offsets.producer / 4,
  consumerAt: offsets.consumer / 4,
  flagsAt: offsets.flags / 4,
  entriesAt: offsets.descriptors / 4,
  stride: entrySize / 4,
  size,
  mask: size - 1,
  cachedProducer: 0,
  cachedConsumer: 0,
  published: 0
})

/** The producing side of a ring of addresses (fill) or of descriptors (tx), going on where its indices stand. */
export const producer = (
  memory: ArrayBuffer,
  offsets: RingOffsets,
  size: number,
  entries: "Addresses" | "Descriptors"
): Ring => {
  const ring = make(memory, offsets, size, entries === "Addresses" ? ADDRESS_SIZE : DESCRIPTOR_SIZE)
  ring.published = Atomics.load(ring.words, ring.producerAt)
  ring.cachedProducer = ring.published
  ring.cachedConsumer = (Atomics.load(ring.words, ring.consumerAt) + size) >>> 0
  return ring
}

/** The consuming side of a ring of addresses (completion) or of descriptors (rx), going on where its indices stand. */
export const consumer = (
  memory: ArrayBuffer,
  offsets: RingOffsets,
  size: number,
  entries: "Addresses" | "Descriptors"
): Ring => {
  const ring = make(memory, offsets, size, entries === "Addresses" ? ADDRESS_SIZE : DESCRIPTOR_SIZE)
  ring.published = Atomics.load(ring.words, ring.consumerAt)
  ring.cachedConsumer = ring.published
  ring.cachedProducer = Atomics.load(ring.words, ring.producerAt)
  return ring
}

/** The ring goes on in the same memory, mapped at another place. */
export const moveTo = (ring: Ring, memory: ArrayBuffer): void => {
  ring.words = new Uint32Array(memory, 0, Math.floor(memory.byteLength / 4))
}

/**
 * Looks at how far the consuming side has come: no further than what was published, and not back. Answers how many published entries
 * it has not consumed, or `CORRUPT`.
 */
const look = (ring: Ring): number => {
  const consumed = Atomics.load(ring.words, ring.consumerAt)
  const before = (ring.cachedConsumer - ring.size) >>> 0
  const waiting = distance(consumed, ring.published)
  if (waiting > distance(before, ring.published)) return CORRUPT
  ring.cachedConsumer = (consumed + ring.size) >>> 0
  return waiting
}

/** How many entries may be reserved: all that are free where fewer than `wanted` were known to be. `CORRUPT`: never mind. */
export const free = (ring: Ring, wanted: number): number => {
  const known = distance(ring.cachedProducer, ring.cachedConsumer)
  return known >= wanted ? known : look(ring) < 0 ? CORRUPT : distance(ring.cachedProducer, ring.cachedConsumer)
}

/**
 * Reserves entries: all of them, or none. The first one's index is what `cachedProducer` was before. Answers how many: `count`, 0, or
 * `CORRUPT`.
 */
export const reserve = (ring: Ring, count: number): number => {
  const room = free(ring, count)
  if (room < count) return room < 0 ? room : 0
  ring.cachedProducer = (ring.cachedProducer + count) >>> 0
  return count
}

/** Gives back the last entries that were reserved and not submitted; no more than there are. */
export const unreserve = (ring: Ring, count: number): void => {
  ring.cachedProducer = (ring.cachedProducer - Math.min(count, distance(ring.published, ring.cachedProducer))) >>> 0
}

/** Hands the oldest reserved entries to the other side; no more than there are. */
export const submit = (ring: Ring, count: number): void => {
  ring.published = (ring.published + Math.min(count, distance(ring.published, ring.cachedProducer))) >>> 0
  Atomics.store(ring.words, ring.producerAt, ring.published)
}

/** How many submitted entries the other side has not consumed; `CORRUPT`: its index cannot be right. */
export const pending = (ring: Ring): number => look(ring)

/** How many entries lie ready, `most` at most. The other side's index is looked at when none is known of. */
export const available = (ring: Ring, most: number): number => {
  let ready = distance(ring.cachedConsumer, ring.cachedProducer)
  if (ready === 0) {
    const produced = Atomics.load(ring.words, ring.producerAt)
    // No entry is written again before it was released.
    if (distance(ring.published, produced) > ring.size) return CORRUPT
    // Nor does it take back what it has produced.
    if (distance(ring.cachedConsumer, produced) > ring.size) return CORRUPT
    ring.cachedProducer = produced
    ready = distance(ring.cachedConsumer, produced)
  }
  if (ready > ring.size) return CORRUPT
  return ready < most ? ready : most
}

/**
 * Takes entries to look at, `most` at most. The first one's index is what `cachedConsumer` was before. They are this side's until
 * they are released. Answers how many, or `CORRUPT`.
 */
export const peek = (ring: Ring, most: number): number => {
  const ready = available(ring, most)
  if (ready > 0) ring.cachedConsumer = (ring.cachedConsumer + ready) >>> 0
  return ready
}

/** Takes back the last entries that were peeked and not released, to look at them again; no more than there are. */
export const unpeek = (ring: Ring, count: number): void => {
  ring.cachedConsumer = (ring.cachedConsumer - Math.min(count, distance(ring.published, ring.cachedConsumer))) >>> 0
}

/** Hands the oldest entries that were peeked back to the other side, which writes them again; no more than there are. */
export const release = (ring: Ring, count: number): void => {
  ring.published = (ring.published + Math.min(count, distance(ring.published, ring.cachedConsumer))) >>> 0
  Atomics.store(ring.words, ring.consumerAt, ring.published)
}

/** Whether the kernel has to be told of what was submitted: it sleeps. */
export const needsWakeup = (ring: Ring): boolean =>
  (Atomics.load(ring.words, ring.flagsAt) & RingFlag.NEED_WAKEUP) !== 0

/** The place in `words` of the entry with this index. */
const at = (ring: Ring, index: number): number => ring.entriesAt + (index & ring.mask) * ring.stride

const word = (ring: Ring, place: number): number => ring.words[place] ?? 0

/** The place in memory of an entry: the low 48 bits of its address. */
export const addressOf = (ring: Ring, index: number): number => {
  const place = at(ring, index)
  const upper = word(ring, place + high) & 0xffff
  return upper === 0 ? word(ring, place + low) : upper * 0x1_0000_0000 + word(ring, place + low)
}

/** The upper 16 bits of an entry's address: 0 in aligned mode, else how far from its place the data begins. */
export const offsetOf = (ring: Ring, index: number): number => word(ring, at(ring, index) + high) >>> 16

/** The length of an entry with a descriptor, bytes. */
export const lengthOf = (ring: Ring, index: number): number => word(ring, at(ring, index) + 2)

/** The options of an entry with a descriptor. */
export const optionsOf = (ring: Ring, index: number): number => word(ring, at(ring, index) + 3)

/** Writes an entry with an address: a place of less than 2^48, and an offset of less than 2^16. */
export const setAddress = (ring: Ring, index: number, address: number, offset: number): void => {
  const place = at(ring, index)
  ring.words[place + low] = address
  ring.words[place + high] = Math.floor(address / 0x1_0000_0000) | (offset << 16)
}

/** Writes an entry with a descriptor. */
export const setDescriptor = (
  ring: Ring,
  index: number,
  address: number,
  offset: number,
  length: number,
  options: number
): void => {
  setAddress(ring, index, address, offset)
  const place = at(ring, index)
  ring.words[place + 2] = length
  ring.words[place + 3] = options
}
