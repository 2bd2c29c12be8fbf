/**
 * The relocations of an object, turned into records that name what they mean.
 */
import type * as Btf from "../../btf/Btf.ts"
import * as Insn from "../../insn/Insn.ts"
import * as Elf from "../../services/Elf/Elf.ts"
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import { functionAt, type MapDefinition, type Program, type Relocation } from "./BpfObject.ts"
import { type Externs, isExtern } from "./Externs.ts"
import * as JumpTables from "./JumpTables.ts"
import { OpenError } from "./OpenError.ts"
import type { Sections } from "./Sections.ts"

/** What relocations are resolved against. */
export interface Context {
  readonly file: Elf.ElfFile
  readonly sections: Sections
  readonly programs: ReadonlyArray<Program>
  readonly maps: ReadonlyArray<MapDefinition>
  readonly externs: Externs
  readonly btf: Btf.Btf | undefined
}

/** One entry of a relocation section, decoded, with what messages need. */
export interface Entry {
  readonly section: Elf.ElfSection
  readonly target: Elf.ElfSection
  readonly offset: number
  readonly symbol: number
}

/** A relocation that means nothing, by the section that it stands in and the symbol that it names. */
export const refuse = (context: Context, entry: Entry, detail: string, hint?: string): OpenError => {
  const name = entry.symbol < context.sections.symbols.count
    ? Elf.symbolName(context.sections.symbols, entry.symbol)
    : ""
  return new OpenError({
    reason: "Relocation",
    section: entry.target.name,
    offset: entry.offset,
    ...(name === "" ? {} : { name }),
    detail,
    ...(hint === undefined ? {} : { hint })
  })
}

/** The value of a symbol as a byte offset in its section; -1 where it is no place in any section. */
export const offsetOf = (context: Context, symbol: number): number => {
  const value = Elf.symbolOffset(context.sections.symbols, symbol)
  return value <= 0xffff_ffff ? value : -1
}

/** Position of maps by section and offset, and by section for global data. */
interface MapIndex {
  readonly byPlace: ReadonlyMap<number, ReadonlyMap<number, number>>
  readonly bySection: ReadonlyMap<number, number>
}

const indexMaps = ({ maps, sections }: Context): MapIndex => {
  const byPlace = new Map<number, Map<number, number>>()
  const bySection = new Map<number, number>()
  maps.forEach((map, position) => {
    if (map.origin === "Btf" || map.origin === "Legacy") {
      const inSection = byPlace.get(map.sectionIndex) ?? new Map<number, number>()
      byPlace.set(map.sectionIndex, inSection.set(map.sectionOffset, position))
    } else if (map.origin !== "StructOps" && map.origin !== "Kconfig") bySection.set(map.sectionIndex, position)
  })
  const arena = maps.findIndex((map) => map.attr.type === MapType.BPF_MAP_TYPE_ARENA)
  if (sections.arena !== undefined && arena >= 0) bySection.set(sections.arena.index, arena)
  return { byPlace, bySection }
}

/** What one relocation of a program's instruction means. Throws `OpenError`. */
const relocationOf = (
  context: Context,
  index: MapIndex,
  jumpTable: JumpTables.Reader,
  program: Program,
  entry: Entry
): Relocation => {
  const { symbols } = context.sections
  const at = entry.offset / 8 - program.sectionSlot
  const { insns } = program
  const isCall = Insn.isCall(insns, at)
  if (!isCall && !Insn.isLdImm64(insns, at)) {
    throw refuse(context, entry, `the instruction (opcode ${Insn.opcode(insns, at)}) cannot have a relocation`)
  }
  if (!isCall && at + 1 >= Insn.count(insns)) {
    throw refuse(context, entry, "the 64-bit load is cut off by the function's end")
  }
  if (isExtern(symbols, entry.symbol)) {
    const extern = context.externs.bySymbol.get(entry.symbol)
    if (extern === undefined) throw refuse(context, entry, "the extern is not declared in the object's BTF")
    return { _tag: "Extern", at, extern }
  }
  const sectionIndex = Elf.symbolSection(symbols, entry.symbol)
  const section = Elf.symbolIsReserved(symbols, entry.symbol) ? undefined : context.file.sections[sectionIndex]
  if (sectionIndex === Elf.SHN_UNDEF || section === undefined) {
    throw refuse(
      context,
      entry,
      "the symbol belongs to no section",
      "an uninitialised global variable may be COMMON: compile with -fno-common, or initialise it"
    )
  }
  const value = offsetOf(context, entry.symbol)
  const executable = (section.flags & Elf.SHF_EXECINSTR) !== 0n
  if (isCall) {
    if (!Insn.isSubprogramCall(insns, at)) {
      throw refuse(context, entry, "the call is not one of a function of the object")
    }
    if (!executable) throw refuse(context, entry, `the call leads into ${section.name}, which holds no instructions`)
    if (value < 0 || value % 8 !== 0) throw refuse(context, entry, "the function does not start at an instruction")
    // The immediate of a call counts from the next instruction; -1 stands for the symbol itself.
    return { _tag: "Call", at, section: sectionIndex, slot: value / 8 + Insn.imm(insns, at) + 1 }
  }
  if (executable) {
    const addend = Insn.imm(insns, at)
    const place = value + addend
    if (value < 0 || place < 0 || place % 8 !== 0) {
      throw refuse(context, entry, "the function does not start at an instruction")
    }
    return { _tag: "Function", at, section: sectionIndex, slot: place / 8 }
  }
  const map = index.byPlace.get(sectionIndex)?.get(value)
  if (map !== undefined) return { _tag: "Map", at, map }
  const data = index.bySection.get(sectionIndex)
  if (data !== undefined) {
    // The verifier takes the offset as 32 bits; a negative addend of a static variable wraps around like in libbpf.
    return { _tag: "MapValue", at, map: data, offset: (value + Insn.imm(insns, at)) >>> 0 }
  }
  if (section === context.sections.maps || context.sections.legacyMaps.includes(section)) {
    throw refuse(context, entry, `no map is defined at byte ${value} of ${section.name}`)
  }
  if (section === context.sections.jumpTables) {
    const targets = jumpTable(entry.symbol, value, (detail) => refuse(context, entry, detail))
    return { _tag: "JumpTable", at, targets }
  }
  throw refuse(context, entry, `points into ${section.name}, which is no map and no function`)
}

/** The entries of a relocation section, checked against the symbol table and the section that they are for. */
export const entriesOf = (context: Context, section: Elf.ElfSection, target: Elf.ElfSection): ReadonlyArray<Entry> => {
  const table = Elf.relocations(context.file, section)
  if (table._tag === "Failure") throw table.failure
  const entries: Array<Entry> = []
  for (let position = 0; position < table.success.count; position++) {
    const entry: Entry = {
      section,
      target,
      offset: Elf.relocationOffset(table.success, position),
      symbol: Elf.relocationSymbol(table.success, position)
    }
    if (entry.symbol >= context.sections.symbols.count) {
      throw refuse(context, entry, `there is no symbol ${entry.symbol}`)
    }
    if (entry.offset % 8 !== 0 || entry.offset >= target.size) {
      throw refuse(context, entry, "stands at no whole instruction or pointer of its section")
    }
    entries.push(entry)
  }
  return entries
}

/**
 * Calls inside one section need no relocation record, and neither do addresses of functions: the assembler knew the
 * distance. `known` is in order.
 */
const plainCalls = (program: Program, known: ReadonlyArray<Relocation>): ReadonlyArray<Relocation> => {
  const calls: Array<Relocation> = []
  const { insns } = program
  const slots = Insn.count(insns)
  let next = 0
  for (let at = 0; at < slots; at++) {
    const opcode = insns[at * 8]
    const isLoad = opcode === Insn.LD_IMM64
    if (isLoad ? Insn.isFunctionReference(insns, at) : opcode === Insn.CALL && Insn.isSubprogramCall(insns, at)) {
      while ((known[next]?.at ?? slots) < at) next++
      if (known[next]?.at !== at) {
        const slot = program.sectionSlot + at + Insn.imm(insns, at) + 1
        calls.push({ _tag: isLoad ? "Function" : "Call", at, section: program.sectionIndex, slot })
      }
    }
    if (isLoad) at++
  }
  return calls
}

const inOrder = (a: Relocation, b: Relocation): number => a.at - b.at

/**
 * For each function the position of the first that stands at the same place: one function may have several names, and
 * then all of them have its relocations.
 */
const firstOfPlace = (programs: ReadonlyArray<Program>): Uint32Array => {
  const first = new Uint32Array(programs.length)
  for (let position = 1; position < programs.length; position++) {
    const before = programs[position - 1]
    const program = programs[position]
    const same = before?.sectionIndex === program?.sectionIndex && before?.sectionSlot === program?.sectionSlot
    first[position] = same ? first[position - 1] ?? 0 : position
  }
  return first
}

/** Gives every program its relocations, in the order of their slots. Throws `OpenError` or `ElfError`. */
export const ofPrograms = (
  context: Context
): { readonly programs: ReadonlyArray<Program>; readonly notes: ReadonlyArray<string> } => {
  const index = indexMaps(context)
  const jumpTable = JumpTables.reader(context.file, context.sections)
  const notes: Array<string> = []
  const first = firstOfPlace(context.programs)
  const collected = new Map<number, Array<Relocation>>()
  for (const { section, target } of context.sections.relocations) {
    if ((target.flags & Elf.SHF_EXECINSTR) === 0n) continue
    let inHoles = 0
    for (const entry of entriesOf(context, section, target)) {
      const found = functionAt(context.programs, target.index, entry.offset / 8)
      const position = found === undefined ? -1 : first[found] ?? -1
      const program = context.programs[position]
      if (program === undefined) {
        // A weak function that the static linker dropped leaves a hole, and its relocations behind.
        inHoles++
        continue
      }
      const list = collected.get(position)
      const relocation = relocationOf(context, index, jumpTable, program, entry)
      if (list === undefined) collected.set(position, [relocation])
      else list.push(relocation)
    }
    if (inHoles > 0) notes.push(`${inHoles} relocations of ${target.name} belong to no function`)
  }
  let relocations: ReadonlyArray<Relocation> = []
  const programs = context.programs.map((program, position) => {
    if (first[position] === position) {
      const own = (collected.get(position) ?? []).sort(inOrder)
      const plain = plainCalls(program, own)
      relocations = plain.length === 0 ? own : [...own, ...plain].sort(inOrder)
    }
    return relocations.length === 0 ? program : { ...program, relocations }
  })
  return { programs, notes }
}
