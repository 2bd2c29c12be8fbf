/**
 * Whether two files mean the same by a symbol.
 *
 * Source: reference page `linker`, section 6.
 */
import { within } from "./Input.ts"
import { type LinkSide, refuse } from "./LinkError.ts"
import { mapDifference } from "./MapCompatible.ts"
import { sideOf } from "./Sides.ts"
import type { Global, Mention } from "./Symbols.ts"
import { typeDifference } from "./TypeDifference.ts"

/** Compares each mention of a symbol with the one that counts. Throws `LinkError`. */
export const checkMentions = (global: Global, winner: Mention): void => {
  for (const mention of global.mentions) {
    if (mention !== winner) checkPair(global.name, winner, mention)
  }
}

const checkPair = (name: string, winner: Mention, other: Mention): void => {
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
  const difference = home === ".maps"
    ? mapDifference(one, winner.typeId, two, other.typeId)
    : typeDifference(one, winner.typeId, two, other.typeId)
  if (difference !== undefined) refuse("Incompatible", `it differs between the files: ${difference}`, {
    ...where,
    sides: both(),
    hint: "put the declaration into a header that both files include"
  })
}
