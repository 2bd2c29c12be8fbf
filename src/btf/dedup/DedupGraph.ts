/**
 * Whether two types are equal with all that they refer to, up to forward declarations.
 *
 * Two graphs of types are walked side by side: the candidate's, which may go, and the canonical one's, which stays.
 * That two types met side by side are equal is a hypothesis until the walk ends without a difference, which is how
 * types that contain pointers to themselves are compared. There is no recursion: pairs wait on a stack.
 *
 * A compilation unit may hold one type several times, so one canonical type may stand beside several candidates. Those
 * must be identical to each other, which is decided in almost linear time by joining classes of types.
 */
import {
  BTF_KIND_ARRAY,
  BTF_KIND_DATASEC,
  BTF_KIND_DECL_TAG,
  BTF_KIND_ENUM,
  BTF_KIND_ENUM64,
  BTF_KIND_FLOAT,
  BTF_KIND_FUNC_PROTO,
  BTF_KIND_FWD,
  BTF_KIND_INT,
  BTF_KIND_STRUCT,
  BTF_KIND_UNION,
  BTF_KIND_UNKN,
  BTF_KIND_VAR
} from "../BtfKind.ts"
import { isEnum, isEnumForward } from "./DedupPrimitives.ts"
import type { DedupWork } from "./DedupWork.ts"
import { larger, NO_TYPE, resolve, UNPROCESSED } from "./DedupWork.ts"

/** The types are equal, all hypotheses with them. */
export const EQUAL = 0
/** They differ, and will. */
export const DIFFERENT = 1
/**
 * One canonical type stood beside two candidates that are not identical as far as is known now: they may become so when
 * more forward declarations are resolved.
 */
export const CONFLICT = 2
/** Too much was compared already; the types count as different. */
export const EXHAUSTED = 3

/** How a comparison ended. */
export type Verdict = typeof EQUAL | typeof DIFFERENT | typeof CONFLICT | typeof EXHAUSTED

/** Whether the kind is a struct's or a union's. */
export const isComposite = (kind: number): boolean => kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION

/**
 * Compares type `candidate` with the canonical type `canon`. If they are equal, `mergeHypothesis` writes down what
 * follows; the hypotheses stay in `work` until the next comparison.
 */
export const compare = (work: DedupWork, candidate: number, canon: number): Verdict => {
  forget(work)
  const { hypothesis, map } = work
  work.stack[0] = candidate
  work.stack[1] = canon
  let depth = 2
  while (depth > 0) {
    const one = plain(work.stack[depth - 2] ?? 0)
    const reference = work.stack[depth - 1] ?? 0
    const met = plain(reference)
    depth -= 2
    // What a base's type refers to stays a declaration, though it was defined for all others.
    if (reference < 0 && lacksDefinition(work, met, one)) work.adjustsBase = true
    if (resolve(map, one) === resolve(map, met)) continue
    const other = definitionOf(work, met)
    const before = hypothesis[other] ?? NO_TYPE
    if (before !== NO_TYPE) {
      if (before === one) continue
      const verdict = areIdentical(work, before, one, depth)
      if (verdict !== EQUAL) return verdict
      continue
    }
    hypothesis[other] = one
    if (work.touchedCount === work.touched.length) work.touched = larger(work.touched)
    work.touched[work.touchedCount++] = other
    if (++work.spent > work.budget) return EXHAUSTED
    if (isForwardOf(work, one, other) || isForwardOf(work, other, one)) continue
    depth = expand(work, one, other, depth)
    if (depth < 0) {
      work.differsAt = one
      work.differsFrom = other
      return DIFFERENT
    }
  }
  return EQUAL
}

/** Undoes the hypotheses of the last comparison, in time proportional to it. */
const forget = (work: DedupWork): void => {
  const { hypothesis, joined, parents, touched } = work
  for (let index = 0; index < work.touchedCount; index++) hypothesis[touched[index] ?? 0] = NO_TYPE
  work.touchedCount = 0
  if (parents !== undefined) {
    for (let index = 0; index < work.joinedCount; index++) parents[joined[index] ?? 0] = 0
    work.joinedCount = 0
  }
  work.adjustsBase = false
  work.differsAt = 0
  work.differsFrom = 0
}

/** What forward declaration `id` was resolved to; `id` itself where it was not, or is something else. */
const definitionOf = (work: DedupWork, id: number): number => {
  const { kinds, map } = work
  const kind = kinds[id] ?? 0
  if (kind !== BTF_KIND_FWD && !(isEnum(kind) && isEnumForward(work, id))) return id
  const end = resolve(map, id)
  return kinds[end] === BTF_KIND_FWD || isEnumForward(work, end) ? id : end
}

/** Whether type `id` is a forward declaration and `definition` what it may declare. */
const isForwardOf = (work: DedupWork, id: number, definition: number): boolean => {
  const { at, kinds, words } = work
  const kind = kinds[id] ?? 0
  if (kind !== BTF_KIND_FWD && !isEnum(kind)) return false
  const start = at[id] ?? 0
  const name = words[start] ?? 0
  if (name === 0 || name !== words[at[definition] ?? 0]) return false
  const defined = kinds[definition] ?? 0
  // The kind flag of a forward declaration is the sign of its information word.
  if (kind === BTF_KIND_FWD) return defined === ((words[start + 1] ?? 0) < 0 ? BTF_KIND_UNION : BTF_KIND_STRUCT)
  return isEnumForward(work, id) && isEnum(defined)
}

/** Whether type `id` is a forward declaration, and `definition` defines it. */
const lacksDefinition = (work: DedupWork, id: number, definition: number): boolean =>
  isForwardOf(work, id, definition) && !isEnumForward(work, definition)

/**
 * The type of a reference on the stack. References that a base's record has are there as their complement, since they
 * stay what they are: a declaration that has a definition now has it for this blob's own types alone.
 */
const plain = (reference: number): number => reference ^ (reference >> 31)

/** Puts a pair on the stack, unless both have become one type already, and will be one. */
const push = (work: DedupWork, one: number, other: number, depth: number): number => {
  const isFixed = one < 0 || other < 0
  if (resolve(work.map, plain(one)) === resolve(work.map, plain(other)) && (!isFixed || one === other)) return depth
  if (depth + 2 > work.stack.length) work.stack = larger(work.stack)
  work.stack[depth] = one
  work.stack[depth + 1] = other
  return depth + 2
}

/**
 * Compares the records of two types, and puts the types that they refer to on the stack in reverse, so that they are
 * taken off it in order. Answers the new depth of the stack; -1 where the records differ.
 */
const expand = (work: DedupWork, one: number, other: number, depth: number): number => {
  const { at, kinds, words } = work
  const kind = kinds[one] ?? 0
  const a = at[one] ?? 0
  const b = at[other] ?? 0
  const info = words[a + 1] ?? 0
  // The information word has the kind, the count and the kind flag.
  if (words[a] !== words[b] || info !== words[b + 1]) return -1
  const vlen = info & 0xff_ffff
  // All bits of a reference are turned round where the record is a base's: see `plain`.
  const x = one < work.firstOwn ? -1 : 0
  const y = other < work.firstOwn ? -1 : 0
  switch (kind) {
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION: {
      if (words[a + 2] !== words[b + 2]) return -1
      work.spent += vlen
      let top = depth
      for (let offset = vlen * 3; offset > 0; offset -= 3) {
        if (words[a + offset] !== words[b + offset] || words[a + offset + 2] !== words[b + offset + 2]) return -1
        top = push(work, (words[a + offset + 1] ?? 0) ^ x, (words[b + offset + 1] ?? 0) ^ y, top)
      }
      return top
    }
    case BTF_KIND_FUNC_PROTO: {
      work.spent += vlen
      let top = depth
      for (let offset = vlen * 2 + 1; offset > 1; offset -= 2) {
        if (words[a + offset] !== words[b + offset]) return -1
        top = push(work, (words[a + offset + 1] ?? 0) ^ x, (words[b + offset + 1] ?? 0) ^ y, top)
      }
      return push(work, (words[a + 2] ?? 0) ^ x, (words[b + 2] ?? 0) ^ y, top)
    }
    case BTF_KIND_ARRAY: {
      if (words[a + 2] !== words[b + 2] || words[a + 5] !== words[b + 5]) return -1
      const top = push(work, (words[a + 3] ?? 0) ^ x, (words[b + 3] ?? 0) ^ y, depth)
      return push(work, (words[a + 4] ?? 0) ^ x, (words[b + 4] ?? 0) ^ y, top)
    }
    case BTF_KIND_ENUM:
    case BTF_KIND_ENUM64: {
      const length = 3 + vlen * (kind === BTF_KIND_ENUM ? 2 : 3)
      work.spent += vlen
      for (let word = 2; word < length; word++) {
        if (words[a + word] !== words[b + word]) return -1
      }
      return depth
    }
    case BTF_KIND_INT:
      return words[a + 2] === words[b + 2] && words[a + 3] === words[b + 3] ? depth : -1
    case BTF_KIND_FWD:
    case BTF_KIND_FLOAT:
      return words[a + 2] === words[b + 2] ? depth : -1
    case BTF_KIND_DECL_TAG:
      return words[a + 3] === words[b + 3] ? push(work, (words[a + 2] ?? 0) ^ x, (words[b + 2] ?? 0) ^ y, depth) : -1
    case BTF_KIND_UNKN:
    case BTF_KIND_VAR:
    case BTF_KIND_DATASEC:
      // Each variable and section is one of its own. Of a kind that a layout area describes nothing is known.
      return -1
    default:
      // Pointers, qualifiers, typedefs, tags and functions. A base may have kinds that are not known.
      return kind > BTF_KIND_ENUM64 ? -1 : push(work, (words[a + 2] ?? 0) ^ x, (words[b + 2] ?? 0) ^ y, depth)
  }
}

/**
 * Whether two types of the candidate's side are the same in all that they refer to, forward declarations being types
 * like others. Pairs go on the stack above `floor`.
 *
 * Each step joins two classes of types, so there are fewer steps than types, whatever the cycles; and since a
 * difference ends the whole comparison, classes stay joined until it ends.
 */
const areIdentical = (work: DedupWork, first: number, second: number, floor: number): Verdict => {
  const { map } = work
  const parents = work.parents ??= new Int32Array(work.end)
  let depth = push(work, first, second, floor)
  while (depth > floor) {
    const left = work.stack[depth - 2] ?? 0
    const right = work.stack[depth - 1] ?? 0
    const one = resolve(map, plain(left))
    const other = resolve(map, plain(right))
    depth -= 2
    if (
      (left < 0 && lacksDefinition(work, plain(left), plain(right))) ||
      (right < 0 && lacksDefinition(work, plain(right), plain(left)))
    ) {
      work.differsAt = plain(left)
      work.differsFrom = plain(right)
      return CONFLICT
    }
    const rootOfOne = rootOf(parents, one)
    const rootOfOther = rootOf(parents, other)
    if (rootOfOne === rootOfOther) continue
    if (++work.spent > work.budget) return EXHAUSTED
    depth = expand(work, one, other, depth)
    if (depth < 0) {
      work.differsAt = one
      work.differsFrom = other
      return CONFLICT
    }
    parents[rootOfOne] = rootOfOther
    if (work.joinedCount === work.joined.length) work.joined = larger(work.joined)
    work.joined[work.joinedCount++] = rootOfOne
  }
  return EQUAL
}

/** The type that stands for the class of type `id`. */
const rootOf = (parents: Int32Array, id: number): number => {
  let current = id
  for (let up = parents[current] ?? 0; up !== 0; up = parents[current] ?? 0) {
    const next = parents[up] ?? 0
    if (next === 0) return up
    // Halves the way for those who come after.
    parents[current] = next
    current = next
  }
  return current
}

/**
 * Writes down what an equal comparison showed: forward declarations have become what they stood beside, and structs and
 * unions of the candidate's side the canonical ones. Nothing is concluded for other types; later passes do that.
 *
 * Answers whether the candidate itself may become the canonical type. It may not where a forward declaration of a base
 * is one to a type of this blob: the base's type would have to change.
 */
export const mergeHypothesis = (work: DedupWork): boolean => {
  const { adjustsBase, hypothesis, kinds, map, touched } = work
  for (let index = 0; index < work.touchedCount; index++) {
    const met = touched[index] ?? 0
    const beside = hypothesis[met] ?? 0
    const canon = resolve(map, met)
    const candidate = resolve(map, beside)
    const canonKind = kinds[canon] ?? 0
    const candidateKind = kinds[candidate] ?? 0
    if (canonKind === BTF_KIND_FWD) {
      if (candidateKind !== BTF_KIND_FWD) map[canon] = candidate
    } else if (!adjustsBase) {
      if (candidateKind === BTF_KIND_FWD) map[candidate] = canon
      // Only what stood here itself: a type that a forward declaration was resolved to was not compared.
      else if (
        candidate === beside && isComposite(candidateKind) && map[candidate] === UNPROCESSED &&
        (map[canon] ?? 0) >= 0
      ) map[candidate] = canon
    }
  }
  return !adjustsBase
}
