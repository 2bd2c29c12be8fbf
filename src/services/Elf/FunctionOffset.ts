/**
 * Where functions are in files: from a symbol's name to the offset that a uprobe takes.
 *
 * Names are looked for among the dynamic symbols first and then in the symbol table proper; patterns the other way round.
 * Only symbols that are defined in the file count. In one table a strong symbol is preferred to a weak one; two strong ones
 * of one name at different places are ambiguous, be they two versions of it or two functions that are local to their sources;
 * among weak ones the first counts. These are libbpf's rules for a single name. Different are:
 *
 * - lists follow the rules for single names: libbpf knows no versions there, and takes a local function of the same name
 *   in the other table for a second one
 * - undefined symbols are never found; libbpf takes them for functions at 0, and loses count of a list
 * - a version is the same in both tables, behind `@` or `@@`; patterns are for the name without it, unless they name one
 * - symbols whose section has no bytes in the file (debug information) or that are outside of it are not found
 * - files without section headers, and with more sections than 16 bits can number, are read, too
 * - indirect functions (`STT_GNU_IFUNC`) are refused by that name, or taken if `indirect` says so: a probe there sees
 *   the function that chooses and not the chosen one
 *
 * Source: System V gABI 4.3 draft, chapter 4 ("Symbol Table"); the GNU extensions as in the Linux Standard Base.
 */
import * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import { matches } from "../../internal/Glob.ts"
import type { BinarySymbols } from "./BinarySymbols.ts"
import { sizeOf, typeOf } from "./BinarySymbols.ts"
import type { ByteSource } from "./ByteSource.ts"
import type { BinaryError, ElfBinary } from "./ElfBinary.ts"
import { isBinaryError, open } from "./ElfBinary.ts"
import * as C from "./ElfConstants.ts"
import type { FunctionName } from "./FunctionName.ts"
import * as Names from "./FunctionName.ts"
import type { Candidate } from "./FunctionOffsetError.ts"
import { FunctionOffsetError } from "./FunctionOffsetError.ts"
import * as Scan from "./FunctionScan.ts"
import { addressOf, boundOf, placeOf, spellingOf, written } from "./FunctionSymbol.ts"
import { nearNames } from "./NearNames.ts"
import { readSymbols } from "./SymbolTables.ts"

export { FunctionOffsetError } from "./FunctionOffsetError.ts"

/** A function of a file. */
export interface FunctionOffset {
  /** As it was asked for; of a pattern the function's name. */
  readonly symbol: string
  /** Bytes from the start of the file: what a uprobe takes. Never 0. */
  readonly offset: bigint
  /** The virtual address that the file was linked for. */
  readonly address: bigint
  /** The function's name, without a version. */
  readonly name: string
  readonly version: string | undefined
  /** Whether a link that asks for no version gets this one. */
  readonly isDefault: boolean
  /** Bytes of the function, 0 if unknown. */
  readonly size: bigint
  readonly binding: "local" | "global" | "weak"
  readonly table: "dynsym" | "symtab"
  /** Whether the code is not the function itself but chooses it when the program starts (`STT_GNU_IFUNC`). */
  readonly isIndirect: boolean
}

/** What is looked for. */
export interface Options {
  /** `object` is for data, such as counters of probes; default `function`. */
  readonly type?: "function" | "object"
  /** Whether indirect functions are found, behind all others; default `refuse`. */
  readonly indirect?: "refuse" | "accept"
}

/** A file as it is given: bytes, a source of them, or a binary whose headers were read. */
export type File = ByteSource | Uint8Array | ElfBinary

const binaryOf = (file: File): ElfBinary =>
  "source" in file ? file : Result.getOrThrowWith(open(file), (error) => error)

/** A symbol in its table. */
interface Entry {
  readonly symbols: BinarySymbols
  readonly index: number
}

const offsetAt = (
  binary: ElfBinary,
  { index, symbols }: Entry,
  offset: bigint,
  asked: { readonly text: string; readonly delta: bigint } | undefined
): FunctionOffset => {
  const { isDefault, name, version } = spellingOf(symbols, index)
  const delta = asked?.delta ?? 0n
  return {
    symbol: asked?.text ?? name,
    offset: offset + delta,
    address: addressOf(binary, symbols, index) + delta,
    name,
    version,
    isDefault,
    size: sizeOf(symbols, index),
    binding: boundOf(symbols, index),
    table: symbols.table,
    isIndirect: typeOf(symbols, index) === C.STT_GNU_IFUNC
  }
}

const candidateOf = (binary: ElfBinary, { index, symbols }: Entry): Candidate => {
  const place = placeOf(binary, symbols, index)
  const symbol = written(spellingOf(symbols, index))
  return { symbol, binding: boundOf(symbols, index), ...(typeof place === "bigint" ? { offset: place } : {}) }
}

/** The most candidates that an error carries. */
const maximumCandidates = 64

const failure = (
  reason: FunctionOffsetError["reason"],
  asked: FunctionName,
  fields: Omit<ConstructorParameters<typeof FunctionOffsetError>[0], "reason" | "symbol"> = {}
) => Result.fail(new FunctionOffsetError({ reason, symbol: asked.text, ...fields }))

/** The symbols of one name in one table, in its order. */
interface Group {
  readonly symbols: BinarySymbols
  readonly indices: ReadonlyArray<number>
}

/** What the symbols of one name in one table come to, for a version if one was asked for. */
type Choice =
  | { readonly _tag: "Chosen"; readonly symbol: Entry; readonly offset: bigint }
  | { readonly _tag: "Ambiguous" }
  | { readonly _tag: "None" }

const choose = (binary: ElfBinary, { indices, symbols }: Group, version: string | undefined, type: number): Choice => {
  let held: number | undefined
  let heldOffset = 0n
  for (const index of indices) {
    if (typeOf(symbols, index) !== type) continue
    if (version !== undefined && spellingOf(symbols, index).version !== version) continue
    const offset = placeOf(binary, symbols, index)
    if (typeof offset !== "bigint") continue
    if (held !== undefined) {
      if (offset === heldOffset || boundOf(symbols, index) === "weak") continue
      if (boundOf(symbols, held) !== "weak") return { _tag: "Ambiguous" }
    }
    held = index
    heldOffset = offset
  }
  return held === undefined
    ? { _tag: "None" }
    : { _tag: "Chosen", symbol: { symbols, index: held }, offset: heldOffset }
}

/** All of a name that are of a type and have a place, each place once: what an error shows of an ambiguous name. */
const contenders = (
  binary: ElfBinary,
  { indices, symbols }: Group,
  asked: FunctionName,
  type: number
): ReadonlyArray<Candidate> => {
  const found: Array<Candidate> = []
  const seen = new Set<string>()
  for (const index of indices) {
    if (typeOf(symbols, index) !== type || typeof placeOf(binary, symbols, index) !== "bigint") continue
    if (asked.version !== undefined && spellingOf(symbols, index).version !== asked.version) continue
    const candidate = candidateOf(binary, { symbols, index })
    const key = `${candidate.symbol} ${candidate.offset}`
    if (!seen.has(key)) found.push(candidate)
    seen.add(key)
    if (found.length === maximumCandidates) break
  }
  return found
}

/** Why a name has no offset, when no symbol of any of the tables was chosen. `groups` has symbols of all types. */
const explain = (
  binary: ElfBinary,
  asked: FunctionName,
  groups: ReadonlyArray<Group>,
  types: number,
  nearTo: (name: string) => ReadonlyArray<string>
): Result.Result<never, FunctionOffsetError> => {
  let imported: Entry | undefined
  let isElsewhere = false
  let isOther = false
  const versions: Array<Candidate> = []
  for (const { indices, symbols } of groups) {
    for (const index of indices) {
      const entry = { symbols, index }
      const place = placeOf(binary, symbols, index)
      const isWanted = asked.version === undefined || spellingOf(symbols, index).version === asked.version
      if (isWanted && place === "undefined") imported ??= entry
      else if (((types >> typeOf(symbols, index)) & 1) === 0) isOther = true
      else if (isWanted) isElsewhere = true
      else if (typeof place === "bigint" && versions.length < maximumCandidates) {
        versions.push(candidateOf(binary, entry))
      }
    }
  }
  if (isElsewhere) return failure("Elsewhere", asked)
  if (versions.length > 0) return failure("Version", asked, { candidates: versions })
  if (imported !== undefined) {
    const { library } = spellingOf(imported.symbols, imported.index)
    return failure("Undefined", asked, library === undefined ? {} : { library })
  }
  return isOther ? failure("NotAFunction", asked) : failure("NotFound", asked, { near: nearTo(asked.name) })
}

const precedence = ["dynsym", "symtab"] as const

type Answer = Result.Result<FunctionOffset, FunctionOffsetError>

const withinFunction = (asked: FunctionName, found: FunctionOffset): Answer =>
  asked.delta === 0n || found.size === 0n || asked.delta < found.size
    ? Result.succeed(found)
    : failure("BeyondFunction", asked, { size: found.size })

/** The symbols of names in a table, by name. */
const scanFor = (
  symbols: BinarySymbols,
  types: number,
  asked: ReadonlyArray<FunctionName>
): ReadonlyMap<string, Group> => {
  const bytes = new Map<string, Uint8Array>()
  for (const each of asked) bytes.set(each.name, each.bytes)
  const lists = Array.from(bytes.values(), (): Array<number> => [])
  Scan.findNames(symbols, types, Scan.wanted([...bytes.values()]), (place, index) => lists[place]?.push(index))
  return new Map(Array.from(bytes.keys(), (name, place) => [name, { symbols, indices: lists[place] ?? [] }]))
}

const findAsked = (binary: ElfBinary, asked: ReadonlyArray<FunctionName>, options: Options): ReadonlyArray<Answer> => {
  const types = options.type === "object" ? Scan.objectTypes : Scan.functionTypes
  const plain = options.type === "object" ? C.STT_OBJECT : C.STT_FUNC
  const read: Array<BinarySymbols> = []
  const answers = asked.map((): Answer | undefined => undefined)
  let waiting = asked.map((_, place) => place)
  const named = (places: ReadonlyArray<number>) => places.flatMap((place) => asked[place] ?? [])
  // Indirect functions are behind all others, of either table; so their symbols are kept until both were looked at.
  const scans: Array<ReadonlyMap<string, Group>> = []
  const answerFrom = (scan: ReadonlyMap<string, Group>, type: number): void => {
    waiting = waiting.filter((place) => {
      const each = asked[place]
      const group = each === undefined ? undefined : scan.get(each.name)
      if (each === undefined || group === undefined) return true
      answers[place] = answerOf(binary, each, group, type, options)
      return answers[place] === undefined
    })
  }
  for (const table of precedence) {
    if (waiting.length === 0) break
    const symbols = readSymbols(binary, table)
    if (symbols === undefined) continue
    read.push(symbols)
    const scan = scanFor(symbols, types, named(waiting))
    scans.push(scan)
    answerFrom(scan, plain)
  }
  if (options.type !== "object") scans.forEach((scan) => answerFrom(scan, C.STT_GNU_IFUNC))
  // Why the others are not found takes another look, at symbols of all types.
  const others = waiting.length === 0 ? [] : read.map((symbols) => scanFor(symbols, Scan.otherTypes, named(waiting)))
  const nearTo = nearNames(read, types)
  return asked.map((each, place) =>
    answers[place] ?? (read.length === 0
      ? failure("NoSymbols", each)
      : explain(binary, each, others.flatMap((scan) => scan.get(each.name) ?? []), types, nearTo))
  )
}

const answerOf = (
  binary: ElfBinary,
  asked: FunctionName,
  group: Group,
  type: number,
  options: Options
): Answer | undefined => {
  const choice = choose(binary, group, asked.version, type)
  if (choice._tag === "None") return undefined
  const candidates = () => contenders(binary, group, asked, type)
  if (choice._tag === "Ambiguous") return failure("Ambiguous", asked, { candidates: candidates() })
  return type === C.STT_GNU_IFUNC && options.indirect !== "accept"
    ? failure("Indirect", asked, { candidates: candidates() })
    : withinFunction(asked, offsetAt(binary, choice.symbol, choice.offset, asked))
}

/**
 * The offset of each name, in their order, from one pass over each table that is needed: an answer or an error of its own for
 * each. The result itself fails only if the file cannot be read.
 */
export const findEach = (
  file: File,
  names: ReadonlyArray<string>,
  options: Options = {}
): Result.Result<ReadonlyArray<Answer>, BinaryError> =>
  attempt(isBinaryError, () => {
    const asked = names.map(Names.parse)
    const found = findAsked(binaryOf(file), asked.flatMap((each) => each ?? []), options)
    let next = 0
    return asked.map((each, place): Answer =>
      (each === undefined ? undefined : found[next++]) ??
        Result.fail(new FunctionOffsetError({ reason: "Name", symbol: names[place] ?? "" }))
    )
  })

/**
 * The offset of a function: `name`, `name@VERSION` or `name@@VERSION`, each with `+offset` behind it, which must be inside the
 * function. The symbol table proper is only read if the dynamic symbols do not have the name.
 */
export const find = (
  file: File,
  name: string,
  options: Options = {}
): Result.Result<FunctionOffset, FunctionOffsetError | BinaryError> =>
  Result.flatMap(findAll(file, [name], options), ([found]) =>
    found === undefined
      ? Result.fail(new FunctionOffsetError({ reason: "Name", symbol: name }))
      : Result.succeed(found))

/**
 * The offsets of functions, in the order of their names, which may repeat: what `find` finds for each, in one pass. Fails if
 * any has none, with the first of them and the names of the others.
 */
export const findAll = (
  file: File,
  names: ReadonlyArray<string>,
  options: Options = {}
): Result.Result<ReadonlyArray<FunctionOffset>, FunctionOffsetError | BinaryError> => {
  const each = findEach(file, names, options)
  if (Result.isFailure(each)) return Result.fail(each.failure)
  const found: Array<FunctionOffset> = []
  const failed: Array<FunctionOffsetError> = []
  for (const answer of each.success) {
    if (Result.isSuccess(answer)) found.push(answer.success)
    else failed.push(answer.failure)
  }
  return allOrFailure(found, failed)
}

/** What was found, or the first failure with the names of the others. */
const allOrFailure = (
  found: ReadonlyArray<FunctionOffset>,
  [first, ...others]: ReadonlyArray<FunctionOffsetError>
): Result.Result<ReadonlyArray<FunctionOffset>, FunctionOffsetError> => {
  if (first === undefined) return Result.succeed(found)
  return Result.fail(others.length === 0 ? first : first.with(others.map(({ symbol }) => symbol)))
}

/** What `matching` looks at besides. */
export interface MatchOptions extends Options {
  /** `first`: the dynamic symbols only if nothing of the symbol table proper matches, as libbpf; `all`: both. */
  readonly tables?: "first" | "all"
}

/**
 * The functions whose whole name matches a pattern, in the order of their table: `*` stands for any text, `?` for any one
 * character. A pattern with `@` is for the version, too: `mem*@@GLIBC_2.14`, where `@` and `@@` mean the same. Functions of
 * several names are there once for each, at one offset; indirect ones only if `indirect` says so. Fails if there is none.
 */
export const matching = (
  file: File,
  pattern: string,
  options: MatchOptions = {}
): Result.Result<ReadonlyArray<FunctionOffset>, FunctionOffsetError | BinaryError> =>
  Result.flatMap(
    attempt(isBinaryError, () => collect(binaryOf(file), matcherOf(pattern), options)),
    ({ found, isEmpty }) =>
      found.length > 0
        ? Result.succeed(found)
        : Result.fail(new FunctionOffsetError({ reason: isEmpty ? "NoSymbols" : "NoMatch", symbol: pattern }))
  )

/**
 * The functions that names and patterns are for, in their order: a name gives one function, a pattern all that match. What has
 * `*` or `?` is a pattern unless a function has exactly this name, as functions of Go do. One pass for all names, and one for
 * each pattern. Fails as `findAll` does, for patterns without a match, too.
 */
export const resolve = (
  file: File,
  texts: ReadonlyArray<string>,
  options: MatchOptions = {}
): Result.Result<ReadonlyArray<FunctionOffset>, FunctionOffsetError | BinaryError> => {
  const opened = attempt(isBinaryError, () => binaryOf(file))
  if (Result.isFailure(opened)) return Result.fail(opened.failure)
  const each = findEach(opened.success, texts, options)
  if (Result.isFailure(each)) return Result.fail(each.failure)
  const found: Array<FunctionOffset> = []
  const failed: Array<FunctionOffsetError> = []
  for (const [place, answer] of each.success.entries()) {
    const text = texts[place] ?? ""
    if (Result.isSuccess(answer)) {
      found.push(answer.success)
    } else if (!Names.isPattern(text) || answer.failure.reason !== "NotFound") {
      failed.push(answer.failure)
    } else {
      const matched = matching(opened.success, text, options)
      if (Result.isSuccess(matched)) found.push(...matched.success)
      else if (matched.failure._tag === "FunctionOffsetError") failed.push(matched.failure)
      else return Result.fail(matched.failure)
    }
  }
  return allOrFailure(found, failed)
}

/**
 * All definitions of a name, or of every function without one: of both tables and all versions, local, weak and indirect ones
 * included, in the order of the tables. What `find` chooses from.
 */
export const definitions = (
  file: File,
  name?: string,
  options: Pick<Options, "type"> = {}
): Result.Result<ReadonlyArray<FunctionOffset>, BinaryError> =>
  attempt(isBinaryError, () => {
    const asked = name === undefined ? undefined : Names.parse(name)
    if (name !== undefined && asked === undefined) return []
    const isWanted: Matcher = (found, version) =>
      asked === undefined || (found === asked.name && (asked.version === undefined || version === asked.version))
    return collect(binaryOf(file), isWanted, { ...options, indirect: "accept", tables: "all" }).found
  })

type Matcher = (name: string, version: string | undefined) => boolean

const matcherOf = (pattern: string): Matcher => {
  const at = pattern.indexOf("@")
  if (at < 0) return (name) => matches(pattern, name)
  const name = pattern.slice(0, at)
  const version = pattern.slice(pattern[at + 1] === "@" ? at + 2 : at + 1)
  return (found, foundVersion) => foundVersion !== undefined && matches(name, found) && matches(version, foundVersion)
}

const collect = (
  binary: ElfBinary,
  isWanted: Matcher,
  options: MatchOptions
): { readonly found: ReadonlyArray<FunctionOffset>; readonly isEmpty: boolean } => {
  const types = options.type === "object"
    ? Scan.objectTypes
    : options.indirect === "accept"
    ? Scan.functionTypes
    : Scan.functionTypes & ~(1 << C.STT_GNU_IFUNC)
  const found: Array<FunctionOffset> = []
  let isEmpty = true
  for (const table of precedence.toReversed()) {
    const symbols = readSymbols(binary, table)
    if (symbols === undefined) continue
    isEmpty = false
    Scan.visitFunctions(symbols, types, (index) => {
      const { name, version } = spellingOf(symbols, index)
      if (!isWanted(name, version)) return
      const offset = placeOf(binary, symbols, index)
      if (typeof offset === "bigint") found.push(offsetAt(binary, { symbols, index }, offset, undefined))
    })
    if (found.length > 0 && options.tables !== "all") break
  }
  return { found, isEmpty }
}
