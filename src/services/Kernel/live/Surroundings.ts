/**
 * What is known of this process and its kernel that may explain why bpf(2) refuses: capabilities, filters, policies, limits.
 */
import * as Result from "effect/Result"
import type { MemlockLimit } from "../sys/Sys.ts"
import type { Files } from "./Files.ts"

/** What may explain a refusal; `""` for what cannot be read. */
export interface Surroundings {
  /** `/proc/self/status` */
  readonly status: string
  /** `/sys/kernel/security/lockdown` */
  readonly lockdown: string
  /** `/proc/self/uid_map` */
  readonly uidMap?: string
  /** `/proc/sys/kernel/unprivileged_bpf_disabled` */
  readonly unprivilegedDisabled?: string
  /** The limit on locked memory, where this kernel counts maps and programs against it. */
  readonly memlock?: MemlockLimit
}

/** The capabilities that bpf(2) asks for, by their numbers in `linux/capability.h`. */
export const capabilities = { NET_ADMIN: 12n, SYS_ADMIN: 21n, PERFMON: 38n, BPF: 39n } as const

/** A capability's name without `CAP_`. */
export type Capability = keyof typeof capabilities

/** Files of procfs that are read here are far shorter. */
const maximumLength = 65_536

/** Reads what files tell of this process. */
export const read = (files: Files): Surroundings => {
  const text = (path: string): string =>
    Result.getOrElse(
      Result.map(files.read(path, maximumLength), (bytes) => new TextDecoder("latin1").decode(bytes)),
      () => ""
    )
  return {
    status: text("/proc/self/status"),
    lockdown: text("/sys/kernel/security/lockdown"),
    uidMap: text("/proc/self/uid_map"),
    unprivilegedDisabled: text("/proc/sys/kernel/unprivileged_bpf_disabled")
  }
}

/** A field of `/proc/self/status`, `""` where it is not there. */
export const fieldOf = (status: string, name: string): string =>
  new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(status)?.[1] ?? ""

/** The effective capabilities as a mask; `undefined` where they are not known. */
export const effective = (status: string): bigint | undefined => {
  const text = fieldOf(status, "CapEff")
  return /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : undefined
}

/** Whether the process has a capability, in its own user namespace at least. */
export const has = ({ status }: Surroundings, capability: Capability): boolean =>
  ((effective(status) ?? 0n) >> capabilities[capability] & 1n) === 1n

/** Whether the kernel is locked down. */
export const isLockedDown = ({ lockdown }: Surroundings): boolean => /\[(integrity|confidentiality)\]/.test(lockdown)

/** Whether a seccomp filter decides which system calls the process may make. */
export const isFiltered = ({ status }: Surroundings): boolean => fieldOf(status, "Seccomp") === "2"

/** Whether the process is in a user namespace of its own, where capabilities are worth nothing to bpf(2). */
export const isInUserNamespace = ({ uidMap = "" }: Surroundings): boolean => {
  const words = uidMap.trim().split(/\s+/)
  return words.length >= 3 && !(words.length === 3 && words[0] === "0" && words[1] === "0" && words[2] === "4294967295")
}

/** Whether the kernel shows its types; `undefined` where sysfs is not there. */
export const showsTypes = (files: Files): boolean | undefined => {
  if (Result.isFailure(files.list("/sys/kernel"))) return undefined
  const names = files.list("/sys/kernel/btf")
  return Result.isSuccess(names) && names.success.includes("vmlinux")
}
