/**
 * Helpers on packets under XDP.
 *
 * Semantics: `net/core/filter.c`, in the setting of a test run.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import * as Xdp from "../contexts/XdpBuff.ts"
import { isBadMetaLength } from "../contexts/XdpRun.ts"
import { FAULTED, type Helper, readable, returnNumber, writable } from "../Vm.ts"
import type { Environment } from "./Environment.ts"
import { xdpOf } from "./PacketArgument.ts"
import { s32, u32 } from "./Registers.ts"

const ETH_HLEN = 14

/** What lies before this offset of the page is the kernel's. */
const FIRST = Xdp.FRAME_SIZE

/** Offset of the page behind which the kernel's own begins. */
const LAST = Xdp.PAGE_SIZE - Xdp.TAILROOM

/** A helper on a packet that answers a number. */
const onPacket = (
  environment: Environment,
  body: (xdp: Xdp.XdpBuff, offset: number) => number
): Helper =>
(machine) => {
  const xdp = xdpOf(environment, machine)
  if (xdp === undefined) return FAULTED
  const answer = body(xdp, s32(machine, 2))
  Xdp.refresh(xdp)
  return returnNumber(machine, answer)
}

const adjustHead = (xdp: Xdp.XdpBuff, offset: number): number => {
  const length = xdp.data - xdp.meta
  const data = xdp.data + offset
  if (data < FIRST + length || data > xdp.end - ETH_HLEN) return -numbers.EINVAL
  // Metadata stays right before the packet.
  if (length > 0) xdp.page.copyWithin(xdp.meta + offset, xdp.meta, xdp.meta + length)
  xdp.meta += offset
  xdp.data = data
  return 0
}

const adjustMeta = (xdp: Xdp.XdpBuff, offset: number): number => {
  const meta = xdp.meta + offset
  if (meta < FIRST || meta > xdp.data) return -numbers.EINVAL
  if (isBadMetaLength(xdp.data - meta)) return -numbers.EACCES
  xdp.meta = meta
  return 0
}

const adjustTail = (xdp: Xdp.XdpBuff, offset: number): number => {
  if (xdp.fragments.length > 0) return offset < 0 ? shrinkFragments(xdp, -offset | 0) : growFragment(xdp, offset)
  const end = xdp.end + offset
  if (end > LAST || end < xdp.data + ETH_HLEN) return -numbers.EINVAL
  if (offset > 0) xdp.page.fill(0, xdp.end, end)
  xdp.end = end
  return 0
}

const growFragment = (xdp: Xdp.XdpBuff, more: number): number => {
  const last = xdp.fragments.at(-1)
  if (last === undefined || more > Xdp.PAGE_SIZE - last.size) return -numbers.EINVAL
  last.page.fill(0, last.size, last.size + more)
  last.size += more
  return 0
}

/** Takes `less` bytes from the end; -2^31, which is what comes of negating itself, takes none. */
const shrinkFragments = (xdp: Xdp.XdpBuff, less: number): number => {
  if (less > Xdp.lengthOf(xdp) - ETH_HLEN) return -numbers.EINVAL
  let left = less
  for (let last = xdp.fragments.at(-1); last !== undefined && left > 0; last = xdp.fragments.at(-1)) {
    const take = Math.min(left, last.size)
    left -= take
    last.size -= take
    if (last.size > 0) break
    xdp.fragments.pop()
  }
  if (xdp.fragments.length === 0) xdp.end -= left
  return 0
}

/** Offsets and lengths are 16-bit numbers, whatever the packet has. */
const isFar = (offset: number, size: number): boolean => offset > 0xffff || size > 0xffff

const copyBytes = (environment: Environment, toPacket: boolean): Helper => (machine) => {
  const xdp = xdpOf(environment, machine)
  if (xdp === undefined) return FAULTED
  const offset = u32(machine, 2)
  const size = u32(machine, 4)
  const bytes = toPacket ? readable(machine, 3, size) : writable(machine, 3, size)
  if (bytes === undefined) return FAULTED
  if (isFar(offset, size)) return returnNumber(machine, -numbers.EFAULT)
  if (offset + size > Xdp.lengthOf(xdp)) return returnNumber(machine, -numbers.EINVAL)
  Xdp.eachPiece(xdp, offset, size, (piece, before) => {
    const part = bytes.subarray(before, before + piece.length)
    if (toPacket) piece.set(part)
    else part.set(piece)
  })
  return returnNumber(machine, 0)
}

/** The helpers by their name without prefix. */
export const helpers = (environment: Environment): Readonly<Record<string, Helper>> => ({
  xdp_adjust_head: onPacket(environment, adjustHead),
  xdp_adjust_meta: onPacket(environment, adjustMeta),
  xdp_adjust_tail: onPacket(environment, adjustTail),
  xdp_get_buff_len: onPacket(environment, Xdp.lengthOf),
  xdp_load_bytes: copyBytes(environment, false),
  xdp_store_bytes: copyBytes(environment, true)
})
