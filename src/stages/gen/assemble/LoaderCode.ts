/**
 * The code of a loader while it is assembled: what it does again and again, each as a short sequence of instructions.
 *
 * Registers have fixed roles. R6 is the context throughout, R7 the answer of the last call to the kernel, R8 an instruction
 * that is completed, R9 the other half of an answer, or a descriptor that is being closed; R0 to R5 are scratch. `data + n`
 * stands for the address of byte `n` of the loader's data. Every failure goes to one place, the cleanup near the start, which
 * closes all that is open and returns R7: so a descriptor must be in its slot as soon as it exists, and its slot 0 as soon as it
 * is closed.
 *
 * Source: reference page `gen-loader`, sections 3 and 4. Differences from libbpf: the slot of a descriptor that is
 * closed before the end becomes 0, since otherwise a later failure would close that number, by then perhaps somebody
 * else's, again; and a failure to read a caller's initial value is an error, where libbpf's loaders go on with zeroes.
 */
import * as Encode from "../../../insn/Encode.ts"
import * as Insn from "../../../insn/Insn.ts"
import {
  BPF_ADD,
  BPF_DW,
  BPF_JEQ,
  BPF_JSLE,
  BPF_JSLT,
  BPF_LDX,
  BPF_MEM,
  BPF_PSEUDO_MAP_IDX,
  BPF_W
} from "../../../insn/InsnConstants.ts"
import type { Command } from "../../../services/Kernel/abi/BpfConstants.ts"
import { hostIsLittle } from "../../../services/Kernel/abi/Arena.ts"
import * as Errno from "../../../services/Kernel/abi/Errno.ts"
import { AssembleError } from "../AssembleError.ts"
import * as Layout from "../LoaderLayout.ts"
import {
  OWN_MAP,
  address,
  append,
  emit,
  putAddress,
  putCall,
  putJump,
  putLoad,
  putMove,
  putMoveImm,
  putStore,
  tooFar,
  type Words
} from "./LoaderWords.ts"

export { address, emit } from "./LoaderWords.ts"

/** The code so far. */
export interface LoaderCode extends Words {
  /** The slot of the cleanup, or of a jump that leads there and is nearer. */
  cleanup: number
  /** Where the text is in the data that is printed after a close; `undefined` where nothing is printed. */
  readonly closeText: number | undefined
  /** Whether anything leads to the cleanup. */
  canFail: boolean
}

/** Where a descriptor is kept: bytes from the frame pointer, or from the start of the data. */
export interface Place {
  readonly _tag: "Stack" | "Data"
  readonly offset: number
}

/** Code this long is left behind before a jump back to the cleanup gets a stop on its way; slots. */
const NEAR = 0x6000

/** What is printed after a close. */
export const CLOSE_TEXT = "close(%d) = %d"

/** Room that code begins with. */
const FIRST_WORDS = 64

const begin = (closeText: number | undefined): LoaderCode => ({
  words: new Int32Array(FIRST_WORDS),
  slots: 0,
  cleanup: 0,
  closeText,
  canFail: false
})

/**
 * Begins the code of a loader: keeps the context, empties the stack, and lays down the cleanup, which closes what is open at
 * any of these places. `closeText` is where `CLOSE_TEXT` is in the data of a loader that prints what it does.
 */
export const make = (places: ReadonlyArray<Place>, closeText?: number): LoaderCode => {
  const code = begin(closeText)
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
  const cleanup = begin(closeText)
  for (const place of places) closeOnce(cleanup, place)
  emit(cleanup, Encode.mov64Reg(0, 7), Encode.exit())
  // The loader begins with a jump past its cleanup, and past the first stop on the way back to it.
  if (!Insn.fitsOffset(cleanup.slots + 1)) {
    throw new AssembleError({
      reason: "TooMany",
      call: "loader",
      name: "code",
      detail: `a loader cannot close ${places.length} descriptors: that would be too much code to jump over`,
      hint: "turn the autoload of programs off that are not needed, or record parts of the object"
    })
  }
  const isLong = cleanup.slots > NEAR / 2
  emit(code, Encode.ja(cleanup.slots + (isLong ? 1 : 0)))
  code.cleanup = code.slots
  append(code, cleanup)
  if (isLong) addStop(code)
  return code
}

/** Slots of `printText` of two registers. */
const PRINT_SLOTS = 6

/** Closes the descriptor in R1 unless it is 0. */
const closeR1 = (code: LoaderCode): void => {
  const { closeText } = code
  putJump(code, BPF_JSLE, 1, 0, closeText === undefined ? 1 : 2 + PRINT_SLOTS)
  // The number is kept for what is printed.
  if (closeText !== undefined) putMove(code, 9, 1)
  putCall(code, Layout.Helper.SYS_CLOSE)
  if (closeText !== undefined) printText(code, closeText, CLOSE_TEXT.length + 1, 9, 0)
}

/** Closes the descriptor at a place, which keeps it. */
const closeOnce = (code: LoaderCode, { _tag, offset }: Place): void => {
  if (_tag === "Stack") putLoad(code, BPF_W, 1, 10, offset)
  else {
    putAddress(code, 0, offset)
    putLoad(code, BPF_W, 1, 0, 0)
  }
  closeR1(code)
}

/** Closes the descriptor that is kept at a place, which becomes 0. */
export const closePlace = (code: LoaderCode, place: Place): void => {
  closeOnce(code, place)
  if (place._tag === "Stack") emit(code, Encode.st(BPF_W, 10, place.offset, 0))
  else emit(code, address(0, place.offset), Encode.st(BPF_W, 0, 0, 0))
}

/** Prints a text of the data, `size` bytes with its NUL, with the numbers in up to two registers; R0 to R5 are lost. */
export const printText = (
  code: LoaderCode,
  text: number,
  size: number,
  first?: Encode.Register,
  second?: Encode.Register
): void => {
  // The second may be R0, which nothing before it changes.
  if (second !== undefined) putMove(code, 4, second)
  if (first !== undefined) putMove(code, 3, first)
  putAddress(code, 1, text)
  putMoveImm(code, 2, size)
  putCall(code, Layout.Helper.TRACE_PRINTK)
}

/** `R7 = bpf(command, data + attr, size)` */
export const sysBpf = (
  code: LoaderCode,
  command: (typeof Command)[keyof typeof Command],
  attr: number,
  size: number
): void => {
  putMoveImm(code, 1, command)
  putAddress(code, 2, attr)
  putMoveImm(code, 3, size)
  putCall(code, Layout.Helper.SYS_BPF)
  putMove(code, 7, 0)
}

/** Jumps back to the cleanup from here, for jumps that do not reach so far themselves: from now on failures go here. */
const addStop = (code: LoaderCode): void => {
  const stop = code.slots
  emit(code, Encode.ja(code.cleanup - stop - 1))
  code.cleanup = stop
}

/** Goes to the cleanup when R7 is negative. */
export const checkError = (code: LoaderCode): void => {
  if (code.slots - code.cleanup > NEAR) {
    // A jump reaches 32768 slots back: whoever fails from here on jumps to this jump.
    emit(code, Encode.ja(1))
    addStop(code)
  }
  putJump(code, BPF_JSLT, 7, 0, code.cleanup - code.slots - 1)
  code.canFail = true
}

/** A place further on, to which jumps lead that were emitted before it. */
export interface Label {
  /** The slots of jumps that lead there, in which the distance is still missing. */
  readonly jumps: Array<number>
}

/** A label that nothing leads to yet. */
export const label = (): Label => ({ jumps: [] })

/** Goes to a label further on when R7 is negative. */
export const failTo = (code: LoaderCode, label: Label): void => {
  const first = label.jumps[0]
  if (first !== undefined && code.slots - first > NEAR) {
    // Too far for one jump: what leads to the label meets here, and goes on together.
    emit(code, Encode.ja(1))
    land(code, label)
    goTo(code, label, Encode.ja(0))
  }
  goTo(code, label, Encode.jmpImm(BPF_JSLT, 7, 0, 0))
}

/** Goes to a label further on with this jump, whose distance is filled in when the label's place is known. */
export const goTo = (code: LoaderCode, { jumps }: Label, insn: Uint8Array): void => {
  jumps.push(code.slots)
  emit(code, insn)
}

/** Makes a label stand for this point of the code: what leads to it leads here. Throws `AssembleError` where it is too far. */
export const land = (code: LoaderCode, { jumps }: Label): void => {
  for (const slot of jumps.splice(0)) {
    const distance = code.slots - slot - 1
    if (!Insn.fitsOffset(distance)) throw tooFar(slot, distance)
    code.words[2 * slot] = (code.words[2 * slot] ?? 0) & 0xffff | distance << 16
  }
}

/** Keeps the descriptor in R7 at a place. */
export const keep = (code: LoaderCode, { _tag, offset }: Place): void =>
  _tag === "Stack"
    ? putStore(code, BPF_W, 10, 7, offset)
    : emit(code, address(1, offset), Encode.stx(BPF_W, 1, 7, 0))

/** Words of the digest that the kernel keeps of a map's contents, at the start of its own structure. */
const DIGEST_WORDS = 4

/**
 * Goes to the cleanup with `EINVAL` where the digest of the data, which the kernel keeps with the loader's map, is not the
 * loader's own. Answers with the slots of the instructions that hold that one, which is known when all else is (`setDigest`).
 */
export const checkDigest = (code: LoaderCode): ReadonlyArray<number> =>
  Array.from({ length: DIGEST_WORDS }, (_, word) => {
    emit(code, Encode.ldMapIdx(1, OWN_MAP), Encode.ldx(BPF_DW, 2, 1, 8 * word))
    const own = code.slots
    emit(
      code,
      Encode.ldImm64(3, 0n),
      Encode.mov64Imm(7, 0),
      Encode.jmpReg(BPF_JEQ, 2, 3, 1),
      Encode.mov64Imm(7, -Errno.numbers.EINVAL)
    )
    checkError(code)
    return own
  })

/** Writes a digest into the instructions that compare it. Words are numbers of the machine's byte order. */
export const setDigest = (
  code: LoaderCode,
  slots: ReadonlyArray<number>,
  digest: Uint8Array,
  little: boolean
): void => {
  const view = new DataView(digest.buffer, digest.byteOffset, digest.byteLength)
  slots.forEach((slot, word) => {
    const value = view.getBigUint64(8 * word, little)
    code.words[2 * slot + 1] = Number(BigInt.asIntN(32, value))
    code.words[2 * slot + 3] = Number(BigInt.asIntN(32, value >> 32n))
  })
}

/**
 * The digest that the instructions of a loader compare (`checkDigest`), in the form of a little-endian machine; `undefined` where
 * they compare none.
 */
export const comparedDigest = (insns: Uint8Array, little: boolean): Uint8Array | undefined => {
  const digest = new Uint8Array(8 * DIGEST_WORDS)
  const view = new DataView(digest.buffer)
  let word = 0
  for (let at = 0; at < Insn.count(insns) && word < DIGEST_WORDS; at = Insn.nextSlot(insns, at)) {
    const isMap = Insn.isLdImm64(insns, at) && Insn.dst(insns, at) === 1 &&
      Insn.src(insns, at) === BPF_PSEUDO_MAP_IDX &&
      Insn.imm(insns, at) === OWN_MAP
    const isWord = Insn.opcode(insns, at + 2) === (BPF_LDX | BPF_MEM | BPF_DW) && Insn.src(insns, at + 2) === 1 &&
      Insn.offset(insns, at + 2) === 8 * word
    if (!isMap || !isWord || !Insn.isLdImm64(insns, at + 3) || Insn.src(insns, at + 3) !== 0) continue
    view.setBigUint64(8 * word, Insn.imm64(insns, at + 3), little)
    word++
  }
  return word === DIGEST_WORDS ? digest : undefined
}

/** Returns 0. */
export const succeed = (code: LoaderCode): void => {
  if (!code.canFail) {
    // The verifier refuses code that nothing leads to, the cleanup of a loader that does nothing included.
    emit(code, Encode.mov64Imm(7, 0))
    checkError(code)
  }
  emit(code, Encode.mov64Imm(0, 0), Encode.exit())
}

/** All of the code. */
export const join = ({ slots, words }: LoaderCode): Uint8Array => {
  if (hostIsLittle) return new Uint8Array(words.buffer, words.byteOffset, 8 * slots).slice()
  const whole = new Uint8Array(8 * slots)
  const view = new DataView(whole.buffer)
  for (let at = 0; at < 2 * slots; at++) view.setInt32(4 * at, words[at] ?? 0, true)
  return whole
}
