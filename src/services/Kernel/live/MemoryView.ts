/**
 * Memory that is shared with the kernel, read and written with the ordering that its protocols ask for.
 */
import type { MemoryView } from "../KernelCall.ts"

/**
 * A view of this memory. Offsets outside of it or not aligned throw a `RangeError`, and so does every access after the
 * buffer was detached, when the memory is gone; `bytes` then has length 0. Storing through a view that was not mapped
 * for writing throws as well; writing to its `bytes` cannot be caught and ends the process.
 *
 * JavaScript's atomic accesses are sequentially consistent, which includes acquire and release. Numbers are in the byte
 * order of the machine, as the kernel's are.
 */
export const memoryView = (buffer: ArrayBuffer, writable: boolean): MemoryView => {
  const { byteLength } = buffer
  const words = new Int32Array(buffer, 0, Math.floor(byteLength / 4))
  const longs = new BigInt64Array(buffer, 0, Math.floor(byteLength / 8))
  const check = (offset: number, size: number): void => {
    if (buffer.detached) throw new RangeError("this view of a map's memory was closed")
    if (!Number.isInteger(offset) || offset % size !== 0 || offset < 0 || offset + size > byteLength) {
      throw new RangeError(
        `${size} bytes at offset ${offset}: not aligned, or outside of the view's ${byteLength} bytes`
      )
    }
  }
  return {
    bytes: new Uint8Array(buffer),
    words,
    loadAcquire32: (offset) => {
      check(offset, 4)
      return Atomics.load(words, offset / 4) >>> 0
    },
    loadAcquire64: (offset) => {
      check(offset, 8)
      return BigInt.asUintN(64, Atomics.load(longs, offset / 8))
    },
    storeRelease64: (offset, value) => {
      check(offset, 8)
      if (!writable) throw new RangeError("this view of a map's memory was mapped for reading only")
      Atomics.store(longs, offset / 8, BigInt.asIntN(64, value))
    }
  }
}
