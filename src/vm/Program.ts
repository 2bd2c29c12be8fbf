/**
 * A program in the form that machines execute, made of instructions once.
 *
 * Every instruction becomes four words at `4 * slot`, so that slots and words stay in step:
 *
 * - word 0: the operation in the low 16 bits, the destination register above
 * - word 1: the source operand, an index into the register file
 * - word 2: the offset of a memory access; the target of a jump or local call, as a word index
 * - word 3: the immediate: a helper's id, a kernel function's number, an atomic operation
 *
 * The register file is two arrays of 32-bit halves. Indices 0 to 10 are r0 to r10; from 16 on it holds the program's
 * constants, so that an immediate is a source operand like any register and most operations exist once.
 *
 * An operation's number is the opcode of its register form (RFC 9669), plus 0x100 and more where a field beside the opcode
 * makes another operation of it; the table is at `Operation`.
 */
/** The numbers of operations that are not the opcode of an instruction's register form. */
export const Operation = {
  /** `dst s/= src`, 64 and 32 bits. */
  SDIV64: 0x13f,
  SDIV32: 0x13c,
  /** `dst s%= src`, 64 and 32 bits. */
  SMOD64: 0x19f,
  SMOD32: 0x19c,
  /** `dst = (s8) src` and so on, to 64 and to 32 bits. */
  MOVSX8_64: 0x110,
  MOVSX16_64: 0x111,
  MOVSX32_64: 0x112,
  MOVSX8_32: 0x113,
  MOVSX16_32: 0x114,
  /** Bytes in reverse, of the low 16, 32 and 64 bits. */
  SWAP16: 0x120,
  SWAP32: 0x121,
  SWAP64: 0x122,
  /** The low 16 bits; that of 32 is a 32-bit move, that of 64 a move. */
  ZERO_EXTEND16: 0x123,
  /** Casts of arena pointers. */
  CAST_KERNEL: 0x130,
  CAST_USER: 0x131,
  /** Call of a subprogram and of a kernel function; 0x85 calls a helper. */
  CALL_LOCAL: 0x185,
  CALL_KFUNC: 0x186,
  /** Atomic addition that fetches nothing, of 4 and of 8 bytes: what counters are made of. */
  ATOMIC_ADD32: 0x1c3,
  ATOMIC_ADD64: 0x1db,
  /** Load of the packet; the size in bytes stands in the destination, the offset is immediate plus source. */
  LD_PACKET: 0x140,
  /** Behind the last instruction, and in the second slot of a 64-bit immediate load, where no jump leads. */
  END: 0x1ff
} as const

/** Words per instruction slot. */
export const WORDS = 4

/** Index in the register file of the first constant. */
export const FIRST_CONSTANT = 16

/** A decoded program: immutable, for any number of machines at once. */
export interface Program {
  readonly name: string
  /** Number of instruction slots. */
  readonly slots: number
  /** `WORDS` per slot; behind the last one END, and an exit for packet loads that end their function. */
  readonly code: Int32Array
  /** The halves of the constants, which machines copy to their register file from `FIRST_CONSTANT` on. */
  readonly constantsLow: Int32Array
  readonly constantsHigh: Int32Array
  /** Per slot: 0 no instruction starts here, 1 one does, 3 a function does (the first slot, what is called or referenced). */
  readonly starts: Uint8Array
  readonly lineAt: ((slot: number) => string | undefined) | undefined
}
