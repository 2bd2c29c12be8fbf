/**
 * Symbols of all files by name: who mentions each, and which mention counts.
 *
 * Two definitions that are not weak conflict, whatever order the files are in. Of the others a strong definition wins,
 * else the first weak one. An extern never counts as a definition, nor does it make a weak one strong, as it does in
 * libbpf.
 *
 * Source: reference page `linker`, section 5.
 */
import * as Btf from "../btf/Btf.ts"
import * as Elf from "../services/Elf/Elf.ts"
import { EXTERN_DATASEC, type Input, type InputSection, within } from "./Input.ts"
import { refuse } from "./LinkError.ts"
import { sideOf } from "./Sides.ts"

/** What one file says of a global symbol. */
export interface Mention {
  readonly input: Input
  /** Index in the file's symbol table. */
  readonly symbol: number
  readonly isDefined: boolean
  readonly isWeak: boolean
  readonly isHidden: boolean
  readonly type: number
  /** Bytes from the start of the section, and of the symbol; 0 for an extern. */
  readonly value: number
  readonly size: number
  /** Where it is defined; of an extern where its DATASEC says that it is. */
  readonly section: InputSection | undefined
  /** The VAR or FUNC, 0 where the types do not have it. */
  readonly typeId: number
  /** Its bytes in the DATASEC. */
  readonly entrySize: number
}

/** Why a mention counts. */
export type Why = "only" | "strong" | "firstWeak" | "extern"

/** A global symbol of the output. */
export interface Global {
  readonly name: string
  /** In the order of the files. */
  readonly mentions: Array<Mention>
  /** The first definition that is not weak. */
  strong: Mention | undefined
}

/** All global symbols, in the order in which they were first mentioned. */
export type Globals = Map<string, Global>

/** A symbol as the types of a file describe it. */
export interface Described {
  readonly typeId: number
  readonly section: InputSection | undefined
  readonly entrySize: number
  readonly isAmbiguous: boolean
}

/** What the types of a file say of each symbol that is not static. */
export const describe = (input: Input): ReadonlyMap<string, Described> => {
  const described = new Map<string, Described>()
  const { btf } = input
  if (btf === undefined) return described
  const put = (typeId: number, section: InputSection | undefined, entrySize: number): void => {
    if (isStatic(btf, typeId)) return
    const name = input.shared.get(typeId) ?? Btf.nameOf(btf, typeId)
    input.shared.set(typeId, name)
    const before = described.get(name)
    if (before === undefined || (before.typeId === typeId && before.section === undefined)) {
      described.set(name, { typeId, section, entrySize, isAmbiguous: before?.isAmbiguous ?? false })
    } else described.set(name, { ...before, isAmbiguous: true })
  }
  for (const kind of [Btf.BTF_KIND_VAR, Btf.BTF_KIND_FUNC]) {
    for (const id of Btf.idsOfKind(btf, kind)) put(id, undefined, 0)
  }
  for (const section of input.sections) {
    if (section.datasec === 0) continue
    const type = Btf.typeOf(btf, section.datasec)
    if (type._tag !== "Datasec") continue
    for (const entry of type.entries) {
      const kind = Btf.kindOf(btf, entry.type)
      if (kind !== Btf.BTF_KIND_VAR && kind !== Btf.BTF_KIND_FUNC) {
        refuse("Btf", `type ${entry.type} in its DATASEC is neither a variable nor a function`, within(input, section))
      }
      put(entry.type, section, entry.size)
    }
  }
  return described
}

/** Whether a VAR or FUNC belongs to one file alone. */
export const isStatic = (btf: Btf.Btf, id: number): boolean => {
  if (Btf.kindOf(btf, id) === Btf.BTF_KIND_FUNC) return Btf.vlenOf(btf, id) === Btf.BTF_FUNC_STATIC
  if (Btf.kindOf(btf, id) !== Btf.BTF_KIND_VAR) return false
  // The word behind the common ones, read in place: there may be very many variables.
  const { littleEndian, view } = btf.internal
  return view.getUint32((btf.offsets[id - btf.firstId] ?? 0) + Btf.BTF_TYPE_SIZE, littleEndian) === Btf.BTF_VAR_STATIC
}

/** The section of jump tables, whose symbols are those of each file alone, whatever their binding. */
export const JUMP_TABLES = ".jumptables"

/** Adds what a file mentions. Throws `LinkError`. */
export const addGlobals = (globals: Globals, input: Input): void => {
  const { btf, sections, symbols } = input
  const described = describe(input)
  const defined = new Set<string>()
  for (let symbol = 1; symbol < symbols.count; symbol++) {
    const binding = Elf.symbolBinding(symbols, symbol)
    if (binding === Elf.STB_LOCAL) continue
    const index = Elf.symbolSection(symbols, symbol)
    const isDefined = index !== Elf.SHN_UNDEF
    const own = isDefined ? sections[index] : undefined
    if (isDefined && (own === undefined || own.use !== "Data" || own.name === JUMP_TABLES)) continue
    const name = Elf.symbolName(symbols, symbol)
    if (!isDefined && btf === undefined) {
      refuse("MissingBtf", "an extern is declared, and the file has no types that say what it is", {
        file: input.name,
        symbol: name,
        hint: "compile with -g"
      })
    }
    const about = described.get(name)
    if (about?.isAmbiguous === true) {
      refuse("Ambiguous", "the types describe the symbol twice", { file: input.name, symbol: name })
    }
    if (about === undefined && !isDefined) {
      refuse("MissingBtf", "the types do not say what the extern is", {
        file: input.name,
        symbol: name,
        hint: "compile with -g"
      })
    }
    if (isDefined) defined.add(name)
    const section = own ?? about?.section
    if (own !== undefined && about?.section !== undefined && about.section !== own) {
      refuse("Btf", `the types put the symbol into section ${about.section.name}`, {
        ...within(input, own),
        symbol: name
      })
    }
    add(globals, name, {
      input,
      symbol,
      isDefined,
      isWeak: binding === Elf.STB_WEAK,
      isHidden: Elf.symbolVisibility(symbols, symbol) === Elf.STV_HIDDEN,
      type: Elf.symbolType(symbols, symbol),
      value: Elf.symbolOffset(symbols, symbol),
      size: Elf.symbolLength(symbols, symbol),
      section: section?.name === EXTERN_DATASEC ? undefined : section,
      typeId: about?.typeId ?? 0,
      entrySize: about?.entrySize ?? 0
    })
  }
  checkVariables(input, described, defined)
}

/** A variable that the types call global must be one: a symbol says where it is. */
const checkVariables = (
  input: Input,
  described: ReadonlyMap<string, Described>,
  defined: ReadonlySet<string>
): void => {
  const { btf } = input
  if (btf === undefined) return
  for (const [name, { section, typeId }] of described) {
    if (section?.use !== "Data" || section.name === JUMP_TABLES || defined.has(name)) continue
    const type = Btf.typeOf(btf, typeId)
    if (type._tag !== "Var" || type.linkage !== Btf.BTF_VAR_GLOBAL_ALLOCATED) continue
    refuse("Btf", "the types have the variable in this section, and no symbol says where", {
      ...within(input, section),
      symbol: name
    })
  }
}

const add = (globals: Globals, name: string, mention: Mention): void => {
  const isStrong = mention.isDefined && !mention.isWeak
  const global = globals.get(name)
  if (global === undefined) {
    globals.set(name, { name, mentions: [mention], strong: isStrong ? mention : undefined })
    return
  }
  if (isStrong) {
    if (global.strong !== undefined) {
      refuse("Duplicate", "it is defined twice, and neither definition is weak", {
        ...within(mention.input, mention.section),
        symbol: name,
        sides: [sideOf(global.strong), sideOf(mention)],
        hint: "make one of them static or __weak, or declare it extern"
      })
    }
    global.strong = mention
  }
  global.mentions.push(mention)
}

/** The mention that counts, and why. */
export const winnerOf = (global: Global): { readonly winner: Mention; readonly why: Why } => {
  const { mentions, strong } = global
  const [first] = mentions
  if (first === undefined) throw new RangeError("a symbol that nobody mentions")
  const definitions = mentions.filter(({ isDefined }) => isDefined)
  const [definition] = definitions
  if (definition === undefined) return { winner: mentions.find(({ isWeak }) => !isWeak) ?? first, why: "extern" }
  if (definitions.length === 1) return { winner: definition, why: "only" }
  return strong === undefined ? { winner: definition, why: "firstWeak" } : { winner: strong, why: "strong" }
}
