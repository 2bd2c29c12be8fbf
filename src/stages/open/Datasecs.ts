/**
 * What the compiler leaves open in the BTF of data sections, filled in from the ELF file.
 *
 * A compiler knows neither a section's final size nor where in it a variable ends up, so it writes zeroes; the ELF file
 * knows both. The static linker has filled them in already.
 */
import * as Btf from "../../btf/Btf.ts"
import * as Kind from "../../btf/BtfKind.ts"
import type { BtfEditor } from "../../btf/BtfEdit.ts"
import * as Elf from "../../services/Elf/Elf.ts"
import type { Program } from "./BpfObject.ts"
import { OpenError } from "./OpenError.ts"

/** Symbols of global variables by name. */
const globalVariables = (symbols: Elf.SymbolTable): ReadonlyMap<string, number> => {
  const byName = new Map<string, number>()
  for (let index = 1; index < symbols.count; index++) {
    if (Elf.symbolType(symbols, index) !== Elf.STT_OBJECT) continue
    const binding = Elf.symbolBinding(symbols, index)
    if (binding !== Elf.STB_GLOBAL && binding !== Elf.STB_WEAK) continue
    const name = Elf.symbolName(symbols, index)
    if (!byName.has(name)) byName.set(name, index)
  }
  return byName
}

/** Sizes of the file's sections by name; of several of one name, the first. */
const sectionSizes = (file: Elf.ElfFile): ReadonlyMap<string, number> => {
  const sizes = new Map<string, number>()
  for (const { name, size } of file.sections) if (!sizes.has(name)) sizes.set(name, size)
  return sizes
}

/**
 * Fills in sizes and offsets of every DATASEC but those of externs, makes hidden variables static, and sorts entries by
 * offset. Throws `OpenError`.
 */
export const complete = (file: Elf.ElfFile, symbols: Elf.SymbolTable, btf: Btf.Btf, editor: BtfEditor): void => {
  let byName: ReadonlyMap<string, number> | undefined
  let sizes: ReadonlyMap<string, number> | undefined
  for (let id = btf.firstId; id < btf.endId; id++) {
    if (Btf.kindOf(btf, id) !== Kind.BTF_KIND_DATASEC) continue
    const datasec = Btf.typeOf(btf, id)
    if (datasec._tag !== "Datasec" || datasec.name === ".kconfig" || datasec.name === ".ksyms") continue
    const refuse = (detail: string, offset: number, name?: string): OpenError =>
      new OpenError({
        reason: "Datasec",
        section: datasec.name,
        offset,
        detail,
        ...(name === undefined ? {} : { name })
      })
    const unknown = datasec.size === 0
    if (unknown) {
      sizes ??= sectionSizes(file)
      const size = sizes.get(datasec.name) ?? 0
      if (size === 0) throw refuse("the BTF describes variables of this section, but the file has no such section", 0)
      editor.setDatasecSize(id, size)
    }
    datasec.entries.forEach((entry, index) => {
      const variable = Btf.typeOf(btf, entry.type)
      if (variable._tag !== "Var") throw refuse(`entry ${index} is not a variable`, entry.offset)
      if (variable.linkage !== Kind.BTF_VAR_GLOBAL_ALLOCATED) return
      byName ??= globalVariables(symbols)
      const symbol = byName.get(variable.name)
      if (symbol === undefined) throw refuse("the symbol table has no such variable", entry.offset, variable.name)
      if (unknown) {
        const offset = Elf.symbolOffset(symbols, symbol)
        if (offset > 0xffff_ffff) throw refuse(`offset ${offset} is beyond any section`, offset, variable.name)
        editor.setDatasecEntry(id, index, { offset })
      }
      const visibility = Elf.symbolVisibility(symbols, symbol)
      if (visibility === Elf.STV_HIDDEN || visibility === Elf.STV_INTERNAL) {
        editor.setVarLinkage(entry.type, Kind.BTF_VAR_STATIC)
      }
    })
    editor.sortDatasec(id)
  }
}

/** Tells the kernel that hidden global subprograms are static, so that it verifies them in the context of each call. */
export const hideFunctions = (btf: Btf.Btf, editor: BtfEditor, programs: ReadonlyArray<Program>): void => {
  for (const program of programs) {
    if (program.entry || !program.hidden) continue
    const id = Btf.findOne(btf, program.name, Kind.BTF_KIND_FUNC)
    if (id === undefined) continue
    const type = Btf.typeOf(btf, id)
    if (type._tag === "Func" && type.linkage === Kind.BTF_VAR_GLOBAL_ALLOCATED) {
      editor.setFuncLinkage(id, Kind.BTF_VAR_STATIC)
    }
  }
}
