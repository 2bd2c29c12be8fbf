/**
 * Opened objects: what is in an object file, and changes to it before it is loaded. They hold nothing, so they are not closed.
 */
import type { BtfValue } from "../btf/BtfValue.ts"
import type { OpenOptions as ObjectOptions } from "../stages/open/OpenOptions.ts"
import type { MapChanges } from "../stages/open/MapEdit.ts"
import type { ProgramChanges } from "../stages/open/ProgramEdit.ts"
import type { Kernel } from "./Kernel.ts"
import type { Loaded } from "./Loaded.ts"
import type { RequestOptions } from "./Resource.ts"

export type { BtfValue } from "../btf/BtfValue.ts"
export type { MapChanges } from "../stages/open/MapEdit.ts"
export type { ProgramChanges } from "../stages/open/ProgramEdit.ts"

/** An object file: its path, its URL (`file:`), or its bytes. */
export type Source = string | URL | Uint8Array

/** How an object file is read. */
export interface OpenOptions extends ObjectOptions, RequestOptions {}

/** Changes to an object before it is loaded. */
export interface Changes {
  /** Initial values of global variables by name, constants of the program included. */
  readonly globals?: Readonly<Record<string, unknown>>
  /** Changes to maps by name: `{ events: { maxEntries: 1 << 20 } }`. */
  readonly maps?: Readonly<Record<string, MapChanges>>
  /** The programs to load, and no others; default: those that a load takes by itself. */
  readonly only?: ReadonlyArray<string>
  /** Changes to programs by name: `{ on_exec: { autoload: true } }`. */
  readonly programs?: Readonly<Record<string, ProgramChanges>>
}

/** How an object is loaded. */
export interface LoadOptions extends Changes, RequestOptions {
  /**
   * The kernel: one that you have opened, which the object then lives in, or one of the object's own, which is closed with it:
   * `"live"` (the default) or `"simulated"`. For many objects in one process open one kernel.
   */
  readonly kernel?: Kernel | "live" | "simulated"
  /** A BPF token for the load: the path of a bpf file system that delegates rights to this process, or `default`. */
  readonly token?: string
}

/** A program of an object. */
export interface ProgramSummary {
  readonly name: string
  readonly section: string
  /** As bpftool names it: `xdp`, `sched_cls`. */
  readonly type: string
  /** Slots of 8 bytes. */
  readonly instructions: number
  /** Whether a load takes it. */
  readonly autoload: boolean
}

/** A map of an object. */
export interface MapSummary {
  readonly name: string
  /** As bpftool names it: `hash`, `ringbuf`. */
  readonly type: string
  /** Bytes. */
  readonly keySize: number
  /** Bytes. */
  readonly valueSize: number
  readonly maxEntries: number
}

/** A global variable of an object. */
export interface VariableSummary {
  readonly name: string
  readonly section: string
  /** Bytes. */
  readonly size: number
}

/** An opened object. It never changes: `edit` answers another. */
export interface Opened {
  readonly name: string
  readonly programs: ReadonlyArray<ProgramSummary>
  readonly maps: ReadonlyArray<MapSummary>
  readonly variables: ReadonlyArray<VariableSummary>
  /** The object with changes. Throws an `EditError` where one does not fit. */
  readonly edit: (changes: Changes) => Opened
  /** The initial value of a global variable. Throws an `EditError` where there is none of this name. */
  readonly global: (name: string) => BtfValue
  /** Loads the object. */
  readonly load: (options?: LoadOptions) => Promise<Loaded>
}
