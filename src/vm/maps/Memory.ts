/**
 * Windows on the memory of simulated maps, as mmap(2) gives on the live kernel's.
 *
 * All runs on one thread, so plain accesses are acquire and release. Numbers are little-endian.
 */
import { hostIsLittle } from "../../services/Kernel/abi/Arena.ts"
import type { MemoryView } from "../../services/Kernel/KernelCall.ts"

/** A window that can be closed: accesses throw a `RangeError` from then on, and `bytes` is empty. */
export interface Window {
  readonly view: MemoryView
  readonly writable: boolean
  readonly close: () => void
}

/**
 * A window of `length` bytes at `offset`. Offsets outside of it or not aligned throw a `RangeError`, as the live kernel's
 * views do; so does storing through one that is not writable. `bytes` of such a one can be written to: nothing stops it.
 */
export const window = (
  memory: Uint8Array,
  offset: number,
  length: number,
  writable: boolean,
  closed: () => void
): Window => {
  let bytes = memory.subarray(offset, offset + length)
  let numbers = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const isAligned = bytes.byteOffset % 4 === 0
  // They are little-endian, and `allocate` gives whole buffers: others have no words.
  let words = isAligned && hostIsLittle
    ? new Int32Array(bytes.buffer, bytes.byteOffset, Math.floor(length / 4))
    : undefined
  let isOpen = true
  const check = (at: number, size: number): void => {
    if (!isOpen) throw new RangeError("this view of a map's memory was closed")
    if (!Number.isInteger(at) || at % size !== 0 || at < 0 || at + size > length) {
      throw new RangeError(`${size} bytes at offset ${at}: not aligned, or outside of the view's ${length} bytes`)
    }
  }
  return {
    writable,
    view: {
      get bytes() {
        return bytes
      },
      get words() {
        return words
      },
      loadAcquire32: (at) => {
        check(at, 4)
        return numbers.getUint32(at, true)
      },
      loadAcquire64: (at) => {
        check(at, 8)
        return numbers.getBigUint64(at, true)
      },
      storeRelease64: (at, value) => {
        check(at, 8)
        if (!writable) throw new RangeError("this view of a map's memory was mapped for reading only")
        numbers.setBigUint64(at, BigInt.asUintN(64, value), true)
      }
    },
    close: () => {
      if (!isOpen) return
      isOpen = false
      bytes = new Uint8Array(0)
      words = undefined
      numbers = new DataView(bytes.buffer)
      closed()
    }
  }
}
