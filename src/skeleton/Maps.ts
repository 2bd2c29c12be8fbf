/**
 * The maps of a skeleton: what can be said of them before the load, and how their handles are made afterwards.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import type { BtfValue } from "../btf/BtfValue.ts"
import type { MapError } from "../maps/MapError.ts"
import type * as Ref from "../services/Kernel/Ref.ts"
import type { LoadedObject } from "../stages/load/Execute.ts"
import { type BpfObject, findMap, type MapDefinition } from "../stages/open/BpfObject.ts"
import * as Edit from "../stages/open/Edit.ts"
import type { Given } from "../stages/open/Given.ts"

/** What can be changed of a map before the load. */
export interface MapSettings {
  /** How many elements it can have; bytes of a ring buffer. */
  maxEntries: number
  /** `BPF_F_*` of maps. */
  flags: number
  /** Where the map is shared by a pin; `undefined` for a map of the object's own. */
  pinPath: string | undefined
  /** Whether the load creates it. */
  autocreate: boolean
  /** Bytes of an inner value; of global data, of the section. */
  valueSize: number
  numaNode: number
  /** The network device whose map it is, by its number; 0 for none. */
  ifindex: number
  extra: bigint
  /** A map of the user's that is taken in its place. */
  replacedBy: Given | undefined
}

/** A map before the load. What is assigned here counts when it is loaded. */
export interface OpenedMap extends MapSettings {
  readonly name: string
  /** `BPF_MAP_TYPE_*` */
  readonly type: number
  readonly keySize: number
}

/** A struct of functions before the load. What is assigned to its members counts when it is loaded. */
export interface OpenedStructOps<out S> extends OpenedMap {
  /** Functions have the name of a program or `null`, other members their values. */
  readonly members: S
}

/** A map of a loaded object, as far as all kinds are alike. */
export interface MapHandle {
  readonly name: string
  /** The map in its session. */
  readonly ref: Ref.MapRef
}

/** What a skeleton knows of a map, and how it makes the handle of it when the object is loaded. */
export interface MapDescription<out H> {
  /** What it is called in C; of global data, the name of the section. */
  readonly name: string
  /** `BPF_MAP_TYPE_*` */
  readonly type: number
  readonly keySize: number
  /** Bytes of a value, unless an edit may change them. */
  readonly valueSize: number | undefined
  /** Of a struct of functions: the members that can be changed. */
  readonly members?: ReadonlyArray<string>
  readonly make: (loaded: LoadedObject, ref: Ref.MapRef) => Effect.Effect<H, MapError, Kernel | Scope.Scope>
}

/** A map that has no handle of its own kind: it is known by its name, and calls can be made on it. */
export const plain = (name: string, type: number, keySize: number): MapDescription<MapHandle> => ({
  name,
  type,
  keySize,
  valueSize: undefined,
  make: (_loaded, ref) => Effect.succeed({ name, ref })
})

const settingsOf = (map: MapDefinition | undefined): MapSettings => ({
  maxEntries: map?.attr.maxEntries ?? 0,
  flags: map?.attr.flags ?? 0,
  pinPath: map?.pinPath,
  autocreate: map?.autocreate ?? false,
  valueSize: map?.attr.valueSize ?? 0,
  numaNode: map?.attr.numaNode ?? 0,
  ifindex: map?.attr.ifindex ?? 0,
  extra: map?.attr.extra ?? 0n,
  replacedBy: map?.replacedBy
})

/** What a map is like before the load, to be changed. */
export const opened = (object: BpfObject, name: string): OpenedMap => {
  const map = findMap(object, name)
  const settings: OpenedMap = {
    name,
    type: map?.attr.type ?? 0,
    keySize: map?.attr.keySize ?? 0,
    ...settingsOf(map)
  }
  return Object.seal(settings)
}

/** What a struct of functions is like before the load, to be changed. What was changed is put into `changes`. */
export const openedStructOps = (
  object: BpfObject,
  name: string,
  members: ReadonlyArray<string>,
  changes: Map<string, BtfValue | null>
): OpenedStructOps<object> => {
  const properties: PropertyDescriptorMap = {}
  for (const member of members) {
    properties[member] = {
      enumerable: true,
      get: () => {
        const changed = changes.get(member)
        return changed === undefined ? Result.getOrThrow(Edit.getStructOps(object, name, member)) : changed
      },
      set: (value: BtfValue | null) => {
        changes.set(member, value)
      }
    }
  }
  const values: object = Object.preventExtensions(Object.defineProperties({}, properties))
  return Object.seal({ ...opened(object, name), members: values })
}

/** The object with the changes that were made to one of its maps. */
export const changed = (object: BpfObject, changes: OpenedMap): Result.Result<BpfObject, Edit.EditError> => {
  const { autocreate, extra, flags, ifindex, maxEntries, name, numaNode, pinPath, replacedBy, valueSize } = changes
  const before = settingsOf(findMap(object, name))
  const edits: Edit.MapChanges = {
    ...(maxEntries === before.maxEntries ? {} : { maxEntries }),
    ...(flags === before.flags ? {} : { flags }),
    ...(pinPath === before.pinPath ? {} : { pinPath: pinPath ?? null }),
    ...(autocreate === before.autocreate ? {} : { autocreate }),
    ...(valueSize === before.valueSize ? {} : { valueSize }),
    ...(numaNode === before.numaNode ? {} : { numaNode }),
    ...(ifindex === before.ifindex ? {} : { ifindex }),
    ...(extra === before.extra ? {} : { extra }),
    ...(replacedBy === before.replacedBy ? {} : { replacedBy: replacedBy ?? null })
  }
  return Object.keys(edits).length === 0 ? Result.succeed(object) : Edit.setMap(object, name, edits)
}
