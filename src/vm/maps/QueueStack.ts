/**
 * Queues and stacks: `QUEUE` and `STACK`. Values without keys; the oldest or the newest leaves first.
 *
 * Semantics: `kernel/bpf/queue_stack_maps.c`.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import { BPF_EXIST, BPF_NOEXIST, copyBytes, type MapShape } from "./MapModel.ts"
import * as Slabs from "./Slabs.ts"

/** The values of a queue or stack. */
export interface QueueStore {
  readonly _tag: "Queue"
  readonly shape: MapShape
  readonly isStack: boolean
  readonly slabs: Slabs.Slabs
  /** Where the oldest value is, in a ring of as many records as the map has entries. */
  oldest: number
  count: number
}

/** An empty queue or stack of this shape. */
export const make = (shape: MapShape, isStack: boolean): QueueStore => ({
  _tag: "Queue",
  shape,
  isStack,
  slabs: Slabs.make(shape.valueStride, shape.attr.maxEntries),
  oldest: 0,
  count: 0
})

/** Adds the value at `at`. With `BPF_EXIST` a full map loses its oldest value, without it answers `-E2BIG`. */
export const push = (store: QueueStore, value: Uint8Array, at: number, flags: number): number => {
  const { maxEntries, valueSize } = store.shape.attr
  if (flags === BPF_NOEXIST || flags > BPF_EXIST) return -numbers.EINVAL
  if (store.count === maxEntries) {
    if (flags !== BPF_EXIST) return -numbers.E2BIG
    store.oldest = (store.oldest + 1) % maxEntries
    store.count--
  }
  const index = (store.oldest + store.count) % maxEntries
  copyBytes(value, at, Slabs.slabOf(store.slabs, index), Slabs.offsetOf(store.slabs, index), valueSize)
  store.count++
  return 0
}

/** Reads the value that leaves next to `into` at `at`, zeros and `-ENOENT` if there is none. */
export const peek = (store: QueueStore, into: Uint8Array, at: number): number => {
  const { maxEntries, valueSize } = store.shape.attr
  if (store.count === 0) {
    into.fill(0, at, at + valueSize)
    return -numbers.ENOENT
  }
  const index = store.isStack ? (store.oldest + store.count - 1) % maxEntries : store.oldest
  copyBytes(Slabs.slabOf(store.slabs, index), Slabs.offsetOf(store.slabs, index), into, at, valueSize)
  return 0
}

/** Reads and removes the value that leaves next. */
export const pop = (store: QueueStore, into: Uint8Array, at: number): number => {
  const answer = peek(store, into, at)
  if (answer !== 0) return answer
  if (!store.isStack) store.oldest = (store.oldest + 1) % store.shape.attr.maxEntries
  store.count--
  return 0
}
