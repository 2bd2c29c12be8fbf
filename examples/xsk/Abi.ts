/**
 * The numbers and the layouts of AF_XDP, as `linux/if_xdp.h` has them.
 *
 * Structures are in the byte order of the machine: they are written and read as arrays of numbers, not field by field.
 */

/** The address family, `AF_XDP`. */
export const AF_XDP = 44

/** The level of the family's socket options, `SOL_XDP`. */
export const SOL_XDP = 283

/** The level of general socket options, `SOL_SOCKET`. */
export const SOL_SOCKET = 1

/** Socket options at `SOL_XDP`. */
export const Option = {
  MMAP_OFFSETS: 1,
  RX_RING: 2,
  TX_RING: 3,
  UMEM_REG: 4,
  FILL_RING: 5,
  COMPLETION_RING: 6,
  STATISTICS: 7,
  OPTIONS: 8,
  MAX_TX_SKB_BUDGET: 9
} as const

/** Socket options at `SOL_SOCKET` for busy polling. */
export const BusyPollOption = { BUSY_POLL: 46, PREFER_BUSY_POLL: 69, BUSY_POLL_BUDGET: 70 } as const

/** Flags of `sockaddr_xdp`. */
export const BindFlag = { SHARED_UMEM: 1, COPY: 2, ZEROCOPY: 4, USE_NEED_WAKEUP: 8, USE_SG: 16 } as const

/** Flags of `xdp_umem_reg`. */
export const UmemFlag = { UNALIGNED_CHUNK: 1, TX_SW_CSUM: 2, TX_METADATA_LEN: 4 } as const

/** Flags in a ring's memory. */
export const RingFlag = { NEED_WAKEUP: 1 } as const

/** Options of a descriptor. */
export const DescriptorOption = {
  /** More fragments of the packet follow. */
  PKT_CONTD: 1,
  /** What the sender asks for precedes the data. */
  TX_METADATA: 2
} as const

/** What `XDP_OPTIONS` answers. */
export const OptionFlag = { ZEROCOPY: 1 } as const

/** Where mmap(2) finds each ring. */
export const PageOffset = { RX: 0, TX: 0x8000_0000, FILL: 0x1_0000_0000, COMPLETION: 0x1_8000_0000 } as const

/** Bytes of an entry of the rx and tx rings (`xdp_desc`). */
export const DESCRIPTOR_SIZE = 16

/** Bytes of an entry of the fill and completion rings. */
export const ADDRESS_SIZE = 8

/** In unaligned mode, an address is a place in its low 48 bits, and how far from it the data begins in those above. */
export const UNALIGNED_OFFSET_SHIFT = 48

/** `struct sockaddr_xdp` */
export const socketAddress = (
  flags: number,
  ifindex: number,
  queue: number,
  sharedDescriptor: number
): ArrayBuffer => {
  const halves = new Uint16Array(8)
  halves[0] = AF_XDP
  halves[1] = flags
  new Uint32Array(halves.buffer).set([ifindex, queue, sharedDescriptor], 1)
  return halves.buffer
}

/** What `struct xdp_umem_reg` tells the kernel. */
export interface UmemRegistration {
  readonly address: bigint
  /** Bytes, like all that follows but the flags. */
  readonly length: number
  readonly chunkSize: number
  readonly headroom: number
  readonly flags: number
  readonly txMetadataLength: number
}

/** `struct xdp_umem_reg`, 32 bytes; kernels that know less of it read as much as they know. */
export const umemRegistration = (
  { address, chunkSize, flags, headroom, length, txMetadataLength }: UmemRegistration
): ArrayBuffer => {
  const longs = BigUint64Array.of(address, BigInt(length), 0n, 0n)
  new Uint32Array(longs.buffer).set([chunkSize, headroom, flags, txMetadataLength], 4)
  return longs.buffer
}

/** Where the parts of a ring are in its memory: bytes from its beginning (`xdp_ring_offset`). */
export interface RingOffsets {
  readonly producer: number
  readonly consumer: number
  readonly descriptors: number
  readonly flags: number
}

/** The same of all four rings (`xdp_mmap_offsets`). */
export interface RingsOffsets {
  readonly rx: RingOffsets
  readonly tx: RingOffsets
  readonly fill: RingOffsets
  readonly completion: RingOffsets
}

/** Bytes of `xdp_mmap_offsets`, and of what kernels before 5.4 answer: they tell no place of flags. */
export const MMAP_OFFSETS_SIZE = 128
const oldOffsetsSize = 96

/** More than any kernel puts in front of a ring's entries. */
const largestOffset = 0x10_0000

/**
 * Reads `xdp_mmap_offsets`. Kernels before 5.4 leave the flags out: their place follows that of the consumer. `undefined` for any
 * other length, and for places that no ring can have.
 */
export const ringsOffsets = (bytes: Uint8Array): RingsOffsets | undefined => {
  const hasFlags = bytes.length === MMAP_OFFSETS_SIZE
  if (!hasFlags && bytes.length !== oldOffsetsSize) return undefined
  const longs = new BigUint64Array(bytes.slice().buffer)
  const fields = hasFlags ? 4 : 3
  const of = (ring: number): RingOffsets => {
    const at = (field: number): number => Number(longs[ring * fields + field] ?? 0n)
    const consumer = at(1)
    return { producer: at(0), consumer, descriptors: at(2), flags: hasFlags ? at(3) : consumer + 4 }
  }
  const found = { rx: of(0), tx: of(1), fill: of(2), completion: of(3) }
  const isSane = ({ consumer, descriptors, flags, producer }: RingOffsets): boolean =>
    [producer, consumer, flags].every((at) => at % 4 === 0 && at + 4 <= descriptors) &&
    descriptors % ADDRESS_SIZE === 0 && descriptors <= largestOffset
  return Object.values(found).every(isSane) ? found : undefined
}

/** What a socket has counted. Kernels before 5.9 know the first three alone. */
export interface Statistics {
  /** Packets dropped for other reasons than those below. */
  readonly rxDropped: bigint
  readonly rxInvalidDescriptors: bigint
  readonly txInvalidDescriptors: bigint
  /** Packets dropped because the rx ring was full. */
  readonly rxRingFull: bigint | undefined
  /** How often there was no frame to receive into. */
  readonly fillRingEmpty: bigint | undefined
  /** How often there was nothing to send. */
  readonly txRingEmpty: bigint | undefined
}

/** Bytes of `xdp_statistics`, and of what older kernels know of it. */
export const STATISTICS_SIZE = 48
const oldStatisticsSize = 24

/** Reads `xdp_statistics`; `undefined` where it is shorter than any kernel's. */
export const statistics = (bytes: Uint8Array): Statistics | undefined => {
  if (bytes.length < oldStatisticsSize) return undefined
  const longs = new BigUint64Array(bytes.slice(0, bytes.length & ~7).buffer)
  return {
    rxDropped: longs[0] ?? 0n,
    rxInvalidDescriptors: longs[1] ?? 0n,
    txInvalidDescriptors: longs[2] ?? 0n,
    rxRingFull: longs[3],
    fillRingEmpty: longs[4],
    txRingEmpty: longs[5]
  }
}
