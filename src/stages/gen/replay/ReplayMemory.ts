/**
 * The memory that a loader runs on: its data, its context, and the initial values that the context brings.
 *
 * The machine is little-endian. For a loader of the other byte order its instructions are turned, once, and its data and
 * context get accessors that turn what it loads and stores: so bytes in memory are those of a big-endian machine, its
 * structures and instructions included, and numbers in registers are numbers. Its stack stays as the machine has it,
 * which a loader cannot tell as long as it loads what it has stored in one piece; structures on the stack are not for it.
 *
 * What the loader reads of its context before it has written it there is noted: that is what it takes of its caller.
 */
import { sha256 } from "../../../internal/Sha256.ts"
import * as Memory from "../../../vm/Memory.ts"
import * as LoaderProgram from "../LoaderProgram.ts"

/** What the context asks for, by the maps' numbers: another size, another initial value. */
export type MapOverrides = ReadonlyMap<number, { readonly maxEntries?: number; readonly initialValue?: Uint8Array }>

/** A loader's memory. */
export interface LoaderMemory {
  readonly memory: Memory.Memory
  readonly data: Memory.Region
  /** What the kernel keeps of the map that the data is in, as far as a loader looks: the digest of its contents. */
  readonly map: Memory.Region
  readonly context: Memory.Region
  /** Bytes of the context that were read before they were written, by offset. */
  readonly inputs: ReadonlySet<number>
}

/** Loads and stores numbers of a byte order; `onLoad` and `onStore` are told where. */
const numbers = (
  bytes: Uint8Array,
  little: boolean,
  onLoad?: (offset: number, size: number) => void,
  onStore?: (offset: number, size: number) => void
): Memory.Accessor => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    load: (offset, size, out) => {
      if (offset + size > bytes.length) return false
      onLoad?.(offset, size)
      out[1] = 0
      if (size === 1) out[0] = view.getUint8(offset)
      else if (size === 2) out[0] = view.getUint16(offset, little)
      else if (size === 4) out[0] = view.getInt32(offset, little)
      else {
        out[0] = view.getInt32(little ? offset : offset + 4, little)
        out[1] = view.getInt32(little ? offset + 4 : offset, little)
      }
      return true
    },
    store: (offset, size, low, high) => {
      if (offset + size > bytes.length) return false
      onStore?.(offset, size)
      if (size === 1) view.setUint8(offset, low)
      else if (size === 2) view.setUint16(offset, low, little)
      else if (size === 4) view.setInt32(offset, low, little)
      else {
        view.setInt32(little ? offset : offset + 4, low, little)
        view.setInt32(little ? offset + 4 : offset, high, little)
      }
      return true
    }
  }
}

/** SHA-256, bytes. */
const DIGEST_SIZE = 32

/** What the context of a loader says. */
export interface Given {
  readonly maps: MapOverrides
  /** 32-bit words by their offsets. */
  readonly words: ReadonlyMap<number, number>
  readonly logLevel: number
}

/** A loader's memory at its start; `undefined` where there is no room for that many regions. */
export const layOut = (
  loader: LoaderProgram.LoaderProgram,
  { logLevel, maps: overrides, words }: Given
): LoaderMemory | undefined => {
  const memory = Memory.make()
  const little = loader.byteOrder === "little"
  const bytes = new Uint8Array(loader.data)
  const data = Memory.add(memory, {
    name: "data of the loader",
    bytes,
    ...(little ? {} : { accessor: numbers(bytes, little) })
  })
  // Few loaders look at it, and it takes longer than all else of most of them.
  let digest: Memory.Accessor | undefined
  const map = Memory.add(memory, {
    name: "map of the loader",
    bytes: new Uint8Array(DIGEST_SIZE),
    writable: false,
    accessor: {
      load: (offset, size, out) => (digest ??= numbers(sha256(loader.data), little)).load(offset, size, out),
      store: () => false
    }
  })
  const maps = new Map<number, { readonly maxEntries?: number; readonly initialValue?: bigint }>()
  for (const [number, { initialValue, maxEntries }] of overrides) {
    const name = `initial value of ${loader.maps[number]?.name ?? `map ${number}`}`
    const region = initialValue && Memory.add(memory, { name, bytes: initialValue, writable: false })
    maps.set(number, {
      ...(maxEntries === undefined ? {} : { maxEntries }),
      ...(region === undefined ? {} : { initialValue: Memory.address(region) })
    })
  }
  const given = LoaderProgram.context(loader, { log: { address: 0n, size: 0, level: logLevel }, maps, words })
  const inputs = new Set<number>()
  const written = new Uint8Array(given.length)
  const onLoad = (offset: number, size: number): void => {
    for (let at = offset; at < offset + size; at++) if (written[at] === 0) inputs.add(at)
  }
  const onStore = (offset: number, size: number): void => {
    written.fill(1, offset, offset + size)
  }
  const context = Memory.add(memory, {
    name: "context",
    bytes: given,
    accessor: numbers(given, little, onLoad, onStore)
  })
  return data === undefined || map === undefined || context === undefined
    ? undefined
    : { memory, data, map, context, inputs }
}

/**
 * The bytes at an address, whatever the byte order of what lies there, as a view; `undefined` where they are not within one
 * region, or not permitted.
 */
export const bytesAt = (
  memory: Memory.Memory,
  low: number,
  high: number,
  size: number,
  write: boolean
): Uint8Array | undefined => {
  const region = Memory.regionAt(memory, high)
  if (region === undefined || !(write ? region.writable : region.readable)) return undefined
  const at = Memory.locate(region, low, size)
  return at < 0 ? undefined : region.bytes.subarray(at, at + size)
}
