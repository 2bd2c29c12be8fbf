/**
 * The functions of an object: entry programs and subprograms.
 */
import * as Insn from "../../insn/Insn.ts"
import * as Elf from "../../services/Elf/Elf.ts"
import type { Program } from "./BpfObject.ts"
import { OpenError } from "./OpenError.ts"
import type { OpenOptions } from "./OpenOptions.ts"
import * as SectionDefinitions from "./SectionDefinitions.ts"
import type { Sections } from "./Sections.ts"

/** Where a symbol's function is: whole instructions inside its section. Throws `OpenError`. */
const extent = (
  section: Elf.ElfSection,
  symbols: Elf.SymbolTable,
  index: number
): { readonly start: number; readonly end: number } => {
  const start = Elf.symbolOffset(symbols, index)
  const size = Elf.symbolLength(symbols, index)
  const refuse = (detail: string): never => {
    throw new OpenError({
      reason: "Program",
      section: section.name,
      offset: start,
      name: Elf.symbolName(symbols, index),
      detail
    })
  }
  if (start + size > section.data.length) refuse("the function reaches beyond its section")
  if (size === 0 || size % 8 !== 0 || start % 8 !== 0) {
    refuse(`the function of ${size} bytes is not made of whole instructions`)
  }
  return { start, end: start + size }
}

/**
 * Reads every function, ordered by section and place. Functions of `.text` are subprograms; all others are entry
 * programs until a call of them is found (see `markCallees`). Throws `OpenError`.
 */
export const collect = (sections: Sections, byteOrder: Elf.ByteOrder, options: OpenOptions): ReadonlyArray<Program> => {
  const byIndex = new Map(sections.executable.map((section) => [section.index, section]))
  const code = new Map<number, Uint8Array>()
  const definitions = new Map<number, SectionDefinitions.SectionDefinition | undefined>()
  const programs: Array<Program> = []
  for (let index = 0; index < sections.symbols.count; index++) {
    const section = byIndex.get(Elf.symbolSection(sections.symbols, index))
    if (section === undefined || Elf.symbolType(sections.symbols, index) !== Elf.STT_FUNC) continue
    const { end, start } = extent(section, sections.symbols, index)
    const visibility = Elf.symbolVisibility(sections.symbols, index)
    // One conversion per section: functions are views of it.
    let insns = code.get(section.index)
    if (insns === undefined) {
      const whole = section.data.subarray(0, section.data.length - section.data.length % 8)
      insns = byteOrder === "little" ? whole : Insn.fromByteOrder(whole, byteOrder)
      code.set(section.index, insns)
    }
    const name = section.name.startsWith("?") ? section.name.slice(1) : section.name
    if (!definitions.has(section.index)) {
      definitions.set(section.index, SectionDefinitions.find(name, options.sections))
    }
    const entry = section !== sections.text
    const definition = entry ? definitions.get(section.index) : undefined
    const global = Elf.symbolBinding(sections.symbols, index) !== Elf.STB_LOCAL
    programs.push({
      name: Elf.symbolName(sections.symbols, index),
      section: name,
      optional: section.name.startsWith("?"),
      sectionIndex: section.index,
      sectionSlot: start / 8,
      sectionSlots: (end - start) / 8,
      insns: insns.subarray(start, end),
      relocations: [],
      entry,
      global,
      hidden: global && (visibility === Elf.STV_HIDDEN || visibility === Elf.STV_INTERNAL),
      autoload: !section.name.startsWith("?"),
      type: definition?.programType ?? 0,
      expectedAttachType: definition?.expectedAttachType ?? 0,
      flags: definition === undefined ? 0 : SectionDefinitions.programFlags(definition),
      ifindex: 0,
      definition,
      attachTarget: entry ? SectionDefinitions.targetOf(name) : undefined,
      logLevel: options.logLevel ?? 0
    })
  }
  programs.sort((a, b) => a.sectionIndex - b.sectionIndex || a.sectionSlot - b.sectionSlot)
  for (let index = 1; index < programs.length; index++) {
    const before = programs[index - 1]
    const program = programs[index]
    if (before === undefined || program === undefined || before.sectionIndex !== program.sectionIndex) continue
    // Two names of one function are an alias, which C has; anything between is a damaged symbol table.
    const overlaps = before.sectionSlot === program.sectionSlot
      ? before.sectionSlots !== program.sectionSlots
      : before.sectionSlot + before.sectionSlots > program.sectionSlot
    if (overlaps) {
      throw new OpenError({
        reason: "Program",
        section: program.section,
        offset: program.sectionSlot * 8,
        name: program.name,
        detail: `the function overlaps with ${before.name}`
      })
    }
  }
  return programs
}

/**
 * Tells callees from entry programs outside of `.text`: a local function that another one calls or takes the address of
 * is a subprogram, wherever it stands. (libbpf refuses local functions there; a static entry program is fine with us.)
 */
export const markCallees = (
  programs: ReadonlyArray<Program>,
  isCalled: (program: Program) => boolean
): ReadonlyArray<Program> =>
  programs.map((program) =>
    program.entry && !program.global && isCalled(program)
      ? { ...program, entry: false, definition: undefined, type: 0, expectedAttachType: 0, flags: 0 }
      : program
  )
