/**
 * From bytes to a `Btf`: header, areas, and the index of type records.
 *
 * Source: reference page `btf-format`, sections 1 to 5; the kernel's `Documentation/bpf/btf.rst`. Stricter than libbpf
 * where that accepts what nobody can mean: version, flags, and a header that does not cover its fields.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import { plainBytes } from "../internal/plainBytes.ts"
import { checkLongStrings, checkTypes } from "./BtfCheck.ts"
import type { BtfError } from "./BtfError.ts"
import { fail, isBtfError } from "./BtfError.ts"
import {
  BTF_KIND_INT,
  BTF_KIND_LIMIT,
  BTF_KIND_UNKN,
  BTF_TYPE_SIZE,
  ELEMENT_SIZE,
  INFO_SIZE,
  NR_BTF_KINDS
} from "./BtfKind.ts"
import type { Btf } from "./BtfModel.ts"

/** The magic number of BTF blobs and `.BTF.ext` sections. */
export const BTF_MAGIC = 0xeb9f

/** The version of the format. */
export const BTF_VERSION = 1

/** Bytes of the classic header. */
export const HEADER_SIZE = 24

/** Bytes of the header that can name a layout area. */
export const HEADER_SIZE_WITH_LAYOUT = 32

/** Blobs of this many bytes or more are refused: offsets and ids stay within 31 bits. */
export const SIZE_LIMIT = 0x8000_0000

/** Options of `parse`. */
export interface ParseOptions {
  /** The BTF that the blob is split over: its ids and string offsets continue those of the base. */
  readonly base?: Btf | undefined
  /**
   * Bytes of a pointer. Without it a split blob takes the base's, another one what its `long` says, or 8. BPF objects
   * always have 8.
   */
  readonly pointerSize?: 4 | 8 | undefined
  /**
   * Leaves out the validation of names and references, three fourths of the time. For what the running kernel itself
   * shows, which it has validated. Records are bounded all the same, so that nothing outside the blob is read; but of a
   * malformed blob that is trusted the answers mean nothing, and transforms of it may throw.
   */
  readonly trusted?: boolean | undefined
}

/**
 * Parses and validates a BTF blob of either byte order. Nothing is copied or converted: the result reads from `bytes`,
 * which must not change afterwards. Bytes after the string area and gaps between the areas are ignored.
 *
 * A base may itself be split, to any depth, as for libbpf: ids and strings are looked up through the whole chain, while
 * a layout area is taken from the blob itself or its immediate base alone.
 */
export const parse = (bytes: Uint8Array, options: ParseOptions = {}): Result.Result<Btf, BtfError> =>
  attempt(isBtfError, () => parseBlob(plainBytes(bytes), options))

/** Where a magic number says which byte order follows; `undefined` where it is none. */
export const byteOrderOfMagic = (view: DataView): "little" | "big" | undefined => {
  if (view.getUint16(0, true) === BTF_MAGIC) return "little"
  return view.getUint16(0, false) === BTF_MAGIC ? "big" : undefined
}

const parseBlob = (bytes: Uint8Array, options: ParseOptions): Btf => {
  const size = bytes.length
  if (size >= SIZE_LIMIT) fail("TooLarge", `${size} bytes are more than a BTF blob can have`)
  if (size < HEADER_SIZE) fail("Truncated", `${size} bytes are too few for a header`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const byteOrder = byteOrderOfMagic(view) ?? fail("BadMagic", "the magic number is missing", { offset: 0 })
  const littleEndian = byteOrder === "little"
  const header = readHeader(view, littleEndian)
  const base = options.base
  const firstId = base === undefined ? 1 : base.endId
  const words = wordsOf(bytes, view, littleEndian, header)
  const offsets = indexTypes(words, header, recordSizes(view, header, base), firstId)
  const longOwn = checkStrings(bytes, header, base)
  const btf: Btf = {
    bytes,
    byteOrder,
    headerLength: header.headerLength,
    base,
    firstId,
    endId: firstId + offsets.length,
    offsets,
    typesOffset: header.typesOffset,
    typesLength: header.typesLength,
    stringsOffset: header.stringsOffset,
    stringsLength: header.stringsLength,
    stringsStart: base === undefined ? 0 : base.stringsStart + base.stringsLength,
    layoutOffset: header.layoutOffset,
    layoutLength: header.layoutLength,
    internal: {
      view,
      littleEndian,
      pointerSize: options.pointerSize,
      unknownHeader: header.unknown,
      longStrings: longOwn || (base !== undefined && base.internal.longStrings),
      cache: {
        names: undefined,
        kinds: undefined,
        pointerSize: undefined,
        alignments: undefined,
        plans: undefined,
        shapes: undefined,
        strings: undefined,
        essentials: undefined,
        elementNames: undefined,
        essentialElements: undefined,
        memberPlaces: undefined
      }
    }
  }
  if (options.trusted !== true) checkTypes(btf, words)
  return btf
}

interface Header {
  readonly headerLength: number
  readonly typesOffset: number
  readonly typesLength: number
  readonly stringsOffset: number
  readonly stringsLength: number
  readonly layoutOffset: number
  readonly layoutLength: number
  readonly unknown: boolean
}

const readHeader = (view: DataView, littleEndian: boolean): Header => {
  const size = view.byteLength
  const version = view.getUint8(2)
  if (version !== BTF_VERSION) {
    fail("BadVersion", `version ${version} is not known`, { offset: 2, hint: `only version ${BTF_VERSION} exists` })
  }
  const flags = view.getUint8(3)
  if (flags !== 0) fail("BadFlags", `the flags 0x${flags.toString(16)} are not known`, { offset: 3 })
  const headerLength = view.getUint32(4, littleEndian)
  if (headerLength < HEADER_SIZE) {
    fail("BadHeader", `the header length ${headerLength} is below ${HEADER_SIZE}`, { offset: 4 })
  }
  if (headerLength > size) {
    fail("Truncated", `${size} bytes are too few for the header of ${headerLength}`, { offset: 4 })
  }
  const typesStart = view.getUint32(8, littleEndian)
  const typesLength = view.getUint32(12, littleEndian)
  const stringsStart = view.getUint32(16, littleEndian)
  const stringsLength = view.getUint32(20, littleEndian)
  if (stringsStart + stringsLength > size - headerLength) {
    fail("BadSection", "the string area ends outside the blob", { offset: 16 })
  }
  if (typesStart + typesLength > stringsStart) {
    fail("BadSection", "the type area overlaps the string area", { offset: 8 })
  }
  if (typesStart % 4 !== 0) fail("BadSection", "the type area is not aligned to 4 bytes", { offset: 8 })
  const hasLayout = headerLength >= HEADER_SIZE_WITH_LAYOUT
  const layoutLength = hasLayout ? view.getUint32(28, littleEndian) : 0
  const layoutStart = layoutLength === 0 ? 0 : view.getUint32(24, littleEndian)
  if (layoutLength !== 0) {
    if (layoutStart % 4 !== 0 || layoutLength % 4 !== 0) {
      fail("BadSection", "the layout area is not aligned to 4 bytes", { offset: 24 })
    }
    if (layoutStart < typesStart + typesLength || layoutStart + layoutLength > stringsStart) {
      fail("BadSection", "the layout area is not between the type area and the string area", { offset: 24 })
    }
  }
  return {
    headerLength,
    typesOffset: headerLength + typesStart,
    typesLength,
    stringsOffset: headerLength + stringsStart,
    stringsLength,
    layoutOffset: layoutLength === 0 ? 0 : headerLength + layoutStart,
    layoutLength,
    unknown: hasNonZero(view, hasLayout ? HEADER_SIZE_WITH_LAYOUT : HEADER_SIZE, headerLength)
  }
}

const hasNonZero = (view: DataView, start: number, end: number): boolean => {
  for (let at = start; at < end; at++) {
    if (view.getUint8(at) !== 0) return true
  }
  return false
}

/** Checks the delimiters of the string area; answers whether it holds a long string. */
const checkStrings = (bytes: Uint8Array, header: Header, base: Btf | undefined): boolean => {
  const { stringsLength, stringsOffset } = header
  if (stringsLength === 0) {
    return base === undefined ? fail("BadStrings", "the string area is empty", { offset: 20 }) : false
  }
  const last = stringsOffset + stringsLength - 1
  if (bytes[last] !== 0) fail("BadStrings", "the last string has no end", { offset: last })
  if (base === undefined && bytes[stringsOffset] !== 0) {
    fail("BadStrings", "the string area does not begin with the empty string", {
      offset: stringsOffset,
      hint: "this may be split BTF: give the base BTF that it was made with"
    })
  }
  return checkLongStrings(bytes, stringsOffset, last)
}

/** Sizes of records, by kind: `fixed` with the common part, 0 where the kind is not described. */
interface RecordSizes {
  readonly fixed: Uint16Array
  readonly element: Uint8Array
}

/**
 * The record sizes of this blob. Known kinds have theirs; the layout area, or the immediate base's where this blob has
 * none, describes the others, and kind 0.
 */
const recordSizes = (view: DataView, header: Header, base: Btf | undefined): RecordSizes => {
  const fixed = new Uint16Array(BTF_KIND_LIMIT)
  const element = new Uint8Array(BTF_KIND_LIMIT)
  for (let kind = BTF_KIND_INT; kind < NR_BTF_KINDS; kind++) {
    fixed[kind] = BTF_TYPE_SIZE + (INFO_SIZE[kind] ?? 0)
    element[kind] = ELEMENT_SIZE[kind] ?? 0
  }
  const own = header.layoutLength !== 0
  const layout = own ? view : base?.internal.view
  const start = own ? header.layoutOffset : base?.layoutOffset ?? 0
  const length = own ? header.layoutLength : base?.layoutLength ?? 0
  if (layout === undefined) return { fixed, element }
  const count = Math.min(length / 4, BTF_KIND_LIMIT)
  for (let kind = 0; kind < count; kind++) {
    if (kind >= BTF_KIND_INT && kind < NR_BTF_KINDS) continue
    const info = layout.getUint8(start + kind * 4)
    const elem = layout.getUint8(start + kind * 4 + 1)
    // A misaligned description is none: records must stay aligned to 4 bytes.
    if (info % 4 !== 0 || elem % 4 !== 0) continue
    fixed[kind] = BTF_TYPE_SIZE + info
    element[kind] = elem
  }
  return { fixed, element }
}

/**
 * The words of the type area in the order of this machine: a view of them where they lie so, otherwise a copy that lives
 * as long as the parse. Reading words instead of a `DataView` takes a fifth off the time of the whole.
 */
const wordsOf = (bytes: Uint8Array, view: DataView, littleEndian: boolean, header: Header): Uint32Array => {
  const start = bytes.byteOffset + header.typesOffset
  const count = Math.floor(header.typesLength / 4)
  if (littleEndian === isLittleEndianHost && start % 4 === 0) return new Uint32Array(bytes.buffer, start, count)
  const words = new Uint32Array(count)
  for (let index = 0; index < count; index++) {
    words[index] = view.getUint32(header.typesOffset + index * 4, littleEndian)
  }
  return words
}

const isLittleEndianHost = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** The offsets of all type records. The area holds them without gaps, so one walk finds and bounds each. */
const indexTypes = (words: Uint32Array, header: Header, sizes: RecordSizes, firstId: number): Uint32Array => {
  const { element, fixed } = sizes
  const start = header.typesOffset
  const length = header.typesLength
  // No record is smaller than the common part, so this is room enough; the copy below gives back what is left.
  const offsets = new Uint32Array(Math.floor(length / BTF_TYPE_SIZE))
  let count = 0
  let at = 0
  while (length - at >= BTF_TYPE_SIZE) {
    const info = words[(at >> 2) + 1] ?? 0
    const kind = (info >>> 24) & 0x7f
    const fixedSize = fixed[kind] ?? 0
    // At most 267 + 0xffffff * 255, far below 2^53: no overflow.
    const size = fixedSize + (info & 0xff_ffff) * (element[kind] ?? 0)
    if (fixedSize === 0 || size > length - at) {
      failRecord(kind, fixedSize, size, length - at, start + at, firstId + count)
    }
    offsets[count++] = start + at
    at += size
  }
  if (at !== length) fail("Truncated", `${length - at} bytes after the last type are no type`, { offset: start + at })
  return offsets.slice(0, count)
}

/** FUNC uses the count for its linkage and has no elements, which the tables say by an element size of 0. */
const failRecord = (
  kind: number,
  fixedSize: number,
  size: number,
  left: number,
  offset: number,
  typeId: number
): never => {
  if (fixedSize === 0) {
    const what = kind === BTF_KIND_UNKN ? "kind 0 is no type" : `kind ${kind} is not known`
    return fail("UnknownKind", what, {
      typeId,
      offset,
      hint: "a newer producer made this blob; only a layout area could tell the size of such a type"
    })
  }
  return fail("Truncated", `the type needs ${size} bytes and ${left} are left`, { typeId, offset })
}
