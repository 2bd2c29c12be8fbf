/**
 * The steps that make one map: create it, fill it, seal it, or take a pinned one.
 */
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { MapAttributes, MapCreate, Value } from "../../services/Kernel/KernelCall.ts"
import type * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import type * as Ref from "../../services/Kernel/Ref.ts"
import { isGlobalData, type MapDefinition } from "../open/BpfObject.ts"
import { type CallStep, type LoadPlan, optional, required, type Step } from "./LoadPlan.ts"

/** Key 0 of an array map. */
const firstKey = new Uint8Array(4)

/** A value that is just bytes. */
export const plainValue = (bytes: Uint8Array): Value => ({ bytes, refs: [] })

/** Types of maps whose keys and values the kernel does not take BTF for. */
const withoutTypes: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
  MapType.BPF_MAP_TYPE_CGROUP_ARRAY,
  MapType.BPF_MAP_TYPE_STACK_TRACE,
  MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  MapType.BPF_MAP_TYPE_HASH_OF_MAPS,
  MapType.BPF_MAP_TYPE_DEVMAP,
  MapType.BPF_MAP_TYPE_DEVMAP_HASH,
  MapType.BPF_MAP_TYPE_CPUMAP,
  MapType.BPF_MAP_TYPE_XSKMAP,
  MapType.BPF_MAP_TYPE_SOCKMAP,
  MapType.BPF_MAP_TYPE_SOCKHASH,
  MapType.BPF_MAP_TYPE_QUEUE,
  MapType.BPF_MAP_TYPE_STACK,
  MapType.BPF_MAP_TYPE_ARENA
])

const isRing = (type: number): boolean =>
  type === MapType.BPF_MAP_TYPE_RINGBUF || type === MapType.BPF_MAP_TYPE_USER_RINGBUF

/** What must be known of the kernel to give a map its size. */
export const requirementsOf = (map: MapDefinition): ReadonlyArray<KernelInfo.Requirement> => {
  if (!map.autocreate) return []
  const own: Array<KernelInfo.Requirement> = []
  if (isRing(map.attr.type)) own.push({ _tag: "PageSize" })
  if (map.attr.type === MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY && map.attr.maxEntries === 0) {
    own.push({ _tag: "PossibleCpus" })
  }
  return map.inner === undefined ? own : [...own, ...requirementsOf(map.inner)]
}

/** The smallest page times a power of two that holds this many bytes; as given where 32 bits cannot hold that. */
export const ringSize = (bytes: number, pageSize: number): number => {
  if (bytes === 0) return 0
  let size = Math.max(1, pageSize)
  while (size < bytes) size *= 2
  return size <= 0xffff_ffff ? size : bytes
}

/** The attributes as this kernel wants them: sizes that depend on it filled in. */
export const sized = (
  attr: MapAttributes,
  info: KernelInfo.KernelInfo
): { readonly attr: MapAttributes; readonly notes: ReadonlyArray<string> } => {
  if (isRing(attr.type) && info.pageSize._tag === "Known") {
    const maxEntries = ringSize(attr.maxEntries, info.pageSize.value)
    return maxEntries === attr.maxEntries
      ? { attr, notes: [] }
      : { attr: { ...attr, maxEntries }, notes: [`size rounded up from ${attr.maxEntries} to ${maxEntries}`] }
  }
  if (
    attr.type === MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY && attr.maxEntries === 0 && info.possibleCpus._tag === "Known"
  ) {
    return { attr: { ...attr, maxEntries: info.possibleCpus.value }, notes: ["one entry per possible CPU"] }
  }
  return { attr, notes: [] }
}

/** What the steps of a map depend on. */
export interface Context {
  readonly info: KernelInfo.KernelInfo
  /** The object's BTF, where it has one. */
  readonly btf: Ref.BtfRef | undefined
  /** The value of `.kconfig`. */
  readonly kconfig: Uint8Array | undefined
}

/** Creates a map; where the kernel refuses the types of its keys and values, without them. */
const createStep = (context: Context, map: MapDefinition, as: Ref.MapRef, inner: Ref.MapRef | undefined): CallStep => {
  const { attr, notes } = sized(map.attr, context.info)
  const plain: MapCreate = { _tag: "MapCreate", as, attr, ...(inner === undefined ? {} : { inner }) }
  const why = `map ${map.name}`
  if (context.btf === undefined || withoutTypes.has(attr.type)) return required(plain, why, { notes })
  const types = { btf: context.btf, key: map.keyType, value: map.valueType }
  return required({ ...plain, types }, why, {
    notes,
    otherwise: map.keyType === 0 && map.valueType === 0
      ? []
      : [{ on: "any", steps: [required(plain, why, { notes: [...notes, "without BTF types"] })] }]
  })
}

const shapeOf = (attr: MapAttributes) => ({
  type: attr.type,
  keySize: attr.keySize,
  valueSize: attr.valueSize,
  maxEntries: attr.maxEntries,
  flags: attr.flags,
  extra: attr.extra
})

/** The image of global data; a `.bss` needs none, since a new map is all zeroes, but libbpf writes it and so do we. */
const fillSteps = (context: Context, map: MapDefinition, as: Ref.MapRef): ReadonlyArray<CallStep> => {
  const bytes = map.origin === "Kconfig" ? context.kconfig : map.initialValue
  if (!isGlobalData(map) || bytes === undefined) return []
  const update = required(
    { _tag: "MapUpdate", map: as, key: firstKey, value: plainValue(bytes), flags: 0n, overridable: true },
    `initial values of ${map.name}`
  )
  const sealed = map.origin === "Rodata" || map.origin === "Kconfig"
  return sealed ? [update, required({ _tag: "MapFreeze", map: as }, `${map.name} is constant`)] : [update]
}

/**
 * Makes one map. `inner` is the ref that the template of a map of maps goes by while it is needed; `slots` fill a map
 * that is shared by its pin, which only its creator does.
 */
export const of = (
  context: Context,
  map: MapDefinition,
  as: Ref.MapRef,
  inner: Ref.MapRef,
  slots: LoadPlan
): ReadonlyArray<Step> => {
  const template: LoadPlan = map.inner === undefined
    ? []
    : [createStep(context, map.inner, inner, undefined)]
  const dropTemplate: LoadPlan = map.inner === undefined
    ? []
    : [required({ _tag: "Close", ref: inner }, `${map.inner.name} has given its shape`)]
  const create: LoadPlan = [
    ...template,
    createStep(context, map, as, map.inner === undefined ? undefined : inner),
    ...dropTemplate
  ]
  const fill = fillSteps(context, map, as)
  if (map.pinPath === undefined) return [...create, ...fill, ...slots]
  return [{
    _tag: "Ensure",
    map: as,
    pinnedAt: map.pinPath,
    mustEqual: shapeOf(sized(map.attr, context.info).attr),
    why: `map ${map.name}, shared by its pin`,
    notes: [],
    otherwise: [
      ...create,
      ...fill,
      ...slots,
      required({ _tag: "ObjPin", object: as, path: map.pinPath }, `pin of ${map.name}`)
    ]
  }]
}

/** Keeps a constant map alive with the program that reads it; kernels before 5.10 cannot, and need not. */
export const bindStep = (prog: Ref.ProgRef, map: Ref.MapRef, why: string): CallStep =>
  optional({ _tag: "ProgBindMap", prog, map }, why)
