/**
 * How much of its context a program reads or writes: what the kernel's verifier finds on its way, and what test runs of raw
 * tracepoints and syscall programs must bring.
 *
 * A walk over all paths that follows the context's pointer through registers, stack slots and calls of the program's own
 * functions. Paths that never run count as well, unless they cannot be reached at all.
 */
import * as Insn from "../../../insn/Insn.ts"
import * as C from "../../../insn/InsnConstants.ts"

/**
 * Which places hold the context's pointer, as bits of three words: registers r0 to r9, then the 64 slots of a frame's stack.
 */
interface Holders {
  readonly registers: number
  readonly low: number
  readonly high: number
}

const has = (holders: Holders, register: number): boolean => (holders.registers >>> register & 1) === 1

/** The number of the stack slot at this offset from r10, or -1. */
const stackSlot = (offset: number): number => offset < 0 && offset >= -512 && offset % 8 === 0 ? 64 + offset / 8 : -1

const hasSlot = ({ high, low }: Holders, slot: number): boolean =>
  slot >= 0 && ((slot < 32 ? low >>> slot : high >>> (slot - 32)) & 1) === 1

const withBit = (word: number, bit: number, value: boolean): number => value ? word | (1 << bit) : word & ~(1 << bit)

const withRegister = (holders: Holders, register: number, holds: boolean): Holders => ({
  ...holders,
  registers: withBit(holders.registers, register, holds)
})

const withSlot = (holders: Holders, slot: number, holds: boolean): Holders =>
  slot < 0
    ? holders
    : slot < 32
    ? { ...holders, low: withBit(holders.low, slot, holds) }
    : { ...holders, high: withBit(holders.high, slot - 32, holds) }

/** Both together, or the first itself where the second adds nothing. */
const merged = (known: Holders, more: Holders): Holders => {
  const registers = known.registers | more.registers
  const low = known.low | more.low
  const high = known.high | more.high
  return registers === known.registers && low === known.low && high === known.high ? known : { registers, low, high }
}

const stack = 10

/** What holds the pointer behind an instruction. */
const after = (insns: Uint8Array, slot: number, holders: Holders): Holders => {
  const dst = Insn.dst(insns, slot)
  const src = Insn.src(insns, slot)
  const isWhole = Insn.size(insns, slot) === C.BPF_DW
  switch (Insn.insnClass(insns, slot)) {
    case C.BPF_ALU64: {
      const isMove = Insn.opcode(insns, slot) === (C.BPF_ALU64 | C.BPF_MOV | C.BPF_X) && Insn.offset(insns, slot) === 0
      return withRegister(holders, dst, isMove && has(holders, src))
    }
    case C.BPF_ALU:
    case C.BPF_LD:
      return withRegister(holders, dst, false)
    case C.BPF_LDX:
      return withRegister(
        holders,
        dst,
        isWhole && src === stack && hasSlot(holders, stackSlot(Insn.offset(insns, slot)))
      )
    case C.BPF_STX:
      return dst === stack && isWhole
        ? withSlot(holders, stackSlot(Insn.offset(insns, slot)), has(holders, src))
        : holders
    case C.BPF_JMP:
      // A call: r0 to r5 hold nothing any more.
      return Insn.isCall(insns, slot) ? { ...holders, registers: holders.registers & ~0x3f } : holders
  }
  return holders
}

/** The end of the access that an instruction makes to the context, 0 for none. */
const accessEnd = (insns: Uint8Array, slot: number, holders: Holders): number => {
  const insnClass = Insn.insnClass(insns, slot)
  const base = insnClass === C.BPF_LDX
    ? Insn.src(insns, slot)
    : insnClass === C.BPF_STX || insnClass === C.BPF_ST
    ? Insn.dst(insns, slot)
    : undefined
  if (base === undefined || !has(holders, base)) return 0
  return Insn.offset(insns, slot) + Insn.sizeInBytes(insns, slot)
}

/**
 * Bytes of the context, from its start, that the program may access. The code must be a valid stream of instructions.
 * An instruction is looked at again only when more places hold the pointer, so no more than 75 times.
 */
export const contextBytes = (insns: Uint8Array): number => {
  const count = Insn.count(insns)
  const states: Array<Holders | undefined> = Array.from({ length: count }, () => undefined)
  const pending: Array<number> = []
  let end = 0
  const reach = (slot: number, holders: Holders): void => {
    if (slot < 0 || slot >= count) return
    const known = states[slot]
    const next = known === undefined ? holders : merged(known, holders)
    if (next === known) return
    states[slot] = next
    pending.push(slot)
  }
  reach(0, { registers: 1 << 1, low: 0, high: 0 })
  for (let slot = pending.pop(); slot !== undefined; slot = pending.pop()) {
    const holders = states[slot]
    if (holders === undefined) continue
    end = Math.max(end, accessEnd(insns, slot, holders))
    const callee = Insn.subprogramTarget(insns, slot)
    if (callee !== undefined) reach(callee, { registers: holders.registers & 0x3e, low: 0, high: 0 })
    if (Insn.isExit(insns, slot)) continue
    const next = after(insns, slot, holders)
    if (Insn.isJump(insns, slot)) {
      const target = Insn.jumpTarget(insns, slot)
      if (target !== undefined) reach(target, next)
      if (Insn.isUnconditionalJump(insns, slot)) continue
    }
    reach(Insn.nextSlot(insns, slot), next)
  }
  return end
}
