/** Names of functions that are like one that is not there. */
import { distance } from "../../internal/Distance.ts"
import type { BinarySymbols } from "./BinarySymbols.ts"
import { nameOffsetOf, sectionOf, typeOf } from "./BinarySymbols.ts"
import * as C from "./ElfConstants.ts"
import { readString } from "./ElfStrings.ts"

/** How many names are suggested. */
const maximumNear = 5

/** Names longer than this are neither compared nor suggested. */
const maximumLength = 200

/** How many names are looked at. */
const maximumNames = 500_000

/** How many names are compared letter by letter; and for how many names of a list suggestions are looked for. */
const maximumCompared = 5000
const maximumAsked = 8

const popcount = (bits: number): number => {
  let count = 0
  for (let rest = bits; rest !== 0; rest &= rest - 1) count++
  return count
}

/** Which letters a text has, as bits: an edit changes two of them at most. */
const lettersOf = (text: string): number => {
  let letters = 0
  for (let at = 0; at < text.length; at++) letters |= 1 << (text.charCodeAt(at) & 31)
  return letters
}

const withoutVersion = (name: string): string => {
  const at = name.indexOf("@", 1)
  return at < 0 ? name : name.slice(0, at)
}

const namesOf = (tables: ReadonlyArray<BinarySymbols>, types: number): ReadonlySet<string> => {
  const names = new Set<string>()
  for (const symbols of tables) {
    const { count, strings } = symbols
    for (let index = 1; index < count; index++) {
      if (((types >> typeOf(symbols, index)) & 1) === 0 || sectionOf(symbols, index) === C.SHN_UNDEF) continue
      const start = nameOffsetOf(symbols, index)
      // Not looked at further than this: the names of hostile tables all end one long string.
      const end = strings.subarray(start, start + maximumLength + 1).indexOf(0)
      if (end > 0) names.add(withoutVersion(readString(strings, start)))
      if (names.size === maximumNames) return names
    }
  }
  return names
}

/**
 * A function that suggests, for a name that is not there, some of those that are: close spellings first, then names that
 * contain it, as those of C++ do. The names are read when the first suggestion is asked for.
 */
export const nearNames = (
  tables: ReadonlyArray<BinarySymbols>,
  types: number
): (name: string) => ReadonlyArray<string> => {
  let names: ReadonlySet<string> | undefined
  let asked = 0
  return (wanted) => {
    if (wanted.length > maximumLength || ++asked > maximumAsked) return []
    names ??= namesOf(tables, types)
    const limit = Math.max(1, Math.ceil(Math.min(wanted.length, 64) / 3))
    const letters = lettersOf(wanted)
    const near: Array<{ readonly name: string; readonly edits: number }> = []
    let compared = 0
    for (const name of names) {
      const contains = wanted.length > 2 && name.includes(wanted)
      if (contains) {
        near.push({ name, edits: limit + name.length - wanted.length })
        continue
      }
      if (Math.abs(name.length - wanted.length) > limit || popcount(letters ^ lettersOf(name)) > 2 * limit) continue
      if (++compared > maximumCompared) continue
      const edits = distance(name, wanted, limit)
      if (edits <= limit) near.push({ name, edits })
    }
    return near.sort((a, b) => a.edits - b.edits || (a.name < b.name ? -1 : 1)).slice(0, maximumNear).map(({ name }) =>
      name
    )
  }
}
