/**
 * Helpers that hand events to user space and take them: ring buffers, dynptrs on their records, perf buffers.
 *
 * A dynptr takes the 16 bytes that it takes in the kernel: an address, a length of 24 bits below its kind, an offset. The
 * verifier keeps programs from reading or writing them.
 *
 * Semantics: `kernel/bpf/ringbuf.c`, `kernel/bpf/helpers.c`, `kernel/trace/bpf_trace.c`, `net/core/filter.c`.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import * as Skb from "../contexts/Skb.ts"
import * as Xdp from "../contexts/XdpBuff.ts"
import {
  enter,
  FAULTED,
  type Handled,
  type Helper,
  type Machine,
  readable,
  refuse,
  returnAddress,
  returnBigint,
  returnNumber,
  setAddress
} from "../Vm.ts"
import * as RingBuffer from "../maps/RingBuffer.ts"
import * as Maps from "../maps/SimulatedMap.ts"
import * as Memory from "../Memory.ts"
import type { BoundMap } from "./BoundMap.ts"
import type { Environment } from "./Environment.ts"
import { mapOf, placeOf, regionOf, u32, u64 } from "./Registers.ts"

interface Ring {
  readonly bound: BoundMap
  readonly ring: RingBuffer.RingStore
}

const ringArgument = (environment: Environment, machine: Machine, number: number): Ring | undefined => {
  const bound = mapOf(environment, machine, number)
  if (bound === undefined) return undefined
  const ring = Maps.ringOf(bound.map)
  if (ring !== undefined) return { bound, ring }
  refuse(machine, `map ${bound.name} is no ring buffer`)
  return undefined
}

const output = (environment: Environment): Helper => (machine) => {
  const found = ringArgument(environment, machine, 1)
  if (found === undefined) return FAULTED
  const size = u64(machine, 3)
  const flags = u64(machine, 4)
  if (flags > (RingBuffer.BPF_RB_NO_WAKEUP | RingBuffer.BPF_RB_FORCE_WAKEUP)) {
    return returnNumber(machine, -numbers.EINVAL)
  }
  const data = regionOf(machine, 2, size, false)
  if (data === undefined) return FAULTED
  const { answer, wake } = RingBuffer.output(found.ring, data.bytes, placeOf(machine, 2, data), size, flags)
  if (wake) environment.wake(found.bound)
  return returnNumber(machine, answer)
}

/** Reserves a record and gives it a region; undefined where the buffer has no room, or the memory none. */
const reserveRecord = (
  environment: Environment,
  { bound, ring }: Ring,
  size: number,
  flags: number
): Memory.Region | undefined => {
  const payload = RingBuffer.reserve(ring, size, flags)
  if (payload < 0) return undefined
  const bytes = ring.memory.subarray(payload, payload + size)
  const region = Memory.add(environment.memory, { name: `record of map ${bound.name}`, bytes })
  if (region === undefined) {
    RingBuffer.commit(ring, payload, true, RingBuffer.BPF_RB_NO_WAKEUP)
    return undefined
  }
  environment.records.set(region.id, { map: bound, region, payload })
  return region
}

const reserve = (environment: Environment): Helper => (machine) => {
  const found = ringArgument(environment, machine, 1)
  if (found === undefined) return FAULTED
  const region = reserveRecord(environment, found, u64(machine, 2), u64(machine, 3))
  if (region === undefined) return returnNumber(machine, 0)
  return returnAddress(machine, region)
}

/** Submits or discards the record in this region; false where there is none. */
const commitRecord = (environment: Environment, high: number, discard: boolean, flags: number): boolean => {
  const record = environment.records.get(high)
  const ring = record === undefined ? undefined : Maps.ringOf(record.map.map)
  if (record === undefined || ring === undefined) return false
  environment.records.delete(high)
  Memory.remove(environment.memory, record.region)
  if (RingBuffer.commit(ring, record.payload, discard, flags)) environment.wake(record.map)
  return true
}

const commit = (environment: Environment, discard: boolean): Helper => (machine) =>
  machine.low[1] === 0 && commitRecord(environment, machine.high[1] as number, discard, u32(machine, 2))
    ? returnNumber(machine, 0)
    : refuse(machine, "r1 of the call is no record that was reserved")

const query = (environment: Environment): Helper => (machine) => {
  const found = ringArgument(environment, machine, 1)
  return found === undefined ? FAULTED : returnNumber(machine, RingBuffer.query(found.ring, u64(machine, 2)))
}

// Dynptrs

/** Bytes of `struct bpf_dynptr`. */
const DYNPTR_SIZE = 16
/** The longest memory that a dynptr can stand for. */
const maximumDynptr = 0xff_ffff

interface Dynptr {
  readonly view: DataView
  readonly low: number
  readonly high: number
  readonly size: number
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const writeDynptr = (view: DataView, low: number, high: number, size: number): void => {
  view.setInt32(0, low, true)
  view.setInt32(4, high, true)
  view.setUint32(8, size, true)
  view.setUint32(12, 0, true)
}

const dynptrArgument = (machine: Machine, number: number): Dynptr | undefined => {
  const region = regionOf(machine, number, DYNPTR_SIZE, false)
  if (region === undefined) return undefined
  const at = placeOf(machine, number, region)
  const view = viewOf(region.bytes.subarray(at, at + DYNPTR_SIZE))
  return {
    view,
    low: view.getInt32(0, true),
    high: view.getInt32(4, true),
    size: view.getUint32(8, true) & maximumDynptr
  }
}

const isNull = (dynptr: Dynptr): boolean => dynptr.low === 0 && dynptr.high === 0

/** The bytes of a dynptr, or why not: `-EINVAL` for an empty one, `-E2BIG` for bytes beyond it. */
const dynptrBytes = (
  machine: Machine,
  dynptr: Dynptr,
  offset: number,
  size: number,
  write: boolean
): Uint8Array | number => {
  if (isNull(dynptr)) return -numbers.EINVAL
  if (size > dynptr.size || offset > dynptr.size - size) return -numbers.E2BIG
  const bytes = Memory.bytesAt(machine.memory, dynptr.low + offset, dynptr.high, size, write)
  return bytes ?? -numbers.EINVAL
}

const fromMemory: Helper = (machine) => {
  const size = u32(machine, 2)
  const dynptr = dynptrArgument(machine, 4)
  if (dynptr === undefined) return FAULTED
  writeDynptr(dynptr.view, 0, 0, 0)
  if (size > maximumDynptr) return returnNumber(machine, -numbers.E2BIG)
  if (u64(machine, 3) !== 0) return returnNumber(machine, -numbers.EINVAL)
  if (regionOf(machine, 1, size, true) === undefined) return FAULTED
  writeDynptr(dynptr.view, machine.low[1] as number, machine.high[1] as number, size)
  return returnNumber(machine, 0)
}

const reserveDynptr = (environment: Environment): Helper => (machine) => {
  const found = ringArgument(environment, machine, 1)
  const dynptr = found === undefined ? undefined : dynptrArgument(machine, 4)
  if (found === undefined || dynptr === undefined) return FAULTED
  const size = u32(machine, 2)
  writeDynptr(dynptr.view, 0, 0, 0)
  if (u64(machine, 3) !== 0) return returnNumber(machine, -numbers.EINVAL)
  if (size > maximumDynptr) return returnNumber(machine, -numbers.E2BIG)
  const region = reserveRecord(environment, found, size, 0)
  if (region === undefined) return returnNumber(machine, -numbers.EINVAL)
  writeDynptr(dynptr.view, 0, region.id, size)
  return returnNumber(machine, 0)
}

const commitDynptr = (environment: Environment, discard: boolean): Helper => (machine) => {
  const dynptr = dynptrArgument(machine, 1)
  if (dynptr === undefined) return FAULTED
  if (!isNull(dynptr)) {
    if (!commitRecord(environment, dynptr.high, discard, u32(machine, 2))) {
      return refuse(machine, "r1 of the call is no record that was reserved")
    }
    writeDynptr(dynptr.view, 0, 0, 0)
  }
  return returnNumber(machine, 0)
}

const readDynptr: Helper = (machine) => {
  const dynptr = dynptrArgument(machine, 3)
  if (dynptr === undefined) return FAULTED
  const size = u32(machine, 2)
  if (u64(machine, 5) !== 0) return returnNumber(machine, -numbers.EINVAL)
  const bytes = dynptrBytes(machine, dynptr, u32(machine, 4), size, false)
  if (typeof bytes === "number") return returnNumber(machine, bytes)
  const to = regionOf(machine, 1, size, true)
  if (to === undefined) return FAULTED
  to.bytes.set(bytes, placeOf(machine, 1, to))
  return returnNumber(machine, 0)
}

const writeToDynptr: Helper = (machine) => {
  const dynptr = dynptrArgument(machine, 1)
  if (dynptr === undefined) return FAULTED
  const size = u32(machine, 4)
  const bytes = dynptrBytes(machine, dynptr, u32(machine, 2), size, true)
  if (typeof bytes === "number") return returnNumber(machine, bytes)
  if (u64(machine, 5) !== 0) return returnNumber(machine, -numbers.EINVAL)
  const from = readable(machine, 3, size)
  if (from === undefined) return FAULTED
  bytes.set(from)
  return returnNumber(machine, 0)
}

const dataOfDynptr: Helper = (machine) => {
  const dynptr = dynptrArgument(machine, 1)
  if (dynptr === undefined) return FAULTED
  const offset = u32(machine, 2)
  const bytes = dynptrBytes(machine, dynptr, offset, u32(machine, 3), true)
  return typeof bytes === "number"
    ? returnNumber(machine, 0)
    : returnBigint(machine, Memory.bigintOf(dynptr.low + offset, dynptr.high))
}

/** `bpf_user_ringbuf_drain`: a callback per sample, which is shown through a dynptr. */
const drain = (environment: Environment): Helper => (machine) => {
  const found = ringArgument(environment, machine, 1)
  if (found === undefined) return FAULTED
  const { bound, ring } = found
  const flags = u64(machine, 4)
  const refused = RingBuffer.beginDrain(ring, flags)
  if (refused !== 0) return returnNumber(machine, refused)
  const callback = [machine.low[2] as number, machine.high[2] as number] as const
  const context = [machine.low[3] as number, machine.high[3] as number] as const
  const pointer = Memory.add(machine.memory, {
    name: "dynptr of a sample",
    bytes: new Uint8Array(DYNPTR_SIZE),
    writable: false
  })
  const sampleRegion = Memory.add(machine.memory, { name: `sample of map ${bound.name}`, bytes: new Uint8Array(0) })
  const stop = (): void => {
    RingBuffer.endDrain(ring)
    if (pointer !== undefined) Memory.remove(environment.memory, pointer)
    if (sampleRegion !== undefined) Memory.remove(environment.memory, sampleRegion)
    environment.drains.delete(stop)
  }
  environment.drains.add(stop)
  const end = (again: Machine, answer: number): Handled => {
    stop()
    const quiet = (flags & RingBuffer.BPF_RB_NO_WAKEUP) !== 0
    if ((flags & RingBuffer.BPF_RB_FORCE_WAKEUP) !== 0 || (!quiet && samples > 0)) environment.wake(bound)
    return returnNumber(again, answer)
  }
  let turns = 0
  let samples = 0
  let size = 0
  const next = (again: Machine): Handled => {
    while (turns < RingBuffer.maximumSamples) {
      const sample = RingBuffer.peekSample(ring)
      if (typeof sample === "number") return end(again, sample === -numbers.ENODATA ? samples : sample)
      turns++
      if (sample === "Discarded") continue
      if (pointer === undefined || sampleRegion === undefined) {
        return refuse(again, "the memory has no place for another region")
      }
      size = sample.size
      Memory.rebind(sampleRegion, ring.memory.subarray(sample.at, sample.at + size))
      writeDynptr(pointer.view, 0, sampleRegion.id, size)
      setAddress(again, 1, pointer, 0)
      again.low[2] = context[0]
      again.high[2] = context[1]
      return enter(again, callback[0], callback[1], returned)
    }
    return end(again, samples)
  }
  const returned = (again: Machine): Handled => {
    RingBuffer.release(ring, size)
    samples++
    return again.low[0] === 0 ? next(again) : end(again, samples)
  }
  return next(machine)
}

/** The bytes of the packet that go along with a perf event: a part of its beginning. */
const packetPart = (environment: Environment, machine: Machine, size: number): Uint8Array | number => {
  const context = environment.contexts.get(machine.high[1] as number)
  if (context?._tag === "Skb") {
    return size > Skb.lengthOf(context) ? -numbers.EFAULT : Skb.bytesOf(context).slice(0, size)
  }
  if (context?._tag === "Xdp") {
    if (size > Xdp.lengthOf(context)) return -numbers.EFAULT
    const bytes = new Uint8Array(size)
    Xdp.eachPiece(context, 0, size, (piece, before) => bytes.set(piece, before))
    return bytes
  }
  return size === 0 ? new Uint8Array(0) : -numbers.EINVAL
}

/** Bits of the flags above the index: how many bytes of the packet go along. */
const contextLengthBits = 0xf_ffff

const perfOutput = (environment: Environment): Helper => (machine) => {
  const bound = mapOf(environment, machine, 2)
  if (bound === undefined) return FAULTED
  const length = (machine.high[3] as number) >>> 0
  const size = u64(machine, 5)
  if (length > contextLengthBits) return returnNumber(machine, -numbers.EINVAL)
  const part = packetPart(environment, machine, length)
  if (typeof part === "number") return returnNumber(machine, part)
  const data = readable(machine, 4, size)
  if (data === undefined) return FAULTED
  const answer = Maps.helperPerfOutput(bound.map, u32(machine, 3), environment.cpu, [data, part])
  if (answer === 0) environment.wake(bound)
  return returnNumber(machine, answer)
}

/**
 * Gives back what a program that ended with a fault still holds: its records are discarded, its drains are over. One that
 * returned holds nothing, as long as a verifier would have let it load.
 */
export const abandon = (environment: Environment): void => {
  for (const high of environment.records.keys()) {
    commitRecord(environment, high, true, RingBuffer.BPF_RB_NO_WAKEUP)
  }
  for (const stop of environment.drains) stop()
}

/** The helpers by their name without prefix. */
export const helpers = (environment: Environment): Readonly<Record<string, Helper>> => ({
  ringbuf_output: output(environment),
  ringbuf_reserve: reserve(environment),
  ringbuf_submit: commit(environment, false),
  ringbuf_discard: commit(environment, true),
  ringbuf_query: query(environment),
  ringbuf_reserve_dynptr: reserveDynptr(environment),
  ringbuf_submit_dynptr: commitDynptr(environment, false),
  ringbuf_discard_dynptr: commitDynptr(environment, true),
  dynptr_from_mem: fromMemory,
  dynptr_read: readDynptr,
  dynptr_write: writeToDynptr,
  dynptr_data: dataOfDynptr,
  user_ringbuf_drain: drain(environment),
  perf_event_output: perfOutput(environment)
})
