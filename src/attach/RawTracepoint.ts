/**
 * Attaches programs to tracepoints, with the arguments as the kernel passes them.
 *
 * Source: reference page `attach`, section 8.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"

/** How a raw tracepoint is attached to. */
export interface RawTracepointOptions {
  /** `sched_switch`, without a category. */
  readonly name: string
  /** What the program gets from `bpf_get_attach_cookie()`. Default 0. */
  readonly cookie?: bigint
}

/** Attaches a program to a raw tracepoint. */
export const attach = (
  loaded: Loaded,
  program: string,
  { cookie = 0n, name }: RawTracepointOptions
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const what: What = { kind: "raw_tracepoint", target: name, program }
  const { session } = loaded
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { ref: prog } = yield* programOf(loaded, what)
      if (name === "") return yield* refuse(what, "BadTarget", "the tracepoint has no name")
      const ref = session.fresh("Link")
      yield* Effect.mapError(
        build.acquire({ _tag: "RawTracepointOpen", as: ref, name, prog, cookie }),
        (error) =>
          error._tag === "KernelError" && error.errno === "ENOENT"
            ? refuse(what, "NotFound", "this kernel has no such tracepoint", "see /sys/kernel/tracing/available_events")
            : error
      )
      return { means: "a link", ref }
    }))
}
