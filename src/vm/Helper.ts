/**
 * What helpers read of a machine, and how they answer.
 *
 * A helper is a function of the machine (`Helper` in Machine.ts): it looks at its arguments in r1 to r5, does its work, and
 * returns what one of the functions below returned.
 */
import { helperName } from "../insn/Helpers.ts"
import * as Insn from "../insn/Insn.ts"
import {
  closeFrames,
  type Continuation,
  ENTERED,
  fault,
  FAULTED,
  FINISHED,
  type Handled,
  type Machine,
  MAX_TAIL_CALLS,
  openFrame,
  push,
  RETURNED,
  slotOf,
  SUSPENDED,
  useProgram
} from "./Machine.ts"
import * as Memory from "./Memory.ts"
import { type Program, WORDS } from "./Program.ts"

// Arguments

/** A register as an unsigned 64-bit number. */
export const register = (machine: Machine, number: number): bigint =>
  Memory.bigintOf(machine.low[number] as number, machine.high[number] as number)

/** A register as a signed 64-bit number. */
export const signedRegister = (machine: Machine, number: number): bigint => BigInt.asIntN(64, register(machine, number))

/**
 * The `size` bytes that a register points to, as a view of the region's own, for a helper to read; or undefined, with the
 * fault noted: answer `FAULTED` then. For helpers that answer `-EFAULT` instead there is `Memory.bytesAt`.
 */
export const readable = (machine: Machine, number: number, size: number): Uint8Array | undefined =>
  viewOf(machine, number, size, false)

/** As `readable`, for a helper to write. */
export const writable = (machine: Machine, number: number, size: number): Uint8Array | undefined =>
  viewOf(machine, number, size, true)

const viewOf = (machine: Machine, number: number, size: number, write: boolean): Uint8Array | undefined => {
  const low = machine.low[number] as number
  const high = machine.high[number] as number
  const bytes = Memory.bytesAt(machine.memory, low, high, size, write)
  if (bytes === undefined) {
    const fields = Memory.explain(machine.memory, low, high, size, write ? "write" : "read")
    fault(machine, { ...fields, hint: `r${number} of the call${fields.hint === undefined ? "" : `: ${fields.hint}`}` })
  }
  return bytes
}

// Answers

/** Sets a register to a number that is sign-extended: an integer of -2^53 to 2^53. */
export const setNumber = (machine: Machine, number: number, value: number): void => {
  machine.low[number] = value | 0
  machine.high[number] = Math.floor(value / 0x1_0000_0000) | 0
}

/** Sets a register to the low 64 bits of a number. */
export const setBigint = (machine: Machine, number: number, value: bigint): void => {
  machine.low[number] = Memory.lowOf(value)
  machine.high[number] = Memory.highOf(value)
}

/** Sets a register to an address. */
export const setAddress = (machine: Machine, number: number, region: Memory.Region, offset: number): void => {
  machine.low[number] = offset | 0
  machine.high[number] = region.id
}

/** The helper's result is an integer of -2^53 to 2^53, such as 0 or `-ENOENT`. */
export const returnNumber = (machine: Machine, value: number): Handled => {
  setNumber(machine, 0, value)
  return RETURNED
}

/** The helper's result is the low 64 bits of a number. */
export const returnBigint = (machine: Machine, value: bigint): Handled => {
  setBigint(machine, 0, value)
  return RETURNED
}

/** The helper's result is the address of a byte of a region. */
export const returnAddress = (machine: Machine, region: Memory.Region, offset = 0): Handled => {
  setAddress(machine, 0, region, offset)
  return RETURNED
}

/**
 * Calls a function of the program: `low` and `high` are its address, as a program takes it with a 64-bit immediate load (a
 * callback argument of the helper). Set r1 to r5 first. When it returns, `continuation` goes on in the helper's place: it may
 * enter again (the next iteration), or answer as the helper. Faults where the address is no function of the running program, or
 * where there are too many frames.
 */
export const enter = (machine: Machine, low: number, high: number, continuation: Continuation): Handled => {
  const to = callbackOf(machine, low, high)
  if (to < 0) return FAULTED
  if (!push(machine, machine.pc, continuation)) return fault(machine, { reason: "CallDepth" })
  machine.pc = to
  return ENTERED
}

const callbackOf = (machine: Machine, low: number, high: number): number => {
  if (high === Memory.CODE_REGION && machine.program.starts[low >>> 0] === 3) return low * WORDS
  fault(machine, { reason: "Callback", value: `0x${Memory.bigintOf(low, high).toString(16)}` })
  return -1
}

/**
 * Replaces the running function by another program, whose context is r1 and which returns to the caller of the function.
 * False, with nothing done, after `MAX_TAIL_CALLS` of them in this run: the helper then fails, and the program goes on.
 * True: answer `ENTERED`.
 */
export const tailCall = (machine: Machine, program: Program): boolean => {
  if (machine.tailCalls === MAX_TAIL_CALLS) return false
  machine.tailCalls++
  useProgram(machine, program)
  machine.pc = 0
  openFrame(machine, machine.depth)
  return true
}

/** Stops the machine with `Calls`: whoever runs it gives the result, as though there were no such helper in the table. */
export const suspend = (machine: Machine): Handled => {
  const slot = slotOf(machine)
  const at = slot * WORDS
  const kfunc = ((machine.program.code[at] as number) & 0xffff) !== Insn.CALL
  const id = machine.program.code[at + 3] as number
  machine.call = {
    kind: kfunc ? "Kfunc" : "Helper",
    id,
    name: kfunc ? undefined : helperName(id),
    slot,
    args: [register(machine, 1), register(machine, 2), register(machine, 3), register(machine, 4), register(machine, 5)]
  }
  return SUSPENDED
}

/** Ends the program, whatever frame it is in; its result is r0. */
export const finish = (machine: Machine): Handled => {
  closeFrames(machine, 0)
  return FINISHED
}

/**
 * Drops all frames and ends the program with a function of it, whose result is the program's: what `bpf_throw` does with an
 * exception callback. Set r1 to r5 first; the address is as for `enter`.
 */
export const unwind = (machine: Machine, low: number, high: number): Handled => {
  const to = callbackOf(machine, low, high)
  if (to < 0) return FAULTED
  const outermost = machine.depth > 0 ? machine.callers[1] as Program : machine.program
  if (outermost !== machine.program) {
    return fault(machine, { reason: "Callback", value: "a function of another program" })
  }
  closeFrames(machine, 0)
  openFrame(machine, 0)
  machine.pc = to
  return ENTERED
}

/** A helper's fault: its arguments are such that no verifier would have let it be called so. */
export const refuse = (machine: Machine, why: string): typeof FAULTED =>
  fault(machine, { reason: "Helper", value: why })

/** Takes the cost of a helper's work from the budget, in instructions. */
export const charge = (machine: Machine, instructions: number): void => {
  if (instructions > 0) machine.fuse -= Math.floor(instructions)
}
