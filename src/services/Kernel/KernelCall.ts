/**
 * The calls that a kernel understands, as data.
 *
 * A plan is made of them, a decorator prints or fails them, a recorder turns them into a loader program, the live
 * session makes system calls of them. They name kernel objects by `Ref`, so they can be written down before anything
 * exists. Each call stands with what it answers in `calls/`; here is what they all are together.
 */
import { attachingFootprint, type AttachingCalls, type AttachingResults } from "./calls/Attaching.ts"
import type { BtfGetInfo, BtfInfo, BtfLoad } from "./calls/BtfCalls.ts"
import type { Code } from "./calls/Code.ts"
import { type ElementCalls, elementFootprint, type ElementResults } from "./calls/ElementCalls.ts"
import type { LoaderRun, LoaderRunResult } from "./calls/LoaderCalls.ts"
import type {
  MapCreate,
  MapDelete,
  MapFreeze,
  MapGetInfo,
  MapInfo,
  MapLookup,
  MapMmap,
  MapNextKey,
  MapUpdate,
  MemoryView,
  ViewWrite
} from "./calls/MapCalls.ts"
import type { Adopt, Close, GetById, IdNext, ObjGet, ObjPin, ObjUnpin } from "./calls/ObjectCalls.ts"
import {
  isProgFunction,
  type ProgBindMap,
  type ProgGetInfo,
  type ProgInfo,
  type ProgLoad,
  type ProgStreamRead,
  type ProgTestRun,
  type TestRunResult
} from "./calls/ProgCalls.ts"
import { type StatsEnable, statsFootprint } from "./calls/StatsCalls.ts"
import { type Wait, waitFootprint } from "./calls/WaitCalls.ts"
import type { Ref } from "./Ref.ts"

export type * from "./calls/BtfCalls.ts"
export type * from "./calls/Code.ts"
export type * from "./calls/ElementCalls.ts"
export type * from "./calls/MapCalls.ts"
export type * from "./calls/ObjectCalls.ts"
export type * from "./calls/ProgCalls.ts"
export type * from "./calls/StatsCalls.ts"
export type * from "./calls/WaitCalls.ts"
export { isProgFunction } from "./calls/ProgCalls.ts"

/** Every call by its tag. */
export interface Calls extends AttachingCalls, ElementCalls {
  readonly BtfLoad: BtfLoad
  readonly MapCreate: MapCreate
  readonly MapUpdate: MapUpdate
  readonly MapLookup: MapLookup
  readonly MapDelete: MapDelete
  readonly MapNextKey: MapNextKey
  readonly MapFreeze: MapFreeze
  readonly MapMmap: MapMmap
  readonly ViewWrite: ViewWrite
  readonly MapGetInfo: MapGetInfo
  readonly ProgLoad: ProgLoad
  readonly ProgBindMap: ProgBindMap
  readonly ProgTestRun: ProgTestRun
  readonly LoaderRun: LoaderRun
  readonly ProgGetInfo: ProgGetInfo
  readonly ProgStreamRead: ProgStreamRead
  readonly StatsEnable: StatsEnable
  readonly BtfGetInfo: BtfGetInfo
  readonly IdNext: IdNext
  readonly GetById: GetById
  readonly ObjPin: ObjPin
  readonly ObjUnpin: ObjUnpin
  readonly ObjGet: ObjGet
  readonly Adopt: Adopt
  readonly Close: Close
  readonly Wait: Wait
}

/** The name of a call. */
export type CallTag = keyof Calls

/** A call to a kernel. */
export type KernelCall = Calls[CallTag]

/** What each call answers. */
export interface Results extends AttachingResults, ElementResults {
  readonly BtfLoad: void
  readonly MapCreate: void
  readonly MapUpdate: void
  readonly MapLookup: Uint8Array | undefined
  readonly MapDelete: void
  readonly MapNextKey: Uint8Array | undefined
  readonly MapFreeze: void
  readonly MapMmap: MemoryView
  readonly ViewWrite: void
  readonly MapGetInfo: MapInfo
  /** The verifier's words, empty when they were not asked for. */
  readonly ProgLoad: { readonly log: string }
  readonly ProgBindMap: void
  readonly ProgTestRun: TestRunResult
  readonly LoaderRun: LoaderRunResult
  readonly ProgGetInfo: ProgInfo
  readonly ProgStreamRead: Uint8Array
  readonly StatsEnable: void
  readonly BtfGetInfo: BtfInfo
  readonly IdNext: number | undefined
  readonly GetById: void
  readonly ObjPin: void
  readonly ObjUnpin: void
  readonly ObjGet: void
  readonly Adopt: void
  readonly Close: void
  /** Positions of the refs that are ready, rising; none when the time is over. */
  readonly Wait: ReadonlyArray<number>
}

/** What a call of this type answers. */
export type ResultOf<C extends KernelCall> = Results[C["_tag"]]

/** The refs that a call brings to life, changes and only reads. */
export interface Footprint {
  readonly defines: Ref | undefined
  /** Further refs that come to life, as far as the call's answer brings what they name. */
  readonly publishes?: ReadonlyArray<Ref>
  readonly changes: ReadonlyArray<Ref>
  readonly reads: ReadonlyArray<Ref>
}

const codeReads = (code: Code): ReadonlyArray<Ref> => {
  const reads: Array<Ref> = []
  const seen = new Map<number, symbol | undefined>()
  for (const ref of code.refs) {
    if (ref._tag === "SymbolRef") continue
    const { index, session } = ref.map
    // Another session's ref is not hidden by one of ours of the same number.
    if (seen.has(index) && seen.get(index) === session) continue
    seen.set(index, session)
    reads.push(ref.map)
  }
  return reads
}

/** Which refs a call touches, and how: what a session checks before it performs, and what orders the steps of a plan. */
export const footprint = (call: KernelCall): Footprint => {
  switch (call._tag) {
    case "BtfLoad":
    case "GetById":
    case "ObjGet":
    case "Adopt":
      return { defines: call.as, changes: [], reads: [] }
    case "MapCreate": {
      const reads: Array<Ref> = []
      if (call.inner) reads.push(call.inner)
      if (call.types) reads.push(call.types.btf)
      return { defines: call.as, changes: [], reads }
    }
    case "MapUpdate":
      return { defines: undefined, changes: [call.map], reads: call.value.refs.map((ref) => ref.to) }
    case "MapDelete":
    case "MapFreeze":
      return { defines: undefined, changes: [call.map], reads: [] }
    case "MapLookup":
    case "MapNextKey":
    case "MapGetInfo":
      return { defines: undefined, changes: [], reads: [call.map] }
    case "MapLookupAndDelete":
    case "MapLookupBatch":
    case "MapUpdateBatch":
    case "MapDeleteBatch":
      return elementFootprint(call)
    case "MapMmap":
      // An arena must have its place before programs that use it are loaded, so they wait as for a change.
      return { defines: call.as, changes: [call.map], reads: [] }
    case "ViewWrite":
      return { defines: undefined, changes: [call.view], reads: [] }
    case "ProgLoad": {
      const reads = [...codeReads(call.code), ...(call.fdArray ?? [])]
      if (call.btf) reads.push(call.btf)
      if (call.attachTo && isProgFunction(call.attachTo)) reads.push(call.attachTo.program)
      return { defines: call.as, changes: [], reads }
    }
    case "ProgBindMap":
      return { defines: undefined, changes: [call.prog], reads: [call.map] }
    case "ProgTestRun":
      // Running a program may write to any map, so it is ordered after every change of the program itself.
      return { defines: undefined, changes: [call.prog], reads: [] }
    case "LoaderRun":
      return {
        defines: undefined,
        publishes: call.publishes.map(({ as }) => as),
        changes: [call.prog],
        reads: (call.lends ?? []).map(({ program }) => program)
      }
    case "ProgGetInfo":
      return { defines: undefined, changes: [], reads: [call.prog] }
    case "ProgStreamRead":
      return { defines: undefined, changes: [call.prog], reads: [] }
    case "StatsEnable":
      return statsFootprint(call)
    case "BtfGetInfo":
      return { defines: undefined, changes: [], reads: [call.btf] }
    case "IdNext":
    case "ObjUnpin":
      return { defines: undefined, changes: [], reads: [] }
    case "ObjPin":
      return { defines: undefined, changes: [call.object], reads: [] }
    case "Close":
      return { defines: undefined, changes: [call.ref], reads: [] }
    case "Wait":
      return waitFootprint(call)
    default:
      return attachingFootprint(call)
  }
}
