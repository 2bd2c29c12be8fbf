/**
 * The static linker: many BPF objects in, one out.
 *
 * ```ts
 * const linked = Linker.link([{ name: "main.bpf.o", bytes: main }, { name: "library.bpf.o", bytes: library }])
 * if (Result.isSuccess(linked)) write(linked.success.bytes)
 * else console.error(linked.failure.message)
 * ```
 *
 * Sections of one name become one, symbols of one name too: a strong definition beats weak ones, externs find their
 * definition in whichever file it is, and the types of all mentions are compared. Types are deduplicated, relocations
 * and the records of `.BTF.ext` follow what they belong to. The same inputs in the same order give the same bytes.
 *
 * It differs from libbpf's on purpose: which definition counts does not depend on the order of the files, an extern does
 * not make a weak definition strong, variables of a DATASEC have the offsets of the definitions that count and are
 * sorted, licenses are joined (`License.ts`), records of legacy maps may differ in size, jump tables move with their
 * code, locals come first in the symbol table, and a final link leaves weak definitions out that nothing uses and
 * refuses externs that nobody defines.
 *
 * Source: reference page `linker`.
 */
import * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import { checkMentions, type Compared } from "./Compatible.ts"
import { deadRanges } from "./Dead.ts"
import { type Input, read, within } from "./Input.ts"
import { type Holes, layOut } from "./Layout.ts"
import { addSingular, type LicenseRule, type Singular } from "./License.ts"
import { isLinkError, type LinkError, refuse } from "./LinkError.ts"
import { type LinkMap, makeMap } from "./LinkMap.ts"
import { makeFile } from "./Output.ts"
import { sideOf } from "./Sides.ts"
import { addGlobals, type Global, type Globals, type Mention, winnerOf } from "./Symbols.ts"
import { mergeTypes } from "./Types.ts"

export { joinLicenses, type LicenseRule } from "./License.ts"
export { LinkError, type LinkSide } from "./LinkError.ts"
export type { LinkMap } from "./LinkMap.ts"

/** An object to link: a name for messages and the map, such as its path, and its bytes, which must not change. */
export interface LinkInput {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Options of a link. */
export interface LinkOptions {
  /**
   * Keeps unresolved externs and weak definitions that lost for a later link. By default the link is final: what nobody
   * defines is refused unless the kernel or its configuration give it (`.ksyms`, `.kconfig`) or it is weak, and dead
   * weak definitions are left out.
   */
  readonly relocatable?: boolean | undefined
  /** `join` (default): compatible licenses are joined; `strict`: they must be equal to the byte, as in libbpf. */
  readonly licenses?: LicenseRule | undefined
}

/** What a link makes. */
export interface LinkedObject {
  /** The object file. */
  readonly bytes: Uint8Array
  /** Where everything in it came from. */
  readonly map: LinkMap
}

/** Links objects, at least one. One alone is brought into the linker's form, which drops debug information. */
export const link = (
  inputs: ReadonlyArray<LinkInput>,
  options: LinkOptions = {}
): Result.Result<LinkedObject, LinkError> => {
  const linker = make(options)
  for (const input of inputs) {
    const added = add(linker, input)
    if (Result.isFailure(added)) return Result.fail(added.failure)
  }
  return finalize(linker)
}

/** A link in progress, for inputs that come one by one. It is changed in place by `add` and ended by `finalize`. */
export interface Linker {
  readonly options: LinkOptions
  /** How many inputs were added. */
  readonly count: number
  /** What belongs to this module alone. */
  readonly internal: State
}

/** What a linker holds. */
export interface State {
  readonly inputs: Array<Input>
  readonly globals: Globals
  readonly singular: Singular
  status: "Open" | "Failed" | "Finished"
}

/** Begins a link. */
export const make = (options: LinkOptions = {}): Linker => {
  const internal: State = { inputs: [], globals: new Map(), singular: new Map(), status: "Open" }
  return {
    options,
    internal,
    get count() {
      return internal.inputs.length
    }
  }
}

const requireOpen = ({ internal: { status } }: Linker): void => {
  if (status === "Finished") refuse("Finished", "the link is finished", { hint: "make a new linker" })
  if (status === "Failed") {
    refuse("Failed", "an input before could not be added, and the link cannot go on", { hint: "make a new linker" })
  }
}

/**
 * Adds an object: parses and checks it, and compares it with those before as far as order makes no difference. After a
 * failure the linker cannot be used any more.
 */
export const add = (linker: Linker, { bytes, name }: LinkInput): Result.Result<void, LinkError> =>
  attempt(isLinkError, () => {
    requireOpen(linker)
    const state = linker.internal
    state.status = "Failed"
    const input = read(state.inputs.length, name, bytes)
    const [first] = state.inputs
    if (first !== undefined && first.littleEndian !== input.littleEndian) {
      refuse("ByteOrder", `it is ${orderOf(input)}-endian, and ${first.name} is ${orderOf(first)}-endian`, {
        file: name,
        hint: "compile all objects with the same of --target=bpfel and --target=bpfeb"
      })
    }
    addSingular(state.singular, input, linker.options.licenses ?? "join")
    addGlobals(state.globals, input)
    state.inputs.push(input)
    state.status = "Open"
  })

const orderOf = ({ littleEndian }: Input): string => littleEndian ? "little" : "big"

/** Ends a link: resolves symbols, places everything, and makes the object. The linker cannot be used afterwards. */
export const finalize = (linker: Linker): Result.Result<LinkedObject, LinkError> =>
  attempt(isLinkError, () => {
    requireOpen(linker)
    const state = linker.internal
    state.status = "Finished"
    const { globals, inputs, singular } = state
    const [first] = inputs
    if (first === undefined) return refuse("NoInput", "there is nothing to link")
    const isFinal = linker.options.relocatable !== true
    const winners = new Map<string, Mention>()
    const compared: Compared = new Map()
    for (const global of globals.values()) {
      const { winner } = winnerOf(global)
      winners.set(global.name, winner)
      checkMentions(global, winner, compared)
    }
    if (isFinal) requireDefinitions(globals, winners)
    const holes: Holes = isFinal ? deadRanges(globals) : new Map()
    const layout = layOut(inputs, holes)
    const { littleEndian } = first
    const types = mergeTypes(inputs, globals, winners, layout, littleEndian)
    const bytes = makeFile({ inputs, globals, winners, layout, types, singular, littleEndian })
    return { bytes, map: makeMap({ inputs, globals, layout, types, singular, bytes, isFinal }) }
  })

/** Sections of externs that are given when the object is loaded. */
const given: ReadonlySet<string> = new Set([".ksyms", ".kconfig"])

const isGiven = ({ mentions }: Global): boolean =>
  mentions.some(({ section }) => section !== undefined && given.has(section.name))

/** Externs that are shown in full when they are missing. */
const SHOWN = 8

const requireDefinitions = (globals: Globals, winners: ReadonlyMap<string, Mention>): void => {
  const missing = [...globals.values()].filter((global) =>
    winners.get(global.name)?.isDefined === false && !isGiven(global) && global.mentions.some(({ isWeak }) => !isWeak)
  )
  const [first] = missing
  if (first === undefined) return
  const names = missing.slice(0, SHOWN).map(({ name }) => name).join(", ")
  const more = missing.length > SHOWN ? ` and ${missing.length - SHOWN} more` : ""
  refuse(
    "Unresolved",
    missing.length === 1
      ? "it is declared extern, and no file defines it"
      : `${missing.length} symbols are declared extern, and no file defines them: ${names}${more}`,
    {
      ...within(first.mentions[0]?.input ?? { name: "" }),
      symbol: first.name,
      sides: missing.slice(0, SHOWN).flatMap(({ mentions }) => mentions.slice(0, 1).map((mention) => sideOf(mention))),
      hint:
        "add the file that defines it, declare it with __ksym or __kconfig where the kernel has it, or link for a " +
        "later link (relocatable)"
    }
  )
}
