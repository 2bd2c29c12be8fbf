/**
 * Whether this process can use bpf(2), and if not why, in words for the person at the terminal.
 *
 * Being root says little: containers drop capabilities, seccomp filters and lockdown refuse. So the question is put to
 * the kernel by loading a program, and what is known of the process explains the answer.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Encode from "../../../insn/Encode.ts"
import { ProgType } from "../abi/BpfConstants.ts"
import type { Errno } from "../abi/Errno.ts"
import type { Sys } from "../sys/Sys.ts"
import type { Unavailable } from "../sys/Platform.ts"
import { tryProgram } from "./Answers.ts"
import { machine } from "./Files.ts"
import { general } from "./Hints.ts"
import * as Surroundings from "./Surroundings.ts"

/** Whether live kernel calls work here. `reason` is a sentence without a full stop, `hint` says what would help. */
export type Availability =
  | { readonly available: true }
  | { readonly available: false; readonly reason: string; readonly hint: string }

/** Why the kernel refuses, as far as the surroundings tell. */
export const explain = (
  errno: Errno,
  surroundings: Surroundings.Surroundings
): { readonly reason: string; readonly hint: string } => {
  const isKnown = Surroundings.effective(surroundings.status) !== undefined
  const said = `bpf(2) answers ${errno}`
  if (errno === "ENOSYS") {
    return Surroundings.isFiltered(surroundings)
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
    if (isKnown && !Surroundings.has(surroundings, "SYS_ADMIN") && !Surroundings.has(surroundings, "BPF")) {
      return {
        reason: `${said}: this process has neither CAP_BPF nor CAP_SYS_ADMIN`,
        hint: "run it as root (sudo), or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
      }
    }
    if (Surroundings.isLockedDown(surroundings)) {
      return { reason: `${said}: the kernel is locked down`, hint: "boot without lockdown, or without Secure Boot" }
    }
    if (Surroundings.isFiltered(surroundings)) {
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

/** Loads and closes a program that returns 0, with the type that asks for the least rights first. */
export const probe = (sys: Result.Result<Sys, Unavailable>): Effect.Effect<Availability> =>
  Effect.sync((): Availability => {
    if (Result.isFailure(sys)) return { available: false, reason: sys.failure.detail, hint: sys.failure.hint }
    const nothing = Encode.program(Encode.mov64Imm(0, 0), Encode.exit())
    let answer: Availability = { available: true }
    for (const type of [ProgType.BPF_PROG_TYPE_TRACEPOINT, ProgType.BPF_PROG_TYPE_SOCKET_FILTER]) {
      const tried = tryProgram(sys.success, "Availability", type, nothing)
      if (Result.isSuccess(tried)) return { available: true }
      answer = { available: false, ...explain(tried.failure.errno, Surroundings.read(machine)) }
    }
    return answer
  })
