/**
 * The first pass of dedup: each string once, so that the other passes compare names by their offsets alone.
 */
import { fail } from "../BtfError.ts"
import * as BtfExt from "../BtfExt.ts"
import { ELEMENT_STRING_WORD, NO_WORD } from "../BtfFields.ts"
import { BTF_TYPE_SIZE, ELEMENT_SIZE, INFO_SIZE } from "../BtfKind.ts"
import type { Btf } from "../BtfModel.ts"
import { stringOwnerOf } from "../BtfModel.ts"
import { make } from "../BtfStrings.ts"
import type { DedupWork } from "./DedupWork.ts"

/** The strings of the result. */
export interface DedupStrings {
  /** The new string area. */
  readonly content: Uint8Array
  /** The new offset of an old string of the blob's types or of its `.BTF.ext`. */
  readonly newOffset: (old: number) => number
}

/**
 * How much larger than the old area the new one may be. It is larger only where offsets point into strings: whoever
 * shares tails gets each as a string of its own, and a hostile blob could name all tails of one long string.
 */
const GROWTH_LIMIT = 16
const LEAST_LIMIT = 1 << 20

/**
 * Replaces all string offsets in `work`: equal strings get equal offsets, a base's where it has the string, else one in
 * a new area with the strings in the order of first reference by the types and then by `ext`. Strings that nothing
 * refers to vanish. The empty string is at 0.
 */
export const dedupStrings = (btf: Btf, ext: BtfExt.BtfExt | undefined, work: DedupWork): DedupStrings => {
  const { end, firstOwn } = work
  const table = make({ base: btf.base })
  const limit = LEAST_LIMIT + btf.stringsLength * GROWTH_LIMIT
  const stringsEnd = btf.stringsStart + btf.stringsLength
  // New offsets by old offset; 0 where an offset was not met before, or is of the empty string.
  const known = new Int32Array(stringsEnd)

  const moved = (old: number): number => {
    // The records were validated; those of `.BTF.ext` were not.
    if (!(old >= 0 && old < stringsEnd)) return fail("BadString", `there is no string at string offset ${old}`)
    const before = known[old] ?? 0
    if (before !== 0 || old === 0) return before
    const offset = table.addFrom(btf, old)
    if (table.length > limit) {
      fail("NamesTooLong", `the strings are more than ${limit} bytes once none is a part of another`)
    }
    known[old] = offset
    return offset
  }

  for (let id = firstOwn; id < end; id++) renameRecord(work, id, moved)
  if (ext !== undefined) BtfExt.forEachString(ext, (_, old) => moved(old))

  // A base may hold a string twice or point into one. Its records are compared by the offsets that own types have.
  const ofBase = (old: number): number => {
    const before = known[old] ?? 0
    if (before !== 0 || old === 0) return before
    const owner = stringOwnerOf(btf, old)
    if (owner === undefined) return old
    const start = owner.stringsOffset + (old - owner.stringsStart)
    const offset = table.find(owner.bytes, start, owner.bytes.indexOf(0, start)) ?? old
    known[old] = offset
    return offset
  }
  for (let id = 1; id < firstOwn; id++) renameRecord(work, id, ofBase)
  return { content: table.content(), newOffset: moved }
}

const renameRecord = (work: DedupWork, id: number, moved: (old: number) => number): void => {
  const { at, kinds, words } = work
  const start = at[id] ?? 0
  const kind = kinds[id] ?? 0
  words[start] = moved(words[start] ?? 0)
  const word = ELEMENT_STRING_WORD[kind] ?? NO_WORD
  if (word === NO_WORD) return
  const stride = (ELEMENT_SIZE[kind] ?? 0) / 4
  let name = start + (BTF_TYPE_SIZE + (INFO_SIZE[kind] ?? 0) + word) / 4
  for (let left = (words[start + 1] ?? 0) & 0xff_ffff; left > 0; left--, name += stride) {
    words[name] = moved(words[name] ?? 0)
  }
}
