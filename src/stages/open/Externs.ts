/**
 * What an object refers to outside of itself: kernel configuration values, kernel functions and variables.
 *
 * The compiler describes externs by VARs and FUNCs of linkage `extern` in two DATASECs, `.kconfig` and `.ksyms`. The
 * kernel knows no such linkage, so the DATASECs are rewritten into what it accepts.
 */
import * as Btf from "../../btf/Btf.ts"
import * as Kind from "../../btf/BtfKind.ts"
import type { BtfEditor } from "../../btf/BtfEdit.ts"
import * as Result from "effect/Result"
import * as Elf from "../../services/Elf/Elf.ts"
import { essentialName, type Extern, type KconfigExtern } from "./BpfObject.ts"
import { OpenError } from "./OpenError.ts"

/** The externs of an object, and which symbol is which of them. */
export interface Externs {
  readonly externs: ReadonlyArray<Extern>
  /** Position in `externs` by symbol index. */
  readonly bySymbol: ReadonlyMap<number, number>
}

/** Whether a symbol stands for something outside of the object. */
export const isExtern = (symbols: Elf.SymbolTable, index: number): boolean => {
  const binding = Elf.symbolBinding(symbols, index)
  return index > 0 && Elf.symbolSection(symbols, index) === Elf.SHN_UNDEF && Elf.symbolType(symbols, index) === Elf.STT_NOTYPE &&
    (binding === Elf.STB_GLOBAL || binding === Elf.STB_WEAK)
}

const refuse = (name: string, detail: string, hint?: string): OpenError =>
  new OpenError({ reason: "Extern", name, detail, ...(hint === undefined ? {} : { hint }) })

/** The id of the VAR or FUNC of this name, and the DATASEC that holds it. */
const declarations = (btf: Btf.Btf): ReadonlyMap<number, string> => {
  const sectionOf = new Map<number, string>()
  for (let id = btf.firstId; id < btf.endId; id++) {
    if (Btf.kindOf(btf, id) !== Kind.BTF_KIND_DATASEC) continue
    const type = Btf.typeOf(btf, id)
    if (type._tag !== "Datasec") continue
    for (const entry of type.entries) if (!sectionOf.has(entry.type)) sectionOf.set(entry.type, type.name)
  }
  return sectionOf
}

const isSigned = (encoding: number): boolean => (encoding & Kind.BTF_INT_SIGNED) !== 0

const isChar = (btf: Btf.Btf, typeId: number): boolean => {
  const type = Btf.typeOf(btf, Btf.resolveType(btf, typeId))
  return type._tag === "Int" && type.size === 1 && (type.encoding & Kind.BTF_INT_BOOL) === 0
}

const kconfigKind = (
  btf: Btf.Btf,
  typeId: number
): { readonly kind: KconfigExtern["kind"]; readonly signed: boolean } | undefined => {
  const type = Btf.typeOf(btf, Btf.resolveType(btf, typeId))
  switch (type._tag) {
    case "Int":
      if ((type.encoding & Kind.BTF_INT_BOOL) !== 0) return type.size === 1 ? { kind: "bool", signed: false } : undefined
      if (type.size === 1) return { kind: "char", signed: isSigned(type.encoding) }
      return type.size === 2 || type.size === 4 || type.size === 8
        ? { kind: "int", signed: isSigned(type.encoding) }
        : undefined
    case "Enum":
      return type.size === 4 && type.name === "libbpf_tristate" ? { kind: "tristate", signed: false } : undefined
    case "Enum64":
      return type.name === "libbpf_tristate" ? { kind: "tristate", signed: false } : undefined
    case "Array":
      return type.length > 0 && isChar(btf, type.type) ? { kind: "string", signed: false } : undefined
    default:
      return undefined
  }
}

const kconfigExtern = (btf: Btf.Btf, name: string, weak: boolean, typeId: number): KconfigExtern => {
  const size = Btf.resolveSize(btf, typeId)
  if (Result.isFailure(size) || size.success === 0) throw refuse(name, "the variable has no size")
  const alignment = Btf.alignOf(btf, typeId)
  if (Result.isFailure(alignment)) throw refuse(name, "the variable's alignment cannot be told from its type")
  const kind = kconfigKind(btf, typeId)
  if (kind === undefined) {
    throw refuse(
      name,
      `${Btf.typeName(btf, typeId)} is no type of a kernel configuration value`,
      "use bool, char, an integer, enum libbpf_tristate or an array of char"
    )
  }
  return { _tag: "Kconfig", name, weak, typeId, size: size.success, alignment: alignment.success, dataOffset: 0, ...kind }
}

const byKindThenLayout = (a: Extern, b: Extern): number => {
  if (a._tag !== b._tag) return a._tag === "Kconfig" ? -1 : 1
  if (a._tag === "Kconfig" && b._tag === "Kconfig") {
    if (a.alignment !== b.alignment) return b.alignment - a.alignment
    if (a.size !== b.size) return a.size - b.size
  }
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0
}

/** Lays kconfig values out one after another, each at its alignment. */
const withOffsets = (externs: ReadonlyArray<Extern>): ReadonlyArray<Extern> => {
  let end = 0
  return externs.map((extern) => {
    if (extern._tag !== "Kconfig") return extern
    const dataOffset = Math.ceil(end / extern.alignment) * extern.alignment
    end = dataOffset + extern.size
    return { ...extern, dataOffset }
  })
}

/**
 * Collects the externs that symbols refer to, in the order in which they are laid out: configuration values first, by
 * alignment, size and name; then kernel symbols by name. Throws `OpenError`.
 */
export const collect = (symbols: Elf.SymbolTable, btf: Btf.Btf | undefined): Externs => {
  const found: Array<{ readonly symbol: number; readonly extern: Extern }> = []
  let sectionOf: ReadonlyMap<number, string> | undefined
  for (let index = 1; index < symbols.count; index++) {
    if (!isExtern(symbols, index)) continue
    const name = Elf.symbolName(symbols, index)
    if (name === "") continue
    if (btf === undefined) {
      throw new OpenError({
        reason: "MissingBtf",
        name,
        detail: "the object refers to this extern, but has no BTF that says what it is",
        hint: "compile with `-g`"
      })
    }
    sectionOf ??= declarations(btf)
    const id = Btf.findOne(btf, name, Kind.BTF_KIND_VAR) ?? Btf.findOne(btf, name, Kind.BTF_KIND_FUNC)
    if (id === undefined) throw refuse(name, "the object's BTF does not declare this extern")
    const type = Btf.typeOf(btf, id)
    if ((type._tag !== "Var" && type._tag !== "Func") || type.linkage !== Kind.BTF_VAR_GLOBAL_EXTERN) {
      throw refuse(name, "is defined in the object's BTF, but not in its symbol table")
    }
    const weak = Elf.symbolBinding(symbols, index) === Elf.STB_WEAK
    const section = sectionOf.get(id)
    if (section === ".kconfig") {
      if (type._tag === "Func") throw refuse(name, "a function cannot be a kernel configuration value")
      found.push({ symbol: index, extern: kconfigExtern(btf, name, weak, type.type) })
    } else if (section === ".ksyms") {
      const typeId = type._tag === "Func" ? type.type : Btf.resolveType(btf, type.type)
      found.push({
        symbol: index,
        extern: { _tag: "Ksym", name, kernelName: essentialName(name), weak, isFunction: type._tag === "Func", typeId }
      })
    } else {
      throw refuse(
        name,
        section === undefined ? "belongs to no section" : `belongs to section ${section}`,
        "mark it __kconfig or __ksym; if it is defined in another object, link the objects first"
      )
    }
  }
  found.sort((a, b) => byKindThenLayout(a.extern, b.extern))
  return {
    externs: withOffsets(found.map((each) => each.extern)),
    bySymbol: new Map(found.map((each, position) => [each.symbol, position]))
  }
}

/** Size of the `.kconfig` map's value, 0 where the object reads no configuration. */
export const kconfigSize = (externs: ReadonlyArray<Extern>): number => {
  let end = 0
  for (const extern of externs) if (extern._tag === "Kconfig") end = Math.max(end, extern.dataOffset + extern.size)
  return end
}

/** The name that stands in for what the kernel wants named. */
const dummy = "dummy_ksym"

/**
 * Rewrites the DATASEC of kernel symbols: every variable becomes a global int, every function a variable of one made-up
 * name, since the kernel accepts neither functions nor externs in a DATASEC. Throws `OpenError`.
 */
const rewriteKsyms = (btf: Btf.Btf, editor: BtfEditor, id: number, externs: ReadonlyArray<Extern>): void => {
  const section = Btf.typeOf(btf, id)
  if (section._tag !== "Datasec") return
  const names = new Set<string>(externs.filter((extern) => extern._tag === "Ksym").map((extern) => extern.name))
  let int: number | undefined
  for (let type = btf.firstId; type < btf.endId && int === undefined; type++) {
    if (Btf.kindOf(btf, type) !== Kind.BTF_KIND_INT) continue
    const found = Btf.typeOf(btf, type)
    if (found._tag === "Int" && found.bits === 32) int = type
  }
  int ??= editor.addInt("int", 4, 1)
  const hasFunction = section.entries.some((entry) => Btf.kindOf(btf, entry.type) === Kind.BTF_KIND_FUNC)
  const dummyVar = hasFunction ? editor.addVar(dummy, int, Kind.BTF_VAR_GLOBAL_ALLOCATED) : 0
  const dummyName = hasFunction ? editor.addString(dummy) : 0
  const named = new Set<number>()
  section.entries.forEach((entry, index) => {
    const member = Btf.typeOf(btf, entry.type)
    if ((member._tag !== "Var" && member._tag !== "Func") || !names.has(member.name)) {
      throw refuse(
        member._tag === "Var" || member._tag === "Func" ? member.name : `type ${entry.type}`,
        "is in .ksyms, but no symbol refers to it"
      )
    }
    if (member._tag === "Func") {
      editor.setFuncLinkage(entry.type, Kind.BTF_VAR_GLOBAL_ALLOCATED)
      const proto = named.has(member.type) ? undefined : Btf.typeOf(btf, member.type)
      named.add(member.type)
      if (proto?._tag === "FuncProto") {
        proto.params.forEach((param, position) => {
          if (param.type !== 0 && param.name === "") editor.setParamNameOffset(member.type, position, dummyName)
        })
      }
      editor.setDatasecEntry(id, index, { type: dummyVar, offset: index * 4, size: 4 })
    } else {
      editor.setVarLinkage(entry.type, Kind.BTF_VAR_GLOBAL_ALLOCATED)
      editor.setVarType(entry.type, int)
      editor.setDatasecEntry(id, index, { offset: index * 4, size: 4 })
    }
  })
  editor.setDatasecSize(id, section.entries.length * 4)
}

/** Rewrites the DATASEC of configuration values: global variables at the offsets that were laid out. */
const rewriteKconfig = (btf: Btf.Btf, editor: BtfEditor, id: number, externs: ReadonlyArray<Extern>): void => {
  const section = Btf.typeOf(btf, id)
  if (section._tag !== "Datasec") return
  const offsets = new Map<string, number>()
  for (const extern of externs) if (extern._tag === "Kconfig") offsets.set(extern.name, extern.dataOffset)
  section.entries.forEach((entry, index) => {
    const member = Btf.typeOf(btf, entry.type)
    const name = member._tag === "Var" ? member.name : `type ${entry.type}`
    const offset = offsets.get(name)
    if (offset === undefined) throw refuse(name, "is in .kconfig, but no symbol refers to it")
    editor.setVarLinkage(entry.type, Kind.BTF_VAR_GLOBAL_ALLOCATED)
    editor.setDatasecEntry(id, index, { offset })
  })
  editor.setDatasecSize(id, kconfigSize(externs))
}

/** Rewrites both DATASECs of externs in the object's BTF. Throws `OpenError`. */
export const rewrite = (btf: Btf.Btf, editor: BtfEditor, externs: ReadonlyArray<Extern>): void => {
  if (externs.length === 0) return
  for (let id = btf.firstId; id < btf.endId; id++) {
    if (Btf.kindOf(btf, id) !== Kind.BTF_KIND_DATASEC) continue
    const name = Btf.nameOf(btf, id)
    if (name === ".ksyms") rewriteKsyms(btf, editor, id, externs)
    else if (name === ".kconfig") rewriteKconfig(btf, editor, id, externs)
    else continue
    editor.sortDatasec(id)
  }
}
