/**
 * Loads and stores that do not go straight to a region's bytes: through an accessor, into one of many values, beyond the
 * 2 GiB up to which the interpreter looks, and those that are not permitted; and atomic operations.
 *
 * All take the address as a register's halves and the instruction's offset. They answer false when the access faulted,
 * which the machine then holds.
 */
import { BPF_ADD, BPF_AND, BPF_CMPXCHG, BPF_FETCH, BPF_OR, BPF_XCHG, BPF_XOR } from "../insn/InsnConstants.ts"
import { fault, type Machine } from "./Machine.ts"
import * as Memory from "./Memory.ts"

/** The high half of an address plus an offset of either sign: with the carry of the low half. */
const sumHigh = (low: number, high: number, offset: number): number =>
  (low | (low + offset)) >= 0 ? high : (high + Math.floor(((low >>> 0) + offset) / 0x1_0000_0000)) | 0

/** Loads `size` bytes into `machine.out`: a number zero-extended, or what the region's accessor gives. */
export const load = (
  machine: Machine,
  low: number,
  high: number,
  offset: number,
  size: Memory.AccessSize
): boolean => {
  const { memory, out } = machine
  const at = (low + offset) | 0
  const number = sumHigh(low, high, offset)
  const region = Memory.regionAt(memory, number)
  if (region === undefined || !region.readable) return refuse(machine, at, number, size, "read")
  if (region.accessor !== undefined) {
    return region.accessor.load(at >>> 0, size, out) || refuse(machine, at, number, size, "read")
  }
  const place = Memory.locate(region, at, size)
  if (place < 0) return refuse(machine, at, number, size, "read")
  const { view } = region
  out[1] = 0
  if (size === 4) out[0] = view.getInt32(place, true)
  else if (size === 1) out[0] = view.getUint8(place)
  else if (size === 2) out[0] = view.getUint16(place, true)
  else {
    out[0] = view.getInt32(place, true)
    out[1] = view.getInt32(place + 4, true)
  }
  return true
}

/** Stores the low `size` bytes of a value. */
export const store = (
  machine: Machine,
  low: number,
  high: number,
  offset: number,
  size: Memory.AccessSize,
  valueLow: number,
  valueHigh: number
): boolean => {
  const at = (low + offset) | 0
  const number = sumHigh(low, high, offset)
  const region = Memory.regionAt(machine.memory, number)
  if (region === undefined || !region.writable) return refuse(machine, at, number, size, "write")
  if (region.accessor !== undefined) {
    return region.accessor.store(at >>> 0, size, valueLow, valueHigh) || refuse(machine, at, number, size, "write")
  }
  const place = Memory.locate(region, at, size)
  if (place < 0) return refuse(machine, at, number, size, "write")
  const { view } = region
  if (size === 4) view.setInt32(place, valueLow, true)
  else if (size === 1) view.setInt8(place, valueLow)
  else if (size === 2) view.setInt16(place, valueLow, true)
  else {
    view.setInt32(place, valueLow, true)
    view.setInt32(place + 4, valueHigh, true)
  }
  return true
}

const refuse = (
  machine: Machine,
  low: number,
  high: number,
  size: number,
  access: "read" | "write" | "atomic"
): false => {
  fault(machine, Memory.explain(machine.memory, low, high, size, access))
  return false
}

/**
 * Performs the atomic operation `operation` (an `imm` that decoding let pass) of `size` bytes at `dst` + `offset` with `src`
 * (and r0): machine instructions never run at the same time, so it is a load, a computation and a store.
 */
export const atomic = (
  machine: Machine,
  operation: number,
  dst: number,
  src: number,
  offset: number,
  size: 4 | 8
): boolean => {
  const { high, low, memory } = machine
  const base = low[dst] as number
  const at = (base + offset) | 0
  const number = sumHigh(base, high[dst] as number, offset)
  const region = Memory.regionAt(memory, number)
  const permitted = region !== undefined && region.accessor === undefined && region.readable && region.writable
  const place = permitted ? Memory.locate(region, at, size) : -1
  if (place < 0 || region === undefined) return refuse(machine, at, number, size, "atomic")
  const { view } = region
  const wide = size === 8
  const oldLow = view.getInt32(place, true)
  const oldHigh = wide ? view.getInt32(place + 4, true) : 0
  const byLow = low[src] as number
  const byHigh = high[src] as number
  let newLow = byLow
  let newHigh = byHigh
  let result = -1
  switch (operation) {
    case BPF_XCHG:
      result = src
      break
    case BPF_CMPXCHG:
      result = 0
      if (oldLow !== low[0] || (wide && oldHigh !== high[0])) {
        newLow = oldLow
        newHigh = oldHigh
      }
      break
    default: {
      if ((operation & BPF_FETCH) !== 0) result = src
      switch (operation & ~BPF_FETCH) {
        case BPF_ADD:
          newLow = (oldLow + byLow) | 0
          newHigh = oldHigh + byHigh + (newLow >>> 0 < oldLow >>> 0 ? 1 : 0)
          break
        case BPF_OR:
          newLow = oldLow | byLow
          newHigh = oldHigh | byHigh
          break
        case BPF_AND:
          newLow = oldLow & byLow
          newHigh = oldHigh & byHigh
          break
        case BPF_XOR:
          newLow = oldLow ^ byLow
          newHigh = oldHigh ^ byHigh
      }
    }
  }
  view.setInt32(place, newLow, true)
  if (wide) view.setInt32(place + 4, newHigh, true)
  if (result >= 0) {
    low[result] = oldLow
    high[result] = oldHigh
  }
  return true
}
