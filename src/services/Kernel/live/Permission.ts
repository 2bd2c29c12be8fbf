/**
 * Why the kernel answers `EPERM` to a call, as far as the call and what is known of the process tell.
 *
 * Sources: `kernel/bpf/syscall.c` (which capability each call, type of map and type of program needs), capabilities(7),
 * kernel_lockdown(7); reference page `load`, section 1.1.
 */
import { MapType, mapTypeName, ProgType, progTypeName } from "../abi/BpfConstants.ts"
import type { KernelCall } from "../KernelCall.ts"
import type { RefusalReason } from "../RefusalCause.ts"
import type { MemlockLimit } from "../sys/Sys.ts"
import * as Surroundings from "./Surroundings.ts"

type Capability = Surroundings.Capability

/** Maps that everybody may create where bpf(2) is for everybody. */
const mapsForAll: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_ARRAY,
  MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  MapType.BPF_MAP_TYPE_PROG_ARRAY,
  MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
  MapType.BPF_MAP_TYPE_CGROUP_ARRAY,
  MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  MapType.BPF_MAP_TYPE_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_HASH_OF_MAPS,
  MapType.BPF_MAP_TYPE_RINGBUF,
  MapType.BPF_MAP_TYPE_USER_RINGBUF,
  MapType.BPF_MAP_TYPE_CGROUP_STORAGE,
  MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE
])

const networkMaps: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_SOCKMAP,
  MapType.BPF_MAP_TYPE_SOCKHASH,
  MapType.BPF_MAP_TYPE_DEVMAP,
  MapType.BPF_MAP_TYPE_DEVMAP_HASH,
  MapType.BPF_MAP_TYPE_XSKMAP
])

const networkPrograms: ReadonlySet<number> = new Set([
  ProgType.BPF_PROG_TYPE_SCHED_CLS,
  ProgType.BPF_PROG_TYPE_SCHED_ACT,
  ProgType.BPF_PROG_TYPE_XDP,
  ProgType.BPF_PROG_TYPE_LWT_IN,
  ProgType.BPF_PROG_TYPE_LWT_OUT,
  ProgType.BPF_PROG_TYPE_LWT_XMIT,
  ProgType.BPF_PROG_TYPE_LWT_SEG6LOCAL,
  ProgType.BPF_PROG_TYPE_SK_SKB,
  ProgType.BPF_PROG_TYPE_SK_MSG,
  ProgType.BPF_PROG_TYPE_LIRC_MODE2,
  ProgType.BPF_PROG_TYPE_FLOW_DISSECTOR,
  ProgType.BPF_PROG_TYPE_CGROUP_DEVICE,
  ProgType.BPF_PROG_TYPE_CGROUP_SOCK,
  ProgType.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
  ProgType.BPF_PROG_TYPE_CGROUP_SOCKOPT,
  ProgType.BPF_PROG_TYPE_CGROUP_SYSCTL,
  ProgType.BPF_PROG_TYPE_SOCK_OPS,
  ProgType.BPF_PROG_TYPE_EXT,
  ProgType.BPF_PROG_TYPE_NETFILTER
])

const tracingPrograms: ReadonlySet<number> = new Set([
  ProgType.BPF_PROG_TYPE_KPROBE,
  ProgType.BPF_PROG_TYPE_TRACEPOINT,
  ProgType.BPF_PROG_TYPE_PERF_EVENT,
  ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
  ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE,
  ProgType.BPF_PROG_TYPE_TRACING,
  ProgType.BPF_PROG_TYPE_LSM,
  ProgType.BPF_PROG_TYPE_STRUCT_OPS,
  ProgType.BPF_PROG_TYPE_EXT
])

/** Programs that everybody may load where bpf(2) is for everybody. */
const programsForAll: ReadonlySet<number> = new Set([
  ProgType.BPF_PROG_TYPE_SOCKET_FILTER,
  ProgType.BPF_PROG_TYPE_CGROUP_SKB
])

/** What a call asks of its caller. */
interface Needs {
  /** The call, as a sentence begins with it. */
  readonly what: string
  readonly capabilities: ReadonlyArray<Capability>
  /** Whether it asks for none of them where `unprivileged_bpf_disabled` is 0. */
  readonly forAll?: boolean
}

const needsOf = (call: KernelCall): Needs | undefined => {
  switch (call._tag) {
    case "MapCreate": {
      const { type } = call.attr
      return {
        what: `creating a map of type ${mapTypeName(type)}`,
        capabilities: networkMaps.has(type) ? ["BPF", "NET_ADMIN"] : ["BPF"],
        forAll: mapsForAll.has(type)
      }
    }
    case "ProgLoad": {
      const { type } = call.attr
      return {
        what: `loading a program of type ${progTypeName(type)}`,
        capabilities: [
          "BPF",
          ...(tracingPrograms.has(type) ? ["PERFMON" as const] : []),
          ...(networkPrograms.has(type) ? ["NET_ADMIN" as const] : [])
        ],
        forAll: programsForAll.has(type)
      }
    }
    case "BtfLoad":
      return { what: "loading BTF", capabilities: ["BPF"] }
    case "GetById":
    case "IdNext":
      return { what: "finding objects by their identifiers", capabilities: ["SYS_ADMIN"] }
    default:
      return undefined
  }
}

/** A limit as people write it: bytes, KiB, MiB with one decimal, as libbpf shows it. */
const limitText = ({ soft }: MemlockLimit): string => {
  const bytes = Number(soft)
  if (bytes < 1024) return `${bytes} bytes`
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

/** The names of capabilities in a sentence. */
const named = (capabilities: ReadonlyArray<Capability>): string =>
  capabilities.map((capability) => `CAP_${capability}`).join(" and ")

/** What a call was refused for. */
export interface Decision {
  readonly reason: RefusalReason
  /** What it means here, and what to do; absent where there is no more to say than what the error number means. */
  readonly hint?: string
  /** The capabilities that are missing. */
  readonly capabilities?: ReadonlyArray<string>
}

/** Why the kernel does not permit a call, and what to do about it; `undefined` where the call says nothing about rights. */
export const decide = (call: KernelCall, surroundings: Surroundings.Surroundings): Decision | undefined => {
  const needs = needsOf(call)
  if (needs === undefined) return undefined
  const { capabilities, forAll = false, what } = needs
  const isOpen = forAll && surroundings.unprivilegedDisabled?.trim() === "0"
  const missing = isOpen || Surroundings.has(surroundings, "SYS_ADMIN")
    ? []
    : capabilities.filter((capability) => !Surroundings.has(surroundings, capability))
  const known = Surroundings.effective(surroundings.status) !== undefined
  if (missing.length > 0 && known) {
    const sysctl = forAll ? ", or kernel.unprivileged_bpf_disabled=0" : ""
    return {
      reason: forAll ? "UnprivilegedDisabled" : "MissingCapability",
      capabilities: missing.map((capability) => `CAP_${capability}`),
      hint: `${what} needs ${named(capabilities)}${sysctl}, and this process does not have ${named(missing)}: ` +
        "run it as root, or give it the capability"
    }
  }
  if (surroundings.memlock !== undefined) {
    return {
      reason: "MemoryLock",
      hint: `this kernel counts BPF objects against the limit on locked memory, which is ${
        limitText(surroundings.memlock)
      } and cannot be raised from here: ulimit -l unlimited`
    }
  }
  if (Surroundings.isInUserNamespace(surroundings)) {
    return {
      reason: "UserNamespace",
      hint: "this process is in a user namespace, where its capabilities are worth nothing to bpf(2): " +
        "run it outside, or let it use a BPF token that delegates this (a bpf file system mounted with delegate_cmds, " +
        "delegate_maps, delegate_progs and delegate_attachs)"
    }
  }
  if (Surroundings.isLockedDown(surroundings)) {
    return { reason: "LockedDown", hint: "the kernel is locked down: boot without lockdown, or without Secure Boot" }
  }
  if (Surroundings.isFiltered(surroundings)) {
    return {
      reason: "Seccomp",
      hint: "a seccomp filter may refuse it, although the process has the capabilities: " +
        "run outside of the container's seccomp profile (docker run --security-opt seccomp=unconfined)"
    }
  }
  return known
    ? {
      reason: "Policy",
      hint:
        `${what} needs ${named(capabilities)}, which this process has: a security module (SELinux, AppArmor, an LSM ` +
        "program) or a policy of this kernel refuses it"
    }
    : undefined
}
