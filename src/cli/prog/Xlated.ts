/**
 * The listing of a loaded program as the kernel has it: instructions with what they call, under the C lines and functions
 * that they came from. Pure.
 */
import * as Btf from "../../btf/Btf.ts"
import { disassemble } from "../../insn/Disassemble.ts"
import { helperName } from "../../insn/Helpers.ts"
import * as Insn from "../../insn/Insn.ts"
import {
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_VALUE
} from "../../insn/InsnConstants.ts"
import type { InfoRecords, ProgInfo } from "../../services/Kernel/KernelCall.ts"
import type { SymbolNames } from "../../services/Kernel/live/SymbolNames.ts"
import { declaration } from "../objects/Declaration.ts"

/** The C line that an instruction came from. */
export interface XlatedLine {
  readonly text: string
  readonly file: string
  /** Counts from 1; 0 stands for none. */
  readonly line: number
  readonly column: number
}

/** One instruction. */
export interface XlatedInsn {
  readonly slot: number
  readonly bytes: Uint8Array
  readonly text: string
  /** The function that begins here, as C would declare it. */
  readonly proto: string | undefined
  /** The line that begins here. */
  readonly source: XlatedLine | undefined
}

/** No names. */
export const noNames: SymbolNames = { callBase: undefined, names: new Map() }

/** The words of a record, by its number of words. */
const words = (info: InfoRecords, count: number): ReadonlyArray<ReadonlyArray<number>> => {
  const { recordSize, records } = info
  if (recordSize < count * 4) return []
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
  const found: Array<ReadonlyArray<number>> = []
  for (let at = 0; at + recordSize <= records.length; at += recordSize) {
    found.push(Array.from({ length: count }, (_, word) => view.getUint32(at + word * 4, true)))
  }
  return found
}

/** The lines of line records in their order, each with the slot that it begins at. */
export const lineList = (info: InfoRecords, btf: Btf.Btf): ReadonlyArray<readonly [slot: number, line: XlatedLine]> =>
  words(info, 4).map(([slot = 0, file = 0, text = 0, place = 0]) => [
    slot,
    {
      text: (Btf.stringAt(btf, text) ?? "").trimStart(),
      file: Btf.stringAt(btf, file) ?? "",
      line: place >>> 10,
      column: place & 0x3ff
    }
  ])

const protoOf = (btf: Btf.Btf, type: number): string | undefined =>
  Btf.exists(btf, type) && type !== 0 ? declaration(btf, type) : undefined

/** The functions of function records in their order, as C would declare them. */
export const protoList = (info: InfoRecords, btf: Btf.Btf): ReadonlyArray<string | undefined> =>
  words(info, 2).map(([, type = 0]) => protoOf(btf, type))

const protosOf = (info: InfoRecords, btf: Btf.Btf): ReadonlyMap<number, string> =>
  new Map(
    words(info, 2).flatMap(([slot = 0, type = 0]) => {
      const text = protoOf(btf, type)
      return text === undefined ? [] : [[slot, text] as const]
    })
  )

/** The distances of calls whose targets are addresses: what names are looked up for. */
export const callDistances = (insns: Uint8Array): ReadonlySet<number> => {
  const found = new Set<number>()
  for (let slot = 0; slot < Insn.count(insns); slot = Insn.nextSlot(insns, slot)) {
    if (Insn.isCall(insns, slot)) found.add(Insn.imm(insns, slot))
  }
  return found
}

/** What is known beside the program itself. */
export interface Known {
  readonly btf: Btf.Btf | undefined
  readonly symbols: SymbolNames
  /** The names of maps by identifier; those of which none is known are shown by the identifier alone. */
  readonly maps?: ReadonlyMap<number, string>
}

/** What a call leads to; `undefined` where its number says it already. */
const callee = (
  insns: Uint8Array,
  slot: number,
  { symbols }: Known,
  jited: ReadonlyArray<bigint>
): string | undefined => {
  const source = Insn.src(insns, slot)
  const distance = Insn.imm(insns, slot)
  const isOwn = source === BPF_PSEUDO_CALL
  if (source === 0 && distance >= 0 && helperName(distance) !== undefined) return undefined
  // What is interpreted has no addresses.
  if (isOwn && jited.length === 0) return undefined
  if (source === BPF_PSEUDO_KFUNC_CALL && symbols.callBase === undefined) return undefined
  const address = (isOwn ? jited[distance >>> 0] : undefined) ??
    BigInt.asUintN(64, (symbols.callBase ?? 0n) + BigInt(distance))
  return symbols.names.get(address) ?? `0x${address.toString(16)}`
}

/** The map of a load, by name too. */
const mapOperand = (insns: Uint8Array, slot: number, maps: ReadonlyMap<number, string>): string | undefined => {
  const id = Insn.imm(insns, slot) >>> 0
  const name = maps.get(id)
  if (name === undefined) return undefined
  switch (Insn.src(insns, slot)) {
    case BPF_PSEUDO_MAP_FD:
      return `map[id:${id} ${name}]`
    case BPF_PSEUDO_MAP_VALUE:
      return `map[id:${id} ${name}][0]+${Insn.nextImm(insns, slot) >>> 0}`
    default:
      return undefined
  }
}

/** The listing of a program whose infos were asked for with instructions. */
export const list = (info: ProgInfo, known: Known): ReadonlyArray<XlatedInsn> => {
  const { instructions = new Uint8Array(), jitedSymbols = [] } = info
  const lines: ReadonlyMap<number, XlatedLine> = known.btf === undefined
    ? new Map()
    : new Map(lineList(info.lineInfo, known.btf))
  const protos: ReadonlyMap<number, string> = known.btf === undefined ? new Map() : protosOf(info.funcInfo, known.btf)
  const maps = known.maps ?? new Map<number, string>()
  const annotate = (slot: number): string | undefined =>
    Insn.isLdImm64(instructions, slot)
      ? mapOperand(instructions, slot, maps)
      : callee(instructions, slot, known, jitedSymbols)
  return disassemble(instructions, { style: "xlated", annotate }).map(({ bytes, slot, text }) => ({
    slot,
    bytes,
    text,
    proto: protos.get(slot),
    source: lines.get(slot)
  }))
}
