/**
 * One object loaded by us and by libbpf: whether both load it, what both sent, and the ways in which that differs on
 * purpose.
 */
import * as Fs from "node:fs"
import type { OurLoad } from "./LoadOurs.ts"
import { type CallDifference, callDifferences, comparable } from "./Normalise.ts"
import type { Loaded } from "./Peer.ts"

/** Where our load of an object differs from libbpf's, call by call. */
export const loadDifferences = (ours: OurLoad, libbpf: Loaded): ReadonlyArray<CallDifference> => {
  const outcome = ours.error === undefined
    ? "yes"
    : `${ours.stage} fails: ${ours.error.tag} ${ours.error.reason}: ${ours.error.message}`
  const refusal = libbpf.error
  const peerOutcome = refusal === undefined
    ? "yes"
    : `${refusal.stage} fails: ${refusal.name ?? refusal.errno}: ${refusal.log.trimEnd()}`
  const parity = (ours.error === undefined) === (refusal === undefined)
    ? []
    : [{ at: "object", field: "loads", ours: outcome, libbpf: peerOutcome }]
  const partial = ours.error !== undefined || refusal !== undefined
  return [...parity, ...callDifferences(comparable(ours.sent), comparable(libbpf.calls ?? []), partial)]
}

/** A difference that is meant to be. */
export interface Deliberate {
  readonly reason: string
  readonly explains: (difference: CallDifference) => boolean
  /** Whether it depends on the kernel, and does not occur on this one. */
  readonly absentHere?: boolean
}

const fails = (difference: CallDifference, who: "ours" | "libbpf", text: string | RegExp): boolean => {
  const other = who === "ours" ? "libbpf" : "ours"
  return difference.field === "loads" && difference[other] === "yes" &&
    (typeof text === "string" ? difference[who].includes(text) : text.test(difference[who]))
}

/** A kernel without kprobes: libbpf finds out about the wrappers of system calls by placing one. */
const hasKprobes = Fs.existsSync("/sys/bus/event_source/devices/kprobe")

const table = {
  kernelVersion: {
    reason: "kern_version is sent for kprobe programs and for objects with a version; no kernel looks at it otherwise",
    explains: ({ field, ours }) => field === "kern_version" && ours === "0"
  },
  core: {
    reason: "CO-RE records go to the kernel, which resolves them; libbpf resolves them and sends the result",
    explains: ({ field }) => field === "insn with CO-RE record"
  },
  typeMatchDepth: {
    reason: "Linux compares types for bpf_core_type_matches two levels deep and refuses deeper ones",
    explains: (difference) => fails(difference, "ours", /error matching candidate #\d+ <type_matches>/)
  },
  syscallWrapper: {
    reason: "LINUX_HAS_SYSCALL_WRAPPER is looked up in kallsyms; libbpf places a kprobe, which this kernel has not",
    explains: ({ at, field }) => field === "value" && /^MAP_UPDATE_ELEM map:.*\.kconfig$/.test(at),
    absentHere: hasKprobes
  },
  exceptionCallback: {
    reason: "exception callbacks are newer than libbpf 1.1",
    explains: (difference) =>
      fails(difference, "libbpf", "exception callback type id not found") ||
      (difference.at === "PROG_LOAD throw_when_shor" && difference.field !== "name")
  },
  missingFunction: {
    reason:
      "a call of a weak function that the kernel lacks becomes a call of an invalid helper, as in newer libbpf; " +
      "libbpf 1.1 leaves a call of function 0",
    explains: ({ field, libbpf, ours }) =>
      field === "insn" && ours.endsWith(" 8500000080185477") && libbpf.endsWith(" 8520000000000000")
  },
  flavouredFunction: {
    reason:
      "bpf_rcu_read_lock___second_spelling is bpf_rcu_read_lock, as in newer libbpf; libbpf 1.1 knows flavours of types only",
    explains: ({ at, field, libbpf, ours }) =>
      at === "PROG_LOAD call_kernel" && field === "insn" && /: 183.0000/.test(ours) && /: 180.000000000000/.test(libbpf)
  },
  structOps: {
    reason: "struct_ops maps are not loaded yet",
    explains: (difference) => fails(difference, "ours", "struct_ops needs the kernel's own layout")
  },
  lateInner: {
    reason: "a map of maps may hold a map that is defined behind it; libbpf fills slots before that exists",
    explains: (difference) =>
      fails(difference, "libbpf", "failed to initialize slot") ||
      // Up to where libbpf gives up it fills the slot, and we go on to the next map.
      (difference.field === "sequence" && difference.libbpf.split("\n").at(-1)?.startsWith("MAP_UPDATE_ELEM") === true)
  },
  legacyMaps: {
    reason: "maps from before BTF are accepted, as cilium/ebpf does; libbpf dropped them in 1.0",
    explains: (difference) => fails(difference, "libbpf", "legacy map definitions")
  },
  staticEntry: {
    reason: "an entry program may be static",
    explains: (difference) => fails(difference, "libbpf", "is static and not supported")
  }
} as const satisfies Readonly<Record<string, Deliberate>>

/** The name of a deliberate difference. */
export type DeliberateName = keyof typeof table

/** Every way in which a load differs from libbpf 1.1's on purpose. */
export const deliberate: Readonly<Record<DeliberateName, Deliberate>> = table

const names = Object.keys(table) as ReadonlyArray<DeliberateName>

/** Which deliberate difference this one is, if it is one. */
export const whichDeliberate = (difference: CallDifference): DeliberateName | undefined =>
  names.find((name) => deliberate[name].explains(difference))
