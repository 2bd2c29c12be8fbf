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
  return index > 0 && Elf.symbolSection(symbols, index) === Elf.SHN_UNDEF &&
    Elf.symbolType(symbols, index) === Elf.STT_NOTYPE &&
    (binding === Elf.STB_GLOBAL || binding === Elf.STB_WEAK)
}

/** Whether the object refers to anything outside of itself. */
export const areThere = (symbols: Elf.SymbolTable): boolean => {
  for (let index = 1; index < symbols.count; index++) {
    if (isExtern(symbols, index) && Elf.symbolNameOffset(symbols, index) !== 0) return true
  }
  return false
}

/** Where an extern is spoken of: in the symbol table, or in the section that BTF describes. */
interface Place {
  readonly section: string
  readonly offset: number
}

const refuse = (place: Place, name: string, detail: string, hint?: string): OpenError =>
  new OpenError({ reason: "Extern", ...place, name, detail, ...(hint === undefined ? {} : { hint }) })

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
      if ((type.encoding & Kind.BTF_INT_BOOL) !== 0) {
        return type.size === 1
          ? { kind: "bool", signed: false }
          : undefined
      }
      if (type.size === 1) return { kind: "char", signed: isSigned(type.encoding) }
      return type.size === 2 || type.size === 4 || type.size === 8
        ? { kind: "int", signed: isSigned(type.encoding) }
        : undefined
    case "Enum":
      return type.size === 4 && type.name === "libbpf_tristate" ? { kind: "tristate", signed: false } : undefined
    case "Enum64":
      return type.size === 8 && type.name === "libbpf_tristate" ? { kind: "tristate", signed: false } : undefined
    case "Array":
      return type.length > 0 && isChar(btf, type.type) ? { kind: "string", signed: false } : undefined
    default:
      return undefined
  }
}

const kconfigExtern = (btf: Btf.Btf, place: Place, name: string, weak: boolean, typeId: number): KconfigExtern => {
  const size = Btf.resolveSize(btf, typeId)
  // libbpf stops collecting externs at a variable of size 0, without a word.
  if (Result.isFailure(size) || size.success === 0) throw refuse(place, name, "the variable has no size")
  const alignment = Btf.alignOf(btf, typeId)
  if (Result.isFailure(alignment)) throw refuse(place, name, "the variable's alignment cannot be told from its type")
  const kind = kconfigKind(btf, typeId)
  if (kind === undefined) {
    throw refuse(
      place,
      name,
      `${Btf.typeName(btf, typeId)} is no type of a kernel configuration value`,
      "use bool, char, an integer, enum libbpf_tristate or an array of char"
    )
  }
  return {
    _tag: "Kconfig",
    name,
    weak,
    typeId,
    size: size.success,
    alignment: alignment.success,
    dataOffset: 0,
    ...kind
  }
}

const byKindThenLayout = (a: Extern, b: Extern): number => {
  if (a._tag !== b._tag) return a._tag === "Kconfig" ? -1 : 1
  if (a._tag === "Kconfig" && b._tag === "Kconfig") {
    if (a.alignment !== b.alignment) return b.alignment - a.alignment
    if (a.size !== b.size) return a.size - b.size
  }
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0
}

/** Bytes that all configuration values together may take: a `.config` line has at most 4096. */
const maxKconfigSize = 0x10_0000

/** Lays kconfig values out one after another, each at its alignment. */
const withOffsets = (externs: ReadonlyArray<Extern>): ReadonlyArray<Extern> => {
  let end = 0
  return externs.map((extern) => {
    if (extern._tag !== "Kconfig") return extern
    const dataOffset = Math.ceil(end / extern.alignment) * extern.alignment
    end = dataOffset + extern.size
    // A few bytes of types can ask for an array of gigabytes.
    if (end > maxKconfigSize) {
      throw refuse(
        { section: ".kconfig", offset: dataOffset },
        extern.name,
        `${extern.size} bytes are more than configuration values can take (${maxKconfigSize} together)`
      )
    }
    return { ...extern, dataOffset }
  })
}

/**
 * Collects the externs that symbols refer to, in the order in which they are laid out: configuration values first, by
 * alignment, size and name; then kernel symbols by name. Throws `OpenError`.
 */
export const collect = (
  file: Elf.ElfFile,
  symbols: Elf.SymbolTable,
  btf: Btf.Btf | undefined
): Externs => {
  const table = file.sections[symbols.section]?.name ?? ""
  const found: Array<{ readonly symbol: number; readonly extern: Extern }> = []
  let sectionOf: ReadonlyMap<number, string> | undefined
  for (let index = 1; index < symbols.count; index++) {
    if (!isExtern(symbols, index)) continue
    const name = Elf.symbolName(symbols, index)
    if (name === "") continue
    const place: Place = { section: table, offset: index * 24 }
    if (btf === undefined) {
      throw new OpenError({
        reason: "MissingBtf",
        ...place,
        name,
        detail: "the object refers to this extern, but has no BTF that says what it is",
        hint: "compile with `-g`"
      })
    }
    sectionOf ??= declarations(btf)
    const id = Btf.findOne(btf, name, Kind.BTF_KIND_VAR) ?? Btf.findOne(btf, name, Kind.BTF_KIND_FUNC)
    if (id === undefined) throw refuse(place, name, "the object's BTF does not declare this extern")
    const type = Btf.typeOf(btf, id)
    if ((type._tag !== "Var" && type._tag !== "Func") || type.linkage !== Kind.BTF_VAR_GLOBAL_EXTERN) {
      throw refuse(place, name, "is defined in the object's BTF, but not in its symbol table")
    }
    const weak = Elf.symbolBinding(symbols, index) === Elf.STB_WEAK
    const section = sectionOf.get(id)
    if (section === ".kconfig") {
      if (type._tag === "Func") throw refuse(place, name, "a function cannot be a kernel configuration value")
      found.push({ symbol: index, extern: kconfigExtern(btf, place, name, weak, type.type) })
    } else if (section === ".ksyms") {
      const typeId = type._tag === "Func" ? type.type : Btf.resolveType(btf, type.type)
      found.push({
        symbol: index,
        extern: { _tag: "Ksym", name, kernelName: essentialName(name), weak, isFunction: type._tag === "Func", typeId }
      })
    } else {
      throw refuse(
        place,
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

/** What rewriting the DATASECs of externs shares: a hostile object may have many of one name. */
interface Rewriting {
  readonly btf: Btf.Btf
  readonly editor: BtfEditor
  readonly ksyms: ReadonlySet<string>
  /** Offsets of configuration values by name. */
  readonly kconfig: ReadonlyMap<string, number>
  readonly kconfigSize: number
  /** Prototypes whose parameters have names by now. */
  readonly named: Set<number>
  /** An int of 32 bits, once it was needed. */
  int: number | undefined
  dummyVar: number | undefined
}

const intOf = (rewriting: Rewriting): number => {
  const { btf, editor } = rewriting
  for (let id = btf.firstId; id < btf.endId && rewriting.int === undefined; id++) {
    if (Btf.kindOf(btf, id) !== Kind.BTF_KIND_INT) continue
    const found = Btf.typeOf(btf, id)
    if (found._tag === "Int" && found.bits === 32) rewriting.int = id
  }
  rewriting.int ??= editor.addInt("int", 4, 1)
  return rewriting.int
}

/**
 * Rewrites the DATASEC of kernel symbols: every variable becomes a global int, every function a variable of one made-up
 * name, since the kernel accepts neither functions nor externs in a DATASEC. Throws `OpenError`.
 */
const rewriteKsyms = (rewriting: Rewriting, id: number): void => {
  const { btf, editor, named } = rewriting
  const section = Btf.typeOf(btf, id)
  if (section._tag !== "Datasec") return
  const int = intOf(rewriting)
  section.entries.forEach((entry, index) => {
    const member = Btf.typeOf(btf, entry.type)
    const name = member._tag === "Var" || member._tag === "Func" ? member.name : `type ${entry.type}`
    if ((member._tag !== "Var" && member._tag !== "Func") || !rewriting.ksyms.has(name)) {
      throw refuse({ section: ".ksyms", offset: entry.offset }, name, "is in .ksyms, but no symbol refers to it")
    }
    if (member._tag === "Func") {
      rewriting.dummyVar ??= editor.addVar(dummy, int, Kind.BTF_VAR_GLOBAL_ALLOCATED)
      editor.setFuncLinkage(entry.type, Kind.BTF_VAR_GLOBAL_ALLOCATED)
      const proto = named.has(member.type) ? undefined : Btf.typeOf(btf, member.type)
      named.add(member.type)
      if (proto?._tag === "FuncProto") {
        const dummyName = editor.addString(dummy)
        proto.params.forEach((param, position) => {
          if (param.type !== 0 && param.name === "") editor.setParamNameOffset(member.type, position, dummyName)
        })
      }
      editor.setDatasecEntry(id, index, { type: rewriting.dummyVar, offset: index * 4, size: 4 })
    } else {
      editor.setVarLinkage(entry.type, Kind.BTF_VAR_GLOBAL_ALLOCATED)
      editor.setVarType(entry.type, int)
      editor.setDatasecEntry(id, index, { offset: index * 4, size: 4 })
    }
  })
  editor.setDatasecSize(id, section.entries.length * 4)
}

/** Rewrites the DATASEC of configuration values: global variables at the offsets that were laid out. */
const rewriteKconfig = (rewriting: Rewriting, id: number): void => {
  const { btf, editor } = rewriting
  const section = Btf.typeOf(btf, id)
  if (section._tag !== "Datasec") return
  section.entries.forEach((entry, index) => {
    const member = Btf.typeOf(btf, entry.type)
    const name = member._tag === "Var" ? member.name : `type ${entry.type}`
    const offset = rewriting.kconfig.get(name)
    if (offset === undefined) {
      throw refuse({ section: ".kconfig", offset: entry.offset }, name, "is in .kconfig, but no symbol refers to it")
    }
    editor.setVarLinkage(entry.type, Kind.BTF_VAR_GLOBAL_ALLOCATED)
    editor.setDatasecEntry(id, index, { offset })
  })
  editor.setDatasecSize(id, rewriting.kconfigSize)
}

/** Rewrites both DATASECs of externs in the object's BTF. Throws `OpenError`. */
export const rewrite = (btf: Btf.Btf, editor: BtfEditor, externs: ReadonlyArray<Extern>): void => {
  if (externs.length === 0) return
  const ksyms = new Set<string>()
  const kconfig = new Map<string, number>()
  for (const extern of externs) {
    if (extern._tag === "Ksym") ksyms.add(extern.name)
    else kconfig.set(extern.name, extern.dataOffset)
  }
  const rewriting: Rewriting = {
    btf,
    editor,
    ksyms,
    kconfig,
    kconfigSize: kconfigSize(externs),
    named: new Set(),
    int: undefined,
    dummyVar: undefined
  }
  for (let id = btf.firstId; id < btf.endId; id++) {
    if (Btf.kindOf(btf, id) !== Kind.BTF_KIND_DATASEC) continue
    const name = Btf.nameOf(btf, id)
    if (name === ".ksyms") rewriteKsyms(rewriting, id)
    else if (name === ".kconfig") rewriteKconfig(rewriting, id)
    else continue
    editor.sortDatasec(id)
  }
}
