/**
 * What a sender asks the device to do with a packet: `struct xsk_tx_metadata`, in the bytes before it. Linux 6.8.
 *
 * The memory needs room for it: `txMetadata` of its options, 24 or more.
 */
import * as Result from "effect/Result"
import { DescriptorOption } from "./Abi.ts"
import type { Batch } from "./Batch.ts"
import type { Umem } from "./Umem.ts"
import { badArgument, type XskError } from "./XskError.ts"

const CHECKSUM = 2n
const LAUNCH_TIME = 4n

/** Bytes of the structure. */
export const SIZE = 24

/** What is asked for. */
export interface Request {
  /** The sum of all from byte `start` of the packet on is put `offset` bytes behind that. */
  readonly checksum?: { readonly start: number; readonly offset: number }
  /** When the packet is to leave, nanoseconds of the device's clock. Linux 6.14. */
  readonly launchTime?: bigint
}

const isHalf = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= 0xffff

/** Asks for it, for a packet of a batch that is to be sent: one that `Traffic.take` has made room for. */
export const request = (
  umem: Umem,
  batch: Batch,
  index: number,
  { checksum, launchTime }: Request
): Result.Result<void, XskError> => {
  const room = umem.registration.txMetadataLength
  const address = batch.addresses[index] ?? -1
  if (room < SIZE) {
    return Result.fail(
      badArgument("metadata", `room for ${room} bytes of metadata`, `make the umem with txMetadata: ${SIZE}`)
    )
  }
  // Before the packet, and in the same frame.
  const isInside = index >= 0 && index < batch.count && address >= room &&
    Math.floor((address - room) / umem.frameSize) === Math.floor(address / umem.frameSize)
  if (!isInside || umem.isClosed) return Result.fail(badArgument("metadata", `packet ${index} has no room before it`))
  if (checksum !== undefined && !(isHalf(checksum.start) && isHalf(checksum.offset))) {
    return Result.fail(badArgument("metadata", `a checksum at ${checksum.start} and ${checksum.offset}`))
  }
  const { buffer, byteOffset } = umem.bytes
  const at = byteOffset + address - room
  const flags = (checksum === undefined ? 0n : CHECKSUM) | (launchTime === undefined ? 0n : LAUNCH_TIME)
  // Through numbers of the machine's byte order; rooms are multiples of 8, as addresses of frames are.
  const longs = new BigUint64Array(SIZE / 8)
  longs[0] = flags
  longs[2] = launchTime ?? 0n
  new Uint16Array(longs.buffer).set([checksum?.start ?? 0, checksum?.offset ?? 0], 4)
  new Uint8Array(buffer, at, SIZE).set(new Uint8Array(longs.buffer))
  batch.options[index] = (batch.options[index] ?? 0) | DescriptorOption.TX_METADATA
  return Result.succeed(undefined)
}
