/**
 * Packet capture files in the classic pcap format: reading with every length checked, and writing.
 *
 * Both byte orders, time stamps in micro- and in nanoseconds. The newer pcapng format is refused by name.
 *
 * Source: draft-ietf-opsawg-pcap.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** A file that begins like a capture and is none, or is cut. */
export class PcapError extends Schema.TaggedError<PcapError>()("PcapError", {
  reason: Schema.Literals(["NotPcap", "Pcapng", "Version", "Truncated", "TooLong"]),
  /** Bytes from the start of the file. */
  offset: Schema.Number,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.detail} (byte ${this.offset})${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** A packet. */
export interface Packet {
  /** Seconds since 1970. */
  readonly seconds: number
  /** Micro- or nanoseconds, as the file counts. */
  readonly fraction: number
  /** What was captured: a view of the file. */
  readonly bytes: Uint8Array
  /** Bytes that the packet had on the wire; more than were captured when it was cut. */
  readonly originalLength: number
}

/** A capture. */
export interface Capture {
  readonly littleEndian: boolean
  readonly unit: "microseconds" | "nanoseconds"
  /** What a packet begins with; 1 is an Ethernet header. */
  readonly linkType: number
  /** The most bytes of a packet that were captured. */
  readonly snapLength: number
  readonly packets: ReadonlyArray<Packet>
}

const MICROSECONDS = 0xa1b2c3d4
const NANOSECONDS = 0xa1b23c4d
const PCAPNG = 0x0a0d0d0a
const headerSize = 24
const recordSize = 16

/** The most bytes that one packet may have: libpcap's own limit. */
const maximumPacket = 262144

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const isMagic = (value: number): boolean => value === MICROSECONDS || value === NANOSECONDS

/** Whether the bytes begin like a capture, a pcapng one too; everything else is a packet by itself. */
export const isCapture = (bytes: Uint8Array): boolean => {
  if (bytes.length < 4) return false
  const view = viewOf(bytes)
  return isMagic(view.getUint32(0, true)) || isMagic(view.getUint32(0)) || view.getUint32(0) === PCAPNG
}

const fail = (reason: PcapError["reason"], offset: number, detail: string, hint?: string) =>
  Result.fail(new PcapError({ reason, offset, detail, ...(hint === undefined ? {} : { hint }) }))

/** Reads a capture. The packets are views of `bytes`. */
export const parse = (bytes: Uint8Array): Result.Result<Capture, PcapError> => {
  const view = viewOf(bytes)
  if (!isCapture(bytes)) return fail("NotPcap", 0, "no pcap capture: the magic number is missing")
  if (view.getUint32(0) === PCAPNG) {
    return fail(
      "Pcapng",
      0,
      "a pcapng capture, which is not read",
      "convert it: editcap -F pcap IN OUT, or tcpdump -r IN -w OUT"
    )
  }
  if (bytes.length < headerSize) return fail("Truncated", bytes.length, "the capture ends within its header")
  const littleEndian = isMagic(view.getUint32(0, true))
  const major = view.getUint16(4, littleEndian)
  if (major !== 2) return fail("Version", 4, `version ${major} of pcap is not known`)
  const packets: Array<Packet> = []
  let at = headerSize
  while (at < bytes.length) {
    if (bytes.length - at < recordSize) {
      return fail("Truncated", at, `the capture ends within the header of packet ${packets.length}`)
    }
    const length = view.getUint32(at + 8, littleEndian)
    if (length > maximumPacket) {
      return fail(
        "TooLong",
        at + 8,
        `packet ${packets.length} is said to have ${length} bytes, more than ${maximumPacket}`
      )
    }
    if (length > bytes.length - at - recordSize) {
      return fail("Truncated", at + recordSize, `the capture ends within packet ${packets.length}`)
    }
    packets.push({
      seconds: view.getUint32(at, littleEndian),
      fraction: view.getUint32(at + 4, littleEndian),
      bytes: bytes.subarray(at + recordSize, at + recordSize + length),
      originalLength: view.getUint32(at + 12, littleEndian)
    })
    at += recordSize + length
  }
  return Result.succeed({
    littleEndian,
    unit: view.getUint32(0, littleEndian) === NANOSECONDS ? "nanoseconds" : "microseconds",
    // The upper bits say how long frame check sequences are.
    linkType: view.getUint32(20, littleEndian) & 0xffff,
    snapLength: view.getUint32(16, littleEndian),
    packets
  })
}

/** The bytes of a capture: what `parse` reads back as the same capture. */
export const write = (capture: Capture): Uint8Array => {
  const { littleEndian, packets } = capture
  const bytes = new Uint8Array(packets.reduce((sum, packet) => sum + recordSize + packet.bytes.length, headerSize))
  const view = viewOf(bytes)
  view.setUint32(0, capture.unit === "nanoseconds" ? NANOSECONDS : MICROSECONDS, littleEndian)
  view.setUint16(4, 2, littleEndian)
  view.setUint16(6, 4, littleEndian)
  view.setUint32(16, capture.snapLength, littleEndian)
  view.setUint32(20, capture.linkType, littleEndian)
  let at = headerSize
  for (const packet of packets) {
    view.setUint32(at, packet.seconds, littleEndian)
    view.setUint32(at + 4, packet.fraction, littleEndian)
    view.setUint32(at + 8, packet.bytes.length, littleEndian)
    view.setUint32(at + 12, packet.originalLength, littleEndian)
    bytes.set(packet.bytes, at + recordSize)
    at += recordSize + packet.bytes.length
  }
  return bytes
}
