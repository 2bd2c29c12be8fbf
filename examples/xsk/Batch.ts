/**
 * Many packets at once, as columns of numbers: no object is made for a packet.
 */

/** What becomes of a received packet when its batch was looked at. */
export const Action = {
  /** Its frame is free again. */
  Free: 0,
  /** It is sent by the same socket, with the address and length that the batch then has. */
  Send: 1,
  /** The user keeps its frame, to be sent or given back later. */
  Keep: 2
} as const

/** Packets: what is of no packet, from `count` on, means nothing. */
export interface Batch {
  readonly capacity: number
  count: number
  /** Where each begins in the umem's `bytes`. */
  readonly addresses: Float64Array
  /** Bytes. */
  readonly lengths: Uint32Array
  /** Options of its descriptor (`DescriptorOption`): whether the packet goes on in the next. */
  readonly options: Uint32Array
  /** What becomes of it: `Action`. */
  readonly actions: Uint8Array
}

/** Room for so many packets. */
export const make = (capacity: number): Batch => ({
  capacity,
  count: 0,
  addresses: new Float64Array(capacity),
  lengths: new Uint32Array(capacity),
  options: new Uint32Array(capacity),
  actions: new Uint8Array(capacity)
})
