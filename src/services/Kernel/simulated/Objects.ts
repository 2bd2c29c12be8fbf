/**
 * The objects of a simulated kernel, and how long they live.
 *
 * As in the kernel an object lives while something refers to it: a ref of a session, a pin, a program that uses it, a slot
 * of a map. What users can reach (refs and pins) is counted apart, for a program array is emptied when no user can reach
 * it any more: it may hold programs that use the array themselves.
 */
import type { Btf } from "../../../btf/Btf.ts"
import * as BoundMap from "../../../vm/helpers/BoundMap.ts"
import type { Environment } from "../../../vm/helpers/Environment.ts"
import type { LineTable } from "../../../vm/Lines.ts"
import type { PerfBuffer } from "../../../vm/maps/PerfEvents.ts"
import type { SimulatedMap, Slot } from "../../../vm/maps/SimulatedMap.ts"
import * as Maps from "../../../vm/maps/SimulatedMap.ts"
import type { Program } from "../../../vm/Program.ts"
import type { Host } from "../../../vm/Vm.ts"
import { MapFlag, MapType } from "../abi/BpfConstants.ts"
import type { MemoryView, ProgAttributes, ProgInfo } from "../KernelCall.ts"

interface Counted {
  readonly id: number
  /** References of all kinds. */
  references: number
  /** Those among them that users hold: refs of sessions, and pins. */
  users: number
  /** Told when nothing refers to it any more. */
  gone?: () => void
}

/** A BTF object that was loaded. */
export interface BtfObject extends Counted {
  readonly _tag: "Btf"
  readonly btf: Btf
}

/** A map. */
export interface MapObject extends Counted {
  readonly _tag: "Map"
  readonly name: string
  readonly map: SimulatedMap<KernelObject>
  readonly bound: BoundMap.BoundMap
  readonly types: { readonly btf: BtfObject; readonly key: number; readonly value: number } | undefined
  /** The digest of the only program that may use it. */
  readonly exclusiveTo: Uint8Array | undefined
}

/** A program. */
export interface ProgObject extends Counted {
  readonly _tag: "Prog"
  readonly name: string
  readonly attr: ProgAttributes
  readonly program: Program
  /** Bytes of the context that it may access. */
  readonly contextBytes: number
  /** What it may call: made when it is first run. */
  host: Host | undefined
  readonly lines: LineTable | undefined
  readonly btf: BtfObject | undefined
  /** The maps that it uses, those that were bound to it later included. */
  readonly maps: Set<MapObject>
  readonly info: Omit<ProgInfo, "id" | "mapIds" | "btfId">
}

/** A perf event that programs send records by. It has no identifier. */
export interface EventObject extends Counted {
  readonly _tag: "Event"
  readonly name: string
  readonly perf: PerfBuffer
  readonly countsLost: boolean
  /** For how long it is said to have run, nanoseconds. */
  running: bigint
}

/** Anything that lives as long as something refers to it. */
export type KernelObject = BtfObject | MapObject | ProgObject | EventObject

/** Memory of a map, or of a perf event, in a session's hands. */
export interface ViewHandle {
  readonly _tag: "View"
  readonly map: MapObject | EventObject
  readonly view: MemoryView
  readonly writable: boolean
  readonly close: () => void
}

/** What a ref of a simulated session stands for. */
export type Handle = KernelObject | ViewHandle

/** The objects of a kernel by their identifiers, in rising order. */
export interface Registry {
  readonly Btf: Map<number, BtfObject>
  readonly Map: Map<number, MapObject>
  readonly Prog: Map<number, ProgObject>
}

/** Enters a new object, which leaves by itself when it has gone. */
export const register = <O extends Exclude<KernelObject, EventObject>>(registry: Registry, object: O): O => {
  const kind: Map<number, KernelObject> = registry[object._tag]
  kind.set(object.id, object)
  object.gone = () => {
    kind.delete(object.id)
  }
  return object
}

/** Refers to an object once more. */
export const hold = (object: KernelObject, as: "user" | "kernel"): void => {
  object.references++
  if (as === "user") object.users++
}

/** What a slot of a map holds of an object. */
export const slotOf = (object: KernelObject): Slot<KernelObject> => ({
  id: object.id,
  handle: object,
  ...(object._tag === "Map" ? { map: object.map } : {}),
  ...(object._tag === "Event" ? { perf: object.perf } : {})
})

/** Gives a reference back; what nothing refers to any more is gone, with all that it referred to. No recursion. */
export const drop = (environment: Environment, object: KernelObject, as: "user" | "kernel"): void => {
  const pending: Array<readonly [KernelObject, "user" | "kernel"]> = [[object, as]]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [each, how] = next
    each.references--
    if (how === "user") each.users--
    if (how === "user" && each.users === 0 && each._tag === "Map") {
      for (const held of emptied(each)) pending.push([held, "kernel"])
    }
    if (each.references > 0) continue
    each.gone?.()
    for (const held of heldBy(each)) pending.push([held, "kernel"])
    if (each._tag === "Map") BoundMap.unbind(environment, each.bound)
  }
}

/** Takes the programs and events out of an array that no user can reach, and answers them. */
const emptied = ({ map }: MapObject): ReadonlyArray<KernelObject> => {
  const { flags, type } = map.shape.attr
  const isEmptied = type === MapType.BPF_MAP_TYPE_PROG_ARRAY ||
    type === MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY && (flags & MapFlag.BPF_F_PRESERVE_ELEMS) === 0
  if (!isEmptied || map.store._tag !== "SlotArray") return []
  const held = Maps.held(map).map(({ handle }) => handle)
  map.store.slots.clear()
  return held
}

const heldBy = (object: KernelObject): ReadonlyArray<KernelObject> => {
  switch (object._tag) {
    case "Btf":
    case "Event":
      return []
    case "Map":
      return [
        ...Maps.held(object.map).map(({ handle }) => handle),
        ...(object.types === undefined ? [] : [object.types.btf])
      ]
    case "Prog":
      return [...object.maps, ...(object.btf === undefined ? [] : [object.btf])]
  }
}
