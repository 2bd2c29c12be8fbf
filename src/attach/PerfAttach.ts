/**
 * Attaching to a perf event: by a link, or by the event itself where the kernel has no such links.
 *
 * Source: reference page `attach`, section 1.
 */
import * as Effect from "effect/Effect"
import { AttachType } from "../services/Kernel/abi/BpfConstants.ts"
import type { PerfEventSource } from "../services/Kernel/calls/EventCalls.ts"
import type { Kernel, Session } from "../services/Kernel/Kernel.ts"
import type { CallError, KernelError } from "../services/Kernel/KernelError.ts"
import type { EventRef, ProgRef } from "../services/Kernel/Ref.ts"
import { type AttachError, refuse, type What } from "./AttachError.ts"
import type { Builder, Made } from "./Link.ts"
import { supports } from "./Loaded.ts"

/** How a program is attached to an event. */
export interface PerfOptions {
  /** What the program gets from `bpf_get_attach_cookie()`. Default 0. */
  readonly cookie?: bigint
  /** By the event itself also where there are links. */
  readonly withoutLink?: boolean
}

/** An event to attach to. */
export interface PerfTarget {
  readonly source: PerfEventSource
  /** -1 for every process, 0 for this one. */
  readonly pid: number
  /** -1 for every CPU. */
  readonly cpu: number
}

/** Attaches a program to an event that is open, and starts the event; it stops before the program is detached. */
export const attachTo = Effect.fnUntraced(function*(
  session: Session,
  what: What,
  build: Builder,
  prog: ProgRef,
  event: EventRef,
  means: string,
  { cookie = 0n, withoutLink = false }: PerfOptions
): Effect.fn.Return<Made, CallError | AttachError | KernelError, Kernel> {
  const start = session.call({ _tag: "PerfEventSwitch", event, on: true })
  const stop = session.call({ _tag: "PerfEventSwitch", event, on: false })
  if (!withoutLink && (yield* supports("PerfLink"))) {
    const ref = session.fresh("Link")
    yield* build.acquire({
      _tag: "LinkCreate",
      as: ref,
      of: prog,
      target: { _tag: "Event", event },
      attachType: AttachType.BPF_PERF_EVENT,
      flags: 0,
      options: { _tag: "PerfEvent", cookie }
    })
    yield* build.before(stop)
    yield* start
    return { means: "a link", ref }
  }
  if (cookie !== 0n) {
    return yield* refuse(
      what,
      "Unsupported",
      "a cookie needs a link to the perf event",
      withoutLink ? "leave the cookie out, or let it be attached by a link" : "this kernel has none (before Linux 5.15)"
    )
  }
  yield* session.call({ _tag: "PerfEventSetProgram", event, prog })
  yield* build.before(stop)
  yield* start
  return { means }
})

/** Opens an event and attaches a program to it. */
export const attach = (
  session: Session,
  what: What,
  build: Builder,
  prog: ProgRef,
  { cpu, pid, source }: PerfTarget,
  means: string,
  options: PerfOptions
): Effect.Effect<Made, CallError | AttachError, Kernel> =>
  Effect.suspend(() => {
    const event = session.fresh("Event")
    return Effect.andThen(
      build.acquire({ _tag: "PerfEventOpen", as: event, source, pid, cpu }),
      attachTo(session, what, build, prog, event, means, options)
    )
  })

/** The CPU to name together with a process: an event is of all processes on one CPU, or of one on all. */
export const cpuFor = (pid: number): number => pid === -1 ? 0 : -1
