/**
 * One object loaded by us and by libbpf: whether both load it, what both sent, and the ways in which that differs on
 * purpose.
 */
import * as Fs from "node:fs"
import type { OurLoad } from "./LoadOurs.ts"
import { type CallDifference, callDifferences, comparable } from "./Normalise.ts"
import { newerSections } from "./OpenedBeside.ts"
import type { Loaded } from "./Peer.ts"

/**
 * Whether both load it, and for the same reason not: the kernel's error number, or for what was found before it was asked
 * what is wrong.
 */
const outcomes = (ours: OurLoad, libbpf: Loaded): ReadonlyArray<CallDifference> => {
  const error = ours.error
  const refusal = libbpf.error
  const asked = ours.stage === "execute"
  const ourWords = error === undefined ? "yes" : `${ours.stage} fails: ${error.tag} ${error.reason}: ${error.message}`
  const peerWords = refusal === undefined
    ? "yes"
    : `${refusal.stage} fails: ${refusal.name ?? refusal.errno}: ${refusal.log.trimEnd()}`
  if ((error === undefined) !== (refusal === undefined)) {
    return [{ at: "object", field: "loads", ours: ourWords, libbpf: peerWords }]
  }
  const same = error === undefined || (ours.stage === "open" && refusal?.stage === "open") ||
    (asked && error.reason === refusal?.name)
  return same ? [] : [{ at: "object", field: "failure", ours: ourWords, libbpf: peerWords }]
}

/** Where our load of an object differs from libbpf's, call by call. */
export const loadDifferences = (ours: OurLoad, libbpf: Loaded): ReadonlyArray<CallDifference> => {
  const partial = ours.error !== undefined || libbpf.error !== undefined
  return [
    ...outcomes(ours, libbpf),
    ...callDifferences(comparable(ours.sent), comparable(libbpf.calls ?? []), partial)
  ]
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

/** Whether two values differ in one byte only, which is true for us and false for libbpf. */
const isOneFlag = (ours: string, libbpf: string): boolean => {
  const bytes = (hex: string): ReadonlyArray<string> => hex.match(/../g) ?? []
  const other = bytes(libbpf)
  const differing = bytes(ours).flatMap((byte, index) => byte === other[index] ? [] : [`${byte} ${other[index]}`])
  return ours.length === libbpf.length && differing.join() === "01 00"
}

/** A kernel without kprobes: libbpf finds out about the wrappers of system calls by placing one. */
const hasKprobes = Fs.existsSync("/sys/bus/event_source/devices/kprobe")

const table = {
  kernelVersion: {
    reason: "kern_version is sent for kprobe programs and for objects with a version; no kernel looks at it otherwise",
    explains: ({ field, ours }) => field === "kern_version" && ours === "0"
  },
  syscallWrapper: {
    reason: "LINUX_HAS_SYSCALL_WRAPPER is looked up in kallsyms; libbpf places a kprobe, which this kernel has not",
    explains: ({ at, field, libbpf, ours }) =>
      field === "value" && /^MAP_UPDATE_ELEM map:.*\.kconfig$/.test(at) && isOneFlag(ours, libbpf),
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
      // 2002000000, and the position of the extern.
      field === "insn" && / 85000000[89a-f][0-9a-f]185477$/.test(ours) && libbpf.endsWith(" 8520000000000000")
  },
  flavouredFunction: {
    reason:
      "bpf_rcu_read_lock___second_spelling is bpf_rcu_read_lock, as in newer libbpf; libbpf 1.1 knows flavours of types only",
    explains: ({ at, field, libbpf, ours }) =>
      at === "PROG_LOAD call_kernel" && field === "insn" && /: 183.0000/.test(ours) && /: 180.000000000000/.test(libbpf)
  },
  structOpsLink: {
    reason: "struct_ops variables that links attach, and optional ones, are newer than libbpf 1.1",
    explains: (difference) =>
      fails(difference, "libbpf", /skipping unrecognized data section\(\d+\) \??\.struct_ops/) ||
      (difference.field === "sequence" && difference.ours.includes("MAP_CREATE linked") &&
        !difference.libbpf.includes("MAP_CREATE"))
  },
  secondOptional: {
    reason: "all variables of SEC(\"?.struct_ops\") are optional; libbpf 1.5 forgets the question mark after the first",
    explains: (difference) =>
      fails(difference, "libbpf", "struct_ops init_kern newer: Cannot find member newer_than_the_kernel") ||
      (difference.field === "sequence" && difference.libbpf !== difference.ours &&
        difference.libbpf.replace("\nMAP_CREATE future", "") === difference.ours)
  },
  usdtForMany: {
    reason: "USDT programs are loaded for uprobe_multi links where the kernel has them, as in newer libbpf",
    explains: ({ at, field, libbpf, ours }) =>
      at.startsWith("PROG_LOAD ") && field === "expected_attach_type" && ours === "48" &&
      libbpf === "0"
  },
  arena: {
    reason: "arenas are newer than libbpf 1.1: it gives them no memory and no variables",
    explains: (difference) =>
      fails(difference, "libbpf", /\.addr_space\.1|'map_extra': expected PTR|arena's user address must be set/) ||
      (difference.at === "MAP_CREATE arena" && difference.field === "btf" && difference.ours === "")
  },
  arenaTypes: {
    reason: "arenas have neither keys nor values, and so no types, as in newer libbpf; libbpf 1.1 knows no arenas",
    explains: ({ at, field, ours }) => at === "MAP_CREATE type_arena" && field === "btf" && ours === ""
  },
  lateInner: {
    reason: "a map of maps may hold a map that is defined behind it; libbpf fills slots before that exists",
    explains: (difference) =>
      fails(difference, "libbpf", "failed to initialize slot") ||
      // Up to where libbpf gives up it fills the slot, and we go on to the next map.
      (difference.field === "sequence" && difference.libbpf.endsWith("MAP_UPDATE_ELEM map:early_outer"))
  },
  legacyMaps: {
    reason: "maps from before BTF are accepted, as cilium/ebpf does; libbpf dropped them in 1.0",
    explains: (difference) => fails(difference, "libbpf", "legacy map definitions")
  },
  byteOrder: {
    reason:
      "objects of the other byte order are refused when they are relocated or the plan is made; libbpf 1.1 does not " +
      "open them",
    explains: ({ field, libbpf, ours }) =>
      field === "failure" && /^(relocate|plan) fails: [^]*-endian/.test(ours) && libbpf.includes("ENDIAN")
  },
  beforeAnyCall: {
    reason:
      "a program of no known type, or for a target that its section does not name, is refused before the kernel is " +
      "asked for anything; libbpf gives up when it comes to the program",
    explains: ({ field, ours }) => field === "failure" && /^plan fails: \S+ (ProgramType|AttachTarget):/.test(ours)
  },
  externLookup: {
    reason:
      "kernel symbols are looked up for the programs that use them; libbpf looks all up first, and answers EINVAL",
    explains: ({ field, libbpf }) =>
      (field === "failure" || field === "loads") &&
      /extern .*(not found in kernel|not resolved)/.test(libbpf)
  },
  newerSection: {
    reason: "section names that libbpf 1.1 does not know yet",
    explains: (difference) =>
      fails(difference, "libbpf", "missing BPF prog type") &&
      newerSections.some((name) =>
        new RegExp(`section name '${name.replaceAll(".", "\\.")}[/']`).test(difference.libbpf)
      )
  },
  onlyText: {
    reason:
      "functions in .text are subprograms; in libbpf 1.1 one that is alone in its object is a program, of no type",
    explains: (difference) => fails(difference, "libbpf", "missing BPF prog type, check ELF section name '.text'")
  },
  innerPerfEventArray: {
    reason: "an inner perf event array without a size has one entry per CPU, as in newer libbpf",
    explains: ({ at, field, libbpf }) => /^MAP_CREATE .*\.i/.test(at) && field === "max_entries" && libbpf === "0"
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

/** Differences of infos that follow from one of the calls. */
const consequences: ReadonlyArray<DeliberateName> = ["syscallWrapper", "flavouredFunction"]

/** Whether a load differs in a way that changes what the verifier makes of a program. */
export const changesPrograms = (kinds: ReadonlySet<DeliberateName | undefined>): boolean =>
  consequences.some((kind) => kinds.has(kind))

/** Which deliberate difference this one is, if it is one. */
export const whichDeliberate = (difference: CallDifference): DeliberateName | undefined =>
  names.find((name) => deliberate[name].explains(difference))
