/**
 * Calls out of the memory of a program that makes them: `union bpf_attr` and what it points to, read as a `KernelCall`.
 *
 * The other direction of `Attr`: for programs that run in this process and call `bpf_sys_bpf`. Everything is checked as a
 * kernel would: addresses, lengths, descriptors, and that nothing is asked for which the call could not say.
 *
 * Commands: `BPF_BTF_LOAD`, `BPF_MAP_CREATE`, `BPF_MAP_UPDATE_ELEM` of maps whose values are plain bytes of one length,
 * `BPF_MAP_FREEZE`, `BPF_PROG_LOAD` of programs that use no kernel symbols. Structures are little-endian.
 */
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Insn from "../../../insn/Insn.ts"
import {
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_IDX,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_PSEUDO_MAP_VALUE
} from "../../../insn/InsnConstants.ts"
import { attempt } from "../../../internal/attempt.ts"
import type { Code, CodeRef, InfoRecords, KernelCall, MapAttributes } from "../KernelCall.ts"
import type { BtfRef, MapRef, ProgRef } from "../Ref.ts"
import * as Arena from "./Arena.ts"
import * as Attr from "./Attr.ts"
import { Command, MapType } from "./BpfConstants.ts"
import * as Errno from "./Errno.ts"

/** The memory that a call's addresses lead into. */
export interface Memory {
  /** The bytes from an address on; `undefined` where they are not all readable. May be a view: it is copied. */
  readonly read: (address: bigint, length: number) => Uint8Array | undefined
}

/** What descriptors stand for, and what the next call that makes one defines. */
export interface Descriptors {
  readonly map: (fd: number) => { readonly ref: MapRef; readonly attr: MapAttributes } | undefined
  readonly btf: (fd: number) => BtfRef | undefined
  readonly nextBtf: BtfRef
  readonly nextMap: MapRef
  readonly nextProg: ProgRef
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

const isDecodeError = (thrown: unknown): thrown is DecodeError => thrown instanceof DecodeError

/** One call while it is decoded. */
interface Reading {
  readonly command: number
  readonly memory: Memory
  readonly descriptors: Descriptors
}

const refuse = (
  { command }: Reading,
  reason: DecodeError["reason"],
  field: string,
  value: number | bigint | string
): DecodeError => new DecodeError({ reason, command, field, value: String(value) })

/** A structure that was read: its numbers by name. */
interface Struct<L extends Arena.Layout> {
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
const structOf = <L extends Arena.Layout>(
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
    number: (name) => Arena.readNumber(bytes, fieldOf(name), true),
    wide: (name) => Arena.readBigInt(bytes, fieldOf(name), true)
  }
}

/** A copy of memory that a field points to. */
const bytesAt = (reading: Reading, field: string, address: bigint, length: number): Uint8Array => {
  const bytes = reading.memory.read(address, length)
  if (bytes === undefined || bytes.length !== length) throw refuse(reading, "Fault", field, address)
  return new Uint8Array(bytes)
}

/** Licenses are read up to this many bytes, the end included. */
const MAX_LICENSE = 128

/** Text up to its NUL; longer text is cut, as the kernel does it. */
const textAt = (reading: Reading, field: string, address: bigint): string => {
  const bytes: Array<number> = []
  while (bytes.length < MAX_LICENSE - 1) {
    const byte = reading.memory.read(address + BigInt(bytes.length), 1)?.[0]
    if (byte === undefined) throw refuse(reading, "Fault", field, address)
    if (byte === 0) break
    bytes.push(byte)
  }
  return new TextDecoder().decode(Uint8Array.from(bytes))
}

const mapOf = (reading: Reading, field: string, fd: number): { readonly ref: MapRef; readonly attr: MapAttributes } => {
  const found = reading.descriptors.map(fd)
  if (found === undefined) throw refuse(reading, "Descriptor", field, fd)
  return found
}

const btfOf = (reading: Reading, field: string, fd: number): BtfRef => {
  const found = reading.descriptors.btf(fd)
  if (found === undefined) throw refuse(reading, "Descriptor", field, fd)
  return found
}

const btfLoad = (reading: Reading, address: bigint, size: number): KernelCall => {
  const log = ["btf_log_buf", "btf_log_size", "btf_log_level", "btf_log_true_size"] as const
  const attr = structOf(reading, Attr.BtfLoad, address, size, ["btf", "btf_size", ...log])
  const bytes = bytesAt(reading, "btf", attr.wide("btf"), attr.number("btf_size"))
  return { _tag: "BtfLoad", as: reading.descriptors.nextBtf, bytes }
}

const mapCreate = (reading: Reading, address: bigint, size: number): KernelCall => {
  const attr = structOf(reading, Attr.MapCreate, address, size, [
    "map_type",
    "key_size",
    "value_size",
    "max_entries",
    "map_flags",
    "inner_map_fd",
    "numa_node",
    "map_name",
    "map_ifindex",
    "btf_fd",
    "btf_key_type_id",
    "btf_value_type_id",
    "map_extra"
  ])
  const inner = attr.number("inner_map_fd")
  const btf = attr.number("btf_fd")
  const [key, value] = [attr.number("btf_key_type_id"), attr.number("btf_value_type_id")]
  return {
    _tag: "MapCreate",
    as: reading.descriptors.nextMap,
    attr: {
      name: Arena.readName(attr.bytes, Attr.MapCreate.fields.map_name),
      type: attr.number("map_type"),
      keySize: attr.number("key_size"),
      valueSize: attr.number("value_size"),
      maxEntries: attr.number("max_entries"),
      flags: attr.number("map_flags"),
      numaNode: attr.number("numa_node"),
      ifindex: attr.number("map_ifindex"),
      extra: attr.wide("map_extra")
    },
    ...(inner === 0 ? {} : { inner: mapOf(reading, "inner_map_fd", inner).ref }),
    ...(btf === 0 && key === 0 && value === 0 ? {} : { types: { btf: btfOf(reading, "btf_fd", btf), key, value } })
  }
}

/** Types of maps whose values are not plain bytes of the length that the map's value size says. */
const otherwiseSized: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
  MapType.BPF_MAP_TYPE_PROG_ARRAY,
  MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
  MapType.BPF_MAP_TYPE_CGROUP_ARRAY,
  MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  MapType.BPF_MAP_TYPE_HASH_OF_MAPS
])

const mapUpdate = (reading: Reading, address: bigint, size: number): KernelCall => {
  const attr = structOf(reading, Attr.MapElement, address, size, ["map_fd", "key", "value", "flags"])
  const fd = attr.number("map_fd")
  const { attr: shape, ref } = mapOf(reading, "map_fd", fd)
  if (otherwiseSized.has(shape.type)) throw refuse(reading, "Field", "map_fd", fd)
  return {
    _tag: "MapUpdate",
    map: ref,
    key: bytesAt(reading, "key", attr.wide("key"), shape.keySize),
    value: { bytes: bytesAt(reading, "value", attr.wide("value"), shape.valueSize), refs: [] },
    flags: attr.wide("flags")
  }
}

const mapFreeze = (reading: Reading, address: bigint, size: number): KernelCall => {
  const attr = structOf(reading, Attr.MapFreeze, address, size, ["map_fd"])
  return { _tag: "MapFreeze", map: mapOf(reading, "map_fd", attr.number("map_fd")).ref }
}

/** The map of a load instruction: its immediate is a descriptor, or the number of one in `fd_array`. */
const mapOfInsn = (reading: Reading, insns: Uint8Array, at: number, fdArray: bigint): MapRef => {
  const immediate = Insn.imm(insns, at)
  const src = Insn.src(insns, at)
  if (src === BPF_PSEUDO_MAP_FD || src === BPF_PSEUDO_MAP_VALUE) return mapOf(reading, "insns", immediate).ref
  if (immediate < 0 || fdArray === 0n) throw refuse(reading, "Fault", "fd_array", immediate)
  const slot = bytesAt(reading, "fd_array", fdArray + 4n * BigInt(immediate), 4)
  return mapOf(reading, "fd_array", Arena.readNumber(slot, Arena.s32(0), true)).ref
}

/** Instructions with their maps as refs, as a plan has them. */
const codeOf = (reading: Reading, insns: Uint8Array, fdArray: bigint): Pick<Code, "insns" | "refs"> => {
  const refs: Array<CodeRef> = []
  const count = Insn.count(insns)
  for (let at = 0; at < count; at = Insn.nextSlot(insns, at)) {
    if (Insn.isKfuncCall(insns, at)) throw refuse(reading, "Field", "insns", `${at}, a call of a kernel function,`)
    if (!Insn.isLdImm64(insns, at)) continue
    const src = Insn.src(insns, at)
    if (src === BPF_PSEUDO_BTF_ID) throw refuse(reading, "Field", "insns", `${at}, a variable of the kernel,`)
    if (!Insn.isMapReference(insns, at)) continue
    const map = mapOfInsn(reading, insns, at, fdArray)
    const offset = Insn.nextImm(insns, at) >>> 0
    const isValue = src === BPF_PSEUDO_MAP_VALUE || src === BPF_PSEUDO_MAP_IDX_VALUE
    refs.push(isValue ? { _tag: "MapValueRef", at, map, offset } : { _tag: "MapRef", at, map })
    if (src === BPF_PSEUDO_MAP_IDX) Insn.setSrc(insns, at, BPF_PSEUDO_MAP_FD)
    if (src === BPF_PSEUDO_MAP_IDX_VALUE) Insn.setSrc(insns, at, BPF_PSEUDO_MAP_VALUE)
    Insn.setImm(insns, at, 0)
    if (isValue) Insn.setNextImm(insns, at, 0)
  }
  return { insns, refs }
}

const recordsAt = (
  reading: Reading,
  field: string,
  address: bigint,
  count: number,
  recordSize: number
): InfoRecords | undefined =>
  count === 0 ? undefined : { recordSize, records: bytesAt(reading, field, address, count * recordSize) }

const progLoad = (reading: Reading, address: bigint, size: number): KernelCall => {
  const attr = structOf(reading, Attr.ProgLoad, address, size, [
    "prog_type",
    "insn_cnt",
    "insns",
    "license",
    "log_level",
    "log_size",
    "log_buf",
    "kern_version",
    "prog_flags",
    "prog_name",
    "prog_ifindex",
    "expected_attach_type",
    "prog_btf_fd",
    "func_info_rec_size",
    "func_info",
    "func_info_cnt",
    "line_info_rec_size",
    "line_info",
    "line_info_cnt",
    "core_relo_cnt",
    "fd_array",
    "core_relos",
    "core_relo_rec_size",
    "log_true_size"
  ])
  const insns = bytesAt(reading, "insns", attr.wide("insns"), attr.number("insn_cnt") * 8)
  const code = codeOf(reading, insns, attr.wide("fd_array"))
  const core = recordsAt(
    reading,
    "core_relos",
    attr.wide("core_relos"),
    attr.number("core_relo_cnt"),
    attr.number("core_relo_rec_size")
  )
  const funcInfo = recordsAt(
    reading,
    "func_info",
    attr.wide("func_info"),
    attr.number("func_info_cnt"),
    attr.number("func_info_rec_size")
  )
  const lineInfo = recordsAt(
    reading,
    "line_info",
    attr.wide("line_info"),
    attr.number("line_info_cnt"),
    attr.number("line_info_rec_size")
  )
  const btf = attr.number("prog_btf_fd")
  return {
    _tag: "ProgLoad",
    as: reading.descriptors.nextProg,
    attr: {
      name: Arena.readName(attr.bytes, Attr.ProgLoad.fields.prog_name),
      type: attr.number("prog_type"),
      expectedAttachType: attr.number("expected_attach_type"),
      license: textAt(reading, "license", attr.wide("license")),
      kernelVersion: attr.number("kern_version"),
      flags: attr.number("prog_flags"),
      ifindex: attr.number("prog_ifindex")
    },
    code: { ...code, ...(core === undefined ? {} : { coreRelocations: core }) },
    ...(btf === 0 ? {} : { btf: btfOf(reading, "prog_btf_fd", btf) }),
    ...(funcInfo === undefined ? {} : { funcInfo }),
    ...(lineInfo === undefined ? {} : { lineInfo }),
    log: { level: attr.number("log_level") }
  }
}

/** The call that a program makes with `bpf_sys_bpf(command, attr, size)`: `attr` is an address, `size` bytes. */
export const decode = (
  command: number,
  attr: bigint,
  size: number,
  memory: Memory,
  descriptors: Descriptors
): Result.Result<KernelCall, DecodeError> =>
  attempt(isDecodeError, () => {
    const reading: Reading = { command, memory, descriptors }
    switch (command) {
      case Command.BPF_BTF_LOAD:
        return btfLoad(reading, attr, size)
      case Command.BPF_MAP_CREATE:
        return mapCreate(reading, attr, size)
      case Command.BPF_MAP_UPDATE_ELEM:
        return mapUpdate(reading, attr, size)
      case Command.BPF_MAP_FREEZE:
        return mapFreeze(reading, attr, size)
      case Command.BPF_PROG_LOAD:
        return progLoad(reading, attr, size)
      default:
        throw refuse(reading, "Command", "command", command)
    }
  })
