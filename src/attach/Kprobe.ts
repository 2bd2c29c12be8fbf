/**
 * Attaches programs to functions of the kernel, where they begin, somewhere within, or where they return.
 *
 * A kprobe is a perf event of a type of its own, or an event that is added to tracefs where the kernel has no such type.
 *
 * Source: reference page `attach`, section 2.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ProbeKind, ProbePmu, TraceProbe } from "../services/Kernel/calls/EventCalls.ts"
import type { Kernel, Session } from "../services/Kernel/Kernel.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import type { ProgRef } from "../services/Kernel/Ref.ts"
import { type AttachError, type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf, supports } from "./Loaded.ts"
import * as PerfAttach from "./PerfAttach.ts"

/** By what a probe is attached. */
export type ProbeMode =
  /** By the best that the kernel has. */
  | "default"
  /** By an event of tracefs, without a link. */
  | "tracefs"
  /** By a perf event, without a link. */
  | "perf"
  /** By a link to a perf event. */
  | "link"

/** How a kprobe is attached. */
export interface KprobeOptions {
  /** The function's name; absent: `offset` is an address. */
  readonly symbol?: string
  /** Bytes from the function's beginning. Default 0. */
  readonly offset?: bigint
  /** When the function returns instead. Default no. */
  readonly isReturn?: boolean
  readonly cookie?: bigint
  /** Default `default`. */
  readonly mode?: ProbeMode
}

/** What the kernel calls its options. */
const config: Readonly<Record<ProbeKind, string>> = { kprobe: "CONFIG_KPROBE_EVENTS", uprobe: "CONFIG_UPROBE_EVENTS" }

/** A probe in both ways of saying it. */
export interface Probe {
  readonly kind: ProbeKind
  readonly isReturn: boolean
  /** What the name of an event of tracefs tells. */
  readonly stem: string
  /** As a perf event of the kind's own type. */
  readonly perf: (pmu: ProbePmu) => PerfAttach.PerfTarget["source"]
  /** As an event of tracefs; absent where that cannot say it, for this reason. */
  readonly traceable: TraceProbe | string
  /** -1 for every process, 0 for this one. */
  readonly pid: number
}

const missing = (what: What, kind: ProbeKind): AttachError =>
  refuse(
    what,
    "Unsupported",
    `this kernel has no ${kind}s: neither a perf type for them nor ${kind}_events in tracefs`,
    kind === "kprobe"
      ? `it was built without ${
        config[kind]
      }, or tracefs is not mounted; fentry programs and tracepoints may do instead`
      : `it was built without ${config[kind]}, or tracefs is not mounted`
  )

/** Attaches a program to a probe, by the best way that the kernel has or in the way that is asked for. */
export const attachProbe = Effect.fnUntraced(function*(
  session: Session,
  what: What,
  build: Link.Builder,
  prog: ProgRef,
  probe: Probe,
  mode: ProbeMode,
  cookie: bigint | undefined
): Effect.fn.Return<Link.Made, CallError | AttachError, Kernel> {
  const { isReturn, kind, pid, traceable } = probe
  const cpu = PerfAttach.cpuFor(pid)
  const pmu = yield* session.call({ _tag: "ProbePmuGet", kind })
  const isLegacy = mode === "tracefs" || pmu === undefined
  if (pmu === undefined && (mode === "perf" || mode === "link")) {
    return yield* refuse(what, "Unsupported", `this kernel has no perf type for ${kind}s`, "leave the mode out")
  }
  if (mode === "link" && !(yield* supports("PerfLink"))) {
    return yield* refuse(what, "Unsupported", "this kernel has no links to perf events", "leave the mode out")
  }
  const options: PerfAttach.PerfOptions = {
    ...(cookie === undefined ? {} : { cookie }),
    withoutLink: mode === "tracefs" || mode === "perf"
  }
  if (!isLegacy) {
    return yield* PerfAttach.attach(
      session,
      what,
      build,
      prog,
      { source: probe.perf(pmu), pid, cpu },
      "a perf event",
      options
    )
  }
  if (typeof traceable === "string") return yield* refuse(what, "Unsupported", traceable)
  const event = session.fresh("TraceEvent")
  yield* Effect.mapError(
    build.acquire({ _tag: "TraceEventAdd", as: event, probe: traceable, isReturn, stem: probe.stem }),
    (error) => error._tag === "KernelError" && isAbsence(error.errno) && pmu === undefined ? missing(what, kind) : error
  )
  const source = { _tag: "TraceEvent", event } as const
  return yield* PerfAttach.attach(session, what, build, prog, { source, pid, cpu }, "an event of tracefs", options)
})

/** Errors that say that the kernel has no such events at all. */
const isAbsence = (errno: string): boolean => errno === "EOPNOTSUPP" || errno === "ENODEV"

/** What a kprobe is on, for people. */
const targetOf = ({ offset = 0n, symbol }: KprobeOptions): string =>
  symbol === undefined
    ? `0x${offset.toString(16)}`
    : offset === 0n
    ? symbol
    : `${symbol}+0x${offset.toString(16)}`

/** Attaches a program to a function of the kernel. */
export const attach = (
  loaded: Loaded,
  program: string,
  options: KprobeOptions
): Effect.Effect<Link.Link, AttachFailure, Kernel | Scope.Scope> => {
  const { cookie, isReturn = false, mode = "default", offset = 0n, symbol } = options
  const what: What = { kind: isReturn ? "kretprobe" : "kprobe", target: targetOf(options), program }
  return Link.attach(loaded.session, what, (build) =>
    Effect.gen(function*() {
      const { ref } = yield* programOf(loaded, what)
      if (isReturn && offset !== 0n && symbol !== undefined) {
        return yield* refuse(what, "BadTarget", "a return probe has no offset")
      }
      if (symbol === "") return yield* refuse(what, "BadTarget", "the function has no name")
      const probe: Probe = {
        kind: "kprobe",
        isReturn,
        stem: symbol ?? "address",
        perf: (pmu) => ({
          _tag: "Kprobe",
          pmu,
          offset,
          isReturn,
          ...(symbol === undefined ? {} : { symbol })
        }),
        traceable: symbol === undefined
          ? "a probe by address needs a kernel with a perf type for kprobes"
          : { _tag: "Kprobe", symbol, offset },
        pid: -1
      }
      return yield* attachProbe(loaded.session, what, build, ref, probe, mode, cookie)
    }))
}
