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
import type { ByteSource } from "./ByteSource.ts"
import type { BinaryError, ElfBinary } from "./ElfBinary.ts"
import { isBinaryError, open } from "./ElfBinary.ts"
import * as C from "./ElfConstants.ts"
import type { FunctionOffset } from "./FunctionFound.ts"
import { foundAt } from "./FunctionFound.ts"
import * as Names from "./FunctionName.ts"
import { FunctionOffsetError } from "./FunctionOffsetError.ts"
import * as Scan from "./FunctionScan.ts"
import type { Answer, Options } from "./FunctionSearch.ts"
import * as Search from "./FunctionSearch.ts"
import { placeOf, placesOf, spellingOf } from "./FunctionSymbol.ts"
import { readSymbols } from "./SymbolTables.ts"

export { type FunctionOffset } from "./FunctionFound.ts"
export { FunctionOffsetError } from "./FunctionOffsetError.ts"
export { type Answer, type Options } from "./FunctionSearch.ts"

/** A file as it is given: bytes, a source of them, or a binary whose headers were read. */
export type File = ByteSource | Uint8Array | ElfBinary

const binaryOf = (file: File): ElfBinary =>
  "source" in file ? file : Result.getOrThrowWith(open(file), (error) => error)

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
    const found = Search.search(binaryOf(file), asked.filter((each) => each !== undefined), options)
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
  const places = placesOf(binary)
  for (const table of Search.precedence.toReversed()) {
    const symbols = readSymbols(binary, table)
    if (symbols === undefined) continue
    isEmpty = false
    Scan.visitFunctions(symbols, types, (index) => {
      const { name, version } = spellingOf(symbols, index)
      if (!isWanted(name, version)) return
      const offset = placeOf(places, symbols, index)
      if (offset > 0) found.push(foundAt(places, symbols, index, offset))
    })
    if (found.length > 0 && options.tables !== "all") break
  }
  return { found, isEmpty }
}
