/**
 * One input: its bytes parsed, every field that a link uses checked, its sections classified.
 *
 * Source: reference page `linker`, section 3.
 */
import * as Result from "effect/Result"
import * as Btf from "../btf/Btf.ts"
import * as BtfExt from "../btf/BtfExt.ts"
import * as Elf from "../services/Elf/Elf.ts"
import { type LinkErrorPlace, refuse } from "./LinkError.ts"

/** What becomes of a section of an input. */
export type SectionUse =
  /** Its contents are appended to those of the same name. */
  | "Data"
  /** Its relocations are moved. */
  | "Relocations"
  /** It is a DATASEC alone: variables that the file declares, in a section that it does not have. */
  | "Ephemeral"
  /** It is made anew, or not wanted. */
  | "Skipped"

/** A section of an input. */
export interface InputSection {
  readonly input: Input
  /** Its index in the file; 0 for an ephemeral one. */
  readonly index: number
  readonly name: string
  readonly type: number
  readonly flags: bigint
  readonly alignment: number
  readonly entrySize: number
  readonly size: number
  readonly data: Uint8Array
  /** `sh_info`: of relocations the section that they apply to. */
  readonly info: number
  /** What becomes of it; a license that another file has already is skipped when the file is added. */
  use: SectionUse
  /** Whether it holds instructions. */
  readonly isCode: boolean
  /** Its DATASEC in the file's BTF, 0 where there is none. */
  datasec: number
}

/** An input, parsed and checked. */
export interface Input {
  readonly index: number
  readonly name: string
  readonly size: number
  readonly littleEndian: boolean
  readonly file: Elf.ElfFile
  readonly symbols: Elf.SymbolTable
  readonly btf: Btf.Btf | undefined
  readonly ext: BtfExt.BtfExt | undefined
  /** By index in the file, ephemeral ones behind them. */
  readonly sections: Array<InputSection>
  /** The first section of each name. */
  readonly byName: Map<string, InputSection>
  /** The checked relocations of each section of use `Relocations`, in order. */
  readonly relocations: ReadonlyArray<InputRelocations>
  /** The names of variables and functions that are not static, by type; known when the file is added. */
  readonly shared: Map<number, string>
  /** The relocations for each section. */
  readonly relocationsFor: Map<InputSection, Array<InputRelocations>>
}

/** The relocations of one section. */
export interface InputRelocations {
  readonly section: InputSection
  readonly target: InputSection
  readonly table: Elf.RelocationTable
}

/** Where an error is. */
export const within = (input: Pick<Input, "name">, section?: Pick<InputSection, "name">): LinkErrorPlace =>
  section === undefined ? { file: input.name } : { file: input.name, section: section.name }

/** Largest alignment of contents that are in the file: padding must stay in proportion to the inputs. */
const MAX_ALIGNMENT = 0x1_0000

const MAX_SIZE = 0xffff_ffff

/** Parses and checks an input. Throws `LinkError`. */
export const read = (index: number, name: string, bytes: Uint8Array): Input => {
  const file = valueOf("Elf", name, Elf.parse(bytes))
  const { header } = file
  if (header.type !== Elf.ET_REL || header.machine !== Elf.EM_BPF) {
    refuse("NotBpf", `an ELF file of type ${header.type} for machine ${header.machine} is no BPF object`, {
      file: name,
      hint: "a BPF object is a relocatable file (1) for machine 247: compile with --target=bpf -c"
    })
  }
  if (header.sectionNamesIndex === 0) refuse("Section", "the sections have no names", { file: name })
  if (file.symbolTables.length > 1) refuse("SymbolTable", "there are two symbol tables", { file: name })
  const symbols = file.symbols ?? refuse("SymbolTable", "there is no symbol table", {
    file: name,
    hint: "strip(1) has removed it; only debug information may be removed: strip -g"
  })
  const btf = parseBtf(file, name)
  const sections: Array<InputSection> = []
  const relocations: Array<InputRelocations> = []
  const input: Input = {
    index,
    name,
    size: bytes.length,
    littleEndian: header.byteOrder === "little",
    file,
    symbols,
    btf,
    ext: btf === undefined ? undefined : parseExt(file, name, btf),
    sections,
    byName: new Map(),
    relocations,
    shared: new Map(),
    relocationsFor: new Map()
  }
  for (const section of file.sections) {
    const mine = classified(input, section)
    sections.push(mine)
    if (section.index !== 0 && !input.byName.has(mine.name)) input.byName.set(mine.name, mine)
  }
  checkSymbols(input)
  for (const section of sections) {
    if (section.use !== "Relocations") continue
    const checked = checkRelocations(input, section)
    relocations.push(checked)
    const others = input.relocationsFor.get(checked.target)
    if (others === undefined) input.relocationsFor.set(checked.target, [checked])
    else others.push(checked)
  }
  joinDatasecs(input)
  return input
}

const valueOf = <A>(
  reason: "Elf" | "Btf",
  file: string,
  result: Result.Result<A, { readonly message: string }>
): A => Result.isSuccess(result) ? result.success : refuse(reason, result.failure.message, { file })

const typesIn = (file: Elf.ElfFile, name: string): Uint8Array | undefined => {
  return file.sections.find((section) => section.name === name && section.type === Elf.SHT_PROGBITS)?.data
}

const parseBtf = (file: Elf.ElfFile, name: string): Btf.Btf | undefined => {
  const bytes = typesIn(file, ".BTF")
  if (bytes === undefined) {
    if (typesIn(file, ".BTF.ext") !== undefined) refuse("Btf", "there is .BTF.ext without .BTF", { file: name })
    return undefined
  }
  const btf = valueOf("Btf", name, Btf.parse(bytes))
  for (let id = btf.firstId; id < btf.endId; id++) {
    if (!Btf.isKnownKind(Btf.kindOf(btf, id))) {
      refuse("Btf", `type ${id} is of a kind that this library does not know: ${Btf.kindOf(btf, id)}`, {
        file: name,
        section: ".BTF"
      })
    }
  }
  return btf
}

const parseExt = (file: Elf.ElfFile, name: string, btf: Btf.Btf): BtfExt.BtfExt | undefined => {
  const bytes = typesIn(file, ".BTF.ext")
  if (bytes === undefined) return undefined
  const ext = valueOf("Btf", name, BtfExt.parse(bytes, btf))
  const where = { file: name, section: ".BTF.ext" }
  if (ext.unknownHeader) refuse("Btf", "the header of .BTF.ext has fields that are not known", where)
  BtfExt.forEachTypeId(ext, (offset, id) => {
    if (!Btf.exists(btf, id)) refuse("Btf", `a record refers to type ${id}, which does not exist`, { ...where, offset })
  })
  BtfExt.forEachString(ext, (offset, string) => {
    if (string >= btf.stringsLength && string !== 0) {
      refuse("Btf", `a record refers to string offset ${string}, past the strings`, { ...where, offset })
    }
  })
  return ext
}

const useOf = (name: string, { size, type }: Elf.ElfSection): SectionUse | undefined => {
  switch (type) {
    case Elf.SHT_STRTAB:
    case Elf.SHT_SYMTAB:
    case Elf.SHT_SYMTAB_SHNDX:
    case Elf.SHT_LLVM_ADDRSIG:
      return "Skipped"
    case Elf.SHT_PROGBITS:
      if ((size === 0 && name === ".text") || name === ".BTF" || name === ".BTF.ext") return "Skipped"
      return name.startsWith(".debug_") ? "Skipped" : "Data"
    case Elf.SHT_NOBITS:
      return name.startsWith(".debug_") ? "Skipped" : "Data"
    case Elf.SHT_REL:
      return name.startsWith(".rel.debug_") || name === ".rel.BTF" || name === ".rel.BTF.ext"
        ? "Skipped"
        : "Relocations"
    default:
      return name.startsWith(".debug_") || name.startsWith(".rel.debug_") ? "Skipped" : undefined
  }
}

const classified = (input: Input, section: Elf.ElfSection): InputSection => {
  const { alignment, entrySize, flags, index, info, name, size, type } = section
  const make = (use: SectionUse, isCode: boolean): InputSection => ({
    input,
    index,
    name,
    type,
    flags,
    alignment: Math.max(1, Number(alignment)),
    entrySize,
    size,
    data: section.data,
    info,
    use,
    isCode,
    datasec: 0
  })
  if (index === 0 || type === Elf.SHT_NULL) return make("Skipped", false)
  const where = within(input, section)
  if (name === "") refuse("Section", `section ${index} has no name`, { file: input.name })
  const use = useOf(name, section)
  if (use === undefined) {
    return refuse("Section", `a section of type ${type} cannot be linked`, {
      ...where,
      hint: "BPF objects have program data, zeros, relocations without addends, and the tables that name them"
    })
  }
  if (name.startsWith(".debug_")) return make(use, false)
  if ((alignment & (alignment - 1n)) !== 0n) {
    refuse("Section", `the alignment ${alignment} is no power of two`, where)
  }
  if (use === "Data") {
    if ((flags & Elf.SHF_COMPRESSED) !== 0n) refuse("Section", "a compressed section cannot be linked", where)
    const limit = type === Elf.SHT_NOBITS ? 0x8000_0000 : MAX_ALIGNMENT
    if (alignment > BigInt(limit)) refuse("TooLarge", `the alignment ${alignment} is more than ${limit}`, where)
    if (size > MAX_SIZE) refuse("TooLarge", `the section has ${size} bytes`, where)
  }
  const isCode = type === Elf.SHT_PROGBITS && (flags & Elf.SHF_EXECINSTR) !== 0n
  if (isCode && size % 8 !== 0) {
    refuse("Section", `${size} bytes of code are no whole instructions`, where)
  }
  return make(use, isCode)
}

const symbolLabel = (input: Input, index: number): string => {
  const name = Elf.symbolName(input.symbols, index)
  return name === "" ? `symbol ${index}` : name
}

const checkSymbols = (input: Input): void => {
  const { name: file, sections, symbols } = input
  const bad = (index: number, detail: string, hint?: string): never =>
    refuse("Symbol", detail, { file, symbol: symbolLabel(input, index), ...(hint === undefined ? {} : { hint }) })
  if (symbols.count === 0 || !isNull(Elf.symbolAt(symbols, 0))) {
    refuse("Symbol", "the first symbol is not the empty one", { file })
  }
  for (let index = 1; index < symbols.count; index++) {
    const binding = Elf.symbolBinding(symbols, index)
    const type = Elf.symbolType(symbols, index)
    const visibility = Elf.symbolVisibility(symbols, index)
    const value = Elf.symbolOffset(symbols, index)
    const size = Elf.symbolLength(symbols, index)
    if (binding !== Elf.STB_LOCAL && binding !== Elf.STB_GLOBAL && binding !== Elf.STB_WEAK) {
      bad(index, `its binding ${binding} is none of BPF objects`)
    }
    if (visibility !== Elf.STV_DEFAULT && visibility !== Elf.STV_HIDDEN) {
      bad(index, `its visibility ${visibility} is none of BPF objects`, "use default or hidden visibility")
    }
    if (Elf.symbolIsReserved(symbols, index)) {
      if (binding !== Elf.STB_LOCAL) bad(index, "a symbol for all files is in no section", "compile with -fno-common")
      continue
    }
    const at = Elf.symbolSection(symbols, index)
    if (at === Elf.SHN_UNDEF) {
      if (type !== Elf.STT_NOTYPE || binding === Elf.STB_LOCAL || value !== 0 || size !== 0) {
        bad(index, "an extern has a type, a place or a size, or is local")
      }
      if (Elf.symbolName(symbols, index) === "") bad(index, "an extern has no name")
      continue
    }
    if (type === Elf.STT_SECTION && value !== 0) bad(index, `the symbol of a section has the value ${value}`)
    const section = sections[at]
    if (section === undefined || section.use === "Skipped") continue
    if (binding !== Elf.STB_LOCAL && Elf.symbolName(symbols, index) === "") bad(index, "a global symbol has no name")
    if (value > section.size || value + (type === Elf.STT_SECTION ? 0 : size) > section.size) {
      bad(index, `${size} bytes at ${value} reach beyond the ${section.size} bytes of section ${section.name}`)
    }
    if (section.isCode && type === Elf.STT_FUNC && (value % 8 !== 0 || size % 8 !== 0)) {
      bad(index, "a function does not begin and end at whole instructions")
    }
  }
}

const isNull = ({ binding, name, other, sectionIndex, size, type, value, visibility }: Elf.ElfSymbol): boolean =>
  name === "" && value === 0n && size === 0n && binding === 0 && type === 0 && visibility === 0 && other === 0
  && sectionIndex === 0

const checkRelocations = (input: Input, section: InputSection): InputRelocations => {
  const where = within(input, section)
  const own = input.file.sections[section.index]
  const target = input.sections[section.info]
  if (own === undefined || own.link !== input.symbols.section) {
    return refuse(
      "Relocation",
      `the symbols of its relocations are in section ${own?.link}, which is not the symbol table`,
      where
    )
  }
  if (target === undefined || section.name !== `.rel${target.name}`) {
    return refuse("Relocation", `its relocations are for section ${target?.name}, after which it is not named`, where)
  }
  const table = valueOf("Elf", input.name, Elf.relocations(input.file, own))
  const relocations: InputRelocations = { section, target, table }
  const { isCode, size, use } = relocations.target
  if (use === "Skipped") return relocations
  if (use !== "Data") refuse("Relocation", "relocations cannot be relocated", where)
  for (let index = 0; index < table.count; index++) {
    const offset = Elf.relocationOffset(table, index)
    const type = Elf.relocationType(table, index)
    const bad = (detail: string): never => refuse("Relocation", detail, { ...where, offset })
    const width = type === Elf.R_BPF_64_64
      ? isCode ? 16 : 8
      : type === Elf.R_BPF_64_ABS64 || type === Elf.R_BPF_64_32
      ? 8
      : type === Elf.R_BPF_64_ABS32
      ? 4
      : bad(`a relocation of type ${type} is none of BPF objects`)
    if (Elf.relocationSymbol(table, index) === 0) bad("a relocation has no symbol")
    if (isCode && offset % 8 !== 0) bad("a relocation stands between instructions")
    if (offset + width > size) bad(`a relocation stands beyond the ${size} bytes of its section`)
  }
  return relocations
}

/** The DATASEC without a section of its own, which the compiler makes of functions that are declared nowhere else. */
export const EXTERN_DATASEC = ".extern"

/** Notes which DATASEC belongs to which section, and makes sections of those that have none. */
const joinDatasecs = (input: Input): void => {
  const { btf } = input
  if (btf === undefined) return
  for (const id of Btf.idsOfKind(btf, Btf.BTF_KIND_DATASEC)) {
    const name = Btf.nameOf(btf, id)
    const existing = input.byName.get(name)
    if (existing === undefined) {
      if (name === EXTERN_DATASEC) continue
      const section: InputSection = {
        input,
        index: 0,
        name,
        type: Elf.SHT_NULL,
        flags: 0n,
        alignment: 1,
        entrySize: 0,
        size: 0,
        data: noBytes,
        info: 0,
        use: "Ephemeral",
        isCode: false,
        datasec: id
      }
      input.sections.push(section)
      input.byName.set(name, section)
    } else if (existing.datasec === 0) existing.datasec = id
    else refuse("Btf", "the types describe the section twice", within(input, existing))
  }
}

const noBytes = new Uint8Array(0)
