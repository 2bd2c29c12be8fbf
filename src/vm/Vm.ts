/**
 * The BPF virtual machine: runs programs on memory and helpers that its host supplies, a bounded number of instructions at a
 * time, stopping at calls whose result comes from elsewhere.
 *
 * ```ts
 * const program = Vm.decode(insns, { name: "count", resolve: (reference) => addresses[reference.slot] })
 * const machine = Vm.make({ memory, host })
 * Vm.start(machine, program, [Memory.address(context)])
 * for (let outcome = Vm.run(machine, 1_000_000); outcome._tag === "Calls"; ) {
 *   outcome = Vm.resume(machine, answerOf(outcome.call), 1_000_000)
 * }
 * ```
 *
 * It has no verifier. What the kernel's proves before a program runs, this machine checks while it runs: accesses stay within
 * their regions, calls within 8 frames, work within the budget. A program that breaks a rule ends with a `VmError`; nothing is
 * thrown, and no memory but that of the regions is touched.
 *
 * Beside this file: `Memory` (regions and addresses), `Program` and `ProgramDecode`, `Machine` (state) and `Helper` (what
 * helpers do with it), `Interpreter` (the loop), `Perform`, `Access` and `Arithmetic64` (what the loop does rarely), `Lines`
 * (source lines and coverage), `VmError`.
 */
import * as Result from "effect/Result"
import { finish, register, setBigint } from "./Helper.ts"
import { execute, SPENT } from "./Interpreter.ts"
import {
  ENTERED,
  fault,
  FAULTED,
  FINISHED,
  type Handled,
  type Helper,
  type Machine,
  type PendingCall,
  RETURNED,
  SUSPENDED
} from "./Machine.ts"
import { VmError } from "./VmError.ts"

export * from "./Helper.ts"
export * as Lines from "./Lines.ts"
export type { Continuation, Handled, Helper, Host, Machine, MachineOptions, PendingCall, Status } from "./Machine.ts"
export {
  ENTERED,
  fault,
  FAULTED,
  FINISHED,
  make,
  MAX_FRAMES,
  MAX_LOOPS,
  MAX_TAIL_CALLS,
  noHost,
  release,
  RETURNED,
  slotOf,
  STACK_SIZE,
  start,
  startAt,
  SUSPENDED
} from "./Machine.ts"
export * as Memory from "./Memory.ts"
export type { Program } from "./Program.ts"
export type { DecodeOptions, Reference } from "./ProgramDecode.ts"
export { decode } from "./ProgramDecode.ts"
export { VmError } from "./VmError.ts"

/** What a run came to. */
export type Outcome =
  /** The program returned; `r0` is unsigned. */
  | { readonly _tag: "Done"; readonly r0: bigint }
  /** The program waits for the result of a call: give it with `resume`, or end it with `refuseCall`. */
  | { readonly _tag: "Calls"; readonly call: PendingCall }
  /** The budget is spent; run on with more of it, or leave it. */
  | { readonly _tag: "OutOfBudget" }
  | { readonly _tag: "Fault"; readonly error: VmError }

/**
 * Runs a started machine for at most `budget` instructions (2^53 - 1 where it is more); helpers may charge more for their work.
 * `machine.executed` then counts the instructions since the start. A machine that is over, or that waits for a call's
 * result, answers as before and does nothing.
 */
export const run = (machine: Machine, budget: number): Outcome => {
  if (machine.status !== "Ready") return outcomeOf(machine)
  const granted = grant(machine, budget)
  const exit = execute(machine)
  machine.executed += granted - machine.remaining
  return leave(machine, exit)
}

/** Sets the budget, which is no number that is not one and none beyond what can be counted. */
const grant = (machine: Machine, budget: number): number =>
  machine.remaining = budget > 0 ? Math.min(Math.floor(budget), Number.MAX_SAFE_INTEGER) : 0

/** Gives the result (its low 64 bits) of the call that the machine waits for, and runs on. */
export const resume = (machine: Machine, r0: bigint, budget: number): Outcome =>
  resumeWith(machine, (waiting) => {
    setBigint(waiting, 0, r0)
    return RETURNED
  }, budget)

/** As `resume`, but with a helper that answers in the place of the missing one: it may also enter a callback. */
export const resumeWith = (machine: Machine, helper: Helper, budget: number): Outcome => {
  if (machine.status !== "Calls") return outcomeOf(machine)
  machine.status = "Ready"
  machine.call = undefined
  const granted = grant(machine, budget)
  const handled = helper(machine)
  // What the helper charged.
  machine.remaining += machine.fuse
  machine.fuse = 0
  const exit = handled === RETURNED || handled === ENTERED ? execute(machine) : handled
  machine.executed += granted - machine.remaining
  return leave(machine, exit)
}

/** Ends a machine that waits for a call with the error that nothing implements it. */
export const refuseCall = (machine: Machine): Outcome => {
  const { call } = machine
  if (machine.status !== "Calls" || call === undefined) return outcomeOf(machine)
  fault(machine, {
    reason: call.kind === "Helper" ? "UnknownHelper" : "UnknownKfunc",
    value: call.name ?? `${call.kind === "Helper" ? "helper" : "kernel function"} ${call.id}`
  })
  machine.call = undefined
  return leave(machine, FAULTED)
}

/** Runs a started machine to its end where nothing has to be waited for: r0, or what went wrong, calls and budget included. */
export const complete = (machine: Machine, budget: number): Result.Result<bigint, VmError> => {
  const ran = run(machine, budget)
  const outcome = ran._tag === "Calls" ? refuseCall(machine) : ran
  if (outcome._tag === "Done") return Result.succeed(outcome.r0)
  if (outcome._tag === "Fault") return Result.fail(outcome.error)
  const slot = machine.pc >> 2
  const line = machine.program.lineAt?.(slot)
  return Result.fail(
    new VmError({ reason: "Budget", program: machine.program.name, slot, ...(line === undefined ? {} : { line }) })
  )
}

const leave = (machine: Machine, exit: Exclude<Handled, typeof RETURNED | typeof ENTERED> | typeof SPENT): Outcome => {
  switch (exit) {
    case FINISHED:
      finish(machine)
      machine.status = "Done"
      break
    case SUSPENDED:
      machine.status = "Calls"
      break
    case FAULTED:
      machine.status = "Fault"
      break
    case SPENT:
      return outOfBudget
  }
  return outcomeOf(machine)
}

const outOfBudget: Outcome = { _tag: "OutOfBudget" }

const outcomeOf = (machine: Machine): Outcome => {
  const { call, fault: error } = machine
  if (machine.status === "Calls" && call !== undefined) return { _tag: "Calls", call }
  if (machine.status === "Fault" && error !== undefined) return { _tag: "Fault", error }
  return machine.status === "Ready" ? outOfBudget : { _tag: "Done", r0: register(machine, 0) }
}
