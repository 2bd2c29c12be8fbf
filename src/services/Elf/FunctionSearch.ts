/**
 * Which symbol a name is for: by tables, versions and bindings, for many names at once. The rules are in `FunctionOffset.ts`.
 *
 * Most of this runs once for every name of long lists, over numbers: an object is made of what was found.
 */
import * as Result from "effect/Result"
import type { BinarySymbols } from "./BinarySymbols.ts"
import { typeOf } from "./BinarySymbols.ts"
import type { ElfBinary } from "./ElfBinary.ts"
import * as C from "./ElfConstants.ts"
import type { FunctionOffset } from "./FunctionFound.ts"
import { candidateAt, foundAt } from "./FunctionFound.ts"
import type { FunctionName } from "./FunctionName.ts"
import type { Candidate } from "./FunctionOffsetError.ts"
import { FunctionOffsetError } from "./FunctionOffsetError.ts"
import * as Scan from "./FunctionScan.ts"
import type { Places } from "./FunctionSymbol.ts"
import { boundOf, placeOf, placesOf, spellingOf, UNDEFINED } from "./FunctionSymbol.ts"
import { nearNames } from "./NearNames.ts"
import { readSymbols } from "./SymbolTables.ts"

/** What is looked for. */
export interface Options {
  /** `object` is for data, such as counters of probes; default `function`. */
  readonly type?: "function" | "object"
  /** Whether indirect functions are found, behind all others; default `refuse`. */
  readonly indirect?: "refuse" | "accept"
}

/** What becomes of one name. */
export type Answer = Result.Result<FunctionOffset, FunctionOffsetError>

/** The most candidates that an error carries. */
const maximumCandidates = 64

const failure = (
  reason: FunctionOffsetError["reason"],
  asked: FunctionName,
  fields: Omit<ConstructorParameters<typeof FunctionOffsetError>[0], "reason" | "symbol"> = {}
) => Result.fail(new FunctionOffsetError({ reason, symbol: asked.text, ...fields }))

/** The symbols of the names that are looked for in one table. */
interface Scanned {
  readonly symbols: BinarySymbols
  readonly matches: Scan.Matches
}

/** The symbols of one name, in the order of the table. */
const symbolsOf = ({ matches: { heads, indices, next } }: Scanned, group: number): ReadonlyArray<number> => {
  const found: Array<number> = []
  for (let match = heads[group] ?? -1; match >= 0; match = next[match] ?? -1) found.push(indices[match] ?? 0)
  return found
}

/** A symbol and where its code is. */
interface Choice {
  readonly index: number
  readonly place: number
}

/**
 * The symbol that counts of those of a name, a type and a version, if one was asked for: undefined if there is none.
 */
const choose = (
  places: Places,
  { matches: { heads, indices, next }, symbols }: Scanned,
  group: number,
  type: number,
  version: string | undefined
): Choice | "ambiguous" | undefined => {
  let held = -1
  let heldPlace = 0
  for (let match = heads[group] ?? -1; match >= 0; match = next[match] ?? -1) {
    const index = indices[match] ?? 0
    if (typeOf(symbols, index) !== type) continue
    if (version !== undefined && spellingOf(symbols, index).version !== version) continue
    const place = placeOf(places, symbols, index)
    if (place < 0) continue
    if (held >= 0) {
      if (place === heldPlace || boundOf(symbols, index) === "weak") continue
      if (boundOf(symbols, held) !== "weak") return "ambiguous"
    }
    held = index
    heldPlace = place
  }
  return held < 0 ? undefined : { index: held, place: heldPlace }
}

/** All of a name that are of a type and have a place, each place once: what an error shows of an ambiguous name. */
const contenders = (
  places: Places,
  scanned: Scanned,
  group: number,
  type: number,
  asked: FunctionName
): ReadonlyArray<Candidate> => {
  const { symbols } = scanned
  const found: Array<Candidate> = []
  const seen = new Set<string>()
  for (const index of symbolsOf(scanned, group)) {
    if (typeOf(symbols, index) !== type || placeOf(places, symbols, index) < 0) continue
    if (asked.version !== undefined && spellingOf(symbols, index).version !== asked.version) continue
    const candidate = candidateAt(places, symbols, index)
    const key = `${candidate.symbol} ${candidate.offset}`
    if (!seen.has(key)) found.push(candidate)
    seen.add(key)
    if (found.length === maximumCandidates) break
  }
  return found
}

const answerOf = (
  places: Places,
  scanned: Scanned,
  group: number,
  type: number,
  asked: FunctionName,
  options: Options
): Answer | undefined => {
  const { symbols } = scanned
  const choice = choose(places, scanned, group, type, asked.version)
  if (choice === undefined) return undefined
  const isRefused = type === C.STT_GNU_IFUNC && options.indirect !== "accept"
  if (choice === "ambiguous" || isRefused) {
    const candidates = contenders(places, scanned, group, type, asked)
    return failure(choice === "ambiguous" ? "Ambiguous" : "Indirect", asked, { candidates })
  }
  const found = foundAt(places, symbols, choice.index, choice.place, asked)
  if (asked.delta === 0n) return Result.succeed(found)
  // Where the size is not known, only the end of the file is.
  const isInside = found.size === 0n ? found.offset < BigInt(places.binary.source.size) : asked.delta < found.size
  return isInside
    ? Result.succeed(found)
    : failure("BeyondFunction", asked, found.size === 0n ? {} : { size: found.size })
}

/** Why a name has no offset, when none of its symbols was chosen. `scans` have symbols of all types. */
const explain = (
  places: Places,
  scans: ReadonlyArray<Scanned>,
  group: number,
  types: number,
  asked: FunctionName,
  nearTo: (name: string) => ReadonlyArray<string>
): Answer => {
  let library: string | undefined
  let isImported = false
  let isElsewhere = false
  let isOther = false
  const versions: Array<Candidate> = []
  for (const scanned of scans) {
    const { symbols } = scanned
    for (const index of symbolsOf(scanned, group)) {
      const place = placeOf(places, symbols, index)
      const spelling = spellingOf(symbols, index)
      const isWanted = asked.version === undefined || spelling.version === asked.version
      if (isWanted && place === UNDEFINED) {
        isImported = true
        library ??= spelling.library
      } else if (((types >> typeOf(symbols, index)) & 1) === 0) isOther = true
      else if (isWanted) isElsewhere = true
      else if (place > 0 && versions.length < maximumCandidates) versions.push(candidateAt(places, symbols, index))
    }
  }
  if (isElsewhere) return failure("Elsewhere", asked)
  if (versions.length > 0) return failure("Version", asked, { candidates: versions })
  if (isImported) return failure("Undefined", asked, library === undefined ? {} : { library })
  return isOther ? failure("NotAFunction", asked) : failure("NotFound", asked, { near: nearTo(asked.name) })
}

/** In which order the tables are looked at for a name. */
export const precedence = ["dynsym", "symtab"] as const

/** The answer for each name, in their order; throws what is wrong with the file. */
export const search = (
  binary: ElfBinary,
  asked: ReadonlyArray<FunctionName>,
  options: Options
): ReadonlyArray<Answer> => {
  const isObject = options.type === "object"
  const types = isObject ? Scan.objectTypes : Scan.functionTypes
  const places = placesOf(binary)
  const wanted = Scan.wanted(asked.map(({ name }) => name))
  const { groups } = wanted
  const scans: Array<Scanned> = []
  const answers = new Array<Answer | undefined>(asked.length).fill(undefined)
  let waiting = asked.length
  const answerFrom = (scanned: Scanned, type: number): void => {
    for (let place = 0; place < asked.length && waiting > 0; place++) {
      const each = asked[place]
      if (each === undefined || answers[place] !== undefined) continue
      const answer = answerOf(places, scanned, groups[place] ?? 0, type, each, options)
      if (answer === undefined) continue
      answers[place] = answer
      waiting -= 1
    }
  }
  for (const table of precedence) {
    if (waiting === 0) break
    const symbols = readSymbols(binary, table)
    if (symbols === undefined) continue
    const scanned = { symbols, matches: Scan.findNames(symbols, types, wanted) }
    scans.push(scanned)
    answerFrom(scanned, isObject ? C.STT_OBJECT : C.STT_FUNC)
  }
  // Indirect functions are behind all others, of either table.
  if (!isObject) scans.forEach((scanned) => answerFrom(scanned, C.STT_GNU_IFUNC))
  // Why the others are not found takes another look, at symbols of all types.
  const all = waiting === 0
    ? []
    : scans.map(({ symbols }) => ({ symbols, matches: Scan.findNames(symbols, Scan.otherTypes, wanted) }))
  const nearTo = nearNames(scans.map(({ symbols }) => symbols), types)
  return asked.map((each, place) =>
    answers[place] ?? (scans.length === 0
      ? failure("NoSymbols", each)
      : explain(places, all, groups[place] ?? 0, types, each, nearTo))
  )
}
