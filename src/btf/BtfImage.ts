/**
 * The parts of a blob, and the canonical blob of given parts: what every transform of this folder begins and ends with.
 *
 * Source: reference page `btf-format`, sections 1 to 3 and 7.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import { writeBlob } from "./BtfEncode.ts"
import type { BtfError } from "./BtfError.ts"
import { fail, isBtfError } from "./BtfError.ts"
import { isKnownKind, kindName } from "./BtfKind.ts"
import type { Btf, ByteOrder } from "./BtfModel.ts"
import { parse } from "./BtfParse.ts"

/** The parts of a blob. The areas are in byte order `byteOrder`. */
export interface Image {
  readonly byteOrder: ByteOrder
  /** Bytes of the header, 24 or more; a layout area needs 32, which `assemble` sees to. */
  readonly headerLength: number
  readonly base: Btf | undefined
  /** The pointer size that the caller of `parse` gave. */
  readonly pointerSize: 4 | 8 | undefined
  readonly types: Uint8Array
  readonly layout: Uint8Array
  readonly strings: Uint8Array
}

/** The parts of `btf`: views of its bytes, which must not be changed. */
export const imageOf = (btf: Btf): Image => ({
  byteOrder: btf.byteOrder,
  headerLength: btf.headerLength,
  base: btf.base,
  pointerSize: btf.internal.pointerSize,
  types: btf.bytes.subarray(btf.typesOffset, btf.typesOffset + btf.typesLength),
  layout: btf.bytes.subarray(btf.layoutOffset, btf.layoutOffset + btf.layoutLength),
  strings: btf.bytes.subarray(btf.stringsOffset, btf.stringsOffset + btf.stringsLength)
})

/** The BTF of these parts: their canonical blob, validated like any other. */
export const assemble = (image: Image): Result.Result<Btf, BtfError> => attempt(isBtfError, () => assembled(image))

/** `assemble` inside a module: throws what is wrong. */
export const assembled = (image: Image): Btf => {
  const result = parse(writeBlob(image), { base: image.base, pointerSize: image.pointerSize })
  if (result._tag === "Failure") throw result.failure
  return result.success
}

/**
 * Refuses a blob that cannot be written anew without loss: its header has fields that this library does not know, and
 * the areas that they describe would be left out. Throws `ReadOnly`.
 */
export const requireWritable = (btf: Btf): void => {
  if (btf.internal.unknownHeader) {
    fail("ReadOnly", "the header has fields that are not known, and an edit could not keep what they describe")
  }
}

/**
 * Refuses a blob with own types of kinds that only its layout area describes: nothing tells which of their words are
 * type ids or string offsets. Throws `UnknownKind` with the first such type.
 */
export const requireKnownKinds = (btf: Btf): void => {
  const { littleEndian, view } = btf.internal
  for (let index = 0; index < btf.offsets.length; index++) {
    const at = btf.offsets[index] ?? 0
    const kind = (view.getUint32(at + 4, littleEndian) >>> 24) & 0x7f
    if (!isKnownKind(kind)) {
      fail("UnknownKind", `${kindName(kind)} is not known, and its fields cannot be rewritten`, {
        typeId: btf.firstId + index,
        offset: at
      })
    }
  }
}
