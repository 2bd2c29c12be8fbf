/**
 * Follows a program's instructions without running it: which of them are reached, where branches that constants decide are
 * taken one way.
 *
 * Sparse conditional constant propagation (Wegman and Zadeck, 1991) over blocks: what is known at the start of each block
 * is merged over all ways that lead there, and a block is followed again when that changes. Work is bounded by a budget,
 * since hostile programs can make each block change some hundred times.
 */
import * as Data from "effect/Data"
import * as Insn from "../../../insn/Insn.ts"
import * as C from "../../../insn/InsnConstants.ts"
import { compare, type Way } from "./Arithmetic.ts"
import * as Calls from "./Calls.ts"
import * as Stack from "./Stack.ts"
import {
  arithmetic,
  atomic,
  clobber,
  type Code,
  hasStackArgument,
  learn,
  load,
  operand,
  poison,
  type Setting,
  type State,
  store
} from "./Transfer.ts"
import {
  address,
  bytes,
  constant,
  context,
  join,
  mayBeStack,
  merge,
  mixed,
  mixedStack,
  unknown,
  type Value
} from "./Value.ts"

export type { Code, Function } from "./Transfer.ts"

/** How much may be done; shared by all programs of an object. */
export interface Budget {
  /** Instructions that may still be followed. */
  steps: number
  /** Values that may be remembered at a time. */
  readonly cells: number
}

/**
 * Which ways out of a branch are followed: all that no verifier rules out (`May`), or those that every verifier follows
 * (`Must`).
 */
export type Mode = "May" | "Must"

/** What was found. */
export interface Followed {
  /** 1 for each slot of an instruction that is reached. */
  readonly reached: Uint8Array
  /** Not every way could be followed: a jump through a register. */
  readonly incomplete: boolean
}

interface Run extends Setting {
  readonly mode: Mode
  readonly budget: Budget
  readonly count: number
  readonly leaders: Uint8Array
  readonly functionOf: Int32Array
  /** What is known at the start of blocks that are reached. */
  readonly states: Map<number, State>
  readonly queue: Array<number>
  readonly queued: Uint8Array
  /** What functions return, by position; `undefined` where none of their exits is reached. */
  readonly results: Array<Value | undefined>
  /** Blocks that end with a call of the function, by its position. */
  readonly callers: Array<Set<number>>
  readonly reached: Uint8Array
  incomplete: boolean
}

/** Thrown where the budget is spent. */
class Spent extends Data.TaggedError("Spent") {}

/** Follows a program; `undefined` where that takes more than the budget has. */
export const follow = (code: Code, mode: Mode, budget: Budget): Followed | undefined => {
  const run = begin(code, mode, budget)
  try {
    enterRoots(run)
    for (let next = 0; next < run.queue.length; next++) {
      const block = run.queue[next] ?? 0
      run.queued[block] = 0
      followBlock(run, block)
      // What is behind us is dropped now and then, so that the queue is no longer than the program.
      if (next > run.count) {
        run.queue.splice(0, next + 1)
        next = -1
      }
    }
  } catch (thrown) {
    if (!(thrown instanceof Spent)) throw thrown
    return undefined
  }
  return { reached: run.reached, incomplete: run.incomplete }
}

const begin = (code: Code, mode: Mode, budget: Budget): Run => {
  const count = Insn.count(code.insns)
  const functionOf = new Int32Array(count)
  code.functions.forEach(({ slot, slots }, position) => functionOf.fill(position, slot, slot + slots))
  return {
    code,
    mode,
    budget,
    count,
    stack: Stack.wordsOf(code.compiled),
    leaders: leadersOf(code, count),
    functionOf,
    states: new Map(),
    queue: [],
    queued: new Uint8Array(count),
    results: code.functions.map(() => undefined),
    callers: code.functions.map(() => new Set()),
    reached: new Uint8Array(count),
    incomplete: false
  }
}

/** The slots where blocks start. */
const leadersOf = ({ functions, insns }: Code, count: number): Uint8Array => {
  const leaders = new Uint8Array(count + 1)
  for (const { slot } of functions) leaders[slot] = 1
  for (let slot = 0; slot < count; slot++) {
    const target = Insn.jumpTarget(insns, slot)
    if (target === undefined && !Insn.isSubprogramCall(insns, slot)) continue
    if (target !== undefined && target >= 0 && target < count) leaders[target] = 1
    leaders[slot + 1] = 1
  }
  return leaders
}

/** What a function knows when it starts, but for its arguments. */
const entryState = ({ stack }: Run): State => {
  const state: State = new Array<Value>(Stack.FIRST_WORD + stack.words.length).fill(bytes)
  state.fill(mixed, 0, Stack.FIRST_WORD)
  state[C.BPF_REG_10] = { _tag: "Stack", offset: 0 }
  return state
}

/** A function that is entered with arguments of which nothing is known. */
const enterUnknown = (run: Run, slot: number, argument: (register: number) => Value): void => {
  const state = entryState(run)
  for (let register = 1; register <= 5; register++) state[register] = argument(register)
  enter(run, slot, state)
}

const enterRoots = (run: Run): void => {
  const { code, mode } = run
  const main = entryState(run)
  main[C.BPF_REG_1] = context
  enter(run, 0, main)
  if (code.exceptionCallback !== undefined) enterUnknown(run, code.exceptionCallback, () => mixed)
  if (mode === "Must") return
  // Verifiers before Linux 6.8 look at every global function, those that nothing calls in the end included.
  for (const { global, slot } of code.functions) if (global && slot > 0) enterGlobal(run, slot)
}

const enterGlobal = (run: Run, slot: number): void =>
  enterUnknown(run, slot, (register) => unknown(-slot * 8 - register, 8, { nullable: false }))

/** Merges what is known into a block, which is followed again where that is new. */
const enter = (run: Run, slot: number, state: State): void => {
  if (slot < 0 || slot >= run.count) return
  run.budget.steps -= 1 + (state.length >> 3)
  const known = run.states.get(slot)
  if (known === undefined) {
    if ((run.states.size + 1) * state.length > run.budget.cells) throw new Spent()
    run.states.set(slot, [...state])
  } else if (!merge(known, state)) return
  enqueue(run, slot)
}

const enqueue = (run: Run, block: number): void => {
  if (run.queued[block] === 1) return
  run.queued[block] = 1
  run.queue.push(block)
}

const followBlock = (run: Run, block: number): void => {
  const known = run.states.get(block)
  if (known === undefined) return
  const state = [...known]
  for (let slot = block;;) {
    if (--run.budget.steps < 0) throw new Spent()
    run.reached[slot] = 1
    const next = followInsn(run, state, slot, block)
    if (next === undefined || next >= run.count) return
    if (run.leaders[next] === 1) return enter(run, next, state)
    slot = next
  }
}

/** Follows one instruction: the slot of the next one in the block, or `undefined` where the block ends here. */
const followInsn = (run: Run, state: State, slot: number, block: number): number | undefined => {
  const { code } = run
  if (code.poisoned.has(slot)) return poison(run, state, slot)
  const { insns } = code
  const dst = Insn.dst(insns, slot)
  switch (Insn.insnClass(insns, slot)) {
    case C.BPF_ALU:
    case C.BPF_ALU64:
      state[dst] = arithmetic(code, slot, state)
      return slot + 1
    case C.BPF_LD:
      return followLd(run, state, slot)
    case C.BPF_LDX:
      state[dst] = load(run, state, slot)
      return slot + 1
    case C.BPF_ST:
      store(run, state, slot, constant(BigInt(Insn.imm(insns, slot)), true))
      return slot + 1
    case C.BPF_STX:
      if (Insn.mode(insns, slot) === C.BPF_ATOMIC) atomic(run, state, slot)
      else store(run, state, slot, state[Insn.src(insns, slot)] ?? mixed)
      return slot + 1
    default:
      return followJump(run, state, slot, block)
  }
}

const followLd = (run: Run, state: State, slot: number): number => {
  const { code } = run
  const { insns } = code
  if (!Insn.isLdImm64(insns, slot)) {
    // A load of the packet, which ends the function where there is no such byte.
    leave(run, slot, constant(0n, true))
    clobber(state, unknown(slot, Insn.sizeInBytes(insns, slot)))
    return slot + 1
  }
  const load = code.loads.get(slot)
  if (load !== undefined) state[Insn.dst(insns, slot)] = load
  else if (Insn.isFunctionReference(insns, slot)) {
    const target = slot + 1 + Insn.imm(insns, slot)
    state[Insn.dst(insns, slot)] = { _tag: "Function", slot: target }
    // Wherever the pointer goes from here, the function may be called.
    if (run.mode === "May") enterUnknown(run, target, () => mixedStack)
  } else {
    state[Insn.dst(insns, slot)] = Insn.src(insns, slot) === 0 ? constant(Insn.imm64(insns, slot)) : address
  }
  return slot + 2
}

const followJump = (run: Run, state: State, slot: number, block: number): number | undefined => {
  const { insns } = run.code
  const opcode = Insn.opcode(insns, slot)
  switch (opcode) {
    case Insn.CALL:
      return followCall(run, state, slot, block)
    case Insn.EXIT:
      leave(run, slot, state[C.BPF_REG_0] ?? mixed)
      return undefined
    case Insn.JA:
    case Insn.JA32:
      enter(run, Insn.jumpTarget(insns, slot) ?? -1, state)
      return undefined
    case Insn.JA_INDIRECT:
      run.incomplete = true
      return undefined
    case Insn.JCOND:
      enter(run, Insn.jumpTarget(insns, slot) ?? -1, state)
      return slot + 1
  }
  const target = slot + 1 + Insn.offset(insns, slot)
  const dst = state[Insn.dst(insns, slot)]
  const src = operand(insns, slot, state)
  const wide = Insn.insnClass(insns, slot) === C.BPF_JMP
  const ways = compare(Insn.op(insns, slot), dst, src, wide)
  const goes = (way: Way): boolean => way === "Yes" || (run.mode === "May" && way === "Maybe") || target === slot + 1
  if (run.mode === "Must") learn(state, dst, src)
  if (goes(ways.taken)) enter(run, target, state)
  return goes(ways.passed) ? slot + 1 : undefined
}

/** The end of a function: what it returns goes to all who call it. */
const leave = (run: Run, slot: number, result: Value): void => {
  const position = run.functionOf[slot] ?? 0
  const outside = mayBeStack(result) ? mixedStack : result
  const before = run.results[position]
  const after = join(before, outside)
  if (after === before) return
  run.results[position] = after
  for (const block of run.callers[position] ?? []) enqueue(run, block)
}

const followCall = (run: Run, state: State, slot: number, block: number): number | undefined => {
  const { code, mode, stack } = run
  const { insns } = code
  if (Insn.isSubprogramCall(insns, slot)) return followSubprogram(run, state, slot, block)
  enterCallbacks(run, state, slot)
  if (Insn.isHelperCall(insns, slot)) {
    const helper = Insn.imm(insns, slot)
    const writes = Calls.writesOf(helper)
    if (writes._tag === "First") Stack.overwrite(stack, state, state[C.BPF_REG_1], state[C.BPF_REG_2])
    else if (writes._tag === "Upwards") Stack.overwriteUpwards(stack, state)
    else if (writes._tag === "All" && hasStackArgument(state)) Stack.forget(state)
    clobber(state, Calls.answerOf(helper, slot))
    return slot + 1
  }
  const name = code.kfuncs.get(slot)
  if (hasStackArgument(state)) Stack.forget(state)
  clobber(state, Calls.kfuncAnswerOf(name, slot))
  return mode === "Must" && Calls.throws(name) ? undefined : slot + 1
}

/** The functions that a helper or kernel function is handed, which verifiers look at when they come to the call. */
const enterCallbacks = (run: Run, state: State, slot: number): void => {
  if (run.mode === "May") return
  const { insns } = run.code
  const turns = state[C.BPF_REG_1]
  const mayHaveNone = Insn.isHelperCall(insns, slot) && Insn.imm(insns, slot) === Calls.BPF_LOOP &&
    turns?._tag !== "Unknown" && !(turns?._tag === "Const" && turns.value !== 0n && !turns.soft)
  for (let register = 1; register <= 5; register++) {
    const argument = state[register]
    if (argument?._tag !== "Function" || mayHaveNone) continue
    enterUnknown(run, argument.slot, () => mixedStack)
  }
}

const followSubprogram = (run: Run, state: State, slot: number, block: number): number | undefined => {
  const { code } = run
  const target = slot + 1 + Insn.imm(code.insns, slot)
  const position = target >= 0 && target < run.count ? run.functionOf[target] : undefined
  const callee = position === undefined ? undefined : code.functions[position]
  if (position === undefined || callee?.slot !== target) return undefined
  const lendsStack = hasStackArgument(state)
  if (callee.global) {
    enterGlobal(run, target)
    if (lendsStack) Stack.forget(state)
    clobber(state, unknown(slot, 8))
    return slot + 1
  }
  const inside = entryState(run)
  for (let register = 1; register <= 5; register++) {
    const argument = state[register] ?? mixed
    inside[register] = mayBeStack(argument) ? mixedStack : argument
  }
  enter(run, target, inside)
  run.callers[position]?.add(block)
  const result = run.results[position]
  if (result === undefined) return undefined
  if (lendsStack) Stack.forget(state)
  clobber(state, result._tag === "Unknown" ? { ...result, origin: slot } : result)
  return slot + 1
}
