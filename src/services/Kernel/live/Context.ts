/**
 * What the handlers of the live kernel share.
 */
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Arena from "../abi/Arena.ts"
import type { CallTag, KernelSymbol } from "../KernelCall.ts"
import { type KernelError, RefError } from "../KernelError.ts"
import * as Ref from "../Ref.ts"
import type { Bound } from "../Session.ts"
import type { Net } from "../sys/Net.ts"
import type { Sys } from "../sys/Sys.ts"
import type { Target } from "./Bind.ts"
import type { Answer, Request } from "./Enter.ts"
import type { Files } from "./Files.ts"
import type { Reactor } from "./Reactor.ts"
import type { Handle, HandleOf } from "./Handle.ts"

/** What some symbols are in the running kernel; `undefined` for those that it lacks. */
export type Targets = (symbol: KernelSymbol) => Target | undefined

/** What a session's handlers work with. */
export interface Context {
  readonly sys: Sys
  /** Makes a bpf(2) call on another thread, not too many at a time. */
  readonly enterAsync: <L extends Arena.Layout>(request: Request<L>) => Effect.Effect<Answer<L>, KernelError>
  /** How many CPUs the kernel may ever have, which is how many values an element of a per-CPU map has. */
  readonly possibleCpus: () => Result.Result<number, KernelError>
  /** Looks symbols up. Descriptors of module BTF among the targets are closed with the scope. */
  readonly targets: (
    program: string,
    symbols: ReadonlyArray<KernelSymbol>
  ) => Effect.Effect<Targets, KernelError, Scope.Scope>
  /** Finds the function of a loaded program that another program is for; by name, in the types that came with it. */
  readonly functionOf: (
    program: string,
    target: HandleOf<Ref.ProgRef>,
    name: string
  ) => Effect.Effect<{ readonly attach_prog_fd: number; readonly attach_btf_id: number }, KernelError>
  /** The names that this session's maps were to have, by ref: also of those whose creation failed. */
  readonly mapNames: Map<string, string>
  /** Netlink and network namespaces; bound when they are first asked for. */
  readonly net: () => Result.Result<Net, KernelError>
  /** Waits for descriptors; its thread is started when somebody first waits. */
  readonly reactor: Reactor
  /** The files of the machine: what the kernel says in sysfs and tracefs. */
  readonly files: Files
}

/** The handle of a ref that a call cannot do without. */
export const handleOf = <R extends Ref.Ref>(
  bound: Bound<Handle>,
  call: CallTag,
  ref: R
): Effect.Effect<HandleOf<R>, RefError> => {
  const handle = optionalHandleOf(bound, ref)
  return handle === undefined
    ? Effect.fail(new RefError({ call, ref: Ref.key(ref), reason: "Absent" }))
    : Effect.succeed(handle)
}

/** The handle of a ref, `undefined` where its creation failed. */
export const optionalHandleOf = <R extends Ref.Ref>(bound: Bound<Handle>, ref: R): HandleOf<R> | undefined => {
  const handle = bound.resolve(ref)
  return isOf(handle, ref) ? handle : undefined
}

/** The table is keyed by kind and number, so a handle is of its ref's kind. */
const isOf = <R extends Ref.Ref>(handle: Handle | undefined, ref: R): handle is HandleOf<R> => handle?._tag === ref._tag
