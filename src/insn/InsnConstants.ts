/**
 * The numbers of the BPF instruction set, in the kernel's spelling.
 *
 * Sources: the kernel's `include/uapi/linux/bpf.h`, `include/uapi/linux/bpf_common.h` and
 * `Documentation/bpf/standardization/instruction-set.rst` (RFC 9669). A value that is not part of those (the kernel's
 * own `filter.h`) says so.
 */

/** Bytes of one instruction slot. */
export const BPF_INSN_SIZE = 8

// Instruction classes: bits 0..2 of the opcode.

/** Class of 64-bit immediate loads and of the legacy packet loads. */
export const BPF_LD = 0x00
/** Class of loads from memory into a register. */
export const BPF_LDX = 0x01
/** Class of stores of an immediate. */
export const BPF_ST = 0x02
/** Class of stores of a register, and of all atomic operations. */
export const BPF_STX = 0x03
/** Class of 32-bit arithmetic. */
export const BPF_ALU = 0x04
/** Class of jumps that compare 64 bits, of calls and of exit. */
export const BPF_JMP = 0x05
/** Class of jumps that compare 32 bits. */
export const BPF_JMP32 = 0x06
/** Class of 64-bit arithmetic. */
export const BPF_ALU64 = 0x07

// Sizes of loads and stores: bits 3..4 of the opcode.

/** Access of 4 bytes. */
export const BPF_W = 0x00
/** Access of 2 bytes. */
export const BPF_H = 0x08
/** Access of 1 byte. */
export const BPF_B = 0x10
/** Access of 8 bytes. */
export const BPF_DW = 0x18

// Modes of loads and stores: bits 5..7 of the opcode.

/** Mode of the 64-bit immediate load. */
export const BPF_IMM = 0x00
/** Mode of the legacy packet load at a fixed offset. */
export const BPF_ABS = 0x20
/** Mode of the legacy packet load at a register's offset. */
export const BPF_IND = 0x40
/** Mode of ordinary loads and stores. */
export const BPF_MEM = 0x60
/** Mode of loads that extend the sign. */
export const BPF_MEMSX = 0x80
/** Mode of atomic operations; `imm` says which. */
export const BPF_ATOMIC = 0xc0
/** Mode of a speculation barrier in class BPF_ST: the verifier's own (filter.h), never in an object file. */
export const BPF_NOSPEC = 0xc0

// Operand source of arithmetic and jumps: bit 3 of the opcode.

/** The source operand is the immediate. */
export const BPF_K = 0x00
/** The source operand is a register. */
export const BPF_X = 0x08
/** Byte order conversion to little-endian (in the place of BPF_K). */
export const BPF_TO_LE = 0x00
/** Byte order conversion to big-endian (in the place of BPF_X). */
export const BPF_TO_BE = 0x08

// Arithmetic: bits 4..7 of the opcode.

/** `dst += src` */
export const BPF_ADD = 0x00
/** `dst -= src` */
export const BPF_SUB = 0x10
/** `dst *= src` */
export const BPF_MUL = 0x20
/** `dst /= src`, unsigned; signed where `off` is 1. */
export const BPF_DIV = 0x30
/** `dst |= src` */
export const BPF_OR = 0x40
/** `dst &= src` */
export const BPF_AND = 0x50
/** `dst <<= src` */
export const BPF_LSH = 0x60
/** `dst >>= src`, filling with zeros. */
export const BPF_RSH = 0x70
/** `dst = -dst` */
export const BPF_NEG = 0x80
/** `dst %= src`, unsigned; signed where `off` is 1. */
export const BPF_MOD = 0x90
/** `dst ^= src` */
export const BPF_XOR = 0xa0
/** `dst = src`; with sign extension from `off` bits where `off` is 8, 16 or 32. */
export const BPF_MOV = 0xb0
/** `dst >>= src`, filling with the sign. */
export const BPF_ARSH = 0xc0
/** Byte order conversion of the low `imm` bits: to little- or big-endian in BPF_ALU, a plain swap in BPF_ALU64. */
export const BPF_END = 0xd0

/** `off` of a register move that casts between address spaces (`imm` holds both: to in the high half, from in the low). */
export const BPF_ADDR_SPACE_CAST = 1
/** `off` of a register move that adds the per-CPU base: the verifier's own, never in an object file. */
export const BPF_ADDR_PERCPU = -1

// Jumps: bits 4..7 of the opcode.

/** Unconditional jump: by `off` in BPF_JMP, by `imm` in BPF_JMP32, through a register in BPF_JMP | BPF_X. */
export const BPF_JA = 0x00
/** Jump if equal. */
export const BPF_JEQ = 0x10
/** Jump if greater, unsigned. */
export const BPF_JGT = 0x20
/** Jump if greater or equal, unsigned. */
export const BPF_JGE = 0x30
/** Jump if a common bit is set. */
export const BPF_JSET = 0x40
/** Jump if not equal. */
export const BPF_JNE = 0x50
/** Jump if greater, signed. */
export const BPF_JSGT = 0x60
/** Jump if greater or equal, signed. */
export const BPF_JSGE = 0x70
/** Call of a helper, a subprogram or a kernel function; `src` says which. */
export const BPF_CALL = 0x80
/** Return to the caller, or end of the program. */
export const BPF_EXIT = 0x90
/** Jump if less, unsigned. */
export const BPF_JLT = 0xa0
/** Jump if less or equal, unsigned. */
export const BPF_JLE = 0xb0
/** Jump if less, signed. */
export const BPF_JSLT = 0xc0
/** Jump if less or equal, signed. */
export const BPF_JSLE = 0xd0
/** Jump on a condition that `src` names; see BPF_MAY_GOTO. */
export const BPF_JCOND = 0xe0

/** `src` of BPF_JCOND: jump when the program's iteration budget is spent. */
export const BPF_MAY_GOTO = 0

// Atomic operations: `imm` of BPF_STX | BPF_ATOMIC. BPF_ADD, BPF_OR, BPF_AND and BPF_XOR serve here too.

/** Flag: `src` receives the value that was in memory before. */
export const BPF_FETCH = 0x01
/** Exchange memory and `src`. */
export const BPF_XCHG = 0xe1
/** Store `src` if memory equals r0; r0 receives the value that was in memory before. */
export const BPF_CMPXCHG = 0xf1
/** Load with acquire ordering: `dst` from `src + off`. */
export const BPF_LOAD_ACQ = 0x100
/** Store with release ordering: `src` to `dst + off`. */
export const BPF_STORE_REL = 0x110

// `src` of the 64-bit immediate load: what the immediate stands for.

/** `imm` is a map's descriptor; the register receives the map. */
export const BPF_PSEUDO_MAP_FD = 1
/** `imm` is a map's descriptor, `next_imm` an offset; the register receives an address in the map's first value. */
export const BPF_PSEUDO_MAP_VALUE = 2
/** `imm` is the BTF id of a kernel variable, `next_imm` its BTF's descriptor (0 for vmlinux). */
export const BPF_PSEUDO_BTF_ID = 3
/** `imm` is a distance in slots; the register receives the address of that subprogram. */
export const BPF_PSEUDO_FUNC = 4
/** As BPF_PSEUDO_MAP_FD, but `imm` is an index into the `fd_array` of the load call. */
export const BPF_PSEUDO_MAP_IDX = 5
/** As BPF_PSEUDO_MAP_VALUE, but `imm` is an index into the `fd_array` of the load call. */
export const BPF_PSEUDO_MAP_IDX_VALUE = 6

// `src` of a call: what `imm` stands for. 0 is a helper's id.

/** `imm` is the distance in slots from the slot after the call to a subprogram of the same program. */
export const BPF_PSEUDO_CALL = 1
/** `imm` is the BTF id of a kernel function, `off` an index into `fd_array` of its BTF's descriptor (0 for vmlinux). */
export const BPF_PSEUDO_KFUNC_CALL = 2

// Registers.

/** Return value. */
export const BPF_REG_0 = 0
/** First argument; the context when a program starts. */
export const BPF_REG_1 = 1
/** Second argument. */
export const BPF_REG_2 = 2
/** Third argument. */
export const BPF_REG_3 = 3
/** Fourth argument. */
export const BPF_REG_4 = 4
/** Fifth argument. */
export const BPF_REG_5 = 5
/** First of the registers that calls preserve. */
export const BPF_REG_6 = 6
/** Preserved by calls. */
export const BPF_REG_7 = 7
/** Preserved by calls. */
export const BPF_REG_8 = 8
/** Preserved by calls. */
export const BPF_REG_9 = 9
/** Frame pointer, read-only. */
export const BPF_REG_10 = 10
/** Number of registers a program may name. */
export const MAX_BPF_REG = 11
