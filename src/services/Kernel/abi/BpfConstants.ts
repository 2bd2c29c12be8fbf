/**
 * The numbers of bpf(2): commands, types and flags under their kernel names, and the names that people read.
 *
 * Source: `include/uapi/linux/bpf.h`. A kernel older than an entry refuses it; nothing here says what the running
 * kernel supports. The names for people are those that bpftool prints.
 */

/** `enum bpf_cmd`: the first argument of bpf(2). */
export const Command = {
  BPF_MAP_CREATE: 0,
  BPF_MAP_LOOKUP_ELEM: 1,
  BPF_MAP_UPDATE_ELEM: 2,
  BPF_MAP_DELETE_ELEM: 3,
  BPF_MAP_GET_NEXT_KEY: 4,
  BPF_PROG_LOAD: 5,
  BPF_OBJ_PIN: 6,
  BPF_OBJ_GET: 7,
  BPF_PROG_ATTACH: 8,
  BPF_PROG_DETACH: 9,
  BPF_PROG_TEST_RUN: 10,
  BPF_PROG_GET_NEXT_ID: 11,
  BPF_MAP_GET_NEXT_ID: 12,
  BPF_PROG_GET_FD_BY_ID: 13,
  BPF_MAP_GET_FD_BY_ID: 14,
  BPF_OBJ_GET_INFO_BY_FD: 15,
  BPF_PROG_QUERY: 16,
  BPF_RAW_TRACEPOINT_OPEN: 17,
  BPF_BTF_LOAD: 18,
  BPF_BTF_GET_FD_BY_ID: 19,
  BPF_TASK_FD_QUERY: 20,
  BPF_MAP_LOOKUP_AND_DELETE_ELEM: 21,
  BPF_MAP_FREEZE: 22,
  BPF_BTF_GET_NEXT_ID: 23,
  BPF_MAP_LOOKUP_BATCH: 24,
  BPF_MAP_LOOKUP_AND_DELETE_BATCH: 25,
  BPF_MAP_UPDATE_BATCH: 26,
  BPF_MAP_DELETE_BATCH: 27,
  BPF_LINK_CREATE: 28,
  BPF_LINK_UPDATE: 29,
  BPF_LINK_GET_FD_BY_ID: 30,
  BPF_LINK_GET_NEXT_ID: 31,
  BPF_ENABLE_STATS: 32,
  BPF_ITER_CREATE: 33,
  BPF_LINK_DETACH: 34,
  BPF_PROG_BIND_MAP: 35,
  BPF_TOKEN_CREATE: 36,
  BPF_PROG_STREAM_READ_BY_FD: 37,
  BPF_PROG_ASSOC_STRUCT_OPS: 38
} as const

/** Joined to a command by "or": bpf(2) takes two more arguments, a `struct bpf_common_attr` and its size. */
export const BPF_COMMON_ATTRS = 0x10000

/** `enum bpf_map_type`. */
export const MapType = {
  BPF_MAP_TYPE_UNSPEC: 0,
  BPF_MAP_TYPE_HASH: 1,
  BPF_MAP_TYPE_ARRAY: 2,
  BPF_MAP_TYPE_PROG_ARRAY: 3,
  BPF_MAP_TYPE_PERF_EVENT_ARRAY: 4,
  BPF_MAP_TYPE_PERCPU_HASH: 5,
  BPF_MAP_TYPE_PERCPU_ARRAY: 6,
  BPF_MAP_TYPE_STACK_TRACE: 7,
  BPF_MAP_TYPE_CGROUP_ARRAY: 8,
  BPF_MAP_TYPE_LRU_HASH: 9,
  BPF_MAP_TYPE_LRU_PERCPU_HASH: 10,
  BPF_MAP_TYPE_LPM_TRIE: 11,
  BPF_MAP_TYPE_ARRAY_OF_MAPS: 12,
  BPF_MAP_TYPE_HASH_OF_MAPS: 13,
  BPF_MAP_TYPE_DEVMAP: 14,
  BPF_MAP_TYPE_SOCKMAP: 15,
  BPF_MAP_TYPE_CPUMAP: 16,
  BPF_MAP_TYPE_XSKMAP: 17,
  BPF_MAP_TYPE_SOCKHASH: 18,
  BPF_MAP_TYPE_CGROUP_STORAGE: 19,
  BPF_MAP_TYPE_REUSEPORT_SOCKARRAY: 20,
  BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE: 21,
  BPF_MAP_TYPE_QUEUE: 22,
  BPF_MAP_TYPE_STACK: 23,
  BPF_MAP_TYPE_SK_STORAGE: 24,
  BPF_MAP_TYPE_DEVMAP_HASH: 25,
  BPF_MAP_TYPE_STRUCT_OPS: 26,
  BPF_MAP_TYPE_RINGBUF: 27,
  BPF_MAP_TYPE_INODE_STORAGE: 28,
  BPF_MAP_TYPE_TASK_STORAGE: 29,
  BPF_MAP_TYPE_BLOOM_FILTER: 30,
  BPF_MAP_TYPE_USER_RINGBUF: 31,
  BPF_MAP_TYPE_CGRP_STORAGE: 32,
  BPF_MAP_TYPE_ARENA: 33,
  BPF_MAP_TYPE_INSN_ARRAY: 34,
  BPF_MAP_TYPE_RHASH: 35
} as const

/** `enum bpf_prog_type`. */
export const ProgType = {
  BPF_PROG_TYPE_UNSPEC: 0,
  BPF_PROG_TYPE_SOCKET_FILTER: 1,
  BPF_PROG_TYPE_KPROBE: 2,
  BPF_PROG_TYPE_SCHED_CLS: 3,
  BPF_PROG_TYPE_SCHED_ACT: 4,
  BPF_PROG_TYPE_TRACEPOINT: 5,
  BPF_PROG_TYPE_XDP: 6,
  BPF_PROG_TYPE_PERF_EVENT: 7,
  BPF_PROG_TYPE_CGROUP_SKB: 8,
  BPF_PROG_TYPE_CGROUP_SOCK: 9,
  BPF_PROG_TYPE_LWT_IN: 10,
  BPF_PROG_TYPE_LWT_OUT: 11,
  BPF_PROG_TYPE_LWT_XMIT: 12,
  BPF_PROG_TYPE_SOCK_OPS: 13,
  BPF_PROG_TYPE_SK_SKB: 14,
  BPF_PROG_TYPE_CGROUP_DEVICE: 15,
  BPF_PROG_TYPE_SK_MSG: 16,
  BPF_PROG_TYPE_RAW_TRACEPOINT: 17,
  BPF_PROG_TYPE_CGROUP_SOCK_ADDR: 18,
  BPF_PROG_TYPE_LWT_SEG6LOCAL: 19,
  BPF_PROG_TYPE_LIRC_MODE2: 20,
  BPF_PROG_TYPE_SK_REUSEPORT: 21,
  BPF_PROG_TYPE_FLOW_DISSECTOR: 22,
  BPF_PROG_TYPE_CGROUP_SYSCTL: 23,
  BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE: 24,
  BPF_PROG_TYPE_CGROUP_SOCKOPT: 25,
  BPF_PROG_TYPE_TRACING: 26,
  BPF_PROG_TYPE_STRUCT_OPS: 27,
  BPF_PROG_TYPE_EXT: 28,
  BPF_PROG_TYPE_LSM: 29,
  BPF_PROG_TYPE_SK_LOOKUP: 30,
  BPF_PROG_TYPE_SYSCALL: 31,
  BPF_PROG_TYPE_NETFILTER: 32
} as const

/** `enum bpf_attach_type`: where a program is, or expects to be, attached. */
export const AttachType = {
  BPF_CGROUP_INET_INGRESS: 0,
  BPF_CGROUP_INET_EGRESS: 1,
  BPF_CGROUP_INET_SOCK_CREATE: 2,
  BPF_CGROUP_SOCK_OPS: 3,
  BPF_SK_SKB_STREAM_PARSER: 4,
  BPF_SK_SKB_STREAM_VERDICT: 5,
  BPF_CGROUP_DEVICE: 6,
  BPF_SK_MSG_VERDICT: 7,
  BPF_CGROUP_INET4_BIND: 8,
  BPF_CGROUP_INET6_BIND: 9,
  BPF_CGROUP_INET4_CONNECT: 10,
  BPF_CGROUP_INET6_CONNECT: 11,
  BPF_CGROUP_INET4_POST_BIND: 12,
  BPF_CGROUP_INET6_POST_BIND: 13,
  BPF_CGROUP_UDP4_SENDMSG: 14,
  BPF_CGROUP_UDP6_SENDMSG: 15,
  BPF_LIRC_MODE2: 16,
  BPF_FLOW_DISSECTOR: 17,
  BPF_CGROUP_SYSCTL: 18,
  BPF_CGROUP_UDP4_RECVMSG: 19,
  BPF_CGROUP_UDP6_RECVMSG: 20,
  BPF_CGROUP_GETSOCKOPT: 21,
  BPF_CGROUP_SETSOCKOPT: 22,
  BPF_TRACE_RAW_TP: 23,
  BPF_TRACE_FENTRY: 24,
  BPF_TRACE_FEXIT: 25,
  BPF_MODIFY_RETURN: 26,
  BPF_LSM_MAC: 27,
  BPF_TRACE_ITER: 28,
  BPF_CGROUP_INET4_GETPEERNAME: 29,
  BPF_CGROUP_INET6_GETPEERNAME: 30,
  BPF_CGROUP_INET4_GETSOCKNAME: 31,
  BPF_CGROUP_INET6_GETSOCKNAME: 32,
  BPF_XDP_DEVMAP: 33,
  BPF_CGROUP_INET_SOCK_RELEASE: 34,
  BPF_XDP_CPUMAP: 35,
  BPF_SK_LOOKUP: 36,
  BPF_XDP: 37,
  BPF_SK_SKB_VERDICT: 38,
  BPF_SK_REUSEPORT_SELECT: 39,
  BPF_SK_REUSEPORT_SELECT_OR_MIGRATE: 40,
  BPF_PERF_EVENT: 41,
  BPF_TRACE_KPROBE_MULTI: 42,
  BPF_LSM_CGROUP: 43,
  BPF_STRUCT_OPS: 44,
  BPF_NETFILTER: 45,
  BPF_TCX_INGRESS: 46,
  BPF_TCX_EGRESS: 47,
  BPF_TRACE_UPROBE_MULTI: 48,
  BPF_CGROUP_UNIX_CONNECT: 49,
  BPF_CGROUP_UNIX_SENDMSG: 50,
  BPF_CGROUP_UNIX_RECVMSG: 51,
  BPF_CGROUP_UNIX_GETPEERNAME: 52,
  BPF_CGROUP_UNIX_GETSOCKNAME: 53,
  BPF_NETKIT_PRIMARY: 54,
  BPF_NETKIT_PEER: 55,
  BPF_TRACE_KPROBE_SESSION: 56,
  BPF_TRACE_UPROBE_SESSION: 57,
  BPF_TRACE_FSESSION: 58,
  BPF_TRACE_FENTRY_MULTI: 59,
  BPF_TRACE_FEXIT_MULTI: 60,
  BPF_TRACE_FSESSION_MULTI: 61
} as const

/** `enum bpf_link_type`. */
export const LinkType = {
  BPF_LINK_TYPE_UNSPEC: 0,
  BPF_LINK_TYPE_RAW_TRACEPOINT: 1,
  BPF_LINK_TYPE_TRACING: 2,
  BPF_LINK_TYPE_CGROUP: 3,
  BPF_LINK_TYPE_ITER: 4,
  BPF_LINK_TYPE_NETNS: 5,
  BPF_LINK_TYPE_XDP: 6,
  BPF_LINK_TYPE_PERF_EVENT: 7,
  BPF_LINK_TYPE_KPROBE_MULTI: 8,
  BPF_LINK_TYPE_STRUCT_OPS: 9,
  BPF_LINK_TYPE_NETFILTER: 10,
  BPF_LINK_TYPE_TCX: 11,
  BPF_LINK_TYPE_UPROBE_MULTI: 12,
  BPF_LINK_TYPE_NETKIT: 13,
  BPF_LINK_TYPE_SOCKMAP: 14,
  BPF_LINK_TYPE_TRACING_MULTI: 15
} as const

/** Flags of `BPF_MAP_CREATE` (`map_flags`). */
export const MapFlag = {
  BPF_F_NO_PREALLOC: 1,
  BPF_F_NO_COMMON_LRU: 2,
  BPF_F_NUMA_NODE: 4,
  BPF_F_RDONLY: 8,
  BPF_F_WRONLY: 0x10,
  BPF_F_STACK_BUILD_ID: 0x20,
  BPF_F_ZERO_SEED: 0x40,
  BPF_F_RDONLY_PROG: 0x80,
  BPF_F_WRONLY_PROG: 0x100,
  BPF_F_CLONE: 0x200,
  BPF_F_MMAPABLE: 0x400,
  BPF_F_PRESERVE_ELEMS: 0x800,
  BPF_F_INNER_MAP: 0x1000,
  BPF_F_LINK: 0x2000,
  BPF_F_PATH_FD: 0x4000,
  BPF_F_VTYPE_BTF_OBJ_FD: 0x8000,
  BPF_F_TOKEN_FD: 0x10000,
  BPF_F_SEGV_ON_FAULT: 0x20000,
  BPF_F_NO_USER_CONV: 0x40000,
  BPF_F_RB_OVERWRITE: 0x80000
} as const

/** Flags of element commands (`flags`). With `BPF_F_CPU` the upper 32 bits hold the number of the CPU. */
export const ElementFlag = {
  BPF_ANY: 0n,
  BPF_NOEXIST: 1n,
  BPF_EXIST: 2n,
  BPF_F_LOCK: 4n,
  BPF_F_CPU: 8n,
  BPF_F_ALL_CPUS: 16n
} as const

/** Flags of `BPF_PROG_LOAD` (`prog_flags`). */
export const ProgFlag = {
  BPF_F_STRICT_ALIGNMENT: 1,
  BPF_F_ANY_ALIGNMENT: 2,
  BPF_F_TEST_RND_HI32: 4,
  BPF_F_TEST_STATE_FREQ: 8,
  BPF_F_SLEEPABLE: 0x10,
  BPF_F_XDP_HAS_FRAGS: 0x20,
  BPF_F_XDP_DEV_BOUND_ONLY: 0x40,
  BPF_F_TEST_REG_INVARIANTS: 0x80,
  BPF_F_TOKEN_FD: 0x10000
} as const

/** Flags of `BPF_PROG_ATTACH` and of links with an order (`attach_flags`, `link_create.flags`). */
export const AttachFlag = {
  BPF_F_ALLOW_OVERRIDE: 0x1,
  BPF_F_ALLOW_MULTI: 0x2,
  BPF_F_REPLACE: 0x4,
  BPF_F_BEFORE: 0x8,
  BPF_F_AFTER: 0x10,
  BPF_F_ID: 0x20,
  BPF_F_PREORDER: 0x40,
  BPF_F_LINK: 0x2000
} as const

/** Flags of `BPF_LINK_CREATE` for multi-probes and netfilter. */
export const LinkFlag = {
  BPF_F_KPROBE_MULTI_RETURN: 0x1,
  BPF_F_UPROBE_MULTI_RETURN: 0x1,
  BPF_F_UPROBE_MULTI_PATH_FD: 0x2,
  BPF_F_NETFILTER_IP_DEFRAG: 0x1
} as const

/** Flags of `BPF_PROG_TEST_RUN` (`test.flags`). */
export const TestRunFlag = {
  BPF_F_TEST_RUN_ON_CPU: 0x1,
  BPF_F_TEST_XDP_LIVE_FRAMES: 0x2,
  BPF_F_TEST_SKB_CHECKSUM_COMPLETE: 0x4
} as const

/** Bits of the verifier's `log_level`. */
export const LogLevel = {
  BPF_LOG_LEVEL1: 1,
  BPF_LOG_LEVEL2: 2,
  BPF_LOG_STATS: 4
} as const

/** Bytes of a map's or program's name, the closing NUL included. */
export const BPF_OBJ_NAME_LEN = 16

/** Bytes of a program's tag. */
export const BPF_TAG_SIZE = 8

/** What statfs(2) reports as the type of a bpf file system. */
export const BPF_FS_MAGIC = 0xcafe4a11

/** The largest log buffer that the verifier accepts, bytes. */
export const BPF_LOG_BUF_MAX = 0x3fff_ffff

/** How often `BPF_PROG_LOAD` is tried when the verifier was disturbed (`EAGAIN`). */
export const PROG_LOAD_ATTEMPTS = 5

/** The name of a `BPF_MAP_TYPE_*`. */
export type MapTypeSymbol = keyof typeof MapType

/** The name of a `BPF_PROG_TYPE_*`. */
export type ProgTypeSymbol = keyof typeof ProgType

/** The name of an attach type. */
export type AttachTypeSymbol = keyof typeof AttachType

/** The name of a `BPF_LINK_TYPE_*`. */
export type LinkTypeSymbol = keyof typeof LinkType

type Table = Readonly<Record<string, number>>

interface Names {
  readonly nameOf: (value: number) => string
  readonly byName: (name: string) => number | undefined
}

/** Both directions between a table's numbers and bpftool's names: the kernel's without their prefix, in lower case. */
const namesOf = (table: Table, prefix: string, unknown: string): Names => {
  const byValue = new Map<number, string>()
  const values = new Map<string, number>()
  for (const [symbol, value] of Object.entries(table)) {
    const name = symbol.slice(prefix.length).toLowerCase()
    byValue.set(value, name)
    values.set(name, value)
  }
  return { nameOf: (value) => byValue.get(value) ?? `${unknown} ${value}`, byName: (name) => values.get(name) }
}

const mapTypes = namesOf(MapType, "BPF_MAP_TYPE_", "type")
const progTypes = namesOf(ProgType, "BPF_PROG_TYPE_", "type")
const attachTypes = namesOf(AttachType, "BPF_", "attach type")
const linkTypes = namesOf(LinkType, "BPF_LINK_TYPE_", "type")

/** A map type as bpftool prints it: `ringbuf` for 27; `type 99` for one that is not known here. */
export const mapTypeName = (type: number): string => mapTypes.nameOf(type)

/** The map type of a name as bpftool spells it. */
export const mapTypeByName = (name: string): number | undefined => mapTypes.byName(name)

/** A program type as bpftool prints it: `sched_cls` for 3; `type 99` for one that is not known here. */
export const progTypeName = (type: number): string => progTypes.nameOf(type)

/** The program type of a name as bpftool spells it. */
export const progTypeByName = (name: string): number | undefined => progTypes.byName(name)

/** An attach type as bpftool prints it: `cgroup_inet_ingress` for 0; `attach type 99` for one that is not known here. */
export const attachTypeName = (type: number): string => attachTypes.nameOf(type)

/** The attach type of a name as bpftool spells it. */
export const attachTypeByName = (name: string): number | undefined => attachTypes.byName(name)

/** A link type as bpftool prints it: `kprobe_multi` for 8; `type 99` for one that is not known here. */
export const linkTypeName = (type: number): string => linkTypes.nameOf(type)

/** The link type of a name as bpftool spells it. */
export const linkTypeByName = (name: string): number | undefined => linkTypes.byName(name)
