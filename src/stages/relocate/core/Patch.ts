/**
 * Putting a value into the instruction that a record stands at.
 *
 * Source: reference page `core-relo`, section 8. An instruction is changed as a whole or not at all.
 */
import * as Insn from "../../../insn/Insn.ts"
import {
  BPF_ALU,
  BPF_ALU64,
  BPF_B,
  BPF_DW,
  BPF_H,
  BPF_K,
  BPF_LDX,
  BPF_MEM,
  BPF_MEMSX,
  BPF_ST,
  BPF_STX,
  BPF_W
} from "../../../insn/InsnConstants.ts"
import { fail } from "./CoreError.ts"
import { AMBIGUOUS, type Resolution } from "./Resolve.ts"

/** The helper that a poisoned instruction calls. No kernel has it, so a program that can reach it is refused. */
export const POISON = 0xbad_2310

/** What became of an instruction. */
export type CoreResult =
  /** It takes this value now, and accesses this many bytes where that changed. */
  | { readonly _tag: "Value"; readonly value: bigint; readonly size: number | undefined }
  /** It was right already. */
  | { readonly _tag: "Unchanged"; readonly value: bigint }
  /**
   * It became an invalid call: the kernel has no such field or enumerator (`Missing`), or has the field in another size
   * in which its value cannot be loaded or stored (`Resized`).
   */
  | { readonly _tag: "Poisoned"; readonly why: "Missing" | "Resized" }

const unsigned64 = (value: number): bigint => BigInt.asUintN(64, BigInt(value))

/** Makes the instruction, with its second slot, one that the verifier refuses to reach. */
const poison = (insns: Uint8Array, slot: number, why: "Missing" | "Resized"): CoreResult => {
  if (Insn.isLdImm64(insns, slot)) {
    if (slot + 1 >= Insn.count(insns)) fail("Instruction", "the 64-bit immediate load lacks its second half")
    Insn.setSlot(insns, slot + 1, Insn.CALL, 0, 0, 0, POISON)
  }
  Insn.setSlot(insns, slot, Insn.CALL, 0, 0, 0, POISON)
  return { _tag: "Poisoned", why }
}

/** Applies a resolution to the instruction at `slot`. Throws a `CoreFailure`. */
export const apply = (insns: Uint8Array, slot: number, resolution: Resolution): CoreResult => {
  if (resolution.target === undefined) return poison(insns, slot, "Missing")
  const opcodeClass = Insn.insnClass(insns, slot)
  switch (opcodeClass) {
    case BPF_ALU:
    case BPF_ALU64:
      return applyToImmediate(insns, slot, resolution)
    case BPF_LDX:
    case BPF_ST:
    case BPF_STX:
      return applyToOffset(insns, slot, resolution)
    default:
      if (Insn.isLdImm64(insns, slot)) return applyToWide(insns, slot, resolution)
      return fail("Instruction", `an instruction of opcode 0x${Insn.opcode(insns, slot).toString(16)} takes no value`)
  }
}

const mismatch = (found: bigint, resolution: Resolution): never =>
  fail(
    "Mismatch",
    `the instruction has ${BigInt.asIntN(64, found)}, and by the object's types it should have ${
      BigInt.asIntN(64, resolution.local.value)
    }`,
    "the instructions or the BTF were changed after the object was compiled"
  )

/** The new value for an instruction that has `found` now. */
const newValue = (found: bigint, { local, target }: Resolution): bigint | undefined => {
  if (target === undefined) return undefined
  if (!local.validate || found === local.value) return target.value
  // A compiler that extended the sign of what it calls unsigned did not know better, nor did the kernel's of its time.
  return found === local.oldValue ? target.oldValue : undefined
}

const applyToImmediate = (insns: Uint8Array, slot: number, resolution: Resolution): CoreResult => {
  if (Insn.source(insns, slot) !== BPF_K) fail("Instruction", "arithmetic with a register takes no value")
  const found = Insn.imm(insns, slot)
  const value = newValue(unsigned64(found), resolution) ?? mismatch(unsigned64(found), resolution)
  const low = Number(BigInt.asIntN(32, value))
  if (low === found) return { _tag: "Unchanged", value }
  Insn.setImm(insns, slot, low)
  return { _tag: "Value", value, size: undefined }
}

const applyToWide = (insns: Uint8Array, slot: number, resolution: Resolution): CoreResult => {
  const next = slot + 1
  const isPlain = Insn.src(insns, slot) === 0 && Insn.offset(insns, slot) === 0 && next < Insn.count(insns) &&
    Insn.opcode(insns, next) === 0 && Insn.dst(insns, next) === 0 && Insn.src(insns, next) === 0 &&
    Insn.offset(insns, next) === 0
  if (!isPlain) fail("Instruction", "the 64-bit immediate load is not one of a plain number")
  const found = Insn.imm64(insns, slot)
  const value = newValue(found, resolution) ?? mismatch(found, resolution)
  if (value === found) return { _tag: "Unchanged", value }
  Insn.setImm64(insns, slot, value)
  return { _tag: "Value", value, size: undefined }
}

const applyToOffset = (insns: Uint8Array, slot: number, resolution: Resolution): CoreResult => {
  const { local, resizable, sizesDiffer, target } = resolution
  const found = Insn.offset(insns, slot)
  const value = newValue(unsigned64(found), resolution) ?? mismatch(unsigned64(found), resolution)
  if (value > 0x7fffn) fail("OutOfRange", `the offset ${value} does not fit the instruction, which has 15 bits for it`)
  // libbpf goes by the first type, and so may read half of the field that there is, or what is behind it.
  if (sizesDiffer !== undefined) fail("Ambiguous", sizesDiffer, AMBIGUOUS)
  if (!resizable) return poison(insns, slot, "Resized")
  const offset = Number(value)
  const size = target === undefined ? 0 : target.size
  if (local.size === size) {
    if (offset === found) return { _tag: "Unchanged", value }
    Insn.setOffset(insns, slot, offset)
    return { _tag: "Value", value, size: undefined }
  }
  const accessed = Insn.sizeInBytes(insns, slot)
  if (accessed !== local.size) {
    fail(
      "Instruction",
      `the instruction accesses ${accessed} bytes of a field of ${local.size}, which has ${size} here`
    )
  }
  const bits = sizeBits(size)
  if (bits === undefined) {
    return fail("Instruction", `the field has ${size} bytes in the kernel, and no instruction accesses so many at once`)
  }
  Insn.setSize(insns, slot, bits)
  // Loads that extend the sign are of less than 8 bytes; of 8 there is nothing to extend. libbpf leaves an invalid one.
  if (size === 8 && Insn.mode(insns, slot) === BPF_MEMSX) {
    Insn.setOpcode(insns, slot, (Insn.opcode(insns, slot) & 0x1f) | BPF_MEM)
  }
  Insn.setOffset(insns, slot, offset)
  return { _tag: "Value", value, size }
}

const sizeBits = (bytes: number): number | undefined => {
  switch (bytes) {
    case 1:
      return BPF_B
    case 2:
      return BPF_H
    case 4:
      return BPF_W
    case 8:
      return BPF_DW
    default:
      return undefined
  }
}
