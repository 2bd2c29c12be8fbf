/**
 * What dedup did, for people: which types of one name are still there several times, and why.
 */
import {
  BTF_KIND_ENUM,
  BTF_KIND_ENUM64,
  BTF_KIND_FLOAT,
  BTF_KIND_FWD,
  BTF_KIND_INT,
  BTF_KIND_STRUCT,
  BTF_KIND_TYPEDEF,
  BTF_KIND_UNION
} from "../BtfKind.ts"
import type { Survival } from "./DedupComposites.ts"
import { CONFLICT, DIFFERENT, EQUAL, EXHAUSTED } from "./DedupGraph.ts"
import { emptyHash, mix } from "./DedupTable.ts"
import type { DedupWork } from "./DedupWork.ts"
import { resolve } from "./DedupWork.ts"

/**
 * Why a type stayed beside another of its kind and name.
 *
 * - `Shape`: their records differ: size, members, values, or what kind of forward declaration they are
 * - `Reference`: their records are alike, and something that they refer to differs
 * - `Unsettled`: one type of the older graph stands for several of the newer one, which are not identical
 * - `BaseForward`: they are equal, but the older belongs to a base, and refers to a forward declaration of a type that is
 *   defined here
 * - `Ambiguous`: a forward declaration, and several types of its name are defined
 * - `Budget`: the comparison would have taken work out of proportion to the blob
 */
export type SurvivorReason = "Shape" | "Reference" | "Unsettled" | "BaseForward" | "Ambiguous" | "Budget"

/** A type that stayed beside another of its kind and name. Ids are those of the result. */
export interface Survivor {
  readonly id: number
  /** The other: the one that it was compared with, or the last before it. */
  readonly beside: number
  readonly reason: SurvivorReason
  /** Where the graphs of the two part: a type of the first graph and one of the second. */
  readonly difference?: readonly [number, number]
}

/** What a dedup did. */
export interface DedupReport {
  /** Types of the blob itself, before and after. */
  readonly types: { readonly before: number; readonly after: number }
  /** Bytes of the blob's own string area, before and after. */
  readonly strings: { readonly before: number; readonly after: number }
  /** How many forward declarations of structs, unions and enums have become what they declare. */
  readonly forwardsResolved: number
  /** How many types stayed beside another of their kind and name. */
  readonly survivorCount: number
  /** The first of them, at most `SURVIVOR_LIMIT`. */
  readonly survivors: ReadonlyArray<Survivor>
  /** Types and words that were compared, in proportion to the blob; `exhausted` says that it was too little. */
  readonly work: number
  readonly exhausted: boolean
}

/** How many survivors a report names. */
export const SURVIVOR_LIMIT = 100

/** Kinds whose names mean something; 0 for others. What is the same number may have one name only once. */
const nameSpace = new Uint8Array(128)
for (
  const [space, kinds] of [
    [1, [BTF_KIND_INT]],
    [2, [BTF_KIND_FLOAT]],
    [3, [BTF_KIND_STRUCT]],
    [4, [BTF_KIND_UNION]],
    [5, [BTF_KIND_ENUM, BTF_KIND_ENUM64]],
    [6, [BTF_KIND_TYPEDEF]]
  ] as const
) {
  for (const kind of kinds) nameSpace[kind] = space
}

/** What the report takes from the passes. */
export interface ReportInput {
  readonly survivals: ReadonlyMap<number, Survival>
  /** Forward declarations whose name has several definitions. */
  readonly ambiguous: ReadonlyArray<number>
  /** New ids by old ones. */
  readonly map: Uint32Array
  readonly types: { readonly before: number; readonly after: number }
  readonly strings: { readonly before: number; readonly after: number }
}

/** Makes the report. */
export const reportOf = (work: DedupWork, input: ReportInput): DedupReport => {
  const { firstOwn, end, kinds, map, spent, budget } = work
  const survivors: Array<Survivor> = []
  let survivorCount = 0
  let forwardsResolved = 0
  const add = (survivor: Survivor): void => {
    survivorCount++
    if (survivors.length < SURVIVOR_LIMIT) survivors.push(survivor)
  }
  const latest = latestOfName(work)
  for (let id = 1; id < end; id++) {
    if (id >= firstOwn && isForward(work, id) && !isForward(work, resolve(map, id))) forwardsResolved++
    if (map[id] !== id || (nameSpace[kinds[id] ?? 0] ?? 0) === 0) continue
    const beside = latest(id)
    if (beside === 0 || id < firstOwn) continue
    const survival = input.survivals.get(id)
    if (survival === undefined) {
      add({ id: input.map[id] ?? 0, beside: input.map[beside] ?? 0, reason: "Shape" })
      continue
    }
    add({
      id: input.map[id] ?? 0,
      beside: input.map[survival.beside] ?? 0,
      reason: reasons[survival.verdict],
      ...(survival.differsAt === 0 && survival.differsFrom === 0 ? {} : {
        difference: [input.map[survival.differsAt] ?? 0, input.map[survival.differsFrom] ?? 0] as const
      })
    })
  }
  for (const id of input.ambiguous) {
    add({ id: input.map[id] ?? 0, beside: input.map[latest(id)] ?? 0, reason: "Ambiguous" })
  }
  return {
    types: input.types,
    strings: input.strings,
    forwardsResolved,
    survivorCount,
    survivors,
    work: spent,
    exhausted: spent > budget
  }
}

const reasons: Readonly<Record<Survival["verdict"], SurvivorReason>> = {
  [EQUAL]: "BaseForward",
  [DIFFERENT]: "Reference",
  [CONFLICT]: "Unsettled",
  [EXHAUSTED]: "Budget"
}

const isForward = (work: DedupWork, id: number): boolean => {
  const kind = work.kinds[id] ?? 0
  if (kind === BTF_KIND_FWD) return true
  if (kind !== BTF_KIND_ENUM && kind !== BTF_KIND_ENUM64) return false
  const start = work.at[id] ?? 0
  return work.words[start] !== 0 && ((work.words[start + 1] ?? 0) & 0xff_ffff) === 0
}

/**
 * Answers, for type after type, the last one before it that has the same kind and name, 0 for none; for a forward
 * declaration the last that defines its name.
 */
const latestOfName = (work: DedupWork): (id: number) => number => {
  const { at, end, kinds, map, words } = work
  let count = 0
  for (let id = 1; id < end; id++) count += (nameSpace[kinds[id] ?? 0] ?? 0) !== 0 && map[id] === id ? 1 : 0
  const mask = 2 ** Math.max(4, 33 - Math.clz32(count)) - 1
  const slots = new Int32Array(mask + 1)
  return (id) => {
    const start = at[id] ?? 0
    const name = words[start] ?? 0
    if (name === 0) return 0
    const kind = kinds[id] ?? 0
    const forward = kind === BTF_KIND_FWD
    const space = forward
      ? (words[start + 1] ?? 0) < 0 ? nameSpace[BTF_KIND_UNION] : nameSpace[BTF_KIND_STRUCT]
      : nameSpace[kind]
    let slot = mix(mix(emptyHash(), name), space ?? 0) & mask
    for (;; slot = (slot + 1) & mask) {
      const found = slots[slot] ?? 0
      if (found !== 0 && (words[at[found] ?? 0] !== name || nameSpace[kinds[found] ?? 0] !== space)) continue
      if (!forward) slots[slot] = id
      return found
    }
  }
}
