/**
 * What is known of a function's stack: words of 8 bytes, each as a value.
 *
 * Only words that instructions name by r10 are remembered. A word is known as a whole or not at all.
 */
import * as Insn from "../../../insn/Insn.ts"
import * as C from "../../../insn/InsnConstants.ts"
import { bytes, mayBeStack, mixed, mixedStack, unknown, type Value } from "./Value.ts"

/** Bytes of a word. */
const WORD = 8

/** Bytes of a function's stack. */
const SIZE = 512

/** Cells of a state before the first word: the registers. */
export const FIRST_WORD: number = C.MAX_BPF_REG

/** The words that are remembered. */
export interface Words {
  /** Byte offsets from the end of the stack, ascending, all below zero and multiples of 8. */
  readonly words: ReadonlyArray<number>
  /** The cell of each word of the stack, counted from its end downwards; -1 for what is not remembered. */
  readonly cells: Int16Array
}

/** The words that the instructions of a program name. */
export const wordsOf = (insns: Uint8Array): Words => {
  const cells = new Int16Array(SIZE / WORD + 1).fill(-1)
  const count = Insn.count(insns)
  for (let slot = 0; slot < count; slot = Insn.nextSlot(insns, slot)) {
    const opcodeClass = Insn.insnClass(insns, slot)
    const base = opcodeClass === C.BPF_LDX
      ? Insn.src(insns, slot)
      : opcodeClass === C.BPF_ST || opcodeClass === C.BPF_STX
      ? Insn.dst(insns, slot)
      : -1
    const offset = Insn.offset(insns, slot)
    if (base !== C.BPF_REG_10 || offset >= 0 || offset < -SIZE) continue
    cells[Math.ceil(-offset / WORD)] = 0
  }
  const words: Array<number> = []
  for (let word = SIZE / WORD; word > 0; word--) {
    if (cells[word] !== 0) continue
    cells[word] = FIRST_WORD + words.length
    words.push(-word * WORD)
  }
  return { words, cells }
}

/** The cell of the word that a byte is in; -1 where it is not remembered. */
const cellAt = ({ cells }: Words, offset: number): number =>
  offset < 0 && offset >= -SIZE ? cells[Math.ceil(-offset / WORD)] ?? -1 : -1

/** What a load of `size` bytes at `offset` gives. */
export const read = (
  stack: Words,
  state: ReadonlyArray<Value>,
  offset: number,
  size: number,
  signed: boolean,
  slot: number
): Value => {
  const cell = cellAt(stack, offset)
  const value = cell < 0 ? undefined : state[cell]
  const isWithin = cellAt(stack, offset + size - 1) === cell
  if (value === undefined || !isWithin) return mixedStack
  if (value._tag === "Bytes") return unknown(slot, size, { signed })
  return size === WORD ? value : mixed
}

/** A store of `size` bytes at `offset`. */
export const write = (stack: Words, state: Array<Value>, offset: number, size: number, value: Value): void => {
  const cell = cellAt(stack, offset)
  if (size === WORD && offset % WORD === 0) {
    if (cell >= 0) state[cell] = value
    return
  }
  for (const part of new Set([cell, cellAt(stack, offset + size - 1)])) if (part >= 0) state[part] = mixed
}

/** Nothing is known of the stack any more: something may have written anywhere, its own addresses included. */
export const forget = (state: Array<Value>): void => {
  state.fill(mixedStack, FIRST_WORD)
}

/** What the kernel may have written to a word, or not. */
const smear = (state: Array<Value>, cell: number): void => {
  const value = state[cell]
  if (value === undefined || value._tag === "Bytes") return
  state[cell] = mayBeStack(value) ? mixedStack : mixed
}

/** The kernel has written `length` bytes at `target`, or may have written less. */
export const overwrite = (
  stack: Words,
  state: Array<Value>,
  target: Value | undefined,
  length: Value | undefined
): void => {
  if (target?._tag !== "Stack") {
    if (mayBeStack(target)) forget(state)
    return
  }
  const known = length?._tag === "Const" && length.value <= BigInt(SIZE) ? Number(length.value) : undefined
  const end = known === undefined ? 0 : target.offset + known
  stack.words.forEach((word, index) => {
    if (word + WORD <= target.offset || word >= end) return
    const cell = FIRST_WORD + index
    if (known !== undefined && word >= target.offset && word + WORD <= end) state[cell] = bytes
    else smear(state, cell)
  })
}

/** The kernel may have written to all that an argument points at, from there upwards. */
export const overwriteUpwards = (stack: Words, state: Array<Value>): void => {
  for (let register = 1; register <= 5; register++) {
    const argument = state[register]
    if (argument?._tag === "Stack") overwrite(stack, state, argument, undefined)
    else if (mayBeStack(argument)) return forget(state)
  }
}
