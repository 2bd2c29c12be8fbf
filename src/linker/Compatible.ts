/**
 * Whether two files mean the same by a symbol.
 *
 * Source: reference page `linker`, section 6.
 */
import type * as Btf from "../btf/Btf.ts"
import { within } from "./Input.ts"
import { type LinkSide, refuse } from "./LinkError.ts"
import { mapDifference } from "./MapCompatible.ts"
import { sideOf } from "./Sides.ts"
import type { Global, Mention } from "./Symbols.ts"
import { type Comparison, makeComparison, typeDifference } from "./TypeDifference.ts"

/** Compares each mention of a symbol with the one that counts. Throws `LinkError`. */
export const checkMentions = (global: Global, winner: Mention, compared: Compared): void => {
  for (const mention of global.mentions) {
    if (mention !== winner) checkPair(global.name, winner, mention, compared)
  }
}

/** What was found equal before, by the file whose mention counts and the other one. */
export type Compared = Map<Btf.Btf, Map<Btf.Btf, Comparison>>

const comparisonOf = (compared: Compared, one: Btf.Btf, two: Btf.Btf): Comparison => {
  const others = compared.get(one) ?? new Map<Btf.Btf, Comparison>()
  compared.set(one, others)
  const known = others.get(two) ?? makeComparison(one, two)
  others.set(two, known)
  return known
}

const checkPair = (name: string, winner: Mention, other: Mention, compared: Compared): void => {
  const where = { ...within(other.input, other.section), symbol: name }
  const both = (): ReadonlyArray<LinkSide> => [sideOf(winner), sideOf(other)]
  const home = winner.section?.name
  const away = other.section?.name
  if (away !== undefined && away !== home) {
    refuse("SectionMismatch", `it is in section ${home ?? "none"} of ${winner.input.name} and in ${away} here`, {
      ...where,
      sides: both(),
      hint: "declare it with the section in which it is defined, SEC(\"…\")"
    })
  }
  const one = winner.input.btf
  const two = other.input.btf
  if (one === undefined || two === undefined || winner.typeId === 0 || other.typeId === 0) {
    return refuse("MissingBtf", "two files mention it, and there are no types to compare", {
      ...where,
      sides: both(),
      hint: "compile with -g"
    })
  }
  const comparison = comparisonOf(compared, one, two)
  const difference = home === ".maps"
    ? mapDifference(comparison, winner.typeId, other.typeId)
    : typeDifference(comparison, winner.typeId, other.typeId)
  if (difference !== undefined) {
    refuse("Incompatible", `it differs between the files: ${difference}`, {
      ...where,
      sides: both(),
      hint: "put the declaration into a header that both files include"
    })
  }
}
