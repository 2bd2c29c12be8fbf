/**
 * Instructions while they are appended, two words for each slot: what a loader does most is written without an object for it.
 */
import * as Encode from "../../../insn/Encode.ts"
import * as Insn from "../../../insn/Insn.ts"
import {
  BPF_ALU64,
  BPF_CALL,
  BPF_JMP,
  BPF_K,
  BPF_LDX,
  BPF_MEM,
  BPF_MOV,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_STX,
  BPF_X
} from "../../../insn/InsnConstants.ts"
import { AssembleError } from "../AssembleError.ts"

/** Instructions so far. */
export interface Words {
  /** Two words for each slot, as they lie in memory of a little-endian machine; room for more behind them. */
  words: Int32Array
  /** Length in instruction slots. */
  slots: number
}

/** Room for more slots: at least so many. */
const reserve = (code: Words, slots: number): void => {
  if (2 * (code.slots + slots) <= code.words.length) return
  const larger = new Int32Array(Math.max(2 * code.words.length, 2 * (code.slots + slots)))
  larger.set(code.words)
  code.words = larger
}

/** Appends a slot of these fields, each of which fits its place: what a loader does most is written without a detour. */
export const put = (code: Words, opcode: number, dst: number, src: number, offset: number, imm: number): void => {
  reserve(code, 1)
  code.words[2 * code.slots] = opcode | dst << 8 | src << 12 | offset << 16
  code.words[2 * code.slots + 1] = imm
  code.slots++
}

/** Appends instructions. */
export const emit = (code: Words, ...insns: ReadonlyArray<Uint8Array>): void => {
  for (const insn of insns) {
    for (let at = 0; at < Insn.count(insn); at++) {
      put(
        code,
        Insn.opcode(insn, at),
        Insn.dst(insn, at),
        Insn.src(insn, at),
        Insn.offset(insn, at),
        Insn.imm(insn, at)
      )
    }
  }
}

/** Appends code: jumps in it lead within it. */
export const append = (code: Words, more: Words): void => {
  reserve(code, more.slots)
  code.words.set(more.words.subarray(0, 2 * more.slots), 2 * code.slots)
  code.slots += more.slots
}

/** The number of the loader's own map in the `fd_array` that it is loaded with. */
export const OWN_MAP = 0

/** `register = data + offset`: two slots. */
export const address = (register: Encode.Register, offset: number): Uint8Array =>
  Encode.ldMapIdxValue(register, OWN_MAP, offset)

/** Appends `register = data + offset`. */
export const putAddress = (code: Words, register: number, offset: number): void => {
  put(code, Insn.LD_IMM64, register, BPF_PSEUDO_MAP_IDX_VALUE, 0, OWN_MAP)
  put(code, 0, 0, 0, 0, offset)
}

/** Appends `dst = *(size *)(src + offset)`. */
export const putLoad = (code: Words, size: number, dst: number, src: number, offset: number): void =>
  put(code, BPF_LDX | BPF_MEM | size, dst, src, offset, 0)

/** Appends `*(size *)(dst + offset) = src`. */
export const putStore = (code: Words, size: number, dst: number, src: number, offset: number): void =>
  put(code, BPF_STX | BPF_MEM | size, dst, src, offset, 0)

/** Appends `dst = imm`, of 64 bits. */
export const putMoveImm = (code: Words, dst: number, imm: number): void =>
  put(code, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm)

/** Appends `dst = src`, of 64 bits. */
export const putMove = (code: Words, dst: number, src: number): void =>
  put(code, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)

/** Appends a call of a helper. */
export const putCall = (code: Words, helper: number): void => put(code, BPF_JMP | BPF_CALL, 0, 0, 0, helper)

/** Appends a jump that depends on how a register compares with a number. */
export const putJump = (code: Words, operation: number, dst: number, imm: number, distance: number): void => {
  if (!Insn.fitsOffset(distance)) throw tooFar(code.slots, distance)
  put(code, BPF_JMP | operation | BPF_K, dst, 0, distance, imm)
}

/** Why a jump cannot lead so far. */
export const tooFar = (slot: number, distance: number): AssembleError =>
  new AssembleError({
    reason: "TooLarge",
    call: "loader",
    name: "code",
    detail: `a jump at instruction ${slot} would have to pass ${distance} instructions`,
    hint: "one program mentions one symbol of the kernel thousands of times: put it into a function"
  })
