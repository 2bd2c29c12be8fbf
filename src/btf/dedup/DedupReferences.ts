/**
 * The fifth pass of dedup: pointers, qualifiers, tags, arrays, functions and prototypes. What they refer to is decided
 * before them, so that two are equal when their records are, ids included.
 */
import { fail } from "../BtfError.ts"
import { ELEMENT_TYPE_WORD, FIRST_TYPE_WORD, NO_WORD, SECOND_TYPE_WORD } from "../BtfFields.ts"
import {
  BTF_KIND_ARRAY,
  BTF_KIND_CONST,
  BTF_KIND_DECL_TAG,
  BTF_KIND_FUNC,
  BTF_KIND_FUNC_PROTO,
  BTF_KIND_PTR,
  BTF_KIND_RESTRICT,
  BTF_KIND_TYPE_TAG,
  BTF_KIND_VOLATILE,
  BTF_TYPE_SIZE,
  ELEMENT_SIZE,
  INFO_SIZE,
  kindName
} from "../BtfKind.ts"
import { findEqual, hashRecord, insert, makeTable } from "./DedupTable.ts"
import type { DedupTable } from "./DedupTable.ts"
import type { DedupWork } from "./DedupWork.ts"
import { IN_PROGRESS, larger, recordWords, resolve, UNPROCESSED } from "./DedupWork.ts"

const isReference = new Uint8Array(128)
for (
  const kind of [
    BTF_KIND_PTR,
    BTF_KIND_ARRAY,
    BTF_KIND_VOLATILE,
    BTF_KIND_CONST,
    BTF_KIND_RESTRICT,
    BTF_KIND_FUNC,
    BTF_KIND_FUNC_PROTO,
    BTF_KIND_DECL_TAG,
    BTF_KIND_TYPE_TAG
  ]
) isReference[kind] = 1

/**
 * Decides all types of these kinds. Types that refer to each other in a ring without a struct, union or typedef have no
 * meaning: a `Cycle` with one of them.
 */
export const dedupReferences = (work: DedupWork): void => {
  const { end, firstOwn, kinds, map } = work
  let count = 0
  for (let id = 1; id < end; id++) count += isReference[kinds[id] ?? 0] ?? 0
  const table = makeTable(count)
  for (let id = 1; id < firstOwn; id++) {
    if (isReference[kinds[id] ?? 0] === 1) insert(work, table, id, hashOf(work, id))
  }
  for (let id = firstOwn; id < end; id++) {
    if (map[id] === UNPROCESSED) decide(work, table, id)
  }
}

const hashOf = (work: DedupWork, id: number): number => {
  const start = work.at[id] ?? 0
  return hashRecord(work.words, start, recordWords(work.kinds[id] ?? 0, work.words[start + 1] ?? 0))
}

/** Decides a type after those that it refers to. The stack has each type and the number of its next reference. */
const decide = (work: DedupWork, table: DedupTable, first: number): void => {
  const { map } = work
  work.stack[0] = first
  work.stack[1] = 0
  map[first] = IN_PROGRESS
  let depth = 2
  while (depth > 0) {
    const id = work.stack[depth - 2] ?? 0
    const child = nextUnprocessed(work, id, depth - 1)
    if (child === 0) {
      const hash = hashOf(work, id)
      const same = findEqual(work, table, id, hash)
      map[id] = same === 0 ? id : same
      if (same === 0) insert(work, table, id, hash)
      depth -= 2
      continue
    }
    map[child] = IN_PROGRESS
    if (depth + 2 > work.stack.length) work.stack = larger(work.stack)
    work.stack[depth] = child
    work.stack[depth + 1] = 0
    depth += 2
  }
}

/**
 * Replaces the references of type `id` by what they have become, from the one on whose number is at `place` of the
 * stack, up to the first that is undecided. Answers that one; 0 where there is none left.
 */
const nextUnprocessed = (work: DedupWork, id: number, place: number): number => {
  const { at, kinds, map, stack, words } = work
  const start = at[id] ?? 0
  const kind = kinds[id] ?? 0
  const vlen = ELEMENT_TYPE_WORD[kind] === NO_WORD ? 0 : (words[start + 1] ?? 0) & 0xff_ffff
  for (let number = stack[place] ?? 0; number < vlen + 2; number++) {
    const word = typeWord(kind, number)
    if (word < 0) continue
    const to = words[start + word] ?? 0
    const state = map[to] ?? UNPROCESSED
    if (state === UNPROCESSED) {
      stack[place] = number
      return to
    }
    if (state === IN_PROGRESS) failCycle(work, id, to)
    words[start + word] = resolve(map, to)
  }
  return 0
}

/** The word of a record that has its type id of number `number`: the two fixed ones are first. */
const typeWord = (kind: number, number: number): number => {
  if (number > 1) {
    const first = BTF_TYPE_SIZE + (INFO_SIZE[kind] ?? 0) + (ELEMENT_TYPE_WORD[kind] ?? 0)
    return (first + (number - 2) * (ELEMENT_SIZE[kind] ?? 0)) / 4
  }
  const fixed = (number === 0 ? FIRST_TYPE_WORD[kind] : SECOND_TYPE_WORD[kind]) ?? NO_WORD
  return fixed === NO_WORD ? -1 : fixed / 4
}

const failCycle = (work: DedupWork, id: number, to: number): never =>
  fail("Cycle", `this ${kindName(work.kinds[id] ?? 0)} refers to itself by way of type ${to}`, {
    typeId: id,
    hint: "only a struct, a union or a typedef can be part of itself"
  })
