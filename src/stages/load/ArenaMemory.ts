/**
 * The memory of a loaded object's arena, which its programs and this process share.
 *
 * A load maps it before the programs, since they are loaded for the address that it has. The view lasts as long as the
 * session. Pointers that programs leave in the arena are addresses of this process: less the view's `address`, they are
 * offsets in it.
 */
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { MemoryView } from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { LoadedObject } from "./Execute.ts"
import { mainCalls } from "./LoadPlan.ts"
import { viewRef } from "./MapSteps.ts"

/** An arena's memory in a session. */
export interface ArenaMemory {
  readonly view: Ref.ViewRef
  /** All of it. Reading and writing pages that no program has allocated allocates them. */
  readonly memory: MemoryView
  /** The part that has the object's variables: from where they begin, as far as they go; without variables, nothing. */
  readonly variables: MemoryView
}

/** A part of a view. Its beginning must be aligned to 8 bytes. */
const part = (view: MemoryView, offset: number, length: number): MemoryView => {
  const check = (at: number, size: number): number => {
    if (at < 0 || at + size > length) throw new RangeError(`${size} bytes at offset ${at} are not among ${length}`)
    return offset + at
  }
  return {
    bytes: view.bytes.subarray(offset, offset + length),
    ...(view.address === undefined ? {} : { address: view.address + BigInt(offset) }),
    loadAcquire32: (at) => view.loadAcquire32(check(at, 4)),
    loadAcquire64: (at) => view.loadAcquire64(check(at, 8)),
    storeRelease64: (at, value) => view.storeRelease64(check(at, 8), value)
  }
}

/**
 * The memory of the object's arena; `undefined` where it has none, or where the load did not make it (an arena that was found
 * by its pin, or given by the user, has an address that another process may have chosen, and is not mapped).
 */
export const of = (loaded: Pick<LoadedObject, "object" | "plan" | "session">): ArenaMemory | undefined => {
  const position = loaded.object.maps.findIndex(({ attr }) => attr.type === MapType.BPF_MAP_TYPE_ARENA)
  const view = viewRef(Ref.map(position))
  const memory = position < 0 ? undefined : loaded.session.view(view)
  if (memory === undefined) return undefined
  const written = mainCalls(loaded.plan).find((call) => call._tag === "ViewWrite" && call.view.index === view.index)
  const [offset, length] = written?._tag === "ViewWrite" ? [written.offset, written.bytes.length] : [0, 0]
  return { view, memory, variables: part(memory, offset, length) }
}
