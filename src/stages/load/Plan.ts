/**
 * Plans the load of a relocated object: which kernel calls, in which order, with which fallbacks.
 *
 * The order is libbpf's, so that traces of both can be laid side by side: the object's BTF, its maps with their initial
 * values, its programs, then what stands in program arrays. A pure function of the object and what is known of the kernel.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Btf } from "../../btf/Btf.ts"
import { toByteOrder } from "../../btf/BtfEncode.ts"
import { attempt } from "../../internal/attempt.ts"
import { MapType, ProgType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Kernel } from "../../services/Kernel/Kernel.ts"
import type { KernelError } from "../../services/Kernel/KernelError.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import * as Asked from "../Asked.ts"
import type { BpfObject, MapDefinition, MapSlot } from "../open/BpfObject.ts"
import type { RelocatedObject, RelocatedProgram } from "../relocate/RelocatedObject.ts"
import * as Stage from "../Stage.ts"
import * as AttachTarget from "./AttachTarget.ts"
import { type LoadPlan, optional, required, type Step } from "./LoadPlan.ts"
import * as MapSteps from "./MapSteps.ts"
import { isPlanError, PlanError } from "./PlanError.ts"

/** A plan with the object that it loads. Map and program refs of the plan are positions in the object's lists. */
export interface PlannedObject {
  readonly object: BpfObject
  /** What the plan was made of: what its instructions stand for, for reports and when a load fails. */
  readonly relocated: RelocatedObject
  readonly plan: LoadPlan
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

const checkMap = (map: MapDefinition): void => {
  if (map.attr.type === MapType.BPF_MAP_TYPE_ARENA && map.initialValue !== undefined) {
    throw new PlanError({
      reason: "Unsupported",
      name: map.name,
      detail: "global variables in an arena have to be written through its memory, which plans cannot say yet",
      hint: "turn the map's autocreate off to load the rest of the object"
    })
  }
  if (map.origin === "StructOps") {
    throw new PlanError({
      reason: "Unsupported",
      name: map.name,
      detail: "struct_ops needs the kernel's own layout of the struct, which is not looked up yet",
      hint: "turn the map's autocreate off to load the rest of the object"
    })
  }
}

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
    checkMap(map)
    const slots = map.slots.filter((slot) => slot._tag === "Map")
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

/**
 * Of each program that stands in a struct_ops variable, whether a load creates one of those variables. The others are not
 * loaded, whatever their autoload says, as in libbpf: nothing could use them.
 */
const structOpsPrograms = (object: BpfObject): ReadonlyMap<number, boolean> => {
  const used = new Map<number, boolean>()
  for (const map of object.maps) {
    for (const { program } of map.structOps?.members ?? []) {
      used.set(program, map.autocreate || used.get(program) === true)
    }
  }
  return used
}

const isLoaded = (object: BpfObject, structOps: ReadonlyMap<number, boolean>, position: number): boolean => {
  const program = object.programs[position]
  if (program?.type !== ProgType.BPF_PROG_TYPE_STRUCT_OPS) return true
  const used = structOps.get(position)
  if (used !== undefined) return used
  throw new PlanError({
    reason: "AttachTarget",
    name: program.name,
    detail: "no struct_ops variable refers to this program, so the kernel cannot be told which member it is",
    hint: "put it into a variable of SEC(\".struct_ops.link\"), or turn its autoload off"
  })
}

const programSteps = (
  relocated: RelocatedObject,
  program: RelocatedProgram,
  btf: Ref.BtfRef | undefined,
  info: KernelInfo.KernelInfo
): LoadPlan => {
  const { object } = relocated
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
  const attachTo = AttachTarget.of(definition)
  const as = Ref.prog(program.program)
  const version = object.kernelVersion ?? (info.kernelVersion._tag === "Known" ? info.kernelVersion.value : 0)
  const withBtf = btf === undefined ? {} : {
    btf,
    ...(program.funcInfo === undefined ? {} : { funcInfo: program.funcInfo }),
    ...(program.lineInfo === undefined ? {} : { lineInfo: program.lineInfo })
  }
  const load = required(
    {
      _tag: "ProgLoad",
      as,
      attr: {
        name: definition.name.slice(0, 15),
        type: definition.type,
        expectedAttachType: definition.expectedAttachType,
        license: object.license,
        kernelVersion: version,
        flags: definition.flags,
        ifindex: definition.ifindex
      },
      code: program.code,
      ...withBtf,
      ...(attachTo === undefined ? {} : { attachTo }),
      log: { level: definition.logLevel }
    },
    `program ${definition.name}`,
    { notes: program.notes }
  )
  const constants = object.maps.flatMap((map, position) =>
    map.origin === "Rodata" && map.autocreate
      ? [MapSteps.bindStep(as, Ref.map(position), `${map.name} lives as long as ${definition.name}`)]
      : []
  )
  return [load, ...constants]
}

/** Programs in the slots of program arrays, once they are loaded. */
const programSlotSteps = (object: BpfObject): LoadPlan =>
  object.maps.flatMap((map, position) =>
    map.autocreate && map.attr.type === MapType.BPF_MAP_TYPE_PROG_ARRAY
      ? map.slots.map((slot) => slotStep(object, position, map, slot))
      : []
  )

/** The types of an object as the kernel takes them. Objects have types of the kinds that this library knows. */
const blobOf = (name: string, btf: Btf, order: KernelInfo.KernelInfo["byteOrder"]): Uint8Array => {
  const bytes = toByteOrder(btf, order)
  if (Result.isSuccess(bytes)) return bytes.success
  throw new PlanError({ reason: "ByteOrder", name, detail: bytes.failure.message })
}

const planObject = (relocated: RelocatedObject, info: KernelInfo.KernelInfo): Asked.Asked<PlannedObject> => {
  const { object } = relocated
  if (object.byteOrder !== info.byteOrder) {
    throw new PlanError({
      reason: "ByteOrder",
      name: object.name,
      detail: `the object is ${object.byteOrder}-endian, the kernel ${info.byteOrder}-endian`,
      hint: "compile with -target bpfel or -target bpfeb for the kernel's byte order"
    })
  }
  const needs = requirements(object).filter((each) => KernelInfo.factOf(info, each)._tag === "Unasked")
  // Many maps may need the same.
  if (needs.length > 0) {
    return Asked.needs([...new Map(needs.map((each) => [KernelInfo.describe(each), each])).values()])
  }
  const btf = object.btf === undefined ? undefined : btfRef
  const context: MapSteps.Context = { info, btf, kconfig: relocated.kconfig }
  const btfStep: LoadPlan = object.btf === undefined
    ? []
    : [
      optional(
        { _tag: "BtfLoad", as: btfRef, bytes: blobOf(object.name, object.btf, info.byteOrder) },
        "types of the object",
        { notes: ["a kernel that refuses the types gets maps and programs without them"] }
      )
    ]
  const structOps = structOpsPrograms(object)
  const plan: LoadPlan = [
    ...btfStep,
    ...mapSteps(context, object),
    ...relocated.programs.filter(({ program }) => isLoaded(object, structOps, program))
      .flatMap((program) => programSteps(relocated, program, btf, info)),
    ...programSlotSteps(object)
  ]
  return Asked.done({ object, relocated, plan, info })
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
