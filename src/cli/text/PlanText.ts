/**
 * The text that `plan` prints: every kernel call of a load in order, what it is for, and what happens when it fails.
 */
import * as Btf from "../../btf/Btf.ts"
import * as Requirements from "../../diagnostics/Requirements.ts"
import {
  attachTypeName,
  MapFlag,
  mapTypeName,
  ProgFlag,
  ProgType,
  progTypeName
} from "../../services/Kernel/abi/BpfConstants.ts"
import {
  type CodeRef,
  isProgFunction,
  type KernelCall,
  type MapAttributes,
  type ProgLoad
} from "../../services/Kernel/KernelCall.ts"
import type { KernelInfo } from "../../services/Kernel/KernelInfo.ts"
import type { Ref } from "../../services/Kernel/Ref.ts"
import {
  type CallStep,
  type EnsureStep,
  type LoadPlan,
  mainCalls,
  type Otherwise,
  type Step
} from "../../stages/load/LoadPlan.ts"
import type { PlannedObject } from "../../stages/load/Plan.ts"
import type { BpfObject } from "../../stages/open/BpfObject.ts"
import * as Given from "../../stages/open/Given.ts"
import { flagNames } from "../json/ObjectDocument.ts"
import { commandNames } from "../json/PlanDocument.ts"
import * as CoreReport from "../../stages/relocate/CoreReport.ts"
import { attachDetails } from "./AttachText.ts"
import { clip } from "./Clip.ts"
import { coreReportText } from "./CoreReportText.ts"
import { hexBytes } from "./HexDump.ts"
import { lackingLines, oldestLines, requirementsText } from "./RequirementsText.ts"
import { blank, counted, heading, type Line, span, wrapped } from "./Text.ts"

/** What a ref of the plan is called in the object. Templates of inner maps are numbered behind the object's maps. */
const nameOf = (object: BpfObject, ref: Ref): string => {
  switch (ref._tag) {
    case "Map": {
      const count = object.maps.length
      const map = object.maps[ref.index % Math.max(1, count)]
      if (ref.index < count) return map?.name ?? ""
      return map?.innerLike === undefined ? map?.inner?.name ?? "" : Given.describe(map.innerLike)
    }
    case "Prog":
      return object.programs[ref.index]?.name ?? ""
    case "Btf":
      return "the object's types"
    default:
      return `${ref._tag.toLowerCase()} ${ref.index}`
  }
}

/** What has types, by which keys and values of maps are named. */
type Typed = Pick<BpfObject, "btf">

const withType = (object: Typed, bytes: number, type: number | undefined): string =>
  type === undefined || type === 0 || object.btf === undefined
    ? `${bytes} B`
    : `${bytes} B (${clip(Btf.typeName(object.btf, type))})`

/** What a map is like: its type, the sizes and types of its keys and values, and what else is not as always. */
export const mapShape = (
  object: Typed,
  attr: Omit<MapAttributes, "name" | "numaNode" | "ifindex">,
  types: { readonly key: number; readonly value: number } | undefined
): string => {
  const parts = [mapTypeName(attr.type)]
  if (attr.keySize > 0) parts.push(`key ${withType(object, attr.keySize, types?.key)}`)
  if (attr.valueSize > 0) parts.push(`value ${withType(object, attr.valueSize, types?.value)}`)
  if (attr.maxEntries > 0) parts.push(`max_entries ${attr.maxEntries}`)
  if (attr.flags !== 0) parts.push(flagNames(attr.flags, MapFlag).join(" | "))
  if (attr.extra !== 0n) parts.push(`map_extra ${attr.extra}`)
  return parts.join(", ")
}

/** How many references of each kind a program has: `3 maps, 4 map values, 1 kernel symbol`. */
export const references = (refs: ReadonlyArray<CodeRef>): ReadonlyArray<string> => {
  const of = (tag: CodeRef["_tag"]): number => refs.filter((ref) => ref._tag === tag).length
  return [
    ["MapRef", "map reference"] as const,
    ["MapValueRef", "variable reference"] as const,
    ["SymbolRef", "kernel symbol"] as const
  ].flatMap(([tag, noun]) => of(tag) === 0 ? [] : [counted(of(tag), noun)])
}

/** What a program is for: a name of the kernel, or a function of another program. */
const targetOf = (object: BpfObject, attachTo: NonNullable<ProgLoad["attachTo"]>): string => {
  if (!isProgFunction(attachTo)) {
    const { member, name } = attachTo
    return member === undefined ? name : `${name}.${member}`
  }
  const program = nameOf(object, attachTo.program)
  return `function ${attachTo.function} of ${program === "" ? "the program that was given" : program}`
}

/** What a call is given, beyond what its step says it is for. */
const details = (object: BpfObject, call: KernelCall): ReadonlyArray<string> => {
  switch (call._tag) {
    case "BtfLoad":
      return [`${call.bytes.length} B`]
    case "MapCreate":
      return [
        mapShape(object, call.attr, call.types),
        ...(call.valueType === undefined ? [] : [`value struct ${call.valueType.name}`]),
        ...(call.inner === undefined ? [] : [`holding maps like ${nameOf(object, call.inner)}`]),
        ...(call.exclusiveTo === undefined ? [] : [`for ${nameOf(object, call.exclusiveTo.prog)} alone`])
      ]
    case "MapUpdate":
      return call.value.refs.length > 0
        ? [`at key ${hexBytes(call.key)}`]
        : [
          counted(call.value.bytes.length, "byte"),
          ...(call.value.bytes.every((byte) => byte === 0) ? ["all zero"] : [])
        ]
    case "ProgLoad": {
      const { attachTo, attr, code } = call
      const slots = code.insns.length / 8
      return [
        progTypeName(attr.type),
        // Of struct_ops it is the number of a member, which is named.
        ...(attr.expectedAttachType === 0 || attr.type === ProgType.BPF_PROG_TYPE_STRUCT_OPS
          ? []
          : [`attach type ${attachTypeName(attr.expectedAttachType)}`]),
        counted(slots, "instruction"),
        ...references(code.refs),
        ...(attachTo === undefined ? [] : [`for ${targetOf(object, attachTo)}`]),
        ...flagNames(attr.flags, ProgFlag)
      ]
    }
    case "MapLookup":
    case "MapDelete":
    case "MapNextKey":
    case "MapLookupAndDelete":
      return [nameOf(object, call.map)]
    case "MapLookupBatch":
    case "MapUpdateBatch":
    case "MapDeleteBatch":
      return [`${nameOf(object, call.map)}, ${counted(call.count, "element")}`]
    case "MapMmap":
      return [
        `${nameOf(object, call.map)}, ${counted(call.length, "byte")} from ${call.offset}`,
        ...(call.address === undefined ? [] : [`at 0x${call.address.toString(16)}`])
      ]
    case "ViewWrite":
      return [`${counted(call.bytes.length, "byte")} from ${call.offset}`]
    case "ProgStreamRead":
      return [
        call.stream === "Stdout" ? "standard output" : "standard error",
        `${counted(call.length, "byte")} at most`
      ]
    case "StatsEnable":
      return ["run time and number of runs"]
    case "ObjPin":
    case "ObjUnpin":
    case "ObjGet":
      return [call.path]
    case "Adopt":
      return [call.fd < 0 ? "no descriptor yet" : `descriptor ${call.fd}`]
    case "IdNext":
      return [`${call.kind.toLowerCase()}s after ${call.after}`]
    case "GetById":
      return [`${call.as._tag.toLowerCase()} ${call.id}`]
    case "Wait":
      return [
        `${call.refs.map((ref) => nameOf(object, ref)).join(", ")} for ${call.for === "Read" ? "reading" : "writing"}`,
        ...(call.timeout === undefined ? [] : [`${call.timeout} ms at most`])
      ]
    case "MapFreeze":
    case "MapGetInfo":
    case "ProgBindMap":
    case "LoaderRun":
    case "ProgTestRun":
    case "ProgGetInfo":
    case "BtfGetInfo":
    case "Close":
      return []
    default:
      return attachDetails((ref) => nameOf(object, ref), call)
  }
}

/** Names of calls are padded to the longest that a load makes. */
const commandWidth = 19

/** A step's number in the tree: `3`, and `3.1` for the first step of its branch. */
type Numbering = (position: number) => string

const indentOf = (depth: number): string => "  ".repeat(depth + 1)

/** A line beneath a step: its notes, and what happens when it fails. */
const beneath = (depth: number, text: string): Line =>
  wrapped(2 * depth + 10, `${indentOf(depth)}      `, span("dim", text))

const callLines = (object: BpfObject, step: CallStep, number: string, depth: number): ReadonlyArray<Line> => {
  const command = commandNames[step.call._tag]
  const given = details(object, step.call).join(", ")
  const notes = step.required || step.otherwise.length > 0
    ? step.notes.map((note) => `note: ${note}`)
    : [
      `optional: ${step.notes[0] ?? "where the kernel refuses, the load goes on without it"}`,
      ...step.notes.slice(1).map((note) => `note: ${note}`)
    ]
  return [
    wrapped(
      2 * depth + 10,
      `${indentOf(depth)}${number.padStart(4)}  `,
      span("name", command),
      `${" ".repeat(Math.max(0, commandWidth - command.length))}  ${step.why}`,
      given === "" ? "" : span("dim", `: ${given}`)
    ),
    ...(step.mustEqual === undefined
      ? []
      : [beneath(depth, `it must be: ${mapShape(object, step.mustEqual, undefined)}`)]),
    ...notes.map((note) => beneath(depth, note)),
    ...step.otherwise.flatMap((branch) => branchLines(object, step, branch, number, depth))
  ]
}

/** What is done instead: the same call in another way in one line, anything else as steps of its own. */
const branchLines = (
  object: BpfObject,
  step: CallStep,
  { on, steps }: Otherwise,
  number: string,
  depth: number
): ReadonlyArray<Line> => {
  const when = `if the kernel refuses${on === "any" ? "" : ` with ${on.join(" or ")}`}:`
  const [only] = steps
  const again = steps.length === 1 && only?._tag === "Call" && only.call._tag === step.call._tag &&
    only.notes.length > 0 && only.otherwise.length === 0
  return again ? [beneath(depth, `${when} the same, ${only.notes.join("; ")}`)] : [
    beneath(depth, when),
    ...stepLines(object, steps, (position) => `${number}.${position + 1}`, depth + 2)
  ]
}

const ensureLines = (object: BpfObject, step: EnsureStep, number: string, depth: number): ReadonlyArray<Line> => [
  wrapped(
    2 * depth + 10,
    `${indentOf(depth)}${number.padStart(4)}  `,
    span("name", commandNames.ObjGet),
    `${" ".repeat(Math.max(0, commandWidth - commandNames.ObjGet.length))}  ${step.why}`,
    span("dim", `: ${step.pinnedAt}`)
  ),
  ...step.notes.map((note) => beneath(depth, `note: ${note}`)),
  beneath(depth, `if it is there, it must be: ${mapShape(object, step.mustEqual, undefined)}`),
  beneath(depth, "if it is not there:"),
  ...stepLines(object, step.otherwise, (position) => `${number}.${position + 1}`, depth + 2),
  beneath(depth, "if another process pins one in between: looks again, once")
]

const stepLines = (object: BpfObject, plan: LoadPlan, number: Numbering, depth: number): ReadonlyArray<Line> =>
  plan.flatMap((step: Step, position) =>
    step._tag === "Call"
      ? callLines(object, step, number(position), depth)
      : ensureLines(object, step, number(position), depth)
  )

const known = (info: KernelInfo): string => {
  const facts: Array<string> = []
  if (info.pageSize._tag === "Known") facts.push(`page size ${info.pageSize.value}`)
  if (info.possibleCpus._tag === "Known") facts.push(counted(info.possibleCpus.value, "possible CPU"))
  if (info.kconfig.size > 0) facts.push(counted(info.kconfig.size, "configuration option"))
  if (info.features.size > 0) facts.push(counted(info.features.size, "feature"))
  if (info.symbols.size > 0) facts.push(counted(info.symbols.size, "symbol"))
  return facts.length === 0 ? "" : `; asked for ${facts.join(", ")}`
}

/** What a plan's text has beside its calls. */
export interface PlanTextOptions {
  /** Every CO-RE relocation, and not only those that the load may fail for. */
  readonly core?: boolean
}

/** What a kernel says of itself without being asked; a file of types alone says little. */
const machine = ({ architecture, byteOrder, release }: KernelInfo): string =>
  [
    release === "" ? "of a release that is not known" : `Linux ${release}`,
    ...(architecture === "" ? [] : [architecture]),
    `${byteOrder}-endian`
  ].join(", ")

/** The lines of a plan: `kernel` is the name of the kernel that it is for, `path` the object's file. */
export const planText = (
  planned: PlannedObject,
  kernel: string,
  path: string,
  options: PlanTextOptions = {}
): ReadonlyArray<Line> => {
  const { info, object, plan } = planned
  const count = mainCalls(plan).length
  const requirements = Requirements.ofPlan(planned)
  return [
    wrapped(
      2,
      "To load ",
      span("name", path),
      ` on the ${kernel} kernel (${machine(info)}${known(info)}), ` +
        `${counted(count, "call")}:`
    ),
    ...oldestLines(requirements),
    ...lackingLines(requirements, info.release),
    blank,
    ...(plan.length === 0 ? [wrapped(2, "  none: the object has neither maps nor programs that a load takes")] : []),
    ...stepLines(object, plan, (position) => String(position + 1), 0),
    ...coreReportText(CoreReport.of(planned.relocated), options.core === true),
    ...requirementsText(requirements),
    ...(object.notes.length === 0 ? [] : [blank, heading("Notes")]),
    ...object.notes.map((note) => wrapped(4, "  ", span("warning", note)))
  ]
}
