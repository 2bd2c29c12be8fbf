/**
 * Which calls a loader program can make, and what is wrong with the others.
 *
 * Inside the kernel `bpf_sys_bpf` is handed addresses that nobody checks any more: a value that is shorter than its map's
 * would make the kernel read on behind it. So lengths are checked here, once, while a loader is made.
 */
import { MapType } from "../../../services/Kernel/abi/BpfConstants.ts"
import { attachingSubject } from "../../../services/Kernel/calls/Attaching.ts"
import {
  type InfoRecords,
  isProgFunction,
  type KernelCall,
  type MapAttributes,
  type MapCreate,
  type MapDelete,
  type MapUpdate,
  type ProgLoad
} from "../../../services/Kernel/KernelCall.ts"
import * as Ref from "../../../services/Kernel/Ref.ts"
import { AssembleError } from "../AssembleError.ts"

/** Types of maps whose values have a length that the map's value size does not say. */
const otherwiseSized: ReadonlyMap<number, string> = new Map([
  [MapType.BPF_MAP_TYPE_PERCPU_HASH, "has a value for each CPU of the machine that it will run on"],
  [MapType.BPF_MAP_TYPE_PERCPU_ARRAY, "has a value for each CPU of the machine that it will run on"],
  [MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH, "has a value for each CPU of the machine that it will run on"],
  [MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, "has a value for each CPU of the machine that it will run on"],
  [MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY, "takes descriptors of perf events"],
  [MapType.BPF_MAP_TYPE_CGROUP_ARRAY, "takes descriptors of cgroups"]
])

/** Types of maps whose values are a descriptor each, of a program or a map. */
const ofDescriptors: ReadonlyMap<number, "Prog" | "Map"> = new Map([
  [MapType.BPF_MAP_TYPE_PROG_ARRAY, "Prog"],
  [MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, "Map"],
  [MapType.BPF_MAP_TYPE_HASH_OF_MAPS, "Map"]
])

const complain = (
  call: KernelCall,
  name: string,
  reason: "Unsupported" | "BadValue",
  detail: string,
  hint?: string
): AssembleError =>
  new AssembleError({ reason, call: call._tag, name, detail, ...(hint === undefined ? {} : { hint }) })

const ofMapCreate = (call: MapCreate): AssembleError | undefined => {
  const { name, type } = call.attr
  if (call.exclusiveTo !== undefined) {
    return complain(call, name, "Unsupported", "loaders cannot make maps that are for one program alone")
  }
  if (call.types !== undefined && call.types.key !== 0 && call.types.value === 0 && call.valueType === undefined) {
    // Whoever plans with the kernel's refusal takes its branch at once: a loader would meet it too late.
    return complain(call, name, "BadValue", "no kernel takes a type of the keys without one of the values")
  }
  if (call.types?.key === 0 && call.types.value !== 0 && type === MapType.BPF_MAP_TYPE_LPM_TRIE) {
    return complain(call, name, "BadValue", "no kernel takes a type of a trie's values without one of its keys")
  }
  return type === MapType.BPF_MAP_TYPE_STRUCT_OPS && call.valueType === undefined
    ? complain(call, name, "BadValue", "nothing says which struct of the kernel its value is")
    : undefined
}

const ofMapUpdate = (call: MapUpdate, map: MapAttributes | undefined): AssembleError | undefined => {
  const name = map?.name ?? Ref.key(call.map)
  if (map === undefined) return complain(call, name, "BadValue", "the loader does not create this map")
  const why = otherwiseSized.get(map.type)
  if (why !== undefined) return complain(call, name, "Unsupported", `the map ${why}, which loaders cannot give it`)
  if (call.key.length !== map.keySize) {
    return complain(call, name, "BadValue", `keys of this map have ${map.keySize} bytes, not ${call.key.length}`)
  }
  const { bytes, refs } = call.value
  if (bytes.length !== map.valueSize) {
    return complain(call, name, "BadValue", `values of this map have ${map.valueSize} bytes, not ${bytes.length}`)
  }
  for (const { at, size } of refs) {
    if (!Number.isInteger(at) || at < 0 || at % 4 !== 0 || at + size > bytes.length) {
      return complain(
        call,
        name,
        "BadValue",
        `a descriptor at byte ${at} is not within a value of ${bytes.length} bytes`
      )
    }
  }
  const kind = ofDescriptors.get(map.type)
  const [first] = refs
  return kind === undefined || (refs.length === 1 && first?.size === 4 && first.to._tag === kind)
    ? undefined
    : complain(call, name, "BadValue", `values of this map are one ${kind === "Map" ? "map" : "program"} each`)
}

const ofMapDelete = (call: MapDelete, map: MapAttributes | undefined): AssembleError | undefined => {
  const name = map?.name ?? Ref.key(call.map)
  if (map === undefined) return complain(call, name, "BadValue", "the loader does not create this map")
  return call.key.length === map.keySize
    ? undefined
    : complain(call, name, "BadValue", `keys of this map have ${map.keySize} bytes, not ${call.key.length}`)
}

const isWhole = ({ recordSize, records }: InfoRecords): boolean =>
  Number.isInteger(recordSize) && recordSize > 0 && records.length % recordSize === 0

const ofProgLoad = (call: ProgLoad): AssembleError | undefined => {
  const { attr, code, funcInfo, lineInfo } = call
  const bad = (detail: string): AssembleError => complain(call, attr.name, "BadValue", detail)
  const target = call.attachTo
  if (
    target !== undefined && !isProgFunction(target) && target.resolved !== undefined && "owner" in target.resolved &&
    target.resolved.id === 0
  ) {
    const detail =
      `it is for functions of module ${target.resolved.owner}, and loaders can only look up types of modules`
    return complain(
      call,
      attr.name,
      "Unsupported",
      detail,
      "name one function of the module, or load the object directly"
    )
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

/** An arena without an address gets one when a process maps it; until then no program that uses it is loaded. */
const ofArena = (
  call: ProgLoad,
  mapOf: (ref: Ref.MapRef) => MapAttributes | undefined
): AssembleError | undefined => {
  for (const ref of call.code.refs) {
    const map = ref._tag === "SymbolRef" ? undefined : mapOf(ref.map)
    if (map?.type !== MapType.BPF_MAP_TYPE_ARENA || map.extra !== 0n) continue
    return complain(
      call,
      call.attr.name,
      "Unsupported",
      `it uses the arena ${map.name}, which has no address before a process maps it, and loaders cannot do that`,
      "give the arena its address (map_extra)"
    )
  }
  return undefined
}

/**
 * What is wrong with a call that a loader shall make; `undefined` where it can. `mapOf` tells what map a ref stands for
 * at this point, `nameOf` what the object calls what is not made yet. Reasons are `Unsupported` and `BadValue`.
 */
export const complaint = (
  call: KernelCall,
  mapOf: (ref: Ref.MapRef) => MapAttributes | undefined,
  nameOf: (ref: Ref.Ref) => string | undefined = () => undefined
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
      return ofProgLoad(call) ?? ofArena(call, mapOf)
    case "ObjGet":
    case "ObjPin":
      return complain(
        call,
        nameOf(call._tag === "ObjGet" ? call.as : call.object) ?? call.path,
        "Unsupported",
        `loaders cannot use pins, as ${call.path}: the kernel does not let them`,
        "record it without the pin, and pin what the loader hands out"
      )
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
      return ofMapDelete(call, mapOf(call.map))
    case "MapUpdateBatch":
    case "MapDeleteBatch":
      return unsupported(
        mapOf(call.map)?.name ?? Ref.key(call.map),
        "loaders change elements one at a time: the kernel lets them do nothing else"
      )
    case "MapLookup":
    case "MapNextKey":
    case "MapLookupAndDelete":
    case "MapLookupBatch":
    case "MapGetInfo":
    case "MapMmap":
      return unsupported(
        mapOf(call.map)?.name ?? Ref.key(call.map),
        "there is no answer while a loader is recorded: it will run later, elsewhere"
      )
    case "ViewWrite":
      return unsupported(
        Ref.key(call.view),
        "loaders cannot write to mapped memory: there is none when one is recorded"
      )
    case "LoaderRun":
    case "ProgTestRun":
    case "ProgGetInfo":
    case "ProgStreamRead":
      return unsupported(
        Ref.key(call.prog),
        "there is no answer while a loader is recorded: it will run later, elsewhere"
      )
    case "StatsEnable":
      return unsupported(
        "run-time statistics",
        "loaders cannot switch statistics on: the kernel does not let them, and they hold nothing when they have run"
      )
    case "Wait":
      return unsupported(
        call.refs.map(Ref.key).join(", "),
        "loaders cannot wait: they run once, when there is nothing yet to wait for"
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
    default:
      return unsupported(
        attachingSubject(call),
        "loaders load and attach nothing: whoever runs the loader attaches its programs"
      )
  }
}
