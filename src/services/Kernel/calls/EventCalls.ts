/**
 * Calls on perf events and on the events of tracefs, which kprobes, uprobes and tracepoints are attached through, and which
 * programs send records by.
 *
 * A perf event is released by closing it; an event that was added to tracefs by removing it, which the kernel refuses
 * while a perf event is open on it: sessions release in reverse order.
 *
 * Source: perf_event_open(2); `Documentation/trace/kprobetrace.rst`, `uprobetracer.rst`; reference page `attach`.
 */
import type { Footprint } from "../KernelCall.ts"
import type { EventRef, ProgRef, TraceEventRef, ViewRef } from "../Ref.ts"
import type { MemoryView } from "./MapCalls.ts"

/** The kinds of dynamic probe that the kernel may have a perf type for. */
export type ProbeKind = "kprobe" | "uprobe"

/** What the kernel says of the perf type of a kind of probe. */
export interface ProbePmu {
  /** The number that stands for the kind in `perf_event_attr.type`. */
  readonly type: number
  /** The bit of `config` that asks for the return of the function; absent where the kernel does not say. */
  readonly returnBit?: number
  /** Whether `config` takes the place of a counter (a USDT semaphore) in its upper half. */
  readonly hasCounter: boolean
}

/** Asks for the perf type of a kind of probe; answers `undefined` where the kernel has none. */
export interface ProbePmuGet {
  readonly _tag: "ProbePmuGet"
  readonly kind: ProbeKind
}

/** The number of a tracepoint, `ENOENT` where there is none of the name. */
export interface TracepointId {
  readonly _tag: "TracepointId"
  readonly category: string
  readonly name: string
}

/** Files in which the kernel lists its functions. */
export type SymbolList =
  /** Every symbol with its address. */
  | "kallsyms"
  /** The functions that kprobe.multi can be attached to. */
  | "available_filter_functions"
  /** The same with their addresses, in newer kernels. */
  | "available_filter_functions_addrs"

/** The text of a list of functions; answers `undefined` where the kernel has none. */
export interface SymbolListRead {
  readonly _tag: "SymbolListRead"
  readonly list: SymbolList
}

/** Where a probe is that is added to tracefs. */
export type TraceProbe =
  | { readonly _tag: "Kprobe"; readonly symbol: string; readonly offset: bigint }
  /** `offset` is bytes from the file's beginning. */
  | { readonly _tag: "Uprobe"; readonly path: string; readonly offset: bigint }

/** Adds a probe to tracefs as an event of its own, whose name the kernel implementation makes of `stem`. */
export interface TraceEventAdd {
  readonly _tag: "TraceEventAdd"
  readonly as: TraceEventRef
  readonly probe: TraceProbe
  readonly isReturn: boolean
  /** What the name of the event is to tell: the function's name. */
  readonly stem: string
}

/** What a perf event counts. */
export type PerfEventSource =
  /** A tracepoint by its number. */
  | { readonly _tag: "Tracepoint"; readonly id: number }
  /** An event that was added to tracefs. */
  | { readonly _tag: "TraceEvent"; readonly event: TraceEventRef }
  | {
    readonly _tag: "Kprobe"
    readonly pmu: ProbePmu
    /** A function; absent: `offset` is an address. */
    readonly symbol?: string
    readonly offset: bigint
    readonly isReturn: boolean
  }
  | {
    readonly _tag: "Uprobe"
    readonly pmu: ProbePmu
    readonly path: string
    /** Bytes from the file's beginning. */
    readonly offset: bigint
    readonly isReturn: boolean
    /** Where a counter (a USDT semaphore) is in the file, 0 for none; less than 2^32. */
    readonly counterOffset: bigint
  }
  /** A clock or counter: `PERF_TYPE_*` and what it counts; every so many counts, or so many times a second, it fires. */
  | {
    readonly _tag: "Counter"
    readonly type: number
    readonly config: bigint
    readonly sample: { readonly _tag: "Period" | "Frequency"; readonly value: bigint }
  }
  /** What programs write with `bpf_perf_event_output` while they run on the event's CPU. */
  | {
    readonly _tag: "BpfOutput"
    /** After how much whoever waits for it is woken: so many records, or bytes. At least 1, less than 2^32. */
    readonly wakeup: { readonly _tag: "Records" | "Bytes"; readonly value: number }
    /**
     * Have the kernel count what is lost, and for how long the event runs, for `PerfEventRead`: Linux 6.0 was the first that
     * counts losses, others answer `EINVAL`.
     */
    readonly countLost: boolean
  }

/** Opens a perf event, which is not counting yet unless the kernel starts it by itself. */
export interface PerfEventOpen {
  readonly _tag: "PerfEventOpen"
  readonly as: EventRef
  readonly source: PerfEventSource
  /** The process, 0 for this one, -1 for every one. */
  readonly pid: number
  /** The CPU, -1 for every one. */
  readonly cpu: number
}

/** Attaches a program to a perf event without a link: it stays until the event is closed. */
export interface PerfEventSetProgram {
  readonly _tag: "PerfEventSetProgram"
  readonly event: EventRef
  readonly prog: ProgRef
}

/** Starts or stops a perf event. */
export interface PerfEventSwitch {
  readonly _tag: "PerfEventSwitch"
  readonly event: EventRef
  readonly on: boolean
}

/**
 * Maps the memory that records of a perf event are written to, for reading and writing: a page with positions, then the data,
 * whose size is a power of two of pages. The view dies with the session or with `Close`.
 */
export interface EventMmap {
  readonly _tag: "EventMmap"
  readonly event: EventRef
  readonly as: ViewRef
  /** Bytes, a multiple of the page size. */
  readonly length: number
}

/** Reads the counters of a perf event. */
export interface PerfEventRead {
  readonly _tag: "PerfEventRead"
  readonly event: EventRef
}

/** The counters of a perf event. */
export interface PerfEventCounters {
  /** What the event counts; of `BpfOutput`, nothing. */
  readonly count: bigint
  /**
   * For how long it has counted, nanoseconds; there where it was opened with `countLost`. It stands still when the event's CPU
   * has gone, and after it has come back: the event does not.
   */
  readonly running?: bigint
  /** Records that found no room since the event was opened; there where it was opened with `countLost`. */
  readonly lost?: bigint
}

/** Asks which CPUs there are. */
export interface CpusGet {
  readonly _tag: "CpusGet"
}

/** The CPUs of a machine by their numbers, in rising order. */
export interface Cpus {
  /** Those that may ever be there. */
  readonly possible: ReadonlyArray<number>
  /** Those that run now. */
  readonly online: ReadonlyArray<number>
}

/**
 * What a descriptor of a process traces by a program: a tracepoint, a probe, or a raw tracepoint. Answers `undefined` where it
 * traces nothing by one, or has gone. Needs `CAP_SYS_ADMIN`.
 */
export interface TaskFdQuery {
  readonly _tag: "TaskFdQuery"
  /** The process, as this one numbers it. */
  readonly pid: number
  readonly fd: number
}

/** What a descriptor traces. */
export interface TracedFd {
  /** The program's identifier. */
  readonly progId: number
  /** `BPF_FD_TYPE_*` */
  readonly type: number
  /** The tracepoint, the kernel's function (empty where the probe is at an address), or the path of a file. */
  readonly name: string
  /** Bytes from the function's beginning, or from the file's. */
  readonly offset: bigint
  /** Of probes of the kernel's functions; 0 where the kernel hides it. */
  readonly address: bigint
}

/** The calls of this file by their tags. */
export interface EventCalls {
  readonly ProbePmuGet: ProbePmuGet
  readonly TracepointId: TracepointId
  readonly SymbolListRead: SymbolListRead
  readonly TraceEventAdd: TraceEventAdd
  readonly PerfEventOpen: PerfEventOpen
  readonly PerfEventSetProgram: PerfEventSetProgram
  readonly PerfEventSwitch: PerfEventSwitch
  readonly EventMmap: EventMmap
  readonly PerfEventRead: PerfEventRead
  readonly CpusGet: CpusGet
  readonly TaskFdQuery: TaskFdQuery
}

/** What they answer. */
export interface EventResults {
  readonly ProbePmuGet: ProbePmu | undefined
  readonly TracepointId: number
  readonly SymbolListRead: Uint8Array | undefined
  /** The event as tracefs calls it: `group/event`. */
  readonly TraceEventAdd: { readonly name: string }
  readonly PerfEventOpen: void
  readonly PerfEventSetProgram: void
  readonly PerfEventSwitch: void
  readonly EventMmap: MemoryView
  readonly PerfEventRead: PerfEventCounters
  readonly CpusGet: Cpus
  readonly TaskFdQuery: TracedFd | undefined
}

/** Which refs a call of this file touches. */
export const eventFootprint = (call: EventCalls[keyof EventCalls]): Footprint => {
  switch (call._tag) {
    case "ProbePmuGet":
    case "TracepointId":
    case "SymbolListRead":
    case "CpusGet":
    case "TaskFdQuery":
      return { defines: undefined, changes: [], reads: [] }
    case "TraceEventAdd":
      return { defines: call.as, changes: [], reads: [] }
    case "PerfEventOpen":
      return { defines: call.as, changes: [], reads: call.source._tag === "TraceEvent" ? [call.source.event] : [] }
    case "PerfEventSetProgram":
      return { defines: undefined, changes: [call.event], reads: [call.prog] }
    case "PerfEventSwitch":
      return { defines: undefined, changes: [call.event], reads: [] }
    case "EventMmap":
      return { defines: call.as, changes: [call.event], reads: [] }
    case "PerfEventRead":
      return { defines: undefined, changes: [], reads: [call.event] }
  }
}
