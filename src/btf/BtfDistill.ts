/**
 * Split BTF made independent of the exact base that it was built on.
 *
 * The ids and string offsets of split BTF mean something only together with one base blob, and a kernel that is built
 * again has another one. `distill` makes a small base with just the names, kinds and sizes of the base types that the
 * split blob refers to, and the split blob over it. Modules carry both, as `.BTF` and `.BTF.base`, and `relocate` of
 * `BtfRelocate` later finds the named types in whatever kernel is there.
 *
 * ```ts
 * const distilled = distill(moduleBtf)
 * if (Result.isSuccess(distilled)) write(distilled.success.split.bytes, distilled.success.base.bytes)
 * ```
 *
 * Source: reference page `split-relocate`, section 2.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import type { BtfError } from "./BtfError.ts"
import { fail, isBtfError } from "./BtfError.ts"
import type { BtfExt } from "./BtfExt.ts"
import { forEachString as forEachExtString, remapped } from "./BtfExtFields.ts"
import { forEachTypeId, visitTypeIds } from "./BtfFields.ts"
import { assembled, imageOf, requireKnownKinds, requireWritable } from "./BtfImage.ts"
import * as Kind from "./BtfKind.ts"
import type { Btf } from "./BtfModel.ts"
import { kindOf, nameOffsetOf, ownerOf, recordOffset, sizeOrTypeOf, stringOwnerOf, vlenOf } from "./BtfModel.ts"
import { HEADER_SIZE } from "./BtfParse.ts"
import { pointerSize } from "./BtfResolve.ts"
import { rewriteStrings, rewriteTypeIds } from "./BtfRewrite.ts"
import * as BtfStrings from "./BtfStrings.ts"

/** What `distill` answers. All parts have the byte order of the split BTF that was given. */
export interface Distilled {
  /** The distilled base: only named INT, FLOAT, FWD, and ENUM, STRUCT, UNION without what is in them. */
  readonly base: Btf
  /** The split BTF over `base`: its own types in their order, then copies of the other types of the old base. */
  readonly split: Btf
  /** The `.BTF.ext` that was given, for `split`. */
  readonly ext: BtfExt | undefined
  /** New id by old id, over all ids of the old base and the old split BTF; 0 for types that are no longer there. */
  readonly map: Uint32Array
}

/** Options of `distill`. */
export interface DistillOptions {
  /** A `.BTF.ext` of the split BTF, to be renumbered with it. */
  readonly ext?: BtfExt | undefined
}

/**
 * The distilled base of split BTF, and the split BTF over it.
 *
 * A base type that the split BTF needs stays in the base where its name says enough to find it again: integers, floats,
 * forward declarations, and structs, unions and enums that have a name, of which the base keeps name, kind and size
 * (a 64-bit enum becomes an ENUM). The others, as pointers, typedefs and all types without a name, move to the split
 * BTF. libbpf leaves integers without a name in the base, and refuses to relocate such a base; here they move too.
 *
 * Fails with `BadArgument` for BTF that is not split and for an enum of another size than 1, 2, 4 or 8 bytes, with
 * `WrongKind` where a FUNC, VAR, DATASEC or DECL_TAG of the base is referred to, and with `UnknownKind` or `ReadOnly`
 * where the blob has what this library does not know. Time and memory are in proportion to the base and the split BTF.
 */
export const distill = (split: Btf, options: DistillOptions = {}): Result.Result<Distilled, BtfError> =>
  attempt(isBtfError, () => distilled(split, options.ext))

const distilled = (split: Btf, ext: BtfExt | undefined): Distilled => {
  if (split.base === undefined) {
    fail("BadArgument", "this BTF is not split, and only split BTF has a base to distill", {
      hint: "parse the BTF of a module with the BTF of its kernel as base"
    })
  }
  requireWritable(split)
  requireKnownKinds(split)
  const needed = markNeeded(split)
  const map = new Uint32Array(split.endId)
  let nextId = 1
  for (const id of needed) {
    if (staysInBase(split, id)) map[id] = nextId++
  }
  const base = makeBase(split, needed.filter((id) => map[id] !== 0))
  for (let id = split.firstId; id < split.endId; id++) map[id] = nextId++
  const moved = needed.filter((id) => map[id] === 0)
  for (const id of moved) map[id] = nextId++
  return makeSplit(split, ext, base, moved, map)
}

/** The kinds that a base type may have to be referred to from outside the base. */
const referable: ReadonlySet<number> = new Set([
  Kind.BTF_KIND_INT,
  Kind.BTF_KIND_FLOAT,
  Kind.BTF_KIND_FWD,
  Kind.BTF_KIND_ARRAY,
  Kind.BTF_KIND_STRUCT,
  Kind.BTF_KIND_UNION,
  Kind.BTF_KIND_TYPEDEF,
  Kind.BTF_KIND_ENUM,
  Kind.BTF_KIND_ENUM64,
  Kind.BTF_KIND_PTR,
  Kind.BTF_KIND_CONST,
  Kind.BTF_KIND_RESTRICT,
  Kind.BTF_KIND_VOLATILE,
  Kind.BTF_KIND_FUNC_PROTO,
  Kind.BTF_KIND_TYPE_TAG
])

/** The base types that the split BTF needs, ascending. What stays in the base is not looked into. */
const markNeeded = (split: Btf): ReadonlyArray<number> => {
  const marks = new Uint8Array(split.firstId)
  const pending: Array<number> = []
  const visit = (_offset: number, id: number): void => {
    if (id === 0 || id >= split.firstId || marks[id] !== 0) return
    const kind = kindOf(split, id)
    if (!referable.has(kind)) {
      const what = `it is a ${Kind.kindName(kind)} of the base, and split BTF that refers to it cannot be distilled`
      fail(Kind.isKnownKind(kind) ? "WrongKind" : "UnknownKind", what, { typeId: id })
    }
    marks[id] = 1
    if (!staysInBase(split, id)) pending.push(id)
  }
  forEachTypeId(split, visit)
  for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
    const owner = ownerOf(split, id)
    if (owner === undefined) continue
    visitTypeIds(owner.internal.view, owner.internal.littleEndian, recordOffset(owner, id), visit)
  }
  const needed: Array<number> = []
  for (let id = 1; id < marks.length; id++) {
    if (marks[id] !== 0) needed.push(id)
  }
  return needed
}

/** Whether a base type is one that its name identifies. */
const staysInBase = (split: Btf, id: number): boolean => {
  switch (kindOf(split, id)) {
    case Kind.BTF_KIND_INT:
    case Kind.BTF_KIND_FLOAT:
    case Kind.BTF_KIND_FWD:
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_ENUM64:
      return !isEmpty(split, nameOffsetOf(split, id))
    default:
      return false
  }
}

/** Whether there is only the empty string at a string offset. */
const isEmpty = (btf: Btf, offset: number): boolean => {
  const owner = stringOwnerOf(btf, offset)
  return owner === undefined || owner.bytes[owner.stringsOffset + (offset - owner.stringsStart)] === 0
}

/** The distilled base with the types `ids` of the old one, in this order. */
const makeBase = (split: Btf, ids: ReadonlyArray<number>): Btf => {
  const littleEndian = split.byteOrder === "little"
  const strings = BtfStrings.make()
  const ints = ids.filter((id) => kindOf(split, id) === Kind.BTF_KIND_INT).length
  const types = new Uint8Array(ids.length * Kind.BTF_TYPE_SIZE + ints * 4)
  const view = new DataView(types.buffer)
  let at = 0
  for (const id of ids) {
    const kind = kindOf(split, id)
    const size = sizeOrTypeOf(split, id)
    view.setUint32(at, strings.addFrom(split, nameOffsetOf(split, id)), littleEndian)
    if (kind === Kind.BTF_KIND_INT || kind === Kind.BTF_KIND_FLOAT || kind === Kind.BTF_KIND_FWD) {
      view.setUint32(at + 4, wordOf(split, id, 4), littleEndian)
      // A forward declaration has nothing there.
      view.setUint32(at + 8, kind === Kind.BTF_KIND_FWD ? 0 : size, littleEndian)
      if (kind === Kind.BTF_KIND_INT) {
        view.setUint32(at + Kind.BTF_TYPE_SIZE, wordOf(split, id, Kind.BTF_TYPE_SIZE), littleEndian)
        at += 4
      }
    } else {
      const isEnum = kind === Kind.BTF_KIND_ENUM || kind === Kind.BTF_KIND_ENUM64
      if (isEnum && size !== 1 && size !== 2 && size !== 4 && size !== 8) {
        fail("BadArgument", `an enum of ${size} bytes cannot be in a distilled base`, { typeId: id })
      }
      view.setUint32(at + 4, (isEnum ? Kind.BTF_KIND_ENUM : kind) * 0x100_0000, littleEndian)
      view.setUint32(at + 8, size, littleEndian)
    }
    at += Kind.BTF_TYPE_SIZE
  }
  return assembled({
    byteOrder: split.byteOrder,
    headerLength: HEADER_SIZE,
    base: undefined,
    // The `long` that tells it may be among the types that are left out.
    pointerSize: pointerSize(split),
    types,
    layout: new Uint8Array(0),
    strings: strings.content()
  })
}

/** The word at `delta` bytes into a record that exists. */
const wordOf = (btf: Btf, id: number, delta: number): number => {
  const owner = ownerOf(btf, id) ?? btf
  return owner.internal.view.getUint32(recordOffset(owner, id) + delta, owner.internal.littleEndian)
}

/** The split BTF over the new base, with the types `moved` of the old one at its end. */
const makeSplit = (
  split: Btf,
  ext: BtfExt | undefined,
  base: Btf,
  moved: ReadonlyArray<number>,
  map: Uint32Array
): Distilled => {
  const littleEndian = split.byteOrder === "little"
  const image = imageOf(split)
  const sizes = moved.map((id) => recordSize(kindOf(split, id), vlenOf(split, id)))
  const types = new Uint8Array(sizes.reduce((sum, size) => sum + size, image.types.length))
  const view = new DataView(types.buffer)
  types.set(image.types)
  const records = Array.from(split.offsets, (offset) => offset - split.typesOffset)
  let end = image.types.length
  for (const [index, id] of moved.entries()) {
    records.push(end)
    // All fields are 32-bit words. The base may be of the other byte order.
    for (let word = 0; word < (sizes[index] ?? 0); word += 4) {
      view.setUint32(end + word, wordOf(split, id, word), littleEndian)
    }
    end += sizes[index] ?? 0
  }
  const strings = BtfStrings.make({ base })
  // Most strings are used several times: the new offsets of the split BTF's own, by their old place.
  const known = new Uint32Array(split.stringsLength)
  const moveString = (offset: number): number => {
    if (offset === 0) return 0
    if (offset < split.stringsStart) return strings.addFrom(split, offset)
    const moved = known[offset - split.stringsStart] ?? 0
    if (moved !== 0) return moved
    const added = strings.addFrom(split, offset)
    known[offset - split.stringsStart] = added
    return added
  }
  const moveType = (id: number): number => map[id] ?? 0
  for (const at of records) {
    rewriteStrings(view, littleEndian, at, moveString)
    rewriteTypeIds(view, littleEndian, at, moveType)
  }
  if (ext !== undefined) forEachExtString(ext, (_offset, value) => moveString(value))
  const result = assembled({ ...image, base, pointerSize: pointerSize(split), types, strings: strings.content() })
  return {
    base,
    split: result,
    ext: ext === undefined ? undefined : remapped(ext, result, moveType, moveString),
    map
  }
}

const recordSize = (kind: number, vlen: number): number =>
  Kind.BTF_TYPE_SIZE + (Kind.INFO_SIZE[kind] ?? 0) + vlen * (Kind.ELEMENT_SIZE[kind] ?? 0)
