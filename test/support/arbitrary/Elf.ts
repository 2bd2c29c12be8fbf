/**
 * Arbitrary object files: programs, subprograms, maps, globals, relocations, BTF and BTF.ext that fit one another.
 *
 * - Well-formed: what a compiler might have made; opens, relocates and plans.
 * - Nearly well-formed: ELF and BTF parse, and something in them does not fit: a symbol, a relocation, a size.
 * - Hostile: damaged bytes.
 *
 * `ElfImage` has arbitrary ELF images, which are no objects of BPF.
 */
import * as fc from "fast-check"
import * as Encode from "../../../src/insn/Encode.ts"
import * as Elf from "../../../src/services/Elf/Elf.ts"
import { build, EXEC, inOrder } from "../../unit/stages/ObjectBuilder.ts"
import type { ObjectSpec, RelocationSpec, SectionSpec, SymbolSpec } from "../../unit/stages/ObjectBuilder.ts"
import * as Mutate from "../Mutate.ts"
import { programs } from "./Btf.ts"
import * as B from "./BtfBlob.ts"
import { layoutOf, lower } from "./BtfC.ts"
import type { CProgram } from "./BtfC.ts"
import { stream } from "./Insn.ts"
import type { Sample } from "./Insn.ts"

/** What is in an object, before it is bytes. */
export interface ObjectParts {
  readonly byteOrder: Elf.ByteOrder
  /** C types that the object's BTF has beside its own. */
  readonly program: CProgram
  readonly programs: ReadonlyArray<FunctionPart & { readonly section: string }>
  readonly subprograms: ReadonlyArray<FunctionPart>
  readonly maps: ReadonlyArray<MapPart>
  readonly globals: ReadonlyArray<GlobalPart>
  readonly withInfos: boolean
}

/** A function: plain instructions, then what it refers to, then an exit. */
export interface FunctionPart {
  readonly body: ReadonlyArray<Sample>
  readonly refersTo: ReadonlyArray<{ readonly what: "map" | "global" | "subprogram" | "type"; readonly pick: number }>
  readonly isStatic: boolean
}

/** A map of the section `.maps`; its value may be a type of the program. */
export interface MapPart {
  readonly type: number
  readonly maxEntries: number
  readonly valuePick: number
}

/** A variable of a data section. */
export interface GlobalPart {
  readonly section: ".data" | ".bss" | ".rodata"
  readonly size: 1 | 2 | 4 | 8
  readonly value: number
}

const sections = [
  "socket",
  "xdp",
  "tc",
  "kprobe/do_unlinkat",
  "tracepoint/syscalls/sys_enter_openat",
  "raw_tp/sys_enter",
  "perf_event",
  "cgroup_skb/egress"
]

const functionPart: fc.Arbitrary<FunctionPart> = fc.record({
  body: fc.oneof({ weight: 1, arbitrary: fc.constant([]) }, { weight: 3, arbitrary: stream(6) }),
  refersTo: fc.array(
    fc.record({ what: fc.constantFrom("map", "global", "subprogram", "type"), pick: fc.nat(20) }),
    { maxLength: 4 }
  ),
  isStatic: fc.boolean()
})

/** The parts of an object that fit each other. */
export const parts: fc.Arbitrary<ObjectParts> = fc.record({
  byteOrder: fc.constantFrom("little", "big"),
  program: programs({ loadable: true, withoutVariables: true, maxLength: 4 }),
  programs: fc.array(fc.tuple(functionPart, fc.constantFrom(...sections)), { minLength: 1, maxLength: 4 }).map((list) =>
    list.map(([part, section]) => ({ ...part, section }))
  ),
  subprograms: fc.array(functionPart, { maxLength: 3 }),
  // Hash, array, per-CPU hash and per-CPU array.
  maps: fc.array(
    fc.record({
      type: fc.constantFrom(1, 2, 5, 6),
      maxEntries: fc.integer({ min: 1, max: 10_000 }),
      valuePick: fc.nat(20)
    }),
    { maxLength: 3 }
  ),
  globals: fc.array(
    fc.record({
      section: fc.constantFrom(".data", ".bss", ".rodata"),
      size: fc.constantFrom(1, 2, 4, 8),
      value: fc.nat(255)
    }),
    { maxLength: 5 }
  ),
  withInfos: fc.boolean()
})

/** A function in the code of its section. */
export interface Placed {
  readonly name: string
  readonly section: string
  readonly at: number
  readonly size: number
  readonly funcId: number
}

const globalName = (index: number): string => `global_${index}`
const mapName = (index: number): string => `map_${index}`
const subprogramName = (index: number): string => `subprogram_${index}`
const programName = (index: number): string => `program_${index}`

/** Where each global is in its section. */
const placeGlobals = (globals: ReadonlyArray<GlobalPart>) => {
  const ends = new Map<string, number>()
  return globals.map((global) => {
    const at = Math.ceil((ends.get(global.section) ?? 0) / global.size) * global.size
    ends.set(global.section, at + global.size)
    return { ...global, at }
  })
}

/** The types of an object: those of its program, then map definitions, globals and functions. */
const typesOf = (parts: ObjectParts) => {
  const lowered = lower(parts.program)
  const types = [...lowered.types]
  const add = (type: B.Rec): number => types.push(type)
  const all = new Map(parts.program.declarations.map((declaration) => [declaration.key, declaration]))
  // What a map's value may be.
  const values = parts.program.declarations.filter((declaration) => {
    if (declaration._tag !== "Tagged") return false
    const size = layoutOf(all, declaration.type)?.size ?? 0
    return size > 0 && size <= 4096
  })
  const int = add(B.int("int", 4, 1))
  const u64 = add(B.int("unsigned long long", 8))
  const sized = new Map([1, 2, 4, 8].map((size) => [size, add(B.int(`u${size * 8}`, size))]))
  const number = (value: number): number => add(B.ptr(add(B.array(int, int, value))))
  const mapVars: Array<number> = []
  for (const [index, map] of parts.maps.entries()) {
    const value = values[map.valuePick % (values.length + 1)]
    const members: ReadonlyArray<readonly [string, number]> = [
      ["type", number(map.type)],
      ["max_entries", number(map.maxEntries)],
      ["key", add(B.ptr(int))],
      ["value", add(B.ptr(value === undefined ? u64 : lowered.ids.get(value.key) ?? u64))]
    ]
    const definition = add(B.struct("", 32, members.map(([name, type], at): B.MemberRec => [name, type, at * 64])))
    mapVars.push(add(B.variable(mapName(index), definition, 1)))
  }
  if (mapVars.length > 0) {
    add(B.datasec(".maps", 32 * mapVars.length, mapVars.map((id, index) => [id, index * 32, 32] as const)))
  }
  const globals = placeGlobals(parts.globals)
  for (const section of new Set(globals.map((global) => global.section))) {
    const entries: Array<readonly [number, number, number]> = []
    let size = 0
    for (const [index, global] of globals.entries()) {
      if (global.section !== section) continue
      const type = sized.get(global.size) ?? int
      entries.push([add(B.variable(globalName(index), type, 1)), global.at, global.size])
      size = global.at + global.size
    }
    add(B.datasec(section, size, entries))
  }
  const proto = add(B.funcProto(int, [["ctx", add(B.ptr(0))]]))
  const func = (name: string, isStatic: boolean): number => add(B.func(name, proto, isStatic ? 0 : 1))
  const subprograms = parts.subprograms.map((part, index) => func(subprogramName(index), part.isStatic))
  const mains = parts.programs.map((_, index) => func(programName(index), false))
  return { types, int, globals, subprograms, mains }
}

/** The description of an object file. */
export const specOf = (parts: ObjectParts): ObjectSpec => {
  const { globals, int, mains, subprograms, types } = typesOf(parts)
  const code = new Map<string, Array<Uint8Array>>()
  const relocations: Array<RelocationSpec> = []
  const symbols: Array<SymbolSpec> = []
  const placed: Array<Placed> = []
  const coreRecords: Array<{ readonly section: string; readonly at: number }> = []

  const put = (name: string, section: string, part: FunctionPart, funcId: number, from: number): void => {
    const chunks = code.get(section) ?? []
    code.set(section, chunks)
    const start = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    let at = start
    const emit = (insns: Uint8Array): void => {
      chunks.push(insns)
      at += insns.length
    }
    for (const { code } of part.body) emit(code)
    for (const { pick, what } of part.refersTo) {
      if (what === "map" && parts.maps.length > 0) {
        relocations.push({ section, offset: at, symbol: mapName(pick % parts.maps.length) })
        emit(Encode.ldImm64(1, 0n))
      } else if (what === "global" && globals.length > 0) {
        relocations.push({ section, offset: at, symbol: globalName(pick % globals.length) })
        emit(Encode.ldImm64(2, 0n))
      } else if (what === "subprogram" && from < parts.subprograms.length) {
        // Only later ones, so that no function calls itself.
        const callee = from + pick % (parts.subprograms.length - from)
        relocations.push({ section, offset: at, symbol: subprogramName(callee), type: 10 })
        emit(Encode.callSubprogram(-1))
      } else if (what === "type" && parts.withInfos) {
        coreRecords.push({ section, at })
        emit(Encode.mov64Imm(3, int))
      }
    }
    emit(Encode.mov64Imm(0, 0))
    emit(Encode.exit())
    placed.push({ name, section, at: start, size: at - start, funcId })
    const binding = part.isStatic ? Elf.STB_LOCAL : Elf.STB_GLOBAL
    symbols.push({ name, section, value: start, size: at - start, binding })
  }

  for (const [index, part] of parts.subprograms.entries()) {
    put(subprogramName(index), ".text", part, subprograms[index] ?? 0, index + 1)
  }
  for (const [index, part] of parts.programs.entries()) {
    put(programName(index), part.section, { ...part, isStatic: false }, mains[index] ?? 0, 0)
  }

  const made: Array<SectionSpec> = []
  for (const [name, chunks] of code) {
    made.push({ name, flags: EXEC, bytes: inOrder(Encode.program(...chunks), parts.byteOrder) })
  }
  made.push({ name: "license", flags: Elf.SHF_ALLOC | Elf.SHF_WRITE, bytes: new TextEncoder().encode("GPL\0") })
  if (parts.maps.length > 0) {
    const bytes = new Uint8Array(32 * parts.maps.length)
    made.push({ name: ".maps", flags: Elf.SHF_ALLOC | Elf.SHF_WRITE, bytes })
    for (const index of parts.maps.keys()) {
      symbols.push({ name: mapName(index), section: ".maps", value: index * 32, size: 32, type: Elf.STT_OBJECT })
    }
  }
  for (const section of new Set(globals.map((global) => global.section))) {
    const own = globals.filter((global) => global.section === section)
    const bytes = new Uint8Array(Math.max(...own.map((global) => global.at + global.size)))
    for (const global of own) bytes.fill(global.value, global.at, global.at + global.size)
    const flags = section === ".rodata" ? Elf.SHF_ALLOC : Elf.SHF_ALLOC | Elf.SHF_WRITE
    made.push(
      section === ".bss"
        ? { name: section, flags, type: Elf.SHT_NOBITS, size: bytes.length }
        : { name: section, flags, bytes }
    )
  }
  for (const [index, { at, section, size }] of globals.entries()) {
    symbols.push({ name: globalName(index), section, value: at, size, type: Elf.STT_OBJECT })
  }

  const moreStrings = ["0", "prog.bpf.c", "int program(void *ctx)", ...code.keys()]
  const btf = B.blob(types, { order: parts.byteOrder, moreStrings })
  // Locals before globals, as the format wants.
  const isLocal = (symbol: SymbolSpec): boolean => symbol.binding === Elf.STB_LOCAL
  return {
    byteOrder: parts.byteOrder,
    sections: made,
    symbols: [...symbols.filter(isLocal), ...symbols.filter((symbol) => !isLocal(symbol))],
    relocations,
    btf,
    ...(parts.withInfos ? { btfExt: infos(parts.byteOrder, btf, placed, coreRecords, int) } : {})
  }
}

/** A `.BTF.ext`: a function record and a line for each function, and what CO-RE has to do. */
export const infos = (
  byteOrder: Elf.ByteOrder,
  btf: Uint8Array,
  placed: ReadonlyArray<Placed>,
  coreRecords: ReadonlyArray<{ readonly section: string; readonly at: number }>,
  type: number
): Uint8Array => {
  const strings = B.stringsOf(btf)
  const text = (name: string): number => strings.get(name) ?? 0
  const segment = (size: number, records: ReadonlyArray<readonly [section: string, ...words: Array<number>]>) => {
    if (records.length === 0) return []
    const words = [size]
    for (const section of new Set(records.map(([section]) => section))) {
      const own = records.filter((record) => record[0] === section)
      words.push(text(section), own.length, ...own.flatMap(([, ...rest]) => rest))
    }
    return words
  }
  const segments = [
    segment(8, placed.map(({ at, funcId, section }) => [section, at, funcId])),
    segment(
      16,
      placed.map(({ at, section }, index) => [
        section,
        at,
        text("prog.bpf.c"),
        text("int program(void *ctx)"),
        (index + 1) * 1024
      ])
    ),
    // BPF_CORE_TYPE_ID_LOCAL of the type itself.
    segment(16, coreRecords.map(({ at, section }) => [section, at, type, text("0"), 6]))
  ]
  let offset = 0
  const header: Array<number> = []
  for (const words of segments) {
    header.push(offset, words.length * 4)
    offset += words.length * 4
  }
  const bytes = new Uint8Array(32 + offset)
  const view = new DataView(bytes.buffer)
  const little = byteOrder === "little"
  view.setUint16(0, 0xeb9f, little)
  view.setUint8(2, 1)
  for (const [index, word] of [32, ...header, ...segments.flat()].entries()) {
    view.setUint32(4 + index * 4, word, little)
  }
  return bytes
}

/** An object file and its parts. */
export interface ObjectFile {
  readonly parts: ObjectParts
  readonly bytes: Uint8Array
}

/** Objects whose parts fit each other. */
export const wellFormed: fc.Arbitrary<ObjectFile> = parts.map((parts) => ({ parts, bytes: build(specOf(parts)) }))

/** What does not fit in an object that is otherwise well-formed. */
type Misfit = (spec: ObjectSpec, at: number) => ObjectSpec

const changed = <A>(list: ReadonlyArray<A> | undefined, at: number, change: (each: A) => A): ReadonlyArray<A> =>
  (list ?? []).map((each, index) => index === at % (list?.length ?? 1) ? change(each) : each)

const misfits: Readonly<Record<string, Misfit>> = {
  "a symbol past its section": (spec, at) => ({
    ...spec,
    symbols: changed(spec.symbols, at, (symbol) => ({ ...symbol, value: 0xffff_fff8 }))
  }),
  "a symbol of another size": (spec, at) => ({
    ...spec,
    symbols: changed(spec.symbols, at, (symbol) => ({ ...symbol, size: 8 * (at % 5) }))
  }),
  "a symbol of another type": (spec, at) => ({
    ...spec,
    symbols: changed(spec.symbols, at, (symbol) => ({ ...symbol, type: at % 5 }))
  }),
  "a relocation at another place": (spec, at) => ({
    ...spec,
    relocations: changed(spec.relocations, at, (relocation) => ({ ...relocation, offset: at * 4 }))
  }),
  "a relocation of another symbol": (spec, at) => ({
    ...spec,
    relocations: changed(spec.relocations, at, (relocation) => ({
      ...relocation,
      symbol: spec.symbols?.[at % spec.symbols.length]?.name ?? ""
    }))
  }),
  "a relocation of another type": (spec, at) => ({
    ...spec,
    relocations: changed(spec.relocations, at, (relocation) => ({ ...relocation, type: at }))
  }),
  "a section of another name": (spec, at) => ({
    ...spec,
    sections: changed(
      spec.sections,
      at,
      (section) => ({ ...section, name: ["maps", ".ksyms", "?x", ""][at % 4] ?? "" })
    )
  }),
  "a section that is too short": (spec, at) => ({
    ...spec,
    sections: changed(
      spec.sections,
      at,
      (section) => section.bytes === undefined ? section : { ...section, bytes: section.bytes.subarray(at % 9) }
    )
  }),
  "types without a program": ({ btf: _btf, ...spec }) => spec,
  "programs without symbols": (spec) => ({ ...spec, withoutSymbols: true, relocations: [] })
}

/** Objects of which one thing does not fit. */
export const nearlyWellFormed: fc.Arbitrary<ObjectFile & { readonly misfit: string }> = fc
  .tuple(parts, fc.constantFrom(...Object.keys(misfits)), fc.nat(60))
  .map(([parts, misfit, at]) => ({
    parts,
    misfit,
    bytes: build(misfits[misfit]?.(specOf(parts), at) ?? specOf(parts))
  }))

/** Damaged object files. */
export const hostile: fc.Arbitrary<Uint8Array> = fc.tuple(wellFormed, Mutate.edits).map(([{ bytes }, edits]) => {
  const subject = Mutate.subject("arbitrary", bytes)
  return Mutate.apply(subject, edits, [subject])
})
