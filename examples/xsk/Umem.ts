/**
 * The memory that packets are in, divided into frames of one size, and who has each frame.
 *
 * A frame is free, the user's, or with the kernel: to receive into, or to be sent. What the kernel gives back is looked up here, so
 * that a descriptor of memory that it was not given is an error, whoever has written it. Frames come back by themselves: those that
 * were sent when they were sent, those that were received when the user lets go of them, and all that a queue has when its last
 * socket is closed.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Abi from "./Abi.ts"
import type { Pool } from "./Pool.ts"
import * as Resource from "./Resource.ts"
import { type Mapping, System, type SystemShape } from "./System.ts"
import { badArgument, refused, XskError } from "./XskError.ts"

/** How memory for packets is made. */
export interface UmemOptions {
  /** How many frames; default 4096. */
  readonly frames?: number
  /**
   * Bytes of a frame, default 4096: 2048 up to the size of a page, of a huge page where there are such. A power of two, unless
   * `unaligned`.
   */
  readonly frameSize?: number
  /** Bytes that are left free before each packet that is received, beyond the kernel's own 256; default 0. */
  readonly headroom?: number
  /** Frames of any size, which may cross pages; addresses then have two parts. Linux 5.4. */
  readonly unaligned?: boolean
  /** Memory in huge pages, which must have been set aside; default false. */
  readonly hugePages?: boolean
  /** Bytes before each packet that is sent which tell the kernel what to do with it (`xsk_tx_metadata`): a multiple of 8 below 256. Linux 6.8. */
  readonly txMetadata?: number
  /** Checksums that senders ask for are computed by the kernel where a device does not: for tests (`XDP_UMEM_TX_SW_CSUM`). */
  readonly softwareChecksum?: boolean
}

/** Frames that are with the kernel on behalf of one queue or socket. */
export interface Holder {
  readonly kind: "Receive" | "Send"
  readonly pool: Pool
  /** How many it has. */
  count: number
  /** Its socket is closed: it goes with the last of its frames. */
  isOver: boolean
}

/** A socket that is bound, as others that share its memory name it. */
export interface Bound {
  readonly fd: number
  readonly pool: Pool
  readonly needWakeup: boolean
  readonly multiBuffer: boolean
}

/** Memory for packets. All but `bytes` and the sizes is the business of the modules here. */
export interface Umem {
  readonly system: SystemShape
  /** All of it. An address in a descriptor is a place in here. Detached, and so empty, when the scope has closed. */
  readonly bytes: Uint8Array
  readonly length: number
  readonly frames: number
  readonly frameSize: number
  readonly headroom: number
  readonly unaligned: boolean
  readonly registration: Abi.UmemRegistration
  /** Who has each frame: `FREE`, `USER`, or a place in `holders`. */
  readonly owners: Uint16Array
  /** The free frames' numbers, `freeCount` of them. */
  readonly free: Uint32Array
  freeCount: number
  /** The first two are never used. */
  readonly holders: Array<Holder | undefined>
  readonly pools: Map<string, Pool>
  readonly bound: Set<Bound>
  isClosed: boolean
}

/** Nobody has the frame. */
export const FREE = 0

/** The user has it. */
export const USER = 1

const largestNumberOfHolders = 0xffff

const smallestFrame = 2048

/** Bytes that the kernel keeps free before each packet (`XDP_PACKET_HEADROOM`). */
export const KERNEL_HEADROOM = 256

const checkOptions = (pageSize: number, options: UmemOptions) => {
  const { frameSize = 4096, frames = 4096, headroom = 0, hugePages = false, txMetadata = 0, unaligned = false } =
    options
  const wrong = (detail: string, hint?: string) => badArgument("umem", detail, hint)
  const isCount = (value: number) => Number.isInteger(value) && value >= 0
  if (!isCount(frames) || frames === 0 || frames > 0x400_0000) return wrong(`${frames} frames`)
  const largest = hugePages ? 0x20_0000 : pageSize
  if (!isCount(frameSize) || frameSize < smallestFrame || frameSize > largest) {
    return wrong(`frames of ${frameSize} bytes`, `they have ${smallestFrame} to ${largest}`)
  }
  if (!unaligned && (frameSize & (frameSize - 1)) !== 0) {
    return wrong(`frames of ${frameSize} bytes`, "a power of two, or unaligned")
  }
  if (!isCount(headroom) || headroom >= frameSize - KERNEL_HEADROOM) {
    return wrong(`a headroom of ${headroom} bytes`, `a packet must find room after it in ${frameSize} bytes`)
  }
  if (!isCount(txMetadata) || txMetadata % 8 !== 0 || txMetadata >= 256) {
    return wrong(`${txMetadata} bytes of metadata`, "a multiple of 8 below 256")
  }
  if (frames * frameSize > Number.MAX_SAFE_INTEGER / 2) return wrong(`${frames} frames of ${frameSize} bytes`)
  const flags = (unaligned ? Abi.UmemFlag.UNALIGNED_CHUNK : 0) |
    (options.softwareChecksum === true ? Abi.UmemFlag.TX_SW_CSUM : 0) |
    (txMetadata > 0 ? Abi.UmemFlag.TX_METADATA_LEN : 0)
  return { frames, frameSize, headroom, hugePages, txMetadata, unaligned, flags }
}

/** Memory for packets, until the scope closes. Sockets on it must be closed before, which scopes do by themselves. */
export const make = (options: UmemOptions = {}): Effect.Effect<Umem, XskError, System | Scope.Scope> =>
  Effect.gen(function*() {
    const system = yield* System
    const checked = checkOptions(system.pageSize, options)
    if (checked instanceof XskError) return yield* checked
    const { flags, frameSize, frames, headroom, hugePages, txMetadata, unaligned } = checked
    const page = hugePages ? 0x20_0000 : system.pageSize
    const length = frames * frameSize
    return yield* Resource.make((undo) => {
      const mapping: Mapping | number = system.mapMemory(Math.ceil(length / page) * page, hugePages)
      if (typeof mapping === "number") throw refused("map the umem", mapping)
      undo.push(() => system.unmap(mapping))
      const umem: Umem = {
        system,
        bytes: new Uint8Array(mapping.buffer, 0, length),
        length,
        frames,
        frameSize,
        headroom,
        unaligned,
        registration: {
          address: mapping.address,
          length,
          chunkSize: frameSize,
          headroom,
          flags,
          txMetadataLength: txMetadata
        },
        owners: new Uint16Array(frames),
        free: new Uint32Array(frames),
        freeCount: frames,
        holders: [undefined, undefined],
        pools: new Map(),
        bound: new Set(),
        isClosed: false
      }
      // The first frames are taken first.
      for (let i = 0; i < frames; i++) umem.free[i] = frames - 1 - i
      undo.push(() => {
        umem.isClosed = true
      })
      return umem
    })
  })

/** A place among the holders. */
export const addHolder = (umem: Umem, holder: Holder): number => {
  const unused = umem.holders.indexOf(undefined, USER + 1)
  const place = unused < 0 ? umem.holders.length : unused
  if (place > largestNumberOfHolders) throw badArgument("socket", "more than 65,533 queues and sockets on one umem")
  umem.holders[place] = holder
  return place
}

/** Takes back all frames of these holders, which are no more. */
export const reclaimFrom = (umem: Umem, places: ReadonlySet<number>): void => {
  for (const place of places) umem.holders[place] = undefined
  for (let frame = 0; frame < umem.frames; frame++) {
    if (places.has(umem.owners[frame] ?? FREE)) giveFrame(umem, frame)
  }
}

/** A free frame for somebody, by its number; -1: there is none. */
export const takeFrame = (umem: Umem, owner: number): number => {
  if (umem.freeCount === 0) return -1
  const frame = umem.free[--umem.freeCount] ?? -1
  umem.owners[frame] = owner
  return frame
}

/** The frame is free from now on. */
export const giveFrame = (umem: Umem, frame: number): void => {
  umem.owners[frame] = FREE
  umem.free[umem.freeCount++] = frame
}

/** The frame that a place is in; a number that is none where the place is outside. */
export const frameOf = (umem: Umem, address: number): number => Math.floor(address / umem.frameSize)

/** Whether all of `length` bytes from `address` on are in one frame of the user's. */
export const isInFrame = (umem: Umem, frame: number, address: number, length: number): boolean =>
  frame >= 0 && frame < umem.frames && address >= frame * umem.frameSize &&
  address + length <= (frame + 1) * umem.frameSize
