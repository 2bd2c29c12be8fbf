/**
 * Which calls a loader program can make, and what is wrong with the others.
 *
 * Inside the kernel `bpf_sys_bpf` is handed addresses that nobody checks any more: a value that is shorter than its map's
 * would make the kernel read on behind it. So lengths are checked here, once, while a loader is made.
 */
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import {
  type InfoRecords,
  isProgFunction,
  type KernelCall,
  type MapAttributes,
  type MapCreate,
  type MapUpdate,
  type ProgLoad
} from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import { AssembleError } from "./AssembleError.ts"

/** Types of maps whose values have a length that the map's value size does not say. */
const otherwiseSized: ReadonlyMap<number, string> = new Map([
  [MapType.BPF_MAP_TYPE_PERCPU_HASH, "has a value for each CPU of the machine that it will run on"],
  [MapType.BPF_MAP_TYPE_PERCPU_ARRAY, "has a value for each CPU of the machine that it will run on"],
  [MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH, "has a value for each CPU of the machine that it will run on"],
  [MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, "has a value for each CPU of the machine that it will run on"],
  [MapType.BPF_MAP_TYPE_PROG_ARRAY, "takes descriptors of programs"],
  [MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY, "takes descriptors of perf events"],
  [MapType.BPF_MAP_TYPE_CGROUP_ARRAY, "takes descriptors of cgroups"],
  [MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, "takes descriptors of maps"],
  [MapType.BPF_MAP_TYPE_HASH_OF_MAPS, "takes descriptors of maps"]
])

/** The smallest page of any machine, bytes: rings are made of whole pages, a power of two of them. */
const SMALLEST_PAGE = 4096

const isRingSize = (bytes: number): boolean =>
  bytes >= SMALLEST_PAGE && bytes <= 0x8000_0000 && Number.isInteger(Math.log2(bytes))

const complain = (
  call: KernelCall,
  name: string,
  reason: "Unsupported" | "BadValue",
  detail: string,
  hint?: string
): AssembleError =>
  new AssembleError({ reason, call: call._tag, name, detail, ...(hint === undefined ? {} : { hint }) })

const ofMapCreate = (call: MapCreate): AssembleError | undefined => {
  const { maxEntries, name, type } = call.attr
  if (call.exclusiveTo !== undefined) {
    return complain(call, name, "Unsupported", "loaders cannot make maps that are for one program alone yet")
  }
  if (call.inner !== undefined) return complain(call, name, "Unsupported", "loaders cannot make maps of maps yet")
  switch (type) {
    case MapType.BPF_MAP_TYPE_STRUCT_OPS:
      return complain(call, name, "Unsupported", "loaders cannot make struct_ops maps yet")
    case MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
      return maxEntries === 0
        ? complain(
          call,
          name,
          "Unsupported",
          "its size is the number of CPUs of the machine that the loader will run on",
          "give the map a size"
        )
        : undefined
    case MapType.BPF_MAP_TYPE_RINGBUF:
    case MapType.BPF_MAP_TYPE_USER_RINGBUF:
      return isRingSize(maxEntries) ? undefined : complain(
        call,
        name,
        "Unsupported",
        `its size, ${maxEntries}, depends on the page size of the machine that the loader will run on`,
        "give the ring a power of two of bytes, at least a page"
      )
    default:
      return undefined
  }
}

const ofMapUpdate = (call: MapUpdate, map: MapAttributes | undefined): AssembleError | undefined => {
  const name = map?.name ?? Ref.key(call.map)
  if (call.value.refs.length > 0) {
    return complain(call, name, "Unsupported", "loaders cannot put maps or programs into maps yet")
  }
  if (map === undefined) return complain(call, name, "BadValue", "the loader does not create this map")
  const why = otherwiseSized.get(map.type)
  if (why !== undefined) return complain(call, name, "Unsupported", `the map ${why}, which loaders cannot give it yet`)
  if (call.key.length !== map.keySize) {
    return complain(call, name, "BadValue", `keys of this map have ${map.keySize} bytes, not ${call.key.length}`)
  }
  const { length } = call.value.bytes
  return length === map.valueSize
    ? undefined
    : complain(call, name, "BadValue", `values of this map have ${map.valueSize} bytes, not ${length}`)
}

const isWhole = ({ recordSize, records }: InfoRecords): boolean =>
  Number.isInteger(recordSize) && recordSize > 0 && records.length % recordSize === 0

const ofProgLoad = (call: ProgLoad): AssembleError | undefined => {
  const { attr, code, funcInfo, lineInfo } = call
  const bad = (detail: string): AssembleError => complain(call, attr.name, "BadValue", detail)
  if (call.attachTo !== undefined) {
    const detail = isProgFunction(call.attachTo)
      ? `loaders cannot name other programs yet, and it attaches to their function ${call.attachTo.function}`
      : `loaders cannot look up kernel symbols yet, and it attaches to ${call.attachTo.name}`
    return complain(call, attr.name, "Unsupported", detail)
  }
  for (const ref of code.refs) {
    if (ref._tag !== "SymbolRef") continue
    const detail = `loaders cannot look up kernel symbols yet, and it uses ${ref.symbol.name}`
    return complain(call, attr.name, "Unsupported", detail)
  }
  if (call.signature !== undefined || call.fdArray !== undefined) {
    return complain(call, attr.name, "Unsupported", "loaders cannot load loaders: signatures and maps by position")
  }
  if (code.insns.length === 0 || code.insns.length % 8 !== 0) {
    return bad(`${code.insns.length} bytes are not a whole number of instructions`)
  }
  if (attr.license.includes("\0")) return bad("the license contains a NUL character")
  for (const info of [funcInfo, lineInfo, code.coreRelocations]) {
    if (info !== undefined && !isWhole(info)) {
      return bad(`${info.records.length} bytes are not a whole number of records of ${info.recordSize} bytes`)
    }
  }
  if ((code.coreRelocations?.records.length ?? 0) > 0) {
    // Without these the kernel ignores the records, and the program would read wrong offsets.
    const hasInfo = (funcInfo?.records.length ?? 0) > 0 || (lineInfo?.records.length ?? 0) > 0
    if (call.btf === undefined || !hasInfo) {
      return bad("the kernel applies CO-RE records only to programs with BTF and function or line records")
    }
  }
  return undefined
}

/**
 * What is wrong with a call that a loader shall make; `undefined` where it can. `mapOf` tells what map a ref stands for
 * at this point. Reasons are `Unsupported` and `BadValue`.
 */
export const complaint = (
  call: KernelCall,
  mapOf: (ref: Ref.MapRef) => MapAttributes | undefined
): AssembleError | undefined => {
  const unsupported = (name: string, detail: string): AssembleError => complain(call, name, "Unsupported", detail)
  switch (call._tag) {
    case "BtfLoad":
    case "Close":
      return undefined
    case "MapCreate":
      return ofMapCreate(call)
    case "MapUpdate":
      return ofMapUpdate(call, mapOf(call.map))
    case "MapFreeze":
      return undefined
    case "ProgLoad":
      return ofProgLoad(call)
    case "ObjGet":
    case "ObjPin":
    case "ObjUnpin":
      return unsupported(call.path, "loaders cannot use pins: the kernel does not let them")
    case "Adopt":
      return unsupported(`descriptor ${call.fd}`, "descriptors cannot be taken along: a loader runs later, elsewhere")
    case "ProgBindMap":
      return unsupported(
        mapOf(call.map)?.name ?? Ref.key(call.map),
        "loaders cannot bind maps to programs: the kernel does not let them"
      )
    case "MapDelete":
      return unsupported(mapOf(call.map)?.name ?? Ref.key(call.map), "loaders cannot remove elements yet")
    case "MapLookup":
    case "MapNextKey":
    case "MapGetInfo":
    case "MapMmap":
      return unsupported(
        mapOf(call.map)?.name ?? Ref.key(call.map),
        "there is no answer while a loader is recorded: it will run later, elsewhere"
      )
    case "ViewWrite":
      return unsupported(
        Ref.key(call.view),
        "loaders cannot write to mapped memory yet: there is none when one is recorded"
      )
    case "LoaderRun":
    case "ProgTestRun":
    case "ProgGetInfo":
      return unsupported(
        Ref.key(call.prog),
        "there is no answer while a loader is recorded: it will run later, elsewhere"
      )
    case "BtfGetInfo":
      return unsupported(
        Ref.key(call.btf),
        "there is no answer while a loader is recorded: it will run later, elsewhere"
      )
    case "IdNext":
      return unsupported(
        `${call.kind.toLowerCase()} ${call.after}`,
        "there is no answer while a loader is recorded: it will run later, elsewhere"
      )
    case "GetById":
      return unsupported(
        `${call.as._tag.toLowerCase()} ${call.id}`,
        "identifiers are those of one kernel at one time: a loader runs later, elsewhere"
      )
  }
}
