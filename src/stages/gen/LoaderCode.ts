/**
 * The code of a loader while it is assembled: what it does again and again, each as a short sequence of instructions.
 *
 * Registers have fixed roles. R6 is the context throughout, R7 the answer of the last call to the kernel, R9 a
 * descriptor that is about to be closed; R0 to R5 are scratch. `data + n` stands for the address of byte `n` of the
 * loader's data. Every failure goes to one place, the cleanup near the start, which closes all that is open and returns
 * R7: so a descriptor must be in its slot as soon as it exists, and its slot 0 as soon as it is closed.
 *
 * Source: reference page `gen-loader`, sections 3 and 4. Differences from libbpf: the slot of a descriptor that is
 * closed before the end becomes 0, since otherwise a later failure would close that number, by then perhaps somebody
 * else's, again; and a failure to read a caller's initial value is an error, where libbpf's loaders go on with zeroes.
 */
import * as Encode from "../../insn/Encode.ts"
import { fitsOffset } from "../../insn/Insn.ts"
import { BPF_ADD, BPF_DW, BPF_JEQ, BPF_JSET, BPF_JSLE, BPF_JSLT, BPF_W } from "../../insn/InsnConstants.ts"
import type { Command } from "../../services/Kernel/abi/BpfConstants.ts"
import { AssembleError } from "./AssembleError.ts"
import * as Layout from "./LoaderLayout.ts"

/** The code so far. */
export interface LoaderCode {
  readonly parts: Array<Uint8Array>
  /** Length in instruction slots. */
  slots: number
  /** The slot of the cleanup. */
  cleanup: number
}

/** Where a descriptor is kept: bytes from the frame pointer, or from the start of the data. */
export interface Place {
  readonly _tag: "Stack" | "Data"
  readonly offset: number
}

/** Appends instructions. */
const emit = (code: LoaderCode, ...insns: ReadonlyArray<Uint8Array>): void => {
  for (const insn of insns) {
    code.parts.push(insn)
    code.slots += insn.length / 8
  }
}

/** The number of the loader's own map in the `fd_array` that it is loaded with. */
const OWN_MAP = 0

/** `register = data + offset`: two slots. */
const address = (register: Encode.Register, offset: number): Uint8Array =>
  Encode.ldMapIdxValue(register, OWN_MAP, offset)

/** Sizes of what is copied, in bytes, as the instructions name them. */
const sizes = { 4: BPF_W, 8: BPF_DW } as const

type CopySize = keyof typeof sizes

/** Begins the code of a loader: keeps the context, empties the stack, and lays down the cleanup. */
export const make = (maps: number, programs: number): LoaderCode => {
  const code: LoaderCode = { parts: [], slots: 0, cleanup: 0 }
  emit(
    code,
    Encode.mov64Reg(6, 1),
    // Reading from address 0 fails, and a failed read fills the destination with zeroes: the shortest way to do that.
    Encode.mov64Reg(1, 10),
    Encode.alu64Imm(BPF_ADD, 1, -Layout.STACK_SIZE),
    Encode.mov64Imm(2, Layout.STACK_SIZE),
    Encode.mov64Imm(3, 0),
    Encode.callHelper(Layout.Helper.PROBE_READ_KERNEL)
  )
  const words = 2 + programs
  const cleanupSlots = words * 3 + maps * 6 + 2
  emit(code, Encode.ja(cleanupSlots))
  code.cleanup = code.slots
  for (let word = 0; word < words; word++) {
    emit(
      code,
      Encode.ldx(BPF_W, 1, 10, -Layout.STACK_SIZE + 4 * word),
      Encode.jmpImm(BPF_JSLE, 1, 0, 1),
      Encode.callHelper(Layout.Helper.SYS_CLOSE)
    )
  }
  for (let map = 0; map < maps; map++) closeInData(code, 4 * map)
  emit(code, Encode.mov64Reg(0, 7), Encode.exit())
  return code
}

/** Closes the descriptor in R1 unless it is 0. */
const closeR1 = (code: LoaderCode): void =>
  emit(
    code,
    Encode.jmpImm(BPF_JSLE, 1, 0, 2),
    Encode.mov64Reg(9, 1),
    Encode.callHelper(Layout.Helper.SYS_CLOSE)
  )

const closeInData = (code: LoaderCode, offset: number): void => {
  emit(code, address(0, offset), Encode.ldx(BPF_W, 1, 0, 0))
  closeR1(code)
}

/** Closes the descriptor at an offset of the data, which becomes 0. */
const closeData = (code: LoaderCode, offset: number): void => {
  closeInData(code, offset)
  emit(code, address(0, offset), Encode.st(BPF_W, 0, 0, 0))
}

/** Closes the descriptor at an offset of the stack, which becomes 0. */
const closeStack = (code: LoaderCode, offset: number): void => {
  emit(code, Encode.ldx(BPF_W, 1, 10, offset))
  closeR1(code)
  emit(code, Encode.st(BPF_W, 10, offset, 0))
}

/** Closes the descriptor that is kept at a place, which becomes 0. */
export const closePlace = (code: LoaderCode, { _tag, offset }: Place): void =>
  _tag === "Stack" ? closeStack(code, offset) : closeData(code, offset)

/** `*(u64 *)(data + at) = data + pointee` */
export const storeAddress = (code: LoaderCode, at: number, pointee: number): void =>
  emit(code, address(0, pointee), address(1, at), Encode.stx(BPF_DW, 1, 0, 0))

/** Copies between two places of the data. */
const dataToData = (code: LoaderCode, to: number, size: CopySize, from: number): void =>
  emit(
    code,
    address(2, from),
    Encode.ldx(sizes[size], 0, 2, 0),
    address(1, to),
    Encode.stx(sizes[size], 1, 0, 0)
  )

/** Copies from the data to the context. */
const dataToContext = (code: LoaderCode, to: number, size: CopySize, from: number): void =>
  emit(code, address(1, from), Encode.ldx(sizes[size], 0, 1, 0), Encode.stx(sizes[size], 6, 0, to))

/** Copies from the context to the data; `unlessZero` leaves the data as it is where the context has 0. */
export const contextToData = (
  code: LoaderCode,
  to: number,
  size: CopySize,
  from: number,
  unlessZero: boolean = false
): void =>
  emit(
    code,
    Encode.ldx(sizes[size], 0, 6, from),
    ...(unlessZero ? [Encode.jmpImm(BPF_JEQ, 0, 0, 3)] : []),
    address(1, to),
    Encode.stx(sizes[size], 1, 0, 0)
  )

/** Copies 4 bytes from the stack to the data. */
const stackToData = (code: LoaderCode, to: number, from: number): void =>
  emit(code, Encode.ldx(BPF_W, 0, 10, from), address(1, to), Encode.stx(BPF_W, 1, 0, 0))

/** Copies 4 bytes from the stack to the context. */
const stackToContext = (code: LoaderCode, to: number, from: number): void =>
  emit(code, Encode.ldx(BPF_W, 0, 10, from), Encode.stx(BPF_W, 6, 0, to))

/** Copies the descriptor that is kept at a place into the data. */
export const placeToData = (code: LoaderCode, to: number, { _tag, offset }: Place): void =>
  _tag === "Stack" ? stackToData(code, to, offset) : dataToData(code, to, 4, offset)

/** Copies the descriptor that is kept at a place into the context. */
export const placeToContext = (code: LoaderCode, to: number, { _tag, offset }: Place): void =>
  _tag === "Stack" ? stackToContext(code, to, offset) : dataToContext(code, to, 4, offset)

/** `R7 = bpf(command, data + attr, size)` */
export const sysBpf = (
  code: LoaderCode,
  command: (typeof Command)[keyof typeof Command],
  attr: number,
  size: number
): void =>
  emit(
    code,
    Encode.mov64Imm(1, command),
    address(2, attr),
    Encode.mov64Imm(3, size),
    Encode.callHelper(Layout.Helper.SYS_BPF),
    Encode.mov64Reg(7, 0)
  )

/** Goes to the cleanup when R7 is negative. Throws `AssembleError` where that is too far for a jump. */
export const checkError = (code: LoaderCode): void => {
  const offset = code.cleanup - code.slots - 1
  if (!fitsOffset(offset)) {
    throw new AssembleError({
      reason: "TooLarge",
      call: "loader",
      name: "code",
      detail: `a failure at instruction ${code.slots} cannot jump to the cleanup, ${-offset} instructions back`,
      hint: "load fewer maps and programs with one loader"
    })
  }
  emit(code, Encode.jmpImm(BPF_JSLT, 7, 0, offset))
}

/** Keeps the descriptor in R7 at a place. */
export const keep = (code: LoaderCode, { _tag, offset }: Place): void =>
  _tag === "Stack"
    ? emit(code, Encode.stx(BPF_W, 10, 7, offset))
    : emit(code, address(1, offset), Encode.stx(BPF_W, 1, 7, 0))

/**
 * Replaces `size` bytes of the data by those at the address that is at an offset of the context, unless that is 0. The
 * context's flags say whether it is an address of the kernel or of the calling process.
 */
export const replaceByCallers = (code: LoaderCode, to: number, size: number, contextOffset: number): void => {
  emit(
    code,
    Encode.ldx(BPF_DW, 3, 6, contextOffset),
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

/** Returns 0. */
export const succeed = (code: LoaderCode): void => emit(code, Encode.mov64Imm(0, 0), Encode.exit())

/** All of the code. */
export const join = (code: LoaderCode): Uint8Array => Encode.program(...code.parts)
