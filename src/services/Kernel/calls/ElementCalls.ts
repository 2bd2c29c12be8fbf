/**
 * Calls on the elements of maps beyond one at a time: many in one call, and reading with taking away.
 *
 * Keys and values of a batch lie one after another in one piece of memory each, so that no object is made for an element.
 */
import type { Footprint } from "../KernelCall.ts"
import type { MapRef } from "../Ref.ts"

/**
 * Reads one element and takes it away; answers `undefined` where the map has none of that key. Of queues and stacks, whose keys
 * have no bytes, the next value. `ENOTSUPP` where the map's type has no such thing, or not in this kernel.
 */
export interface MapLookupAndDelete {
  readonly _tag: "MapLookupAndDelete"
  readonly map: MapRef
  readonly key: Uint8Array
  /** Bytes of the value: of all CPUs' values in a per-CPU map. */
  readonly valueSize: number
  readonly flags: bigint
}

/** Reads the next elements of a map, and takes them away where that is asked for. */
export interface MapLookupBatch {
  readonly _tag: "MapLookupBatch"
  readonly map: MapRef
  /** Takes the elements away as they are read (`BPF_MAP_LOOKUP_AND_DELETE_BATCH`). */
  readonly remove: boolean
  /** Where the batch before this one has ended, as its answer says; absent for the first. */
  readonly after?: Uint8Array
  /** How many elements at most. `ENOSPC` where that is fewer than the map has to give at once (a bucket of a hash). */
  readonly count: number
  readonly keySize: number
  readonly valueSize: number
  readonly flags: bigint
}

/** Elements of a map: `count` keys, and as many values, one after another. */
export interface MapBatch {
  readonly count: number
  readonly keys: Uint8Array
  readonly values: Uint8Array
  /** Where the next batch begins; `undefined` when these are the last elements. */
  readonly next: Uint8Array | undefined
}

/** Sets elements, one after another; a failure tells in `done` how many were set before it. */
export interface MapUpdateBatch {
  readonly _tag: "MapUpdateBatch"
  readonly map: MapRef
  readonly count: number
  readonly keys: Uint8Array
  readonly values: Uint8Array
  /** Of each element, as of `MapUpdate`. Kernels before 6.19 take `BPF_F_LOCK` alone. */
  readonly flags: bigint
}

/** Removes elements, one after another; a failure, `ENOENT` among them, tells in `done` how many were removed before it. */
export interface MapDeleteBatch {
  readonly _tag: "MapDeleteBatch"
  readonly map: MapRef
  readonly count: number
  readonly keys: Uint8Array
  readonly flags: bigint
}

/** The calls of this file, by their tags. */
export interface ElementCalls {
  readonly MapLookupAndDelete: MapLookupAndDelete
  readonly MapLookupBatch: MapLookupBatch
  readonly MapUpdateBatch: MapUpdateBatch
  readonly MapDeleteBatch: MapDeleteBatch
}

/** What they answer. */
export interface ElementResults {
  readonly MapLookupAndDelete: Uint8Array | undefined
  readonly MapLookupBatch: MapBatch
  readonly MapUpdateBatch: void
  readonly MapDeleteBatch: void
}

/** Which refs such a call touches. */
export const elementFootprint = (call: ElementCalls[keyof ElementCalls]): Footprint =>
  call._tag === "MapLookupBatch" && !call.remove
    ? { defines: undefined, changes: [], reads: [call.map] }
    : { defines: undefined, changes: [call.map], reads: [] }
