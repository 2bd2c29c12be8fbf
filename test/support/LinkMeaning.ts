/**
 * What an object means, as text that does not depend on where things are in it: the relation ≅ of law 4, which linking has
 * to keep.
 *
 * Instructions name what they refer to, by its content where names may repeat; maps, variables and externs are listed by
 * name with their types in C.
 */
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDedup from "../../src/btf/BtfDedup.ts"
import * as BtfDiff from "../../src/btf/BtfDiff.ts"
import * as BtfDump from "../../src/btf/BtfDump.ts"
import * as BtfExt from "../../src/btf/BtfExt.ts"
import * as Insn from "../../src/insn/Insn.ts"
import * as Open from "../../src/stages/open/Open.ts"
import { type Variable, variables } from "../../src/stages/open/Variables.ts"
import { toHex } from "./Peer.ts"

/** An object's meaning: lines of text by what they are about. */
export interface Meaning {
  readonly license: string
  /** Entry programs by name: instructions, each function that is called in its place. */
  readonly programs: ReadonlyArray<string>
  readonly maps: ReadonlyArray<string>
  readonly variables: ReadonlyArray<string>
  readonly externs: ReadonlyArray<string>
}

/** Opens an object under a name that all objects share, since names of maps depend on it. */
export const open = (bytes: Uint8Array): Open.BpfObject =>
  Result.getOrThrow(Open.fromBytes(bytes, { path: "object.o", relaxedMaps: true }))

const declarer = (object: Open.BpfObject): (id: number) => string => {
  const { btf } = object
  if (btf === undefined) return () => "no type"
  const dumper = BtfDump.makeDumper(btf)
  const known = new Map<number, string>()
  return (id) => {
    const text = known.get(id) ??
      Result.match(BtfDump.declareType(dumper, id, { name: "it" }), {
        onFailure: () => Btf.typeOf(btf, id)._tag,
        // Names that repeat have numbers, by their order in the file.
        onSuccess: (declared) => declared.replace(/___\d+\b/g, "")
      })
    known.set(id, text)
    return text
  }
}

/** A variable with its first value, wherever it is. */
const variableText = (object: Open.BpfObject, declared: (id: number) => string, variable: Variable): string => {
  const value = object.maps[variable.map]?.initialValue?.subarray(variable.offset, variable.offset + variable.size)
  return `${variable.section} ${variable.global ? "global" : "static"} ${variable.name}: ${declared(variable.type)} = ${
    value === undefined ? "unknown" : toHex(value)
  }`
}

/** The variable that holds this byte of a map's value, else the bytes that are there. */
const placeText = (
  object: Open.BpfObject,
  declared: (id: number) => string,
  all: ReadonlyArray<Variable>,
  map: number,
  offset: number
): string => {
  const found = all.find((each) => each.map === map && each.offset <= offset && offset < each.offset + each.size)
  if (found !== undefined) return `${variableText(object, declared, found)} +${offset - found.offset}`
  const definition = object.maps[map]
  return `${definition?.sectionName} ${toHex(definition?.initialValue?.subarray(offset, offset + 8))}`
}

const kindOfRecord = (object: Open.BpfObject, declared: (id: number) => string, program: Open.Program) => {
  const { btfExt } = object
  const lines: Array<string> = []
  if (btfExt === undefined) return lines
  const section = program.optional ? `?${program.section}` : program.section
  const start = program.sectionSlot * 8
  const within = (offset: number): boolean => offset >= start && offset < start + program.sectionSlots * 8
  for (const block of btfExt.funcInfo?.sections ?? []) {
    for (let index = 0; block.section === section && index < block.count; index++) {
      const record = BtfExt.funcInfoAt(btfExt, block, index)
      if (!within(record.insnOffset)) continue
      const type = Btf.typeOf(btfExt.btf, record.typeId)
      lines.push(`function ${record.insnOffset - start} ${type._tag === "Func" ? type.name : type._tag}`)
    }
  }
  for (const block of btfExt.lineInfo?.sections ?? []) {
    for (let index = 0; block.section === section && index < block.count; index++) {
      const { column, fileName, insnOffset, line, lineNumber } = BtfExt.lineInfoAt(btfExt, block, index)
      if (within(insnOffset)) lines.push(`line ${insnOffset - start} ${fileName}:${lineNumber}:${column} ${line}`)
    }
  }
  for (const block of btfExt.coreRelocations?.sections ?? []) {
    for (let index = 0; block.section === section && index < block.count; index++) {
      const { accessString, insnOffset, kind, typeId } = BtfExt.coreRelocationAt(btfExt, block, index)
      if (within(insnOffset)) lines.push(`core ${insnOffset - start} ${kind} ${declared(typeId)} ${accessString}`)
    }
  }
  return lines
}

/** The text of every function, by position, with those that it calls. */
const functionTexts = (object: Open.BpfObject, withRecords: boolean): (position: number) => string => {
  const declared = declarer(object)
  const all = variables(object)
  const known = new Map<number, string>()
  const textOf = (position: number): string => {
    const ready = known.get(position)
    if (ready !== undefined) return ready
    const program = object.programs[position]
    if (program === undefined) return "no function"
    known.set(position, `${program.name} again`)
    const insns = program.insns.slice()
    const refers = new Map<number, string>()
    for (const relocation of program.relocations) {
      const { at } = relocation
      if (Insn.isLdImm64(insns, at)) Insn.setImm64(insns, at, 0n)
      else Insn.setImm(insns, at, 0)
      // Which kind of reference it is follows from what is referred to.
      Insn.setSrc(insns, at, 0)
      if (relocation._tag === "Map") refers.set(at, `map ${object.maps[relocation.map]?.name}`)
      else if (relocation._tag === "MapValue") {
        refers.set(at, placeText(object, declared, all, relocation.map, relocation.offset))
      } else if (relocation._tag === "Extern") refers.set(at, `extern ${object.externs[relocation.extern]?.name}`)
      else if (relocation._tag === "JumpTable") {
        refers.set(at, `table ${relocation.targets.map((target) => target - program.sectionSlot).join()}`)
      } else {
        const callee = Open.functionAt(object.programs, relocation.section, relocation.slot)
        refers.set(at, `${relocation._tag} {\n${callee === undefined ? "nowhere" : textOf(callee)}\n}`)
      }
    }
    const slots: Array<string> = []
    for (let slot = 0; slot < Insn.count(insns); slot = Insn.nextSlot(insns, slot)) {
      slots.push(`${toHex(Insn.bytes(insns, slot))} ${refers.get(slot) ?? ""}`.trimEnd())
    }
    const linkage = `${program.global ? "global" : "static"}${program.hidden ? " hidden" : ""}`
    const records = withRecords ? kindOfRecord(object, declared, program) : []
    const text = [`${linkage} ${program.name}`, ...slots, ...records].join("\n")
    known.set(position, text)
    return text
  }
  return textOf
}

const mapText = (object: Open.BpfObject, declared: (id: number) => string, map: Open.MapDefinition): string => {
  const { attr } = map
  const slots = map.slots.map((slot) =>
    slot._tag === "Map"
      ? `[${slot.slot}]=map ${object.maps[slot.map]?.name}`
      : `[${slot.slot}]=program ${object.programs[slot.program]?.name}`
  )
  const members = (map.structOps?.members ?? []).map(({ member, offset, program }) =>
    `${member}@${offset}=${object.programs[program]?.name}`
  )
  // Of a data section the size depends on the layout, and so do its bytes; its variables are listed by themselves.
  const size = Open.isGlobalData(map) ? "" : `${attr.keySize} ${attr.valueSize} ${attr.maxEntries}`
  const types = Open.isGlobalData(map) ? "" : `${declared(map.keyType)}; ${declared(map.valueType)}`
  const inner = map.inner === undefined ? "" : ` of ${mapText(object, declared, map.inner)}`
  return [
    `${map.origin} ${map.sectionName} ${map.name}: type ${attr.type}, ${size}, flags ${attr.flags}`,
    `node ${attr.numaNode}, extra ${attr.extra}, pin ${map.pinPath ?? "none"}, ${types}`,
    ...slots,
    ...members
  ].join(", ") + inner
}

const externText = (declared: (id: number) => string, extern: Open.Extern): string =>
  extern._tag === "Kconfig"
    ? `kconfig ${extern.name} ${extern.weak ? "weak" : "strong"} ${extern.kind} ${extern.size} ${extern.signed}`
    : `ksym ${extern.name} ${extern.weak ? "weak" : "strong"} ${extern.isFunction ? "function" : "variable"} ${
      declared(extern.typeId)
    }`

/** What to leave out of a meaning. */
export interface MeaningOptions {
  /** Whether functions, lines and CO-RE records stand with the instructions; true without it. */
  readonly records?: boolean
}

/** The meaning of an opened object. */
export const meaningOf = (object: Open.BpfObject, options: MeaningOptions = {}): Meaning => {
  const declared = declarer(object)
  const textOf = functionTexts(object, options.records !== false)
  return {
    license: object.license,
    programs: object.programs.flatMap((program, position) =>
      program.entry
        ? [
          `${program.name}: ${program.section} ${program.optional} ${program.type} ${program.expectedAttachType} ` +
          `${program.attachTarget}\n${textOf(position)}`
        ]
        : []
    ).sort(),
    maps: object.maps.map((map) => mapText(object, declared, map)).sort(),
    variables: variables(object).map((each) => variableText(object, declared, each)).sort(),
    externs: object.externs.map((extern) => externText(declared, extern)).sort()
  }
}

/** The meaning of an object file; throws where it does not open. */
export const meaning = (bytes: Uint8Array, options: MeaningOptions = {}): Meaning => meaningOf(open(bytes), options)

/**
 * What an entry program refers to, in order, by what tells definitions apart: of a function its first immediate value, of
 * a variable its first value, of a map its name and size; what a called function refers to follows the call.
 */
export const references = (object: Open.BpfObject, name: string): ReadonlyArray<string> => {
  const all = variables(object)
  const found: Array<string> = []
  const walk = (program: Open.Program | undefined, depth: number): void => {
    if (program === undefined || depth > 8) return
    for (const relocation of program.relocations.toSorted((a, b) => a.at - b.at)) {
      if (relocation._tag === "Call") {
        const callee = object.programs[Open.functionAt(object.programs, relocation.section, relocation.slot) ?? -1]
        found.push(`function ${callee === undefined ? "nowhere" : Insn.imm(callee.insns, 0)}`)
        walk(callee, depth + 1)
      } else if (relocation._tag === "Map") {
        const map = object.maps[relocation.map]
        found.push(`map ${map?.name} ${map?.attr.maxEntries}`)
      } else if (relocation._tag === "MapValue") {
        const map = object.maps[relocation.map]
        const variable = all.find((each) => each.map === relocation.map && each.offset === relocation.offset)
        const value = map?.initialValue?.subarray(relocation.offset, relocation.offset + (variable?.size ?? 0))
        found.push(`${map?.sectionName} ${variable?.name} ${toHex(value)}`)
      } else found.push(relocation._tag)
    }
  }
  walk(Open.findProgram(object, name), 0)
  return found
}

const deduplicated = (btf: Btf.Btf): Btf.Btf => Result.getOrThrow(BtfDedup.dedup(btf)).btf

/**
 * How the types of two objects differ by name and structure, each type counted once; no lines where they do not. DATASECs
 * have their layout, which may differ.
 */
export const typeDifferences = (one: Open.BpfObject, other: Open.BpfObject): ReadonlyArray<string> => {
  if (one.btf === undefined || other.btf === undefined) return one.btf === other.btf ? [] : ["one has no types"]
  const kinds = BtfDiff.diffKinds.filter((kind) => !/datasec/i.test(kind))
  const difference = BtfDiff.diff(deduplicated(one.btf), deduplicated(other.btf), { kinds })
  const { added, changed, removed } = difference
  return added.length + changed.length + removed.length === 0 ? [] : BtfDiff.render(difference).split("\n")
}
