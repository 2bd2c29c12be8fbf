/**
 * How a skeleton in TypeScript speaks of programs: by the kinds that their sections give them.
 */
import * as Result from "effect/Result"
import { AttachType, ProgType } from "../../../services/Kernel/abi/BpfConstants.ts"
import { argumentType } from "../../open/Arguments.ts"
import * as AttachSpec from "../../open/AttachSpec.ts"
import type { BpfObject, Program } from "../../open/BpfObject.ts"
import * as TsCodecs from "./TsCodecs.ts"
import * as TsText from "./TsText.ts"

/** A member of a skeleton: its type, and the expression that describes it to the runtime. */
export interface Member {
  readonly type: string
  readonly expression: string
}

/** A kind of programs: the runtime's constant of it, and the type of what they are attached to. */
export interface Kind {
  readonly constant: string
  readonly target: string
}

const kind = (constant: string, target: string): Kind => ({ constant, target })

/** Kinds by the routine that attaches programs of a section. */
const byRoutine: ReadonlyMap<string, Kind> = new Map([
  ["kprobe", kind("kprobe", "KprobeTarget")],
  ["kprobe_multi", kind("kprobeMulti", "KprobeMultiTarget")],
  ["kprobe_session", kind("kprobeMulti", "KprobeMultiTarget")],
  ["ksyscall", kind("ksyscall", "KsyscallTarget")],
  ["uprobe", kind("uprobe", "UprobeTarget")],
  ["uprobe_multi", kind("uprobeMulti", "UprobeMultiTarget")],
  ["usdt", kind("usdt", "UsdtTarget")],
  ["tp", kind("tracepoint", "TracepointTarget")],
  ["raw_tp", kind("rawTracepoint", "RawTracepointTarget")],
  ["trace", kind("tracing", "TracingTarget")],
  ["lsm", kind("tracing", "TracingTarget")],
  ["tracing_multi", kind("tracingMulti", "TracingMultiTarget")],
  ["iter", kind("iter", "IterTarget")]
])

const cgroup = kind("cgroup", "CgroupTarget")
const netns = kind("netns", "NetnsTarget")
const sockmap = kind("sockmap", "SockmapTarget")

/** Kinds by the type of programs that nothing attaches by itself. */
const byType: ReadonlyMap<number, Kind> = new Map([
  [ProgType.BPF_PROG_TYPE_PERF_EVENT, kind("perfEvent", "PerfEventTarget")],
  [ProgType.BPF_PROG_TYPE_SCHED_ACT, kind("tc", "TcTarget")],
  [ProgType.BPF_PROG_TYPE_NETFILTER, kind("netfilter", "NetfilterTarget")],
  [ProgType.BPF_PROG_TYPE_FLOW_DISSECTOR, netns],
  [ProgType.BPF_PROG_TYPE_SK_LOOKUP, netns],
  [ProgType.BPF_PROG_TYPE_SK_SKB, sockmap],
  [ProgType.BPF_PROG_TYPE_SK_MSG, sockmap],
  [ProgType.BPF_PROG_TYPE_LIRC_MODE2, kind("lirc", "LircTarget")],
  [ProgType.BPF_PROG_TYPE_CGROUP_SKB, cgroup],
  [ProgType.BPF_PROG_TYPE_CGROUP_SOCK, cgroup],
  [ProgType.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, cgroup],
  [ProgType.BPF_PROG_TYPE_CGROUP_SOCKOPT, cgroup],
  [ProgType.BPF_PROG_TYPE_CGROUP_SYSCTL, cgroup],
  [ProgType.BPF_PROG_TYPE_CGROUP_DEVICE, cgroup],
  [ProgType.BPF_PROG_TYPE_SOCK_OPS, cgroup],
  [ProgType.BPF_PROG_TYPE_LSM, cgroup]
])

const xdp = kind("xdp", "XdpTarget")
const tcx = kind("tcx", "TcxTarget")
const netkit = kind("netkit", "NetkitTarget")

/** Kinds of programs of which the attach type tells more than the program type. */
const byAttachType: ReadonlyMap<number, Kind> = new Map([
  [AttachType.BPF_XDP, xdp],
  [AttachType.BPF_TCX_INGRESS, tcx],
  [AttachType.BPF_TCX_EGRESS, tcx],
  [AttachType.BPF_NETKIT_PRIMARY, netkit],
  [AttachType.BPF_NETKIT_PEER, netkit]
])

/** How a program is attached; `undefined` where it is not: it is run, or stands in a map. */
export const kindOf = ({ definition, expectedAttachType, type }: Program): Kind | undefined => {
  switch (type) {
    case ProgType.BPF_PROG_TYPE_XDP:
      return byAttachType.get(expectedAttachType)
    case ProgType.BPF_PROG_TYPE_SCHED_CLS:
      return byAttachType.get(expectedAttachType) ?? kind("tc", "TcTarget")
    case ProgType.BPF_PROG_TYPE_STRUCT_OPS:
      return undefined
    default:
      return byRoutine.get(definition?.autoAttach ?? "none") ?? byType.get(type)
  }
}

/** Whether the section says to what the program is attached. */
export const attachesItself = ({ definition, section }: Program): boolean => {
  const says = definition === undefined ? undefined : AttachSpec.read(definition.autoAttach, section)
  return says !== undefined && Result.isSuccess(says) && says.success._tag === "Attach"
}

/** The type of what a syscall program is run on; `undefined` of programs that are run on something else, or nothing. */
export const contextType = (object: BpfObject, { name, type }: Program): number | undefined =>
  type === ProgType.BPF_PROG_TYPE_SYSCALL ? argumentType(object, name) : undefined

/** Its codec. */
const contextOf = (
  object: BpfObject,
  codecs: TsCodecs.TsCodecs | undefined,
  program: Program
): TsCodecs.TsType | undefined => {
  const id = contextType(object, program)
  return id === undefined || codecs === undefined ? undefined : Result.getOrUndefined(TsCodecs.codecOf(codecs, id))
}

/** A program, as the module has it. `runtime` is the runtime's name in the text. */
export const member = (
  object: BpfObject,
  codecs: TsCodecs.TsCodecs | undefined,
  program: Program,
  runtime: string
): Member => {
  const name = TsText.literal(program.name)
  const found = kindOf(program)
  if (found === undefined) {
    const context = contextOf(object, codecs, program)
    return context === undefined
      ? { type: `${runtime}.Runnable`, expression: `${runtime}.runnable(${name})` }
      : {
        type: `${runtime}.Runnable<${context.type}>`,
        expression: `${runtime}.runnableOn(${name}, ${context.codec})`
      }
  }
  const [type, maker] = attachesItself(program) ? ["SelfAttaching", "selfAttaching"] : ["Attachable", "attachable"]
  const context = found.constant === "rawTracepoint" ? ", ReadonlyArray<bigint>" : ""
  return {
    type: `${runtime}.${type}<${runtime}.${found.target}${context}>`,
    expression: `${runtime}.${maker}(${name}, ${runtime}.${found.constant})`
  }
}
