/**
 * Attaches programs to perf events: clocks and counters that fire every so often.
 *
 * Source: perf_event_open(2); reference page `attach`, section 1.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import type { EventRef } from "../services/Kernel/Ref.ts"
import { type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"
import * as PerfAttach from "./PerfAttach.ts"

/** `PERF_TYPE_*`: what counts. */
export const PerfType = { HARDWARE: 0, SOFTWARE: 1, HW_CACHE: 3, RAW: 4 } as const

/** `PERF_COUNT_SW_*`: what the kernel itself counts. */
export const SoftwareCounter = {
  CPU_CLOCK: 0n,
  TASK_CLOCK: 1n,
  PAGE_FAULTS: 2n,
  CONTEXT_SWITCHES: 3n,
  CPU_MIGRATIONS: 4n,
  PAGE_FAULTS_MIN: 5n,
  PAGE_FAULTS_MAJ: 6n,
  ALIGNMENT_FAULTS: 7n,
  EMULATION_FAULTS: 8n,
  DUMMY: 9n,
  BPF_OUTPUT: 10n,
  CGROUP_SWITCHES: 11n
} as const

/** `PERF_COUNT_HW_*`: what the processor counts. */
export const HardwareCounter = {
  CPU_CYCLES: 0n,
  INSTRUCTIONS: 1n,
  CACHE_REFERENCES: 2n,
  CACHE_MISSES: 3n,
  BRANCH_INSTRUCTIONS: 4n,
  BRANCH_MISSES: 5n,
  BUS_CYCLES: 6n,
  STALLED_CYCLES_FRONTEND: 7n,
  STALLED_CYCLES_BACKEND: 8n,
  REF_CPU_CYCLES: 9n
} as const

/** A perf event to attach to, and how. */
export interface PerfEventOptions extends PerfAttach.PerfOptions {
  /** `PerfType`, or a number that the kernel gave to a device. */
  readonly type: number
  /** What of it: `SoftwareCounter`, `HardwareCounter`. */
  readonly config: bigint
  /** Fires after so many counts. One of the two is needed. */
  readonly period?: bigint
  /** Fires about so many times a second. */
  readonly frequency?: bigint
  /** -1 for every process (the default), 0 for the thread that attaches; what a number names is one thread, too. */
  readonly pid?: number
  /** -1 for every CPU, of one process only. Default: CPU 0 with every process, else every CPU. */
  readonly cpu?: number
}

/** Opens a perf event and attaches a program to it. */
export const attach = (
  loaded: Loaded,
  program: string,
  options: PerfEventOptions
): Effect.Effect<Link.Link, AttachFailure, Kernel | Scope.Scope> => {
  const { config, frequency, period, pid = -1, type } = options
  const what: What = { kind: "perf_event", target: `event ${config} of type ${type}`, program }
  return Link.attach(loaded.session, what, (build) =>
    Effect.gen(function*() {
      const { ref } = yield* programOf(loaded, what)
      if ((frequency === undefined) === (period === undefined)) {
        return yield* refuse(what, "BadTarget", "an event fires by its period or by its frequency: say one of the two")
      }
      const sample = frequency === undefined
        ? { _tag: "Period" as const, value: period ?? 0n }
        : { _tag: "Frequency" as const, value: frequency }
      return yield* PerfAttach.attach(
        loaded.session,
        what,
        build,
        ref,
        { source: { _tag: "Counter", type, config, sample }, pid, cpu: options.cpu ?? PerfAttach.cpuFor(pid) },
        "a perf event",
        options
      )
    }))
}

/** Attaches a program to a perf event that is open already; the event stays open when the attachment goes. */
export const attachTo = (
  loaded: Loaded,
  program: string,
  event: EventRef,
  options: PerfAttach.PerfOptions = {}
): Effect.Effect<Link.Link, AttachFailure, Kernel | Scope.Scope> => {
  const what: What = { kind: "perf_event", target: `event#${event.index}`, program }
  return Link.attach(loaded.session, what, (build) =>
    Effect.gen(function*() {
      const { ref } = yield* programOf(loaded, what)
      return yield* PerfAttach.attachTo(loaded.session, what, build, ref, event, "a perf event", options)
    }))
}
