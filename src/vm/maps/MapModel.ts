/**
 * What the maps of the simulated kernel have in common: their attributes as they were taken, options, error numbers.
 *
 * Operations answer like kernel functions do: 0 or more on success, a negative error number of `Errno.numbers` on
 * failure. They never throw.
 */
import * as Schema from "effect/Schema"
import { mapTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { MapAttributes } from "../../services/Kernel/KernelCall.ts"
import type { PerfBuffer } from "./PerfEvents.ts"

/** Flags of an update: create or replace, only create, only replace. */
export const BPF_ANY = 0
/** Create an element that must not exist. */
export const BPF_NOEXIST = 1
/** Replace an element that must exist; for queues and stacks: drop the oldest element of a full map. */
export const BPF_EXIST = 2

/** The sizes and flags of a map, with the sizes that follow from them. Bytes, unless said otherwise. */
export interface MapShape {
  /** The attributes as the kernel keeps and reports them. */
  readonly attr: MapAttributes
  /** The CPUs of the simulated machine. */
  readonly possibleCpus: number
  /** Values per element: the possible CPUs for the per-CPU types, 1 for all others. */
  readonly cpus: number
  /** What one CPU's value takes: the value size rounded up to 8. */
  readonly valueStride: number
  /** What a value has in user space: the value size, a multiple of it for per-CPU types, 4 for slots. */
  readonly userValueSize: number
}

/**
 * Something that a slot of a program array, of a map of maps or of a perf event array holds. `handle` is the host's and
 * means nothing to this room; `id` is what user space reads. `map` says that it is a map, `perf` that it is a perf event;
 * with neither it is a program.
 */
export interface Slot<H> {
  readonly id: number
  readonly handle: H
  readonly map?: { readonly shape: MapShape }
  readonly perf?: PerfBuffer
}

/** The map type works in the kernel, but not in this process: what it holds belongs to parts that are not simulated. */
export class UnsupportedMap extends Schema.TaggedError<UnsupportedMap>()("UnsupportedMap", {
  /** `BPF_MAP_TYPE_*` */
  type: Schema.Number,
  name: Schema.String,
  /** What was asked: `"MapLookup"`, `"ProgLoad"`. */
  operation: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const hint = this.hint === undefined ? "" : `\nhint: ${this.hint}`
    return `${this.operation}: map ${this.name} is a ${
      mapTypeName(this.type)
    }, which the simulated kernel can only create${hint}`
  }
}

/** Rounds up to a multiple of 8. */
export const roundUp8 = (size: number): number => Math.ceil(size / 8) * 8

/** The smallest power of two that is not below `n`; `n` from 1 to 2^53. */
export const powerOfTwoAbove = (n: number): number => {
  let power = 1
  while (power < n) power *= 2
  return power
}

/** Reads an unsigned 32-bit number, little-endian: the byte order of the simulated machine. */
export const readU32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)) >>> 0

/** Writes an unsigned 32-bit number, little-endian. */
export const writeU32 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}

/** A 32-bit number as the key or value that user space reads. */
export const u32Bytes = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4)
  writeU32(bytes, 0, value)
  return bytes
}

/** Copies `length` bytes; short ones byte by byte, which is faster than making a view. */
export const copyBytes = (from: Uint8Array, fromAt: number, to: Uint8Array, toAt: number, length: number): void => {
  if (length <= 32) { for (let i = 0; i < length; i++) to[toAt + i] = from[fromAt + i] ?? 0 }
  else to.set(from.subarray(fromAt, fromAt + length), toAt)
}
