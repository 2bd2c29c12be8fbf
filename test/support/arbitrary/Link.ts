/**
 * Arbitrary groups of objects that link: functions, variables and maps that some files define, some weakly, and others
 * declare extern; statics of names that are others' globals; hidden ones. The group says what every reference must lead to.
 *
 * What a function or variable is can be told from its value, which is different in each file.
 */
import * as fc from "fast-check"
import * as Encode from "../../../src/insn/Encode.ts"
import * as Elf from "../../../src/services/Elf/Elf.ts"
import { build, EXEC, inOrder } from "../../unit/stages/ObjectBuilder.ts"
import type { ObjectSpec, RelocationSpec, SectionSpec, SymbolSpec } from "../../unit/stages/ObjectBuilder.ts"
import * as B from "./BtfBlob.ts"
import { infos, type Placed } from "./Elf.ts"

/** What a file says of a symbol. */
export type Role = "none" | "strong" | "weak" | "extern" | "static"

/** What all files share of a symbol: its kind, and for a variable its section and size in bytes. */
export type Shape =
  | { readonly _tag: "Function" }
  | { readonly _tag: "Variable"; readonly section: string; readonly size: 1 | 2 | 4 | 8 }
  | { readonly _tag: "Map"; readonly maxEntries: number }

/** A file of a group. */
export interface FileModel {
  /** By symbol. */
  readonly roles: ReadonlyArray<Role>
  readonly hidden: ReadonlyArray<boolean>
  /** Its programs: their sections, and the symbols that each refers to. */
  readonly programs: ReadonlyArray<{ readonly section: string; readonly refersTo: ReadonlyArray<number> }>
  /** The symbols, all of them behind it, that each function refers to where the file defines it. */
  readonly calls: ReadonlyArray<ReadonlyArray<number>>
  readonly withInfos: boolean
}

/** A group of files. */
export interface Group {
  readonly byteOrder: Elf.ByteOrder
  readonly symbols: ReadonlyArray<Shape>
  readonly files: ReadonlyArray<FileModel>
}

const sections = ["socket", "xdp", "tc", "raw_tp/sys_enter"]

const shape: fc.Arbitrary<Shape> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ _tag: "Function" as const }) },
  {
    weight: 3,
    arbitrary: fc.record({
      _tag: fc.constant("Variable" as const),
      section: fc.constantFrom(".data", ".rodata", ".data.custom"),
      size: fc.constantFrom(1, 2, 4, 8)
    })
  },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("Map" as const), maxEntries: fc.integer({ min: 1, max: 9 }) }) }
)

const role = fc.oneof(
  { weight: 2, arbitrary: fc.constant("none" as const) },
  { weight: 2, arbitrary: fc.constant("strong" as const) },
  { weight: 2, arbitrary: fc.constant("weak" as const) },
  { weight: 4, arbitrary: fc.constant("extern" as const) },
  { weight: 1, arbitrary: fc.constant("static" as const) }
)

const picks = fc.array(fc.nat(20), { maxLength: 4 })

const fileModel = (symbols: ReadonlyArray<Shape>): fc.Arbitrary<FileModel> =>
  fc.record({
    roles: fc.tuple(...symbols.map(() => role)),
    hidden: fc.tuple(...symbols.map(() => fc.integer({ min: 0, max: 5 }).map((value) => value === 0))),
    programs: fc.array(
      fc.record({
        section: fc.constantFrom(...sections),
        refersTo: picks.map((list) => list.map((pick) => pick % symbols.length))
      }),
      { minLength: 1, maxLength: 3 }
    ),
    calls: fc.tuple(...symbols.map((_, index) =>
      picks.map((list) =>
        index + 1 === symbols.length ? [] : list.map((pick) => index + 1 + pick % (symbols.length - index - 1))
      )
    )),
    withInfos: fc.boolean()
  })

/** At most one strong definition of each symbol, no static maps, and a definition of all that is declared. */
const linkable = (symbols: ReadonlyArray<Shape>, files: ReadonlyArray<FileModel>): ReadonlyArray<FileModel> => {
  const roles = files.map((file) => [...file.roles])
  for (const [index, { _tag }] of symbols.entries()) {
    let strong = false
    for (const own of roles) {
      const given = own[index] ?? "none"
      own[index] = _tag === "Map" && given === "static" ? "none" : given === "strong" && strong ? "weak" : given
      strong ||= own[index] === "strong"
    }
    const said = new Set(roles.map((own) => own[index]))
    const last = roles.at(-1)
    if (said.has("extern") && !said.has("strong") && !said.has("weak") && last !== undefined) {
      last[index] = "strong"
    }
  }
  return files.map((file, index) => ({ ...file, roles: roles[index] ?? [] }))
}

/** Groups of files that link, with a result that is whole. */
export const groups = (files: { readonly min: number; readonly max: number }): fc.Arbitrary<Group> =>
  fc.array(shape, { minLength: 1, maxLength: 7 }).chain((symbols) =>
    fc.record({
      byteOrder: fc.constantFrom("little", "big"),
      symbols: fc.constant(symbols),
      files: fc.array(fileModel(symbols), { minLength: files.min, maxLength: files.max }).map((list) =>
        linkable(symbols, list)
      )
    })
  )

/**
 * The group without what comes before a symbol's definition, the strong one if there is one: what libbpf's linker is right
 * about.
 */
export const definedFirst = (group: Group): Group => {
  const order = group.files.map((_, file) => file)
  const owners = group.symbols.map((_, symbol) => winner(group, order, symbol) ?? 0)
  return {
    ...group,
    files: group.files.map((file, at) => ({
      ...file,
      roles: file.roles.map((role, symbol) => role !== "static" && at < (owners[symbol] ?? 0) ? "none" : role)
    }))
  }
}

/** The name of a symbol, which statics share with globals. */
export const symbolName = (index: number): string => `shared_${index}`
/** The name of a program, which is different in each file. */
export const programName = (file: number, index: number): string => `program_${file}_${index}`

/** The file whose definition the others' references lead to: the strong one, else the first weak one. */
export const winner = (group: Group, order: ReadonlyArray<number>, symbol: number): number | undefined => {
  const said = (role: Role): number | undefined => order.find((file) => group.files[file]?.roles[symbol] === role)
  return said("strong") ?? said("weak")
}

/** What tells a file's definition of a symbol from all others. */
const valueOf = (file: number, symbol: number): number => 1 + file * 16 + symbol

const bytesOf = (value: number, size: number, order: Elf.ByteOrder): Uint8Array => {
  const bytes = new Uint8Array(size)
  bytes[order === "little" ? 0 : size - 1] = value
  return bytes
}

/** What a program of a file must refer to after linking in this order, as `references` of LinkMeaning tells it. */
export const expectedReferences = (
  group: Group,
  order: ReadonlyArray<number>,
  file: number,
  refersTo: ReadonlyArray<number>,
  depth = 0
): ReadonlyArray<string> =>
  depth > 8 ? [] : refersTo.flatMap((symbol) => {
    const roleHere = group.files[file]?.roles[symbol] ?? "none"
    if (roleHere === "none") return []
    const owner = roleHere === "static" ? file : winner(group, order, symbol) ?? -1
    const shape = group.symbols[symbol]
    if (shape === undefined) return []
    if (shape._tag === "Map") return [`map ${symbolName(symbol)} ${shape.maxEntries}`]
    if (shape._tag === "Variable") {
      const value = bytesOf(valueOf(owner, symbol), shape.size, group.byteOrder)
      return [`${shape.section} ${symbolName(symbol)} ${Buffer.from(value).toString("hex")}`]
    }
    return [
      `function ${valueOf(owner, symbol)}`,
      ...expectedReferences(group, order, owner, group.files[owner]?.calls[symbol] ?? [], depth + 1)
    ]
  })

/** The names that a final link of these files does not find. */
export const unresolved = (group: Group, files: ReadonlyArray<number>): ReadonlyArray<string> =>
  group.symbols.flatMap((_, symbol) => {
    const said = new Set(files.map((file) => group.files[file]?.roles[symbol]))
    return said.has("extern") && !said.has("strong") && !said.has("weak") ? [symbolName(symbol)] : []
  })

/** The description of a file of a group. */
export const specOf = (group: Group, file: number): ObjectSpec => {
  const { byteOrder, symbols } = group
  const model = group.files[file]
  if (model === undefined) throw new Error(`no file ${file}`)
  const code = new Map<string, Array<Uint8Array>>()
  const data = new Map<string, Array<{ readonly at: number; readonly bytes: Uint8Array }>>()
  const sizes = new Map<string, number>()
  const made: Array<SymbolSpec> = []
  const relocations: Array<RelocationSpec> = []
  const placed: Array<Placed> = []
  const types: Array<B.Rec> = []
  const add = (type: B.Rec): number => types.push(type)
  const int = add(B.int("int", 4, 1))
  const sized = new Map(([1, 2, 4, 8] as const).map((size) => [size, add(B.int(`u${size * 8}`, size))]))
  const node = add(B.struct("node", 16, [["next", types.length + 2, 0], ["value", int, 64]]))
  const number = (value: number): number => add(B.ptr(add(B.array(int, int, value))))
  const proto = add(B.funcProto(int, [["context", add(B.ptr(node))]]))
  const members = new Map<string, Array<readonly [number, number, number]>>()
  const staticAt = new Map<number, number>()
  const linkageOf = (role: Role): number => (role === "static" ? 0 : role === "extern" ? 2 : 1)
  const bindingOf = (role: Role): number =>
    role === "static" ? Elf.STB_LOCAL : role === "weak" ? Elf.STB_WEAK : Elf.STB_GLOBAL

  // Variables and maps first: a static is referred to by its section and place.
  for (const [index, shape] of symbols.entries()) {
    const role = model.roles[index] ?? "none"
    if (role === "none" || shape._tag === "Function") continue
    const section = shape._tag === "Map" ? ".maps" : shape.section
    const size = shape._tag === "Map" ? 32 : shape.size
    const definition = shape._tag === "Variable" ? sized.get(shape.size) ?? int : add(B.struct("", 32, [
      ["type", number(2), 0],
      ["max_entries", number(shape.maxEntries), 64],
      ["key", add(B.ptr(int)), 128],
      ["value", add(B.ptr(sized.get(8) ?? int)), 192]
    ]))
    const variable = add(B.variable(symbolName(index), definition, linkageOf(role)))
    const entries = members.get(section) ?? []
    if (role === "extern") {
      // The compiler lists an extern in the section that its declaration names.
      if (shape._tag === "Map") {
        members.set(section, entries)
        entries.push([variable, 0, size])
      }
      made.push({ name: symbolName(index), section: 0, type: Elf.STT_NOTYPE, binding: Elf.STB_GLOBAL })
      continue
    }
    members.set(section, entries)
    const at = Math.ceil((sizes.get(section) ?? 0) / size) * size
    sizes.set(section, at + size)
    entries.push([variable, at, size])
    const bytes = shape._tag === "Map" ? new Uint8Array(32) : bytesOf(valueOf(file, index), size, byteOrder)
    data.set(section, [...(data.get(section) ?? []), { at, bytes }])
    staticAt.set(index, at)
    made.push({
      name: symbolName(index),
      section,
      value: at,
      size,
      type: Elf.STT_OBJECT,
      binding: bindingOf(role),
      // Loaders take no hidden maps.
      visibility: model.hidden[index] === true && role !== "static" && shape._tag !== "Map"
        ? Elf.STV_HIDDEN
        : Elf.STV_DEFAULT
    })
  }

  const pending: Array<{ readonly section: string; readonly at: number; readonly symbol: number }> = []
  const put = (name: string, section: string, first: number, refersTo: ReadonlyArray<number>): number => {
    const chunks = code.get(section) ?? []
    code.set(section, chunks)
    const start = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    let at = start
    const emit = (insns: Uint8Array): void => {
      chunks.push(insns)
      at += insns.length
    }
    emit(Encode.mov64Imm(0, first))
    for (const symbol of refersTo) {
      const role = model.roles[symbol] ?? "none"
      const shape = symbols[symbol]
      if (role === "none" || shape === undefined) continue
      pending.push({ section, at, symbol })
      emit(shape._tag === "Function" ? Encode.callSubprogram(-1) : Encode.ldImm64(2, 0n))
    }
    emit(Encode.exit())
    const funcId = add(B.func(name, proto, 1))
    placed.push({ name, section, at: start, size: at - start, funcId })
    return start
  }

  for (const [index, shape] of symbols.entries()) {
    const role = model.roles[index] ?? "none"
    if (role === "none" || shape._tag !== "Function") continue
    if (role === "extern") {
      add(B.func(symbolName(index), proto, 2))
      made.push({ name: symbolName(index), section: 0, type: Elf.STT_NOTYPE, binding: Elf.STB_GLOBAL })
      continue
    }
    const start = put(symbolName(index), ".text", valueOf(file, index), model.calls[index] ?? [])
    types[types.length - 1] = B.func(symbolName(index), proto, linkageOf(role))
    staticAt.set(index, start)
    made.push({
      name: symbolName(index),
      section: ".text",
      value: start,
      size: (placed.at(-1)?.size) ?? 0,
      binding: bindingOf(role),
      visibility: model.hidden[index] === true && role !== "static" ? Elf.STV_HIDDEN : Elf.STV_DEFAULT
    })
  }
  for (const [index, { refersTo, section }] of model.programs.entries()) {
    const name = programName(file, index)
    const value = put(name, section, valueOf(file, 15), refersTo)
    made.push({ name, section, value, size: placed.at(-1)?.size ?? 0 })
  }

  // References: to statics by section and place, as compilers write them, to others by symbol.
  const whole = new Map([...code].map(([name, chunks]) => [name, Encode.program(...chunks)]))
  const sectionSymbols = new Set<string>()
  for (const { at, section, symbol } of pending) {
    const shape = symbols[symbol]
    const isCall = shape?._tag === "Function"
    const role = model.roles[symbol] ?? "none"
    const type = isCall ? 10 : 1
    if (role !== "static") {
      relocations.push({ section, offset: at, symbol: symbolName(symbol), type })
      continue
    }
    const target = isCall ? ".text" : shape?._tag === "Variable" ? shape.section : ".maps"
    sectionSymbols.add(target)
    const place = staticAt.get(symbol) ?? 0
    const insns = whole.get(section)
    if (insns !== undefined) {
      new DataView(insns.buffer, insns.byteOffset).setInt32(at + 4, isCall ? place / 8 - 1 : place, true)
    }
    relocations.push({ section, offset: at, symbol: `section ${target}`, type })
  }

  const specs: Array<SectionSpec> = []
  for (const [name, insns] of whole) specs.push({ name, flags: EXEC, bytes: inOrder(insns, byteOrder) })
  specs.push({ name: "license", flags: Elf.SHF_ALLOC | Elf.SHF_WRITE, bytes: new TextEncoder().encode("GPL\0") })
  for (const [name, pieces] of data) {
    const bytes = new Uint8Array(sizes.get(name) ?? 0)
    for (const piece of pieces) bytes.set(piece.bytes, piece.at)
    specs.push({ name, flags: name === ".rodata" ? Elf.SHF_ALLOC : Elf.SHF_ALLOC | Elf.SHF_WRITE, bytes })
  }
  for (const [name, entries] of members) add(B.datasec(name, sizes.get(name) ?? 0, entries))
  const moreStrings = ["0", "prog.bpf.c", "int program(void *ctx)", ...code.keys()]
  const btf = B.blob(types, { order: byteOrder, moreStrings })
  const isLocal = (symbol: SymbolSpec): boolean => symbol.binding === Elf.STB_LOCAL
  const ofSections = [...sectionSymbols].map((section): SymbolSpec => ({
    name: "",
    id: `section ${section}`,
    section,
    type: Elf.STT_SECTION,
    binding: Elf.STB_LOCAL
  }))
  return {
    byteOrder,
    sections: specs,
    symbols: [...made.filter(isLocal), ...ofSections, ...made.filter((symbol) => !isLocal(symbol))],
    relocations,
    btf,
    ...(model.withInfos ? { btfExt: infos(byteOrder, btf, placed, [], int) } : {})
  }
}

/** The files of a group, in this order: all of them, in theirs, unless it is given. */
export const filesOf = (
  group: Group,
  order: ReadonlyArray<number> = group.files.map((_, index) => index)
): ReadonlyArray<{ readonly name: string; readonly bytes: Uint8Array }> =>
  order.map((file) => ({ name: `file_${file}.o`, bytes: build(specOf(group, file)) }))
