/**
 * The same types in another order.
 *
 * A permutation is a list of new ids by old ids, `map[old] = new`, over the whole id space: `void` and the types of a
 * base keep theirs. Types sorted by name let readers search for a name by halving, as libbpf does in blobs that it
 * finds sorted.
 *
 * ```ts
 * const sorted = Result.getOrThrow(BtfPermute.sortByName(btf))
 * const back = Result.getOrThrow(BtfPermute.permute(sorted.btf, BtfPermute.inverse(sorted.map)))
 * // back.btf has the bytes of BtfEncode.encode(btf)
 * ```
 *
 * Source: reference page `btf-format`, sections 10 and 12.
 */
import * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import { type BtfError, fail, isBtfError } from "./BtfError.ts"
import { type BtfExt, remap } from "./BtfExt.ts"
import { assembled, imageOf, requireKnownKinds, requireWritable } from "./BtfImage.ts"
import { type Btf, stringOwnerOf } from "./BtfModel.ts"
import { rewriteTypeIds } from "./BtfRewrite.ts"

/** New ids by old ids. */
export type Permutation = Readonly<Uint32Array> | ReadonlyArray<number>

/** Options of `permute` and `sortByName`. */
export interface PermuteOptions {
  /** The `.BTF.ext` of the same object, whose records are to follow. */
  readonly ext?: BtfExt | undefined
}

/** Types in their new order. */
export interface Permuted {
  /** A canonical blob of the same base, byte order and strings. */
  readonly btf: Btf
  /** The records of `options.ext` for that blob. */
  readonly ext: BtfExt | undefined
}

/** Types in the order of their names. */
export interface Sorted extends Permuted {
  /** New ids by old ids. */
  readonly map: Uint32Array
}

/**
 * The types of `btf` in the order that `map` gives them: type `id` becomes type `map[id]`, and every reference follows.
 *
 * `BadArgument` where `map` has not one entry for each id, moves `void` or a type of the base, names an id outside the
 * blob's own, or one twice, or where the records are of another BTF; `UnknownKind` for types whose references cannot be
 * told; `ReadOnly` for a header with unknown fields.
 */
export const permute = (
  btf: Btf,
  map: Permutation,
  options: PermuteOptions = {}
): Result.Result<Permuted, BtfError> => attempt(isBtfError, () => permuted(btf, map, options))

/**
 * The types of `btf` in the order of their names, bytewise, anonymous ones first; types of one name keep their order.
 * A split blob's own types are sorted. Errors are those of `permute`.
 */
export const sortByName = (btf: Btf, options: PermuteOptions = {}): Result.Result<Sorted, BtfError> =>
  attempt(isBtfError, () => {
    const map = orderOfNames(btf)
    return { ...permuted(btf, map, options), map }
  })

/** The permutation that takes back `map`, which is one. */
export const inverse = (map: Permutation): Uint32Array => {
  const back = new Uint32Array(map.length)
  for (let old = 0; old < map.length; old++) back[map[old] ?? 0] = old
  return back
}

const permuted = (btf: Btf, map: Permutation, { ext }: PermuteOptions): Permuted => {
  requireWritable(btf)
  requireKnownKinds(btf)
  if (ext !== undefined && ext.btf !== btf) {
    fail("BadArgument", "the records of .BTF.ext belong to another BTF", {
      hint: "parse the section with the BTF that is permuted"
    })
  }
  const oldIds = checkedInverse(btf, map)
  const { firstId, offsets, typesOffset } = btf
  const typesEnd = typesOffset + btf.typesLength
  const { littleEndian } = btf.internal
  const types = new Uint8Array(btf.typesLength)
  const view = new DataView(types.buffer)
  const newId = (id: number): number => map[id] ?? 0
  let at = 0
  for (let index = 0; index < oldIds.length; index++) {
    const old = (oldIds[index] ?? 0) - firstId
    const start = offsets[old] ?? 0
    const end = offsets[old + 1] ?? typesEnd
    copyWords(btf, start, end, view, at)
    rewriteTypeIds(view, littleEndian, at, newId)
    at += end - start
  }
  const result = assembled({ ...imageOf(btf), types })
  return { btf: result, ext: ext === undefined ? undefined : remappedExt(ext, result, newId) }
}

/** Copies a record as it is, both in one byte order. Most are of three words, too few for a call of `set`. */
const copyWords = (btf: Btf, start: number, end: number, to: DataView, at: number): void => {
  const { view } = btf.internal
  for (let source = start, target = at; source < end; source += 4, target += 4) {
    to.setUint32(target, view.getUint32(source, true), true)
  }
}

const remappedExt = (ext: BtfExt, btf: Btf, newId: (id: number) => number): BtfExt => {
  const result = remap(ext, btf, newId, (offset) => offset)
  if (Result.isFailure(result)) throw result.failure
  return result.success
}

/** The old ids in the order of the new ones; throws where `map` is no permutation of the blob's own types. */
const checkedInverse = (btf: Btf, map: Permutation): Uint32Array => {
  const { endId, firstId } = btf
  if (map.length !== endId) {
    fail("BadArgument", `the order is one of ${map.length} ids and the blob has ${endId}`, {
      hint: "it has an entry for each id, void and the base's included"
    })
  }
  const oldIds = new Uint32Array(endId - firstId)
  for (let id = 0; id < endId; id++) {
    const to = map[id] ?? 0
    if (id < firstId) {
      if (to !== id) fail("BadArgument", `the order moves it to ${to}`, { typeId: id, hint: onlyOwn })
      continue
    }
    if (!Number.isInteger(to) || to < firstId || to >= endId) {
      fail("BadArgument", `the order moves it to ${to}, which is no type of the blob itself`, { typeId: id })
    }
    if (oldIds[to - firstId] !== 0) {
      fail("BadArgument", `the order moves it and type ${oldIds[to - firstId]} to ${to}`, { typeId: id })
    }
    oldIds[to - firstId] = id
  }
  return oldIds
}

const onlyOwn = "void and the types of the base keep their ids"

/** New ids by old ids for an order by names. */
const orderOfNames = (btf: Btf): Uint32Array => {
  const { endId, firstId } = btf
  const names = namesOf(btf)
  // Sorting is stable.
  const order = Uint32Array.from({ length: endId - firstId }, (_, index) => index)
  order.sort((one, other) => {
    const first = names.prefixes[one] ?? 0
    const second = names.prefixes[other] ?? 0
    return first === second ? compareNames(names, one, other) : first - second
  })
  const map = Uint32Array.from({ length: endId }, (_, id) => id)
  for (let index = 0; index < order.length; index++) map[firstId + (order[index] ?? 0)] = firstId + index
  return map
}

/** The names of a blob's own types. */
interface Names {
  /** The first four bytes of each as a number, in the order of comparison, zeros past the end. */
  readonly prefixes: Uint32Array
  /** Where each begins in the bytes of its owner, one of `owners`. */
  readonly starts: Uint32Array
  readonly owners: ReadonlyArray<Btf>
}

const namesOf = (btf: Btf): Names => {
  const { offsets } = btf
  const { littleEndian, view } = btf.internal
  const prefixes = new Uint32Array(offsets.length)
  const starts = new Uint32Array(offsets.length)
  const owners: Array<Btf> = []
  for (let index = 0; index < offsets.length; index++) {
    const offset = view.getUint32(offsets[index] ?? 0, littleEndian)
    const owner = stringOwnerOf(btf, offset) ?? btf
    const start = owner.stringsOffset + (offset - owner.stringsStart)
    let prefix = 0
    let length = 0
    for (; length < 4 && owner.bytes[start + length] !== 0; length++) {
      prefix = prefix * 256 + (owner.bytes[start + length] ?? 0)
    }
    prefixes[index] = prefix * 256 ** (4 - length)
    starts[index] = start
    owners.push(owner)
  }
  return { prefixes, starts, owners }
}

/** Compares two names whose first four bytes are equal. */
const compareNames = ({ owners, prefixes, starts }: Names, one: number, other: number): number => {
  // One that ends within its first four bytes has a zero there, and is then the same as the other.
  if ((prefixes[one] ?? 0) % 256 === 0) return 0
  const oneBytes = owners[one]?.bytes ?? noBytes
  const otherBytes = owners[other]?.bytes ?? noBytes
  let first = (starts[one] ?? 0) + 4
  let second = (starts[other] ?? 0) + 4
  if (oneBytes === otherBytes && first === second) return 0
  for (;; first++, second++) {
    const a = oneBytes[first] ?? 0
    const b = otherBytes[second] ?? 0
    if (a !== b) return a - b
    if (a === 0) return 0
  }
}

const noBytes = new Uint8Array(0)
