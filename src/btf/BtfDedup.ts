/**
 * Dedup: each type of a blob once.
 *
 * A linker or a compiler of BTF puts the types of many compilation units one after another, and dedup makes one graph of
 * them: equal strings and types become one, declarations without a definition (`struct foo;`) become the definition that
 * another unit has, and what is left gets new ids. Split BTF is deduplicated against its base as well; the base itself
 * stays as it is.
 *
 * ```ts
 * const { btf, ext, map, report } = Result.getOrThrow(BtfDedup.dedup(merged, { ext: mergedExt }))
 * Btf.nameOf(btf, map[oldId] ?? 0)
 * ```
 *
 * What counts as equal:
 *
 * - INT, FLOAT, full enums: the same record, names of values included. An enum without values is a declaration, and
 *   becomes the last enum of its name, of 32 or 64 bits.
 * - Structs, unions and typedefs: the same name, size, members and bit offsets, and equal types of the members, where the
 *   declaration of a struct equals any struct of its name. A unit that has a type twice does not disturb this.
 * - Other types: the same record once the types that it refers to have become one. Names of parameters and the linkage
 *   of functions belong to it.
 * - VAR and DATASEC are never merged, since two variables may look alike. Anonymous declarations declare nothing.
 * - Of several candidates the newest counts. The one with the lower id stays, so all that stays keeps its order.
 *
 * The time is near linear in ordinary blobs. A blob can be made in which all types look alike and differ far away; the
 * work is therefore bounded in proportion to the blob, 32 comparisons for each 32-bit word and a million more, and after
 * that types which would have to be compared count as different: the result is right, but not the smallest. Four kernels
 * in one blob need less than one comparison for each word. `report.exhausted` says whether the bound was reached.
 *
 * It differs from libbpf's on purpose, where that one is wrong (`test/support/DedupCases.ts` has a blob for each):
 *
 * - Two structs that differ in the element type of an array alone stay two. After 1.5 libbpf compares an array with itself when a
 *   type stands beside two, and so merges `{ int a[2]; int b[2]; }` with `{ int a[2]; float b[2]; }`.
 * - Cycles of pointers and typedefs are types like others, where libbpf up to 1.5 refuses them and later loops for ever.
 * - Types that stand beside two and are the same through any number of levels, themselves included, count as the same;
 *   libbpf gives up after 16 levels.
 * - A struct that a declaration was resolved to is not merged with a struct beside which only the declaration stood.
 * - An anonymous enum without values is no declaration of all anonymous enums, and an anonymous FWD none of all structs.
 * - A struct with a full enum does not become one with the declaration of an enum that was resolved to another.
 * - Strings are compared by their bytes even where offsets point into the middle of others.
 * - Where a member has the type of a variable or a section, or of a tag, which no compiler writes, types are compared all
 *   the same; libbpf refuses the blob.
 *
 * Source: reference page `dedup`.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import type { BtfError } from "./BtfError.ts"
import { isBtfError } from "./BtfError.ts"
import * as BtfExt from "./BtfExt.ts"
import { assembled, imageOf, requireKnownKinds, requireWritable } from "./BtfImage.ts"
import type { Btf } from "./BtfModel.ts"
import { compact } from "./dedup/DedupCompact.ts"
import { dedupComposites, settleConflicts } from "./dedup/DedupComposites.ts"
import { resolveForwards } from "./dedup/DedupForwards.ts"
import { dedupPrimitives } from "./dedup/DedupPrimitives.ts"
import { dedupReferences } from "./dedup/DedupReferences.ts"
import type { DedupReport } from "./dedup/DedupReport.ts"
import { reportOf } from "./dedup/DedupReport.ts"
import { dedupStrings } from "./dedup/DedupStrings.ts"
import { bytesOfWords, loadWork } from "./dedup/DedupWork.ts"

export { SURVIVOR_LIMIT } from "./dedup/DedupReport.ts"
export type { DedupReport, Survivor, SurvivorReason } from "./dedup/DedupReport.ts"

/** Options of `dedup`. */
export interface DedupOptions {
  /** The `.BTF.ext` of the same object, to be renumbered with it. */
  readonly ext?: BtfExt.BtfExt | undefined
  /** How many comparisons may be made, instead of as many as the blob's size allows. */
  readonly budget?: number | undefined
}

/** What `dedup` answers. */
export interface Deduped {
  /** The types that stay, in their old order and with ids without gaps; canonical, over the same base. */
  readonly btf: Btf
  /** The records of `options.ext` for `btf`. */
  readonly ext: BtfExt.BtfExt | undefined
  /**
   * The id in `btf` of every old id, `void` and the base's included. A type of the base has its own, except for a
   * declaration that has its definition in the blob: it has the definition's.
   */
  readonly map: Uint32Array
  readonly report: DedupReport
}

/**
 * Deduplicates the types that `btf` holds itself, and its strings.
 *
 * Errors: `UnknownKind` for a type of a kind that this library does not know, `Cycle` for types that refer to each other
 * in a ring without a struct, union or typedef, `ReadOnly` for a header with unknown fields, `NamesTooLong` where strings
 * that share tails would take too much room, `BadString` and `BadTypeId` for records of `ext` that refer to nothing.
 */
export const dedup = (btf: Btf, options: DedupOptions = {}): Result.Result<Deduped, BtfError> =>
  attempt(isBtfError, () => deduped(btf, options))

/** How many rounds a blob over a base may take. */
const MAX_ROUNDS = 8

/**
 * Rounds until nothing is left to merge. One is enough without a base. A declaration of a base cannot be replaced where
 * the base refers to it; when one gets a definition, or types could not be told to be identical, a second round may merge
 * what the first could not know to be equal.
 */
const deduped = (btf: Btf, options: DedupOptions): Deduped => {
  let round = dedupedOnce(btf, options)
  let done = round.done
  for (let rounds = 1; rounds < MAX_ROUNDS && isOpen(btf, round) && !done.report.exhausted; rounds++) {
    const { budget } = options
    const left = budget === undefined ? {} : { budget: budget - done.report.work }
    round = dedupedOnce(done.btf, { ...left, ext: done.ext })
    if (round.done.btf.endId === done.btf.endId) break
    done = after(done, round.done)
  }
  return done
}

interface Round {
  readonly done: Deduped
  /** Types were left for which one canonical type stood beside several. */
  readonly hasConflicts: boolean
}

/** Whether another round may find more. */
const isOpen = ({ base, firstId }: Btf, { done, hasConflicts }: Round): boolean => {
  if (base === undefined) return false
  if (hasConflicts) return true
  for (let id = 1; id < firstId; id++) if (done.map[id] !== id) return true
  return false
}

/** What two rounds did together. */
const after = (one: Deduped, two: Deduped): Deduped => ({
  ...two,
  map: one.map.map((id) => two.map[id] ?? 0),
  report: {
    ...two.report,
    types: { before: one.report.types.before, after: two.report.types.after },
    strings: { before: one.report.strings.before, after: two.report.strings.after },
    forwardsResolved: one.report.forwardsResolved + two.report.forwardsResolved,
    work: one.report.work + two.report.work
  }
})

const dedupedOnce = (btf: Btf, { budget, ext }: DedupOptions): Round => {
  requireWritable(btf)
  requireKnownKinds(btf)
  const work = loadWork(btf, budget)
  const strings = dedupStrings(btf, ext, work)
  dedupPrimitives(work)
  const composites = dedupComposites(work)
  let ambiguous = resolveForwards(work)
  while (settleConflicts(work, composites)) {
    // A round looks at all types, so it counts as work; nothing is settled when that is used up.
    work.spent += work.end
    ambiguous = resolveForwards(work)
  }
  dedupReferences(work)
  const { map, words } = compact(work)
  const result = assembled({
    ...imageOf(btf),
    types: bytesOfWords(words, btf.internal.littleEndian),
    strings: strings.content
  })
  const report = reportOf(work, {
    survivals: composites.survivals,
    ambiguous,
    map,
    types: { before: btf.endId - btf.firstId, after: result.endId - result.firstId },
    strings: { before: btf.stringsLength, after: result.stringsLength }
  })
  return {
    done: { btf: result, ext: ext && renumbered(ext, result, map, strings.newOffset), map, report },
    hasConflicts: composites.conflicts.length > 0
  }
}

const renumbered = (
  ext: BtfExt.BtfExt,
  btf: Btf,
  map: Uint32Array,
  string: (old: number) => number
): BtfExt.BtfExt => {
  const remapped = BtfExt.remap(ext, btf, (old) => map[old] ?? 0, string)
  if (remapped._tag === "Failure") throw remapped.failure
  return remapped.success
}
