/**
 * Plans the load of a relocated object: which kernel calls, in which order, with which fallbacks.
 *
 * The order is libbpf's, so that traces of both can be laid side by side: the object's BTF, its maps with their initial
 * values, its programs, then what stands in program arrays. A pure function of the object and what is known of the kernel.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import { MapType, ProgType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Kernel } from "../../services/Kernel/Kernel.ts"
import type { InfoRecords, ProgLoad } from "../../services/Kernel/KernelCall.ts"
import type { KernelError } from "../../services/Kernel/KernelError.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import * as ProgramDigest from "../../services/Kernel/ProgramDigest.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import * as Asked from "../Asked.ts"
import type { BpfObject, MapDefinition, MapSlot, Program } from "../open/BpfObject.ts"
import type { RelocatedObject, RelocatedProgram } from "../relocate/RelocatedObject.ts"
import * as Stage from "../Stage.ts"
import * as AttachTarget from "./AttachTarget.ts"
import * as JumpTableSteps from "./JumpTableSteps.ts"
import { type LoadPlan, mainCalls, optional, required, type Step } from "./LoadPlan.ts"
import * as MapSteps from "./MapSteps.ts"
import { isPlanError, PlanError } from "./PlanError.ts"
import * as Sanitise from "./Sanitise.ts"
import * as StructOps from "./StructOps.ts"

/** A plan with the object that it loads. Map and program refs of the plan are positions in the object's lists. */
export interface PlannedObject {
  readonly object: BpfObject
  /** What the plan was made of: what its instructions stand for, for reports and when a load fails. */
  readonly relocated: RelocatedObject
  readonly plan: LoadPlan
  /** The structs that the object implements, as this kernel has them, by the position of their maps: for registering them. */
  readonly structOps: ReadonlyMap<number, StructOps.Variable>
  /** What the plan was made for. */
  readonly info: KernelInfo.KernelInfo
}

const btfRef = Ref.btf(0)

/** Little-endian bytes of a slot's number, or big-endian where the object is. */
const slotKey = (slot: number, object: BpfObject): Uint8Array => {
  const key = new Uint8Array(4)
  new DataView(key.buffer).setUint32(0, slot, object.byteOrder === "little")
  return key
}

const requirements = (object: BpfObject): ReadonlyArray<KernelInfo.Requirement> => [
  ...object.maps.flatMap(MapSteps.requirementsOf),
  ...(object.programs.some((program) =>
      program.entry && program.autoload && program.type === ProgType.BPF_PROG_TYPE_KPROBE
    ) && object.kernelVersion === undefined
    ? [{ _tag: "KernelVersion" } as const]
    : [])
]

/** Puts a map or program into a slot. Throws `PlanError` where the load does not make what the slot names. */
const slotStep = (object: BpfObject, position: number, map: MapDefinition, slot: MapSlot): Step => {
  const target = slot._tag === "Map" ? object.maps[slot.map] : object.programs[slot.program]
  const name = target?.name ?? ""
  const made = slot._tag === "Map" ? object.maps[slot.map]?.autocreate : object.programs[slot.program]?.autoload
  if (made !== true) {
    throw new PlanError({
      reason: "Slot",
      name: map.name,
      detail: `slot ${slot.slot} holds ${name}, which is not loaded`,
      hint: `load ${name} too, or take it out of the slot`
    })
  }
  const to = slot._tag === "Map" ? Ref.map(slot.map) : Ref.prog(slot.program)
  return required({
    _tag: "MapUpdate",
    map: Ref.map(position),
    key: slotKey(slot.slot, object),
    value: { bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to }] },
    flags: 0n
  }, `${map.name}[${slot.slot}] is ${name}`)
}

const mapSteps = (context: MapSteps.Context, object: BpfObject): LoadPlan => {
  const steps: Array<Step> = []
  const pinned: Array<Step> = []
  const late: Array<Step> = []
  const created = new Set<number>()
  object.maps.forEach((map, position) => {
    if (!map.autocreate) return
    // What is in a map of the user's stays.
    const slots = map.replacedBy === undefined ? map.slots.filter((slot) => slot._tag === "Map") : []
    const as = Ref.map(position)
    const template = Ref.map(object.maps.length + position)
    // A map may hold one that is defined behind it: that slot waits until all maps are there.
    const isThere = (slot: { readonly map: number }): boolean => slot.map === position || created.has(slot.map)
    if (map.pinPath === undefined || slots.every(isThere)) {
      const early = slots.filter((slot) => map.pinPath !== undefined || isThere(slot))
      steps.push(...MapSteps.of(context, map, as, template, early.map((slot) => slotStep(object, position, map, slot))))
      created.add(position)
      late.push(...slots.filter((slot) => !early.includes(slot)).map((slot) => slotStep(object, position, map, slot)))
    } else {
      // Whoever finds the pin must find the map filled, so the whole map waits.
      pinned.push(
        ...MapSteps.of(context, map, as, template, slots.map((slot) => slotStep(object, position, map, slot)))
      )
    }
  })
  return [...steps, ...pinned, ...late]
}

/** What a program implements of a struct; `undefined` where it is no struct_ops program. Throws `PlanError`. */
const implemented = (
  { programs }: StructOps.Structs,
  { name, type }: Program,
  position: number
): StructOps.Implemented | undefined => {
  if (type !== ProgType.BPF_PROG_TYPE_STRUCT_OPS) return undefined
  const found = programs.get(position)
  if (found !== undefined) return found
  throw new PlanError({
    reason: "AttachTarget",
    name,
    detail: "no struct_ops variable refers to this program, so the kernel cannot be told which member it is",
    hint: "put it into a variable of SEC(\".struct_ops.link\"), or turn its autoload off"
  })
}

/** The object's types, as far as the kernel takes them. */
interface ObjectTypes {
  readonly btf: Ref.BtfRef | undefined
  /** The function records of programs that name other types than the object's. */
  readonly funcInfos: ReadonlyMap<number, InfoRecords>
  readonly features: Sanitise.Features
}

/** What a program's load says of types, functions and lines. */
const typesOf = (
  { btf, features, funcInfos }: ObjectTypes,
  { funcInfo: ownFuncInfo, lineInfo, program }: RelocatedProgram
): { readonly fields: Pick<ProgLoad, "btf" | "funcInfo" | "lineInfo">; readonly notes: ReadonlyArray<string> } => {
  const funcInfo = funcInfos.get(program) ?? ownFuncInfo
  const described = funcInfo !== undefined || lineInfo !== undefined
  const missing = !features.has("Btf") ? "Btf" : !features.has("BtfFunc") ? "BtfFunc" : undefined
  if (btf === undefined || missing !== undefined) {
    return {
      fields: {},
      notes: missing === undefined || !described ? [] : [`without function and line info: ${features.because(missing)}`]
    }
  }
  return {
    fields: {
      btf,
      ...(funcInfo === undefined ? {} : { funcInfo }),
      ...(lineInfo === undefined ? {} : { lineInfo })
    },
    notes: []
  }
}

const programSteps = (
  relocated: RelocatedObject,
  program: RelocatedProgram,
  types: ObjectTypes,
  structs: StructOps.Structs,
  info: KernelInfo.KernelInfo
): LoadPlan => {
  const { object } = relocated
  const { features } = types
  const definition = object.programs[program.program]
  if (definition === undefined) return []
  if (definition.type === ProgType.BPF_PROG_TYPE_UNSPEC) {
    throw new PlanError({
      reason: "ProgramType",
      name: definition.name,
      detail: `no program type is known for SEC("${definition.section}")`,
      hint: "use a section name of libbpf, give the program a type, or turn its autoload off"
    })
  }
  const other = AttachTarget.ofProgram(object, program.program)
  const member = implemented(structs, definition, program.program)
  const attachTo = other === undefined ?
    member?.attachTo ?? AttachTarget.of(definition) ?? AttachTarget.ofModule(definition)
    : other.attachTo
  const as = Ref.prog(program.program)
  const version = object.kernelVersion ?? (info.kernelVersion._tag === "Known" ? info.kernelVersion.value : 0)
  const attributes = Sanitise.ofProgram(definition, features)
  const code = Sanitise.instructions(program.code.insns, features)
  const typed = typesOf(types, program)
  const bound = object.maps.flatMap((map, position) => Sanitise.isBound(map) ? [{ map, position }] : [])
  const unbound = bound.length === 0 || features.has("ProgBindMap")
    ? []
    : [`does not keep ${bound.map(({ map }) => map.name).join(", ")} alive: ${features.because("ProgBindMap")}`]
  const load = required(
    {
      _tag: "ProgLoad",
      as,
      attr: {
        name: attributes.name,
        type: definition.type,
        expectedAttachType: member?.index ?? attributes.expectedAttachType,
        license: object.license,
        kernelVersion: version,
        flags: definition.flags,
        ifindex: definition.ifindex
      },
      code: code.insns === program.code.insns ? program.code : { ...program.code, insns: code.insns },
      ...typed.fields,
      ...(attachTo === undefined ? {} : { attachTo }),
      log: { level: definition.logLevel }
    },
    `program ${definition.name}`,
    { notes: [...program.notes, ...attributes.notes, ...code.notes, ...typed.notes, ...unbound] }
  )
  const constants = unbound.length > 0
    ? []
    : bound.map(({ map, position }) =>
      MapSteps.bindStep(as, Ref.map(position), `${map.name} lives as long as ${definition.name}`)
    )
  return [...other?.before ?? [], load, ...other?.after ?? [], ...constants]
}

/** Programs in the slots of program arrays, once they are loaded. */
const programSlotSteps = (object: BpfObject): LoadPlan =>
  object.maps.flatMap((map, position) =>
    map.autocreate && map.replacedBy === undefined && map.attr.type === MapType.BPF_MAP_TYPE_PROG_ARRAY
      ? map.slots.map((slot) => slotStep(object, position, map, slot))
      : []
  )

/** The types of an object as this kernel takes them; `undefined` where it takes none. Throws `PlanError`. */
const loadedTypes = (
  relocated: RelocatedObject,
  programs: ReadonlyArray<RelocatedProgram>,
  features: Sanitise.Features,
  { architecture }: KernelInfo.KernelInfo
): Sanitise.LoadedTypes | undefined => {
  const { btf, name } = relocated.object
  if (btf === undefined || !features.has("Btf")) return undefined
  const types = Sanitise.types(btf, relocated, programs, features, architecture)
  if (Result.isSuccess(types)) return types.success
  throw new PlanError({ reason: "Types", name, detail: types.failure.message })
}

/** The digests of the programs that have maps to themselves, as they will be loaded. Throws `PlanError`. */
const exclusiveOf = (object: BpfObject, loads: LoadPlan): MapSteps.Context["exclusive"] => {
  const owners = new Map<string, { readonly prog: Ref.ProgRef; readonly hash: Uint8Array }>()
  for (const { autocreate, exclusiveTo, name } of object.maps) {
    if (!autocreate || exclusiveTo === undefined || owners.has(exclusiveTo)) continue
    const refuse = (detail: string, hint: string): PlanError =>
      new PlanError({ reason: "Exclusive", name, detail, hint })
    const load = mainCalls(loads).find((call): call is ProgLoad =>
      call._tag === "ProgLoad" && object.programs[call.as.index]?.name === exclusiveTo
    )
    if (load === undefined) {
      const hint = `load ${exclusiveTo} too, or let any program use the map`
      throw refuse(`it is for ${exclusiveTo} alone, which is not loaded`, hint)
    }
    const digest = ProgramDigest.of(load.code)
    if (Result.isFailure(digest)) {
      throw refuse(
        `it is for ${exclusiveTo} alone, whose instructions are not known before it is loaded: ${digest.failure}`,
        "plan for a kernel that shows its types, or let any program use the map"
      )
    }
    owners.set(exclusiveTo, { prog: load.as, hash: digest.success })
  }
  return owners
}

const planObject = (whole: RelocatedObject, info: KernelInfo.KernelInfo): Asked.Asked<PlannedObject> => {
  const features = Sanitise.of(info)
  const relocated = Sanitise.variables(whole, features)
  const { object } = relocated
  if (object.byteOrder !== info.byteOrder) {
    throw new PlanError({
      reason: "ByteOrder",
      name: object.name,
      detail: `the object is ${object.byteOrder}-endian, the kernel ${info.byteOrder}-endian`,
      hint: "compile with -target bpfel or -target bpfeb for the kernel's byte order"
    })
  }
  const { programs } = relocated
  const needs = [...requirements(object), ...Sanitise.requirements(relocated, programs)].filter((each) =>
    KernelInfo.factOf(info, each)._tag === "Unasked"
  )
  // Many maps may need the same.
  if (needs.length > 0) {
    return Asked.needs([...new Map(needs.map((each) => [KernelInfo.describe(each), each])).values()])
  }
  const matched = StructOps.of(object, info)
  if (matched._tag === "Needs") return matched
  const structs = matched.value
  // Whoever turns the programs off that cannot be loaded is told of these first: they are of no use without their variable.
  for (const { program } of programs) {
    const definition = object.programs[program]
    if (definition !== undefined) implemented(structs, definition, program)
  }
  const types = loadedTypes(relocated, programs, features, info)
  const btf = types === undefined ? undefined : btfRef
  const withTypes: ObjectTypes = { btf, funcInfos: types?.funcInfos ?? new Map(), features }
  const loads: LoadPlan = AttachTarget.inOrder(object, programs).flatMap((program) =>
    programSteps(relocated, program, withTypes, structs, info)
  )
  const context: MapSteps.Context = {
    info,
    features,
    btf,
    structOps: structs.variables,
    arenaOffset: relocated.arenaOffset ?? 0,
    kconfig: relocated.kconfig,
    kconfigPending: relocated.kconfigPending,
    exclusive: exclusiveOf(object, loads)
  }
  const btfStep: LoadPlan = types === undefined
    ? []
    : [
      structs.variables.size > 0
        ? required({ _tag: "BtfLoad", as: btfRef, bytes: types.bytes }, "types of the object", {
          notes: ["its struct_ops maps cannot do without them", ...types.notes]
        })
        : optional(
          { _tag: "BtfLoad", as: btfRef, bytes: types.bytes },
          "types of the object",
          { notes: ["a kernel that refuses the types gets maps and programs without them", ...types.notes] }
        )
    ]
  const jumpTables: LoadPlan = relocated.programs.flatMap(({ jumpTables = [], program }) =>
    JumpTableSteps.of(jumpTables, object.programs[program]?.name ?? "", info.byteOrder)
  )
  const plan: LoadPlan = [
    ...jumpTables,
    ...btfStep,
    ...mapSteps(context, object),
    ...loads,
    ...programSlotSteps(object)
  ]
  return Asked.done({ object, relocated, plan, structOps: structs.variables, info })
}

/** Plans the load of an object on a kernel, or says what must be known of the kernel first. */
export const toPlan = (
  relocated: RelocatedObject,
  info: KernelInfo.KernelInfo
): Result.Result<Asked.Asked<PlannedObject>, PlanError> => attempt(isPlanError, () => planObject(relocated, info))

/** The stage: plans the load of a relocated object on the kernel that is provided. */
export const plan: Stage.Stage<
  RelocatedObject,
  PlannedObject,
  PlanError | KernelError | Asked.UnansweredError,
  Kernel
> = Stage.make("plan", (relocated) => Effect.map(Asked.drive((info) => toPlan(relocated, info)), ({ value }) => value))
