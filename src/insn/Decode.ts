/**
 * The form of a stream of instructions, checked once before others read it.
 *
 * What is checked is what a reader of code needs so as not to lose its place: whole slots, opcodes that exist, complete
 * 64-bit immediate loads. What an instruction does (registers, reserved fields, jump targets, reachability) is for the
 * kernel's verifier.
 */
import * as Result from "effect/Result"
import { count, dst, LD_IMM64, offset, opcode, src } from "./Insn.ts"
import {
  BPF_ABS,
  BPF_ALU,
  BPF_ALU64,
  BPF_ATOMIC,
  BPF_CALL,
  BPF_DW,
  BPF_END,
  BPF_EXIT,
  BPF_IMM,
  BPF_IND,
  BPF_INSN_SIZE,
  BPF_JA,
  BPF_JCOND,
  BPF_JMP,
  BPF_JMP32,
  BPF_K,
  BPF_LD,
  BPF_LDX,
  BPF_MEM,
  BPF_MEMSX,
  BPF_NEG,
  BPF_ST,
  BPF_STX
} from "./InsnConstants.ts"
import { InsnError } from "./InsnError.ts"

/**
 * Whether an instruction of an object file may have this opcode: those of RFC 9669, and of the kernel `may_goto`,
 * `gotox`, and the atomic loads and stores of 1 and 2 bytes. Opcodes that only the verifier makes are unknown.
 */
export const isKnownOpcode = (value: number): boolean => known[value] === 1

const knownByRule = (value: number): boolean => {
  const op = value & 0xf0
  const immediate = (value & 0x08) === BPF_K
  const mode = value & 0xe0
  const size = value & 0x18
  switch (value & 0x07) {
    case BPF_LD:
      return mode === BPF_IMM ? size === BPF_DW : (mode === BPF_ABS || mode === BPF_IND) && size !== BPF_DW
    case BPF_LDX:
      return mode === BPF_MEM || (mode === BPF_MEMSX && size !== BPF_DW)
    case BPF_ST:
      return mode === BPF_MEM
    case BPF_STX:
      return mode === BPF_MEM || mode === BPF_ATOMIC
    case BPF_ALU:
      return op === BPF_NEG ? immediate : op <= BPF_END
    case BPF_ALU64:
      return op === BPF_NEG || op === BPF_END ? immediate : op < BPF_END
    case BPF_JMP:
      return op === BPF_CALL || op === BPF_EXIT || op === BPF_JCOND ? immediate : op < BPF_JCOND
    case BPF_JMP32:
      return op === BPF_JA ? immediate : op !== BPF_CALL && op !== BPF_EXIT && op < BPF_JCOND
  }
  return false
}

const known: Uint8Array = Uint8Array.from({ length: 256 }, (_, value) => (knownByRule(value) ? 1 : 0))

const hex = (value: number, digits: number): string => `0x${value.toString(16).padStart(digits, "0")}`

/**
 * Checks the form of the code: succeeds, or fails with the first `InsnError` (`Length`, `UnknownOpcode`,
 * `MissingSecondSlot` or `SecondSlot`), which names the slot. Linear in the code's length.
 */
export const check = (code: Uint8Array): Result.Result<void, InsnError> => {
  const slots = count(code)
  if (code.length % BPF_INSN_SIZE !== 0) {
    return Result.fail(new InsnError({ reason: "Length", slot: slots, value: String(code.length) }))
  }
  for (let slot = 0; slot < slots; slot++) {
    const value = opcode(code, slot)
    if (value !== LD_IMM64) {
      if (known[value] === 1) continue
      return Result.fail(
        new InsnError({
          reason: "UnknownOpcode",
          slot,
          value: hex(value, 2),
          // The one way to get here with sound code is to start in the middle of an instruction.
          ...(value === 0 ? { hint: "the second slot of a 64-bit immediate load is no instruction" } : {})
        })
      )
    }
    slot += 1
    if (slot === slots) return Result.fail(new InsnError({ reason: "MissingSecondSlot", slot: slot - 1 }))
    const head = headOf(code, slot)
    if (head !== 0) return Result.fail(new InsnError({ reason: "SecondSlot", slot, value: hex(head, 8) }))
  }
  return Result.void
}

/** The first four bytes of a slot, as a little-endian number: opcode, registers, offset. */
const headOf = (code: Uint8Array, slot: number): number =>
  (opcode(code, slot) | (dst(code, slot) << 8) | (src(code, slot) << 12) | (offset(code, slot) << 16)) >>> 0
