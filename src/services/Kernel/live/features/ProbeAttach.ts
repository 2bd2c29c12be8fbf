/**
 * In which ways the kernel attaches programs.
 *
 * Nothing lists them, and nothing is attached to find out. Ways that are told at the load are tried there; others are asked
 * for with a target that does not exist, which only kernels complain of that know the way. A way is there only where
 * programs are that go there, so what is said of their type is said of it.
 *
 * Sources: `kernel/bpf/syscall.c`, as to the order in which arguments are checked; reference page `features`, section 7.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../../btf/Btf.ts"
import * as Encode from "../../../../insn/Encode.ts"
import * as Arena from "../../abi/Arena.ts"
import * as Attr from "../../abi/Attr.ts"
import { AttachType, type AttachTypeSymbol, Command, MapType, ProgType } from "../../abi/BpfConstants.ts"
import * as Errno from "../../abi/Errno.ts"
import { refused, type Support, supported, unsupported } from "../../Feature.ts"
import { denied, enter, type Host, type Keep, loadProgram, noDescriptor, within } from "./Host.ts"
import * as KernelFeatures from "./KernelFeatures.ts"
import { probeProgramValue } from "./ProbeMaps.ts"
import { fieldsOf, probeTarget } from "./ProbePrograms.ts"

/** How it is found out that the kernel knows a way. */
type Method =
  /** The load says where the program goes, and the kernel checks it. */
  | "Load"
  /** It is attached to a descriptor or device that does not exist. */
  | "Attach"
  /** A program that does not exist is attached. */
  | "Known"
  /** A link is made to functions that do not exist. */
  | "KprobeLink"
  /** A link is made to a file that is a folder. */
  | "UprobeLink"
  /** The load names a target that is no function. */
  | "Target"
  /** A map whose values hold such programs is created. */
  | "MapValue"
  /** A link to a perf event, as the feature says. */
  | "PerfLink"
  /** The kernel's types have its name. */
  | "Types"
  /** It is as old as the type of its programs, and nothing checks it. */
  | "ProgType"

interface Way {
  readonly type: number
  readonly method: Method
}

const P = ProgType

const way = (type: number, method: Method): Way => ({ type, method })

const onSocketAddress = way(P.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "Attach")

const ways: Readonly<Record<AttachTypeSymbol, Way>> = {
  BPF_CGROUP_INET_INGRESS: way(P.BPF_PROG_TYPE_CGROUP_SKB, "Attach"),
  BPF_CGROUP_INET_EGRESS: way(P.BPF_PROG_TYPE_CGROUP_SKB, "Attach"),
  BPF_CGROUP_INET_SOCK_CREATE: way(P.BPF_PROG_TYPE_CGROUP_SOCK, "Attach"),
  BPF_CGROUP_SOCK_OPS: way(P.BPF_PROG_TYPE_SOCK_OPS, "Attach"),
  BPF_SK_SKB_STREAM_PARSER: way(P.BPF_PROG_TYPE_SK_SKB, "Attach"),
  BPF_SK_SKB_STREAM_VERDICT: way(P.BPF_PROG_TYPE_SK_SKB, "Attach"),
  BPF_CGROUP_DEVICE: way(P.BPF_PROG_TYPE_CGROUP_DEVICE, "Attach"),
  BPF_SK_MSG_VERDICT: way(P.BPF_PROG_TYPE_SK_MSG, "Attach"),
  BPF_CGROUP_INET4_BIND: onSocketAddress,
  BPF_CGROUP_INET6_BIND: onSocketAddress,
  BPF_CGROUP_INET4_CONNECT: onSocketAddress,
  BPF_CGROUP_INET6_CONNECT: onSocketAddress,
  BPF_CGROUP_INET4_POST_BIND: way(P.BPF_PROG_TYPE_CGROUP_SOCK, "Attach"),
  BPF_CGROUP_INET6_POST_BIND: way(P.BPF_PROG_TYPE_CGROUP_SOCK, "Attach"),
  BPF_CGROUP_UDP4_SENDMSG: onSocketAddress,
  BPF_CGROUP_UDP6_SENDMSG: onSocketAddress,
  BPF_LIRC_MODE2: way(P.BPF_PROG_TYPE_LIRC_MODE2, "ProgType"),
  BPF_FLOW_DISSECTOR: way(P.BPF_PROG_TYPE_FLOW_DISSECTOR, "ProgType"),
  BPF_CGROUP_SYSCTL: way(P.BPF_PROG_TYPE_CGROUP_SYSCTL, "Attach"),
  BPF_CGROUP_UDP4_RECVMSG: onSocketAddress,
  BPF_CGROUP_UDP6_RECVMSG: onSocketAddress,
  BPF_CGROUP_GETSOCKOPT: way(P.BPF_PROG_TYPE_CGROUP_SOCKOPT, "Attach"),
  BPF_CGROUP_SETSOCKOPT: way(P.BPF_PROG_TYPE_CGROUP_SOCKOPT, "Attach"),
  BPF_TRACE_RAW_TP: way(P.BPF_PROG_TYPE_TRACING, "Target"),
  BPF_TRACE_FENTRY: way(P.BPF_PROG_TYPE_TRACING, "Target"),
  BPF_TRACE_FEXIT: way(P.BPF_PROG_TYPE_TRACING, "Target"),
  BPF_MODIFY_RETURN: way(P.BPF_PROG_TYPE_TRACING, "Target"),
  BPF_LSM_MAC: way(P.BPF_PROG_TYPE_LSM, "Target"),
  BPF_TRACE_ITER: way(P.BPF_PROG_TYPE_TRACING, "Target"),
  BPF_CGROUP_INET4_GETPEERNAME: onSocketAddress,
  BPF_CGROUP_INET6_GETPEERNAME: onSocketAddress,
  BPF_CGROUP_INET4_GETSOCKNAME: onSocketAddress,
  BPF_CGROUP_INET6_GETSOCKNAME: onSocketAddress,
  BPF_XDP_DEVMAP: way(P.BPF_PROG_TYPE_XDP, "MapValue"),
  BPF_CGROUP_INET_SOCK_RELEASE: way(P.BPF_PROG_TYPE_CGROUP_SOCK, "Attach"),
  BPF_XDP_CPUMAP: way(P.BPF_PROG_TYPE_XDP, "MapValue"),
  BPF_SK_LOOKUP: way(P.BPF_PROG_TYPE_SK_LOOKUP, "Load"),
  BPF_XDP: way(P.BPF_PROG_TYPE_XDP, "Known"),
  BPF_SK_SKB_VERDICT: way(P.BPF_PROG_TYPE_SK_SKB, "Attach"),
  BPF_SK_REUSEPORT_SELECT: way(P.BPF_PROG_TYPE_SK_REUSEPORT, "Load"),
  BPF_SK_REUSEPORT_SELECT_OR_MIGRATE: way(P.BPF_PROG_TYPE_SK_REUSEPORT, "Load"),
  BPF_PERF_EVENT: way(P.BPF_PROG_TYPE_PERF_EVENT, "PerfLink"),
  BPF_TRACE_KPROBE_MULTI: way(P.BPF_PROG_TYPE_KPROBE, "KprobeLink"),
  BPF_LSM_CGROUP: way(P.BPF_PROG_TYPE_LSM, "Target"),
  BPF_STRUCT_OPS: way(P.BPF_PROG_TYPE_STRUCT_OPS, "Types"),
  BPF_NETFILTER: way(P.BPF_PROG_TYPE_NETFILTER, "Load"),
  BPF_TCX_INGRESS: way(P.BPF_PROG_TYPE_SCHED_CLS, "Attach"),
  BPF_TCX_EGRESS: way(P.BPF_PROG_TYPE_SCHED_CLS, "Attach"),
  BPF_TRACE_UPROBE_MULTI: way(P.BPF_PROG_TYPE_KPROBE, "UprobeLink"),
  BPF_CGROUP_UNIX_CONNECT: onSocketAddress,
  BPF_CGROUP_UNIX_SENDMSG: onSocketAddress,
  BPF_CGROUP_UNIX_RECVMSG: onSocketAddress,
  BPF_CGROUP_UNIX_GETPEERNAME: onSocketAddress,
  BPF_CGROUP_UNIX_GETSOCKNAME: onSocketAddress,
  BPF_NETKIT_PRIMARY: way(P.BPF_PROG_TYPE_SCHED_CLS, "Attach"),
  BPF_NETKIT_PEER: way(P.BPF_PROG_TYPE_SCHED_CLS, "Attach"),
  BPF_TRACE_KPROBE_SESSION: way(P.BPF_PROG_TYPE_KPROBE, "KprobeLink"),
  BPF_TRACE_UPROBE_SESSION: way(P.BPF_PROG_TYPE_KPROBE, "UprobeLink"),
  BPF_TRACE_FSESSION: way(P.BPF_PROG_TYPE_TRACING, "Target"),
  BPF_TRACE_FENTRY_MULTI: way(P.BPF_PROG_TYPE_TRACING, "Types"),
  BPF_TRACE_FEXIT_MULTI: way(P.BPF_PROG_TYPE_TRACING, "Types"),
  BPF_TRACE_FSESSION_MULTI: way(P.BPF_PROG_TYPE_TRACING, "Types")
}

/** Returns 1, which programs on their way may return wherever they check what it is. */
const allowing = Encode.program(Encode.mov64Imm(0, 1), Encode.exit())

const load = (host: Host, keep: Keep, type: number, attachType: number): number =>
  keep(loadProgram(host.sys, allowing, { ...fieldsOf(host, type), expected_attach_type: attachType }))

/** An error that only a kernel gives that knows the way and looked for the target. */
const judgedByTarget = (result: number, unknown: ReadonlyArray<Errno.Errno>): Support => {
  if (result >= 0) return supported
  const errno = Errno.fromNumber(-result)
  const support = denied(-result)
  return support._tag === "Refused" ? support : unknown.includes(errno) ? unsupported(errno) : supported
}

const notThere: ReadonlyArray<Errno.Errno> = ["EINVAL", "EOPNOTSUPP", "ENOTSUPP", "ENOSYS", "E2BIG"]

const attach = (host: Host, attachType: number, program: number): number =>
  enter(host.sys, Command.BPF_PROG_ATTACH, Attr.ProgAttach, {
    target_fd: noDescriptor,
    attach_bpf_fd: program,
    attach_type: attachType
  }).result

/** A name that no kernel has a function of. */
const nobody = new TextEncoder().encode("effect_bpf_no_such_function\0")

const linkKprobes = (host: Host, attachType: number, program: number): number =>
  enter(host.sys, Command.BPF_LINK_CREATE, Attr.LinkCreateKprobeMulti, {
    prog_fd: program,
    attach_type: attachType,
    cnt: 1,
    syms: Arena.table([nobody])
  }).result

/** Whether the kernel's own list of ways has this one. */
const inTypes = (host: Host, symbol: string): Support => {
  const types = host.facts.vmlinux()
  if (Result.isFailure(types)) return refused(types.failure.errno, "the types of the kernel cannot be read")
  const id = Btf.findOne(types.success, "bpf_attach_type", Btf.BTF_KIND_ENUM)
  const type = id === undefined ? undefined : Btf.typeOf(types.success, id)
  return type?._tag === "Enum" && type.values.some(({ name }) => name === symbol)
    ? supported
    : unsupported(`enum bpf_attach_type has no ${symbol}`)
}

const byMethod = (host: Host, keep: Keep, symbol: AttachTypeSymbol, { method, type }: Way): Support => {
  const attachType = AttachType[symbol]
  switch (method) {
    case "Known":
      return judgedByTarget(attach(host, attachType, noDescriptor), notThere)
    case "Target":
      return probeTarget(host, type, attachType)
    case "MapValue":
      return probeProgramValue(
        host,
        attachType === AttachType.BPF_XDP_DEVMAP ? MapType.BPF_MAP_TYPE_DEVMAP : MapType.BPF_MAP_TYPE_CPUMAP
      )
    case "PerfLink":
      return KernelFeatures.probe(host, "PerfLink")
    case "UprobeLink":
      return KernelFeatures.uprobeLink(host, keep, attachType)
    case "Types":
      return inTypes(host, symbol)
    case "ProgType":
      return supported
    case "Load":
    case "Attach":
    case "KprobeLink": {
      const program = load(host, keep, type, attachType)
      if (program < 0) return denied(-program)
      if (method === "Load") return supported
      return judgedByTarget(
        method === "Attach" ? attach(host, attachType, program) : keep(linkKprobes(host, attachType, program)),
        notThere
      )
    }
  }
}

/** Whether the kernel attaches programs in a way. `typeOf` is what it says of types of programs. */
export const probe = (host: Host, symbol: AttachTypeSymbol, typeOf: (type: number) => Support): Support => {
  const found = ways[symbol]
  const ofType = typeOf(found.type)
  return ofType._tag === "Supported" ? within(host.sys, (keep) => byMethod(host, keep, symbol, found)) : ofType
}
