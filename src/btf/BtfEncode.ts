/**
 * A blob written anew, in either byte order.
 *
 * Source: reference page `btf-format`, sections 1 to 5.
 */
import type { Btf, ByteOrder } from "./BtfModel.ts"
import { BTF_MAGIC, BTF_VERSION, HEADER_SIZE_WITH_LAYOUT } from "./BtfParse.ts"

/**
 * The canonical blob of `btf` in byte order `order`: the same ids and string offsets, the areas one after another
 * without gaps, nothing after the strings. That is the only arrangement that the kernel takes. A canonical blob comes
 * back byte for byte, and swapping one twice is the identity.
 *
 * The header keeps its length; what it has past the fields that this library knows is written as zeros, since the
 * areas that it may describe are not kept. Types of unknown kinds are swapped as 32-bit words, which is what all kinds
 * so far consist of. A split blob is written alone, to be parsed again with the same base.
 */
export const toByteOrder = (btf: Btf, order: ByteOrder): Uint8Array => {
  const header = btf.headerLength
  const stringsStart = btf.typesLength + btf.layoutLength
  const bytes = new Uint8Array(header + stringsStart + btf.stringsLength)
  writeHeader(bytes, order, {
    headerLength: header,
    typesLength: btf.typesLength,
    layoutLength: btf.layoutLength,
    stringsLength: btf.stringsLength
  })
  bytes.set(btf.bytes.subarray(btf.typesOffset, btf.typesOffset + btf.typesLength), header)
  bytes.set(btf.bytes.subarray(btf.layoutOffset, btf.layoutOffset + btf.layoutLength), header + btf.typesLength)
  bytes.set(btf.bytes.subarray(btf.stringsOffset, btf.stringsOffset + btf.stringsLength), header + stringsStart)
  if (order !== btf.byteOrder) {
    // A layout entry is two bytes and a 16-bit word of flags.
    swapWords(bytes, header, btf.typesLength)
    for (let at = header + btf.typesLength; at < header + stringsStart; at += 4) swapPair(bytes, at + 2)
  }
  return bytes
}

/** The lengths that a header states. */
export interface HeaderFields {
  readonly headerLength: number
  readonly typesLength: number
  readonly layoutLength: number
  readonly stringsLength: number
}

/** Writes the header of a canonical blob to the start of `bytes`, which are zeros there. */
export const writeHeader = (bytes: Uint8Array, order: ByteOrder, fields: HeaderFields): void => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const little = order === "little"
  view.setUint16(0, BTF_MAGIC, little)
  view.setUint8(2, BTF_VERSION)
  view.setUint32(4, fields.headerLength, little)
  view.setUint32(12, fields.typesLength, little)
  view.setUint32(16, fields.typesLength + fields.layoutLength, little)
  view.setUint32(20, fields.stringsLength, little)
  if (fields.headerLength >= HEADER_SIZE_WITH_LAYOUT && fields.layoutLength > 0) {
    view.setUint32(24, fields.typesLength, little)
    view.setUint32(28, fields.layoutLength, little)
  }
}

/**
 * Swaps each 32-bit word of `length` bytes. Every field of every type record is one, the halves of a 64-bit value
 * included, which stay in their order.
 */
export const swapWords = (bytes: Uint8Array, start: number, length: number): void => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = start; at < start + length; at += 4) view.setUint32(at, view.getUint32(at, true), false)
}

const swapPair = (bytes: Uint8Array, at: number): void => {
  const first = bytes[at] ?? 0
  bytes[at] = bytes[at + 1] ?? 0
  bytes[at + 1] = first
}
