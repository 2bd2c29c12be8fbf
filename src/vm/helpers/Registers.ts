/** Arguments of helpers: registers as the C types of their parameters. */
import { fault, FAULTED, type Machine } from "../Vm.ts"
import * as Memory from "../Memory.ts"
import * as BoundMap from "./BoundMap.ts"
import type { Environment } from "./Environment.ts"

/** A register as `u32`. */
export const u32 = (machine: Machine, number: number): number => (machine.low[number] as number) >>> 0

/** A register as `s32`. */
export const s32 = (machine: Machine, number: number): number => machine.low[number] as number

/** A register as `u64`: exact up to 2^53, and beyond all that is compared with a limit is above it. */
export const u64 = (machine: Machine, number: number): number =>
  ((machine.high[number] as number) >>> 0) * 0x1_0000_0000 + u32(machine, number)

/**
 * The region of the `size` bytes that a register points to, or undefined, with the fault noted. Where they are in its bytes
 * says `placeOf`; together they name the bytes without making a view of them.
 */
export const regionOf = (machine: Machine, number: number, size: number, write: boolean): Memory.Region | undefined => {
  const low = machine.low[number] as number
  const high = machine.high[number] as number
  const region = Memory.regionAt(machine.memory, high)
  if (
    region !== undefined && region.accessor === undefined && (write ? region.writable : region.readable) &&
    Memory.locate(region, low, size) >= 0
  ) return region
  const fields = Memory.explain(machine.memory, low, high, size, write ? "write" : "read")
  fault(machine, { ...fields, hint: `r${number} of the call${fields.hint === undefined ? "" : `: ${fields.hint}`}` })
  return undefined
}

/** Where in the bytes of a region `regionOf` found a register's. */
export const placeOf = (machine: Machine, number: number, region: Memory.Region): number =>
  Memory.locate(region, machine.low[number] as number, 0)

/** The map whose address a register holds, or undefined, with the fault noted. */
export const mapOf = (environment: Environment, machine: Machine, number: number): BoundMap.BoundMap | undefined => {
  const map = BoundMap.at(environment, machine.low[number] as number, machine.high[number] as number)
  if (map === undefined) fault(machine, { reason: "Helper", value: `r${number} of the call is no map` })
  return map
}

/** The fault of a call whose region, map or packet was not there: it is noted already. */
export const faulted = FAULTED
