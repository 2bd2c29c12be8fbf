/**
 * Changes to an opened object before it is relocated: pure functions from one object to another.
 *
 * Everything that libbpf's setters do between open and load, and what cilium/ebpf's specs allow, without an order to
 * keep: an edit answers a new object, or an error that names what does not fit.
 */
import * as Result from "effect/Result"
import * as BtfValue from "../../btf/BtfValue.ts"
import { type BpfObject, findMap } from "./BpfObject.ts"
import { type EditError, oneOf, refuse, replaceAt } from "./EditError.ts"
import { findVariable, variables } from "./Variables.ts"

export { EditError } from "./EditError.ts"
export { type MapChanges, replaceMap, setMap } from "./MapEdit.ts"
export {
  attachLater,
  attachTo,
  type AttachTo,
  loadOnly,
  type ProgramChanges,
  setAutoload,
  setInstructions,
  setProgram,
  setSection
} from "./ProgramEdit.ts"
export { getStructOps, setStructOps } from "./StructOpsEdit.ts"

/**
 * Sets the initial value of a global variable. The value is checked against the variable's BTF type: see
 * `BtfValue.encode` for what fits which type.
 */
export const setVariable = (object: BpfObject, name: string, value: unknown): Result.Result<BpfObject, EditError> => {
  const variable = findVariable(object, name)
  const map = variable === undefined ? undefined : object.maps[variable.map]
  if (variable === undefined || map === undefined || object.btf === undefined) {
    const names = variables(object).map((each) => each.name)
    return refuse("NoSuchVariable", name, "there is no such global variable", oneOf(names))
  }
  if (map.origin === "Kconfig" || map.initialValue === undefined) {
    return refuse("ReadOnly", name, "its value comes from the kernel's configuration")
  }
  const bytes = BtfValue.encode(object.btf, variable.type, value, object.byteOrder)
  if (Result.isFailure(bytes)) return refuse("Value", name, bytes.failure.message)
  if (bytes.success.length > variable.size) {
    return refuse("Value", name, `the value has ${bytes.success.length} bytes, the variable ${variable.size}`)
  }
  const image = map.initialValue.slice()
  image.fill(0, variable.offset, variable.offset + variable.size)
  image.set(bytes.success, variable.offset)
  return Result.succeed({ ...object, maps: replaceAt(object.maps, variable.map, { ...map, initialValue: image }) })
}

/** The initial value of a global variable, decoded by its BTF type. */
export const getVariable = (object: BpfObject, name: string): Result.Result<BtfValue.BtfValue, EditError> => {
  const variable = findVariable(object, name)
  const image = variable === undefined ? undefined : object.maps[variable.map]?.initialValue
  if (variable === undefined || image === undefined || object.btf === undefined) {
    return refuse("NoSuchVariable", name, "there is no such global variable")
  }
  const bytes = image.subarray(variable.offset, variable.offset + variable.size)
  const value = BtfValue.decode(object.btf, variable.type, bytes, object.byteOrder)
  return Result.isFailure(value) ? refuse("Value", name, value.failure.message) : Result.succeed(value.success)
}

/** Replaces the whole image of a global data map; it must have the map's value size. */
export const setInitialValue = (
  object: BpfObject,
  name: string,
  bytes: Uint8Array
): Result.Result<BpfObject, EditError> => {
  const map = findMap(object, name)
  if (map === undefined) return refuse("NoSuchMap", name, "there is no such map", oneOf(object.maps.map((m) => m.name)))
  if (map.initialValue === undefined || map.origin === "Kconfig" || map.origin === "StructOps") {
    return refuse("ReadOnly", name, "the map has no initial value of the object's own")
  }
  if (bytes.length !== map.initialValue.length) {
    return refuse("Size", name, `the image has ${bytes.length} bytes, the map ${map.initialValue.length}`)
  }
  const position = object.maps.indexOf(map)
  return Result.succeed({ ...object, maps: replaceAt(object.maps, position, { ...map, initialValue: bytes.slice() }) })
}
