/**
 * The last passes of dedup: what is left moves together, keeps its order, and gets new ids.
 */
import { ELEMENT_TYPE_WORD, FIRST_TYPE_WORD, NO_WORD, SECOND_TYPE_WORD } from "../BtfFields.ts"
import { BTF_TYPE_SIZE, ELEMENT_SIZE, INFO_SIZE } from "../BtfKind.ts"
import type { DedupWork } from "./DedupWork.ts"
import { recordWords, resolve } from "./DedupWork.ts"

/** The types that stay, with new ids. */
export interface Compacted {
  /** Their records, references renewed, in native byte order. */
  readonly words: Int32Array
  /** The new id of each old one. */
  readonly map: Uint32Array
}

/** Puts the types that stay together. */
export const compact = (work: DedupWork): Compacted => {
  const { at, end, firstOwn, kinds, map, words } = work
  const renewed = new Uint32Array(end)
  let size = 0
  let count = firstOwn
  for (let id = 0; id < end; id++) {
    if (map[id] !== id && id >= firstOwn) continue
    if (id < firstOwn) {
      renewed[id] = id
      continue
    }
    renewed[id] = count++
    size += recordWords(kinds[id] ?? 0, words[(at[id] ?? 0) + 1] ?? 0)
  }
  const result = new Int32Array(size)
  let place = 0
  for (let id = firstOwn; id < end; id++) {
    if (map[id] !== id) continue
    const start = at[id] ?? 0
    const kind = kinds[id] ?? 0
    const info = words[start + 1] ?? 0
    const length = recordWords(kind, info)
    for (let word = 0; word < length; word++) result[place + word] = words[start + word] ?? 0
    renew(result, place, kind, info, map, renewed)
    place += length
  }
  for (let id = 0; id < end; id++) {
    const stays = resolve(map, id)
    if (stays !== id) renewed[id] = renewed[stays] ?? 0
  }
  return { words: result, map: renewed }
}

/** Replaces the type ids of the record at `start`. */
const renew = (
  words: Int32Array,
  start: number,
  kind: number,
  info: number,
  map: Int32Array,
  renewed: Uint32Array
): void => {
  const first = FIRST_TYPE_WORD[kind] ?? NO_WORD
  if (first !== NO_WORD) renewWord(words, start + first / 4, map, renewed)
  const second = SECOND_TYPE_WORD[kind] ?? NO_WORD
  if (second !== NO_WORD) renewWord(words, start + second / 4, map, renewed)
  const element = ELEMENT_TYPE_WORD[kind] ?? NO_WORD
  if (element === NO_WORD) return
  const stride = (ELEMENT_SIZE[kind] ?? 0) / 4
  let word = start + (BTF_TYPE_SIZE + (INFO_SIZE[kind] ?? 0) + element) / 4
  for (let left = info & 0xff_ffff; left > 0; left--, word += stride) renewWord(words, word, map, renewed)
}

const renewWord = (words: Int32Array, word: number, map: Int32Array, renewed: Uint32Array): void => {
  words[word] = renewed[resolve(map, words[word] ?? 0)] ?? 0
}
