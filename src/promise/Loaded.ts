/**
 * Loaded objects: their programs, maps, variables and events.
 */
import type { BtfValue } from "../btf/BtfValue.ts"
import type { Input, Run } from "../testing/TestRun.ts"
import type { EventOptions, Events } from "./Events.ts"
import type { Kernel } from "./Kernel.ts"
import type { Attached, AttachOptions, Link, Target } from "./Links.ts"
import type { LoadedMap, MapOptions } from "./Maps.ts"
import type { RequestOptions, Resource } from "./Resource.ts"

export type { Run } from "../testing/TestRun.ts"

/** What a program is run on. */
export interface RunOptions extends Input, RequestOptions {}

/** A program of a loaded object. */
export interface LoadedProgram {
  readonly name: string
  readonly section: string
  /** As bpftool names it: `xdp`, `sched_cls`. */
  readonly type: string
  /** Runs it (`BPF_PROG_TEST_RUN`) on a packet or a context. */
  readonly run: (options?: RunOptions) => Promise<Run>
  /** Attaches it to what its section says, or to another target, until the link or the object is closed. */
  readonly attach: (target?: Target, options?: RequestOptions) => Promise<Link>
}

/** The global variables of a loaded object, while its programs run. */
export interface LoadedGlobals {
  readonly names: ReadonlyArray<string>
  readonly get: (name: string, options?: RequestOptions) => Promise<BtfValue>
  /** Parts of a struct or array that are left out become zero. Constants are fixed when an object is loaded. */
  readonly set: (name: string, value: unknown, options?: RequestOptions) => Promise<void>
}

/**
 * An object in a kernel. Closing it detaches its programs, ends the loops that read its events and unloads it: what was
 * attached last goes first.
 */
export interface Loaded extends Resource {
  readonly name: string
  /** The programs that were loaded. */
  readonly programs: ReadonlyArray<LoadedProgram>
  /** The names of the maps that were created. */
  readonly maps: ReadonlyArray<string>
  readonly globals: LoadedGlobals
  /** The kernel that it is in: one of its own, or the one that the load was given. */
  readonly kernel: Kernel
  /** The program of this name. Throws a `NotLoadedError` where the load took none. */
  readonly program: (name: string) => LoadedProgram
  /** The map of this name. Throws a `NotLoadedError` where the load created none. */
  readonly map: {
    (name: string): LoadedMap
    <K = BtfValue, V = BtfValue>(name: string, options: MapOptions<K, V>): LoadedMap<K, V>
  }
  /** What programs send through a ring buffer, or through a perf event array. Throws a `NotLoadedError` likewise. */
  readonly events: <A = BtfValue>(map: string, options?: EventOptions<A>) => Events<A>
  /** Attaches everything whose section says to what. Where one is refused, none stays attached. */
  readonly attach: (options?: AttachOptions) => Promise<Attached>
}
