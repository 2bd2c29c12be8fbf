/**
 * What an object needs of the kernel, each with the oldest release of mainline Linux that has it: types of programs and maps,
 * ways to attach, helpers, functions of the kernel, flags, instructions, and what its types and references ask for.
 *
 * Some of it a kernel may lack all the same: what the object checks for before it uses it, what a load replaces or leaves out
 * for older kernels, and what only programs need that are left out unless they are asked for. That is told, too, and does not
 * count.
 *
 * ```ts
 * const { load } = Requirements.ofObject(object)
 * console.log(`Linux ${load.release} and later, because of ${load.because.map(({ name }) => name).join(", ")}`)
 * ```
 *
 * Releases are told to people: distributions move features between them, and configurations leave features out. What a load
 * does is decided by trying the kernel, never by these.
 *
 * Not known are prototypes and types of functions, what the verifier makes of a program (older ones understand less of the same
 * code), and members of structs that programs implement; of what programs are attached to only iterators.
 */
import { descriptions } from "../services/Kernel/Feature.ts"
import * as AttachSpec from "../stages/open/AttachSpec.ts"
import { type BpfObject, isGlobalData, type MapDefinition, type Program } from "../stages/open/BpfObject.ts"
import { calls, type LoadPlan } from "../stages/load/LoadPlan.ts"
import type { PlannedObject } from "../stages/load/Plan.ts"
import * as Sanitise from "../stages/load/Sanitise.ts"
import * as Reachability from "../stages/relocate/Reachability.ts"
import * as SourceLines from "../stages/relocate/SourceLines.ts"
import * as Result from "effect/Result"
import * as Fields from "./requirements/Fields.ts"
import * as Guards from "./requirements/Guards.ts"
import * as OfPrograms from "./requirements/OfPrograms.ts"
import { type Availability, compare, since, unknownRelease } from "./requirements/Release.ts"
import {
  add,
  type Found,
  Gathering,
  type Of,
  type Oldest,
  oldestOf,
  type Requirement,
  type Use
} from "./requirements/Requirement.ts"
import * as Types from "./requirements/TypeReleases.ts"

export { availabilityText, compare, isIn } from "./requirements/Release.ts"
export type { Availability } from "./requirements/Release.ts"
export { isEnough, kinds, labelOf, lackingIn, maximumUses, oldestOf } from "./requirements/Requirement.ts"
export type { Kind, Oldest, Requirement, Use } from "./requirements/Requirement.ts"

/** What an object needs. */
export interface Requirements {
  /** What is required first, the newest of it first; then what a kernel may lack. */
  readonly all: ReadonlyArray<Requirement>
  /** The oldest kernel into which the object can be loaded. */
  readonly load: Oldest
  /** The oldest kernel on which what its sections name can be attached, too. */
  readonly attach: Oldest
}

const optionalProgram = "only in programs that a load leaves out unless told otherwise"
const optionalMap = "only in maps that are not created"

// ---- Attaching ----

const link = (name: string, availability: Availability, otherwise?: string): Partial<Found> & Availability & {
  readonly kind: "link"
  readonly name: string
} => ({
  kind: "link",
  name,
  when: "attach",
  ...availability,
  ...(otherwise === undefined ? {} : { required: false, replaced: true as const, otherwise })
})

const ioctl = "older kernels attach through the perf event itself, without a link"

/** The links that attaching a program by itself makes. */
const linkOf = (spec: AttachSpec.AttachSpec): ReturnType<typeof link> | undefined => {
  switch (spec._tag) {
    case "Kprobe":
    case "Ksyscall":
    case "Uprobe":
    case "Tracepoint":
      return { ...link("BPF_LINK_TYPE_PERF_EVENT", since("5.15"), ioctl), feature: "PerfLink" }
    case "Usdt":
      return {
        ...link("BPF_LINK_TYPE_UPROBE_MULTI", since("6.6"), "older kernels get one uprobe for each place"),
        feature: "UprobeMultiLink"
      }
    case "KprobeMulti":
      return link("BPF_LINK_TYPE_KPROBE_MULTI", since(spec.isSession ? "6.10" : "5.18"))
    case "UprobeMulti":
      return link("BPF_LINK_TYPE_UPROBE_MULTI", since(spec.isSession ? "6.13" : "6.6"))
    case "RawTracepoint":
      return link("BPF_RAW_TRACEPOINT_OPEN", since("4.17"))
    case "Tracing":
      return link("BPF_LINK_TYPE_TRACING", since("5.5"))
    case "TracingMulti":
      return link("BPF_LINK_TYPE_TRACING_MULTI", { since: undefined, after: "6.18" })
    case "Iter":
      return link("BPF_LINK_TYPE_ITER", since("5.8"))
    case "StructOps":
      return undefined
  }
}

const addAttaching = (of: Of, { definition, name, section }: Program): void => {
  if (definition === undefined) return
  const says = AttachSpec.read(definition.autoAttach, section)
  if (Result.isFailure(says) || says.success._tag !== "Attach") return
  const found = linkOf(says.success.spec)
  if (found !== undefined) add(of, { ...found, use: () => ({ program: name }) })
}

// ---- Maps ----

const addMap = (of: Of, object: BpfObject, map: MapDefinition, name: string): void => {
  const { attr, inner, origin, structOps, valueType } = map
  const use = (): Use => ({ map: name })
  if (structOps === undefined) {
    add(of, { kind: "map-type", name: Types.mapTypeSymbol(attr.type), ...Types.ofMapType(attr.type), use })
  } else {
    const members = structOps.members.map(({ member }) => member).join(", ")
    add(of, {
      kind: "struct-ops",
      name: structOps.typeName,
      ...Types.ofStruct(structOps.typeName),
      ...(members === "" ? {} : { description: `members ${members}` }),
      use
    })
  }
  for (const { flag, ...availability } of Types.ofMapFlags(attr.flags)) {
    const mapped = flag === "BPF_F_MMAPABLE" && isGlobalData(map)
    add(of, {
      kind: "map-flag",
      name: flag,
      ...availability,
      ...(mapped
        ? { required: false, replaced: true as const, otherwise: "a load leaves it out", feature: "ArrayMmap" as const }
        : {}),
      use
    })
  }
  if (map.exclusiveTo !== undefined) {
    const description = `for ${map.exclusiveTo} alone`
    add(of, { kind: "map-attribute", name: "excl_prog_hash", description, ...since("6.18"), use })
  }
  if (origin === "Btf" && valueType !== 0 && object.btf !== undefined) {
    for (const { name: field, ...availability } of Fields.of(object.btf, valueType)) {
      add(of, { kind: "map-field", name: field, ...availability, use })
    }
  }
  if (inner !== undefined) addMap(of, object, inner, `${name}.inner`)
}

// ---- Types ----

const addTypes = (into: Gathering, object: BpfObject): void => {
  const { btf, btfExt } = object
  if (btf === undefined) return
  const needsTypes = object.maps.some(({ autocreate, structOps }) => autocreate && structOps !== undefined)
  for (const feature of Sanitise.typeFeatures(btf)) {
    const { description, name, since: release } = descriptions[feature]
    const whole = feature === "Btf"
    into.add({
      kind: "types",
      name,
      description,
      feature,
      ...(release === undefined ? unknownRelease : since(release)),
      when: "load",
      required: whole && needsTypes,
      ...(whole && needsTypes ? {} : {
        otherwise: whole
          ? "the object is loaded without its types"
          : "a load puts types in their place that the kernel has"
      }),
      use: () => ({})
    })
  }
  if ((btfExt?.coreRelocations?.sections.length ?? 0) > 0) {
    into.add({
      kind: "core",
      name: "/sys/kernel/btf/vmlinux",
      description: "the kernel's own types",
      ...since("5.4"),
      when: "load",
      required: false,
      otherwise: "types of the kernel can be given from a file",
      use: () => ({})
    })
  }
}

// ---- Objects ----

/** The newest first, what is not known before it; in that the order in which it was found. */
const order = (one: Requirement, other: Requirement): number => {
  if (one.required !== other.required) return one.required ? -1 : 1
  if (one.since === undefined || other.since === undefined) {
    return Number(one.since !== undefined) - Number(other.since !== undefined)
  }
  return compare(other.since, one.since)
}

const finish = (gathering: Gathering): Requirements => {
  const all = gathering.all().toSorted(order)
  return { all, load: oldestOf(all.filter(({ when }) => when === "load")), attach: oldestOf(all) }
}

/** The programs of struct_ops variables that are created, and those of the others. */
const implementing = (object: BpfObject): ReadonlyMap<Program, boolean> => {
  const found = new Map<Program, boolean>()
  for (const { autocreate, structOps } of object.maps) {
    for (const { program: position } of structOps?.members ?? []) {
      const program = object.programs[position]
      if (program !== undefined) found.set(program, autocreate || found.get(program) === true)
    }
  }
  return found
}

const gather = (object: BpfObject): Gathering => {
  const into = new Gathering()
  const structs = implementing(object)
  const isLoaded = (program: Program): boolean => structs.get(program) ?? program.autoload
  const lines = SourceLines.of(object)
  const budget = Reachability.budget()
  for (const loaded of [true, false]) {
    const isIn = (program: Program): boolean => program.entry && isLoaded(program) === loaded
    if (!object.programs.some(isIn)) continue
    const part = { ...object, programs: object.programs.map((each) => ({ ...each, autoload: isIn(each) })) }
    const of: Of = { into, required: loaded, otherwise: loaded ? undefined : optionalProgram }
    const guards = Guards.of(part, budget)
    for (const program of part.programs) {
      if (!program.autoload) continue
      OfPrograms.addAttributes(of, program)
      addAttaching(of, program)
    }
    for (const program of guards.programs ?? []) OfPrograms.addCode(of, part, guards, program, lines)
  }
  for (const map of object.maps) {
    if (map.replacedBy !== undefined) continue
    const of: Of = { into, required: map.autocreate, otherwise: map.autocreate ? undefined : optionalMap }
    addMap(of, object, map, map.name)
  }
  addTypes(into, object)
  return into
}

/** What an object needs. */
export const ofObject = (object: BpfObject): Requirements => finish(gather(object))

// ---- Plans ----

/** Commands of bpf(2) that a load makes, and what the older ones lack of them. */
const commands: Readonly<Partial<Record<string, readonly [name: string, release: string]>>> = {
  BtfLoad: ["BPF_BTF_LOAD", "4.18"],
  MapFreeze: ["BPF_MAP_FREEZE", "5.2"],
  MapMmap: ["mmap of a map", "5.5"],
  ProgBindMap: ["BPF_PROG_BIND_MAP", "5.10"],
  ObjPin: ["BPF_OBJ_PIN", "4.4"],
  ObjGet: ["BPF_OBJ_GET", "4.4"],
  GetById: ["BPF_*_GET_FD_BY_ID", "4.13"]
}

const addCommands = (into: Gathering, plan: LoadPlan, required: boolean): void => {
  for (const step of plan) {
    if (step._tag === "Ensure") {
      into.add({ kind: "command", name: "BPF_OBJ_GET", ...since("4.4"), when: "load", required, use: () => ({}) })
      addCommands(into, step.otherwise, required)
      continue
    }
    const command = commands[step.call._tag]
    if (command !== undefined) {
      const must = required && step.required && step.otherwise.length === 0
      into.add({
        kind: "command",
        name: command[0],
        ...since(command[1]),
        when: "load",
        required: must,
        ...(must ? {} : { otherwise: "the load goes on without it" }),
        use: () => ({})
      })
    }
  }
}

/** What a plan needs: all that its object does, and the commands that the plan makes. */
export const ofPlan = ({ object, plan }: Pick<PlannedObject, "object" | "plan">): Requirements => {
  const into = gather(object)
  addCommands(into, plan, true)
  const deferred = calls(plan).some((call) => call._tag === "ProgLoad" && call.code.coreRelocations !== undefined)
  if (deferred) {
    into.add({
      kind: "core",
      name: "core_relos",
      description: "CO-RE relocations that the kernel applies",
      ...since("5.17"),
      when: "load",
      required: true,
      use: () => ({})
    })
  }
  return finish(into)
}
