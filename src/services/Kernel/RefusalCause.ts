/**
 * Why a kernel refuses a call, where it is not the verifier that does: the causes, and what to do about each. Errors name their
 * cause where an error number alone does not say it and the machine does.
 *
 * What the verifier refuses programs for is in `diagnostics/VerifierLogCauses`.
 *
 * Sources: `kernel/bpf/syscall.c`, capabilities(7), kernel_lockdown(7), user_namespaces(7); reference page `load`, section 1.1.
 */

/** A cause, as it is known apart from any call. */
export interface RefusalKind {
  readonly id: string
  /** What it is, in a few words. */
  readonly title: string
  /** What to do, in a sentence. */
  readonly advice: string
}

/** All causes. */
export const refusalCauses = [
  {
    id: "MissingCapability",
    title: "capability that the process does not have",
    advice: "run it as root, or give it the capability"
  },
  {
    id: "UnprivilegedDisabled",
    title: "bpf(2) that is for privileged processes alone",
    advice:
      "run it as root, give it CAP_BPF, or set kernel.unprivileged_bpf_disabled=0 on a machine where nobody is hostile"
  },
  {
    id: "MemoryLock",
    title: "limit on locked memory",
    advice: "ulimit -l unlimited: kernels before 5.11 count maps and programs against the limit on locked memory"
  },
  {
    id: "UserNamespace",
    title: "capabilities that are worth nothing outside of a user namespace",
    advice:
      "run it outside, or let it use a BPF token that delegates this (a bpf file system mounted with delegate options)"
  },
  {
    id: "LockedDown",
    title: "kernel that is locked down",
    advice: "boot without lockdown, or without Secure Boot"
  },
  {
    id: "Seccomp",
    title: "seccomp filter",
    advice: "run outside of the container's seccomp profile (docker run --security-opt seccomp=unconfined)"
  },
  {
    id: "Policy",
    title: "policy of this machine",
    advice:
      "ask whoever administers it: a security module (SELinux, AppArmor, an LSM program), or the kernel itself, refuses it"
  },
  {
    id: "MissingKernelTypes",
    title: "types of the kernel",
    advice: "use a kernel that was built with CONFIG_DEBUG_INFO_BTF, as those of distributions are"
  },
  {
    id: "AttachTarget",
    title: "target that this kernel does not have",
    advice: "name another function or type in the section: kernels rename and inline functions from release to release"
  },
  {
    id: "UnknownType",
    title: "type of program or map that this kernel does not have",
    advice: "use a newer kernel, or one that was built with what the type belongs to: see `feature probe`"
  },
  {
    id: "MapAttributes",
    title: "attributes of a map that this kernel does not take",
    advice: "change the attributes that are named"
  },
  {
    id: "NoBpffs",
    title: "path that is in no bpf file system",
    advice: "pin objects in a bpf file system: mount -t bpf bpf /sys/fs/bpf"
  },
  {
    id: "NoMemory",
    title: "memory that the kernel does not have",
    advice: "ask for fewer or smaller elements, or raise the memory limit of the cgroup"
  },
  {
    id: "NoSyscall",
    title: "kernel without bpf(2)",
    advice: "use a kernel that was built with CONFIG_BPF_SYSCALL, as those of distributions are"
  }
] as const satisfies ReadonlyArray<RefusalKind>

/** A cause by its name, which stays the same from release to release. */
export type RefusalReason = (typeof refusalCauses)[number]["id"]

/** The names of all causes. */
export const reasons: ReadonlyArray<RefusalReason> = refusalCauses.map(({ id }) => id)

const kinds: ReadonlyMap<RefusalReason, RefusalKind> = new Map(refusalCauses.map((kind) => [kind.id, kind]))

/** What a cause of this name is. */
export const refusalCause = (reason: RefusalReason): RefusalKind =>
  kinds.get(reason) ?? { id: reason, title: reason, advice: "" }
