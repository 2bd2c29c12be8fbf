/**
 * The global variables of an object: which map they live in, where, and of what type.
 */
import * as Btf from "../../btf/Btf.ts"
import * as Kind from "../../btf/BtfKind.ts"
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import { type BpfObject, isGlobalData, type MapDefinition } from "./BpfObject.ts"

/** A variable of the object, or one that the kernel's configuration fills. */
export interface Variable {
  readonly name: string
  /** Position in `object.maps` of the map that is its section, or the arena that its section is put into. */
  readonly map: number
  readonly section: string
  /** Bytes from the start of the map's value, or of the variables in the arena. */
  readonly offset: number
  /** Bytes. */
  readonly size: number
  /** The variable's type in the object's BTF, without the VAR around it. */
  readonly type: number
  /** Visible outside its file. */
  readonly global: boolean
}

/** The section of the variables in an object's arena. */
export const arenaSection = ".addr_space.1"

/** The DATASEC that describes a map's value, where it is global data or has an arena's variables. */
const datasecOf = (btf: Btf.Btf, map: MapDefinition): { readonly id: number; readonly size: number } | undefined => {
  if (isGlobalData(map)) return map.valueType === 0 ? undefined : { id: map.valueType, size: map.attr.valueSize }
  if (map.attr.type !== MapType.BPF_MAP_TYPE_ARENA || map.initialValue === undefined) return undefined
  const id = Btf.findOne(btf, arenaSection, Kind.BTF_KIND_DATASEC)
  return id === undefined ? undefined : { id, size: map.initialValue.length }
}

/** All variables that the object's BTF names, by map and offset. */
export const variables = (object: BpfObject): ReadonlyArray<Variable> => {
  const { btf } = object
  if (btf === undefined) return []
  const seen = new Set<number>()
  return object.maps.flatMap((map, position) => {
    // Sections of one name share their DATASEC; only the first can be the one that it describes.
    const described = datasecOf(btf, map)
    if (described === undefined || seen.has(described.id)) return []
    seen.add(described.id)
    const datasec = Btf.typeOf(btf, described.id)
    if (datasec._tag !== "Datasec") return []
    return datasec.entries.flatMap((entry): ReadonlyArray<Variable> => {
      const variable = Btf.typeOf(btf, entry.type)
      if (variable._tag !== "Var" || entry.offset + entry.size > described.size) return []
      return [{
        name: variable.name,
        map: position,
        section: isGlobalData(map) ? map.sectionName : arenaSection,
        offset: entry.offset,
        size: entry.size,
        type: variable.type,
        global: variable.linkage !== Kind.BTF_VAR_STATIC
      }]
    })
  })
}

/** The variable of this name; a global one is preferred to static ones. */
export const findVariable = (object: BpfObject, name: string): Variable | undefined => {
  const named = variables(object).filter((variable) => variable.name === name)
  return named.find((variable) => variable.global) ?? named[0]
}
