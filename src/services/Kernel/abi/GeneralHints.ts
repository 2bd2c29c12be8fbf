/**
 * What an error number of bpf(2) most likely means whatever the call was.
 *
 * Sources: `kernel/bpf/syscall.c`; reference page `peers`, section 5.
 */
import type { Errno } from "./Errno.ts"

/** A hint for an error of a call. */
export type Hint = (errno: Errno) => string | undefined

/** What to do about a lack of rights. */
export const permission =
  "run as root, or give the process CAP_BPF and, for the type at hand, CAP_PERFMON, CAP_NET_ADMIN or CAP_SYS_ADMIN; " +
  "containers and seccomp filters take them away, and so does kernel lockdown. Before Linux 5.11 the limit on locked " +
  "memory can be the cause as well: ulimit -l unlimited"

/** What an error number means whatever the call was. */
export const general: Hint = (errno) => {
  switch (errno) {
    case "EPERM":
      return permission
    case "EACCES":
      return "a security policy refused it, or the map is read-only for user space"
    case "EBADF":
      return "a descriptor that the call names is none of a BPF object: it was closed meanwhile, or is something else"
    case "EFAULT":
      return "the kernel could not read or write memory of this process that the call names: please report it"
    case "EINTR":
    case "EAGAIN":
      return "the call was disturbed again and again: repeat it"
    case "EBUSY":
      return "another process or call is using the object: repeat the call"
    case "EINVAL":
      return "this kernel does not take one of the call's arguments, or does not know the call: see `feature probe`"
    case "ENODEV":
      return "the device that the object is for is gone"
    case "ENOSYS":
      return "this kernel was built without CONFIG_BPF_SYSCALL, or a seccomp filter hides bpf(2)"
    case "ENOMEM":
      return "the kernel has no memory for it: ask for fewer or smaller elements, or raise the memory limit of the cgroup"
    case "EMFILE":
    case "ENFILE":
      return "too many open descriptors: raise the limit (ulimit -n), or close what is not needed"
    case "ENOTSUPP":
    case "EOPNOTSUPP":
      return "this kernel does not support it: see `feature probe`"
    default:
      return undefined
  }
}

/** Hints for these errors, and those of another for the others. */
export const either = (others: Hint, own: Readonly<Partial<Record<Errno, string>>>): Hint => (errno) =>
  own[errno] ?? others(errno)
