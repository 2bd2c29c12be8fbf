/**
 * A packet as XDP programs see it: a page with the first part of the packet, room before it, and fragments behind it where
 * the packet is longer than a page allows.
 *
 * Layout of `struct xdp_md`: `include/uapi/linux/bpf.h`; sizes of a test run: `net/bpf/test_run.c`, on a machine with pages
 * of 4 KiB.
 */
import * as Memory from "../Memory.ts"

/** Bytes of `struct xdp_md`. */
export const XDP_MD_SIZE = 24

/** Bytes of a page, of a fragment, of the buffer of a packet's first part. */
export const PAGE_SIZE = 4096

/** Room before the packet: `XDP_PACKET_HEADROOM`. */
export const HEADROOM = 256

/** Room that the kernel keeps at the end of the first page, for `struct skb_shared_info`. */
export const TAILROOM = 320

/** Room that the kernel keeps at the start of the headroom, for `struct xdp_frame`. */
export const FRAME_SIZE = 40

/** Fragments of a packet at most. */
export const MAX_FRAGMENTS = 17

/** A fragment: `size` bytes of a page. */
export interface Fragment {
  readonly page: Uint8Array
  size: number
}

/** A packet under XDP. `meta`, `data` and `end` are offsets in `page`. */
export interface XdpBuff {
  readonly _tag: "Xdp"
  /** The region of metadata and first part, from `meta` to `end`. */
  readonly packet: Memory.Region
  readonly page: Uint8Array
  meta: number
  data: number
  end: number
  readonly fragments: Array<Fragment>
  readonly ingressIfindex: number
  readonly queue: number
}

/** The length of a packet without its metadata. */
export const lengthOf = (xdp: XdpBuff): number => xdp.end - xdp.data + fragmentsLength(xdp)

/** The length of all fragments together. */
export const fragmentsLength = (xdp: XdpBuff): number => {
  let length = 0
  for (const fragment of xdp.fragments) length += fragment.size
  return length
}

/** Lets the region of the packet show what the packet is now: after every move of `meta`, `data` or `end`. */
export const refresh = (xdp: XdpBuff): void => Memory.rebind(xdp.packet, xdp.page.subarray(xdp.meta, xdp.end))

/**
 * Calls `visit` for each piece of memory that holds bytes `offset` to `offset + size` of the packet, with how many of them
 * came before. They must be within the packet.
 */
export const eachPiece = (
  xdp: XdpBuff,
  offset: number,
  size: number,
  visit: (piece: Uint8Array, before: number) => void
): void => {
  let before = 0
  let start = offset
  const linear = xdp.end - xdp.data
  if (start < linear) {
    const take = Math.min(size, linear - start)
    visit(xdp.page.subarray(xdp.data + start, xdp.data + start + take), 0)
    before = take
    start = 0
  } else start -= linear
  for (const fragment of xdp.fragments) {
    if (before === size) return
    if (start >= fragment.size) {
      start -= fragment.size
      continue
    }
    const take = Math.min(size - before, fragment.size - start)
    visit(fragment.page.subarray(start, start + take), before)
    before += take
    start = 0
  }
}

const point = (region: Memory.Region, offset: number, out: Int32Array): true => {
  out[0] = offset
  out[1] = region.id
  return true
}

/** Loads of `struct xdp_md`; programs cannot write it. */
export const accessor = (xdp: XdpBuff): Memory.Accessor => ({
  load: (offset, size, out) => {
    if (size !== 4) return false
    switch (offset) {
      case 0:
        return point(xdp.packet, xdp.data - xdp.meta, out)
      case 4:
        return point(xdp.packet, xdp.end - xdp.meta, out)
      case 8:
        return point(xdp.packet, 0, out)
    }
    out[1] = 0
    out[0] = offset === 12 ? xdp.ingressIfindex : xdp.queue
    // The interface that a packet leaves by is known to programs of device maps only, which have no test run.
    return offset === 12 || offset === 16
  },
  store: () => false
})
