/**
 * The BTF value: a blob, one index of its type records, and functions that read a record in place.
 *
 * There is no object per type. A type is its id; what is asked about it is read out of the blob's bytes, in the blob's
 * own byte order, at the moment it is asked.
 */
import type { StringIndex } from "./BtfStrings.ts"
import type { ValuePlan } from "./BtfValuePlan.ts"
import type { Shape } from "./data/Shape.ts"

/** Byte order of a blob. */
export type ByteOrder = "little" | "big"

/**
 * A parsed and validated BTF blob, possibly split over a base.
 *
 * It is immutable, and it keeps a view of the bytes that it was parsed from: they must not change afterwards. Ids count
 * over the chain of bases: 0 is `void`, `firstId` is the first type that this blob holds itself.
 */
export interface Btf {
  /** The blob as it was given. */
  readonly bytes: Uint8Array
  readonly byteOrder: ByteOrder
  /** Bytes of the header: 24, 32, or more where a newer producer added fields. */
  readonly headerLength: number
  /** The BTF that this one is split over. */
  readonly base: Btf | undefined
  /** Id of the first type of this blob: 1 without a base, else the base's `endId`. */
  readonly firstId: number
  /** One past the last id. */
  readonly endId: number
  /** Offset in `bytes` of each type record of this blob, in order of ids; entry 0 is `firstId`. */
  readonly offsets: Uint32Array
  /** Offset in `bytes` of the type area, and its length. */
  readonly typesOffset: number
  readonly typesLength: number
  /** Offset in `bytes` of the string area, and its length. */
  readonly stringsOffset: number
  readonly stringsLength: number
  /** String offset of the first byte of this blob's string area: 0 without a base, else where the base's end. */
  readonly stringsStart: number
  /** Offset in `bytes` of the layout area, which gives record sizes of kinds, and its length: 0 where there is none. */
  readonly layoutOffset: number
  readonly layoutLength: number
  /** What belongs to this library alone. */
  readonly internal: BtfInternal
}

/** What the functions of this folder keep in a `Btf`. */
export interface BtfInternal {
  readonly view: DataView
  readonly littleEndian: boolean
  /** The pointer size that the caller of `parse` gave. */
  readonly pointerSize: 4 | 8 | undefined
  /** A header longer than 32 bytes has a field that this library does not know: the blob cannot be edited. */
  readonly unknownHeader: boolean
  /** The string area, or the base's, has a string of more than `LONG_STRING` bytes. */
  readonly longStrings: boolean
  /**
   * Answers that are computed once, when first asked for. They live in the value, so that they are freed with it; to
   * the outside the value is immutable nevertheless, since every answer is a function of the bytes.
   */
  readonly cache: BtfCache
}

/** Lazily computed parts of a `Btf`. */
export interface BtfCache {
  names: NameIndex | undefined
  kinds: KindIndex | undefined
  pointerSize: 4 | 8 | undefined
  alignments: Uint8Array | undefined
  plans: Map<number, ValuePlan> | undefined
  shapes: Map<number, Shape> | undefined
  /** The whole strings of this blob's own area. */
  strings: StringIndex | undefined
  /** By kind, of the kinds that were asked for: see `idsOfEssential`. */
  essentials: Map<number, EssentialChains> | undefined
  /** By id, of the types that were asked for. */
  elementNames: Map<number, ElementNames> | undefined
  essentialElements: Map<number, EssentialElements> | undefined
  /** Members that were found in structs and unions, by the id of those and by name: see `memberPlace`. */
  memberPlaces: { count: number; readonly places: Map<number, Map<string, MemberPlace>> } | undefined
}

/** How one blob's own types are found by name. */
export interface NameIndex {
  /** Index of the first named type where the types are in the order of their names, anonymous ones first; else -1. */
  readonly sortedFrom: number
  /** Lookups that walked over all types so far. */
  walks: number
  /** Built when walking has cost about as much as building. */
  chains: NameChains | undefined
}

/** Hash chains over the names of one blob's own types: entries are indices plus one, 0 ends a chain. */
export interface NameChains {
  readonly mask: number
  readonly heads: Uint32Array
  readonly next: Uint32Array
}

/** The ids of one blob's own types, kind after kind, in each in order; entry k of `starts` is where those of kind k begin. */
export interface KindIndex {
  readonly ids: Uint32Array
  readonly starts: Uint32Array
}

/** Hash chains over the essential names of one blob's own types of one kind: entries are positions in `ids` plus one. */
export interface EssentialChains {
  readonly ids: Readonly<Uint32Array>
  readonly mask: number
  readonly heads: Uint32Array
  readonly next: Uint32Array
  readonly hashes: Uint32Array
}

/** The elements of a type by name: the first of each name. */
export interface ElementNames {
  readonly named: ReadonlyMap<string, number>
  /** Elements without a name, in order. */
  readonly anonymous: ReadonlyArray<number>
}

/** Where a member is in a struct or union, perhaps inside members without a name. */
export interface MemberPlace {
  /** The index of each anonymous member on the way, and of the member itself in the innermost. */
  readonly indices: ReadonlyArray<number>
  /** The innermost struct or union. */
  readonly typeId: number
  /** Bits from the start of the outermost one. */
  readonly bitOffset: number
  /** The member's type, and the bits of one that is a bit field, else 0. */
  readonly type: number
  readonly bits: number
}

/** The elements of a type by essential name: those of each in order. */
export type EssentialElements = ReadonlyMap<string, ReadonlyArray<number>>

/** Strings of more bytes than this are long: see `longStrings`. */
export const LONG_STRING = 1024

/** The blob of the chain that holds type `id` itself; `undefined` for `void` and for ids that do not exist. */
export const ownerOf = (btf: Btf, id: number): Btf | undefined => {
  if (id >= btf.endId) return undefined
  let owner = btf
  while (id < owner.firstId) {
    if (owner.base === undefined) return undefined
    owner = owner.base
  }
  return owner
}

/** Whether type `id` exists, `void` included. */
export const exists = (btf: Btf, id: number): boolean => Number.isInteger(id) && id >= 0 && id < btf.endId

/** Offset of the record of type `id` in the bytes of the blob that `ownerOf` names; -1 where there is none. */
export const recordOffset = (owner: Btf, id: number): number => owner.offsets[id - owner.firstId] ?? -1

/** The 32-bit word at `delta` bytes into the record of type `id`; 0 for `void` and for ids that do not exist. */
const wordOf = (btf: Btf, id: number, delta: number): number => {
  const owner = ownerOf(btf, id)
  if (owner === undefined) return 0
  const at = recordOffset(owner, id)
  return at < 0 ? 0 : owner.internal.view.getUint32(at + delta, owner.internal.littleEndian)
}

/** The kind of type `id`, `BTF_KIND_*`; 0 for `void` and for ids that do not exist. */
export const kindOf = (btf: Btf, id: number): number => (wordOf(btf, id, 4) >>> 24) & 0x7f

/** The 24-bit count of type `id`: members, values, parameters or entries; a FUNC's linkage. */
export const vlenOf = (btf: Btf, id: number): number => wordOf(btf, id, 4) & 0xff_ffff

/** The kind flag of type `id`: bit fields in a struct, a signed enum, a union FWD, a tag that is an attribute. */
export const kflagOf = (btf: Btf, id: number): boolean => wordOf(btf, id, 4) >= 0x8000_0000

/** The third word of type `id`: its size in bytes or the type that it refers to, according to its kind. */
export const sizeOrTypeOf = (btf: Btf, id: number): number => wordOf(btf, id, 8)

/** The string offset of the name of type `id`; 0 for an anonymous one. */
export const nameOffsetOf = (btf: Btf, id: number): number => wordOf(btf, id, 0)

/** The name of type `id`; the empty string for an anonymous one, for `void` and for ids that do not exist. */
export const nameOf = (btf: Btf, id: number): string => stringAt(btf, wordOf(btf, id, 0)) ?? ""

/** The blob of the chain whose string area holds string offset `offset`; `undefined` where none does. */
export const stringOwnerOf = (btf: Btf, offset: number): Btf | undefined => {
  if (!(offset >= 0 && offset < btf.stringsStart + btf.stringsLength)) return undefined
  let owner = btf
  while (offset < owner.stringsStart) {
    if (owner.base === undefined) return undefined
    owner = owner.base
  }
  return owner
}

// `ignoreBOM` keeps a byte order mark as the character that it is. Decoding is stateless.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/** Longest string that is decoded by spreading its bytes over one call, which is fastest for names. */
const SHORT_STRING = 256

/** The bytes up to the next NUL, or to `end`, as text: UTF-8, malformed sequences replaced. */
export const decodeText = (bytes: Uint8Array, start: number, end: number): string => {
  const codes: Array<number> = []
  const shortEnd = Math.min(end, start + SHORT_STRING)
  for (let at = start; at < shortEnd; at++) {
    const byte = bytes[at] ?? 0
    if (byte === 0) return String.fromCharCode(...codes)
    if (byte >= 0x80) return decodeLongText(bytes, start, end)
    codes.push(byte)
  }
  return decodeLongText(bytes, start, end)
}

const decodeLongText = (bytes: Uint8Array, start: number, end: number): string => {
  const nul = bytes.indexOf(0, start)
  return utf8.decode(bytes.subarray(start, nul < 0 || nul > end ? end : nul))
}

/**
 * The string at string offset `offset`, which may lie in the base; `undefined` outside every string area. An offset may
 * point into the middle of a string: producers share tails.
 */
export const stringAt = (btf: Btf, offset: number): string | undefined => {
  const owner = stringOwnerOf(btf, offset)
  if (owner === undefined) return undefined
  const end = owner.stringsOffset + owner.stringsLength
  return decodeText(owner.bytes, owner.stringsOffset + (offset - owner.stringsStart), end)
}
