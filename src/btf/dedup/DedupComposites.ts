/**
 * The third pass of dedup: structs, unions and typedefs, the types through which types come back to themselves.
 *
 * Types whose records look alike, and what they refer to at first sight, are candidates for each other, the newest first;
 * the comparison of their graphs decides.
 */
import { BTF_KIND_TYPEDEF } from "../BtfKind.ts"
import type { Verdict } from "./DedupGraph.ts"
import { compare, CONFLICT, EQUAL, EXHAUSTED, isComposite, mergeHypothesis } from "./DedupGraph.ts"
import { hashGraph } from "./DedupSignature.ts"
import type { DedupTable } from "./DedupTable.ts"
import { insert, makeTable } from "./DedupTable.ts"
import type { DedupWork } from "./DedupWork.ts"
import { UNPROCESSED } from "./DedupWork.ts"

/** Why a type was kept beside one that looks like it. */
export interface Survival {
  /** The candidate that was compared first: the newest. */
  readonly beside: number
  /** `EQUAL` where only a base's forward declaration keeps them apart. */
  readonly verdict: Verdict
  /** The types at which the two graphs part; 0 where that is not known. */
  readonly differsAt: number
  readonly differsFrom: number
}

/** What the pass leaves for those after it. */
export interface Composites {
  readonly table: DedupTable
  /** Types that may yet turn out to be equal to an older one, once more forward declarations are resolved. */
  readonly conflicts: Array<number>
  /** Named types that were kept beside one that looks like it, at most `SURVIVAL_LIMIT` of them. */
  readonly survivals: Map<number, Survival>
}

/** How many survivals are kept in mind. */
const SURVIVAL_LIMIT = 4096

const isCandidate = (kind: number): boolean => isComposite(kind) || kind === BTF_KIND_TYPEDEF

/** Decides all structs, unions and typedefs of the blob. */
export const dedupComposites = (work: DedupWork): Composites => {
  const { end, firstOwn, kinds, map } = work
  let count = 0
  for (let id = 1; id < end; id++) count += isCandidate(kinds[id] ?? 0) ? 1 : 0
  const composites: Composites = { table: makeTable(count), conflicts: [], survivals: new Map() }
  for (let id = 1; id < firstOwn; id++) {
    if (isCandidate(kinds[id] ?? 0)) insert(work, composites.table, id, hashGraph(work, id))
  }
  for (let id = firstOwn; id < end; id++) {
    if (map[id] !== UNPROCESSED || !isCandidate(kinds[id] ?? 0)) continue
    const hash = hashGraph(work, id)
    if (decide(work, composites, id, hash)) continue
    map[id] = id
    insert(work, composites.table, id, hash)
  }
  return composites
}

/**
 * Looks again for older types that are equal to those whose comparison ended in a conflict. Answers whether there were
 * any; then it is worth to resolve forward declarations and to look once more.
 */
export const settleConflicts = (work: DedupWork, composites: Composites): boolean => {
  const { conflicts } = composites
  const open = conflicts.splice(0)
  let merged = false
  for (const id of open) {
    if (work.map[id] !== id) continue
    composites.survivals.delete(id)
    merged = decide(work, composites, id, work.hashes[id] ?? 0) || merged
  }
  return merged
}

/** Maps type `id` to an older canonical type that equals it, the newest of them; answers whether there was one. */
const decide = (work: DedupWork, composites: Composites, id: number, hash: number): boolean => {
  const { at, hashes, map, next, words } = work
  const { table } = composites
  let survival: Survival | undefined
  let conflict = false
  let candidate = table.heads[hash & table.mask] ?? 0
  for (; candidate !== 0; candidate = next[candidate] ?? 0) {
    if (hashes[candidate] !== hash) continue
    work.spent++
    // When conflicts are settled, younger types and such that have become others are in the table as well.
    if (candidate >= id || map[candidate] !== candidate) continue
    if (work.spent > work.budget) {
      survival ??= { beside: candidate, verdict: EXHAUSTED, differsAt: 0, differsFrom: 0 }
      break
    }
    if (!isSameShape(work, id, candidate)) continue
    const verdict = compare(work, id, candidate)
    if (verdict === EQUAL && mergeHypothesis(work)) {
      map[id] = candidate
      return true
    }
    if (verdict === CONFLICT) conflict = true
    survival ??= { beside: candidate, verdict, differsAt: work.differsAt, differsFrom: work.differsFrom }
  }
  if (conflict) composites.conflicts.push(id)
  if (survival !== undefined && words[at[id] ?? 0] !== 0 && composites.survivals.size < SURVIVAL_LIMIT) {
    composites.survivals.set(id, survival)
  }
  return false
}

/** Whether two records are equal but for the types that they refer to. */
const isSameShape = (work: DedupWork, id: number, other: number): boolean => {
  const { at, kinds, words } = work
  const one = at[id] ?? 0
  const two = at[other] ?? 0
  const info = words[one + 1] ?? 0
  if (words[one] !== words[two] || info !== words[two + 1]) return false
  if (kinds[id] === BTF_KIND_TYPEDEF) return true
  if (words[one + 2] !== words[two + 2]) return false
  const length = (info & 0xff_ffff) * 3 + 3
  for (let word = 3; word < length; word += 3) {
    if (words[one + word] !== words[two + word] || words[one + word + 2] !== words[two + word + 2]) {
      work.spent += word
      return false
    }
  }
  return true
}
