/**
 * Instructions from their parts: one function per kind, each answering with the bytes of one instruction in the
 * library's little-endian form (16 for a 64-bit immediate load, else 8). `program` joins them.
 *
 * Argument order follows the kernel's macros: size or operation, destination, source, offset or immediate.
 *
 * Immediates may be given signed or unsigned (-2147483648 to 4294967295; 64-bit ones likewise), offsets from -32768 to
 * 32767. An operand out of its range is a mistake in the program that writes code, and throws `InsnError` with reason
 * `Operand`; around code whose operands come from elsewhere put `assemble`, which makes that error a `Result`.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import { CALL, EXIT, fitsImm, fitsOffset, JA, JA32, JA_INDIRECT, JCOND, LD_IMM64, setImm64, setSlot } from "./Insn.ts"
import {
  BPF_ABS,
  BPF_ADD,
  BPF_ADDR_SPACE_CAST,
  BPF_ALU,
  BPF_ALU64,
  BPF_AND,
  BPF_ATOMIC,
  BPF_CMPXCHG,
  BPF_END,
  BPF_FETCH,
  BPF_IND,
  BPF_INSN_SIZE,
  BPF_JMP,
  BPF_JMP32,
  BPF_K,
  BPF_LD,
  BPF_LDX,
  BPF_LOAD_ACQ,
  BPF_MAY_GOTO,
  BPF_MEM,
  BPF_MEMSX,
  BPF_MOV,
  BPF_NEG,
  BPF_OR,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_IDX,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_PSEUDO_MAP_VALUE,
  BPF_ST,
  BPF_STORE_REL,
  BPF_STX,
  BPF_TO_BE,
  BPF_TO_LE,
  BPF_X,
  BPF_XCHG,
  BPF_XOR,
  MAX_BPF_REG
} from "./InsnConstants.ts"
import type {
  BPF_ARSH,
  BPF_B,
  BPF_DIV,
  BPF_DW,
  BPF_H,
  BPF_JEQ,
  BPF_JGE,
  BPF_JGT,
  BPF_JLE,
  BPF_JLT,
  BPF_JNE,
  BPF_JSET,
  BPF_JSGE,
  BPF_JSGT,
  BPF_JSLE,
  BPF_JSLT,
  BPF_LSH,
  BPF_MOD,
  BPF_MUL,
  BPF_RSH,
  BPF_SUB,
  BPF_W
} from "./InsnConstants.ts"
import { InsnError, isInsnError } from "./InsnError.ts"

/** A register that a program may name: BPF_REG_0 to BPF_REG_10. */
export type Register = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10

/** The size of a load or store: BPF_B, BPF_H, BPF_W or BPF_DW. */
export type Size = typeof BPF_B | typeof BPF_H | typeof BPF_W | typeof BPF_DW

/** The size of a load that extends the sign. */
export type ShortSize = typeof BPF_B | typeof BPF_H | typeof BPF_W

/** The size of an atomic operation that reads and writes. */
export type AtomicSize = typeof BPF_W | typeof BPF_DW

/** An arithmetic operation with two operands. */
export type AluOperation =
  | typeof BPF_ADD
  | typeof BPF_SUB
  | typeof BPF_MUL
  | typeof BPF_DIV
  | typeof BPF_OR
  | typeof BPF_AND
  | typeof BPF_LSH
  | typeof BPF_RSH
  | typeof BPF_MOD
  | typeof BPF_XOR
  | typeof BPF_MOV
  | typeof BPF_ARSH

/** An arithmetic operation that has a signed form of its own. */
export type SignedAluOperation = typeof BPF_DIV | typeof BPF_MOD

/** A comparison that a conditional jump makes. */
export type Comparison =
  | typeof BPF_JEQ
  | typeof BPF_JGT
  | typeof BPF_JGE
  | typeof BPF_JSET
  | typeof BPF_JNE
  | typeof BPF_JSGT
  | typeof BPF_JSGE
  | typeof BPF_JLT
  | typeof BPF_JLE
  | typeof BPF_JSLT
  | typeof BPF_JSLE

const refuse = (field: string, value: number | bigint, hint?: string): never => {
  throw new InsnError({ reason: "Operand", field, value: String(value), ...(hint === undefined ? {} : { hint }) })
}

const register = (field: string, value: number): number =>
  Number.isInteger(value) && value >= 0 && value < MAX_BPF_REG ? value : refuse(`${field}, a register`, value)

const imm32 = (field: string, value: number): number =>
  fitsImm(value) || value >>> 0 === value ? value : refuse(`${field}, 32 bits`, value)

const slot = (opcode: number, dst: number, src: number, offset: number, imm: number): Uint8Array => {
  const bytes = new Uint8Array(BPF_INSN_SIZE)
  setSlot(
    bytes,
    0,
    opcode,
    register("dst", dst),
    src,
    fitsOffset(offset) ? offset : refuse("offset, 16 signed bits", offset),
    imm32("imm", imm)
  )
  return bytes
}

const slots = (dst: number, src: number, imm: number, nextImm: number): Uint8Array => {
  const bytes = new Uint8Array(2 * BPF_INSN_SIZE)
  setSlot(bytes, 0, LD_IMM64, register("dst", dst), src, 0, imm32("imm", imm))
  setSlot(bytes, 1, 0, 0, 0, 0, imm32("next_imm", nextImm))
  return bytes
}

const withSource = (opcode: number, dst: number, src: number, offset: number, imm: number): Uint8Array =>
  slot(opcode, dst, register("src", src), offset, imm)

// Programs

/** Instructions joined into one stream, in the order given. */
export const program = (...insns: ReadonlyArray<Uint8Array>): Uint8Array => {
  let length = 0
  for (const insn of insns) length += insn.length
  const code = new Uint8Array(length)
  let at = 0
  for (const insn of insns) {
    code.set(insn, at)
    at += insn.length
  }
  return code
}

/** Runs `body`, which writes code; an operand out of its range becomes the failure of the result. */
export const assemble = <A>(body: () => A): Result.Result<A, InsnError> => attempt(isInsnError, body)

/**
 * Any slot from its fields, whether such an instruction exists or not; `src` may be 0 to 15 here. For instructions newer
 * than this module and for tests.
 */
export const raw = (opcode: number, dst: number, src: number, offset: number, imm: number): Uint8Array => {
  if (!Number.isInteger(opcode) || opcode < 0 || opcode > 0xff) refuse("opcode, 8 bits", opcode)
  if (!Number.isInteger(dst) || dst < 0 || dst > 0xf) refuse("dst, 4 bits", dst)
  if (!Number.isInteger(src) || src < 0 || src > 0xf) refuse("src, 4 bits", src)
  if (!fitsOffset(offset)) refuse("offset, 16 signed bits", offset)
  const bytes = new Uint8Array(BPF_INSN_SIZE)
  setSlot(bytes, 0, opcode, dst, src, offset, imm32("imm", imm))
  return bytes
}

// Arithmetic

/** 64-bit arithmetic, `dst op= src`. */
export const alu64Reg = (op: AluOperation, dst: Register, src: Register): Uint8Array =>
  withSource(BPF_ALU64 | op | BPF_X, dst, src, 0, 0)

/** 64-bit arithmetic, `dst op= imm`, the immediate sign-extended. */
export const alu64Imm = (op: AluOperation, dst: Register, imm: number): Uint8Array =>
  slot(BPF_ALU64 | op | BPF_K, dst, 0, 0, imm)

/** 32-bit arithmetic, `dst op= src`; the upper half of `dst` becomes zero. */
export const alu32Reg = (op: AluOperation, dst: Register, src: Register): Uint8Array =>
  withSource(BPF_ALU | op | BPF_X, dst, src, 0, 0)

/** 32-bit arithmetic, `dst op= imm`; the upper half of `dst` becomes zero. */
export const alu32Imm = (op: AluOperation, dst: Register, imm: number): Uint8Array =>
  slot(BPF_ALU | op | BPF_K, dst, 0, 0, imm)

/** 64-bit signed division or remainder by a register. Instruction set version 4. */
export const signed64Reg = (op: SignedAluOperation, dst: Register, src: Register): Uint8Array =>
  withSource(BPF_ALU64 | op | BPF_X, dst, src, 1, 0)

/** 64-bit signed division or remainder by an immediate. Instruction set version 4. */
export const signed64Imm = (op: SignedAluOperation, dst: Register, imm: number): Uint8Array =>
  slot(BPF_ALU64 | op | BPF_K, dst, 0, 1, imm)

/** 32-bit signed division or remainder by a register. Instruction set version 4. */
export const signed32Reg = (op: SignedAluOperation, dst: Register, src: Register): Uint8Array =>
  withSource(BPF_ALU | op | BPF_X, dst, src, 1, 0)

/** 32-bit signed division or remainder by an immediate. Instruction set version 4. */
export const signed32Imm = (op: SignedAluOperation, dst: Register, imm: number): Uint8Array =>
  slot(BPF_ALU | op | BPF_K, dst, 0, 1, imm)

/** `dst = -dst`, 64 bits. */
export const neg64 = (dst: Register): Uint8Array => slot(BPF_ALU64 | BPF_NEG, dst, 0, 0, 0)

/** `dst = -dst`, 32 bits; the upper half of `dst` becomes zero. */
export const neg32 = (dst: Register): Uint8Array => slot(BPF_ALU | BPF_NEG, dst, 0, 0, 0)

/** `dst = src`, 64 bits. */
export const mov64Reg = (dst: Register, src: Register): Uint8Array => alu64Reg(BPF_MOV, dst, src)

/** `dst = imm`, sign-extended to 64 bits. */
export const mov64Imm = (dst: Register, imm: number): Uint8Array => alu64Imm(BPF_MOV, dst, imm)

/** `dst = src`, the lower 32 bits; the upper half of `dst` becomes zero. */
export const mov32Reg = (dst: Register, src: Register): Uint8Array => alu32Reg(BPF_MOV, dst, src)

/** `dst = imm`; the upper half of `dst` becomes zero. */
export const mov32Imm = (dst: Register, imm: number): Uint8Array => alu32Imm(BPF_MOV, dst, imm)

/** `dst` = the low `bits` of `src`, sign-extended to 64 bits. Instruction set version 4. */
export const movsx64 = (bits: 8 | 16 | 32, dst: Register, src: Register): Uint8Array =>
  withSource(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, bits, 0)

/** `dst` = the low `bits` of `src`, sign-extended to 32 bits, the upper half zero. Instruction set version 4. */
export const movsx32 = (bits: 8 | 16, dst: Register, src: Register): Uint8Array =>
  withSource(BPF_ALU | BPF_MOV | BPF_X, dst, src, bits, 0)

/** `dst` = the arena pointer `src`, cast between address spaces. */
export const addrSpaceCast = (dst: Register, src: Register, to: number, from: number): Uint8Array => {
  if (!Number.isInteger(to) || to < 0 || to > 0xffff) refuse("address space, 16 bits", to)
  if (!Number.isInteger(from) || from < 0 || from > 0xffff) refuse("address space, 16 bits", from)
  return withSource(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, BPF_ADDR_SPACE_CAST, to * 0x10000 + from)
}

/** The low `bits` of `dst` between the target's byte order and little-endian; bits above become zero. */
export const le = (bits: 16 | 32 | 64, dst: Register): Uint8Array =>
  slot(BPF_ALU | BPF_END | BPF_TO_LE, dst, 0, 0, bits)

/** The low `bits` of `dst` between the target's byte order and big-endian; bits above become zero. */
export const be = (bits: 16 | 32 | 64, dst: Register): Uint8Array =>
  slot(BPF_ALU | BPF_END | BPF_TO_BE, dst, 0, 0, bits)

/** The bytes of the low `bits` of `dst` in reverse; bits above become zero. Instruction set version 4. */
export const bswap = (bits: 16 | 32 | 64, dst: Register): Uint8Array => slot(BPF_ALU64 | BPF_END, dst, 0, 0, bits)

// 64-bit immediate loads

/** `dst` = any 64-bit number, signed or unsigned. */
export const ldImm64 = (dst: Register, value: bigint | number): Uint8Array => {
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    refuse("imm64, 64 bits", value, "give a number beyond 2^53 as a bigint")
  }
  const wide = BigInt(value)
  if (BigInt.asIntN(64, wide) !== wide && BigInt.asUintN(64, wide) !== wide) refuse("imm64, 64 bits", wide)
  const bytes = slots(dst, 0, 0, 0)
  setImm64(bytes, 0, wide)
  return bytes
}

/** `dst` = the map of descriptor `fd`. */
export const ldMapFd = (dst: Register, fd: number): Uint8Array => slots(dst, BPF_PSEUDO_MAP_FD, fd, 0)

/** `dst` = the address `offset` bytes into the first value of the map of descriptor `fd`. */
export const ldMapValue = (dst: Register, fd: number, offset: number): Uint8Array =>
  slots(dst, BPF_PSEUDO_MAP_VALUE, fd, offset)

/** `dst` = the map at `index` of the load call's `fd_array`. */
export const ldMapIdx = (dst: Register, index: number): Uint8Array => slots(dst, BPF_PSEUDO_MAP_IDX, index, 0)

/** `dst` = the address `offset` bytes into the first value of the map at `index` of the load call's `fd_array`. */
export const ldMapIdxValue = (dst: Register, index: number, offset: number): Uint8Array =>
  slots(dst, BPF_PSEUDO_MAP_IDX_VALUE, index, offset)

/** `dst` = the address of the kernel variable of BTF id `id`, in the BTF of descriptor `btfFd` (0: vmlinux). */
export const ldBtfId = (dst: Register, id: number, btfFd = 0): Uint8Array => slots(dst, BPF_PSEUDO_BTF_ID, id, btfFd)

/** `dst` = the address of the subprogram that starts `distance` slots after this instruction's first slot, plus one. */
export const ldFunc = (dst: Register, distance: number): Uint8Array => slots(dst, BPF_PSEUDO_FUNC, distance, 0)

// Loads and stores

/** `dst = *(size *)(src + offset)`, zero-extended. */
export const ldx = (size: Size, dst: Register, src: Register, offset: number): Uint8Array =>
  withSource(BPF_LDX | BPF_MEM | size, dst, src, offset, 0)

/** `dst = *(size *)(src + offset)`, sign-extended to 64 bits. Instruction set version 4. */
export const ldxSigned = (size: ShortSize, dst: Register, src: Register, offset: number): Uint8Array =>
  withSource(BPF_LDX | BPF_MEMSX | size, dst, src, offset, 0)

/** `*(size *)(dst + offset) = imm`, sign-extended where the size is 8 bytes. */
export const st = (size: Size, dst: Register, offset: number, imm: number): Uint8Array =>
  slot(BPF_ST | BPF_MEM | size, dst, 0, offset, imm)

/** `*(size *)(dst + offset) = src` */
export const stx = (size: Size, dst: Register, src: Register, offset: number): Uint8Array =>
  withSource(BPF_STX | BPF_MEM | size, dst, src, offset, 0)

/** `r0` = the packet's number at the fixed offset `imm`, converted from network order. Legacy; needs the context in r6. */
export const ldAbs = (size: ShortSize, imm: number): Uint8Array => slot(BPF_LD | BPF_ABS | size, 0, 0, 0, imm)

/** `r0` = the packet's number at `src + imm`, converted from network order. Legacy; needs the context in r6. */
export const ldInd = (size: ShortSize, src: Register, imm: number): Uint8Array =>
  withSource(BPF_LD | BPF_IND | size, 0, src, 0, imm)

// Atomic operations

const atomic = (operation: number, size: Size, dst: Register, src: Register, offset: number): Uint8Array =>
  withSource(BPF_STX | BPF_ATOMIC | size, dst, src, offset, operation)

/** `*(size *)(dst + offset) += src`, atomic. */
export const atomicAdd = (size: AtomicSize, dst: Register, src: Register, offset: number): Uint8Array =>
  atomic(BPF_ADD, size, dst, src, offset)

/** `*(size *)(dst + offset) |= src`, atomic. Instruction set version 3, as are all but `atomicAdd`. */
export const atomicOr = (size: AtomicSize, dst: Register, src: Register, offset: number): Uint8Array =>
  atomic(BPF_OR, size, dst, src, offset)

/** `*(size *)(dst + offset) &= src`, atomic. */
export const atomicAnd = (size: AtomicSize, dst: Register, src: Register, offset: number): Uint8Array =>
  atomic(BPF_AND, size, dst, src, offset)

/** `*(size *)(dst + offset) ^= src`, atomic. */
export const atomicXor = (size: AtomicSize, dst: Register, src: Register, offset: number): Uint8Array =>
  atomic(BPF_XOR, size, dst, src, offset)

/** As `atomicAdd`; `src` receives the value from before. */
export const atomicFetchAdd = (size: AtomicSize, dst: Register, src: Register, offset: number): Uint8Array =>
  atomic(BPF_ADD | BPF_FETCH, size, dst, src, offset)

/** As `atomicOr`; `src` receives the value from before. */
export const atomicFetchOr = (size: AtomicSize, dst: Register, src: Register, offset: number): Uint8Array =>
  atomic(BPF_OR | BPF_FETCH, size, dst, src, offset)

/** As `atomicAnd`; `src` receives the value from before. */
export const atomicFetchAnd = (size: AtomicSize, dst: Register, src: Register, offset: number): Uint8Array =>
  atomic(BPF_AND | BPF_FETCH, size, dst, src, offset)

/** As `atomicXor`; `src` receives the value from before. */
export const atomicFetchXor = (size: AtomicSize, dst: Register, src: Register, offset: number): Uint8Array =>
  atomic(BPF_XOR | BPF_FETCH, size, dst, src, offset)

/** Exchanges `src` and `*(size *)(dst + offset)`, atomic. */
export const atomicXchg = (size: AtomicSize, dst: Register, src: Register, offset: number): Uint8Array =>
  atomic(BPF_XCHG, size, dst, src, offset)

/** Stores `src` to `*(size *)(dst + offset)` if that equals r0; r0 receives the value from before. Atomic. */
export const atomicCmpxchg = (size: AtomicSize, dst: Register, src: Register, offset: number): Uint8Array =>
  atomic(BPF_CMPXCHG, size, dst, src, offset)

/** `dst = *(size *)(src + offset)`, ordered before all later accesses. Linux 6.15. */
export const loadAcquire = (size: Size, dst: Register, src: Register, offset: number): Uint8Array =>
  atomic(BPF_LOAD_ACQ, size, dst, src, offset)

/** `*(size *)(dst + offset) = src`, ordered after all earlier accesses. Linux 6.15. */
export const storeRelease = (size: Size, dst: Register, src: Register, offset: number): Uint8Array =>
  atomic(BPF_STORE_REL, size, dst, src, offset)

// Jumps, calls, exit. Distances are in slots, counted from the instruction after this one.

/** Jumps over `offset` slots. */
export const ja = (offset: number): Uint8Array => slot(JA, 0, 0, offset, 0)

/** Jumps over `imm` slots, a 32-bit distance. Instruction set version 4. */
export const gotol = (imm: number): Uint8Array => slot(JA32, 0, 0, 0, imm)

/** Jumps to the address in `dst`, which must come from a map of instructions. Linux 6.19. */
export const gotox = (dst: Register): Uint8Array => slot(JA_INDIRECT, dst, 0, 0, 0)

/** Jumps over `offset` slots when the program's iteration budget is spent. Linux 6.9. */
export const mayGoto = (offset: number): Uint8Array => slot(JCOND, 0, BPF_MAY_GOTO, offset, 0)

/** Jumps over `offset` slots if `dst` compares so with `src`, 64 bits. */
export const jmpReg = (op: Comparison, dst: Register, src: Register, offset: number): Uint8Array =>
  withSource(BPF_JMP | op | BPF_X, dst, src, offset, 0)

/** Jumps over `offset` slots if `dst` compares so with the sign-extended immediate, 64 bits. */
export const jmpImm = (op: Comparison, dst: Register, imm: number, offset: number): Uint8Array =>
  slot(BPF_JMP | op | BPF_K, dst, 0, offset, imm)

/** Jumps over `offset` slots if the lower 32 bits of `dst` and `src` compare so. Instruction set version 3. */
export const jmp32Reg = (op: Comparison, dst: Register, src: Register, offset: number): Uint8Array =>
  withSource(BPF_JMP32 | op | BPF_X, dst, src, offset, 0)

/** Jumps over `offset` slots if the lower 32 bits of `dst` and the immediate compare so. Instruction set version 3. */
export const jmp32Imm = (op: Comparison, dst: Register, imm: number, offset: number): Uint8Array =>
  slot(BPF_JMP32 | op | BPF_K, dst, 0, offset, imm)

/** Calls the helper of this id; see `Helpers.ts`. */
export const callHelper = (id: number): Uint8Array => slot(CALL, 0, 0, 0, id)

/** Calls the subprogram that starts `distance` slots after the call. */
export const callSubprogram = (distance: number): Uint8Array => slot(CALL, 0, BPF_PSEUDO_CALL, 0, distance)

/** Calls the kernel function of BTF id `id`, in the BTF at `fdIndex` of the load call's `fd_array` (0: vmlinux). */
export const callKfunc = (id: number, fdIndex = 0): Uint8Array => slot(CALL, 0, BPF_PSEUDO_KFUNC_CALL, fdIndex, id)

/** Returns to the caller, or ends the program. */
export const exit = (): Uint8Array => slot(EXIT, 0, 0, 0, 0)
