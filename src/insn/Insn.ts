/**
 * BPF instructions, read and written in place: functions over a stream of code and the number of a slot.
 *
 * Code is a `Uint8Array` of 8-byte slots, always in the little-endian form of the instruction set, whatever the target's
 * byte order: an object of a big-endian target is converted once when it is opened (`fromByteOrder`) and once when its
 * code leaves the library (`toByteOrder`). A slot is `opcode` (1 byte), `dst` and `src` (low and high half of a byte),
 * `offset` (2 bytes, signed) and `imm` (4 bytes, signed). A 64-bit immediate load takes two slots, of which the second
 * has an immediate only.
 *
 * Readers are total: a field outside the code reads as 0. Setters store outside the code nowhere, and keep the low bits
 * of a value that is too wide: check it with `fitsOffset` or `fitsImm` first. They are meant for a private copy inside
 * one function; code that was handed out is never changed.
 *
 * Source of the format: RFC 9669 and the kernel's `Documentation/bpf/standardization/instruction-set.rst`.
 */
import {
  BPF_ALU,
  BPF_ALU64,
  BPF_ATOMIC,
  BPF_CALL,
  BPF_DW,
  BPF_EXIT,
  BPF_IMM,
  BPF_INSN_SIZE,
  BPF_JA,
  BPF_JCOND,
  BPF_JMP,
  BPF_JMP32,
  BPF_K,
  BPF_LD,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_IDX,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_PSEUDO_MAP_VALUE,
  BPF_STX,
  BPF_X
} from "./InsnConstants.ts"

/** A byte order of a target. */
export type ByteOrder = "little" | "big"

/** Opcode of the 64-bit immediate load, which takes two slots. */
export const LD_IMM64: number = BPF_LD | BPF_DW | BPF_IMM
/** Opcode of all three kinds of call. */
export const CALL: number = BPF_JMP | BPF_CALL | BPF_K
/** Opcode of exit. */
export const EXIT: number = BPF_JMP | BPF_EXIT | BPF_K
/** Opcode of the jump by a 16-bit offset. */
export const JA: number = BPF_JMP | BPF_JA | BPF_K
/** Opcode of the jump by a 32-bit immediate (`gotol`). */
export const JA32: number = BPF_JMP32 | BPF_JA | BPF_K
/** Opcode of the jump through a register (`gotox`). */
export const JA_INDIRECT: number = BPF_JMP | BPF_JA | BPF_X
/** Opcode of the jump on a condition named by `src` (`may_goto`). */
export const JCOND: number = BPF_JMP | BPF_JCOND | BPF_K

// A typed array reads undefined outside its bounds, which `|` turns into 0: no branch, no out-of-bounds value.
const byte = (code: Uint8Array, at: number): number => code[at] as number

// Size of a stream

/** Number of whole slots in the code. */
export const count = (code: Uint8Array): number => Math.floor(code.length / BPF_INSN_SIZE)

/** Number of slots that the instruction at `slot` takes: 2 for a 64-bit immediate load, else 1. */
export const width = (code: Uint8Array, slot: number): 1 | 2 => (opcode(code, slot) === LD_IMM64 ? 2 : 1)

/**
 * The slot of the instruction after the one at `slot`, for walks without an iterator:
 * `for (let slot = 0; slot < count(code); slot = nextSlot(code, slot))`.
 */
export const nextSlot = (code: Uint8Array, slot: number): number => slot + width(code, slot)

/** A view of the bytes of the instruction at `slot`: 16 for a complete 64-bit immediate load, else 8. */
export const bytes = (code: Uint8Array, slot: number): Uint8Array =>
  code.subarray(slot * BPF_INSN_SIZE, nextSlot(code, slot) * BPF_INSN_SIZE)

// Fields

/** The opcode, 0 to 255. */
export const opcode = (code: Uint8Array, slot: number): number => byte(code, slot * 8) | 0

/** The destination register, 0 to 15. */
export const dst = (code: Uint8Array, slot: number): number => byte(code, slot * 8 + 1) & 0x0f

/** The source register, 0 to 15; in calls and 64-bit immediate loads it says what the immediate stands for. */
export const src = (code: Uint8Array, slot: number): number => (byte(code, slot * 8 + 1) >> 4) & 0x0f

/** The offset, -32768 to 32767. */
export const offset = (code: Uint8Array, slot: number): number => {
  const at = slot * 8
  return ((byte(code, at + 2) | (byte(code, at + 3) << 8)) << 16) >> 16
}

/** The immediate, -2147483648 to 2147483647. */
export const imm = (code: Uint8Array, slot: number): number => {
  const at = slot * 8
  return byte(code, at + 4) | (byte(code, at + 5) << 8) | (byte(code, at + 6) << 16) | (byte(code, at + 7) << 24)
}

/** The immediate of the slot after this one, signed: the upper half of a 64-bit immediate. */
export const nextImm = (code: Uint8Array, slot: number): number => imm(code, slot + 1)

/** The 64-bit immediate of the two slots from `slot` on, unsigned. */
export const imm64 = (code: Uint8Array, slot: number): bigint =>
  (BigInt(nextImm(code, slot) >>> 0) << 32n) | BigInt(imm(code, slot) >>> 0)

// Parts of the opcode

/** The instruction class, one of BPF_LD … BPF_ALU64. */
export const insnClass = (code: Uint8Array, slot: number): number => opcode(code, slot) & 0x07

/** The operation of an arithmetic or jump instruction, such as BPF_ADD or BPF_JEQ. */
export const op = (code: Uint8Array, slot: number): number => opcode(code, slot) & 0xf0

/** Where the second operand of an arithmetic or jump instruction is: BPF_K or BPF_X. */
export const source = (code: Uint8Array, slot: number): number => opcode(code, slot) & 0x08

/** The size of a load or store, one of BPF_B, BPF_H, BPF_W, BPF_DW. */
export const size = (code: Uint8Array, slot: number): number => opcode(code, slot) & 0x18

/** The mode of a load or store, such as BPF_MEM or BPF_ATOMIC. */
export const mode = (code: Uint8Array, slot: number): number => opcode(code, slot) & 0xe0

/** The size of a load or store in bytes: 1, 2, 4 or 8. */
export const sizeInBytes = (code: Uint8Array, slot: number): number => (0x8124 >> ((size(code, slot) >> 3) * 4)) & 0xf

// Kinds of instruction

/** Whether it is 32-bit or 64-bit arithmetic. */
export const isAlu = (code: Uint8Array, slot: number): boolean => {
  const cls = insnClass(code, slot)
  return cls === BPF_ALU || cls === BPF_ALU64
}

/** Whether it is a 64-bit immediate load, of whatever meaning. */
export const isLdImm64 = (code: Uint8Array, slot: number): boolean => opcode(code, slot) === LD_IMM64

/** Whether it is a 64-bit immediate load of a map or of an address in a map's value, by descriptor or by index. */
export const isMapReference = (code: Uint8Array, slot: number): boolean => {
  if (!isLdImm64(code, slot)) return false
  const pseudo = src(code, slot)
  return pseudo === BPF_PSEUDO_MAP_FD || pseudo === BPF_PSEUDO_MAP_VALUE ||
    pseudo === BPF_PSEUDO_MAP_IDX || pseudo === BPF_PSEUDO_MAP_IDX_VALUE
}

/** Whether it is a 64-bit immediate load of the address of a kernel variable, by its BTF id. */
export const isBtfIdReference = (code: Uint8Array, slot: number): boolean =>
  isLdImm64(code, slot) && src(code, slot) === BPF_PSEUDO_BTF_ID

/** Whether it is a 64-bit immediate load of the address of a subprogram. */
export const isFunctionReference = (code: Uint8Array, slot: number): boolean =>
  isLdImm64(code, slot) && src(code, slot) === BPF_PSEUDO_FUNC

/** Whether it is a call, of whatever kind. */
export const isCall = (code: Uint8Array, slot: number): boolean => opcode(code, slot) === CALL

/** Whether it calls a helper by its id. */
export const isHelperCall = (code: Uint8Array, slot: number): boolean => isCall(code, slot) && src(code, slot) === 0

/** Whether it calls a subprogram of the same program. */
export const isSubprogramCall = (code: Uint8Array, slot: number): boolean =>
  isCall(code, slot) && src(code, slot) === BPF_PSEUDO_CALL

/** Whether it calls a kernel function by its BTF id. */
export const isKfuncCall = (code: Uint8Array, slot: number): boolean =>
  isCall(code, slot) && src(code, slot) === BPF_PSEUDO_KFUNC_CALL

/** Whether it is an exit. */
export const isExit = (code: Uint8Array, slot: number): boolean => opcode(code, slot) === EXIT

/** Whether it is an atomic operation; `imm` says which. */
export const isAtomic = (code: Uint8Array, slot: number): boolean =>
  insnClass(code, slot) === BPF_STX && mode(code, slot) === BPF_ATOMIC

/** Whether it is an unconditional jump: by offset, by immediate or through a register. */
export const isUnconditionalJump = (code: Uint8Array, slot: number): boolean => {
  const value = opcode(code, slot)
  return value === JA || value === JA32 || value === JA_INDIRECT
}

/** Whether it may jump or go on with the next instruction: a comparison or `may_goto`. */
export const isConditionalJump = (code: Uint8Array, slot: number): boolean => {
  const value = opcode(code, slot)
  const cls = value & 0x07
  if (cls !== BPF_JMP && cls !== BPF_JMP32) return false
  if (value === JCOND) return true
  const operation = value & 0xf0
  return operation !== BPF_JA && operation !== BPF_CALL && operation !== BPF_EXIT && operation < BPF_JCOND
}

/** Whether it is a jump, conditional or not; calls and exit are none. */
export const isJump = (code: Uint8Array, slot: number): boolean =>
  isUnconditionalJump(code, slot) || isConditionalJump(code, slot)

/**
 * The slot that a jump leads to when it is taken, or undefined where the instruction is no jump or jumps through a
 * register. The slot may lie outside the code: nothing checked it.
 */
export const jumpTarget = (code: Uint8Array, slot: number): number | undefined => {
  if (opcode(code, slot) === JA32) return slot + 1 + imm(code, slot)
  if (opcode(code, slot) === JA || isConditionalJump(code, slot)) return slot + 1 + offset(code, slot)
  return undefined
}

/**
 * The first slot of the subprogram that the instruction calls or takes the address of, by its immediate; undefined where
 * it does neither. The slot may lie outside the code: nothing checked it.
 */
export const subprogramTarget = (code: Uint8Array, slot: number): number | undefined =>
  isSubprogramCall(code, slot) || isFunctionReference(code, slot) ? slot + 1 + imm(code, slot) : undefined

// Ranges

/** Whether a number fits the offset field: an integer of -32768 to 32767. */
export const fitsOffset = (value: number): boolean => Number.isInteger(value) && value >= -0x8000 && value <= 0x7fff

/** Whether a number fits the immediate as a signed value: an integer of -2147483648 to 2147483647. */
export const fitsImm = (value: number): boolean => (value | 0) === value

// Setters

/** Stores the opcode: the low 8 bits of `value`. */
export const setOpcode = (code: Uint8Array, slot: number, value: number): void => {
  code[slot * 8] = value
}

/** Stores the destination register: the low 4 bits of `value`. */
export const setDst = (code: Uint8Array, slot: number, value: number): void => {
  const at = slot * 8 + 1
  code[at] = (byte(code, at) & 0xf0) | (value & 0x0f)
}

/** Stores the source register: the low 4 bits of `value`. */
export const setSrc = (code: Uint8Array, slot: number, value: number): void => {
  const at = slot * 8 + 1
  code[at] = (byte(code, at) & 0x0f) | ((value & 0x0f) << 4)
}

/** Stores the offset: the low 16 bits of `value`. */
export const setOffset = (code: Uint8Array, slot: number, value: number): void => {
  const at = slot * 8
  code[at + 2] = value
  code[at + 3] = value >> 8
}

/** Stores the immediate: the low 32 bits of `value`, so that signed and unsigned spellings both serve. */
export const setImm = (code: Uint8Array, slot: number, value: number): void => {
  const at = slot * 8
  code[at + 4] = value
  code[at + 5] = value >> 8
  code[at + 6] = value >> 16
  code[at + 7] = value >> 24
}

/** Stores the immediate of the slot after this one: the upper half of a 64-bit immediate. */
export const setNextImm = (code: Uint8Array, slot: number, value: number): void => setImm(code, slot + 1, value)

/** Stores a 64-bit immediate in the two slots from `slot` on: the low 64 bits of `value`. */
export const setImm64 = (code: Uint8Array, slot: number, value: bigint): void => {
  setImm(code, slot, Number(BigInt.asIntN(32, value)))
  setImm(code, slot + 1, Number(BigInt.asIntN(32, value >> 32n)))
}

/** Stores the size of a load or store: BPF_B, BPF_H, BPF_W or BPF_DW. */
export const setSize = (code: Uint8Array, slot: number, value: number): void =>
  setOpcode(code, slot, (opcode(code, slot) & ~0x18) | (value & 0x18))

/** Stores all fields of one slot, each cut to its width. */
export const setSlot = (
  code: Uint8Array,
  slot: number,
  opcodeValue: number,
  dstValue: number,
  srcValue: number,
  offsetValue: number,
  immValue: number
): void => {
  const at = slot * 8
  code[at] = opcodeValue
  code[at + 1] = (dstValue & 0x0f) | ((srcValue & 0x0f) << 4)
  setOffset(code, slot, offsetValue)
  setImm(code, slot, immValue)
}

// Byte order

/**
 * Code of a target of the given byte order in the form that this library holds. Little-endian code is handed back as it
 * is, not copied; of big-endian code a converted copy is made: halves of the register byte, offset and immediate of each
 * slot change places. Bytes after the last whole slot are kept, for `check` to complain of.
 */
export const fromByteOrder = (code: Uint8Array, order: ByteOrder): Uint8Array =>
  order === "little" ? code : swapped(code)

/** Code of this library in the form of a target of the given byte order: the inverse of `fromByteOrder`. */
export const toByteOrder = (code: Uint8Array, order: ByteOrder): Uint8Array => order === "little" ? code : swapped(code)

const swapped = (code: Uint8Array): Uint8Array => {
  // Not `slice`: of a Buffer it would be a view, and the input would change.
  const result = new Uint8Array(code)
  const end = count(code) * 8
  for (let at = 0; at < end; at += 8) {
    const registers = byte(code, at + 1)
    result[at + 1] = (registers >> 4) | (registers << 4)
    result[at + 2] = byte(code, at + 3)
    result[at + 3] = byte(code, at + 2)
    result[at + 4] = byte(code, at + 7)
    result[at + 5] = byte(code, at + 6)
    result[at + 6] = byte(code, at + 5)
    result[at + 7] = byte(code, at + 4)
  }
  return result
}
