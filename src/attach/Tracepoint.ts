/**
 * Attaches programs to tracepoints, with the arguments as the tracepoint's format has them.
 *
 * Source: reference page `attach`, section 7.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import { type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"
import * as PerfAttach from "./PerfAttach.ts"

/** How a tracepoint is attached to. */
export interface TracepointOptions extends PerfAttach.PerfOptions {
  /** `sched` */
  readonly category: string
  /** `sched_switch` */
  readonly name: string
}

/** Attaches a program to a tracepoint. */
export const attach = (
  loaded: Loaded,
  program: string,
  { category, name, ...options }: TracepointOptions
): Effect.Effect<Link.Link, AttachFailure, Kernel | Scope.Scope> => {
  const what: What = { kind: "tracepoint", target: `${category}/${name}`, program }
  const { session } = loaded
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { ref } = yield* programOf(loaded, what)
      const id = yield* Effect.mapError(
        session.call({ _tag: "TracepointId", category, name }),
        (error) =>
          error._tag === "KernelError" && error.errno === "ENOENT"
            ? refuse(what, "NotFound", "this kernel has no such tracepoint", "see /sys/kernel/tracing/available_events")
            : error
      )
      const target = { source: { _tag: "Tracepoint", id } as const, pid: -1, cpu: 0 }
      return yield* PerfAttach.attach(session, what, build, ref, target, "a perf event", options)
    }))
}
