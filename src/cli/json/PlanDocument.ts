/**
 * A load plan as data: the document of `plan --json`.
 *
 * `steps` is the tree of `LoadPlan`. A step that is a call has `call` (the library's name of it), `command` (the kernel's),
 * `arguments`, `required`, and in `otherwise` what is done instead when the kernel refuses: `on` is `"any"` or a list of
 * error names. A step that shares a pinned map has `ensure` in place of `call`. Arguments are the call's own fields in
 * `snake_case`; bytes are base64, 64-bit numbers are texts of digits, and what the plan names by reference is
 * `"map#3"`, `"prog#0"` or `"btf#0"`, by position in `maps` and `programs`. `core` and `core_relocations` are those of
 * `CoreDocument`.
 */
import * as Btf from "../../btf/Btf.ts"
import * as Requirements from "../../diagnostics/Requirements.ts"
import { hasIt, isSupport } from "../../services/Kernel/Feature.ts"
import type * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import type { CallTag, KernelCall, KernelSymbol } from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { LoadPlan, Step } from "../../stages/load/LoadPlan.ts"
import type { PlannedObject } from "../../stages/load/Plan.ts"
import * as CoreReport from "../../stages/relocate/CoreReport.ts"
import type { Assumed } from "../Assuming.ts"
import type * as Documents from "../schemas/Plan.ts"
import { clip } from "../text/Clip.ts"
import { coreJson } from "./CoreDocument.ts"
import { base64, type Json, type Keys } from "./Json.ts"
import { requirementsJson } from "./RequirementsDocument.ts"

/** What the kernel calls each call: a command of bpf(2), or another system call. */
export const commandNames: Readonly<Record<CallTag, string>> = {
  BtfLoad: "BPF_BTF_LOAD",
  MapCreate: "BPF_MAP_CREATE",
  MapUpdate: "BPF_MAP_UPDATE_ELEM",
  MapLookup: "BPF_MAP_LOOKUP_ELEM",
  MapDelete: "BPF_MAP_DELETE_ELEM",
  MapNextKey: "BPF_MAP_GET_NEXT_KEY",
  MapLookupAndDelete: "BPF_MAP_LOOKUP_AND_DELETE_ELEM",
  MapLookupBatch: "BPF_MAP_LOOKUP_BATCH",
  MapUpdateBatch: "BPF_MAP_UPDATE_BATCH",
  MapDeleteBatch: "BPF_MAP_DELETE_BATCH",
  MapFreeze: "BPF_MAP_FREEZE",
  MapMmap: "mmap",
  ViewWrite: "memory write",
  MapGetInfo: "BPF_OBJ_GET_INFO_BY_FD",
  ProgLoad: "BPF_PROG_LOAD",
  ProgBindMap: "BPF_PROG_BIND_MAP",
  ProgTestRun: "BPF_PROG_TEST_RUN",
  LoaderRun: "BPF_PROG_TEST_RUN",
  ProgGetInfo: "BPF_OBJ_GET_INFO_BY_FD",
  ProgStreamRead: "BPF_PROG_STREAM_READ_BY_FD",
  StatsEnable: "BPF_ENABLE_STATS",
  BtfGetInfo: "BPF_OBJ_GET_INFO_BY_FD",
  IdNext: "BPF_*_GET_NEXT_ID",
  GetById: "BPF_*_GET_FD_BY_ID",
  ObjPin: "BPF_OBJ_PIN",
  ObjUnpin: "unlink",
  ObjGet: "BPF_OBJ_GET",
  Adopt: "adopt",
  Close: "close",
  Wait: "epoll_wait",
  LinkCreate: "BPF_LINK_CREATE",
  LinkUpdate: "BPF_LINK_UPDATE",
  LinkDetach: "BPF_LINK_DETACH",
  LinkGetInfo: "BPF_OBJ_GET_INFO_BY_FD",
  RawTracepointOpen: "BPF_RAW_TRACEPOINT_OPEN",
  IterCreate: "BPF_ITER_CREATE",
  IterRead: "read",
  ProbePmuGet: "read",
  TracepointId: "read",
  SymbolListRead: "read",
  TraceEventAdd: "write",
  PerfEventOpen: "perf_event_open",
  PerfEventSetProgram: "PERF_EVENT_IOC_SET_BPF",
  PerfEventSwitch: "PERF_EVENT_IOC_ENABLE",
  EventMmap: "mmap",
  PerfEventRead: "read",
  CpusGet: "read",
  TaskFdQuery: "BPF_TASK_FD_QUERY",
  TargetOpen: "open",
  ProgAttach: "BPF_PROG_ATTACH",
  ProgDetach: "BPF_PROG_DETACH",
  ProgQuery: "BPF_PROG_QUERY",
  DeviceGet: "RTM_GETLINK",
  DeviceList: "RTM_GETLINK",
  XdpAttach: "RTM_SETLINK",
  XdpDetach: "RTM_SETLINK",
  ClsactCreate: "RTM_NEWQDISC",
  ClsactDelete: "RTM_DELQDISC",
  FilterAttach: "RTM_NEWTFILTER",
  FilterDetach: "RTM_DELTFILTER",
  FilterList: "RTM_GETTFILTER",
  QdiscList: "RTM_GETQDISC"
}

const snake = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

const refTags: ReadonlySet<string> = new Set(
  [
    "Map",
    "Prog",
    "Btf",
    "Link",
    "View",
    "Event",
    "TraceEvent",
    "Target",
    "Iter",
    "Attachment",
    "Stats"
  ] satisfies ReadonlyArray<Ref.RefTag>
)

const isRef = (value: object): value is Ref.Ref =>
  "_tag" in value && typeof value._tag === "string" && refTags.has(value._tag) && "index" in value

const isExpected = (value: object): value is NonNullable<KernelSymbol["expected"]> =>
  "btf" in value && "typeId" in value

/** Any part of a call. Its own tag becomes `kind`, since `call` says which call it is. */
const partJson = (value: unknown): Json => {
  if (value === undefined || value === null) return null
  if (typeof value === "bigint") return value.toString()
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value
  if (value instanceof Uint8Array) return base64(value)
  if (Array.isArray(value)) return value.map(partJson)
  if (typeof value !== "object") return null
  if (isRef(value)) return Ref.key(value)
  if (isExpected(value)) return clip(Btf.typeName(value.btf, value.typeId))
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key === "_tag" ? "kind" : snake(key), partJson(part)])
  )
}

const argumentsJson = ({ _tag, ...fields }: KernelCall): Json => partJson(fields)

/** One call, without what a plan has around it. */
export const callJson = (call: KernelCall): Readonly<Record<"call" | "command" | "arguments", Json>> => ({
  call: call._tag,
  command: commandNames[call._tag],
  arguments: argumentsJson(call)
})

/** Any value that is part of a call. */
export const valueJson = (value: unknown): Json => partJson(value)

const stepJson = (step: Step): Keys<Documents.StepDocument> =>
  step._tag === "Call"
    ? {
      call: step.call._tag,
      command: commandNames[step.call._tag],
      why: step.why,
      required: step.required,
      notes: step.notes,
      arguments: argumentsJson(step.call),
      ...(step.mustEqual === undefined ? {} : { must_equal: partJson(step.mustEqual) }),
      otherwise: step.otherwise.map(({ on, steps }) => ({ on, steps: stepsJson(steps) }))
    }
    : {
      ensure: Ref.key(step.map),
      pinned_at: step.pinnedAt,
      why: step.why,
      notes: step.notes,
      must_equal: partJson(step.mustEqual),
      otherwise: stepsJson(step.otherwise)
    }

/** Steps as JSON. */
const stepsJson = (plan: LoadPlan): ReadonlyArray<Keys<Documents.StepDocument>> => plan.map(stepJson)

const factJson = (fact: KernelInfo.Fact<unknown>): Json => {
  if (fact._tag === "Known") {
    const { value } = fact
    if (isSupport(value)) return hasIt(value) ?? null
    return typeof value === "bigint" ? `0x${value.toString(16)}` : partJson(value)
  }
  return fact._tag === "Deferred" ? "deferred" : null
}

/** What the plan was made for. Only what the object made necessary is known; the rest is `null` or left out. */
const kernelJson = (kernel: string, info: KernelInfo.KernelInfo): Keys<typeof Documents.Kernel.Type> => ({
  name: kernel,
  release: info.release === "" ? null : info.release,
  architecture: info.architecture === "" ? null : info.architecture,
  byte_order: info.byteOrder,
  page_size: factJson(info.pageSize),
  possible_cpus: factJson(info.possibleCpus),
  kernel_version: factJson(info.kernelVersion),
  kconfig: Object.fromEntries([...info.kconfig].map(([key, fact]) => [key, factJson(fact)])),
  features: Object.fromEntries([...info.features].map(([feature, fact]) => [feature, factJson(fact)])),
  symbols: Object.fromEntries([...info.symbols].map(([name, fact]) => [name, factJson(fact)]))
})

/** The document of a plan. `path` is the object's file, `assumed` what could not be found out. */
export const planDocument = (
  planned: PlannedObject,
  kernel: string,
  path: string,
  assumed: ReadonlyArray<Assumed> = []
): Keys<typeof Documents.Plan.Type> => ({
  object: { name: planned.object.name, path },
  kernel: kernelJson(kernel, planned.info),
  maps: planned.object.maps.map(({ name }) => name),
  programs: planned.object.programs.map(({ name }) => name),
  assumed,
  requirements: requirementsJson(Requirements.ofPlan(planned), planned.info.release),
  steps: stepsJson(planned.plan),
  ...coreJson(CoreReport.of(planned.relocated))
})
