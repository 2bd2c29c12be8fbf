/**
 * What a loader copies: between its data, its context, its stack, and its caller's memory. Registers are those of `LoaderCode`.
 *
 * Source: reference page `gen-loader`, sections 3 and 4.
 */
import * as Encode from "../../../insn/Encode.ts"
import * as Insn from "../../../insn/Insn.ts"
import { BPF_ADD, BPF_DW, BPF_JEQ, BPF_JNE, BPF_JSET, BPF_W } from "../../../insn/InsnConstants.ts"
import * as Errno from "../../../services/Kernel/abi/Errno.ts"
import * as Layout from "../LoaderLayout.ts"
import { checkError, type LoaderCode, type Place } from "./LoaderCode.ts"
import { address, emit, putAddress, putJump, putLoad, putStore } from "./LoaderWords.ts"

/** Sizes of what is copied, in bytes, as the instructions name them. */
const sizes = { 4: BPF_W, 8: BPF_DW } as const

type CopySize = keyof typeof sizes

/** `*(u64 *)(data + at) = data + pointee` */
export const storeAddress = (code: LoaderCode, at: number, pointee: number): void => {
  putAddress(code, 0, pointee)
  putAddress(code, 1, at)
  putStore(code, BPF_DW, 1, 0, 0)
}

/** Copies between two places of the data. */
const dataToData = (code: LoaderCode, to: number, size: CopySize, from: number): void => {
  putAddress(code, 2, from)
  putLoad(code, sizes[size], 0, 2, 0)
  putAddress(code, 1, to)
  putStore(code, sizes[size], 1, 0, 0)
}

/** Copies from the data to the context. */
const dataToContext = (code: LoaderCode, to: number, size: CopySize, from: number): void => {
  putAddress(code, 1, from)
  putLoad(code, sizes[size], 0, 1, 0)
  storeToContext(code, sizes[size], to)
}

/** Stores R0 in the context, of which a program can say no more than the first 32 KiB. */
const storeToContext = (code: LoaderCode, size: number, to: number): void => {
  if (Insn.fitsOffset(to)) putStore(code, size, 6, 0, to)
  else emit(code, Encode.stx(size === BPF_DW ? BPF_DW : BPF_W, 6, 0, to))
}

/** Loads R0 from the context. */
const loadFromContext = (code: LoaderCode, size: number, from: number): void => {
  if (Insn.fitsOffset(from)) putLoad(code, size, 0, 6, from)
  else emit(code, Encode.ldx(size === BPF_DW ? BPF_DW : BPF_W, 0, 6, from))
}

/** Copies from the context to the data; `unlessZero` leaves the data as it is where the context has 0. */
export const contextToData = (
  code: LoaderCode,
  to: number,
  size: CopySize,
  from: number,
  unlessZero: boolean = false
): void => {
  loadFromContext(code, sizes[size], from)
  if (unlessZero) putJump(code, BPF_JEQ, 0, 0, 3)
  putAddress(code, 1, to)
  putStore(code, sizes[size], 1, 0, 0)
}

/** Copies 4 bytes from the stack to the data. */
const stackToData = (code: LoaderCode, to: number, from: number): void => {
  putLoad(code, BPF_W, 0, 10, from)
  putAddress(code, 1, to)
  putStore(code, BPF_W, 1, 0, 0)
}

/** Copies 4 bytes from the stack to the context. */
const stackToContext = (code: LoaderCode, to: number, from: number): void => {
  putLoad(code, BPF_W, 0, 10, from)
  storeToContext(code, BPF_W, to)
}

/** Copies the descriptor that is kept at a place into the data. */
export const placeToData = (code: LoaderCode, to: number, { _tag, offset }: Place): void =>
  _tag === "Stack" ? stackToData(code, to, offset) : dataToData(code, to, 4, offset)

/** Copies the descriptor that is kept at a place into the context. */
export const placeToContext = (code: LoaderCode, to: number, { _tag, offset }: Place): void =>
  _tag === "Stack" ? stackToContext(code, to, offset) : dataToContext(code, to, 4, offset)

/** Goes to the cleanup with `EINVAL` when a register is 0: the loader was not told what it needs. */
const requireTold = (code: LoaderCode, register: Encode.Register): void => {
  emit(
    code,
    Encode.mov64Imm(7, 0),
    Encode.jmpImm(BPF_JNE, register, 0, 1),
    Encode.mov64Imm(7, -Errno.numbers.EINVAL)
  )
  checkError(code)
}

/**
 * Copies a 32-bit word from the context to the data. Where the context has 0, the data stays as it is, or the loader ends with
 * `EINVAL`; `subtract` is taken from the word.
 */
export const takeWord = (
  code: LoaderCode,
  to: number,
  from: number,
  isRequired: boolean,
  subtract: number = 0
): void => {
  if (!isRequired) return contextToData(code, to, 4, from, true)
  emit(code, Encode.ldx(BPF_W, 0, 6, from))
  requireTold(code, 0)
  emit(
    code,
    ...(subtract === 0 ? [] : [Encode.alu64Imm(BPF_ADD, 0, -subtract)]),
    address(1, to),
    Encode.stx(BPF_W, 1, 0, 0)
  )
}

/**
 * Replaces `size` bytes of the data by those at the address that is at an offset of the context, unless that is 0: then the data
 * stays as it is, or the loader ends with `EINVAL`. The context's flags say whether it is an address of the kernel or of the
 * calling process.
 */
export const replaceByCallers = (
  code: LoaderCode,
  to: number,
  size: number,
  contextOffset: number,
  isRequired: boolean = false
): void => {
  emit(code, Encode.ldx(BPF_DW, 3, 6, contextOffset))
  if (isRequired) requireTold(code, 3)
  emit(
    code,
    Encode.jmpImm(BPF_JEQ, 3, 0, 10),
    address(1, to),
    Encode.mov64Imm(2, size),
    Encode.ldx(BPF_W, 0, 6, Layout.Context.FLAGS),
    Encode.jmpImm(BPF_JSET, 0, Layout.BPF_SKEL_KERNEL, 2),
    Encode.callHelper(Layout.Helper.COPY_FROM_USER),
    Encode.ja(1),
    Encode.callHelper(Layout.Helper.PROBE_READ_KERNEL),
    Encode.mov64Reg(7, 0)
  )
  checkError(code)
}
