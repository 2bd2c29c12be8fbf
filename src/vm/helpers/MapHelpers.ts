/**
 * Helpers on the elements of maps, and on what slots of maps stand for.
 *
 * Semantics: `kernel/bpf/helpers.c`, `kernel/bpf/bpf_iter.c` and the map types' own; see `maps/ProgramSide.ts`.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import {
  enter,
  ENTERED,
  FAULTED,
  type Handled,
  type Helper,
  type Machine,
  refuse,
  RETURNED,
  returnAddress,
  returnNumber,
  setAddress,
  tailCall
} from "../Vm.ts"
import * as Maps from "../maps/SimulatedMap.ts"
import * as Memory from "../Memory.ts"
import * as BoundMap from "./BoundMap.ts"
import type { Environment } from "./Environment.ts"
import { mapOf, placeOf, regionOf, u32, u64 } from "./Registers.ts"

const full = (machine: Machine): typeof FAULTED => refuse(machine, "the memory has no place for another region")

/** Answers with the address of an element's value, NULL where there is none (-1). */
const returnElement = (
  environment: Environment,
  machine: Machine,
  bound: BoundMap.BoundMap,
  element: number
): Handled => {
  if (element < 0) return returnNumber(machine, 0)
  const region = BoundMap.valueRegion(environment, bound, element)
  return region === undefined ? full(machine) : returnAddress(machine, region)
}

const isSimulated = (map: unknown): map is Maps.SimulatedMap =>
  typeof map === "object" && map !== null && "store" in map

/** Answers with the address of the map in a slot of a map of maps, NULL where there is none. */
const returnInner = (
  environment: Environment,
  machine: Machine,
  outer: BoundMap.BoundMap,
  key: Uint8Array,
  at: number
): Handled => {
  const slot = Maps.slotOf(outer.map, key, at)
  if (slot === undefined) return returnNumber(machine, 0)
  if (!isSimulated(slot.map)) return refuse(machine, `a slot of map ${outer.name} holds no map`)
  const inner = BoundMap.bind(environment, slot.map)
  return inner === undefined ? full(machine) : returnAddress(machine, inner.handle)
}

/** `bpf_map_lookup_elem`, and `bpf_map_lookup_percpu_elem` where `cpuIn` names the register of the CPU. */
const lookup = (environment: Environment, cpuIn?: number): Helper => (machine) => {
  const bound = mapOf(environment, machine, 1)
  if (bound === undefined) return FAULTED
  const key = regionOf(machine, 2, bound.map.shape.attr.keySize, false)
  if (key === undefined) return FAULTED
  const at = placeOf(machine, 2, key)
  const { _tag } = bound.map.store
  if (_tag === "SlotArray" || _tag === "SlotHash") return returnInner(environment, machine, bound, key.bytes, at)
  const cpu = cpuIn === undefined ? environment.cpu : u32(machine, cpuIn)
  return returnElement(environment, machine, bound, Maps.helperLookup(bound.map, key.bytes, at, cpu))
}

const update = (environment: Environment): Helper => (machine) => {
  const bound = mapOf(environment, machine, 1)
  if (bound === undefined) return FAULTED
  const { keySize, valueSize } = bound.map.shape.attr
  const key = regionOf(machine, 2, keySize, false)
  const value = key === undefined ? undefined : regionOf(machine, 3, valueSize, false)
  if (key === undefined || value === undefined) return FAULTED
  const keyAt = placeOf(machine, 2, key)
  const valueAt = placeOf(machine, 3, value)
  const flags = u64(machine, 4)
  return returnNumber(
    machine,
    Maps.helperUpdate(bound.map, key.bytes, keyAt, value.bytes, valueAt, flags, environment.cpu)
  )
}

const remove = (environment: Environment): Helper => (machine) => {
  const bound = mapOf(environment, machine, 1)
  if (bound === undefined) return FAULTED
  const key = regionOf(machine, 2, bound.map.shape.attr.keySize, false)
  if (key === undefined) return FAULTED
  return returnNumber(machine, Maps.helperDelete(bound.map, key.bytes, placeOf(machine, 2, key)))
}

/** A helper on a value in memory: push reads it, pop and peek write it (peek of a bloom filter reads). */
const onValue = (
  environment: Environment,
  writes: (map: Maps.SimulatedMap) => boolean,
  body: (map: Maps.SimulatedMap, value: Uint8Array, at: number, flags: number) => number
): Helper =>
(machine) => {
  const bound = mapOf(environment, machine, 1)
  if (bound === undefined) return FAULTED
  const value = regionOf(machine, 2, bound.map.shape.attr.valueSize, writes(bound.map))
  if (value === undefined) return FAULTED
  return returnNumber(machine, body(bound.map, value.bytes, placeOf(machine, 2, value), u64(machine, 3)))
}

/** Where callbacks see the key of the element of their turn: one place per machine and frame. */
const keyRegions = new WeakMap<Machine, Array<Memory.Region | undefined>>()

const keyRegion = (machine: Machine): Memory.Region | undefined => {
  let regions = keyRegions.get(machine)
  if (regions === undefined) keyRegions.set(machine, regions = [])
  return regions[machine.depth] ??= Memory.add(machine.memory, { name: "key of the element", writable: false })
}

const forEach = (environment: Environment): Helper => (machine) => {
  const bound = mapOf(environment, machine, 1)
  if (bound === undefined) return FAULTED
  const iteration = Maps.helperIterate(bound.map, u64(machine, 4))
  if (typeof iteration === "number") return returnNumber(machine, iteration)
  const keys = keyRegion(machine)
  if (keys === undefined) return full(machine)
  const callback = [machine.low[2] as number, machine.high[2] as number] as const
  const context = [machine.low[3] as number, machine.high[3] as number] as const
  let visited = 0
  const next = (again: Machine): Handled => {
    const element = Maps.iterateNext(bound.map, iteration, environment.cpu)
    if (element < 0) return returnNumber(again, visited)
    const value = BoundMap.valueRegion(environment, bound, element)
    if (value === undefined) return full(again)
    Memory.rebind(keys, Maps.elementKey(bound.map, element))
    visited++
    setAddress(again, 1, bound.handle, 0)
    setAddress(again, 2, keys, 0)
    setAddress(again, 3, value, 0)
    again.low[4] = context[0]
    again.high[4] = context[1]
    return enter(again, callback[0], callback[1], returned)
  }
  const returned = (again: Machine): Handled => {
    if (again.low[0] === 0 && again.high[0] === 0) return next(again)
    Maps.endIteration(bound.map, iteration)
    return returnNumber(again, visited)
  }
  return next(machine)
}

const loop = (machine: Machine): Handled => {
  const count = u32(machine, 1)
  if (u64(machine, 4) !== 0) return returnNumber(machine, -numbers.EINVAL)
  // The helper takes 32 bits, but the kernel puts calls whose callback and flags are constant in line, with all 64.
  if (machine.high[1] !== 0 || count > maximumLoops) return returnNumber(machine, -numbers.E2BIG)
  const callback = [machine.low[2] as number, machine.high[2] as number] as const
  const context = [machine.low[3] as number, machine.high[3] as number] as const
  let done = 0
  const next = (again: Machine): Handled => {
    if (done === count) return returnNumber(again, done)
    again.low[1] = done++
    again.high[1] = 0
    again.low[2] = context[0]
    again.high[2] = context[1]
    return enter(again, callback[0], callback[1], returned)
  }
  const returned = (again: Machine): Handled =>
    again.low[0] === 0 && again.high[0] === 0 ? next(again) : returnNumber(again, done)
  return next(machine)
}

/** `BPF_MAX_LOOPS`. */
const maximumLoops = 8 * 1024 * 1024

/** A tail call that cannot be made goes on with the next instruction; what is in r0 then is nobody's. */
const callTail = (environment: Environment): Helper => (machine) => {
  const bound = mapOf(environment, machine, 2)
  if (bound === undefined) return FAULTED
  const slot = Maps.slotAt(bound.map, u32(machine, 3))
  if (slot === undefined) return RETURNED
  const program = environment.programOf(slot.handle)
  if (program === undefined) return refuse(machine, `a slot of map ${bound.name} holds no program that can run`)
  return tailCall(machine, program) ? ENTERED : RETURNED
}

/** Spin locks: nobody else runs, so there is nothing to wait for; what they lock must be there. */
const lock: Helper = (machine) => {
  if (regionOf(machine, 1, 4, true) === undefined) return FAULTED
  return returnNumber(machine, 0)
}

/** The helpers by their name without prefix. */
export const helpers = (environment: Environment): Readonly<Record<string, Helper>> => ({
  map_lookup_elem: lookup(environment),
  map_lookup_percpu_elem: lookup(environment, 3),
  map_update_elem: update(environment),
  map_delete_elem: remove(environment),
  map_push_elem: onValue(environment, () => false, Maps.helperPush),
  map_pop_elem: onValue(environment, () => true, Maps.helperPop),
  map_peek_elem: onValue(environment, (map) => map.store._tag !== "Bloom", Maps.helperPeek),
  for_each_map_elem: forEach(environment),
  loop,
  tail_call: callTail(environment),
  spin_lock: lock,
  spin_unlock: lock
})
