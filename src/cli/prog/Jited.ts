/**
 * The listing of a loaded program as the processor runs it: functions by their symbols, under the C lines that they came from.
 * Pure, but for what takes machine code apart.
 */
import type { Btf } from "../../btf/Btf.ts"
import type { ProgInfo } from "../../services/Kernel/KernelCall.ts"
import type { SymbolNames } from "../../services/Kernel/live/SymbolNames.ts"
import type { Disassemble, MachineInsn } from "./Disassembler.ts"
import { lineList, protoList, type XlatedLine } from "./Xlated.ts"

/** One instruction of the processor, with the line that begins at it. */
export interface JitedInsn extends MachineInsn {
  readonly source: XlatedLine | undefined
  /** What a call or a jump leads to: a symbol, or a place of the function as `+0x1c`. */
  readonly target: string | undefined
}

/** A function. */
export interface JitedFunction {
  /** The kernel's symbol; its address where there is none, `unknown` where that is hidden. */
  readonly name: string
  /** As C would declare it. */
  readonly proto: string | undefined
  readonly bytes: Uint8Array
  /** `undefined` where there is nothing to take machine code apart with. */
  readonly insns: ReadonlyArray<JitedInsn> | undefined
}

/** What is known beside the program itself. */
export interface Known {
  readonly btf: Btf | undefined
  readonly symbols: SymbolNames
  readonly disassemble: Disassemble | undefined
}

/** The lines by the addresses of their instructions; the first of several at one. */
const linesByAddress = (
  info: ProgInfo,
  addresses: ReadonlyArray<bigint>,
  btf: Btf | undefined
): ReadonlyMap<bigint, XlatedLine> => {
  const lines = new Map<bigint, XlatedLine>()
  if (btf === undefined) return lines
  for (const [index, [, line]] of lineList(info.lineInfo, btf).entries()) {
    const address = addresses[index]
    if (address !== undefined && !lines.has(address)) lines.set(address, line)
  }
  return lines
}

/** The address that an operand is, as jumps and calls have it: nothing else of 64 bits stands there without a sign of its own. */
const targetOf = ({ operands }: MachineInsn): bigint | undefined => {
  const last = /^#?(0x[0-9a-f]{9,16})$/.exec(operands.at(-1) ?? "")?.[1]
  return last === undefined ? undefined : BigInt(last)
}

/** The addresses that calls of a listing lead to, beyond their function. */
export const targets = (functions: ReadonlyArray<JitedFunction>): ReadonlyArray<bigint> =>
  functions.flatMap(({ insns = [] }) =>
    insns.flatMap((insn) => {
      const target = targetOf(insn)
      return target === undefined || insn.target !== undefined ? [] : [target]
    })
  )

/** The functions of a program whose infos were asked for with machine code; none where it has none. */
export const list = (info: ProgInfo, { btf, disassemble, symbols }: Known): ReadonlyArray<JitedFunction> => {
  const { jitedSymbols = [], machineCode } = info
  if (machineCode === undefined) return []
  const { bytes, functionLengths, lineAddresses } = machineCode
  const lines = linesByAddress(info, lineAddresses, btf)
  const protos = btf === undefined ? [] : protoList(info.funcInfo, btf)
  // A program of one function may be told without its length.
  const lengths = functionLengths.length === 0 ? [bytes.length] : functionLengths
  const functions: Array<JitedFunction> = []
  let from = 0
  for (const [index, length] of lengths.entries()) {
    const code = bytes.subarray(from, from + length)
    from += length
    const address = jitedSymbols[index]
    functions.push({
      name: address === undefined
        ? "unknown"
        : symbols.names.get(address) ?? `0x${address.toString(16).padStart(16, "0")}`,
      proto: protos[index],
      bytes: code,
      insns: disassemble?.(code, address ?? 0n).map((insn): JitedInsn => {
        const target = address === undefined ? undefined : targetOf(insn)
        const inside = target === undefined || address === undefined ? undefined : target - address
        return {
          ...insn,
          source: address === undefined ? undefined : lines.get(address + BigInt(insn.pc)),
          target: target === undefined || inside === undefined
            ? undefined
            : inside >= 0n && inside < BigInt(length)
            ? `+0x${inside.toString(16)}`
            : symbols.names.get(target)
        }
      })
    })
  }
  return functions
}
