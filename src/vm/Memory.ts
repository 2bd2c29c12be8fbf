/**
 * The memory that programs see: regions of bytes with permissions, each at an address of its own.
 *
 * An address has 64 bits. The high 32 are the region's number, the low 32 an offset in bytes. No region has number 0, so
 * that NULL and small integers fault; between the end of a region and the start of the next number lie up to 4 GiB of
 * nothing, so that arithmetic which leaves a region faults when the result is accessed. A region's number holds an index
 * and a generation: pointers into a region that was removed fault, also after its index was given to another (until
 * 4,096 others had it).
 *
 * The bytes of a region are the host's: any `Uint8Array`, shared or not, of any `byteOffset`; nothing is copied. They must
 * stay attached as long as the region exists. Numbers in memory are little-endian, and any alignment is allowed, as on
 * x86-64.
 *
 * A memory may serve several machines; they then see the same regions (maps of one kernel), and each other's stacks.
 *
 * Addresses come as two halves, as int32, on the paths that programs take, and as one unsigned `bigint` elsewhere.
 */
import type { VmErrorFields } from "./VmError.ts"

/** Sizes of a single access, in bytes. */
export type AccessSize = 1 | 2 | 4 | 8

/**
 * Stands in for the bytes of a region whose loads and stores mean something else: a program context, where the load of a
 * 4-byte field may yield a 64-bit pointer. Atomic operations and helpers' buffers are refused in such a region.
 */
export interface Accessor {
  /**
   * Loads `size` bytes at `offset` (from the region's start, never negative; not checked against any length). Stores the
   * low half in `out[0]` and the high half in `out[1]`, and answers true; or answers false where there is no such field.
   * The result becomes the register as it is: zero-extend what is a number. A sign-extending load extends `out[0]`.
   */
  readonly load: (offset: number, size: AccessSize, out: Int32Array) => boolean
  /** Stores the low `size` bytes of the value of these halves; false where there is no such field to write. */
  readonly store: (offset: number, size: AccessSize, low: number, high: number) => boolean
}

/**
 * How the values of a map lie in a region of many: value `i` is at byte `i * stride` of the region's bytes, and at offset
 * `i << shift` of its addresses, so that a pointer that leaves a value faults and does not reach the next.
 */
export interface Elements {
  /** Bytes of one value. */
  readonly size: number
  /** Bytes from one value to the next in the region's bytes, at least `size`. */
  readonly stride: number
  /** Number of values. */
  readonly count: number
  readonly shift: number
}

/**
 * A region of memory. Made by `add`; its fields are for reading only, and change by `rebind`, `protect` and `remove`.
 *
 * `readLength` and `writeLength` bound the accesses that go straight to the bytes: 0 where they must not.
 */
export interface Region {
  /** The high half of its addresses, as int32. */
  id: number
  readonly name: string
  bytes: Uint8Array
  view: DataView
  readLength: number
  writeLength: number
  /** False once it was removed. */
  mapped: boolean
  /** Whether loads and stores are permitted, wherever they go. */
  readable: boolean
  writable: boolean
  readonly accessor: Accessor | undefined
  readonly elements: Elements | undefined
}

/** What a region is made of. */
export interface RegionOptions {
  /** For people: `packet`, `value of map counters`. */
  readonly name: string
  /** The bytes; not copied. Absent for a region that only names things (a map handle), or has an accessor only. */
  readonly bytes?: Uint8Array
  /** Default true. */
  readonly readable?: boolean
  /** Default true. */
  readonly writable?: boolean
  readonly accessor?: Accessor
  /** Makes it a region of many values; see `addElements`. */
  readonly elements?: Elements
}

/** An address space. */
export interface Memory {
  /** By index; its length is a power of two, and unused places hold a region that permits nothing. */
  readonly regions: Array<Region>
  /** Indices that were used before and are free. */
  readonly free: Array<number>
  /** The lowest index never used. */
  next: number
  /** `regions.length - 1`: which bits of a number's low bits are worth looking at. */
  mask: number
}

/** Bits of a region's number that are its index; the others are its generation. */
const INDEX_BITS = 20
const INDEX_MASK = (1 << INDEX_BITS) - 1

/** Most regions that a memory can hold at a time, those of stacks included. */
export const MAX_REGIONS = 1 << INDEX_BITS

/** The number of the region whose offsets are instruction slots: what a function's address points to. */
export const CODE_REGION = 1

const nothing: Uint8Array = new Uint8Array(0)

const makeRegion = (id: number, options: RegionOptions): Region => {
  const region: Region = {
    id,
    name: options.name,
    bytes: nothing,
    view: new DataView(nothing.buffer),
    readLength: 0,
    writeLength: 0,
    mapped: true,
    readable: options.readable ?? true,
    writable: options.writable ?? true,
    accessor: options.accessor,
    elements: options.elements
  }
  if (options.bytes !== undefined) rebind(region, options.bytes)
  return region
}

/** A region that permits nothing, and that no address names: its number has length 0. */
const unmapped = (): Region => {
  const region = makeRegion(0, { name: "nothing", readable: false, writable: false })
  region.mapped = false
  return region
}

/** A memory with nothing in it but the addresses of functions, which permit no access. */
export const make = (): Memory => {
  const none = unmapped()
  const code = makeRegion(CODE_REGION, { name: "code", readable: false, writable: false })
  return { regions: [none, code, ...Array.from({ length: 14 }, () => none)], free: [], next: 2, mask: 15 }
}

/** Adds a region and gives it a number; undefined where there are `MAX_REGIONS` already. Costs about 100 ns. */
export const add = (memory: Memory, options: RegionOptions): Region | undefined => {
  const { free, regions } = memory
  const again = free.pop()
  if (again !== undefined) {
    // A place that is free holds the region that was removed, which remembers the generation.
    const old = regions[again] as Region
    const region = makeRegion((old.id + MAX_REGIONS) | 0, options)
    regions[again] = region
    return region
  }
  const index = memory.next
  if (index === MAX_REGIONS) return undefined
  memory.next = index + 1
  if (index === regions.length) {
    const none = regions[0] as Region
    while (regions.length <= index * 2 - 1) regions.push(none)
    memory.mask = regions.length - 1
  }
  const region = makeRegion(index, options)
  regions[index] = region
  return region
}

/**
 * Adds a region for the values of a map, `count` of them, each of `size` bytes and `stride` bytes after the one before.
 * One look-up is then `elementOffset`, no region of its own. Undefined where there are too many regions, or where the
 * values need more than 4 GiB of addresses (`count` times the power of two that is at least twice `size`): divide them.
 */
export const addElements = (
  memory: Memory,
  options: RegionOptions & { readonly bytes: Uint8Array },
  size: number,
  stride: number,
  count: number
): Region | undefined => {
  // Twice the size, so that a pointer past the end of one value is not the start of the next.
  const shift = Math.max(1, Math.ceil(Math.log2(Math.max(1, size))) + 1)
  if (
    shift > 31 || count * 2 ** shift > 2 ** 32 || size > stride ||
    (count > 0 && (count - 1) * stride + size > options.bytes.length)
  ) {
    return undefined
  }
  return add(memory, { ...options, elements: { size, stride, count, shift } })
}

/** The offset in a region of `addElements` of value `index`; the low half of its address, as int32. */
export const elementOffset = (region: Region, index: number): number =>
  region.elements === undefined ? 0 : index << region.elements.shift

/** Takes a region away: accesses through pointers into it fault from now on. A second time it does nothing. */
export const remove = (memory: Memory, region: Region): void => {
  const index = region.id & INDEX_MASK
  if (!region.mapped || memory.regions[index] !== region) return
  region.mapped = false
  rebind(region, nothing)
  memory.free.push(index)
}

const updateLengths = (region: Region): void => {
  const direct = region.accessor === undefined && region.elements === undefined
  region.readLength = direct && region.readable ? region.bytes.length : 0
  region.writeLength = direct && region.writable ? region.bytes.length : 0
}

/** Puts other bytes under a region's addresses: what moving the head or tail of a packet does. Offsets count from their start. */
export const rebind = (region: Region, bytes: Uint8Array): void => {
  region.bytes = bytes
  region.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  updateLengths(region)
}

/** Sets what a region permits. */
export const protect = (region: Region, readable: boolean, writable: boolean): void => {
  region.readable = readable
  region.writable = writable
  updateLengths(region)
}

/** The address of a byte of a region. */
export const address = (region: Region, offset = 0): bigint => bigintOf(offset, region.id)

/** Two halves as one unsigned number. */
export const bigintOf = (low: number, high: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)

/** The low half of a 64-bit number, as int32. */
export const lowOf = (value: bigint): number => Number(BigInt.asIntN(32, value))

/** The high half of a 64-bit number, as int32. */
export const highOf = (value: bigint): number => Number(BigInt.asIntN(32, value >> 32n))

/** The region that addresses of this high half are in, or undefined. */
export const regionAt = (memory: Memory, high: number): Region | undefined => {
  const region = memory.regions[high & memory.mask] as Region
  return region.id === high && region.mapped ? region : undefined
}

/**
 * Where in the bytes of `region` an access lies, or -1 where it is not within them. `low` is the low half of the address,
 * of either sign.
 */
export const locate = (region: Region, low: number, size: number): number => {
  const offset = low >>> 0
  const { elements } = region
  if (elements === undefined) return offset + size <= region.bytes.length ? offset : -1
  const index = offset >>> elements.shift
  const within = offset - index * 2 ** elements.shift
  return index < elements.count && within + size <= elements.size ? index * elements.stride + within : -1
}

/**
 * The bytes at an address, as a view of the region's own: what helpers read or write. Undefined where the access is not
 * permitted or not within one region (one value, in a region of many). A `size` of 0 is within any region.
 */
export const bytesAt = (
  memory: Memory,
  low: number,
  high: number,
  size: number,
  write: boolean
): Uint8Array | undefined => {
  const region = regionAt(memory, high)
  if (region === undefined || region.accessor !== undefined || !(write ? region.writable : region.readable)) {
    return undefined
  }
  const at = locate(region, low, size)
  return at < 0 ? undefined : region.bytes.subarray(at, at + size)
}

/** The bytes from an address to the end of its region (or value): for strings, whose length is not known. */
export const bytesFrom = (memory: Memory, low: number, high: number): Uint8Array | undefined => {
  const region = regionAt(memory, high)
  if (region === undefined || region.accessor !== undefined || !region.readable) return undefined
  const at = locate(region, low, 0)
  if (at < 0) return undefined
  const { elements } = region
  // Not from `at`: the end of one value may be the start of the next.
  const end = elements === undefined
    ? region.bytes.length
    : (low >>> elements.shift) * elements.stride + elements.size
  return region.bytes.subarray(at, end)
}

/** What is wrong with an access that is not permitted, as the fields of an error. `low` and `high`: the address accessed. */
export const explain = (
  memory: Memory,
  low: number,
  high: number,
  size: number,
  access: "read" | "write" | "atomic"
): VmErrorFields => {
  const common = { access, address: bigintOf(low, high), size }
  const region = regionAt(memory, high)
  // Just below a region: subtraction carried into the region's number, where the end of another's addresses lies.
  if (low < 0 && low > -0x10000 && (region === undefined || locate(region, low, 0) < 0)) {
    const above = regionAt(memory, (high + 1) | 0)
    if (above !== undefined) {
      return { reason: "OutOfBounds", region: above.name, offset: low, hint: "below its start", ...common }
    }
  }
  if (region === undefined) {
    const place = memory.regions[high & memory.mask] as Region
    const hint = high === 0
      ? "a null pointer, or a number that is no pointer"
      : place.id === high
      ? `${place.name} was there and is gone`
      : undefined
    return { reason: "NotMapped", ...(hint === undefined ? {} : { hint }), ...common }
  }
  const place = { region: region.name, offset: low >>> 0, ...common }
  if (access === "read" && !region.readable) return { reason: "NotReadable", ...place }
  if (access !== "read" && !region.writable) return { reason: "NotWritable", ...place }
  if (region.accessor !== undefined) return { reason: "BadAccess", ...place }
  return { reason: "OutOfBounds", ...place, hint: `it has ${lengthOf(region)} bytes` }
}

const lengthOf = (region: Region): number => region.elements === undefined ? region.bytes.length : region.elements.size
