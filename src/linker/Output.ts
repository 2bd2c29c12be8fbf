/**
 * The output file: symbols, relocations, and the image that the ELF writer makes bytes of.
 *
 * Locals come first in the symbol table, as the format asks, so that all readers understand it; libbpf's linker mixes
 * them.
 *
 * Source: reference page `linker`, sections 2, 5, 9 and 10.
 */
import * as Result from "effect/Result"
import * as BtfExt from "../btf/BtfExt.ts"
import * as Elf from "../services/Elf/Elf.ts"
import { relocatedOffsets } from "./Dead.ts"
import { type Input, type InputSection, within } from "./Input.ts"
import { CALL, callTarget, LOAD_64, referredOffset } from "./Instructions.ts"
import { contentsOf, type Layout, type OutputSection, type Part, place } from "./Layout.ts"
import { type Singular, writeLicense } from "./License.ts"
import { refuse } from "./LinkError.ts"
import { type Globals, JUMP_TABLES } from "./Symbols.ts"
import type { MergedTypes, Winners } from "./Types.ts"

/** What the output is made of. */
export interface Parts {
  readonly inputs: ReadonlyArray<Input>
  readonly globals: Globals
  readonly winners: Winners
  readonly layout: Layout
  readonly types: MergedTypes | undefined
  readonly singular: Singular
  readonly littleEndian: boolean
}

/** Where the symbols of an input are: positive for a local one, negative for a global one, 0 for one that is left out. */
type SymbolMap = Int32Array

/** Makes the file. Throws `LinkError`. */
export const makeFile = (parts: Parts): Uint8Array => {
  const { layout, littleEndian, singular, types } = parts
  const { locals, globals, maps } = makeSymbols(parts)
  const contents = new Map<OutputSection, Uint8Array>()
  for (const output of layout.sections) {
    if (output.type !== Elf.SHT_PROGBITS || output.index === 0 || output.isRelocations) continue
    const bytes = contentsOf(output)
    const first = output.parts.find(({ section }) => section.use === "Data")
    if (first !== undefined) writeLicense(singular, first.section, bytes)
    contents.set(output, bytes)
  }
  moveCalls(layout, contents, littleEndian)
  const sections: Array<Elf.ImageSection> = [
    Elf.nullSection,
    Elf.makeSection({ name: ".strtab", type: Elf.SHT_STRTAB, flags: Elf.SHF_STRINGS, content: { _tag: "Strings" } }),
    Elf.makeSection({
      name: ".symtab",
      type: Elf.SHT_SYMTAB,
      link: 1,
      content: { _tag: "Symbols", symbols: [...locals, ...globals] }
    })
  ]
  const mover: Mover = { parts, maps, firstGlobal: locals.length, contents, tables: new Map(), tableBytes: new Map() }
  for (const output of layout.sections) {
    if (output.index === 0) continue
    sections[output.index] = imageOf(output, mover)
  }
  if (types !== undefined) {
    sections.push(typeSection(".BTF", types.btf.bytes))
    if (types.ext !== undefined) {
      sections.push(typeSection(".BTF.ext", BtfExt.encode(types.ext, littleEndian ? "little" : "big")))
    }
  }
  const written = Elf.write({
    byteOrder: littleEndian ? "little" : "big",
    osAbi: 0,
    abiVersion: 0,
    type: Elf.ET_REL,
    machine: Elf.EM_BPF,
    entry: 0n,
    flags: 0,
    sections,
    sectionNames: 1
  })
  return Result.isSuccess(written) ? written.success : refuse("TooLarge", `the output: ${written.failure.message}`)
}

const typeSection = (name: string, bytes: Uint8Array): Elf.ImageSection =>
  Elf.makeSection({ name, type: Elf.SHT_PROGBITS, alignment: 8n, content: { _tag: "Bytes", bytes } })

const makeSymbols = ({ globals: byName, inputs, layout, winners }: Parts): {
  readonly locals: ReadonlyArray<Elf.ImageSymbol>
  readonly globals: ReadonlyArray<Elf.ImageSymbol>
  readonly maps: ReadonlyMap<Input, SymbolMap>
} => {
  const locals: Array<Elf.ImageSymbol> = [Elf.nullSymbol]
  const globals: Array<Elf.ImageSymbol> = []
  const maps = new Map<Input, SymbolMap>()
  const numbers = new Map<string, number>()
  const ofSections = new Map<OutputSection, number>()
  const addGlobal = (symbol: Elf.ImageSymbol): number => {
    globals.push(symbol)
    return -globals.length
  }
  const numberOf = (name: string): number => {
    const known = numbers.get(name)
    if (known !== undefined) return known
    const global = byName.get(name)
    const winner = winners.get(name)
    if (global === undefined || winner === undefined) return 0
    const { isDefined, section } = winner
    const part = section === undefined ? undefined : layout.parts.get(section)
    const number = addGlobal(Elf.makeSymbol({
      name,
      value: isDefined && part !== undefined ? BigInt(place(part, winner.value)) : 0n,
      size: BigInt(winner.size),
      // An extern is weak where nobody insists on it.
      binding: (isDefined ? winner.isWeak : global.mentions.every(({ isWeak }) => isWeak))
        ? Elf.STB_WEAK
        : Elf.STB_GLOBAL,
      type: winner.type,
      visibility: global.mentions.some(({ isHidden }) => isHidden) ? Elf.STV_HIDDEN : Elf.STV_DEFAULT,
      sectionIndex: isDefined ? part?.output.index ?? 0 : Elf.SHN_UNDEF
    }))
    numbers.set(name, number)
    return number
  }
  for (const input of inputs) {
    const { sections, symbols } = input
    const map = new Int32Array(symbols.count)
    maps.set(input, map)
    for (let index = 1; index < symbols.count; index++) {
      const isLocal = Elf.symbolBinding(symbols, index) === Elf.STB_LOCAL
      const at = Elf.symbolSection(symbols, index)
      const section = Elf.symbolIsReserved(symbols, index) ? undefined : sections[at]
      if (!isLocal && section?.name !== JUMP_TABLES) {
        map[index] = numberOf(Elf.symbolName(symbols, index))
        continue
      }
      const part = section === undefined ? undefined : layout.parts.get(section)
      if (section !== undefined && (part === undefined || part.output.isRelocations)) continue
      if (Elf.symbolType(symbols, index) === Elf.STT_SECTION && part !== undefined) {
        const known = ofSections.get(part.output)
        map[index] = known ?? locals.length
        if (known !== undefined) continue
        ofSections.set(part.output, locals.length)
        locals.push(Elf.makeSymbol({ type: Elf.STT_SECTION, sectionIndex: part.output.index }))
        continue
      }
      const value = part === undefined ? 0 : place(part, Elf.symbolOffset(symbols, index))
      if (value < 0) continue
      const { index: _, ...symbol } = Elf.symbolAt(symbols, index)
      const moved = part === undefined
        ? symbol
        : { ...symbol, value: BigInt(value), sectionIndex: part.output.index, isReserved: false }
      if (isLocal) map[index] = locals.push(moved) - 1
      else map[index] = addGlobal(moved)
    }
  }
  return { locals, globals, maps }
}

/** Calls inside a section, without a relocation, over bytes that were left out. */
const moveCalls = (layout: Layout, contents: ReadonlyMap<OutputSection, Uint8Array>, littleEndian: boolean): void => {
  for (const part of layout.parts.values()) {
    const { output, pieces, section } = part
    const bytes = contents.get(output)
    if (!section.isCode || pieces.length < 2 || bytes === undefined) continue
    const view = new DataView(bytes.buffer)
    const relocated = relocatedOffsets(section)
    for (let offset = 0; offset < section.size; offset += 8) {
      const target = relocated.has(offset) ? undefined : callTarget(section, offset)
      const at = target === undefined ? -1 : place(part, offset)
      if (target === undefined || at < 0) continue
      const to = place(part, target)
      if (to < 0) {
        refuse("Relocation", `a call leads to byte ${target}, which is no part of the section`, {
          ...within(section.input, section),
          offset
        })
      }
      view.setInt32(at + 4, (to - at) / 8 - 1, littleEndian)
    }
  }
}

/** What moves relocations. */
interface Mover {
  readonly parts: Parts
  readonly maps: ReadonlyMap<Input, SymbolMap>
  readonly firstGlobal: number
  readonly contents: ReadonlyMap<OutputSection, Uint8Array>
  /** Of jump tables the section whose code they lead into, by symbol. */
  readonly tables: Map<InputSection, Map<number, Part>>
  /** Bytes of the tables so far. */
  readonly tableBytes: Map<InputSection, number>
}

const imageOf = (output: OutputSection, mover: Mover): Elf.ImageSection => {
  const { alignment, entrySize, flags, name, type } = output
  const section = { ...Elf.nullSection, name, type, flags, alignment: BigInt(alignment), entrySize }
  if (output.isRelocations) {
    const target = output.parts[0]
    const of = target === undefined ? undefined : targetOf(target, mover.parts.layout)
    const bytes = moveAll(output, mover)
    return { ...section, link: 2, info: of?.output.index ?? 0, alignment: 8n, content: { _tag: "Bytes", bytes } }
  }
  if (type === Elf.SHT_NOBITS) return { ...section, content: { _tag: "NoBits", size: output.size } }
  return { ...section, content: { _tag: "Bytes", bytes: mover.contents.get(output) ?? new Uint8Array(0) } }
}

const targetOf = ({ section }: Part, layout: Layout): Part | undefined => {
  const target = section.input.sections[section.info]
  return target === undefined ? undefined : layout.parts.get(target)
}

/** Bytes of a relocation without addend. */
const ENTRY = 16

/** The relocations of all inputs for one section. */
const moveAll = (output: OutputSection, mover: Mover): Uint8Array => {
  const { layout, littleEndian } = mover.parts
  const bytes = new Uint8Array(output.size)
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const part of output.parts) {
    const { input } = part.section
    const target = targetOf(part, layout)
    const relocations = target === undefined
      ? undefined
      : input.relocationsFor.get(target.section)?.find(({ section }) => section === part.section)
    const map = mover.maps.get(input)
    if (relocations === undefined || target === undefined || map === undefined) continue
    const { table } = relocations
    for (let index = 0; index < table.count; index++) {
      const offset = Elf.relocationOffset(table, index)
      const to = place(target, offset)
      if (to < 0) continue
      const symbol = Elf.relocationSymbol(table, index)
      const type = Elf.relocationType(table, index)
      const mapped = map[symbol] ?? 0
      if (mapped === 0) {
        refuse("Relocation", "a relocation refers to a symbol that is not part of the output", {
          ...within(input, part.section),
          symbol: Elf.symbolName(input.symbols, symbol),
          offset
        })
      }
      moveReferred(mover, input, target, offset, to, symbol, type)
      const place64 = littleEndian ? [at, at + 4] : [at + 4, at]
      view.setUint32(place64[0] ?? 0, to, littleEndian)
      view.setUint32(at + (littleEndian ? 8 : 12), type, littleEndian)
      const final = mapped > 0 ? mapped : mover.firstGlobal - mapped - 1
      view.setUint32(at + (littleEndian ? 12 : 8), final, littleEndian)
      at += ENTRY
    }
  }
  return at === bytes.length ? bytes : bytes.subarray(0, at)
}

/** Changes the relocated place where it says where in a section the target is, and the jump table that it leads to. */
const moveReferred = (
  mover: Mover,
  input: Input,
  target: Part,
  offset: number,
  to: number,
  symbol: number,
  type: number
): void => {
  const { sections, symbols } = input
  if (Elf.symbolIsReserved(symbols, symbol)) return
  const section = sections[Elf.symbolSection(symbols, symbol)]
  const of = section === undefined ? undefined : mover.parts.layout.parts.get(section)
  if (section === undefined || of === undefined) return
  const where = { ...within(input, target.section), offset }
  if (Elf.symbolType(symbols, symbol) !== Elf.STT_SECTION) {
    if (section.name === JUMP_TABLES && target.section.isCode) moveTable(mover, of, symbol, target, where)
    return
  }
  const old = referredOffset(target.section, offset, type)
  const bytes = mover.contents.get(target.output)
  if (old === undefined || bytes === undefined) {
    return refuse(
      "Relocation",
      "what is relocated against a section is no instruction or word that says where in it",
      where
    )
  }
  const [only] = of.pieces
  const moved = of.pieces.length === 1 && only !== undefined ? old + only.at - only.start : place(of, old)
  if (moved < 0) refuse("Relocation", `byte ${old} of section ${section.name} is no part of the output`, where)
  const by = moved - old
  if (by === 0) return
  const { littleEndian } = mover.parts
  const view = new DataView(bytes.buffer)
  if (target.section.isCode) {
    const opcode = bytes[to]
    if (opcode !== CALL && opcode !== LOAD_64) return
    const immediate = view.getInt32(to + 4, littleEndian) + (opcode === CALL ? by / 8 : by)
    if (immediate !== (immediate | 0)) {
      refuse("TooLarge", `byte ${moved} of section ${section.name} cannot be told`, where)
    }
    view.setInt32(to + 4, immediate, littleEndian)
  } else if (type === Elf.R_BPF_64_ABS32) view.setUint32(to, moved, littleEndian)
  else view.setBigUint64(to, BigInt(moved), littleEndian)
}

/** Entries of a jump table are places in the section of the code that loads the table's address. */
const moveTable = (
  mover: Mover,
  table: Part,
  symbol: number,
  code: Part,
  where: { readonly file?: string; readonly section?: string; readonly offset: number }
): void => {
  const { input } = table.section
  const { symbols } = input
  const tables = mover.tables.get(table.section) ?? new Map<number, Part>()
  mover.tables.set(table.section, tables)
  const before = tables.get(symbol)
  const bad = (detail: string): never =>
    refuse("Relocation", detail, { ...where, symbol: Elf.symbolName(symbols, symbol) })
  if (before !== undefined) {
    if (before !== code) bad("code of two sections shares a jump table")
    return
  }
  tables.set(symbol, code)
  const start = Elf.symbolOffset(symbols, symbol)
  const size = Elf.symbolLength(symbols, symbol)
  const all = (mover.tableBytes.get(table.section) ?? 0) + size
  mover.tableBytes.set(table.section, all)
  if (all > table.section.size) bad("the jump tables lie over each other")
  if (size % 8 !== 0) bad(`a jump table of ${size} bytes has no whole entries`)
  const bytes = mover.contents.get(table.output)
  if (bytes === undefined) return bad("a jump table has no contents")
  const { littleEndian } = mover.parts
  const from = new DataView(table.section.data.buffer, table.section.data.byteOffset, table.section.data.byteLength)
  const view = new DataView(bytes.buffer)
  for (let offset = start; offset < start + size; offset += 8) {
    const entry = from.getBigUint64(offset, littleEndian)
    const to = entry > 0xffff_ffffn ? -1 : place(code, Number(entry))
    const at = place(table, offset)
    if (to < 0 || at < 0) bad(`an entry of the jump table, ${entry}, is no place in section ${code.section.name}`)
    view.setBigUint64(at, BigInt(to), littleEndian)
  }
}
