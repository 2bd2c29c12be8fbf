/**
 * What decoding a call reads: memory by its addresses, descriptors by their numbers, structures by their layouts; and the
 * errors of what cannot be read.
 */
import * as Schema from "effect/Schema"
import type { KernelSymbol, MapAttributes, ProgAttributes, ProgFunction } from "../KernelCall.ts"
import type { BtfRef, MapRef, ProgRef } from "../Ref.ts"
import * as Arena from "./Arena.ts"
import * as Errno from "./Errno.ts"

/** The memory that a call's addresses lead into. */
export interface Memory {
  /** The bytes from an address on; `undefined` where they are not all readable. May be a view: it is copied. */
  readonly read: (address: bigint, length: number) => Uint8Array | undefined
}

/** What descriptors stand for, and what the next call that makes one defines. */
export interface Descriptors {
  readonly map: (fd: number) => { readonly ref: MapRef; readonly attr: MapAttributes } | undefined
  readonly prog: (fd: number) => ProgRef | undefined
  readonly btf: (fd: number) => BtfRef | undefined
  /**
   * The symbol that was looked up and has this type id, in the BTF object of this descriptor: 0 is vmlinux's. `undefined`
   * where no look-up answered so.
   */
  readonly symbol: (id: number, fd: number) => KernelSymbol | undefined
  /** The symbol that was looked up and has this address. */
  readonly address: (address: bigint) => KernelSymbol | undefined
  /** A weak kernel function that was looked up and is not there: what a call of nothing stands for. */
  readonly missing: () => KernelSymbol
  /** The function of this type id of the program of this descriptor, for programs that attach to others. */
  readonly programFunction: (fd: number, id: number) => ProgFunction | undefined
  readonly nextBtf: BtfRef
  /** What the map comes with tells which one of a plan it is. */
  readonly nextMap: (attr: MapAttributes) => MapRef
  readonly nextProg: (attr: ProgAttributes) => ProgRef
}

/** A call that decodes to nothing. */
export class DecodeError extends Schema.TaggedError<DecodeError>()("DecodeError", {
  reason: Schema.Literals([
    /** No such command, or one that is not decoded. */
    "Command",
    /** An address that leads nowhere, or a length that goes beyond. */
    "Fault",
    /** A descriptor that stands for nothing, or for something else. */
    "Descriptor",
    /** A field that is set and has no place in the call. */
    "Field",
    /** A structure or an array of a wrong size. */
    "Size"
  ]),
  /** The number of the command. */
  command: Schema.Number,
  /** The field of the structure, by its kernel name. */
  field: Schema.String,
  value: Schema.String
}) {
  override get message(): string {
    const why = {
      Command: "is not decoded",
      Fault: "is not readable",
      Descriptor: "is no such descriptor",
      Field: "asks for what is not decoded",
      Size: "is a wrong size"
    }[this.reason]
    return `bpf command ${this.command}: ${this.field} ${this.value} ${why}`
  }

  /** The error number that a kernel gives for this, positive. */
  get errnoNumber(): number {
    switch (this.reason) {
      case "Fault":
        return Errno.numbers.EFAULT
      case "Descriptor":
        return Errno.numbers.EBADF
      case "Size":
        return Errno.numbers.E2BIG
      case "Command":
      case "Field":
        return Errno.numbers.EINVAL
    }
  }
}

/** Whether a thrown value is a `DecodeError`. */
export const isDecodeError = (thrown: unknown): thrown is DecodeError => thrown instanceof DecodeError

/** One call while it is decoded. */
export interface Reading {
  readonly command: number
  /** Whether structures are little-endian. */
  readonly little: boolean
  readonly memory: Memory
  readonly descriptors: Descriptors
}

/** The error of a field. */
export const refuse = (
  { command }: Reading,
  reason: DecodeError["reason"],
  field: string,
  value: number | bigint | string
): DecodeError => new DecodeError({ reason, command, field, value: String(value) })

/** A structure that was read: its numbers by name. */
export interface Struct<L extends Arena.Layout> {
  readonly number: (field: keyof L["fields"] & string) => number
  readonly wide: (field: keyof L["fields"] & string) => bigint
  readonly bytes: Uint8Array
}

/** The kernel takes no structure longer than a page. */
const MAX_ATTR = 4096

/**
 * Reads the structure of a call: what is not passed is zero, what is not known must be zero, and fields outside
 * `understood` must be zero as well.
 */
export const structOf = <L extends Arena.Layout>(
  reading: Reading,
  layout: L,
  address: bigint,
  size: number,
  understood: ReadonlyArray<keyof L["fields"] & string>
): Struct<L> => {
  if (!Number.isInteger(size) || size < 0 || size > MAX_ATTR) throw refuse(reading, "Size", "attr", size)
  const given = reading.memory.read(address, size)
  if (given === undefined) throw refuse(reading, "Fault", "attr", address)
  for (let at = layout.size; at < size; at++) {
    if (given[at] !== 0) throw refuse(reading, "Size", "attr", size)
  }
  const bytes = new Uint8Array(layout.size)
  bytes.set(given.subarray(0, layout.size))
  const fields: Readonly<Record<string, Arena.Field>> = layout.fields
  for (const [name, field] of Object.entries(fields)) {
    if (understood.includes(name)) continue
    for (let at = field.offset; at < field.offset + field.size; at++) {
      if (bytes[at] !== 0) throw refuse(reading, "Field", name, bytes[at] ?? 0)
    }
  }
  const fieldOf = (name: string): Arena.Field => fields[name] ?? Arena.u32(layout.size)
  return {
    bytes,
    number: (name) => Arena.readNumber(bytes, fieldOf(name), reading.little),
    wide: (name) => Arena.readBigInt(bytes, fieldOf(name), reading.little)
  }
}

/** A copy of memory that a field points to. */
export const bytesAt = (reading: Reading, field: string, address: bigint, length: number): Uint8Array => {
  const bytes = reading.memory.read(address, length)
  if (bytes === undefined || bytes.length !== length) throw refuse(reading, "Fault", field, address)
  return new Uint8Array(bytes)
}

/** Licenses are read up to this many bytes, the end included. */
const MAX_LICENSE = 128

/** Text up to its NUL; longer text is cut, as the kernel does it. */
export const textAt = (reading: Reading, field: string, address: bigint): string => {
  const bytes: Array<number> = []
  while (bytes.length < MAX_LICENSE - 1) {
    const byte = reading.memory.read(address + BigInt(bytes.length), 1)?.[0]
    if (byte === undefined) throw refuse(reading, "Fault", field, address)
    if (byte === 0) break
    bytes.push(byte)
  }
  return new TextDecoder().decode(Uint8Array.from(bytes))
}

/** The map that a descriptor stands for. */
export const mapOf = (
  reading: Reading,
  field: string,
  fd: number
): { readonly ref: MapRef; readonly attr: MapAttributes } => {
  const found = reading.descriptors.map(fd)
  if (found === undefined) throw refuse(reading, "Descriptor", field, fd)
  return found
}

/** The BTF object that a descriptor stands for. */
export const btfOf = (reading: Reading, field: string, fd: number): BtfRef => {
  const found = reading.descriptors.btf(fd)
  if (found === undefined) throw refuse(reading, "Descriptor", field, fd)
  return found
}
