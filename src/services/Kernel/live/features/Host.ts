/**
 * What probes are made with: the kernel entered for an answer, and what the answer means.
 *
 * A probe is synchronous from its first call to its last. Nothing can interrupt it, and what it opens is closed when it
 * returns, on every path: `within` sees to that.
 */
import * as Result from "effect/Result"
import * as Encode from "../../../../insn/Encode.ts"
import * as Arena from "../../abi/Arena.ts"
import * as Attr from "../../abi/Attr.ts"
import { Command, PROG_LOAD_ATTEMPTS } from "../../abi/BpfConstants.ts"
import * as Errno from "../../abi/Errno.ts"
import { refused, type Support, supported, unsupported } from "../../Feature.ts"
import type { Sys } from "../../sys/Sys.ts"
import type { Facts } from "../Facts.ts"
import type { Files } from "../Files.ts"
import { general } from "../Hints.ts"

/** The kernel that is probed, and what else is known of the machine. */
export interface Host {
  readonly sys: Sys
  readonly facts: Facts
  readonly files: Files
  /** As Node names it. */
  readonly architecture: string
}

/** What a kernel answered: a descriptor or 0, or a negated error number; and its log, where one was asked for. */
export interface Answer {
  readonly result: number
  readonly log: string
}

/** Keeps a descriptor until the probe is over; negative numbers are none. Answers with it. */
export type Keep = (fd: number) => number

/** Runs a probe, and closes what it kept, the last first. */
export const within = <A>(sys: Sys, probe: (keep: Keep) => A): A => {
  const kept: Array<number> = []
  try {
    return probe((fd) => {
      if (fd >= 0) kept.push(fd)
      return fd
    })
  } finally {
    for (const fd of kept.reverse()) sys.close(fd)
  }
}

/** Errors of the moment or of the process that asks, not of the kernel: they say nothing of what the kernel has. */
const inconclusive: ReadonlySet<Errno.Errno> = new Set<Errno.Errno>([
  "EPERM",
  "EACCES",
  "ENOMEM",
  "EAGAIN",
  "EINTR",
  "EBUSY",
  "EMFILE",
  "ENFILE",
  "EDQUOT"
])

/** Whether an error, by its positive number, says nothing of what the kernel has. */
export const isInconclusive = (errnoNumber: number): boolean => inconclusive.has(Errno.fromNumber(errnoNumber))

/** What an error means: that the kernel would not say, or that it does not have what it was asked for. */
export const denied = (errnoNumber: number, why?: string): Support => {
  const errno = Errno.fromNumber(errnoNumber)
  return inconclusive.has(errno) ?
    refused(errno, general(errno) ?? "it may answer when it is asked again") :
    unsupported(
      why ?? (errno === "ENOSYS" ? general(errno) : errno)
    )
}

/** What an answer means where success is what tells that the kernel has it. */
export const judged = (result: number): Support => result >= 0 ? supported : denied(-result)

/** What an answer means where a certain error is what tells that the kernel has it. */
export const judgedBy = (result: number, expected: Errno.Errno): Support => {
  if (-result === Errno.numbers[expected]) return supported
  return result >= 0 ? unsupported("it was not refused as it should have been") : denied(-result)
}

/** Whether a call was disturbed: a signal came while the kernel was at work. */
export const isDisturbed = (result: number): boolean =>
  result === -Errno.numbers.EAGAIN || result === -Errno.numbers.EINTR

/** Makes a call again for as long as it is disturbed, but not for ever. */
export const again = (enter: () => number): number => {
  for (let attempt = 1;; attempt++) {
    const result = enter()
    if (!isDisturbed(result) || attempt === PROG_LOAD_ATTEMPTS) return result
  }
}

/**
 * Enters bpf(2) with a structure. The structure is of our own making, so one that cannot be laid out is a mistake here; it
 * reads as `EINVAL`.
 */
export const enter = <L extends Arena.Layout>(
  sys: Sys,
  command: number,
  layout: L,
  values: Arena.Values<L>
): { readonly result: number; readonly arena: Arena.Arena<L> | undefined } => {
  let last: Arena.Arena<L> | undefined
  const result = again(() => {
    const arena = Arena.make(layout, values)
    if (Result.isFailure(arena)) return -Errno.numbers.EINVAL
    last = arena.success
    const bpf = opens.has(command) ? sys.bpfDescriptor : sys.bpf
    return bpf(command, arena.success)
  })
  return { result, arena: last }
}

/** The commands that probes use and that answer with a descriptor. */
const opens: ReadonlySet<number> = new Set([
  Command.BPF_MAP_CREATE,
  Command.BPF_PROG_LOAD,
  Command.BPF_BTF_LOAD,
  Command.BPF_LINK_CREATE
])

/** Room for the log of a probe, bytes: what is looked for stands at its beginning. */
const logSize = 4096

/** The fields of a map. */
export type MapFields = Arena.Values<typeof Attr.MapCreate>

/** The fields of a program, but for its instructions. */
export type ProgFields = Omit<Arena.Values<typeof Attr.ProgLoad>, "insns" | "insn_cnt" | "license" | "log_buf">

/** Creates a map; the caller closes it. */
export const createMap = (sys: Sys, fields: MapFields): number =>
  enter(sys, Command.BPF_MAP_CREATE, Attr.MapCreate, fields).result

/** The fields of a program with its instructions, and with a log where `log_level` or `log_size` asks for one. */
export const progValues = (insns: Uint8Array, fields: ProgFields): Arena.Values<typeof Attr.ProgLoad> => ({
  ...fields,
  insn_cnt: insns.length / 8,
  insns: Arena.bytes(insns),
  license: Arena.text("GPL"),
  ...(fields.log_size === undefined ? {} : { log_buf: Arena.room(fields.log_size) })
})

/** What stands in the log of a load, `""` where none was asked for. */
export const logOf = (arena: Arena.Arena<typeof Attr.ProgLoad> | undefined): string =>
  arena === undefined ? "" : Arena.cString(Arena.region(arena, "log_buf"))

/** Loads a program and has the kernel tell why not; the caller closes it. */
export const loadWithLog = (sys: Sys, insns: Uint8Array, fields: ProgFields): Answer => {
  const values = progValues(insns, { log_level: 1, log_size: logSize, ...fields })
  const { arena, result } = enter(sys, Command.BPF_PROG_LOAD, Attr.ProgLoad, values)
  return { result, log: logOf(arena) }
}

/**
 * Loads a program; the caller closes it. `EACCES` is the one number that both a security policy and the verifier answer
 * with: it is the verifier's, and then `EINVAL` here, where the verifier has something to say.
 */
export const loadProgram = (sys: Sys, insns: Uint8Array, fields: ProgFields): number => {
  const { result } = enter(sys, Command.BPF_PROG_LOAD, Attr.ProgLoad, progValues(insns, fields))
  if (result !== -Errno.numbers.EACCES) return result
  const explained = loadWithLog(sys, insns, fields)
  return explained.result === -Errno.numbers.EACCES && explained.log !== "" ? -Errno.numbers.EINVAL : explained.result
}

/** Loads BTF; the caller closes it. */
export const loadBtf = (sys: Sys, bytes: Uint8Array): number =>
  enter(sys, Command.BPF_BTF_LOAD, Attr.BtfLoad, { btf: Arena.bytes(bytes), btf_size: bytes.length }).result

/** The least program: it returns 0. */
export const trivial: Uint8Array = Encode.program(Encode.mov64Imm(0, 0), Encode.exit())

/** A descriptor that is none, as a field of 32 bits. */
export const noDescriptor = 0xffff_ffff
