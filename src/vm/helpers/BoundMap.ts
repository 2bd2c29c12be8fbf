/**
 * Maps as programs see them: an address for the map itself, and addresses for the values that look-ups find.
 *
 * A map's own address permits no access; helpers take it as their map argument. A value gets a region when a program first
 * finds it, and keeps it: the same element always has the same address, as in the kernel.
 */
import { programAccess, type SimulatedMap } from "../maps/SimulatedMap.ts"
import * as Maps from "../maps/SimulatedMap.ts"
import * as Memory from "../Memory.ts"
import type { Environment } from "./Environment.ts"

/** A map with addresses in one memory. */
export interface BoundMap {
  readonly map: SimulatedMap
  readonly name: string
  /** What the map's own address is in. */
  readonly handle: Memory.Region
  /** By element: where programs see its value. */
  readonly values: Array<Memory.Region | undefined>
  /** What programs may do with its values. */
  readonly reads: boolean
  readonly writes: boolean
}

/**
 * Gives a map an address, or undefined where the memory has no place left. A map that has one keeps it; the name of the
 * first time stays.
 */
export const bind = (environment: Environment, map: SimulatedMap, name?: string): BoundMap | undefined => {
  const known = environment.bound.get(map)
  if (known !== undefined) return known
  const called = name ?? map.shape.attr.name
  const handle = Memory.add(environment.memory, { name: `map ${called}`, readable: false, writable: false })
  if (handle === undefined) return undefined
  const bound: BoundMap = { map, name: called, handle, values: [], ...programAccess(map) }
  environment.maps.set(handle.id, bound)
  environment.bound.set(map, bound)
  return bound
}

/** Takes a map's addresses away: for a map that nobody can use any more. */
export const unbind = (environment: Environment, bound: BoundMap): void => {
  environment.maps.delete(bound.handle.id)
  environment.bound.delete(bound.map)
  for (const value of bound.values) if (value !== undefined) Memory.remove(environment.memory, value)
  bound.values.length = 0
  Memory.remove(environment.memory, bound.handle)
}

/** The map of an address, as halves; the low half must be 0. */
export const at = (environment: Environment, low: number, high: number): BoundMap | undefined =>
  low === 0 ? environment.maps.get(high) : undefined

/** The region of an element's value, or undefined where the memory has no place left. */
export const valueRegion = (environment: Environment, bound: BoundMap, element: number): Memory.Region | undefined => {
  const known = bound.values[element]
  if (known !== undefined) return known
  const region = Memory.add(environment.memory, {
    name: `value of map ${bound.name}`,
    bytes: Maps.elementBytes(bound.map, element),
    readable: bound.reads,
    writable: bound.writes
  })
  bound.values[element] = region
  return region
}

/**
 * The address of byte `offset` of a map's first value, as a 64-bit immediate load of a map value has it; undefined for maps
 * whose values have no fixed place, and for offsets that are not within the value.
 */
export const valueAddress = (environment: Environment, bound: BoundMap, offset: number): bigint | undefined => {
  const element = Maps.directElement(bound.map)
  if (element < 0 || offset < 0 || offset >= bound.map.shape.attr.valueSize) return undefined
  const region = valueRegion(environment, bound, element)
  return region === undefined ? undefined : Memory.address(region, offset)
}
