/** Object files made for one test each: sections, symbols and relocations by name, and BTF from nothing. */
import * as Result from "effect/Result"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../src/btf/BtfEdit.ts"
import * as Encode from "../../../src/insn/Encode.ts"
import * as Insn from "../../../src/insn/Insn.ts"
import * as Elf from "../../../src/services/Elf/Elf.ts"

/** A section of an object; PROGBITS unless it says otherwise. */
export interface SectionSpec {
  readonly name: string
  readonly type?: number
  readonly flags?: bigint
  readonly bytes?: Uint8Array
  /** Size of a section that has no bytes in the file. */
  readonly size?: number
  readonly link?: number
  readonly info?: number
  readonly entrySize?: number
}

/** A symbol; a global function unless it says otherwise. */
export interface SymbolSpec {
  readonly name: string
  /** What relocations call it; its name unless given. */
  readonly id?: string
  /** Name of its section, or a reserved index. */
  readonly section: string | number
  readonly value?: number | bigint
  readonly size?: number | bigint
  readonly type?: number
  readonly binding?: number
  readonly visibility?: number
}

/** A relocation of a section. */
export interface RelocationSpec {
  readonly section: string
  readonly offset: number
  readonly symbol: string
  readonly type?: number
}

/** An object. */
export interface ObjectSpec {
  readonly byteOrder?: Elf.ByteOrder
  readonly type?: number
  readonly machine?: number
  readonly sections?: ReadonlyArray<SectionSpec>
  readonly symbols?: ReadonlyArray<SymbolSpec>
  readonly relocations?: ReadonlyArray<RelocationSpec>
  readonly btf?: Uint8Array
  readonly btfExt?: Uint8Array
  readonly withoutSymbols?: boolean
}

const NULL_SECTION = { ...Elf.nullSection }

/** The bytes of an object file. */
export const build = (spec: ObjectSpec): Uint8Array => {
  const byteOrder = spec.byteOrder ?? "little"
  const given = [
    ...(spec.sections ?? []),
    ...(spec.btf === undefined ? [] : [{ name: ".BTF", bytes: spec.btf }]),
    ...(spec.btfExt === undefined ? [] : [{ name: ".BTF.ext", bytes: spec.btfExt }])
  ]
  const sections: Array<Elf.ImageSection> = [NULL_SECTION]
  const indexOf = new Map<string, number>()
  for (const section of given) {
    if (!indexOf.has(section.name)) indexOf.set(section.name, sections.length)
    const type = section.type ?? Elf.SHT_PROGBITS
    sections.push(Elf.makeSection({
      name: section.name,
      type,
      flags: section.flags ?? 0n,
      link: section.link ?? 0,
      info: section.info ?? 0,
      entrySize: section.entrySize ?? 0,
      content: type === Elf.SHT_NOBITS
        ? { _tag: "NoBits", size: section.size ?? 0 }
        : { _tag: "Bytes", bytes: section.bytes ?? new Uint8Array() }
    }))
  }
  const symbols: Array<Elf.ImageSymbol> = [Elf.nullSymbol]
  const symbolOf = new Map<string, number>()
  for (const symbol of spec.symbols ?? []) {
    symbolOf.set(symbol.id ?? symbol.name, symbols.length)
    symbols.push(Elf.makeSymbol({
      name: symbol.name,
      value: BigInt(symbol.value ?? 0),
      size: BigInt(symbol.size ?? 0),
      type: symbol.type ?? Elf.STT_FUNC,
      binding: symbol.binding ?? Elf.STB_GLOBAL,
      visibility: symbol.visibility ?? Elf.STV_DEFAULT,
      sectionIndex: typeof symbol.section === "number" ? symbol.section : indexOf.get(symbol.section) ?? 0,
      isReserved: typeof symbol.section === "number" && symbol.section >= Elf.SHN_LORESERVE
    }))
  }
  const byTarget = new Map<string, Array<RelocationSpec>>()
  for (const relocation of spec.relocations ?? []) {
    byTarget.set(relocation.section, [...(byTarget.get(relocation.section) ?? []), relocation])
  }
  const symtab = sections.length + byTarget.size
  for (const [target, entries] of byTarget) {
    sections.push(Elf.makeSection({
      name: `.rel${target}`,
      type: Elf.SHT_REL,
      link: symtab,
      info: indexOf.get(target) ?? 0,
      content: {
        _tag: "Relocations",
        entries: entries.map(({ offset, symbol, type }) => ({
          offset: BigInt(offset),
          type: type ?? 1,
          symbol: symbolOf.get(symbol) ?? 0,
          addend: 0n
        }))
      }
    }))
  }
  const strings = spec.withoutSymbols === true ? sections.length : sections.length + 1
  if (spec.withoutSymbols !== true) {
    sections.push(
      Elf.makeSection({ name: ".symtab", type: Elf.SHT_SYMTAB, link: strings, content: { _tag: "Symbols", symbols } })
    )
  }
  sections.push(Elf.makeSection({ name: ".strtab", type: Elf.SHT_STRTAB, content: { _tag: "Strings" } }))
  return Result.getOrThrow(Elf.write({
    byteOrder,
    osAbi: 0,
    abiVersion: 0,
    type: spec.type ?? Elf.ET_REL,
    machine: spec.machine ?? Elf.EM_BPF,
    entry: 0n,
    flags: 0,
    sections,
    sectionNames: strings
  }))
}

/** Instructions one after another. */
export const code = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** `r0 = 0; exit` */
export const nothing: Uint8Array = code(Encode.mov64Imm(0, 0), Encode.exit())

/** The flags of a section of instructions. */
export const EXEC: bigint = Elf.SHF_EXECINSTR | Elf.SHF_ALLOC

/** A section of one program, with its symbol. */
export const program = (
  section: string,
  insns: Uint8Array = nothing,
  more: Partial<SymbolSpec> = {}
): { readonly section: SectionSpec; readonly symbol: SymbolSpec } => ({
  section: { name: section, flags: EXEC, bytes: insns },
  symbol: { name: "prog", section, size: insns.length, ...more }
})

/** A blob without types. */
export const emptyBtf = (byteOrder: Btf.ByteOrder = "little"): Btf.Btf => {
  const bytes = new Uint8Array(25)
  const view = new DataView(bytes.buffer)
  const little = byteOrder === "little"
  view.setUint16(0, Btf.BTF_MAGIC, little)
  view.setUint8(2, 1)
  view.setUint32(4, 24, little)
  view.setUint32(20, 1, little)
  return Result.getOrThrow(Btf.parse(bytes, { pointerSize: 8 }))
}

/** A blob with the types that the body adds. */
export const btf = (body: (types: BtfEdit.BtfEditor) => void, byteOrder: Btf.ByteOrder = "little"): Uint8Array => {
  const editor = BtfEdit.edit(emptyBtf(byteOrder))
  body(editor)
  return Result.getOrThrow(editor.finish()).bytes
}

/** The bytes of code as a file of this byte order has them. */
export const inOrder = (insns: Uint8Array, byteOrder: Elf.ByteOrder): Uint8Array => Insn.toByteOrder(insns, byteOrder)

/** `__uint(name, value)` as a member of a definition at `bitOffset`. */
export const uint = (
  types: BtfEdit.BtfEditor,
  int: number,
  name: string,
  value: number,
  bitOffset: number
): Btf.Member => ({
  name,
  type: types.addPtr(types.addArray(int, int, value)),
  bitOffset,
  bitfieldSize: 0
})
