/**
 * What a section's name says about the programs in it: the SEC() definitions.
 *
 * The table is libbpf's vocabulary as data (names, program types and attach types are facts of the kernel and of what
 * BPF programs are written with). A pattern ending in `+` stands for the name itself and for the name followed by `/`
 * and anything; one ending in `/` for anything after it; every other pattern for exactly itself. The order is the order
 * in which patterns are tried.
 */
import { ProgFlag } from "../../services/Kernel/abi/BpfConstants.ts"

/** What a definition asks of loading beyond the two types. */
export interface SectionFlags {
  /** `expected_attach_type` is optional: sent as 0 to kernels that do not know the field. */
  readonly optionalAttachType: boolean
  /** The program is for one kernel function, tracepoint or hook, which must be found in BTF before it can be loaded. */
  readonly attachBtf: boolean
  /** The program may sleep: `BPF_F_SLEEPABLE`. */
  readonly sleepable: boolean
  /** The program can deal with packets in several buffers: `BPF_F_XDP_HAS_FRAGS`. */
  readonly xdpFrags: boolean
  /** A USDT program: attached through uprobe.multi where the kernel has it. */
  readonly usdt: boolean
}

/** The routine that attaches a program of a section by itself. */
export type AutoAttach =
  | "kprobe"
  | "uprobe"
  | "kprobe_multi"
  | "kprobe_session"
  | "uprobe_multi"
  | "ksyscall"
  | "usdt"
  | "tp"
  | "raw_tp"
  | "trace"
  | "tracing_multi"
  | "lsm"
  | "iter"
  | "none"

/** One definition. */
export interface SectionDefinition {
  /** The name or pattern; `undefined` is a fallback that takes every section no other definition takes. */
  readonly pattern: string | undefined
  /** `BPF_PROG_TYPE_*` */
  readonly programType: number
  /** `BPF_*` attach type, 0 where there is none. */
  readonly expectedAttachType: number
  readonly flags: SectionFlags
  readonly autoAttach: AutoAttach
}

/** No flag at all. */
export const noFlags: SectionFlags = {
  optionalAttachType: false,
  attachBtf: false,
  sleepable: false,
  xdpFrags: false,
  usdt: false
}

/** Letters of the table: O optional attach type, B attach BTF, S sleepable, F XDP frags, U USDT. */
const define = (
  pattern: string,
  programType: number,
  expectedAttachType: number,
  letters: string,
  autoAttach: AutoAttach
): SectionDefinition => ({
  pattern,
  programType,
  expectedAttachType,
  flags: {
    optionalAttachType: letters.includes("O"),
    attachBtf: letters.includes("B"),
    sleepable: letters.includes("S"),
    xdpFrags: letters.includes("F"),
    usdt: letters.includes("U")
  },
  autoAttach
})

/** Every definition that is built in, in matching order. */
export const builtIn: ReadonlyArray<SectionDefinition> = [
  define("socket", 1, 0, "", "none"),
  define("sk_reuseport/migrate", 21, 40, "", "none"),
  define("sk_reuseport", 21, 39, "", "none"),
  define("kprobe+", 2, 0, "", "kprobe"),
  define("uprobe+", 2, 0, "", "uprobe"),
  define("uprobe.s+", 2, 0, "S", "uprobe"),
  define("kretprobe+", 2, 0, "", "kprobe"),
  define("uretprobe+", 2, 0, "", "uprobe"),
  define("uretprobe.s+", 2, 0, "S", "uprobe"),
  define("kprobe.multi+", 2, 42, "", "kprobe_multi"),
  define("kretprobe.multi+", 2, 42, "", "kprobe_multi"),
  define("kprobe.session+", 2, 56, "", "kprobe_session"),
  define("uprobe.multi+", 2, 48, "", "uprobe_multi"),
  define("uretprobe.multi+", 2, 48, "", "uprobe_multi"),
  define("uprobe.session+", 2, 57, "", "uprobe_multi"),
  define("uprobe.multi.s+", 2, 48, "S", "uprobe_multi"),
  define("uretprobe.multi.s+", 2, 48, "S", "uprobe_multi"),
  define("uprobe.session.s+", 2, 57, "S", "uprobe_multi"),
  define("ksyscall+", 2, 0, "", "ksyscall"),
  define("kretsyscall+", 2, 0, "", "ksyscall"),
  define("usdt+", 2, 0, "U", "usdt"),
  define("usdt.s+", 2, 0, "US", "usdt"),
  define("tc/ingress", 3, 46, "", "none"),
  define("tc/egress", 3, 47, "", "none"),
  define("tcx/ingress", 3, 46, "", "none"),
  define("tcx/egress", 3, 47, "", "none"),
  define("tc", 3, 0, "", "none"),
  define("classifier", 3, 0, "", "none"),
  define("action", 4, 0, "", "none"),
  define("netkit/primary", 3, 54, "", "none"),
  define("netkit/peer", 3, 55, "", "none"),
  define("tracepoint+", 5, 0, "", "tp"),
  define("tp+", 5, 0, "", "tp"),
  define("tracepoint.s+", 5, 0, "S", "tp"),
  define("tp.s+", 5, 0, "S", "tp"),
  define("raw_tracepoint+", 17, 0, "", "raw_tp"),
  define("raw_tp+", 17, 0, "", "raw_tp"),
  define("raw_tracepoint.s+", 17, 0, "S", "raw_tp"),
  define("raw_tp.s+", 17, 0, "S", "raw_tp"),
  define("raw_tracepoint.w+", 24, 0, "", "raw_tp"),
  define("raw_tp.w+", 24, 0, "", "raw_tp"),
  define("tp_btf+", 26, 23, "B", "trace"),
  define("tp_btf.s+", 26, 23, "BS", "trace"),
  define("fentry+", 26, 24, "B", "trace"),
  define("fmod_ret+", 26, 26, "B", "trace"),
  define("fexit+", 26, 25, "B", "trace"),
  define("fentry.s+", 26, 24, "BS", "trace"),
  define("fmod_ret.s+", 26, 26, "BS", "trace"),
  define("fexit.s+", 26, 25, "BS", "trace"),
  define("fsession+", 26, 58, "B", "trace"),
  define("fsession.s+", 26, 58, "BS", "trace"),
  define("fsession.multi+", 26, 61, "", "tracing_multi"),
  define("fsession.multi.s+", 26, 61, "S", "tracing_multi"),
  define("fentry.multi+", 26, 59, "", "tracing_multi"),
  define("fexit.multi+", 26, 60, "", "tracing_multi"),
  define("fentry.multi.s+", 26, 59, "S", "tracing_multi"),
  define("fexit.multi.s+", 26, 60, "S", "tracing_multi"),
  define("freplace+", 28, 0, "B", "trace"),
  define("lsm+", 29, 27, "B", "lsm"),
  define("lsm.s+", 29, 27, "BS", "lsm"),
  define("lsm_cgroup+", 29, 43, "B", "none"),
  define("iter+", 26, 28, "B", "iter"),
  define("iter.s+", 26, 28, "BS", "iter"),
  define("syscall", 31, 0, "S", "none"),
  define("xdp.frags/devmap", 6, 33, "F", "none"),
  define("xdp/devmap", 6, 33, "", "none"),
  define("xdp.frags/cpumap", 6, 35, "F", "none"),
  define("xdp/cpumap", 6, 35, "", "none"),
  define("xdp.frags", 6, 37, "F", "none"),
  define("xdp", 6, 37, "O", "none"),
  define("perf_event", 7, 0, "", "none"),
  define("lwt_in", 10, 0, "", "none"),
  define("lwt_out", 11, 0, "", "none"),
  define("lwt_xmit", 12, 0, "", "none"),
  define("lwt_seg6local", 19, 0, "", "none"),
  define("sockops", 13, 3, "O", "none"),
  define("sk_skb/stream_parser", 14, 4, "O", "none"),
  define("sk_skb/stream_verdict", 14, 5, "O", "none"),
  define("sk_skb/verdict", 14, 38, "O", "none"),
  define("sk_skb", 14, 0, "", "none"),
  define("sk_msg", 16, 7, "O", "none"),
  define("lirc_mode2", 20, 16, "O", "none"),
  define("flow_dissector", 22, 17, "O", "none"),
  define("cgroup_skb/ingress", 8, 0, "O", "none"),
  define("cgroup_skb/egress", 8, 1, "O", "none"),
  define("cgroup/skb", 8, 0, "", "none"),
  define("cgroup/sock_create", 9, 2, "", "none"),
  define("cgroup/sock_release", 9, 34, "", "none"),
  define("cgroup/sock", 9, 2, "O", "none"),
  define("cgroup/post_bind4", 9, 12, "", "none"),
  define("cgroup/post_bind6", 9, 13, "", "none"),
  define("cgroup/bind4", 18, 8, "", "none"),
  define("cgroup/bind6", 18, 9, "", "none"),
  define("cgroup/connect4", 18, 10, "", "none"),
  define("cgroup/connect6", 18, 11, "", "none"),
  define("cgroup/connect_unix", 18, 49, "", "none"),
  define("cgroup/sendmsg4", 18, 14, "", "none"),
  define("cgroup/sendmsg6", 18, 15, "", "none"),
  define("cgroup/sendmsg_unix", 18, 50, "", "none"),
  define("cgroup/recvmsg4", 18, 19, "", "none"),
  define("cgroup/recvmsg6", 18, 20, "", "none"),
  define("cgroup/recvmsg_unix", 18, 51, "", "none"),
  define("cgroup/getpeername4", 18, 29, "", "none"),
  define("cgroup/getpeername6", 18, 30, "", "none"),
  define("cgroup/getpeername_unix", 18, 52, "", "none"),
  define("cgroup/getsockname4", 18, 31, "", "none"),
  define("cgroup/getsockname6", 18, 32, "", "none"),
  define("cgroup/getsockname_unix", 18, 53, "", "none"),
  define("cgroup/sysctl", 23, 18, "", "none"),
  define("cgroup/getsockopt", 25, 21, "", "none"),
  define("cgroup/setsockopt", 25, 22, "", "none"),
  define("cgroup/dev", 15, 6, "O", "none"),
  define("struct_ops+", 27, 0, "", "none"),
  define("struct_ops.s+", 27, 0, "S", "none"),
  define("sk_lookup", 30, 36, "", "none"),
  define("netfilter", 32, 45, "", "none")
]

/** Whether a definition takes a section of this name (without a leading `?`). */
export const matches = (definition: SectionDefinition, section: string): boolean => {
  const { pattern } = definition
  if (pattern === undefined) return true
  if (pattern.endsWith("+")) {
    const name = pattern.slice(0, -1)
    return section.startsWith(name) && (section.length === name.length || section[name.length] === "/")
  }
  return pattern.endsWith("/") ? section.startsWith(pattern) : section === pattern
}

/**
 * The definition of a section: the user's own in their order, then the built-in ones, then the user's fallback.
 * `undefined` where nothing fits; such a program cannot be loaded before it is given a type.
 */
export const find = (
  section: string,
  own: ReadonlyArray<SectionDefinition> = []
): SectionDefinition | undefined =>
  own.find((definition) => definition.pattern !== undefined && matches(definition, section)) ??
    builtIn.find((definition) => matches(definition, section)) ??
    own.find((definition) => definition.pattern === undefined)

/** The load flags that a definition asks for: `BPF_F_*`. */
export const programFlags = (definition: SectionDefinition): number =>
  (definition.flags.sleepable ? ProgFlag.BPF_F_SLEEPABLE : 0) |
  (definition.flags.xdpFrags ? ProgFlag.BPF_F_XDP_HAS_FRAGS : 0)

/** What stands after the first `/` of a section's name: the hook, function or tracepoint that it names. */
export const targetOf = (section: string): string | undefined => {
  const slash = section.indexOf("/")
  return slash < 0 ? undefined : section.slice(slash + 1)
}
