/**
 * BTF as text: C headers, lists of types, JSON.
 *
 * Large outputs come in chunks of bytes, so that a kernel's header need never be in memory as a whole:
 *
 * ```ts
 * for (const part of BtfDump.toC(btf)) {
 *   if (Result.isSuccess(part)) Fs.writeSync(file, part.success)
 *   else console.error(part.failure.message)
 * }
 * ```
 *
 * The text is libbpf's, byte for byte where that is right: order, numbering of repeated names (`name___2`), padding,
 * attributes. Names are copied as the blob spells them, whatever their encoding.
 *
 * What cannot be written in C, such as a struct that embeds itself, is left out with all that embeds it and reported as
 * a failure between the chunks; the dump goes on. A blob of any size can describe text of exponential length, by types
 * without names that are spelled wherever they are used: text and work are bounded in proportion to the blob, and a
 * dump that passes the bound ends with a failure `TooComplex`. No kernel's BTF comes near.
 *
 * Source: reference page `btf-dump`.
 */
import * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import type { BtfError } from "./BtfError.ts"
import { btfError, isBtfError } from "./BtfError.ts"
import type { Btf } from "./BtfModel.ts"
import { exists } from "./BtfModel.ts"
import { declare } from "./dump/Declare.ts"
import { dumpInto, isPending } from "./dump/Dumper.ts"
import { flatten } from "./dump/Flat.ts"
import { GIVEN_NAME, resetFrames } from "./dump/Frames.ts"
import { epilogue, kfuncs, prologue, writeKfuncs } from "./dump/Header.ts"
import type { ListSyntax } from "./dump/List.ts"
import { listType } from "./dump/List.ts"
import type { Output } from "./dump/Output.ts"
import { ascii, checkLimit, CHUNK, makeOutput, put, take } from "./dump/Output.ts"
import { sortedIds } from "./dump/Sort.ts"
import type { State } from "./dump/State.ts"
import { makeState, textLimit } from "./dump/State.ts"

/** A part of a dump: bytes of its text in order, or something that is missing from it. */
export type Part = Result.Result<Uint8Array, BtfError>

/** What all dumps can be told. */
export interface DumpOptions {
  /** The most bytes of text; by default 8 MiB and 32 per byte of the blob and its bases. */
  readonly limit?: number
}

/** Options of a list. */
export interface ListOptions extends DumpOptions {
  /** Only these types, in this order, those of bases too; without them all that the blob holds itself. */
  readonly rootIds?: ReadonlyArray<number>
}

/** Options of a dump in C. */
export interface COptions extends DumpOptions {
  /**
   * By kind and names, which makes headers of different builds comparable, or in order of ids. `true` without it, as in
   * bpftool since 7.5; older ones know the order of ids alone.
   */
  readonly sorted?: boolean
  /** Only these types and what they need; without them all types, those of the bases too, and the kfuncs. */
  readonly rootIds?: ReadonlyArray<number>
  /** Whether guards, macros, the pragma of CO-RE and the kfuncs are written around the types. `true` without it. */
  readonly header?: boolean
}

const iterable = <A>(iterator: () => Iterator<A>): Iterable<A> => ({ [Symbol.iterator]: iterator })

/**
 * The types as a C header, as `bpftool btf dump file FILE format c` prints it. A failure is something that was left out
 * (`Cycle`, `WrongKind`, `UnknownKind`, `TooLarge` for a hole that no bit fields can fill); `BadTypeId` for a root that
 * does not exist comes instead of the text, and `TooComplex` ends it.
 */
export const toC = (btf: Btf, options: COptions = {}): Iterable<Part> => iterable(() => partsOfC(btf, options))

function* partsOfC(btf: Btf, options: COptions): Generator<Part> {
  const { header = true, rootIds, sorted = true } = options
  const missing = rootIds?.find((id) => !exists(btf, id))
  if (missing !== undefined) {
    yield Result.fail(noType(btf, missing))
    return
  }
  const state = makeState(btf, options.limit)
  const { out } = state
  let ids: Ids | undefined
  let index = 0
  if (header) put(out, prologue)
  yield* stream(out, state.problems, () => {
    ids ??= rootIds ?? (sorted ? sortedIds(state) : allIds(btf))
    index = dumpSome(state, ids, index)
    if (index < ids.length) return true
    if (header) {
      if (rootIds === undefined) writeKfuncs(state, kfuncs(state.flat))
      put(out, epilogue)
    }
    return false
  })
}

type Ids = ArrayLike<number>

const allIds = (btf: Btf): Ids => {
  const ids = new Uint32Array(btf.endId - 1)
  for (let index = 0; index < ids.length; index++) ids[index] = index + 1
  return ids
}

/** Dumps types from `ids[index]` on until a chunk is full or a problem was met; answers the next index. */
const dumpSome = (state: State, ids: Ids, index: number): number => {
  const { out, problems } = state
  let next = index
  while (next < ids.length && out.length < CHUNK && problems.length === 0) {
    const id = ids[next++] ?? 0
    if (isPending(state, id)) dumpInto(state, id)
  }
  return next
}

/** Gives out what `work` writes and the problems that it notes, as long as it answers that there is more. */
function* stream(out: Output, problems: Array<BtfError>, work: () => boolean): Generator<Part> {
  for (let more = true; more;) {
    const done = attempt(isBtfError, () => {
      const answer = work()
      checkLimit(out)
      return answer
    })
    for (const problem of problems) yield Result.fail(problem)
    problems.length = 0
    if (Result.isFailure(done)) {
      yield Result.fail(done.failure)
      return
    }
    if (out.length > 0) yield Result.succeed(take(out))
    more = done.success
  }
}

const noType = (btf: Btf, id: number): BtfError =>
  btfError("BadTypeId", `there is no type ${id}; the last is ${btf.endId - 1}`)

/**
 * The types as text, a line per record and one per element, as `bpftool btf dump file FILE` prints them: those of the
 * blob itself, without those of its bases; or the roots that were asked for, `void` left out. A failure is `TooComplex`, at
 * the end, or `BadTypeId` for a root that does not exist, instead of the text.
 */
export const toRaw = (btf: Btf, options: ListOptions = {}): Iterable<Part> =>
  iterable(() => partsOfList(btf, { json: false }, options))

/**
 * The types as one JSON document, `{"types":[…]}`, with the keys of `bpftool --json btf dump file FILE`: those of the
 * blob itself, or the roots that were asked for. Numbers of 64-bit enums are written in full, beyond what a JavaScript
 * number holds. Failures are those of `toRaw`.
 */
export const toJson = (btf: Btf, options: ListOptions = {}): Iterable<Part> =>
  iterable(() => partsOfList(btf, { json: true }, options))

const JSON_BEGIN = ascii("{\"types\":[")
const JSON_NEXT = ascii(",")
const JSON_END = ascii("]}\n")

function* partsOfList(btf: Btf, syntax: ListSyntax, options: ListOptions): Generator<Part> {
  const { rootIds } = options
  const missing = rootIds?.find((id) => !exists(btf, id))
  if (missing !== undefined) {
    yield Result.fail(noType(btf, missing))
    return
  }
  const roots = rootIds?.filter((id) => id > 0)
  const count = roots?.length ?? btf.endId - btf.firstId
  const flat = flatten(btf)
  const out = makeOutput(options.limit ?? textLimit(btf))
  let index = 0
  if (syntax.json) put(out, JSON_BEGIN)
  yield* stream(out, [], () => {
    for (; index < count && out.length < CHUNK; index++) {
      if (syntax.json && index > 0) put(out, JSON_NEXT)
      listType(flat, out, syntax, roots === undefined ? btf.firstId + index : roots[index] ?? 0)
    }
    if (index < count) return true
    if (syntax.json) put(out, JSON_END)
    return false
  })
}

/** A dump that is complete: its text, and what is missing from it. */
export interface Dumped {
  readonly text: string
  readonly problems: ReadonlyArray<BtfError>
}

/** Joins the parts of a dump. The text may be large: a kernel's header has three million characters. */
export const collect = (parts: Iterable<Part>): Dumped => {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })
  const text: Array<string> = []
  const problems: Array<BtfError> = []
  for (const part of parts) {
    if (Result.isSuccess(part)) text.push(utf8.decode(part.success, { stream: true }))
    else problems.push(part.failure)
  }
  text.push(utf8.decode())
  return { text: text.join(""), problems }
}

/** A dump in C that is made type by type. It remembers what it has written and which names are taken. */
export interface Dumper {
  readonly btf: Btf
  /** What belongs to this library alone. */
  readonly internal: { readonly state: State; failed: BtfError | undefined }
}

/** A dump that has written nothing yet. It is the one mutable value of this module, and belongs to one user. */
export const makeDumper = (btf: Btf, options: DumpOptions = {}): Dumper => ({
  btf,
  internal: { state: makeState(btf, options.limit), failed: undefined }
})

/**
 * Writes the definition of type `id` and of all that it needs, as far as this dumper has not written it. `BadTypeId` for
 * a type that does not exist; `TooComplex` where the dump has passed its bounds, which no later call undoes.
 */
export const dumpType = (dumper: Dumper, id: number): Result.Result<Dumped, BtfError> => {
  const { btf, internal } = dumper
  const { state } = internal
  if (internal.failed !== undefined) return Result.fail(internal.failed)
  if (!exists(btf, id)) return Result.fail(noType(btf, id))
  const done = attempt(isBtfError, () => {
    dumpInto(state, id)
    checkLimit(state.out)
  })
  if (Result.isFailure(done)) {
    internal.failed = done.failure
    return Result.fail(done.failure)
  }
  const problems = state.problems.splice(0)
  return Result.succeed({ text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(take(state.out)), problems })
}

/** Options of a declaration. */
export interface DeclarationOptions {
  /** What is declared; a type alone without it. */
  readonly name?: string
  /** How many tabs the bodies of anonymous structs are indented by; 0 without it. */
  readonly level?: number
  /** Whether `const`, `volatile`, `restrict` and type tags are left out. */
  readonly stripModifiers?: boolean
  /** Whether the bodies of anonymous types are left out: `struct`, `enum`. */
  readonly omitBodies?: boolean
}

/**
 * Declares something of type `id`, without a semicolon: `const char *name[4]`. Repeated names have the numbers that this
 * dumper gave them in definitions. `BadTypeId` for a type that does not exist, `WrongKind` for one that C cannot declare
 * anything of, `Cycle` and `TooComplex` for one whose declaration has no end or is too long.
 */
export const declareType = (
  dumper: Dumper,
  id: number,
  options: DeclarationOptions = {}
): Result.Result<string, BtfError> => {
  const { btf, internal } = dumper
  const { state } = internal
  if (internal.failed !== undefined) return Result.fail(internal.failed)
  if (!exists(btf, id)) return Result.fail(noType(btf, id))
  const { level = 0, name = "", omitBodies = false, stripModifiers = false } = options
  state.givenName = new TextEncoder().encode(name)
  state.stripModifiers = stripModifiers
  state.omitBodies = omitBodies
  state.steps = 0
  const done = attempt(isBtfError, () => {
    declare(state, id, GIVEN_NAME, level)
    checkLimit(state.out)
  })
  state.stripModifiers = false
  state.omitBodies = false
  resetFrames(state)
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(state.out.bytes.subarray(0, state.out.length))
  state.out.length = 0
  return Result.map(done, () => text)
}

/**
 * Declares something of type `id` named `name`, as `declareType` of a dumper that has written nothing. For more than a
 * few declarations of one blob make a dumper: it prepares some bytes for each type.
 */
export const typeDeclaration = (
  btf: Btf,
  id: number,
  name: string,
  options: Omit<DeclarationOptions, "name"> = {}
): Result.Result<string, BtfError> => declareType(makeDumper(btf), id, { ...options, name })
