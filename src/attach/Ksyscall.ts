/**
 * Attaches programs to system calls, by kprobes on the functions that implement them.
 *
 * What a system call's function is called depends on the architecture and on how the kernel was built. The calls of other
 * ABIs, of 32-bit programs on a 64-bit kernel, have functions of their own, which are not attached to.
 *
 * Source: reference page `attach`, section 2.1.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Kernel } from "../services/Kernel/Kernel.ts"
import type { AttachFailure } from "./AttachError.ts"
import { explain } from "./AttachError.ts"
import * as Kprobe from "./Kprobe.ts"
import type { Link } from "./Link.ts"
import { type Loaded, supports } from "./Loaded.ts"

/** Prefix of the functions behind wrappers, by the architecture as Node and uname(2) name it. */
const prefixes: ReadonlyMap<string, string> = new Map([
  ["x64", "x64"],
  ["x86_64", "x64"],
  ["ia32", "ia32"],
  ["arm64", "arm64"],
  ["aarch64", "arm64"],
  ["arm", "arm"],
  ["s390x", "s390x"],
  ["mips", "mips"],
  ["riscv64", "riscv"],
  ["ppc64", "powerpc"]
])

/** How a system call is attached to. */
export interface KsyscallOptions {
  /** `openat`, without any prefix. */
  readonly name: string
  /** When the call returns instead. Default no. */
  readonly isReturn?: boolean
  readonly cookie?: bigint
  readonly mode?: Kprobe.ProbeMode
}

/** The name of a system call's function on an architecture, with wrappers or without. */
export const functionOf = (name: string, architecture: string, hasWrappers: boolean): string => {
  const prefix = prefixes.get(architecture)
  return hasWrappers && prefix !== undefined ? `__${prefix}_sys_${name}` : `__se_sys_${name}`
}

/** Attaches a program to a system call. */
export const attach = Effect.fnUntraced(function*(
  loaded: Loaded,
  program: string,
  { name, ...options }: KsyscallOptions
): Effect.fn.Return<Link, AttachFailure, Kernel | Scope.Scope> {
  const kernel = yield* Kernel
  const what = { kind: "ksyscall", target: name, program }
  const { architecture } = yield* Effect.mapError(kernel.info, (error) => explain(what, error))
  const hasWrappers = yield* Effect.mapError(supports("SyscallWrapper"), (error) => explain(what, error))
  return yield* Kprobe.attach(loaded, program, { ...options, symbol: functionOf(name, architecture, hasWrappers) })
})
