/**
 * A blob written anew, in either byte order.
 *
 * Source: reference page `btf-format`, sections 1 to 5.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import { type BtfError, fail, isBtfError } from "./BtfError.ts"
import { BTF_TYPE_SIZE, isKnownKind, kindName } from "./BtfKind.ts"
import type { Btf, ByteOrder } from "./BtfModel.ts"
import { BTF_MAGIC, BTF_VERSION, HEADER_SIZE_WITH_LAYOUT, SIZE_LIMIT } from "./BtfParse.ts"

/**
 * The canonical blob of `btf`: the same ids and string offsets, the areas one after another without gaps, nothing after
 * the strings. That is the only arrangement that the kernel takes. A canonical blob comes back byte for byte.
 *
 * The header keeps its length; what it has past the fields that this library knows is written as zeros, since the areas
 * that it may describe are not kept. A split blob is written alone, to be parsed again with the same base.
 */
export const encode = (btf: Btf): Uint8Array =>
  writeBlob({
    byteOrder: btf.byteOrder,
    headerLength: btf.headerLength,
    types: btf.bytes.subarray(btf.typesOffset, btf.typesOffset + btf.typesLength),
    layout: btf.bytes.subarray(btf.layoutOffset, btf.layoutOffset + btf.layoutLength),
    strings: btf.bytes.subarray(btf.stringsOffset, btf.stringsOffset + btf.stringsLength)
  })

/**
 * The canonical blob of `btf` in byte order `order`. Swapping one twice is the identity.
 *
 * `UnknownKind` where the order is another one and a type has more than the common part and is of a kind that only the
 * layout area describes: that area gives the sizes of its fields' sum and not of each, and what holds bytes or 16-bit
 * words must not be swapped as 32-bit words.
 */
export const toByteOrder = (btf: Btf, order: ByteOrder): Result.Result<Uint8Array, BtfError> =>
  attempt(isBtfError, () => {
    const bytes = encode(btf)
    if (order === btf.byteOrder) return bytes
    requireSwappable(btf)
    writeHeader(bytes, order, {
      headerLength: btf.headerLength,
      typesLength: btf.typesLength,
      layoutLength: btf.layoutLength,
      stringsLength: btf.stringsLength
    })
    swapWords(bytes, btf.headerLength, btf.typesLength)
    // A layout entry is two bytes and a 16-bit word of flags.
    const layout = btf.headerLength + btf.typesLength
    for (let at = layout; at < layout + btf.layoutLength; at += 4) swapPair(bytes, at + 2)
    return bytes
  })

const requireSwappable = (btf: Btf): void => {
  const { littleEndian, view } = btf.internal
  const { offsets } = btf
  for (let index = 0; index < offsets.length; index++) {
    const at = offsets[index] ?? 0
    const kind = (view.getUint32(at + 4, littleEndian) >>> 24) & 0x7f
    if (isKnownKind(kind)) continue
    const end = offsets[index + 1] ?? btf.typesOffset + btf.typesLength
    if (end - at > BTF_TYPE_SIZE) {
      fail("UnknownKind", `${kindName(kind)} is not known, and its fields cannot be swapped`, {
        typeId: btf.firstId + index,
        offset: at,
        hint: "write the blob in the byte order that it has"
      })
    }
  }
}

/** The parts of a blob: a header of `headerLength` bytes, and areas in byte order `byteOrder`. */
export interface BlobParts {
  readonly byteOrder: ByteOrder
  readonly headerLength: number
  readonly types: Uint8Array
  readonly layout: Uint8Array
  readonly strings: Uint8Array
}

/** The canonical blob of these parts. The header has the 32 bytes at least that a layout area needs. */
export const writeBlob = (parts: BlobParts): Uint8Array => {
  const { layout, strings, types } = parts
  const headerLength = layout.length > 0
    ? Math.max(parts.headerLength, HEADER_SIZE_WITH_LAYOUT)
    : parts.headerLength
  const layoutOffset = headerLength + types.length
  const stringsOffset = layoutOffset + layout.length
  const size = stringsOffset + strings.length
  if (size >= SIZE_LIMIT) fail("TooLarge", `${size} bytes are more than a BTF blob can have`)
  const bytes = new Uint8Array(size)
  writeHeader(bytes, parts.byteOrder, {
    headerLength,
    typesLength: types.length,
    layoutLength: layout.length,
    stringsLength: strings.length
  })
  bytes.set(types, headerLength)
  bytes.set(layout, layoutOffset)
  bytes.set(strings, stringsOffset)
  return bytes
}

/** The lengths that a header states. */
export interface HeaderFields {
  readonly headerLength: number
  readonly typesLength: number
  readonly layoutLength: number
  readonly stringsLength: number
}

/** Writes the header of a canonical blob to the start of `bytes`; what it leaves out are zeros there. */
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
 * Swaps each 32-bit word of `length` bytes. Every field of every type record of a known kind is one, the halves of a
 * 64-bit value included, which stay in their order.
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
