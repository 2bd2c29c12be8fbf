/**
 * Arrays: `ARRAY` and `PERCPU_ARRAY`. All elements exist from the start, zeroed, and none can be deleted.
 *
 * Semantics: `kernel/bpf/arraymap.c`. Elements are numbered by index, with one number per CPU in per-CPU arrays.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import { BPF_EXIST, BPF_NOEXIST, copyBytes, type MapShape, readU32, u32Bytes } from "./MapModel.ts"
import * as Slabs from "./Slabs.ts"

/** The elements of an array. */
export interface ArrayStore {
  readonly _tag: "Array"
  readonly shape: MapShape
  readonly values: Slabs.Slabs
  /** The memory of an array that can be mapped, whole pages; absent for others. */
  readonly memory: Uint8Array | undefined
}

/** The elements of an array of this shape, in `memory` where that is given. */
export const make = (shape: MapShape, memory?: Uint8Array): ArrayStore => ({
  _tag: "Array",
  shape,
  values: Slabs.make(shape.valueStride * shape.cpus, shape.attr.maxEntries, memory),
  memory
})

/** The element of the key at `at` for this CPU, or -1. */
export const find = (store: ArrayStore, key: Uint8Array, at: number, cpu: number): number => {
  const { attr, cpus } = store.shape
  const index = readU32(key, at)
  return index < attr.maxEntries ? index * cpus + cpu : -1
}

/** The values of an index, of all CPUs, in memory of their own; or `-ENOENT`. */
export const lookup = (store: ArrayStore, key: Uint8Array): Uint8Array | number => {
  const { attr, userValueSize } = store.shape
  const index = readU32(key, 0)
  if (index >= attr.maxEntries) return -numbers.ENOENT
  const slab = Slabs.touchedSlabOf(store.values, index)
  if (slab === undefined) return new Uint8Array(userValueSize)
  const start = Slabs.offsetOf(store.values, index)
  return slab.slice(start, start + userValueSize)
}

/** Sets the value of one CPU, or with `cpu` -1 those of all. Answers 0 or a negative error number. */
export const update = (
  store: ArrayStore,
  key: Uint8Array,
  keyAt: number,
  value: Uint8Array,
  valueAt: number,
  flags: number,
  cpu: number
): number => {
  const { attr, userValueSize, valueStride } = store.shape
  if (flags > BPF_EXIST) return -numbers.EINVAL
  const index = readU32(key, keyAt)
  if (index >= attr.maxEntries) return -numbers.E2BIG
  if (flags === BPF_NOEXIST) return -numbers.EEXIST
  const slab = Slabs.slabOf(store.values, index)
  const start = Slabs.offsetOf(store.values, index)
  if (cpu < 0) copyBytes(value, valueAt, slab, start, userValueSize)
  else copyBytes(value, valueAt, slab, start + cpu * valueStride, attr.valueSize)
  return 0
}

/** The index after this one, the first one when there is none or it is beyond the last; `-ENOENT` after the last. */
export const nextIndex = (maxEntries: number, key: Uint8Array | undefined): Uint8Array | number => {
  const index = key === undefined ? maxEntries : readU32(key, 0)
  if (index >= maxEntries) return u32Bytes(0)
  return index === maxEntries - 1 ? -numbers.ENOENT : u32Bytes(index + 1)
}
