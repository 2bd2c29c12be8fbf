/**
 * The state of a running program: registers, call frames, a budget.
 *
 * A machine is the one mutable value of this room. It is made once and started as often as one likes (a packet after a packet), and may stop and go on between any two instructions. It holds no JavaScript
 * stack while it is stopped, so it may wait as long as it must.
 */
import * as Memory from "./Memory.ts"
import { FIRST_CONSTANT, type Program, WORDS } from "./Program.ts"
import { VmError, type VmErrorFields } from "./VmError.ts"

/** Bytes of a call frame's stack: `MAX_BPF_STACK` of the kernel, there for all frames of a program together. */
export const STACK_SIZE = 512

/** Most frames at a time, callbacks included: `MAX_CALL_FRAMES` of the kernel. */
export const MAX_FRAMES = 8

/** Most tail calls of one run: `MAX_TAIL_CALL_CNT` of the kernel. */
export const MAX_TAIL_CALLS = 33

/** How often `may_goto` falls through in one frame before it jumps: `BPF_MAX_LOOPS` of the kernel. */
export const MAX_LOOPS = 8 * 1024 * 1024

/** What a helper did; its return value, made by the functions below, never by hand. */
export type Handled = typeof RETURNED | typeof ENTERED | typeof SUSPENDED | typeof FINISHED | typeof FAULTED

/** It is done, and r0 holds its result. */
export const RETURNED = 0
/** Control is somewhere else: in a callback, or in another program. */
export const ENTERED = 1
/** The machine stops with `Calls`; whoever runs it gives the result. */
export const SUSPENDED = 2
/** The program is over, and r0 holds its result. */
export const FINISHED = 3
/** The program is over: `fault` says why. */
export const FAULTED = 4

/**
 * A helper or kernel function as a plain function. r1 to r5 are the arguments (`low[1]`, `high[1]`, …); it answers with
 * `returnNumber` and its siblings, `enter`, `tailCall`, `suspend`, `finish`, `unwind` or `fault`. It must not throw, and must
 * not run the machine. Callee-saved registers are safe from it; what it leaves in r1 to r5 stays there.
 */
export type Helper = (machine: Machine) => Handled

/** What goes on when a callback has returned: r0 is its result, r6 to r9 are the caller's again. As a helper, it answers. */
export type Continuation = (machine: Machine) => Handled

/** What a program may call, and other things that differ between kinds of program. */
export interface Host {
  /** By helper id. A helper that is not here stops the machine with `Calls`. */
  readonly helpers: ReadonlyArray<Helper | undefined>
  /** By the number that `resolveKfunc` gave. One that is not here stops the machine with `Calls`. */
  readonly kfuncs: ReadonlyMap<number, Helper>
  /**
   * The legacy packet load: `size` (1, 2 or 4) bytes of the packet that the context in r6 names, at `offset` (int32; negative
   * ones are areas of their own, as `SKF_NET_OFF`), as an unsigned number converted from network order. Undefined where
   * there are none: the function then returns 0. Absent: such loads fault.
   */
  readonly packetLoad?: (machine: Machine, offset: number, size: number) => number | undefined
  /** The arena that casts of address spaces speak of; absent: they fault. */
  readonly arena?: {
    /** The region that holds it. */
    readonly region: Memory.Region
    /** The high half of the addresses at which user space sees it, as int32. */
    readonly userHigh: number
  }
}

/** A call that stopped the machine. */
export interface PendingCall {
  readonly kind: "Helper" | "Kfunc"
  /** The helper's id, or the kernel function's number. */
  readonly id: number
  /** The helper's name where it has one. */
  readonly name: string | undefined
  /** The slot of the call. */
  readonly slot: number
  /** r1 to r5, unsigned. */
  readonly args: readonly [bigint, bigint, bigint, bigint, bigint]
}

/** Where a machine is. */
export type Status = "Ready" | "Calls" | "Done" | "Fault"

/** The registers of a program on one machine; it differs between programs by its constants. */
interface RegisterFile {
  readonly low: Int32Array
  readonly high: Int32Array
  readonly counts: Uint32Array | undefined
}

/**
 * The machine. Helpers read and write `low`, `high` (halves of r0 to r10 by their number) and `memory`, and charge what
 * they cost with `charge`; everything else changes through functions.
 */
export interface Machine {
  readonly memory: Memory.Memory
  readonly host: Host
  status: Status
  program: Program
  /** Low halves of the register file, as int32. Its identity changes when a tail call changes the program. */
  low: Int32Array
  /** High halves of the register file, as int32. */
  high: Int32Array
  /** The word index of the next instruction. */
  pc: number
  /** Frames below the running one. */
  depth: number
  /** Instructions that may still run, those in `fuse` not counted. */
  remaining: number
  /** Instructions until the next look at the budget and the hooks. */
  fuse: number
  /** Instructions that ran since the start. */
  executed: number
  tailCalls: number
  call: PendingCall | undefined
  fault: VmError | undefined
  /** Executions per slot of the running program, where coverage is on. */
  counts: Uint32Array | undefined
  readonly trace: ((machine: Machine, slot: number) => void) | undefined
  /** Whether each instruction is looked at: for coverage or a trace. */
  readonly watched: boolean
  /** Two words that a slow access leaves its result in. */
  readonly out: Int32Array
  /** Left executions of `may_goto`, per frame. */
  readonly loops: Int32Array
  readonly frames: ReadonlyArray<Memory.Region>
  /** r6 to r9 of each caller, low and high halves. */
  readonly saved: Int32Array
  /** Where each callee goes back to. */
  readonly returns: Int32Array
  readonly callers: Array<Program>
  readonly continuations: Array<Continuation | undefined>
  readonly files: WeakMap<Program, RegisterFile>
  readonly coverage: Map<Program, Uint32Array> | undefined
}

/** What a machine is made of. */
export interface MachineOptions {
  /** Default: a memory of its own. */
  readonly memory?: Memory.Memory
  /** Default: nothing to call. */
  readonly host?: Host
  /** Receives, per program that runs, how often the instruction of each slot was executed. Slows the machine down. */
  readonly coverage?: Map<Program, Uint32Array>
  /** Called before each instruction; it may look, and must change nothing. Slows the machine down. */
  readonly trace?: (machine: Machine, slot: number) => void
}

/** A host that implements nothing. */
export const noHost: Host = { helpers: [], kfuncs: new Map() }

const noProgram: Program = {
  name: "",
  slots: 0,
  code: new Int32Array(WORDS),
  constantsLow: new Int32Array(0),
  constantsHigh: new Int32Array(0),
  starts: new Uint8Array(0),
  lineAt: undefined
}

/** Makes a machine, or undefined where its memory has no room for its stacks. Start it before it runs. */
export const make = (options: MachineOptions = {}): Machine | undefined => {
  const memory = options.memory ?? Memory.make()
  const stacks = new Uint8Array(STACK_SIZE * MAX_FRAMES)
  const frames: Array<Memory.Region> = []
  for (let frame = 0; frame < MAX_FRAMES; frame++) {
    const bytes = stacks.subarray(frame * STACK_SIZE, (frame + 1) * STACK_SIZE)
    const region = Memory.add(memory, { name: `stack of frame ${frame}`, bytes })
    if (region === undefined) {
      for (const added of frames) Memory.remove(memory, added)
      return undefined
    }
    frames.push(region)
  }
  const file: RegisterFile = { low: new Int32Array(16), high: new Int32Array(16), counts: undefined }
  return {
    memory,
    host: options.host ?? noHost,
    status: "Done",
    program: noProgram,
    low: file.low,
    high: file.high,
    pc: 0,
    depth: 0,
    remaining: 0,
    fuse: 0,
    executed: 0,
    tailCalls: 0,
    call: undefined,
    fault: undefined,
    counts: undefined,
    trace: options.trace,
    watched: options.trace !== undefined || options.coverage !== undefined,
    out: new Int32Array(2),
    loops: new Int32Array(MAX_FRAMES),
    frames,
    saved: new Int32Array(MAX_FRAMES * 8),
    returns: new Int32Array(MAX_FRAMES),
    callers: Array.from({ length: MAX_FRAMES }, () => noProgram),
    continuations: Array.from({ length: MAX_FRAMES }, () => undefined),
    files: new WeakMap([[noProgram, file]]),
    coverage: options.coverage
  }
}

/** Gives the regions of a machine's stacks back to its memory. The machine must not be used afterwards. */
export const release = (machine: Machine): void => {
  for (const frame of machine.frames) {
    // Those of functions that do not run are out of reach, and yet not removed.
    frame.mapped = true
    Memory.remove(machine.memory, frame)
  }
}

/**
 * Puts a machine at the start of a program, from whatever state: r1 to r5 are the arguments (absent ones 0), the other
 * registers and the stack are zero, no instruction was executed. Memory other than the stack stays as it is.
 */
export const start = (machine: Machine, program: Program, args: ReadonlyArray<bigint> = []): void => {
  startHalves(machine, program)
  const { high, low } = machine
  for (let at = 0; at < args.length && at < 5; at++) {
    const value = args[at] ?? 0n
    low[at + 1] = Memory.lowOf(value)
    high[at + 1] = Memory.highOf(value)
  }
}

/** As `start`, with one argument as halves: the usual context. */
export const startAt = (machine: Machine, program: Program, low: number, high: number): void => {
  startHalves(machine, program)
  machine.low[1] = low
  machine.high[1] = high
}

const startHalves = (machine: Machine, program: Program): void => {
  closeFrames(machine, 0)
  useProgram(machine, program)
  machine.low.fill(0, 0, FIRST_CONSTANT)
  machine.high.fill(0, 0, FIRST_CONSTANT)
  machine.status = "Ready"
  machine.pc = 0
  machine.depth = 0
  machine.remaining = 0
  machine.fuse = 0
  machine.executed = 0
  machine.tailCalls = 0
  machine.call = undefined
  machine.fault = undefined
  openFrame(machine, 0)
}

// Frames

/** Makes the stack of a frame accessible, empty, and r10 point to its end. */
export const openFrame = (machine: Machine, depth: number): void => {
  const frame = machine.frames[depth] as Memory.Region
  frame.bytes.fill(0)
  frame.mapped = true
  frame.readLength = STACK_SIZE
  frame.writeLength = STACK_SIZE
  machine.low[10] = STACK_SIZE
  machine.high[10] = frame.id
  machine.loops[depth] = MAX_LOOPS
}

const closeFrame = (machine: Machine, depth: number): void => {
  const frame = machine.frames[depth] as Memory.Region
  // Its place in the memory stays taken; only its bytes are out of reach.
  frame.mapped = false
  frame.readLength = 0
  frame.writeLength = 0
}

/** Leaves all frames above `depth`, without their continuations. */
export const closeFrames = (machine: Machine, depth: number): void => {
  for (let above = machine.depth; above > depth; above--) {
    closeFrame(machine, above)
    machine.continuations[above] = undefined
  }
  machine.depth = depth
}

/** Opens a frame for a callee that goes back to the word index `returnTo`; false where there are `MAX_FRAMES` already. */
export const push = (machine: Machine, returnTo: number, continuation: Continuation | undefined): boolean => {
  const depth = machine.depth + 1
  if (depth === MAX_FRAMES) return false
  const { high, low, saved } = machine
  const at = depth * 8
  for (let register = 0; register < 4; register++) {
    saved[at + register] = low[6 + register] as number
    saved[at + 4 + register] = high[6 + register] as number
  }
  machine.returns[depth] = returnTo
  machine.callers[depth] = machine.program
  machine.continuations[depth] = continuation
  machine.depth = depth
  openFrame(machine, depth)
  return true
}

/** Leaves the running frame for its caller, where `pc` then is; there must be one. Its continuation, which comes next. */
export const pop = (machine: Machine): Continuation | undefined => {
  const { depth, saved } = machine
  const continuation = machine.continuations[depth]
  const caller = machine.callers[depth] as Program
  closeFrames(machine, depth - 1)
  if (caller !== machine.program) useProgram(machine, caller)
  const { high, low } = machine
  const at = depth * 8
  for (let register = 0; register < 4; register++) {
    low[6 + register] = saved[at + register] as number
    high[6 + register] = saved[at + 4 + register] as number
  }
  low[10] = STACK_SIZE
  high[10] = (machine.frames[depth - 1] as Memory.Region).id
  machine.pc = machine.returns[depth] as number
  return continuation
}

/** Makes another program the running one; registers keep their values. */
export const useProgram = (machine: Machine, program: Program): void => {
  if (program === machine.program) return
  let file = machine.files.get(program)
  if (file === undefined) {
    const low = new Int32Array(FIRST_CONSTANT + program.constantsLow.length)
    const high = new Int32Array(FIRST_CONSTANT + program.constantsHigh.length)
    low.set(program.constantsLow, FIRST_CONSTANT)
    high.set(program.constantsHigh, FIRST_CONSTANT)
    file = { low, high, counts: countsOf(machine, program) }
    machine.files.set(program, file)
  }
  for (let register = 0; register <= 10; register++) {
    file.low[register] = machine.low[register] as number
    file.high[register] = machine.high[register] as number
  }
  machine.program = program
  machine.low = file.low
  machine.high = file.high
  machine.counts = file.counts
}

const countsOf = (machine: Machine, program: Program): Uint32Array | undefined => {
  if (machine.coverage === undefined) return undefined
  let counts = machine.coverage.get(program)
  if (counts === undefined) machine.coverage.set(program, counts = new Uint32Array(program.slots))
  return counts
}

// Where it is, and what went wrong

/** The slot of the instruction that is being executed: for a helper, of its call. */
export const slotOf = (machine: Machine): number => (machine.pc >> 2) - 1

/** Ends the program with an error; program, slot and source line are added where absent. The first fault of a run is kept. */
export const fault = (machine: Machine, fields: VmErrorFields): typeof FAULTED => {
  if (machine.fault === undefined) {
    const slot = slotOf(machine)
    const line = machine.program.lineAt?.(slot)
    machine.fault = new VmError({
      program: machine.program.name,
      slot,
      ...(line === undefined ? {} : { line }),
      ...fields
    })
  }
  return FAULTED
}
