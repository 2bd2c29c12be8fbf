/**
 * The machine code of a loaded program as data, with the keys of `bpftool prog dump jited`. Where nothing takes it apart, each
 * function has its bytes (`opcodes`) in the place of `insns`.
 */
import type { JitedFunction, JitedInsn } from "../prog/Jited.ts"
import { clip } from "../text/Clip.ts"
import type { Json } from "./Json.ts"
import { hexList } from "./ObjectsDocument.ts"
import { lineJson, type XlatedOptions } from "./XlatedDocument.ts"

const insnJson = (insn: JitedInsn, code: Uint8Array, { linum, opcodes }: XlatedOptions): Json => ({
  ...lineJson(insn, linum),
  pc: `0x${insn.pc.toString(16)}`,
  operation: insn.operation,
  // bpftool says so of an instruction that has none.
  operands: insn.operands.length === 0 ? [null] : [...insn.operands],
  ...(opcodes ? { opcodes: hexList(code.subarray(insn.pc, insn.pc + insn.length)) } : {})
})

/** The document. */
export const jitedJson = (functions: ReadonlyArray<JitedFunction>, options: XlatedOptions): Json =>
  functions.map(({ bytes, insns, name, proto }) => ({
    ...(proto === undefined ? {} : { proto: clip(proto) }),
    name: clip(name),
    ...(insns === undefined
      ? { opcodes: hexList(bytes) }
      : { insns: insns.map((insn) => insnJson(insn, bytes, options)) })
  }))
