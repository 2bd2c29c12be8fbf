/**
 * Changes to the maps of an opened object: attributes, pins, what stands in for them, and the size of global data.
 */
import * as Result from "effect/Result"
import * as Btf from "../../btf/Btf.ts"
import * as BtfEdit from "../../btf/BtfEdit.ts"
import type { MapAttributes } from "../../services/Kernel/KernelCall.ts"
import { type BpfObject, findMap, holdsMaps, isGlobalData, type MapDefinition } from "./BpfObject.ts"
import { EditError, oneOf, refuse, replaceAt, wrongNumber } from "./EditError.ts"
import * as Given from "./Given.ts"

/** What can be changed of a map. Fields that are absent stay as they are. */
export interface MapChanges extends Partial<Omit<MapAttributes, "name">> {
  /** Share the map by this pin; `null` for a map of the object's own. */
  readonly pinPath?: string | null
  /** Whether a load creates the map. Programs that use one which is not created are refused by the verifier. */
  readonly autocreate?: boolean
  /**
   * Take a map of the user's in its place, by descriptor, pin or identifier; `null` for one of the load's own. The load
   * looks whether type, sizes, flags and `map_extra` are those of the definition, and neither fills nor seals the map.
   */
  readonly replacedBy?: Given.Given | null
  /** Of a map of maps: a map of the user's that has the shape of those in it; `null` for the definition's own. */
  readonly innerLike?: Given.Given | null
  /** The only program that may use the map, by name; `null` for any. Kernels before 6.18 know no such maps. */
  readonly exclusiveTo?: string | null
}

/** What does not go with each other in changes of a map; `undefined` where all does. */
const wrongUse = (object: BpfObject, map: MapDefinition, changes: MapChanges): EditError | undefined => {
  const { exclusiveTo, innerLike, replacedBy } = changes
  const wrong = (reason: EditError["reason"], detail: string, hint?: string): EditError =>
    new EditError({ reason, name: map.name, detail, ...(hint === undefined ? {} : { hint }) })
  for (const given of [replacedBy, innerLike]) {
    const complaint = given === undefined || given === null ? undefined : Given.complaint(given)
    if (complaint !== undefined) return wrong("Handle", complaint)
  }
  if (typeof replacedBy === "object" && replacedBy !== null && map.origin === "StructOps") {
    return wrong("Handle", "a struct_ops variable cannot be another map: the kernel calls the programs in this one")
  }
  if (typeof innerLike === "object" && innerLike !== null && !holdsMaps(changes.type ?? map.attr.type)) {
    return wrong("Handle", "only maps of maps have a shape that the maps in them must have")
  }
  const names = object.programs.filter((program) => program.entry).map((program) => program.name)
  return typeof exclusiveTo === "string" && !names.includes(exclusiveTo)
    ? wrong("NoSuchProgram", `there is no program ${exclusiveTo} that the map could belong to`, oneOf(names))
    : undefined
}

/** The changes that a field of its own keeps: `null` takes it away, absence leaves it. */
const withUse = (
  map: MapDefinition,
  { exclusiveTo, innerLike, replacedBy }: MapChanges
): Pick<MapDefinition, "exclusiveTo" | "innerLike" | "replacedBy"> => {
  const taker = replacedBy === undefined ? map.replacedBy : replacedBy
  const like = innerLike === undefined ? map.innerLike : innerLike
  const owner = exclusiveTo === undefined ? map.exclusiveTo : exclusiveTo
  return {
    ...(taker === undefined || taker === null ? {} : { replacedBy: taker }),
    ...(like === undefined || like === null ? {} : { innerLike: like }),
    ...(owner === undefined || owner === null ? {} : { exclusiveTo: owner })
  }
}

/** The DATASEC of a map whose last variable is an array, with that array made longer or shorter to fill the new size. */
const resizeDatasec = (btf: Btf.Btf, map: MapDefinition, size: number): Btf.Btf | undefined => {
  const datasec = Btf.typeOf(btf, map.valueType)
  if (datasec._tag !== "Datasec") return undefined
  const last = datasec.entries.at(-1)
  const variable = last === undefined ? undefined : Btf.typeOf(btf, last.type)
  if (last === undefined || variable?._tag !== "Var") return undefined
  const array = Btf.typeOf(btf, Btf.resolveType(btf, variable.type))
  if (array._tag !== "Array") return undefined
  const element = Btf.resolveSize(btf, array.type)
  if (Result.isFailure(element) || element.success === 0) return undefined
  const length = (size - last.offset) / element.success
  if (!Number.isInteger(length) || length < 0) return undefined
  const editor = BtfEdit.edit(btf)
  editor.setVarType(last.type, editor.addArray(array.indexType, array.type, length))
  editor.setDatasecEntry(map.valueType, datasec.entries.length - 1, { size: size - last.offset })
  editor.setDatasecSize(map.valueType, size)
  return Result.getOrUndefined(editor.finish())
}

/** The image of a data section at another size: cut, or with zeroes behind it. */
const resizeImage = (image: Uint8Array, size: number): Uint8Array => {
  const resized = new Uint8Array(size)
  resized.set(image.subarray(0, size))
  return resized
}

const resized = (object: BpfObject, position: number, map: MapDefinition, size: number): BpfObject => {
  const btf = object.btf === undefined || map.valueType === 0 ? undefined : resizeDatasec(object.btf, map, size)
  return {
    ...object,
    btf: btf ?? object.btf,
    maps: replaceAt(object.maps, position, {
      ...map,
      attr: { ...map.attr, valueSize: size },
      initialValue: map.initialValue === undefined ? undefined : resizeImage(map.initialValue, size),
      // Without an array at the end, no variable can account for the new size: the map goes without types.
      valueType: btf === undefined ? 0 : map.valueType
    })
  }
}

/** The most bytes that a data section can be resized to: what an array map holds. */
const maxDataSize = 0x2000_0000

/**
 * Changes a map. The value size of a global data map can be changed too: its image is cut or filled up with zeroes, and
 * when its last variable is an array, that array takes the new length.
 */
export const setMap = (object: BpfObject, name: string, changes: MapChanges): Result.Result<BpfObject, EditError> => {
  const found = findMap(object, name)
  const position = found === undefined ? -1 : object.maps.indexOf(found)
  if (found === undefined) {
    return refuse(
      "NoSuchMap",
      name,
      "there is no such map",
      oneOf(object.maps.map((m) => m.name))
    )
  }
  const { autocreate, exclusiveTo: _owner, innerLike: _like, pinPath, replacedBy: _taker, ...attr } = changes
  const wide = wrongNumber(attr)
  if (wide !== undefined) return refuse("Size", name, wide)
  const misused = wrongUse(object, found, changes)
  if (misused !== undefined) return Result.fail(misused)
  let edited = object
  let map = found
  const { valueSize } = attr
  if (isGlobalData(map)) {
    if (attr.keySize !== undefined && attr.keySize !== map.attr.keySize) {
      return refuse("Size", name, "the key of global data is its section's number and has 4 bytes")
    }
    if (valueSize !== undefined && valueSize !== map.attr.valueSize) {
      if (map.origin === "Kconfig") return refuse("ReadOnly", name, "its layout comes from the object's externs")
      if (valueSize === 0 || valueSize > maxDataSize) {
        return refuse("Size", name, `${valueSize} bytes are no size of global data`)
      }
      edited = resized(object, position, map, valueSize)
      map = edited.maps[position] ?? map
    }
  }
  const sizesChange = !isGlobalData(map) && (
    (attr.keySize !== undefined && attr.keySize !== map.attr.keySize) ||
    (valueSize !== undefined && valueSize !== map.attr.valueSize)
  )
  if (sizesChange && map.origin === "StructOps") return refuse("Size", name, "its size is that of its struct")
  const { exclusiveTo: _oldOwner, innerLike: _oldLike, replacedBy: _oldTaker, ...rest } = map
  const changed: MapDefinition = {
    ...rest,
    ...withUse(map, changes),
    attr: { ...map.attr, ...attr },
    pinPath: pinPath === undefined ? map.pinPath : pinPath ?? undefined,
    autocreate: autocreate ?? map.autocreate,
    // The types no longer describe keys and values of another size.
    ...(sizesChange ? { keyType: 0, valueType: 0 } : {})
  }
  return Result.succeed({ ...edited, maps: replaceAt(edited.maps, position, changed) })
}

/** Takes a map of the user's in place of one of the object's: `setMap` with `replacedBy`. */
export const replaceMap = (
  object: BpfObject,
  name: string,
  handle: Given.Given
): Result.Result<BpfObject, EditError> => setMap(object, name, { replacedBy: handle })
