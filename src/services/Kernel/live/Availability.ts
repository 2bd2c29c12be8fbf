/**
 * Whether this process can use bpf(2), and if not why, in words for the person at the terminal.
 *
 * Being root says little: containers drop capabilities, seccomp filters and lockdown refuse. So the question is put to
 * the kernel by loading a program, and what is known of the process explains the answer.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Encode from "../../../insn/Encode.ts"
import { ProgType } from "../abi/BpfConstants.ts"
import type { Errno } from "../abi/Errno.ts"
import type { Sys } from "../sys/Sys.ts"
import type { Unavailable } from "../sys/Platform.ts"
import { tryProgram } from "./Answers.ts"
import { general } from "./Hints.ts"

/** Whether live kernel calls work here. `reason` is a sentence without a full stop, `hint` says what would help. */
export type Availability =
  | { readonly available: true }
  | { readonly available: false; readonly reason: string; readonly hint: string }

/** What is known of the process and its kernel that may explain a refusal; `""` for what cannot be read. */
export interface Surroundings {
  /** `/proc/self/status` */
  readonly status: string
  /** `/sys/kernel/security/lockdown` */
  readonly lockdown: string
}

const capabilities = { SYS_ADMIN: 21n, PERFMON: 38n, BPF: 39n } as const

const fieldOf = (status: string, name: string): string => new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(status)?.[1] ?? ""

const effective = (status: string): bigint | undefined => {
  const text = fieldOf(status, "CapEff")
  return /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : undefined
}

/** Why the kernel refuses, as far as the surroundings tell. */
export const explain = (
  errno: Errno,
  surroundings: Surroundings
): { readonly reason: string; readonly hint: string } => {
  const { lockdown, status } = surroundings
  const has = (capability: bigint): boolean => ((effective(status) ?? 0n) >> capability & 1n) === 1n
  const said = `bpf(2) answers ${errno}`
  if (errno === "ENOSYS") {
    return fieldOf(status, "Seccomp") === "2"
      ? {
        reason: `${said}: a seccomp filter, or a kernel without it`,
        hint:
          "run outside of the container's seccomp profile (docker run --security-opt seccomp=unconfined --cap-add BPF)"
      }
      : {
        reason: `${said}: this kernel was built without CONFIG_BPF_SYSCALL`,
        hint: "use a kernel that has it; distributions' kernels do"
      }
  }
  if (errno === "EPERM" || errno === "EACCES") {
    if (effective(status) !== undefined && !has(capabilities.SYS_ADMIN) && !has(capabilities.BPF)) {
      return {
        reason: `${said}: this process has neither CAP_BPF nor CAP_SYS_ADMIN`,
        hint: "run it as root (sudo), or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
      }
    }
    if (/\[(integrity|confidentiality)\]/.test(lockdown)) {
      return { reason: `${said}: the kernel is locked down`, hint: "boot without lockdown, or without Secure Boot" }
    }
    if (fieldOf(status, "Seccomp") === "2") {
      return {
        reason: `${said}: a seccomp filter refuses it, although the process has the capabilities`,
        hint: "run outside of the container's seccomp profile (docker run --security-opt seccomp=unconfined)"
      }
    }
    return {
      reason: `${said} although the process has the capabilities`,
      hint: "a user namespace or a security module (SELinux, AppArmor) may refuse it; before Linux 5.11 also ulimit -l"
    }
  }
  return { reason: said, hint: general(errno) ?? "see the kernel's log (dmesg)" }
}

const read = (path: string): string => {
  try {
    return Fs.readFileSync(path, "latin1")
  } catch {
    return ""
  }
}

/** Loads and closes a program that returns 0, with the type that asks for the least rights first. */
export const probe = (sys: Result.Result<Sys, Unavailable>): Effect.Effect<Availability> =>
  Effect.sync((): Availability => {
    if (Result.isFailure(sys)) return { available: false, reason: sys.failure.detail, hint: sys.failure.hint }
    const nothing = Encode.program(Encode.mov64Imm(0, 0), Encode.exit())
    let answer: Availability = { available: true }
    for (const type of [ProgType.BPF_PROG_TYPE_TRACEPOINT, ProgType.BPF_PROG_TYPE_SOCKET_FILTER]) {
      const tried = tryProgram(sys.success, "Availability", type, nothing)
      if (Result.isSuccess(tried)) return { available: true }
      const surroundings = { status: read("/proc/self/status"), lockdown: read("/sys/kernel/security/lockdown") }
      answer = { available: false, ...explain(tried.failure.errno, surroundings) }
    }
    return answer
  })
