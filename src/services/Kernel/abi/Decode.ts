/**
 * Calls out of the memory of a program that makes them: `union bpf_attr` and what it points to, read as a `KernelCall`.
 *
 * The other direction of `Attr`: for programs that run in this process and call `bpf_sys_bpf`. Everything is checked as a
 * kernel would: addresses, lengths, descriptors, and that nothing is asked for which the call could not say. Descriptors,
 * type ids and addresses of kernel symbols are whoever runs the program's own: `Descriptors` says what they stand for.
 *
 * Commands: `BPF_BTF_LOAD`, `BPF_MAP_CREATE`, `BPF_MAP_UPDATE_ELEM` of maps whose values have one length on every machine,
 * `BPF_MAP_DELETE_ELEM`, `BPF_MAP_FREEZE`, `BPF_PROG_LOAD`.
 */
import type * as Result from "effect/Result"
import { attempt } from "../../../internal/attempt.ts"
import type { KernelCall, MapAttributes } from "../KernelCall.ts"
import type { MapRef, ProgRef } from "../Ref.ts"
import * as Arena from "./Arena.ts"
import * as Attr from "./Attr.ts"
import { Command, MapFlag, MapType } from "./BpfConstants.ts"
import { progLoad, symbolOf } from "./DecodeProgram.ts"
import {
  btfOf,
  bytesAt,
  type DecodeError,
  type Descriptors,
  isDecodeError,
  mapOf,
  type Memory,
  type Reading,
  refuse,
  structOf
} from "./DecodeReading.ts"

export { DecodeError, type Descriptors, type Memory } from "./DecodeReading.ts"

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
    "btf_vmlinux_value_type_id",
    "value_type_btf_obj_fd",
    "map_extra"
  ])
  const inner = attr.number("inner_map_fd")
  const btf = attr.number("btf_fd")
  const [key, value] = [attr.number("btf_key_type_id"), attr.number("btf_value_type_id")]
  // The struct of a struct_ops map; of a module where its descriptor says so, which a flag announces.
  const valueType = attr.number("btf_vmlinux_value_type_id")
  const owner = attr.number("value_type_btf_obj_fd")
  const attributes: MapAttributes = {
    name: Arena.readName(attr.bytes, Attr.MapCreate.fields.map_name),
    type: attr.number("map_type"),
    keySize: attr.number("key_size"),
    valueSize: attr.number("value_size"),
    maxEntries: attr.number("max_entries"),
    flags: (attr.number("map_flags") & (valueType === 0 ? -1 : ~MapFlag.BPF_F_VTYPE_BTF_OBJ_FD)) >>> 0,
    numaNode: attr.number("numa_node"),
    ifindex: attr.number("map_ifindex"),
    extra: attr.wide("map_extra")
  }
  return {
    _tag: "MapCreate",
    as: reading.descriptors.nextMap(attributes),
    attr: attributes,
    ...(inner === 0 ? {} : { inner: mapOf(reading, "inner_map_fd", inner).ref }),
    ...(btf === 0 && key === 0 && value === 0 ? {} : { types: { btf: btfOf(reading, "btf_fd", btf), key, value } }),
    ...(valueType === 0 && owner === 0
      ? {}
      : { valueType: symbolOf(reading, "btf_vmlinux_value_type_id", "Struct", valueType, owner) })
  }
}

/** Types of maps whose values have a length that depends on the machine, or stand for what no call of a loader makes. */
const otherwiseSized: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
  MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
  MapType.BPF_MAP_TYPE_CGROUP_ARRAY
])

/** What a value that is a descriptor stands for; `undefined` in maps whose values are bytes. */
const referred = (reading: Reading, type: number, bytes: Uint8Array): MapRef | ProgRef | undefined => {
  const fd = Arena.readNumber(bytes, Arena.s32(0), reading.little)
  switch (type) {
    case MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS:
    case MapType.BPF_MAP_TYPE_HASH_OF_MAPS:
      return mapOf(reading, "value", fd).ref
    case MapType.BPF_MAP_TYPE_PROG_ARRAY: {
      const prog = reading.descriptors.prog(fd)
      if (prog === undefined) throw refuse(reading, "Descriptor", "value", fd)
      return prog
    }
    default:
      return undefined
  }
}

/** A key of a map. Those of maps that have none are at no address. */
const keyAt = (reading: Reading, address: bigint, { keySize }: MapAttributes): Uint8Array => {
  if (keySize > 0) return bytesAt(reading, "key", address, keySize)
  if (address !== 0n) throw refuse(reading, "Field", "key", address)
  return new Uint8Array(0)
}

const mapUpdate = (reading: Reading, address: bigint, size: number): KernelCall => {
  const attr = structOf(reading, Attr.MapElement, address, size, ["map_fd", "key", "value", "flags"])
  const fd = attr.number("map_fd")
  const { attr: shape, ref } = mapOf(reading, "map_fd", fd)
  if (otherwiseSized.has(shape.type)) throw refuse(reading, "Field", "map_fd", fd)
  const key = keyAt(reading, attr.wide("key"), shape)
  const bytes = bytesAt(reading, "value", attr.wide("value"), shape.valueSize)
  const to = referred(reading, shape.type, bytes)
  return {
    _tag: "MapUpdate",
    map: ref,
    key,
    value: to === undefined
      ? { bytes, refs: [] }
      : { bytes: new Uint8Array(bytes.length), refs: [{ at: 0, size: 4, to }] },
    flags: attr.wide("flags")
  }
}

const mapDelete = (reading: Reading, address: bigint, size: number): KernelCall => {
  const attr = structOf(reading, Attr.MapElement, address, size, ["map_fd", "key"])
  const { attr: shape, ref } = mapOf(reading, "map_fd", attr.number("map_fd"))
  return { _tag: "MapDelete", map: ref, key: keyAt(reading, attr.wide("key"), shape) }
}

const mapFreeze = (reading: Reading, address: bigint, size: number): KernelCall => {
  const attr = structOf(reading, Attr.MapFreeze, address, size, ["map_fd"])
  return { _tag: "MapFreeze", map: mapOf(reading, "map_fd", attr.number("map_fd")).ref }
}

/**
 * The call that a program makes with `bpf_sys_bpf(command, attr, size)`: `attr` is an address, `size` bytes. Structures and
 * instructions are in the byte order of the machine that the program is for.
 */
export const decode = (
  command: number,
  attr: bigint,
  size: number,
  memory: Memory,
  descriptors: Descriptors,
  byteOrder: "little" | "big" = "little"
): Result.Result<KernelCall, DecodeError> =>
  attempt(isDecodeError, () => {
    const reading: Reading = { command, little: byteOrder === "little", memory, descriptors }
    switch (command) {
      case Command.BPF_BTF_LOAD:
        return btfLoad(reading, attr, size)
      case Command.BPF_MAP_CREATE:
        return mapCreate(reading, attr, size)
      case Command.BPF_MAP_UPDATE_ELEM:
        return mapUpdate(reading, attr, size)
      case Command.BPF_MAP_DELETE_ELEM:
        return mapDelete(reading, attr, size)
      case Command.BPF_MAP_FREEZE:
        return mapFreeze(reading, attr, size)
      case Command.BPF_PROG_LOAD:
        return progLoad(reading, attr, size)
      default:
        throw refuse(reading, "Command", "command", command)
    }
  })
