/**
 * The maps of running programs, found through their pinned links and given to an object that is to take their place.
 */
import * as Effect from "effect/Effect"
import type { LinkInfo } from "../services/Kernel/calls/LinkCalls.ts"
import { Kernel, type Session } from "../services/Kernel/Kernel.ts"
import type { MapInfo } from "../services/Kernel/KernelCall.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import type { LinkRef, MapRef, ProgRef, Ref } from "../services/Kernel/Ref.ts"
import { type BpfObject, isGlobalData, type MapDefinition } from "../stages/open/BpfObject.ts"
import type { EditError } from "../stages/open/EditError.ts"
import * as Given from "../stages/open/Given.ts"
import * as MapEdit from "../stages/open/MapEdit.ts"
import { refuse, type UpgradeError } from "./UpgradeError.ts"

/** What a link attaches: a program's identifier, or a struct_ops map's. */
export const attachedId = ({ detail, progId }: LinkInfo): number => detail._tag === "StructOps" ? detail.mapId : progId

/** Something that was opened for the upgrade: closed when it is over. */
export const opening = (session: Session, opened: Array<Ref>) =>
<R extends MapRef | ProgRef | LinkRef>(
  as: R,
  from: { readonly path: string } | { readonly id: number }
): Effect.Effect<R, CallError> =>
  Effect.suspend(() => {
    opened.push(as)
    return Effect.as(
      session.call("path" in from ? { _tag: "ObjGet", as, path: from.path } : { _tag: "GetById", as, id: from.id }),
      as
    )
  })

/** Which maps a new object takes over. */
export interface AdoptOptions {
  /** Maps that the new object makes for itself, by the names of its definitions. */
  readonly except?: ReadonlyArray<string>
  /** Take `.data` and `.bss` over, too, so that global variables keep their values. Constants are always the new object's. */
  readonly data?: boolean
}

/** The object with maps of running programs in place of its own, and what was found. */
export interface Adopted {
  readonly object: BpfObject
  /** The names of its maps that are taken over. */
  readonly maps: ReadonlyArray<string>
  /** What each link attaches now: for `expected` of `swap`. */
  readonly found: ReadonlyMap<string, number>
}

/** Whether a map can be taken over: not what is constant, and not what is found again by a pin of its own. */
const isAdoptable = (map: MapDefinition, { data = false, except = [] }: AdoptOptions): boolean =>
  map.autocreate && map.pinPath === undefined && map.replacedBy === undefined && !except.includes(map.name) &&
  map.origin !== "StructOps" &&
  (!isGlobalData(map) || (data && /^\.(data|bss)/.test(map.name)))

/** Bytes of a map's name that the kernel keeps. */
const nameBytes = 15

const kernelName = ({ attr, name }: MapDefinition): string => (attr.name === "" ? name : attr.name).slice(0, nameBytes)

/**
 * Finds the maps that the programs behind pinned links use, and gives them to the object in place of its own of the same names. A map
 * of another shape is refused when the object is loaded (`ReplacedMapError`), unless it is excepted.
 */
export const adopt = (
  object: BpfObject,
  pins: ReadonlyArray<string>,
  options: AdoptOptions = {}
): Effect.Effect<Adopted, CallError | UpgradeError | EditError, Kernel> =>
  Effect.scoped(Effect.gen(function*() {
    const session = yield* (yield* Kernel).session()
    const open = opening(session, [])
    const found = new Map<string, number>()
    const byName = new Map<string, MapInfo>()
    for (const pin of pins) {
      const link = yield* open(session.fresh("Link"), { path: pin })
      const info = yield* session.call({ _tag: "LinkGetInfo", link })
      found.set(pin, attachedId(info))
      if (info.progId === 0) continue
      const prog = yield* open(session.fresh("Prog"), { id: info.progId })
      for (const id of (yield* session.call({ _tag: "ProgGetInfo", prog })).mapIds) {
        const map = yield* open(session.fresh("Map"), { id })
        const each = yield* session.call({ _tag: "MapGetInfo", map })
        const other = byName.get(each.name)
        if (each.name !== "" && other !== undefined && other.id !== each.id) {
          const wanted = object.maps.some((map) => isAdoptable(map, options) && kernelName(map) === each.name)
          if (!wanted) continue
          return yield* refuse(
            "Ambiguous",
            pin,
            `maps ${other.id} and ${each.id} are both called ${each.name}`,
            "except this map, or give the object one of them (replaceMap)"
          )
        }
        byName.set(each.name, each)
      }
    }
    let edited = object
    const maps: Array<string> = []
    const taken = new Map<string, string>()
    for (const map of object.maps) {
      const name = kernelName(map)
      const there = byName.get(name)
      if (there === undefined || !isAdoptable(map, options)) continue
      const other = taken.get(name)
      if (other !== undefined) {
        const detail = `the object's maps ${other} and ${map.name} are both called ${name} by the kernel`
        return yield* refuse("Ambiguous", pins[0] ?? "", detail, "except one of them")
      }
      taken.set(name, map.name)
      edited = yield* Effect.fromResult(MapEdit.replaceMap(edited, map.name, Given.id(there.id)))
      maps.push(map.name)
    }
    return { object: edited, maps, found }
  }))
