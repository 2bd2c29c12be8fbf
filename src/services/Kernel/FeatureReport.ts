/**
 * All that can be said of what a kernel supports: what `feature probe` prints, as a value.
 *
 * What was not found out is not in a report: a kernel that only a profile tells of is known less well than one that runs.
 *
 * Sources: reference page `features`, sections 1 to 4; `bpftool feature probe`.
 */
import type { AttachTypeSymbol } from "./abi/BpfConstants.ts"
import type { Errno } from "./abi/Errno.ts"
import type { Feature, Support } from "./Feature.ts"

/** Something of the verifier that a program shows; bpftool calls these miscellaneous. */
export type Misc = "LargeInsnLimit" | "BoundedLoops" | "IsaV2" | "IsaV3" | "IsaV4"

/** What is known of each. */
export const misc: Readonly<Record<Misc, { readonly name: string; readonly description: string }>> = {
  LargeInsnLimit: { name: "large_insn_limit", description: "programs of more than 4096 instructions" },
  BoundedLoops: { name: "bounded_loops", description: "loops that the verifier follows to their end" },
  IsaV2: { name: "v2_isa_extension", description: "instruction set version 2: comparisons with less than" },
  IsaV3: { name: "v3_isa_extension", description: "instruction set version 3: comparisons of 32 bits" },
  IsaV4: { name: "v4_isa_extension", description: "instruction set version 4: long jumps and signed division" }
}

/** The list of them. */
export const miscs: ReadonlyArray<Misc> = ["LargeInsnLimit", "BoundedLoops", "IsaV2", "IsaV3", "IsaV4"]

/** A number in `/proc/sys` that says how bpf(2) may be used or how programs are compiled. */
export interface Setting {
  /** The name of the file. */
  readonly name: string
  /** `undefined` where it could not be read; `errno` says why. */
  readonly value: number | undefined
  readonly errno?: Errno
}

/** Which helpers programs of a type may call. */
export type HelperAnswers =
  /** By the helpers' ids. */
  | { readonly _tag: "Probed"; readonly answers: ReadonlyMap<number, Support> }
  /** Programs of this type cannot be asked for without a target. */
  | { readonly _tag: "Undetermined"; readonly why: string }
  /** There are no programs of this type, or the kernel would not say. */
  | { readonly _tag: "NoPrograms"; readonly because: Support }

/** What a kernel supports. */
export interface FeatureReport {
  readonly release: string
  readonly architecture: string
  readonly settings: ReadonlyArray<Setting>
  /** Options of the kernel's configuration that matter to BPF; `undefined` where the configuration is not known. */
  readonly kconfig: ReadonlyMap<string, string | undefined> | undefined
  /** Why the configuration is not known. */
  readonly kconfigProblem?: string
  /** bpf(2) itself; `undefined` where nothing is known of it. */
  readonly syscall: Support | undefined
  /** By `BPF_PROG_TYPE_*`. */
  readonly programTypes: ReadonlyMap<number, Support>
  /** By `BPF_MAP_TYPE_*`. */
  readonly mapTypes: ReadonlyMap<number, Support>
  readonly attachTypes: ReadonlyMap<AttachTypeSymbol, Support>
  /** By `BPF_PROG_TYPE_*`; empty where helpers were not asked for. */
  readonly helpers: ReadonlyMap<number, HelperAnswers>
  readonly features: ReadonlyMap<Feature, Support>
  readonly misc: ReadonlyMap<Misc, Support>
}

/** The options of the kernel's configuration that matter to BPF, in bpftool's order; at the end some that it has not. */
export const kconfigKeys: ReadonlyArray<string> = [
  "CONFIG_BPF",
  "CONFIG_BPF_SYSCALL",
  "CONFIG_HAVE_EBPF_JIT",
  "CONFIG_BPF_JIT",
  "CONFIG_BPF_JIT_ALWAYS_ON",
  "CONFIG_DEBUG_INFO_BTF",
  "CONFIG_DEBUG_INFO_BTF_MODULES",
  "CONFIG_CGROUPS",
  "CONFIG_CGROUP_BPF",
  "CONFIG_CGROUP_NET_CLASSID",
  "CONFIG_SOCK_CGROUP_DATA",
  "CONFIG_BPF_EVENTS",
  "CONFIG_KPROBE_EVENTS",
  "CONFIG_UPROBE_EVENTS",
  "CONFIG_TRACING",
  "CONFIG_FTRACE_SYSCALLS",
  "CONFIG_FUNCTION_ERROR_INJECTION",
  "CONFIG_BPF_KPROBE_OVERRIDE",
  "CONFIG_NET",
  "CONFIG_XDP_SOCKETS",
  "CONFIG_LWTUNNEL_BPF",
  "CONFIG_NET_ACT_BPF",
  "CONFIG_NET_CLS_BPF",
  "CONFIG_NET_CLS_ACT",
  "CONFIG_NET_SCH_INGRESS",
  "CONFIG_XFRM",
  "CONFIG_IP_ROUTE_CLASSID",
  "CONFIG_IPV6_SEG6_BPF",
  "CONFIG_BPF_LIRC_MODE2",
  "CONFIG_BPF_STREAM_PARSER",
  "CONFIG_NETFILTER_XT_MATCH_BPF",
  "CONFIG_BPFILTER",
  "CONFIG_BPFILTER_UMH",
  "CONFIG_TEST_BPF",
  "CONFIG_HZ",
  "CONFIG_BPF_LSM",
  "CONFIG_FPROBE",
  "CONFIG_FUNCTION_TRACER",
  "CONFIG_NETFILTER_BPF_LINK",
  "CONFIG_NETKIT",
  "CONFIG_SCHED_CLASS_EXT"
]

/** Those of the kernel's options that matter to BPF. */
export const kconfigOf = (options: ReadonlyMap<string, string>): ReadonlyMap<string, string | undefined> =>
  new Map(kconfigKeys.map((key) => [key, options.get(key)]))
