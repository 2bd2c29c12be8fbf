/**
 * Weak definitions that lost, and that nothing refers to any more: a final link leaves them out.
 *
 * A definition is left out where that is safe beyond doubt: no other symbol overlaps it, and no instruction or pointer
 * outside of it leads into it. What is not is kept, as dead bytes.
 */
import * as Elf from "../services/Elf/Elf.ts"
import type { Input, InputSection } from "./Input.ts"
import { callTarget, jumpTarget, referredOffset } from "./Instructions.ts"
import type { Holes, Range } from "./Layout.ts"
import { type Globals, type Mention, winnerOf } from "./Symbols.ts"

/** A definition that may be left out, until something speaks against it. */
interface Candidate extends Range {
  readonly symbol: number
  isSafe: boolean
}

/** The ranges to leave out. */
export const deadRanges = (globals: Globals): Holes => {
  const bySection = new Map<InputSection, Array<Candidate>>()
  for (const global of globals.values()) {
    if (global.mentions.length < 2) continue
    const { winner } = winnerOf(global)
    for (const mention of global.mentions) {
      if (mention !== winner && mention.isDefined) addCandidate(bySection, mention)
    }
  }
  const byInput = new Map<Input, Map<InputSection, ReadonlyArray<Candidate>>>()
  for (const [section, candidates] of bySection) {
    const apart = withoutOverlaps(candidates)
    const mine = byInput.get(section.input) ?? new Map<InputSection, ReadonlyArray<Candidate>>()
    mine.set(section, apart)
    byInput.set(section.input, mine)
  }
  const holes = new Map<InputSection, ReadonlyArray<Range>>()
  for (const [input, sections] of byInput) {
    checkSymbols(input, sections)
    checkRelocations(input, sections)
    for (const [section, candidates] of sections) {
      if (section.isCode) checkCode(section, candidates)
      const safe = candidates.filter(({ isSafe }) => isSafe)
      if (safe.length > 0) holes.set(section, safe)
    }
  }
  return holes
}

const addCandidate = (bySection: Map<InputSection, Array<Candidate>>, mention: Mention): void => {
  const { section, size, symbol, type, value } = mention
  if (section === undefined || size === 0 || isLegacyMaps(section.name)) return
  if (type !== (section.isCode ? Elf.STT_FUNC : Elf.STT_OBJECT)) return
  const candidates = bySection.get(section) ?? []
  candidates.push({ start: value, end: value + size, symbol, isSafe: true })
  bySection.set(section, candidates)
}

/** The candidates in order, without those that overlap. */
const withoutOverlaps = (candidates: Array<Candidate>): ReadonlyArray<Candidate> => {
  candidates.sort((one, other) => one.start - other.start)
  let furthest = candidates[0]
  for (const candidate of candidates.slice(1)) {
    if (furthest !== undefined && candidate.start < furthest.end) {
      furthest.isSafe = false
      candidate.isSafe = false
    }
    if (furthest === undefined || candidate.end > furthest.end) furthest = candidate
  }
  return candidates.filter(({ isSafe }) => isSafe)
}

/** Their records are counted by their symbols, and the symbols of those that lost are gone. */
const isLegacyMaps = (name: string): boolean => name === "maps" || name.startsWith("maps/")

/** The first candidate that ends behind `offset`. */
const search = (candidates: ReadonlyArray<Candidate>, offset: number): number => {
  let low = 0
  let high = candidates.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((candidates[middle]?.end ?? 0) <= offset) low = middle + 1
    else high = middle
  }
  return low
}

/** The candidate that has `offset` in it. */
const at = (candidates: ReadonlyArray<Candidate>, offset: number): Candidate | undefined => {
  const candidate = candidates[search(candidates, offset)]
  return candidate !== undefined && candidate.start <= offset ? candidate : undefined
}

/** Spans of candidates that something speaks against, counted at their ends, so that many spans cost no more than few. */
type Spans = Int32Array

/** Speaks against all candidates that have a byte in [start, end). */
const speakAgainst = (spans: Spans, candidates: ReadonlyArray<Candidate>, start: number, end: number): void => {
  const first = search(candidates, start)
  // Candidates do not overlap, so they begin in the order in which they end.
  let low = first
  let high = candidates.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((candidates[middle]?.start ?? 0) < end) low = middle + 1
    else high = middle
  }
  if (low === first) return
  spans[first] = (spans[first] ?? 0) + 1
  spans[low] = (spans[low] ?? 0) - 1
}

const settle = (spans: Spans, candidates: ReadonlyArray<Candidate>): void => {
  let depth = 0
  candidates.forEach((candidate, index) => {
    depth += spans[index] ?? 0
    if (depth > 0) candidate.isSafe = false
  })
}

/** Other symbols that overlap; labels of the compiler inside go with what they label. */
const checkSymbols = (
  { sections, symbols }: Input,
  candidates: ReadonlyMap<InputSection, ReadonlyArray<Candidate>>
): void => {
  const spans = new Map<InputSection, Spans>()
  const own = new Set<number>()
  for (const [section, mine] of candidates) {
    spans.set(section, new Int32Array(mine.length + 1))
    for (const { symbol } of mine) own.add(symbol)
  }
  for (let symbol = 1; symbol < symbols.count; symbol++) {
    const section = Elf.symbolIsReserved(symbols, symbol) ? undefined : sections[Elf.symbolSection(symbols, symbol)]
    const mine = section === undefined ? undefined : candidates.get(section)
    if (mine === undefined) continue
    const type = Elf.symbolType(symbols, symbol)
    if (type === Elf.STT_SECTION) continue
    const start = Elf.symbolOffset(symbols, symbol)
    const size = Elf.symbolLength(symbols, symbol)
    const isLabel = size === 0 && type === Elf.STT_NOTYPE && Elf.symbolBinding(symbols, symbol) === Elf.STB_LOCAL
    if (isLabel || own.has(symbol)) continue
    const mySpans = section === undefined ? undefined : spans.get(section)
    if (mySpans !== undefined) speakAgainst(mySpans, mine, start, start + Math.max(size, 1))
  }
  for (const [section, mine] of candidates) {
    const mySpans = spans.get(section)
    if (mySpans !== undefined) settle(mySpans, mine)
  }
}

/** Relocations from elsewhere that lead into a candidate by the symbol of its section, or by a local one. */
const checkRelocations = (
  input: Input,
  candidates: ReadonlyMap<InputSection, ReadonlyArray<Candidate>>
): void => {
  const { sections, symbols } = input
  const unclear = new Set<ReadonlyArray<Candidate>>()
  for (const { table, target } of input.relocations) {
    const here = candidates.get(target)
    for (let index = 0; index < table.count; index++) {
      const symbol = Elf.relocationSymbol(table, index)
      if (Elf.symbolBinding(symbols, symbol) !== Elf.STB_LOCAL || Elf.symbolIsReserved(symbols, symbol)) continue
      const section = sections[Elf.symbolSection(symbols, symbol)]
      const mine = section === undefined ? undefined : candidates.get(section)
      if (mine === undefined) continue
      const offset = Elf.relocationOffset(table, index)
      const isSection = Elf.symbolType(symbols, symbol) === Elf.STT_SECTION
      const leads = isSection
        ? referredOffset(target, offset, Elf.relocationType(table, index))
        : Elf.symbolOffset(symbols, symbol)
      // A place that cannot be told, or lies outside the section, could be meant to be any.
      const candidate = leads === undefined ? undefined : at(mine, leads)
      if (leads === undefined) unclear.add(mine)
      if (candidate === undefined || (section === target && here !== undefined && at(here, offset) === candidate)) {
        continue
      }
      candidate.isSafe = false
    }
  }
  for (const mine of unclear) for (const candidate of mine) candidate.isSafe = false
}

/** Calls and jumps inside a section of code, which need no relocation. */
const checkCode = (section: InputSection, candidates: ReadonlyArray<Candidate>): void => {
  const relocated = relocatedOffsets(section)
  const spans = new Int32Array(candidates.length + 1)
  for (let offset = 0; offset < section.size; offset += 8) {
    const from = at(candidates, offset)
    const jump = jumpTarget(section, offset)
    if (jump !== undefined) {
      // Jumps are not changed, so none may cross what is left out.
      const stays = from !== undefined && jump >= from.start && jump < from.end
      if (!stays) speakAgainst(spans, candidates, Math.min(offset, jump), Math.max(offset, jump) + 1)
    }
    const call = relocated.has(offset) ? undefined : callTarget(section, offset)
    const into = call === undefined ? undefined : at(candidates, call)
    if (into !== undefined && into !== from) into.isSafe = false
  }
  settle(spans, candidates)
}

/** Where the instructions of a section have relocations. */
export const relocatedOffsets = (section: InputSection): ReadonlySet<number> => {
  const offsets = new Set<number>()
  for (const { table } of section.input.relocationsFor.get(section) ?? []) {
    for (let index = 0; index < table.count; index++) offsets.add(Elf.relocationOffset(table, index))
  }
  return offsets
}
