/**
 * The layouts that a skeleton's types had when it was made, which are compared with those of the object that it is used on.
 */
import * as BtfLayout from "../../../btf/BtfLayout.ts"
import { type BpfObject, entryPrograms, isGlobalData, type MapDefinition } from "../../open/BpfObject.ts"
import * as Variables from "../../open/Variables.ts"
import type { Context } from "./TsMaps.ts"
import * as TsPrograms from "./TsPrograms.ts"
import * as TsText from "./TsText.ts"

/** The types of a map's keys and values, and of those of the maps in it; sections and structs of functions have others. */
const ofMap = (map: MapDefinition): ReadonlyArray<number> => [
  ...(isGlobalData(map) || map.structOps !== undefined ? [] : [map.keyType, map.valueType]),
  ...(map.inner === undefined ? [] : ofMap(map.inner))
]

/** The layouts of the types that keys, values, records, variables and contexts consist of, by their C names. */
export const layoutsOf = (
  object: BpfObject,
  events: Context["events"]
): ReadonlyArray<{ readonly name: string; readonly expression: string }> => {
  const { btf } = object
  if (btf === undefined) return []
  const types = [
    ...object.maps.flatMap(ofMap),
    ...[...events.values()].flatMap((map) => map.types.map(({ type }) => type)),
    ...Variables.variables(object).filter((variable) => variable.global).map(({ type }) => type),
    ...entryPrograms(object).flatMap((program) => TsPrograms.contextType(object, program) ?? [])
  ]
  const found = BtfLayout.layouts(btf, types.filter((type) => type !== 0))
  return [...found].map(([name, layout]) => ({ name, expression: TsText.literal(layout) }))
}
