/**
 * What programs write to perf buffers: records in memory that is laid out as the kernel maps it, for each CPU.
 *
 * A slot of a `PERF_EVENT_ARRAY` holds a perf event in the kernel; here it holds a `PerfBuffer`, which stands for an event
 * of type `PERF_COUNT_SW_BPF_OUTPUT` on one CPU, with its memory once that is mapped: a page with the positions, and behind
 * it the data. A record that finds no room is lost, and counted; the next one that finds room has a record of the lost ones
 * in front of it.
 *
 * Semantics: `__bpf_perf_event_output` in `kernel/trace/bpf_trace.c`, `kernel/events/ring_buffer.c`; reference page
 * `ringbuf`, section 3. Positions are exact up to 2^53.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"

/** Stands for the CPU that runs the program, in the index of an output. */
export const BPF_F_CURRENT_CPU = 0xffff_ffff

/** Bytes of a record before its payload: `struct perf_event_header` and the payload's length. */
const overhead = 12

/** The longest payload that the kernel's record can hold: its size is a 16-bit number. */
const maximumPayload = 65532

const HEAD = 1024
const TAIL = 1032
const DATA_OFFSET = 1040
const DATA_SIZE = 1048
const PERF_RECORD_LOST = 2
const PERF_RECORD_SAMPLE = 9
/** The record was made in the kernel. */
const PERF_RECORD_MISC_KERNEL = 1
/** Bytes of a record of lost ones. */
const lostSize = 24

/** After how much a reader is called for: records, or bytes. */
export interface Wakeup {
  readonly _tag: "Records" | "Bytes"
  readonly value: number
}

interface Memory {
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Where the data begins. */
  readonly offset: number
  /** Bytes of data: a power of two. */
  readonly size: number
  /** Bytes after which a reader is called for. */
  readonly watermark: number
}

/** The perf buffer of one CPU. */
export interface PerfBuffer {
  readonly cpu: number
  readonly wakeup: Wakeup
  /** Absent until somebody maps it: then nothing can be written, and nothing is counted. */
  memory: Memory | undefined
  /** Whether it takes records. */
  isOn: boolean
  /** Position that was written to, bytes since the beginning. */
  head: number
  /** Records since the last call for a reader, and the position of that call. */
  records: number
  called: number
  /** A reader was called for, and has not been told. */
  calls: boolean
  /** Records that did not fit since the last one that did. */
  lost: number
  /** Records that did not fit, ever. */
  allLost: number
}

/** A perf buffer for one CPU, without memory and switched off. */
export const make = (cpu: number, wakeup: Wakeup = { _tag: "Records", value: 1 }): PerfBuffer => ({
  cpu,
  wakeup,
  memory: undefined,
  isOn: false,
  head: 0,
  records: 0,
  called: 0,
  calls: false,
  lost: 0,
  allLost: 0
})

/**
 * Gives a buffer its memory: zeros, one page and a power of two of pages. A buffer that has memory keeps it: `EINVAL` for
 * another length.
 */
export const map = (buffer: PerfBuffer, length: number, pageSize: number): Uint8Array | "EINVAL" => {
  const size = length - pageSize
  if (size < pageSize || size > 2 ** 30 || (size & (size - 1)) !== 0) return "EINVAL"
  if (buffer.memory !== undefined) return buffer.memory.bytes.length === length ? buffer.memory.bytes : "EINVAL"
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(DATA_OFFSET, BigInt(pageSize), true)
  view.setBigUint64(DATA_SIZE, BigInt(size), true)
  const watermark = buffer.wakeup._tag === "Bytes" ? Math.min(size, buffer.wakeup.value) : size / 2
  buffer.memory = { bytes, view, offset: pageSize, size, watermark }
  return bytes
}

/** Bytes that can be written now; one less than there are, so that a full buffer is told from an empty one. */
const room = ({ head }: PerfBuffer, { size, view }: Memory): number =>
  Number((view.getBigUint64(TAIL, true) - BigInt(head) - 1n) & BigInt(size - 1))

/** Copies bytes to a position; they may pass the end of the data. */
const write = ({ bytes, offset, size }: Memory, position: number, from: Uint8Array): void => {
  const at = position % size
  const first = Math.min(from.length, size - at)
  bytes.set(from.subarray(0, first), offset + at)
  bytes.set(from.subarray(first), offset)
}

const header = (view: DataView, type: number, misc: number, size: number): void => {
  view.setUint32(0, type, true)
  view.setUint16(4, misc, true)
  view.setUint16(6, size, true)
}

/** The records of one output: those that were lost before it, if there were, then the sample. */
const recordsOf = (lost: number, length: number, parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const padded = Math.ceil((length + 4) / 8) * 8 - 4
  const before = lost === 0 ? 0 : lostSize
  const bytes = new Uint8Array(before + overhead + padded)
  if (lost > 0) {
    const view = new DataView(bytes.buffer)
    header(view, PERF_RECORD_LOST, 0, lostSize)
    view.setBigUint64(16, BigInt(lost), true)
  }
  const view = new DataView(bytes.buffer, before)
  header(view, PERF_RECORD_SAMPLE, PERF_RECORD_MISC_KERNEL, overhead + padded)
  view.setUint32(8, padded, true)
  let at = before + overhead
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** Calls for a reader, if it is time to. */
const call = (buffer: PerfBuffer, memory: Memory): void => {
  if (buffer.head - buffer.called > memory.watermark) {
    buffer.called += memory.watermark
    buffer.calls = true
  }
  if (buffer.wakeup._tag === "Bytes" || ++buffer.records < buffer.wakeup.value) return
  buffer.records -= buffer.wakeup.value
  buffer.calls = true
}

/**
 * Appends a record made of these parts to a CPU's buffer. Answers 0, `-EOPNOTSUPP` if the buffer is another CPU's or
 * switched off, `-E2BIG` for a record that is too long, `-ENOSPC` if it was lost.
 */
export const append = (buffer: PerfBuffer, cpu: number, parts: ReadonlyArray<Uint8Array>): number => {
  if (buffer.cpu !== cpu || !buffer.isOn) return -numbers.EOPNOTSUPP
  let length = 0
  for (const part of parts) length += part.length
  if (length > maximumPayload) return -numbers.E2BIG
  const { memory } = buffer
  if (memory === undefined) return -numbers.ENOSPC
  const records = recordsOf(buffer.lost, length, parts)
  if (records.length > room(buffer, memory)) {
    buffer.lost++
    buffer.allLost++
    return -numbers.ENOSPC
  }
  write(memory, buffer.head, records)
  buffer.lost = 0
  buffer.head += records.length
  memory.view.setBigUint64(HEAD, BigInt(buffer.head), true)
  call(buffer, memory)
  return 0
}

/** Whether a reader was called for since it was asked last, as poll(2) says it. */
export const poll = (buffer: PerfBuffer): boolean => {
  const { calls } = buffer
  buffer.calls = false
  return calls
}
