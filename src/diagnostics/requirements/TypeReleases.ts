/**
 * Since which release the kernel has types of programs and maps, ways to attach, and flags.
 *
 * Sources: the releases' `include/uapi/linux/bpf.h`, eBPF Docs (docs.ebpf.io), bcc's list of features by kernel version; held
 * against what Linux 6.1, 6.12 and 6.18 answer when they are tried.
 */
import {
  AttachType,
  type AttachTypeSymbol,
  MapFlag,
  MapType,
  type MapTypeSymbol,
  ProgFlag,
  ProgType,
  type ProgTypeSymbol
} from "../../services/Kernel/abi/BpfConstants.ts"
import { type Availability, since, table, unknownRelease } from "./Release.ts"

/** Nothing up to this release has what is newer than these tables. */
const LAST = "6.18"

const newerThanAll: Availability = { since: undefined, after: LAST }

const programTypes = table(
  `
  3.19 SOCKET_FILTER
  4.1 KPROBE SCHED_CLS SCHED_ACT
  4.7 TRACEPOINT
  4.8 XDP
  4.9 PERF_EVENT
  4.10 CGROUP_SKB CGROUP_SOCK LWT_IN LWT_OUT LWT_XMIT
  4.13 SOCK_OPS
  4.14 SK_SKB
  4.15 CGROUP_DEVICE
  4.17 SK_MSG RAW_TRACEPOINT CGROUP_SOCK_ADDR
  4.18 LWT_SEG6LOCAL LIRC_MODE2
  4.19 SK_REUSEPORT
  4.20 FLOW_DISSECTOR
  5.2 CGROUP_SYSCTL RAW_TRACEPOINT_WRITABLE
  5.3 CGROUP_SOCKOPT
  5.5 TRACING
  5.6 STRUCT_OPS EXT
  5.7 LSM
  5.9 SK_LOOKUP
  5.14 SYSCALL
  6.4 NETFILTER
`,
  "BPF_PROG_TYPE_"
)

const mapTypes = table(
  `
  3.19 HASH ARRAY
  4.2 PROG_ARRAY
  4.3 PERF_EVENT_ARRAY
  4.6 PERCPU_HASH PERCPU_ARRAY STACK_TRACE
  4.8 CGROUP_ARRAY
  4.10 LRU_HASH LRU_PERCPU_HASH
  4.11 LPM_TRIE
  4.12 ARRAY_OF_MAPS HASH_OF_MAPS
  4.14 DEVMAP SOCKMAP
  4.15 CPUMAP
  4.18 XSKMAP SOCKHASH
  4.19 CGROUP_STORAGE REUSEPORT_SOCKARRAY
  4.20 PERCPU_CGROUP_STORAGE QUEUE STACK
  5.2 SK_STORAGE
  5.4 DEVMAP_HASH
  5.6 STRUCT_OPS
  5.8 RINGBUF
  5.10 INODE_STORAGE
  5.11 TASK_STORAGE
  5.16 BLOOM_FILTER
  6.1 USER_RINGBUF
  6.2 CGRP_STORAGE
  6.9 ARENA
  6.19 INSN_ARRAY
`,
  "BPF_MAP_TYPE_"
)

const attachTypes = table(
  `
  4.10 CGROUP_INET_INGRESS CGROUP_INET_EGRESS CGROUP_INET_SOCK_CREATE
  4.13 CGROUP_SOCK_OPS
  4.14 SK_SKB_STREAM_PARSER SK_SKB_STREAM_VERDICT
  4.15 CGROUP_DEVICE
  4.17 SK_MSG_VERDICT CGROUP_INET4_BIND CGROUP_INET6_BIND CGROUP_INET4_CONNECT CGROUP_INET6_CONNECT
      CGROUP_INET4_POST_BIND CGROUP_INET6_POST_BIND
  4.18 CGROUP_UDP4_SENDMSG CGROUP_UDP6_SENDMSG LIRC_MODE2
  4.20 FLOW_DISSECTOR
  5.2 CGROUP_SYSCTL CGROUP_UDP4_RECVMSG CGROUP_UDP6_RECVMSG
  5.3 CGROUP_GETSOCKOPT CGROUP_SETSOCKOPT
  5.5 TRACE_RAW_TP TRACE_FENTRY TRACE_FEXIT
  5.7 MODIFY_RETURN LSM_MAC
  5.8 TRACE_ITER CGROUP_INET4_GETPEERNAME CGROUP_INET6_GETPEERNAME CGROUP_INET4_GETSOCKNAME CGROUP_INET6_GETSOCKNAME
      XDP_DEVMAP
  5.9 CGROUP_INET_SOCK_RELEASE XDP_CPUMAP SK_LOOKUP XDP
  5.13 SK_SKB_VERDICT
  5.14 SK_REUSEPORT_SELECT SK_REUSEPORT_SELECT_OR_MIGRATE
  5.15 PERF_EVENT
  5.18 TRACE_KPROBE_MULTI
  6.0 LSM_CGROUP
  6.4 STRUCT_OPS NETFILTER
  6.6 TCX_INGRESS TCX_EGRESS TRACE_UPROBE_MULTI
  6.7 NETKIT_PRIMARY NETKIT_PEER CGROUP_UNIX_CONNECT CGROUP_UNIX_SENDMSG CGROUP_UNIX_RECVMSG CGROUP_UNIX_GETPEERNAME
      CGROUP_UNIX_GETSOCKNAME
  6.10 TRACE_KPROBE_SESSION
  6.13 TRACE_UPROBE_SESSION
  7.0 TRACE_FSESSION
`,
  "BPF_"
)

/** Flags of maps. */
const mapFlags = table(
  `
  4.6 NO_PREALLOC
  4.10 NO_COMMON_LRU
  4.14 NUMA_NODE
  4.15 RDONLY WRONLY
  4.17 STACK_BUILD_ID
  5.0 ZERO_SEED
  5.2 RDONLY_PROG WRONLY_PROG
  5.4 CLONE
  5.5 MMAPABLE
  5.10 PRESERVE_ELEMS INNER_MAP
  6.4 LINK
  6.9 VTYPE_BTF_OBJ_FD TOKEN_FD SEGV_ON_FAULT NO_USER_CONV
  6.19 RB_OVERWRITE
`,
  "BPF_F_"
)

/** Flags of programs. */
const programFlags = table(
  `
  4.12 STRICT_ALIGNMENT
  5.0 ANY_ALIGNMENT
  5.3 TEST_RND_HI32
  5.4 TEST_STATE_FREQ
  5.10 SLEEPABLE
  5.18 XDP_HAS_FRAGS
  6.3 XDP_DEV_BOUND_ONLY
  6.8 TEST_REG_INVARIANTS
  6.9 TOKEN_FD
`,
  "BPF_F_"
)

/** Things that iterators go over, by the name behind the slash of `SEC("iter/…")`. */
const iterators = table(`
  5.8 task task_file bpf_map netlink ipv6_route
  5.9 tcp udp bpf_prog bpf_map_elem bpf_sk_storage_map
  5.10 sockmap
  5.12 task_vma
  5.15 unix
  5.19 bpf_link
  6.0 ksym
  6.1 cgroup
  6.13 kmem_cache
  6.16 dmabuf
`)

/** Structs of the kernel that programs may implement. */
const structs = table(`
  5.6 tcp_congestion_ops
  5.16 bpf_dummy_ops
  6.11 hid_bpf_ops
  6.12 sched_ext_ops
  6.16 Qdisc_ops
`)

const availabilityOf = (found: string | undefined): Availability => found === undefined ? unknownRelease : since(found)

const symbolOf = <S extends string>(symbols: Readonly<Record<S, number>>, value: number): string | undefined =>
  Object.entries(symbols).find(([, each]) => each === value)?.[0]

/** The kernel's name of a type of programs: `BPF_PROG_TYPE_XDP`. */
export const programTypeSymbol = (type: number): string =>
  symbolOf<ProgTypeSymbol>(ProgType, type) ?? `program type ${type}`

/** The kernel's name of a type of maps; of two that are one number, that without `DEPRECATED`. */
export const mapTypeSymbol = (type: number): string => symbolOf<MapTypeSymbol>(MapType, type) ?? `map type ${type}`

/** The kernel's name of an attach type. */
export const attachTypeSymbol = (type: number): string =>
  symbolOf<AttachTypeSymbol>(AttachType, type) ?? `attach type ${type}`

const known = (found: string | undefined, isKnown: boolean): Availability =>
  found === undefined && isKnown ? newerThanAll : availabilityOf(found)

/** The releases of all types of programs and maps and of all attach types, by the kernel's names. */
export const releases: ReadonlyMap<string, string> = new Map([...programTypes, ...mapTypes, ...attachTypes])

/** Whether a name is that of an attach type. */
export const isAttachType = (symbol: string): boolean => attachTypes.has(symbol)

/** Since when there are programs of a type. */
export const ofProgramType = (type: number): Availability => availabilityOf(programTypes.get(programTypeSymbol(type)))

/** Since when there are maps of a type. */
export const ofMapType = (type: number): Availability => {
  const symbol = mapTypeSymbol(type)
  return known(mapTypes.get(symbol), Object.hasOwn(MapType, symbol))
}

/** Since when there is an attach type. */
export const ofAttachType = (type: number): Availability => {
  const symbol = attachTypeSymbol(type)
  return known(attachTypes.get(symbol), Object.hasOwn(AttachType, symbol))
}

/** Since when programs of a type may sleep, where that is another release than the one that brought the flag. */
export const ofSleepable = (type: number, attachType: number): Availability | undefined => {
  switch (type) {
    case ProgType.BPF_PROG_TYPE_KPROBE:
      return since("6.0")
    case ProgType.BPF_PROG_TYPE_TRACEPOINT:
    case ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT:
      return newerThanAll
    case ProgType.BPF_PROG_TYPE_TRACING:
      return attachType === AttachType.BPF_TRACE_RAW_TP ? newerThanAll : undefined
    default:
      return undefined
  }
}

/** Since when there is an iterator of a name. */
export const ofIterator = (name: string): Availability => availabilityOf(iterators.get(name))

/** Since when programs may implement a struct of the kernel. */
export const ofStruct = (name: string): Availability => availabilityOf(structs.get(name))

/** Since when a flag is there, with its name. */
export interface FlagRelease extends Availability {
  readonly flag: string
}

const flagsOf = (
  flags: number,
  symbols: Readonly<Record<string, number>>,
  releases: ReadonlyMap<string, string>
): ReadonlyArray<FlagRelease> => {
  const found: Array<FlagRelease> = []
  let left = flags >>> 0
  for (const [flag, bit] of Object.entries(symbols)) {
    if ((left & bit) === 0) continue
    left = (left & ~bit) >>> 0
    found.push({ flag, ...availabilityOf(releases.get(flag)) })
  }
  return left === 0 ? found : [...found, { flag: `flag 0x${left.toString(16)}`, since: undefined }]
}

/** The flags of a map. */
export const ofMapFlags = (flags: number): ReadonlyArray<FlagRelease> => flagsOf(flags, MapFlag, mapFlags)

/** The flags of a program. */
export const ofProgramFlags = (flags: number): ReadonlyArray<FlagRelease> => flagsOf(flags, ProgFlag, programFlags)
