/**
 * The features of a kernel that decide how an object is loaded, and what a kernel answers when it is asked for one.
 *
 * Source: reference page `features`, section 1. In which version a feature came is told for people: distributions move
 * features between versions, so nothing is ever decided by a version, only by trying.
 */
import type { Errno } from "./abi/Errno.ts"

/** What is known of a feature on every kernel. */
export interface FeatureDescription {
  /** The name under which libbpf probes for it, without its `FEAT_`. */
  readonly name: string
  /** The first version of Linux that has it, where that is known. For people alone. */
  readonly since: string | undefined
  /** What a kernel with it does, as a phrase. */
  readonly description: string
}

/** Every feature, in libbpf's order. */
const table = {
  ProgName: { name: "PROG_NAME", since: "4.15", description: "names of programs and maps" },
  GlobalData: { name: "GLOBAL_DATA", since: "5.2", description: "loads and stores at an address within a map's value" },
  Btf: { name: "BTF", since: "4.18", description: "BTF can be loaded" },
  BtfFunc: { name: "BTF_FUNC", since: "5.0", description: "functions and their prototypes in BTF" },
  BtfDatasec: { name: "BTF_DATASEC", since: "5.2", description: "variables and data sections in BTF" },
  BtfGlobalFunc: {
    name: "BTF_GLOBAL_FUNC",
    since: "5.6",
    description: "global functions in BTF, verified by themselves"
  },
  ArrayMmap: { name: "ARRAY_MMAP", since: "5.5", description: "arrays that can be mapped into memory" },
  ExpectedAttachType: {
    name: "EXP_ATTACH_TYPE",
    since: "4.17",
    description: "programs are told at their load where they will be attached"
  },
  ProbeReadKernel: {
    name: "PROBE_READ_KERN",
    since: "5.5",
    description: "bpf_probe_read_kernel() and bpf_probe_read_user(), apart from bpf_probe_read()"
  },
  ProgBindMap: { name: "PROG_BIND_MAP", since: "5.10", description: "maps that live as long as a program" },
  ModuleBtf: { name: "MODULE_BTF", since: "5.11", description: "BTF objects with names, as modules have them" },
  BtfFloat: { name: "BTF_FLOAT", since: "5.13", description: "floating-point numbers in BTF" },
  PerfLink: { name: "PERF_LINK", since: "5.15", description: "links to perf events" },
  BtfDeclTag: { name: "BTF_DECL_TAG", since: "5.16", description: "tags of declarations in BTF" },
  BtfTypeTag: { name: "BTF_TYPE_TAG", since: "5.17", description: "tags of types in BTF" },
  MemcgAccount: {
    name: "MEMCG_ACCOUNT",
    since: "5.11",
    description: "memory of maps and programs is charged to the cgroup; no limit on locked memory"
  },
  BpfCookie: { name: "BPF_COOKIE", since: "5.15", description: "bpf_get_attach_cookie()" },
  BtfEnum64: { name: "BTF_ENUM64", since: "6.0", description: "enumerations of 64 bits in BTF" },
  SyscallWrapper: {
    name: "SYSCALL_WRAPPER",
    since: "4.17",
    description: "system calls behind wrappers, such as __x64_sys_bpf()"
  },
  UprobeMultiLink: { name: "UPROBE_MULTI_LINK", since: "6.6", description: "one link to many places of a file" },
  ArgCtxTag: { name: "ARG_CTX_TAG", since: "6.8", description: "arguments of global functions marked as the context" },
  BtfQmarkDatasec: { name: "BTF_QMARK_DATASEC", since: "6.9", description: "data sections whose name begins with ?" },
  Ldimm64FullRangeOffset: {
    name: "LDIMM64_FULL_RANGE_OFF",
    since: undefined,
    description: "addresses within a map's value at offsets of up to 4 GiB"
  },
  UprobeSyscall: { name: "UPROBE_SYSCALL", since: "6.18", description: "uprobes that are entered by a system call" },
  BtfLayout: { name: "BTF_LAYOUT", since: undefined, description: "BTF that tells the sizes of its kinds" },
  CommonAttrs: {
    name: "BPF_SYSCALL_COMMON_ATTRS",
    since: undefined,
    description: "bpf(2) explains in a log what it refuses, whatever the command"
  }
} as const satisfies Readonly<Record<string, FeatureDescription>>

/** The name of a feature. */
export type Feature = keyof typeof table

/** What is known of each feature, in libbpf's order. */
export const descriptions: Readonly<Record<Feature, FeatureDescription>> = table

/** Whether a text is the name of a feature. */
export const isFeature = (name: string): name is Feature => Object.hasOwn(table, name)

/** All of them, in libbpf's order. */
export const features: ReadonlyArray<Feature> = Object.keys(table).filter(isFeature)

/** Major and minor number of a release; `undefined` where the text does not begin with two numbers. */
const versionOf = (release: string): readonly [major: number, minor: number] | undefined => {
  const [, major, minor] = /^(\d+)\.(\d+)(?!\d)/.exec(release) ?? []
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)]
}

/**
 * Whether a release of Linux, as `5.4` or `6.1.0-47-cloud-amd64`, is one of those that have a feature as they are published.
 * `undefined` where the release is no version, or where it is not known in which one the feature came. It is told to people
 * and makes kernels that exist nowhere; what is known of a real one is never replaced by it.
 */
export const inRelease = (feature: Feature, release: string): boolean | undefined => {
  const { since } = descriptions[feature]
  const first = since === undefined ? undefined : versionOf(since)
  const version = versionOf(release)
  if (first === undefined || version === undefined) return undefined
  return version[0] > first[0] || (version[0] === first[0] && version[1] >= first[1])
}

/**
 * The features of a release of Linux by the versions in which they came, for a simulated kernel; a feature whose version is
 * not known is newer than all that are. `undefined` where the text is no version. Distributions move features between
 * versions and configurations leave some out, so a kernel of this release may have others.
 */
export const ofRelease = (release: string): Readonly<Record<Feature, boolean>> | undefined => {
  if (versionOf(release) === undefined) return undefined
  const found: Partial<Record<Feature, boolean>> = {}
  for (const feature of features) found[feature] = inRelease(feature, release) ?? false
  // Every feature has been given its answer.
  return found as Readonly<Record<Feature, boolean>>
}

/** The features that concern what BTF a kernel takes. */
export const btfFeatures: ReadonlyArray<Feature> = features.filter((feature) => feature.startsWith("Btf"))

/**
 * Whether a kernel has something. `Refused`: it would not say, for lack of rights (`EPERM`, `EACCES`) or because something
 * else was in the way at that time (`ENOMEM`, `EAGAIN`, `EMFILE`); asked again, or by someone else, it may answer.
 */
export type Support =
  | { readonly _tag: "Supported" }
  /** `why` is the kernel's word for it, where it has one: the line of a log, or the name of an error. */
  | { readonly _tag: "Unsupported"; readonly why?: string }
  /** `why` is a phrase of what would help. */
  | { readonly _tag: "Refused"; readonly errno: Errno; readonly why: string }

/** The kernel has it. */
export const supported: Support = { _tag: "Supported" }

/** The kernel does not have it. */
export const unsupported = (why?: string): Support =>
  why === undefined ? { _tag: "Unsupported" } : { _tag: "Unsupported", why }

/** The kernel would not say. */
export const refused = (errno: Errno, why: string): Support => ({ _tag: "Refused", errno, why })

/** An answer from a yes or no, as options give it. */
export const supportOf = (has: boolean | Support): Support =>
  typeof has !== "boolean" ? has : has ? supported : unsupported()

/** The answer as yes or no; `undefined` where there is none. */
export const hasIt = (support: Support): boolean | undefined =>
  support._tag === "Refused" ? undefined : support._tag === "Supported"

/** Whether a value is an answer; facts of a kernel are values of many types. */
export const isSupport = (value: unknown): value is Support =>
  typeof value === "object" && value !== null && "_tag" in value &&
  (value._tag === "Supported" || value._tag === "Unsupported" || value._tag === "Refused")

/** An answer in words: `supported`, `not supported`, `refused (EPERM)`. */
export const supportText = (support: Support): string => {
  switch (support._tag) {
    case "Supported":
      return "supported"
    case "Unsupported":
      return "not supported"
    case "Refused":
      return `refused (${support.errno})`
  }
}
