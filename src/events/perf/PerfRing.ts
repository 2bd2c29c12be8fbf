/**
 * The memory of one CPU's perf buffer: where records are, and how they are taken.
 *
 * The first page holds positions: `data_head`, to which the kernel has written, and `data_tail`, to which we have read.
 * Both are byte counts that only grow; the place in the data behind the page is the position modulo the data's size. A
 * record begins at a multiple of 8 with a header of 8 bytes, which therefore never wraps, and may continue at the front of
 * the data.
 *
 * A ring in which the tail is not handed back is full at some time: the kernel then counts what it cannot write, and tells
 * in a record of its own (`PERF_RECORD_LOST`) in front of the next one that it can.
 *
 * Source: perf_event_open(2), `include/uapi/linux/perf_event.h`; reference page `ringbuf`, section 3.
 */
import * as Result from "effect/Result"
import type { MemoryView } from "../../services/Kernel/KernelCall.ts"
import { PerfBufferError } from "./PerfError.ts"

/** Where the positions are in the first page. */
export const HEAD = 1024
export const TAIL = 1032
/** Where, and how long, the data is, as the kernel says it from Linux 4.1 on; 0 before. */
export const DATA_OFFSET = 1040
export const DATA_SIZE = 1048

/** What a program wrote. */
export const PERF_RECORD_SAMPLE = 9
/** Records that found no room. */
export const PERF_RECORD_LOST = 2

/** Bytes of the header of every record: type, flags and length. */
export const headerSize = 8
/** Bytes of a record of lost ones: header, number of the event, and how many. */
const lostSize = 24
/** Bytes of a sample in front of its payload: header, and the payload's length. */
const samplePrefix = 12
/** Bytes of the shortest sample: one without a payload, which is filled up. */
const leastSample = 16

/** The numbers of this machine, which are the kernel's. */
const isLittle = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** The perf buffer of one CPU. */
export interface PerfRing {
  /** The map's name, for messages. */
  readonly map: string
  readonly cpu: number
  /** Bytes of data: a power of two. */
  readonly size: number
  readonly memory: MemoryView
  /** Where the data begins in the memory. */
  readonly offset: number
  readonly data: DataView
  /** The same as words: headers are read from it, which is several times as fast. */
  readonly words: Int32Array
  /** What was taken: samples, bytes of their payloads, and records of other types. */
  records: number
  bytes: number
  others: number
  /** Records of lost ones. */
  losses: number
  /** Whether the handler has ended the last taking. */
  stopped: boolean
  /** Room for records that wrap; it grows with them. */
  scratch: DataView
}

/**
 * Takes records as they come. What it is shown is the kernel's memory, or a copy that is written over: it is gone when the
 * function returns. Throwing ends the taking; the record in hand counts as taken.
 */
export interface PerfHandler {
  /**
   * A payload of `length` bytes that begins `at` bytes into `view`. It ends with up to 7 bytes that the program did not
   * write, for the kernel fills up: payload and its 4-byte length are together a multiple of 8. `false` ends the taking.
   */
  readonly sample: (view: DataView, at: number, length: number, cpu: number) => boolean | void
  /** So many records found no room before this place. `false` ends the taking. */
  readonly lost: (count: bigint, cpu: number) => boolean | void
  /** A record of another type, with its header. `false` ends the taking. */
  readonly other: (type: number, view: DataView, at: number, length: number, cpu: number) => boolean | void
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** A perf buffer over memory that is mapped already. Checks sizes, not contents. */
export const make = (
  memory: MemoryView,
  { cpu, map, pageSize, pages }: {
    readonly map: string
    readonly cpu: number
    readonly pageSize: number
    readonly pages: number
  }
): Result.Result<PerfRing, PerfBufferError> => {
  const refuse = (detail: string) => Result.fail(new PerfBufferError({ reason: "Geometry", map, cpu, detail }))
  const size = pages * pageSize
  // In 32 bits a power of two has one bit; larger buffers do not exist.
  if (!(size >= pageSize && size <= 0x4000_0000 && (size & (size - 1)) === 0)) {
    return refuse(`${pages} pages of ${pageSize} bytes are no power of two`)
  }
  if (memory.bytes.length < pageSize + size) return refuse("the data is not mapped")
  // Kernels before 4.1 do not say it: then it is where it always was.
  const offset = Number(memory.loadAcquire64(DATA_OFFSET)) || pageSize
  const said = Number(memory.loadAcquire64(DATA_SIZE)) || size
  if (said !== size || offset % 8 !== 0 || offset + size > memory.bytes.length) {
    return refuse(`the kernel says that ${said} bytes of data begin at ${offset}`)
  }
  const data = viewOf(memory.bytes.subarray(offset, offset + size))
  if (data.byteOffset % 4 !== 0) return refuse("the data is not aligned")
  return Result.succeed({
    map,
    cpu,
    size,
    memory,
    offset,
    data,
    words: new Int32Array(data.buffer, data.byteOffset, size / 4),
    records: 0,
    bytes: 0,
    others: 0,
    losses: 0,
    stopped: false,
    scratch: new DataView(new ArrayBuffer(0))
  })
}

/** Bytes that were written and not yet taken, headers included. */
export const available = (ring: PerfRing): number =>
  Number(BigInt.asUintN(64, ring.memory.loadAcquire64(HEAD) - ring.memory.loadAcquire64(TAIL)))

const corrupt = (ring: PerfRing, detail: string, position: bigint): Result.Result<never, PerfBufferError> =>
  Result.fail(
    new PerfBufferError({
      reason: "Corrupt",
      map: ring.map,
      cpu: ring.cpu,
      detail,
      position: BigInt.asUintN(64, position),
      hint: "another part of this process may be writing to this memory, or reading the same buffer"
    })
  )

/** A record that wraps, in one piece. */
const joined = (ring: PerfRing, at: number, size: number): DataView => {
  // Records have at most 65,528 bytes.
  if (ring.scratch.byteLength < size) ring.scratch = new DataView(new ArrayBuffer(2 ** Math.ceil(Math.log2(size))))
  const { data, scratch } = ring
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  const to = new Uint8Array(scratch.buffer)
  const first = ring.size - at
  to.set(bytes.subarray(at, ring.size))
  to.set(bytes.subarray(0, size - first), first)
  return scratch
}

/** Why a record cannot be one; `undefined` where it can. */
const complaint = (type: number, size: number, left: number): string | undefined => {
  if (size < headerSize || size % 8 !== 0) return `a record of ${size} bytes is none`
  if (size > left) return `a record of ${size} bytes is longer than the ${left} bytes that are left`
  if (type === PERF_RECORD_LOST && size < lostSize) return `a record of lost ones has ${lostSize} bytes, not ${size}`
  return type === PERF_RECORD_SAMPLE && size < leastSample ? `a sample of ${size} bytes has no length` : undefined
}

/**
 * Hands the records that are there to a handler, at most `limit` of them, and answers how many those were. What was taken is
 * handed back to the kernel when the function ends, however it ends: also where the handler throws, and in front of a place
 * where the contents make no sense. The head is read once, so that a fast producer does not hold us for ever. `lost` is told
 * of records of lost ones in place of the handler.
 */
export const consume = (
  ring: PerfRing,
  handler: PerfHandler,
  limit: number = Number.POSITIVE_INFINITY,
  lost: (count: bigint, cpu: number) => boolean | void = (count, cpu) => handler.lost(count, cpu)
): Result.Result<number, PerfBufferError> => {
  const { cpu, data, memory, size: capacity } = ring
  const mask = capacity - 1
  const head = memory.loadAcquire64(HEAD)
  const tail = memory.loadAcquire64(TAIL)
  if (head === tail) return Result.succeed(0)
  const ahead = BigInt.asUintN(64, head - tail)
  if (ahead > BigInt(capacity)) {
    return corrupt(ring, `the kernel has written ${ahead} bytes more than were read to a buffer of ${capacity}`, tail)
  }
  if ((head & 7n) !== 0n || (tail & 7n) !== 0n) return corrupt(ring, "a position is no multiple of 8", tail)
  const { words } = ring
  const begin = Number(tail & BigInt(mask))
  const total = Number(ahead)
  let done = 0
  let samples = 0
  let bytes = 0
  let others = 0
  let losses = 0
  ring.stopped = false
  try {
    while (done < total && samples + others + losses < limit) {
      let at = (begin + done) & mask
      const first = words[at >> 2] as number
      const sizes = words[(at >> 2) + 1] as number
      const size = isLittle ? sizes >>> 16 : sizes & 0xffff
      if (first === PERF_RECORD_SAMPLE && size >= leastSample && (size & 7) === 0 && at + size <= capacity) {
        // Nearly all: a sample in one piece.
        const length = words[(at >> 2) + 2] as number
        if (size <= total - done && length >= 0 && length <= size - samplePrefix) {
          // The record in hand counts as taken, whatever becomes of it.
          done += size
          samples++
          bytes += length
          if (handler.sample(data, at + samplePrefix, length, cpu) === false) {
            ring.stopped = true
            break
          }
          continue
        }
      }
      const type = first >>> 0
      const wrong = complaint(type, size, total - done)
      if (wrong !== undefined) return corrupt(ring, wrong, tail + BigInt(done))
      let view = data
      if (at + size > capacity) {
        view = joined(ring, at, size)
        at = 0
      }
      let goesOn: boolean | void
      if (type === PERF_RECORD_SAMPLE) {
        const length = view.getUint32(at + headerSize, isLittle)
        if (length > size - samplePrefix) {
          return corrupt(ring, `a sample of ${size} bytes says that it has ${length}`, tail + BigInt(done))
        }
        done += size
        samples++
        bytes += length
        goesOn = handler.sample(view, at + samplePrefix, length, cpu)
      } else if (type === PERF_RECORD_LOST) {
        done += size
        losses++
        goesOn = lost(view.getBigUint64(at + 16, isLittle), cpu)
      } else {
        done += size
        others++
        goesOn = handler.other(type, view, at, size, cpu)
      }
      if (goesOn === false) {
        ring.stopped = true
        break
      }
    }
  } finally {
    ring.records += samples
    ring.bytes += bytes
    ring.others += others
    ring.losses += losses
    if (done > 0) memory.storeRelease64(TAIL, BigInt.asUintN(64, tail + BigInt(done)))
  }
  return Result.succeed(samples + others + losses)
}
