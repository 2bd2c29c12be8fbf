/**
 * A function of an opened object as text: instructions with what they refer to, under the C lines that they came from.
 *
 * Pure: it answers data, which `text/` and `--json` print each in its way.
 */
import * as BtfExt from "../btf/BtfExt.ts"
import { disassemble } from "../insn/Disassemble.ts"
import { type BpfObject, functionAt, type Program, type Relocation } from "../stages/open/BpfObject.ts"
import type { Variable } from "../stages/open/Variables.ts"
import { variables } from "../stages/open/Variables.ts"
import { kindNames } from "../stages/relocate/core/Kind.ts"
import { clip } from "./text/Clip.ts"

/** Where in the C source an instruction came from. */
export interface Source {
  readonly file: string
  /** The text of the line. */
  readonly text: string
  /** Counts from 1. */
  readonly line: number
  /** Counts from 1; 0 stands for no column. */
  readonly column: number
}

/** One instruction of a listing. */
export interface ListedInsn {
  /** Its slot, counted from the start of the function. */
  readonly slot: number
  readonly bytes: Uint8Array
  readonly text: string
  /** The C line that starts here. */
  readonly source: Source | undefined
}

/** What listings of one object look up. */
export interface Context {
  readonly object: BpfObject
  /** Line records by section name, then by slot in the section. */
  readonly lines: ReadonlyMap<string, ReadonlyMap<number, Source>>
  /** Variables of each map, by offset. */
  readonly variables: ReadonlyMap<number, ReadonlyArray<Variable>>
}

const linesOf = (ext: BtfExt.BtfExt | undefined): Context["lines"] => {
  const bySection = new Map<string, Map<number, Source>>()
  if (ext === undefined) return bySection
  for (const section of ext.lineInfo?.sections ?? []) {
    const lines = bySection.get(section.section) ?? new Map<number, Source>()
    bySection.set(section.section, lines)
    for (let index = 0; index < section.count; index++) {
      const { column, fileName, insnOffset, line, lineNumber } = BtfExt.lineInfoAt(ext, section, index)
      // Several records of one instruction are possible; the kernel, too, shows the last.
      lines.set(insnOffset / 8, { file: clip(fileName), text: clip(line.trim()), line: lineNumber, column })
    }
  }
  return bySection
}

/** Prepares listings of an object's functions; without `lines` only what their relocations refer to. */
export const context = (object: BpfObject, lines = true): Context => {
  const byMap = new Map<number, Array<Variable>>()
  for (const variable of variables(object)) {
    const of = byMap.get(variable.map) ?? []
    byMap.set(variable.map, of)
    of.push(variable)
  }
  for (const of of byMap.values()) of.sort((a, b) => a.offset - b.offset)
  return { object, lines: linesOf(lines ? object.btfExt : undefined), variables: byMap }
}

/** The variable that holds this byte of a map's value, by binary search. */
const variableAt = (sorted: ReadonlyArray<Variable>, offset: number): Variable | undefined => {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle]?.offset ?? 0) <= offset) low = middle + 1
    else high = middle
  }
  const found = sorted[low - 1]
  return found !== undefined && offset < found.offset + Math.max(1, found.size) ? found : undefined
}

/** A byte of a map's value by the variable that is there: `totals+8`; `undefined` where none is known. */
export const variableName = ({ variables }: Context, map: number, offset: number): string | undefined => {
  const found = variableAt(variables.get(map) ?? [], offset)
  if (found === undefined) return undefined
  return offset === found.offset ? found.name : `${found.name}+${offset - found.offset}`
}

/** What a relocation refers to, by name, and the byte in it where it has one. */
export interface Target {
  readonly kind: "map" | "map_value" | "call" | "function" | "jump_table" | "extern"
  readonly name: string
  /** Bytes from the start of a map's value. */
  readonly offset: number | undefined
  /** The variable at that place. */
  readonly variable: string | undefined
}

/** The names in a relocation. */
export const targetOf = (context: Context, relocation: Relocation): Target => {
  const { object } = context
  const none = { offset: undefined, variable: undefined }
  switch (relocation._tag) {
    case "Map":
      return { kind: "map", name: object.maps[relocation.map]?.name ?? "", ...none }
    case "MapValue": {
      const { map, offset } = relocation
      const name = object.maps[map]?.name ?? ""
      return { kind: "map_value", name, offset, variable: variableName(context, map, offset) }
    }
    case "JumpTable":
      return { kind: "jump_table", name: `${relocation.targets.length} places`, ...none }
    case "Call":
    case "Function": {
      const position = functionAt(object.programs, relocation.section, relocation.slot)
      const name = position === undefined ? "" : object.programs[position]?.name ?? ""
      return { kind: relocation._tag === "Call" ? "call" : "function", name, ...none }
    }
    case "Extern":
      return { kind: "extern", name: object.externs[relocation.extern]?.name ?? "", ...none }
  }
}

/** How the operand of an instruction names its target. */
const operand = (target: Target): string => {
  switch (target.kind) {
    case "map":
      return `map[${target.name}]`
    case "map_value":
      return `map[${target.name}][0]+${target.offset ?? 0}${
        target.variable === undefined ? "" : ` <${target.variable}>`
      }`
    case "function":
      return `&${target.name}`
    case "jump_table":
      return `jump_table[${target.name}]`
    case "call":
    case "extern":
      return target.name
  }
}

/** In an object, a call's distance says nothing yet, and neither does the number of a kernel function. */
const withoutNumber = (text: string, target: Target): string =>
  target.kind === "call" || target.kind === "extern"
    ? text.replace(/call pc[+-]\d+#/, "call ").replace(/^(\([0-9a-f]{2}\) call .*)#-?\d+$/s, "$1")
    : text

/** The listing of one function. */
export const list = (context: Context, program: Program): ReadonlyArray<ListedInsn> => {
  const targets = new Map(program.relocations.map((relocation) => {
    const target = targetOf(context, relocation)
    return [relocation.at, { ...target, name: clip(target.name) }] as const
  }))
  const lines = context.lines.get(program.section) ?? context.lines.get(`?${program.section}`)
  const annotate = (slot: number): string | undefined => {
    const target = targets.get(slot)
    return target === undefined ? undefined : operand(target)
  }
  return disassemble(program.insns, { annotate }).map(({ bytes, slot, text }) => {
    const target = targets.get(slot)
    return {
      slot,
      bytes,
      text: target === undefined ? text : withoutNumber(text, target),
      source: lines?.get(program.sectionSlot + slot)
    }
  })
}

/** A CO-RE relocation of a section. */
export interface CoreRecord {
  readonly section: string
  /** Slot in the section. */
  readonly slot: number
  readonly kind: string
  readonly typeId: number
  readonly access: string
}

/** Every CO-RE relocation of an object, in the order of the file. */
export const coreRecords = (ext: BtfExt.BtfExt | undefined): ReadonlyArray<CoreRecord> =>
  ext === undefined ?
    [] :
    (ext.coreRelocations?.sections ?? []).flatMap((section) =>
      Array.from({ length: section.count }, (_, index): CoreRecord => {
        const { accessString, insnOffset, kind, typeId } = BtfExt.coreRelocationAt(ext, section, index)
        return {
          section: section.section.startsWith("?") ? section.section.slice(1) : section.section,
          slot: insnOffset / 8,
          kind: kindNames[kind] ?? `kind ${kind}`,
          typeId,
          access: accessString
        }
      })
    )
