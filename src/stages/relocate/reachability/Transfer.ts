/**
 * What single instructions do to what is known: arithmetic, loads and stores, results of calls, comparisons.
 */
import * as Insn from "../../../insn/Insn.ts"
import * as C from "../../../insn/InsnConstants.ts"
import { move, operate, swap } from "./Arithmetic.ts"
import * as Stack from "./Stack.ts"
import { constant, mayBeStack, mixed, mixedStack, unknown, type Value } from "./Value.ts"

/** A function of a laid-out program. */
export interface Function {
  /** Its first slot. */
  readonly slot: number
  readonly slots: number
  /** Verifiers look at it once for all callers, and so know neither its arguments nor its result. */
  readonly global: boolean
}

/** A program to follow. */
export interface Code {
  /** The instructions, little-endian. Calls of subprograms and function pointers are distances in slots. */
  readonly insns: Uint8Array
  /** In the order of their slots, without gaps; the first is the program's entry. */
  readonly functions: ReadonlyArray<Function>
  /** First slot of the function that is called when the program throws. */
  readonly exceptionCallback: number | undefined
  /** What 64-bit immediate loads are, by slot, where that is not the number in them. */
  readonly loads: ReadonlyMap<number, Value>
  /** The names of kernel functions, by the slot of the call. */
  readonly kfuncs: ReadonlyMap<number, string>
  /** Instructions that were made invalid, by slot: `insns` is of the code as it was compiled. */
  readonly poisoned: ReadonlySet<number>
  readonly compiled: Uint8Array
  /** The byte order of the machine that it is for. */
  readonly littleEndian: boolean
  /** The number of `size` bytes at a place in a map's first value, where that is constant. */
  readonly constantAt: (map: number, offset: number, size: number) => bigint | undefined
  /** Whether a map is constant, known or not. */
  readonly isConstant: (map: number) => boolean
}

/** Registers, then the remembered words of the stack. */
export type State = Array<Value>

/** What stays the same for all instructions of a program. */
export interface Setting {
  readonly code: Code
  readonly stack: Stack.Words
}

/** The second operand of arithmetic and comparisons. */
export const operand = (insns: Uint8Array, slot: number, state: State): Value | undefined =>
  Insn.source(insns, slot) === C.BPF_X
    ? state[Insn.src(insns, slot)]
    : constant(BigInt(Insn.imm(insns, slot)))

/** What arithmetic leaves in its destination. */
export const arithmetic = ({ insns, littleEndian }: Code, slot: number, state: State): Value => {
  const wide = Insn.insnClass(insns, slot) === C.BPF_ALU64
  const op = Insn.op(insns, slot)
  const dst = state[Insn.dst(insns, slot)]
  if (op === C.BPF_END) {
    const toBig = Insn.source(insns, slot) === C.BPF_TO_BE
    return swap(dst, Insn.imm(insns, slot), wide || toBig === littleEndian)
  }
  const src = operand(insns, slot, state)
  const offset = Insn.offset(insns, slot)
  if (op === C.BPF_MOV) {
    const extend = Insn.source(insns, slot) === C.BPF_X ? offset : 0
    if (extend === 0 || extend === 8 || extend === 16 || extend === 32) return move(src, wide, extend)
    return mayBeStack(src) ? mixedStack : mixed
  }
  return operate(op, dst, src, wide, offset === 1)
}

/** A load through a register. */
export const load = (setting: Setting, state: State, slot: number): Value => {
  const { code, stack } = setting
  const { insns } = code
  const base = state[Insn.src(insns, slot)]
  const size = Insn.sizeInBytes(insns, slot)
  const signed = Insn.mode(insns, slot) === C.BPF_MEMSX
  const offset = Insn.offset(insns, slot)
  switch (base?._tag) {
    case "Stack":
      return Stack.read(stack, state, base.offset + offset, size, signed, slot)
    case "MapValue": {
      if (!code.isConstant(base.map)) return unknown(slot, size, { signed })
      const value = code.constantAt(base.map, base.offset + offset, size)
      if (value === undefined) return mixed
      return constant(signed ? BigInt.asIntN(size * 8, value) : value)
    }
    case "Context":
      return unknown(slot, size, { signed, nullable: size < 8, fromContext: true })
    case "Mixed":
      return base.stack ? mixedStack : unknown(slot, size, { signed, nullable: size < 8 })
    case "Unknown":
    case "Address":
      return unknown(slot, size, { signed, nullable: size < 8 })
    default:
      return mixed
  }
}

/** A store through a register. Only places in a stack are remembered, and only through these do stores reach them. */
export const store = ({ code, stack }: Setting, state: State, slot: number, value: Value): void => {
  const base = state[Insn.dst(code.insns, slot)]
  if (base?._tag === "Stack") {
    Stack.write(stack, state, base.offset + Insn.offset(code.insns, slot), Insn.sizeInBytes(code.insns, slot), value)
  } else if (mayBeStack(base)) Stack.forget(state)
}

/** An atomic operation on memory. */
export const atomic = (setting: Setting, state: State, slot: number): void => {
  const { insns } = setting.code
  const imm = Insn.imm(insns, slot)
  if (imm === C.BPF_LOAD_ACQ) {
    state[Insn.dst(insns, slot)] = load(setting, state, slot)
    return
  }
  store(setting, state, slot, imm === C.BPF_STORE_REL ? state[Insn.src(insns, slot)] ?? mixed : mixed)
  if (imm === C.BPF_STORE_REL) return
  if (imm === C.BPF_CMPXCHG) state[C.BPF_REG_0] = mixedStack
  else if ((imm & C.BPF_FETCH) !== 0) state[Insn.src(insns, slot)] = mixedStack
}

/**
 * An instruction that calls what no kernel has: as if it did what was compiled, with a
 * result that nobody knows. The slot of the next instruction.
 */
export const poison = ({ code }: Setting, state: State, slot: number): number => {
  const { compiled } = code
  switch (Insn.insnClass(compiled, slot)) {
    case C.BPF_ST:
    case C.BPF_STX:
      if (mayBeStack(state[Insn.dst(compiled, slot)])) Stack.forget(state)
      break
    case C.BPF_JMP:
      if (hasStackArgument(state)) Stack.forget(state)
      clobber(state, mixedStack)
      break
    default:
      state[Insn.dst(compiled, slot)] = mixed
  }
  return slot + Insn.width(compiled, slot)
}

/** What a call leaves of the registers: its answer. */
export const clobber = (state: State, answer: Value): void => {
  state[C.BPF_REG_0] = answer
  for (let register = 1; register <= 5; register++) state[register] = mixed
}

/** Whether an argument of a call may be a place in a stack. */
export const hasStackArgument = (state: State): boolean => {
  for (let register = 1; register <= 5; register++) if (mayBeStack(state[register])) return true
  return false
}

/** Behind a comparison a verifier knows more of what was compared: it is no longer what nobody knows. */
export const learn = (state: State, dst: Value | undefined, src: Value | undefined): void => {
  const forget = (value: Value | undefined, exactly: boolean): void => {
    if (value?._tag !== "Unknown") return
    for (let cell = 0; cell < state.length; cell++) {
      const other = state[cell]
      if (other?._tag !== "Unknown" || other.origin !== value.origin || (exactly && other.add !== value.add)) continue
      state[cell] = mixed
    }
  }
  // A place in a packet is compared with the packet's end: what is learned is about this place and no other.
  if (dst?._tag === "Unknown" && src?._tag === "Unknown" && dst.fromContext && src.fromContext) {
    if (dst.add !== 0n || src.add === 0n) forget(dst, true)
    if (src.add !== 0n || dst.add === 0n) forget(src, true)
    return
  }
  forget(dst, false)
  forget(src, false)
}
