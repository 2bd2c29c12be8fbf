/**
 * Loaders that others have made: out of the C light skeletons of bpftool and of ours, or as the two pieces that every loader
 * is made of. What they have not is a description, so what their context looks like is read from the skeleton's structure,
 * or told by their instructions.
 *
 * Nobody has looked at such a text before: it is read in one pass, as literals and names, and nothing else of C is
 * understood. Numbers of maps and programs are those of the context; refs are numbered as things are made.
 *
 * Source: reference page `gen-loader`, sections 4, 5 and 12.
 */
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Insn from "../../insn/Insn.ts"
import { BPF_PSEUDO_MAP_IDX_VALUE } from "../../insn/InsnConstants.ts"
import { attempt } from "../../internal/attempt.ts"
import * as Layout from "./LoaderLayout.ts"
import type { LoadedProgram, LoaderMap, LoaderProgram } from "./LoaderProgram.ts"

/** What is no loader. */
export class ForeignLoaderError extends Schema.TaggedError<ForeignLoaderError>()("ForeignLoaderError", {
  reason: Schema.Literals([
    /** The text has no piece of this name. */
    "Missing",
    /** A literal that is none, or does not end. */
    "Literal",
    /** Sizes that do not fit. */
    "Size"
  ]),
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

const isForeignLoaderError = (thrown: unknown): thrown is ForeignLoaderError => thrown instanceof ForeignLoaderError

const refuse = (reason: ForeignLoaderError["reason"], detail: string, hint?: string): ForeignLoaderError =>
  new ForeignLoaderError({ reason, detail, ...(hint === undefined ? {} : { hint }) })

const escapes: ReadonlyMap<string, number> = new Map([
  ["a", 7],
  ["b", 8],
  ["f", 12],
  ["n", 10],
  ["r", 13],
  ["t", 9],
  ["v", 11],
  ["\\", 92],
  ["'", 39],
  ["\"", 34],
  ["?", 63]
])

const hexDigit = (code: number): number => {
  if (code >= 48 && code <= 57) return code - 48
  const letter = code | 0x20
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}

/** The bytes of the string literals that follow each other from `start` on; there is at least one. */
const literalAt = (text: string, start: number, name: string): Uint8Array => {
  const bad = (detail: string): ForeignLoaderError => refuse("Literal", `the text of ${name} ${detail}`)
  // A literal has no more bytes than characters.
  const bytes = new Uint8Array(text.length - start)
  let length = 0
  let at = start
  let found = false
  for (;;) {
    while (at < text.length && /\s/.test(text.charAt(at))) at++
    if (text[at] !== "\"") break
    found = true
    at++
    for (;;) {
      const code = text.charCodeAt(at)
      if (at >= text.length) throw bad("does not end")
      if (code === 34) break
      if (code === 10) throw bad("has a line that does not end")
      if (code !== 92) {
        if (code > 126) throw bad("has a character that is not ASCII")
        bytes[length++] = code
        at++
        continue
      }
      const next = text.charAt(at + 1)
      if (next === "\n") at += 2
      else if (next === "\r" && text[at + 2] === "\n") at += 3
      else if (next === "x") {
        at += 2
        let value = 0
        const first = at
        while (at < text.length && hexDigit(text.charCodeAt(at)) >= 0) {
          value = Math.min(0x100, value * 16 + hexDigit(text.charCodeAt(at)))
          at++
        }
        if (at === first || value > 0xff) throw bad("has a \\x that is no byte")
        bytes[length++] = value
      } else if (next >= "0" && next <= "7") {
        let value = 0
        let digits = 0
        at++
        while (digits < 3 && text.charAt(at) >= "0" && text.charAt(at) <= "7") {
          value = value * 8 + text.charCodeAt(at) - 48
          at++
          digits++
        }
        if (value > 0xff) throw bad("has an octal escape that is no byte")
        bytes[length++] = value
      } else {
        const value = escapes.get(next)
        if (value === undefined) throw bad("has an escape that C does not know")
        bytes[length++] = value
        at += 2
      }
    }
    at++
  }
  if (!found) throw bad("is no literal")
  return new Uint8Array(bytes.subarray(0, length))
}

/** Names under which skeletons keep a piece, newest first. No part of a pattern is without bounds: texts may be anybody's. */
const pieces = {
  data: /\bopts_data\s{0,9}\[\s{0,9}\][^=;]{0,99}=|\bopts\.data\s{0,9}=\s{0,9}\((?:const )?void ?\*\)/,
  insns: /\bopts_insns?\s{0,9}\[\s{0,9}\][^=;]{0,99}=|\bopts\.insns\s{0,9}=\s{0,9}\((?:const )?void ?\*\)/
} as const

/** A piece of a skeleton: the literal that it is set to. */
const pieceOf = (text: string, name: "data" | "insns"): Uint8Array => {
  const found = pieces[name].exec(text)
  if (found === null) {
    throw refuse(
      "Missing",
      `the text has no ${name} of a loader`,
      "a C light skeleton is expected, as bpftool gen skeleton -L writes it"
    )
  }
  return literalAt(text, found.index + found[0].length, name)
}

/** The size that a skeleton says a piece has. */
const saidSize = (text: string, name: "data" | "insns"): number | undefined => {
  const said = new RegExp(`\\bopts\\.${name}_sz\\s{0,9}=\\s{0,9}([0-9]{1,10})\\s{0,9};`).exec(text)?.[1]
  return said === undefined ? undefined : Number(said)
}

const MOST_NAMES = 4096

/** Names of the members of this type, in order. */
const membersOf = (text: string, type: string): ReadonlyArray<string> => {
  const names: Array<string> = []
  for (
    const [, name] of text.matchAll(new RegExp(`\\bstruct ${type}\\s{1,9}([A-Za-z_][A-Za-z_0-9]{0,255})\\s{0,9};`, "g"))
  ) {
    if (name !== undefined && names.length < MOST_NAMES) names.push(name)
  }
  return names
}

/** The byte order of a loader: all begin with `r6 = r1`. */
const byteOrderOf = (insns: Uint8Array): LoaderProgram["byteOrder"] =>
  insns[0] === 0xbf && insns[1] === 0x61 ? "big" : "little"

/** What instructions tell of the context: how large it is, and how many maps it speaks of. */
interface Shape {
  readonly contextSize: number
  readonly maps: number
}

const EXIT = 0x95

/** Accesses of the context lie within a page in any loader that has room for its maps and programs. */
const MOST_CONTEXT = 0x8000

const shapeOf = (code: Uint8Array): Shape => {
  let contextSize = Layout.CONTEXT_HEADER_SIZE
  let closed = 0
  let sized = 0
  let isCleanup = true
  for (let at = 0; at < Insn.count(code); at = Insn.nextSlot(code, at)) {
    const opcode = Insn.opcode(code, at)
    if (opcode === EXIT) isCleanup = false
    if (isCleanup && Insn.isLdImm64(code, at) && Insn.src(code, at) === BPF_PSEUDO_MAP_IDX_VALUE) {
      // Closing a map loads its slot from `fd_array`; with a log there are texts as well, which lie behind it.
      if (Insn.nextImm(code, at) === 4 * closed && closed < Layout.MAX_MAPS) closed++
    }
    const isLoad = (opcode & 0xe7) === 0x61 && Insn.src(code, at) === 6
    const isStore = (opcode & 0xe7) === 0x63 && Insn.dst(code, at) === 6
    if (!isLoad && !isStore) continue
    const size = { 0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8 }[opcode & 0x18] ?? 8
    const end = Insn.offset(code, at) + size
    if (Insn.offset(code, at) < 0 || end > MOST_CONTEXT) continue
    contextSize = Math.max(contextSize, end)
    // The size that the context asks for, which every loader looks at for every map unless it is signed.
    const number = (Insn.offset(code, at) - Layout.contextMap(0) - Layout.MapDescriptor.MAX_ENTRIES) /
      Layout.MAP_DESCRIPTOR_SIZE
    if (isLoad && size === 4 && Number.isInteger(number) && number >= 0) sized = Math.max(sized, number + 1)
  }
  const room = Math.floor((contextSize - Layout.CONTEXT_HEADER_SIZE) / Layout.MAP_DESCRIPTOR_SIZE)
  // Some loaders close more than maps there, and some maps have a place in the context that nobody looks at.
  return { contextSize, maps: Math.min(closed, sized === 0 ? room : sized) }
}

/** What is known of a loader beside its two pieces. */
export interface Known {
  /** Names of the maps and programs that its context speaks of, in order; without them they are counted. */
  readonly maps?: ReadonlyArray<string>
  readonly programs?: ReadonlyArray<string>
}

const describe = (insns: Uint8Array, data: Uint8Array, known: Known): LoaderProgram => {
  if (insns.length === 0 || insns.length % 8 !== 0) {
    throw refuse("Size", `${insns.length} bytes are not a whole number of instructions`)
  }
  const byteOrder = byteOrderOf(insns)
  const shape = shapeOf(Insn.fromByteOrder(insns, byteOrder))
  const mapNames = known.maps ?? Array.from({ length: shape.maps }, (_, number) => `map ${number}`)
  const room = Math.floor((shape.contextSize - Layout.contextMap(mapNames.length)) / Layout.PROG_DESCRIPTOR_SIZE)
  const programNames = known.programs ??
    Array.from({ length: Math.max(0, room) }, (_, number) => `program ${number}`)
  const maps = mapNames.map((name, number): LoaderMap => ({
    name,
    ref: number,
    contextOffset: Layout.contextMap(number),
    maxEntries: 0,
    published: true
  }))
  const programs = programNames.map((name, number): LoadedProgram => ({
    name,
    ref: number,
    contextOffset: Layout.contextProgram(maps.length, number),
    published: true
  }))
  return {
    byteOrder,
    insns,
    data,
    license: Layout.LOADER_LICENSE,
    contextSize: Math.max(shape.contextSize, Layout.contextSize(maps.length, programs.length)),
    maps,
    programs,
    created: { maps: [], programs: [] },
    inputs: [],
    notes: []
  }
}

/** The loader of these instructions and this data, in the byte order that its first instruction tells. */
export const ofPieces = (
  insns: Uint8Array,
  data: Uint8Array,
  known: Known = {}
): Result.Result<LoaderProgram, ForeignLoaderError> => attempt(isForeignLoaderError, () => describe(insns, data, known))

/** The loader in the text of a C light skeleton. */
export const ofSkeleton = (text: string): Result.Result<LoaderProgram, ForeignLoaderError> =>
  attempt(isForeignLoaderError, () => {
    const [data, insns] = (["data", "insns"] as const).map((name) => {
      const bytes = pieceOf(text, name)
      const said = saidSize(text, name)
      if (said !== undefined && said !== bytes.length) {
        throw refuse("Size", `the ${name} of the loader should have ${said} bytes, and has ${bytes.length}`)
      }
      return bytes
    })
    return describe(insns ?? new Uint8Array(), data ?? new Uint8Array(), {
      maps: membersOf(text, "bpf_map_desc"),
      programs: membersOf(text, "bpf_prog_desc")
    })
  })
