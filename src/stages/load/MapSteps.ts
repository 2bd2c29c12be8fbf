/**
 * The steps that make one map: create it, fill it, seal it, or take a pinned one.
 */
import { MapFlag, MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import { isRing } from "../../services/Kernel/abi/MapShape.ts"
import type { Adopt, GetById, MapAttributes, MapCreate, ObjGet, Value } from "../../services/Kernel/KernelCall.ts"
import type { Variable } from "../../services/Kernel/KernelConfig.ts"
import type * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import { isGlobalData, type MapDefinition } from "../open/BpfObject.ts"
import * as Given from "../open/Given.ts"
import { NO_DESCRIPTOR } from "./AttachTarget.ts"
import { type CallStep, type LoadPlan, type MapShape, optional, required, type Step } from "./LoadPlan.ts"
import { PlanError } from "./PlanError.ts"
import * as Sanitise from "./Sanitise.ts"
import type * as StructOps from "./StructOps.ts"

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

/** What must be known of the kernel to give a map its size. */
export const requirementsOf = (map: MapDefinition): ReadonlyArray<KernelInfo.Requirement> => {
  if (!map.autocreate) return []
  const own: Array<KernelInfo.Requirement> = []
  if (isRing(map.attr.type) || map.attr.type === MapType.BPF_MAP_TYPE_ARENA) own.push({ _tag: "PageSize" })
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

/** The memory of a map that a load maps: an arena. */
export const viewRef = (map: Ref.MapRef): Ref.ViewRef => Ref.view(map.index)

/** What the steps of a map depend on. */
export interface Context {
  readonly info: KernelInfo.KernelInfo
  /** What the kernel has, as far as maps depend on it. */
  readonly features: Sanitise.Features
  /** The object's BTF, where it has one and the kernel takes it. */
  readonly btf: Ref.BtfRef | undefined
  /** Structs that the object implements, by the position of their maps. */
  readonly structOps: ReadonlyMap<number, StructOps.Variable>
  /** Where an arena's variables begin in it, bytes. */
  readonly arenaOffset: number
  /** The value of `.kconfig`. */
  readonly kconfig: Uint8Array | undefined
  /** What whoever runs the plan's loader fills into it. */
  readonly kconfigPending: ReadonlyArray<Variable> | undefined
  /** The digests of programs that have maps to themselves, by their names. */
  readonly exclusive: ReadonlyMap<string, NonNullable<MapCreate["exclusiveTo"]>>
}

/** The attributes as this kernel takes them. */
const attributesOf = (context: Context, map: MapDefinition): ReturnType<typeof sized> => {
  const taken = Sanitise.ofMap(map, context.features)
  const { attr, notes } = sized(taken.attr, context.info)
  return { attr, notes: [...notes, ...taken.notes] }
}

/** Creates a map of a struct that the object implements. The kernel takes it with the object's types alone. */
const structStep = (
  { btf }: Context,
  { name }: MapDefinition,
  { absent, value, valueType }: StructOps.Variable,
  plain: MapCreate,
  notes: ReadonlyArray<string>
): CallStep => {
  if (btf === undefined) {
    throw new PlanError({
      reason: "StructOps",
      name,
      detail: "a struct_ops map needs the object's types, and the kernel takes none",
      hint: "turn the map's autocreate off to load the rest of the object"
    })
  }
  const attr = { ...plain.attr, valueSize: value.bytes.length }
  return required({ ...plain, attr, types: { btf, key: 0, value: 0 }, valueType }, `map ${name}`, {
    notes: absent.length === 0
      ? notes
      : [...notes, `the kernel's struct does not have ${absent.join(", ")}, which the object leaves empty`]
  })
}

/** Creates a map; where the kernel refuses the types of its keys and values, without them. */
const createStep = (context: Context, map: MapDefinition, as: Ref.MapRef, inner: Ref.MapRef | undefined): CallStep => {
  const { attr, notes } = attributesOf(context, map)
  const owner = map.exclusiveTo === undefined ? undefined : context.exclusive.get(map.exclusiveTo)
  const plain: MapCreate = {
    _tag: "MapCreate",
    as,
    attr,
    ...(inner === undefined ? {} : { inner }),
    ...(owner === undefined ? {} : { exclusiveTo: owner })
  }
  const why = `map ${map.name}`
  const struct = context.structOps.get(as.index)
  if (struct !== undefined) return structStep(context, map, struct, plain, notes)
  if (context.btf === undefined || withoutTypes.has(attr.type)) return required(plain, why, { notes })
  const types = { btf: context.btf, key: map.keyType, value: map.valueType }
  return required({ ...plain, types }, why, {
    notes,
    otherwise: map.keyType === 0 && map.valueType === 0
      ? []
      : [{ on: "any", steps: [required(plain, why, { notes: ["without BTF types"] })] }]
  })
}

/** The fields of a map that decide whether another can take its place. */
export const shapeOf = (attr: MapAttributes): MapShape => ({
  type: attr.type,
  keySize: attr.keySize,
  valueSize: attr.valueSize,
  maxEntries: attr.maxEntries,
  flags: attr.flags,
  extra: attr.extra
})

/** The call that takes a map of the user's. */
const take = (handle: Given.Given, as: Ref.MapRef): Adopt | ObjGet | GetById => {
  switch (handle._tag) {
    case "Descriptor":
      return { _tag: "Adopt", as, fd: handle.fd }
    case "Pin":
      return { _tag: "ObjGet", as, path: handle.path }
    case "Id":
      return { _tag: "GetById", as, id: handle.id }
    case "Later":
      return { _tag: "Adopt", as, fd: NO_DESCRIPTOR }
  }
}

/** Takes a map of the user's in place of one of the object's, after a look at whether it can be used like it. */
const replaceStep = (context: Context, map: MapDefinition, handle: Given.Given, as: Ref.MapRef): CallStep => {
  const { notes } = sized(map.attr, context.info)
  return required(take(handle, as), `map ${map.name}, in whose place there is ${Given.describe(handle)}`, {
    notes: [
      ...notes,
      ...(map.pinPath === undefined ? [] : [`the pin ${map.pinPath} is left alone`]),
      ...(map.initialValue === undefined && map.slots.length === 0 ? [] : ["what is in it stays"])
    ],
    mustEqual: shapeOf(attributesOf(context, map).attr)
  })
}

/** Makes, or takes, the map that has the shape of those in a map of maps. */
const templateSteps = (context: Context, map: MapDefinition, inner: Ref.MapRef): LoadPlan => {
  if (map.innerLike !== undefined) {
    return [required(take(map.innerLike, inner), `the shape of the maps in ${map.name}`)]
  }
  return map.inner === undefined ? [] : [createStep(context, map.inner, inner, undefined)]
}

/** The image of global data; a `.bss` needs none, since a new map is all zeroes, but libbpf writes it and so do we. */
const fillSteps = (context: Context, map: MapDefinition, as: Ref.MapRef): ReadonlyArray<CallStep> => {
  const bytes = map.origin === "Kconfig" ? context.kconfig : map.initialValue
  if (!isGlobalData(map) || bytes === undefined) return []
  const pending = map.origin === "Kconfig" ? context.kconfigPending : undefined
  const update = required(
    {
      _tag: "MapUpdate",
      map: as,
      key: firstKey,
      value: plainValue(bytes),
      flags: 0n,
      overridable: true,
      ...(pending === undefined ? {} : { pending })
    },
    `initial values of ${map.name}`,
    pending === undefined
      ? {}
      : { notes: [`filled in when the loader runs: ${pending.map(({ name }) => name).join(", ")}`] }
  )
  const sealed = map.origin === "Rodata" || map.origin === "Kconfig"
  return sealed ? [update, required({ _tag: "MapFreeze", map: as }, `${map.name} is constant`)] : [update]
}

/** What the address of an arena's memory is: 0 lets the kernel choose it. */
const addressOf = ({ extra }: MapAttributes): { readonly address?: bigint } => extra === 0n ? {} : { address: extra }

/**
 * Gives an arena its place in memory, which programs that use it must know when they are loaded, and writes its variables.
 * Throws `PlanError`.
 */
const arenaSteps = (
  { arenaOffset, info: { pageSize } }: Context,
  map: MapDefinition,
  as: Ref.MapRef
): ReadonlyArray<CallStep> => {
  const { attr, initialValue, name } = map
  if (attr.type !== MapType.BPF_MAP_TYPE_ARENA) return []
  const refuse = (reason: PlanError["reason"], detail: string, hint: string): PlanError =>
    new PlanError({ reason, name, detail, hint })
  if (pageSize._tag !== "Known") {
    // Programs are verified all the same if the map says where its memory will be.
    if (initialValue === undefined) return []
    throw refuse(
      "Unsupported",
      "it has variables, which are written through its memory, and the size of the kernel's pages is not known",
      "turn the map's autocreate off to load the rest of the object"
    )
  }
  const length = pageSize.value * attr.maxEntries
  const view = viewRef(as)
  const mapped = required(
    { _tag: "MapMmap", map: as, as: view, offset: 0, length, writable: true, ...addressOf(attr) },
    `memory of ${name}`
  )
  if (initialValue === undefined) return [mapped]
  if (arenaOffset + initialValue.length > length) {
    throw refuse(
      "Arena",
      `its variables have ${initialValue.length} bytes, and its memory ${length}`,
      "give the arena more pages (max_entries)"
    )
  }
  if ((attr.flags & MapFlag.BPF_F_SEGV_ON_FAULT) !== 0) {
    throw refuse(
      "Arena",
      "it has variables, and writing them would end this process: the arena has no page until a program allocates it",
      "take BPF_F_SEGV_ON_FAULT away from the map's flags, or the variables out of the arena"
    )
  }
  return [
    mapped,
    required(
      { _tag: "ViewWrite", view, offset: arenaOffset, bytes: initialValue },
      `initial values of the variables in ${name}`
    )
  ]
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
  if (map.replacedBy !== undefined) return [replaceStep(context, map, map.replacedBy, as)]
  const template = templateSteps(context, map, inner)
  const dropTemplate: LoadPlan = template.length === 0
    ? []
    : [
      required(
        { _tag: "Close", ref: inner },
        `${map.innerLike === undefined ? map.inner?.name : Given.describe(map.innerLike)} has given its shape`
      )
    ]
  const create: LoadPlan = [
    ...template,
    createStep(context, map, as, template.length === 0 ? undefined : inner),
    ...dropTemplate
  ]
  const fill = [...fillSteps(context, map, as), ...arenaSteps(context, map, as)]
  if (map.pinPath === undefined) return [...create, ...fill, ...slots]
  return [{
    _tag: "Ensure",
    map: as,
    pinnedAt: map.pinPath,
    mustEqual: shapeOf(attributesOf(context, map).attr),
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
