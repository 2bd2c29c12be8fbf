/** The law of distilling and relocating: what comes back onto the base that it was distilled from is what was there. */
import * as Result from "effect/Result"
import type * as Btf from "../../src/btf/Btf.ts"
import type { Distilled } from "../../src/btf/BtfDistill.ts"
import type { Relocated } from "../../src/btf/BtfRelocate.ts"
import { difference } from "./BtfTwins.ts"

/** Implementations under test: the library's, or ones with a fault. */
export interface Transforms {
  readonly distill: (split: Btf.Btf) => Result.Result<Distilled, { readonly message: string }>
  readonly relocate: (split: Btf.Btf, base: Btf.Btf) => Result.Result<Relocated, { readonly message: string }>
}

/** A base that holds the types of the old one under other ids. */
export interface Target {
  readonly base: Btf.Btf
  readonly idOf: (old: number) => number
}

/**
 * What is wrong with `split` when it was distilled and relocated, onto its own base again or onto `target`; `undefined`
 * where nothing is.
 *
 * The result may hold copies of base types. All else has to be as it was: each type of it equals the type that it comes
 * from, and refers to what that refers to, or to the copy of it.
 */
export const roundTripFault = (
  split: Btf.Btf,
  { distill, relocate }: Transforms,
  target?: Target
): string | undefined => {
  if (split.base === undefined) return "not split"
  const { base, idOf } = target ?? { base: split.base, idOf: (id: number) => id }
  const distilled = distill(split)
  if (Result.isFailure(distilled)) return distilled.failure.message
  const relocated = relocate(distilled.success.split, base)
  if (Result.isFailure(relocated)) return relocated.failure.message
  const { btf } = relocated.success
  if (btf.base !== base) return "the result is over another base"
  const own = split.endId - split.firstId
  const twins = new Map<number, number>([[0, 0]])
  for (let id = 1; id < split.firstId; id++) twins.set(idOf(id), id)
  let copies = 0
  for (let id = 1; id < split.endId; id++) {
    const inDistilled = distilled.success.map[id] ?? 0
    const moved = inDistilled === 0 ? 0 : relocated.success.map[inDistilled] ?? 0
    if (id >= split.firstId) {
      if (moved !== base.endId + id - split.firstId) return `own type ${id} became type ${moved}`
      twins.set(moved, id)
    } else if (moved >= base.endId) {
      copies++
      twins.set(moved, id)
    } else if (moved !== 0 && moved !== idOf(id)) return `type ${id} of the base became type ${moved}`
  }
  if (btf.endId - base.endId !== own + copies) return `${btf.endId - base.endId} types come from ${own} and ${copies}`
  return difference(btf, split, (id) => twins.get(id))
}
