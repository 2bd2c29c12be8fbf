/**
 * Ring buffers: `RINGBUF`, which programs fill, and `USER_RINGBUF`, which user space fills.
 *
 * The memory is laid out as the kernel maps it: a page with the consumer's position at its start, a page with the
 * producer's (and, 8 bytes behind it, the oldest position that is not committed), then the data twice in a row. Plain
 * memory cannot be in two places, so the second copy is written when a record is made, submitted or discarded; what a
 * program writes in between is seen in one of the two places only.
 *
 * A record is 8-byte aligned: a 32-bit length with two flag bits, a 32-bit page number, and the payload. Positions are
 * 64-bit counters that never wrap in practice: they are kept as numbers and exact up to 2^53.
 *
 * Semantics: `kernel/bpf/ringbuf.c`; layout: `Documentation/bpf/ringbuf.rst` and `reference/ringbuf.md`.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import { type MapShape, readU32, writeU32 } from "./MapModel.ts"

/** The record is being written. */
const busyBit = 0x8000_0000
/** The record is to be skipped. */
const discardBit = 0x4000_0000
const headerBytes = 8
/** Longest payload that can be asked for: a quarter of 2^32. */
const maximumRecord = 0x3fff_ffff
/** Longest payload that a program can be shown: what a dynptr can describe. */
const maximumSample = 0xff_ffff
/** Pages of the kernel's structure before the data; records tell how far they are from its start. */
const pagesBeforeData = 3

/** Do not wake up the consumer. */
export const BPF_RB_NO_WAKEUP = 1
/** Wake up the consumer even if it has not caught up. */
export const BPF_RB_FORCE_WAKEUP = 2

/** A ring buffer of either direction. */
export interface RingStore {
  readonly _tag: "Ring"
  readonly shape: MapShape
  /** Filled by user space, drained by programs. */
  readonly isUser: boolean
  readonly pageSize: number
  /** Both pages of positions and the data, twice. */
  readonly memory: Uint8Array
  readonly view: DataView
  /** Where the data begins in the memory. */
  readonly data: number
  readonly mask: number
  /** A program is draining it. */
  busy: boolean
}

/** An empty ring buffer in zeroed memory of `memoryOf(shape, pageSize)` bytes. */
export const make = (shape: MapShape, pageSize: number, isUser: boolean, memory: Uint8Array): RingStore => ({
  _tag: "Ring",
  shape,
  isUser,
  pageSize,
  memory,
  view: new DataView(memory.buffer, memory.byteOffset, memory.byteLength),
  data: 2 * pageSize,
  mask: shape.attr.maxEntries - 1,
  busy: false
})

/** The bytes that a ring buffer takes. */
export const memoryOf = (maxEntries: number, pageSize: number): number => 2 * pageSize + 2 * maxEntries

/** Position that the consumer has reached, bytes since the beginning. */
export const consumerPosition = (ring: RingStore): number => readPosition(ring, 0)

/** Position that the producer has reached, bytes since the beginning. */
export const producerPosition = (ring: RingStore): number => readPosition(ring, ring.pageSize)

const readPosition = (ring: RingStore, at: number): number =>
  ring.view.getUint32(at, true) + ring.view.getUint32(at + 4, true) * 2 ** 32

const writePosition = (ring: RingStore, at: number, position: number): void => {
  ring.view.setUint32(at, position >>> 0, true)
  ring.view.setUint32(at + 4, Math.floor(position / 2 ** 32), true)
}

const spanOf = (length: number): number => Math.ceil((length + headerBytes) / 8) * 8

/** The remainder of a position by the size of the data, which is a power of two of at most 2^31. */
const wrap = (ring: RingStore, position: number): number => position & ring.mask

/**
 * Reserves a record of `size` bytes. Answers where its payload begins in `memory`, whole in one piece; -1 if there is no
 * room, the size is impossible, or flags are given (there are none).
 */
export const reserve = (ring: RingStore, size: number, flags: number): number => {
  if (flags !== 0 || size > maximumRecord) return -1
  const span = spanOf(size)
  if (span > ring.mask + 1) return -1
  const consumer = consumerPosition(ring)
  const producer = producerPosition(ring)
  const pending = firstPending(ring, producer)
  const end = producer + span
  // A consumer beyond the producer is one whose page was written over: to the kernel's unsigned numbers it is far behind.
  if (end - consumer > ring.mask || end < consumer || end - pending > ring.mask) return -1
  const at = wrap(ring, producer)
  writeHeader(ring, at, (size | busyBit) >>> 0)
  const page = Math.floor(at / ring.pageSize) + pagesBeforeData
  ring.view.setUint32(ring.data + at + 4, page, true)
  ring.view.setUint32(ring.data + other(ring, at) + 4, page, true)
  writePosition(ring, ring.pageSize, end)
  return ring.data + at + headerBytes
}

/** Moves the oldest position that is not committed over the records that are, and answers it. */
const firstPending = (ring: RingStore, producer: number): number => {
  const at = ring.pageSize + 8
  let pending = readPosition(ring, at)
  if (producer - pending > ring.mask + 1) return pending
  while (pending < producer) {
    const length = ring.view.getUint32(ring.data + wrap(ring, pending), true)
    if ((length & busyBit) !== 0) break
    pending += spanOf((length & ~discardBit) >>> 0)
  }
  writePosition(ring, at, pending)
  return pending
}

/** The same byte in the other copy of the data. */
const other = (ring: RingStore, at: number): number => at <= ring.mask ? at + ring.mask + 1 : at - ring.mask - 1

const writeHeader = (ring: RingStore, at: number, length: number): void => {
  ring.view.setUint32(ring.data + at, length, true)
  ring.view.setUint32(ring.data + other(ring, at), length, true)
}

/** Copies a payload to the other copy of the data; it may pass the end of the first. */
const mirror = (ring: RingStore, at: number, size: number): void => {
  const { data, mask, memory } = ring
  const before = Math.max(0, Math.min(size, mask + 1 - at))
  if (before > 0) memory.copyWithin(data + other(ring, at), data + at, data + at + before)
  if (before < size) memory.copyWithin(data + at + before - mask - 1, data + at + before, data + at + size)
}

/**
 * Submits or discards the record whose payload begins at `payload` of the memory, as `reserve` answered it. Answers
 * whether a waiting consumer is to be woken up.
 */
export const commit = (ring: RingStore, payload: number, discard: boolean, flags: number): boolean => {
  const at = payload - ring.data - headerBytes
  const length = (ring.view.getUint32(ring.data + at, true) & ~busyBit) >>> 0
  mirror(ring, at + headerBytes, length)
  writeHeader(ring, at, discard ? (length | discardBit) >>> 0 : length)
  if ((flags & BPF_RB_FORCE_WAKEUP) !== 0) return true
  return wrap(ring, consumerPosition(ring)) === at && (flags & BPF_RB_NO_WAKEUP) === 0
}

/** What `output` answers: 0 or a negative error number, and whether a waiting consumer is to be woken up. */
export interface Output {
  readonly answer: number
  readonly wake: boolean
}

/** Copies `size` bytes at `at` into a record of their own. `-EINVAL` for unknown flags, `-EAGAIN` if there is no room. */
export const output = (ring: RingStore, bytes: Uint8Array, at: number, size: number, flags: number): Output => {
  if (flags < 0 || flags > (BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP)) return { answer: -numbers.EINVAL, wake: false }
  const payload = reserve(ring, size, 0)
  if (payload < 0) return { answer: -numbers.EAGAIN, wake: false }
  ring.memory.set(bytes.subarray(at, at + size), payload)
  return { answer: 0, wake: commit(ring, payload, false, flags) }
}

/** What `bpf_ringbuf_query` answers: 0 unread bytes, 1 size, 2 consumer's and 3 producer's position; 0 for all others. */
export const query = (ring: RingStore, what: number): number => {
  switch (what) {
    case 0:
      return producerPosition(ring) - consumerPosition(ring)
    case 1:
      return ring.mask + 1
    case 2:
      return consumerPosition(ring)
    case 3:
      return producerPosition(ring)
    default:
      return 0
  }
}

/** A record as a consumer finds it. */
export interface RingRecord {
  /** The payload, a view of the buffer's memory: copy it before the consumer's position moves. */
  readonly bytes: Uint8Array
  readonly discarded: boolean
  /** The consumer's position once this record is done with. */
  readonly next: number
}

/**
 * The committed records from the consumer's position on; it is not moved. Ends at a record that is being written, and has
 * none if the positions are further apart than the ring is long.
 */
export const records = (ring: RingStore): ReadonlyArray<RingRecord> => {
  const found: Array<RingRecord> = []
  const producer = producerPosition(ring)
  const consumer = consumerPosition(ring)
  if (producer - consumer > ring.mask + 1) return found
  for (let position = consumer; position + headerBytes <= producer;) {
    const at = ring.data + wrap(ring, position)
    const header = ring.view.getUint32(at, true)
    if ((header & busyBit) !== 0) break
    const length = (header & ~discardBit) >>> 0
    position += spanOf(length)
    if (position > producer) break
    const bytes = ring.memory.subarray(at + headerBytes, at + headerBytes + length)
    found.push({ bytes, discarded: (header & discardBit) !== 0, next: position })
  }
  return found
}

/** Moves the consumer's position, as a consumer in user space does. */
export const consumeTo = (ring: RingStore, position: number): void => writePosition(ring, 0, position)

/** What a program that drains a user ring buffer finds: a sample in `memory`, one that was skipped, or an error. */
export type Sample = { readonly at: number; readonly size: number } | "Discarded" | number

/** Begins a drain: 0, `-EINVAL` for unknown flags, `-EBUSY` while another one is under way. */
export const beginDrain = (ring: RingStore, flags: number): number => {
  if (flags < 0 || flags > (BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP)) return -numbers.EINVAL
  if (ring.busy) return -numbers.EBUSY
  ring.busy = true
  return 0
}

/** Ends a drain, whatever became of it. */
export const endDrain = (ring: RingStore): void => {
  ring.busy = false
}

/**
 * The next sample that user space submitted; the consumer's position moves over a discarded one at once, over others by
 * `release`. Negative error numbers: `-ENODATA` when there is none, `-EINVAL` for a producer's position that is not
 * aligned or a record that passes it, `-E2BIG` for one that is too long.
 */
export const peekSample = (ring: RingStore): Sample => {
  const producer = producerPosition(ring)
  if (producer % 8 !== 0) return -numbers.EINVAL
  const consumer = consumerPosition(ring)
  if (consumer >= producer) return -numbers.ENODATA
  const header = readU32(ring.memory, ring.data + wrap(ring, consumer))
  const size = (header & ~(busyBit | discardBit)) >>> 0
  const span = spanOf(size)
  if (span > producer - consumer) return -numbers.EINVAL
  if (span > ring.mask + 1 || size > maximumSample) return -numbers.E2BIG
  if ((header & discardBit) !== 0) {
    consumeTo(ring, consumer + span)
    return "Discarded"
  }
  if ((header & busyBit) !== 0) return -numbers.ENODATA
  // The payload of a header at the very end begins at the front, not behind the end: user space writes it there.
  return { at: ring.data + wrap(ring, consumer + headerBytes), size }
}

/** Moves the consumer's position over a sample of this size. */
export const release = (ring: RingStore, size: number): void => consumeTo(ring, consumerPosition(ring) + spanOf(size))

/** Samples that one drain handles at most. */
export const maximumSamples = 131072

/**
 * The producer's side of a user ring buffer, for hosts that have no view of its memory: writes one sample and submits
 * it. `-E2BIG` if it can never fit, `-ENOSPC` if it does not fit now.
 */
export const submitSample = (ring: RingStore, bytes: Uint8Array): number => {
  const span = spanOf(bytes.length)
  const producer = producerPosition(ring)
  if (span > ring.mask + 1) return -numbers.E2BIG
  if (producer - consumerPosition(ring) + span > ring.mask + 1) return -numbers.ENOSPC
  const at = wrap(ring, producer)
  const payload = wrap(ring, producer + headerBytes)
  ring.memory.set(bytes, ring.data + payload)
  mirror(ring, payload, bytes.length)
  writeU32(ring.memory, ring.data + at + 4, 0)
  writeU32(ring.memory, ring.data + other(ring, at) + 4, 0)
  writeHeader(ring, at, bytes.length)
  writePosition(ring, ring.pageSize, producer + span)
  return 0
}
