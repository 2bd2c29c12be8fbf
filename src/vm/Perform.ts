/**
 * The instructions that the interpreter's inner loop leaves to others: calls and returns, division, atomic operations, casts,
 * packet loads, and loads and stores that do not go straight to a region's bytes.
 */
import * as Access from "./Access.ts"
import * as Arithmetic64 from "./Arithmetic64.ts"
import { suspend } from "./Helper.ts"
import { ENTERED, fault, FAULTED, FINISHED, type Handled, type Machine, pop, push, RETURNED } from "./Machine.ts"
import type { AccessSize } from "./Memory.ts"
import { Operation } from "./Program.ts"

/** Bytes of an access, by bits 3 and 4 of the opcode: BPF_W, BPF_H, BPF_B, BPF_DW. */
const sizes: ReadonlyArray<AccessSize> = [4, 2, 1, 8]

/**
 * Performs the instruction at the word index `at`, with `machine.pc` at the next one. `RETURNED` and `ENTERED`: go on at
 * `machine.pc`; the running program may be another one.
 */
export const perform = (machine: Machine, at: number): Handled => {
  const { high, low } = machine
  const { code } = machine.program
  const word = code[at] as number
  const dst = word >> 16
  const src = code[at + 1] as number
  const offset = code[at + 2] as number
  const imm = code[at + 3] as number
  switch (word & 0xffff) {
    case 0x85: {
      const { helpers } = machine.host
      const helper = imm >= 0 && imm < helpers.length ? helpers[imm] : undefined
      return helper === undefined ? suspend(machine) : helper(machine)
    }
    case Operation.CALL_KFUNC: {
      const kfunc = machine.host.kfuncs.get(imm)
      return kfunc === undefined ? suspend(machine) : kfunc(machine)
    }
    case Operation.CALL_LOCAL:
      if (!push(machine, machine.pc, undefined)) return fault(machine, { reason: "CallDepth" })
      machine.pc = offset
      return ENTERED
    case 0x95: {
      if (machine.depth === 0) return FINISHED
      const continuation = pop(machine)
      return continuation === undefined ? ENTERED : continuation(machine)
    }
    case 0x3f:
      Arithmetic64.divide(low, high, dst, src)
      return RETURNED
    case 0x9f:
      Arithmetic64.remainder(low, high, dst, src)
      return RETURNED
    case Operation.SDIV64:
      Arithmetic64.signedDivide(low, high, dst, src)
      return RETURNED
    case Operation.SMOD64:
      Arithmetic64.signedRemainder(low, high, dst, src)
      return RETURNED
    case Operation.CAST_KERNEL:
    case Operation.CAST_USER: {
      const { arena } = machine.host
      if (arena === undefined) {
        return fault(machine, { reason: "Unsupported", value: "a cast of an arena pointer without an arena" })
      }
      // NULL stays NULL on its way out, and only there.
      const toKernel = (word & 0xffff) === Operation.CAST_KERNEL
      high[dst] = toKernel ? arena.region.id : low[src] === 0 ? 0 : arena.userHigh
      low[dst] = low[src] as number
      return RETURNED
    }
    case Operation.LD_PACKET:
      return loadPacket(machine, ((low[src] as number) + imm) | 0, dst)
    case Operation.END:
      machine.pc = at
      return fault(machine, { reason: "FellOff" })
  }
  const size = sizes[(word >> 3) & 3] as AccessSize
  // The classes of stores and loads.
  if ((word & 7) === 3) {
    const done = (word & 0xe0) === 0xc0
      ? Access.atomic(machine, imm, dst, src, offset, size === 8 ? 8 : 4)
      : Access.store(
        machine,
        low[dst] as number,
        high[dst] as number,
        offset,
        size,
        low[src] as number,
        high[src] as number
      )
    return done ? RETURNED : FAULTED
  }
  if (!Access.load(machine, low[src] as number, high[src] as number, offset, size)) return FAULTED
  const value = machine.out[0] as number
  if ((word & 0xe0) === 0x80) {
    // BPF_MEMSX
    const extended = size === 1 ? value << 24 >> 24 : size === 2 ? value << 16 >> 16 : value
    low[dst] = extended
    high[dst] = extended >> 31
  } else {
    low[dst] = value
    high[dst] = machine.out[1] as number
  }
  return RETURNED
}

const loadPacket = (machine: Machine, offset: number, size: number): Handled => {
  const { packetLoad } = machine.host
  if (packetLoad === undefined) {
    return fault(machine, { reason: "Unsupported", value: "a packet load in this kind of program" })
  }
  const value = packetLoad(machine, offset, size)
  machine.low[0] = value ?? 0
  machine.high[0] = 0
  // Without such bytes the function is over: by the exit behind the code.
  if (value === undefined) machine.pc = (machine.program.slots + 1) * 4
  return RETURNED
}
