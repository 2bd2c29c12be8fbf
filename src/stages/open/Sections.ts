/**
 * Which section of an object file is what.
 *
 * One pass over the section headers; nothing is decoded here but the two sections that are values by themselves
 * (`license` and `version`). The rules are those of libbpf's collection of sections, in its order.
 */
import * as Elf from "../../services/Elf/Elf.ts"
import { OpenError } from "./OpenError.ts"

/** The sections of an object by their role. Sections are ELF sections, in file order. */
export interface Sections {
  readonly license: string
  readonly version: number | undefined
  readonly symbols: Elf.SymbolTable
  /** Sections of instructions, `.text` among them. */
  readonly executable: ReadonlyArray<Elf.ElfSection>
  readonly text: Elf.ElfSection | undefined
  readonly maps: Elf.ElfSection | undefined
  readonly legacyMaps: ReadonlyArray<Elf.ElfSection>
  /** `.data*`, `.rodata*` and `.bss*`, each with bytes in it. */
  readonly data: ReadonlyArray<{ readonly origin: "Data" | "Rodata" | "Bss"; readonly section: Elf.ElfSection }>
  readonly structOps: ReadonlyArray<Elf.ElfSection>
  readonly arena: Elf.ElfSection | undefined
  readonly jumpTables: Elf.ElfSection | undefined
  readonly btf: Elf.ElfSection | undefined
  readonly btfExt: Elf.ElfSection | undefined
  /** Relocations of the sections that matter here, with the section that they are for. */
  readonly relocations: ReadonlyArray<{ readonly section: Elf.ElfSection; readonly target: Elf.ElfSection }>
  readonly notes: ReadonlyArray<string>
}

const structOpsNames: ReadonlySet<string> = new Set([
  ".struct_ops",
  ".struct_ops.link",
  "?.struct_ops",
  "?.struct_ops.link"
])

const isOrStartsWith = (name: string, prefix: string): boolean => name === prefix || name.startsWith(`${prefix}.`)

/** Whether a section has nothing to say to a loader: strings, address tables, DWARF and what relocates it. */
const isIgnored = (section: Elf.ElfSection): boolean =>
  section.type === Elf.SHT_NULL || section.type === Elf.SHT_STRTAB || section.type === Elf.SHT_LLVM_ADDRSIG ||
  section.name.startsWith(".debug_") || section.name.startsWith(".rel.debug_") ||
  section.name === ".rel.BTF" || section.name === ".rel.BTF.ext" ||
  (section.name === ".text" && section.type === Elf.SHT_PROGBITS && section.size === 0)

const text = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}

const symbolTable = (file: Elf.ElfFile): Elf.SymbolTable => {
  const tables = file.sections.filter((section) => section.type === Elf.SHT_SYMTAB)
  if (tables.length > 1) {
    const second = tables[1]
    throw new OpenError({
      reason: "SymbolTable",
      section: second?.name ?? "",
      detail: `the object has ${tables.length} symbol tables; a BPF object has one`
    })
  }
  if (file.symbols === undefined) {
    throw new OpenError({
      reason: "SymbolTable",
      detail: "the object has no symbol table",
      hint: "it may have been stripped: use `llvm-strip -g`, which keeps the symbols"
    })
  }
  return file.symbols
}

/** Sorts the sections of an ELF file by role. Throws `OpenError`. */
export const collect = (file: Elf.ElfFile): Sections => {
  const { machine, type } = file.header
  if (type !== Elf.ET_REL || (machine !== Elf.EM_BPF && machine !== Elf.EM_NONE)) {
    throw new OpenError({
      reason: "NotBpf",
      detail: type !== Elf.ET_REL
        ? `the ELF file is of type ${type}, not a relocatable object (1)`
        : `the ELF file is for machine ${machine}, not BPF (247)`,
      hint: "compile with `clang -target bpf -g -O2 -c`"
    })
  }
  const executable: Array<Elf.ElfSection> = []
  const legacyMaps: Array<Elf.ElfSection> = []
  const data: Array<Sections["data"][number]> = []
  const structOps: Array<Elf.ElfSection> = []
  const relocations: Array<Sections["relocations"][number]> = []
  const notes: Array<string> = []
  let license = ""
  let version: number | undefined
  let textSection: Elf.ElfSection | undefined
  let maps: Elf.ElfSection | undefined
  let arena: Elf.ElfSection | undefined
  let jumpTables: Elf.ElfSection | undefined
  let btf: Elf.ElfSection | undefined
  let btfExt: Elf.ElfSection | undefined

  const programBits = (section: Elf.ElfSection): Elf.ElfSection => {
    if (section.type === Elf.SHT_PROGBITS) return section
    throw new OpenError({ reason: "Section", section: section.name, detail: "is not a section of program data" })
  }

  for (const section of file.sections) {
    if (isIgnored(section)) continue
    const { name } = section
    const isData = section.type === Elf.SHT_PROGBITS && section.size > 0
    if (name === "license") {
      if (section.size === 0 || section.type === Elf.SHT_NOBITS) {
        throw new OpenError({ reason: "Section", section: name, detail: "has no text in it" })
      }
      license = text(section.data.subarray(0, 63))
    } else if (name === "version") {
      if (section.data.length !== 4) {
        throw new OpenError({
          reason: "Section",
          section: name,
          detail: `has ${section.data.length} bytes instead of 4`
        })
      }
      version = new DataView(section.data.buffer, section.data.byteOffset, 4)
        .getUint32(0, file.header.byteOrder === "little")
    } else if (name === "maps" || (name.startsWith("maps/") && isData)) legacyMaps.push(section)
    else if (name === ".maps") maps = section
    else if (name === ".BTF") btf = programBits(section)
    else if (name === ".BTF.ext") btfExt = programBits(section)
    else if (section.type === Elf.SHT_SYMTAB) continue
    else if (isData && (section.flags & Elf.SHF_EXECINSTR) !== 0n) {
      executable.push(section)
      if (name === ".text") textSection = section
    } else if (isData && isOrStartsWith(name, ".data")) data.push({ origin: "Data", section })
    else if (isData && isOrStartsWith(name, ".rodata")) data.push({ origin: "Rodata", section })
    else if (isData && structOpsNames.has(name)) structOps.push(section)
    else if (isData && name === ".addr_space.1") arena = section
    else if (isData && name === ".jumptables") jumpTables = section
    else if (section.type === Elf.SHT_NOBITS && isOrStartsWith(name, ".bss")) {
      if (section.size > 0) data.push({ origin: "Bss", section })
    } else if (section.type === Elf.SHT_REL) {
      const target = file.sections[section.info]
      if (section.entrySize !== 16 || target === undefined) {
        throw new OpenError({
          reason: "Section",
          section: name,
          detail: target === undefined
            ? `relocates section ${section.info}, which does not exist`
            : `has entries of ${section.entrySize} bytes instead of 16`
        })
      }
      const matters = (target.flags & Elf.SHF_EXECINSTR) !== 0n || target.name === ".maps" ||
        structOpsNames.has(target.name)
      if (matters) relocations.push({ section, target })
      else notes.push(`section ${name} relocates ${target.name}, which a load does not look at`)
    } else notes.push(`section ${name} is not of a kind that a load looks at`)
  }
  return {
    license,
    version,
    symbols: symbolTable(file),
    executable,
    text: textSection,
    maps,
    legacyMaps,
    data,
    structOps,
    arena,
    jumpTables,
    btf,
    btfExt,
    relocations,
    notes
  }
}
