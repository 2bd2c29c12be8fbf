/**
 * What of the instruction set a program uses that the first kernels with BPF do not have.
 *
 * Sources: RFC 9669 and the kernel's `Documentation/bpf/standardization/instruction-set.rst`; the versions are those of the
 * verifier (`kernel/bpf/verifier.c`). That the just-in-time compiler of a machine knows an instruction is another matter.
 */
import * as Insn from "../../insn/Insn.ts"
import * as C from "../../insn/InsnConstants.ts"
import { type Availability, since } from "./Release.ts"

/** Something of the instruction set. */
export type InstructionFeature = keyof typeof features

/** What is known of each. */
export const features = {
  unsignedLess: { ...since("4.14"), description: "jumps if less" },
  subprograms: { ...since("4.16"), description: "calls of functions of the object" },
  jumps32: { ...since("5.1"), description: "jumps that compare 32 bits" },
  globalData: { ...since("5.2"), description: "variables in sections of data" },
  largePrograms: { ...since("5.2"), description: "more than 4096 instructions" },
  loops: { ...since("5.3"), description: "loops" },
  typedVariables: { ...since("5.10"), description: "variables of the kernel by their types" },
  atomics: { ...since("5.12"), description: "atomic operations other than add without its result" },
  callbacks: { ...since("5.13"), description: "functions that are called back" },
  kernelFunctions: { ...since("5.13"), description: "calls of functions of the kernel" },
  version4: {
    ...since("6.6"),
    description: "instruction set version 4"
  },
  mayGoto: { ...since("6.9"), description: "loops with may_goto" },
  addressSpaces: { ...since("6.9"), description: "casts between address spaces" },
  acquireRelease: { ...since("6.15"), description: "loads that acquire or stores that release" },
  indirectJumps: { ...since("6.19"), description: "jumps through a register" }
} as const satisfies Readonly<Record<string, Availability & { readonly description: string }>>

/** A program that is told what each of its instructions uses. */
export interface Visitor {
  readonly feature: (feature: InstructionFeature, slot: number) => void
  readonly helper: (id: number, slot: number) => void
}

const aluFeature = (code: Uint8Array, slot: number): InstructionFeature | undefined => {
  const op = Insn.op(code, slot)
  const offset = Insn.offset(code, slot)
  if (op === C.BPF_MOV && Insn.source(code, slot) === C.BPF_X && offset !== 0) {
    return offset === C.BPF_ADDR_SPACE_CAST ? "addressSpaces" : "version4"
  }
  if ((op === C.BPF_DIV || op === C.BPF_MOD) && offset === 1) return "version4"
  return op === C.BPF_END && Insn.insnClass(code, slot) === C.BPF_ALU64 ? "version4" : undefined
}

const jumpFeature = (code: Uint8Array, slot: number): InstructionFeature | undefined => {
  const opcode = Insn.opcode(code, slot)
  if (opcode === Insn.JA32) return "version4"
  if (opcode === Insn.JA_INDIRECT) return "indirectJumps"
  if (opcode === Insn.JCOND) return "mayGoto"
  if (Insn.insnClass(code, slot) === C.BPF_JMP32) return "jumps32"
  switch (Insn.op(code, slot)) {
    case C.BPF_JLT:
    case C.BPF_JLE:
    case C.BPF_JSLT:
    case C.BPF_JSLE:
      return "unsignedLess"
    default:
      return undefined
  }
}

const atomicFeature = (code: Uint8Array, slot: number): InstructionFeature | undefined => {
  switch (Insn.imm(code, slot)) {
    case C.BPF_ADD:
      return undefined
    case C.BPF_LOAD_ACQ:
    case C.BPF_STORE_REL:
      return "acquireRelease"
    default:
      return "atomics"
  }
}

const loadImmediateFeature = (code: Uint8Array, slot: number): InstructionFeature | undefined => {
  switch (Insn.src(code, slot)) {
    case C.BPF_PSEUDO_MAP_VALUE:
    case C.BPF_PSEUDO_MAP_IDX_VALUE:
      return "globalData"
    case C.BPF_PSEUDO_BTF_ID:
      return "typedVariables"
    case C.BPF_PSEUDO_FUNC:
      return "callbacks"
    default:
      return undefined
  }
}

const featureOf = (code: Uint8Array, slot: number): InstructionFeature | undefined => {
  if (Insn.isLdImm64(code, slot)) return loadImmediateFeature(code, slot)
  if (Insn.isSubprogramCall(code, slot)) return "subprograms"
  if (Insn.isKfuncCall(code, slot)) return "kernelFunctions"
  switch (Insn.insnClass(code, slot)) {
    case C.BPF_ALU:
    case C.BPF_ALU64:
      return aluFeature(code, slot)
    case C.BPF_JMP:
    case C.BPF_JMP32:
      return Insn.isCall(code, slot) ? undefined : jumpFeature(code, slot)
    case C.BPF_LDX:
      return Insn.mode(code, slot) === C.BPF_MEMSX ? "version4" : undefined
    case C.BPF_STX:
      return Insn.isAtomic(code, slot) ? atomicFeature(code, slot) : undefined
    default:
      return undefined
  }
}

/** Goes through the instructions of a program that is laid out; each is told of once. */
export const visit = (code: Uint8Array, visitor: Visitor): void => {
  const count = Insn.count(code)
  if (count > 4096) visitor.feature("largePrograms", 0)
  for (let slot = 0; slot < count; slot = Insn.nextSlot(code, slot)) {
    if (Insn.isHelperCall(code, slot)) {
      visitor.helper(Insn.imm(code, slot), slot)
      continue
    }
    const feature = featureOf(code, slot)
    if (feature !== undefined) visitor.feature(feature, slot)
    // Every loop has a jump back; may_goto ends those that it stands in.
    const target = Insn.isJump(code, slot) && Insn.opcode(code, slot) !== Insn.JCOND
      ? Insn.jumpTarget(code, slot)
      : undefined
    if (target !== undefined && target <= slot) visitor.feature("loops", slot)
  }
}
