/**
 * The global variables of an object: which map they live in, where, and of what type.
 */
import * as Btf from "../../btf/Btf.ts"
import * as Kind from "../../btf/BtfKind.ts"
import { type BpfObject, isGlobalData } from "./BpfObject.ts"

/** A variable of the object, or one that the kernel's configuration fills. */
export interface Variable {
  readonly name: string
  /** Position in `object.maps` of the map that is its section. */
  readonly map: number
  readonly section: string
  /** Bytes from the start of the map's value. */
  readonly offset: number
  /** Bytes. */
  readonly size: number
  /** The variable's type in the object's BTF, without the VAR around it. */
  readonly type: number
  /** Visible outside its file. */
  readonly global: boolean
}

/** All variables that the object's BTF names, by map and offset. */
export const variables = (object: BpfObject): ReadonlyArray<Variable> => {
  const { btf } = object
  if (btf === undefined) return []
  const seen = new Set<number>()
  return object.maps.flatMap((map, position) => {
    // Sections of one name share their DATASEC; only the first can be the one that it describes.
    if (!isGlobalData(map) || map.valueType === 0 || seen.has(map.valueType)) return []
    seen.add(map.valueType)
    const datasec = Btf.typeOf(btf, map.valueType)
    if (datasec._tag !== "Datasec") return []
    return datasec.entries.flatMap((entry): ReadonlyArray<Variable> => {
      const variable = Btf.typeOf(btf, entry.type)
      if (variable._tag !== "Var" || entry.offset + entry.size > map.attr.valueSize) return []
      return [{
        name: variable.name,
        map: position,
        section: map.sectionName,
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
