/**
 * What programs write to perf buffers: records per CPU in a list of the host, with a count of those that were lost.
 *
 * A slot of a `PERF_EVENT_ARRAY` holds a perf event in the kernel; here it holds a `PerfBuffer`, which stands for an event
 * of type `PERF_COUNT_SW_BPF_OUTPUT` on one CPU and its ring of memory.
 *
 * Semantics: `__bpf_perf_event_output` in `kernel/trace/bpf_trace.c`.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"

/** Stands for the CPU that runs the program, in the index of an output. */
export const BPF_F_CURRENT_CPU = 0xffff_ffff

/** Bytes of a record before its payload: `struct perf_event_header` and the payload's length. */
const overhead = 12

/** The longest payload that the kernel's record can hold: its size is a 16-bit number. */
const maximumPayload = 65532

/** The perf buffer of one CPU. */
export interface PerfBuffer {
  readonly cpu: number
  /** What the ring can hold, bytes; a record takes its payload and 12 bytes, rounded up to 8. */
  readonly capacity: number
  used: number
  /** Payloads as a consumer reads them: padded with zeros so that payload and its 4-byte length are a multiple of 8. */
  readonly records: Array<Uint8Array>
  /** Records that did not fit since the last `drain`. */
  lost: number
}

/** An empty perf buffer for one CPU of `capacity` bytes. */
export const make = (cpu: number, capacity: number): PerfBuffer => ({ cpu, capacity, used: 0, records: [], lost: 0 })

/** What a consumer takes out at once. */
export interface Drained {
  readonly records: ReadonlyArray<Uint8Array>
  readonly lost: number
}

/** Takes everything out of a perf buffer. */
export const drain = (buffer: PerfBuffer): Drained => {
  const drained = { records: buffer.records.splice(0), lost: buffer.lost }
  buffer.used = 0
  buffer.lost = 0
  return drained
}

/**
 * Appends a record made of these parts to a CPU's buffer. Answers 0, `-EOPNOTSUPP` if the buffer is another CPU's,
 * `-E2BIG` for a record that is too long, `-ENOSPC` if it was lost.
 */
export const append = (buffer: PerfBuffer, cpu: number, parts: ReadonlyArray<Uint8Array>): number => {
  if (buffer.cpu !== cpu) return -numbers.EOPNOTSUPP
  let length = 0
  for (const part of parts) length += part.length
  if (length > maximumPayload) return -numbers.E2BIG
  const padded = Math.ceil((length + 4) / 8) * 8 - 4
  if (buffer.used + padded + overhead > buffer.capacity) {
    buffer.lost++
    return -numbers.ENOSPC
  }
  const record = new Uint8Array(padded)
  let at = 0
  for (const part of parts) {
    record.set(part, at)
    at += part.length
  }
  buffer.used += padded + overhead
  buffer.records.push(record)
  return 0
}
