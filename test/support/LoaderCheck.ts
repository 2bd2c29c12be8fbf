/**
 * A look at a loader's code as the kernel's verifier takes it: what is in every register and on the stack, on every way
 * through the code. Not a verifier: loaders need few of its rules.
 *
 * Seen are: registers and stack that are read before they were written, memory outside of the loader's data, context and
 * stack, or not aligned, jumps into the middle of an instruction or out of the code, code that is never reached, code that
 * could run twice, helpers that loaders do not call, and arguments that these do not take.
 */
import * as Insn from "../../src/insn/Insn.ts"
import { Helper } from "../../src/stages/gen/LoaderLayout.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"

/** What a register holds, as far as it matters. */
type Held =
  | { readonly is: "nothing" }
  | { readonly is: "number"; readonly value: number | undefined }
  | { readonly is: "context" }
  /** The kernel's own structure of the loader's map, which begins with the digest of its contents. */
  | { readonly is: "map" }
  | { readonly is: "frame" | "data"; readonly offset: number }
  /** Now this, now that: as good as a number that is not known, and no address. */
  | { readonly is: "mixed" }

/** Registers, which bytes of the stack were written, and whether an answer of the kernel has not been looked at yet. */
interface State {
  readonly registers: ReadonlyArray<Held>
  readonly stack: Uint8Array
  readonly unseen: boolean
}

/** The slot of the cleanup, where failures go. */
const CLEANUP = 7

/** The kernel's limit, bytes. */
const STACK = 512

/** Bytes of the digest of a map's contents. */
const DIGEST = 32

/** Instructions that the verifier takes at most. */
const MAX_CODE = 1_000_000

const nothing: Held = { is: "nothing" }
const unknown: Held = { is: "number", value: undefined }

const isSame = (a: Held, b: Held): boolean => {
  if (a.is !== b.is) return false
  if (a.is === "number" && b.is === "number") return a.value === b.value
  if ((a.is === "frame" || a.is === "data") && (b.is === "frame" || b.is === "data")) return a.offset === b.offset
  return true
}

const join = (a: Held, b: Held): Held => {
  if (isSame(a, b)) return a
  if (a.is === "nothing" || b.is === "nothing") return nothing
  return a.is === "number" && b.is === "number" ? unknown : { is: "mixed" }
}

const joined = (a: State, b: State): State | undefined => {
  const registers = a.registers.map((held, at) => join(held, b.registers[at] ?? nothing))
  const stack = a.stack.map((byte, at) => byte & (b.stack[at] ?? 0))
  const unseen = a.unseen || b.unseen
  const changed = unseen !== a.unseen || registers.some((held, at) => !isSame(held, a.registers[at] ?? nothing)) ||
    stack.some((byte, at) => byte !== a.stack[at])
  return changed ? { registers, stack, unseen } : undefined
}

/** Helpers whose answer may be a failure that ends the loader. */
const isAsked = (id: number): boolean =>
  id === Helper.SYS_BPF || id === Helper.BTF_FIND_BY_NAME_KIND || id === Helper.KALLSYMS_LOOKUP_NAME

/** What is wrong with a loader's code; nothing is left out after the first fault. */
export const faults = (loader: LoaderProgram): ReadonlyArray<string> => {
  const { contextSize, data } = loader
  const insns = Insn.fromByteOrder(loader.insns, loader.byteOrder)
  const count = Insn.count(insns)
  const found = new Set<string>()
  const starts = new Set<number>()
  for (let at = 0; at < count; at = Insn.nextSlot(insns, at)) starts.add(at)
  if (count > MAX_CODE) found.add(`${count} instructions are too many`)

  const states = new Map<number, State>()
  const pending: Array<number> = []
  const edges = new Map<number, Array<number>>()

  const flow = (from: number, to: number, state: State): void => {
    if (!starts.has(to)) {
      found.add(`${from}: leads to ${to}, where no instruction is`)
      return
    }
    const isStop = Insn.opcode(insns, to) === Insn.JA && Insn.offset(insns, to) < 0
    if (to < from && to !== CLEANUP && !isStop) found.add(`${from}: leads back to ${to}, which is not the cleanup`)
    const known = edges.get(from)
    if (known === undefined) edges.set(from, [to])
    else if (!known.includes(to)) known.push(to)
    const before = states.get(to)
    const after = before === undefined ? state : joined(before, state)
    if (after === undefined) return
    states.set(to, after)
    pending.push(to)
  }

  /** Follows one instruction; says what is wrong with it only where `says`. */
  const follow = (at: number, before: State, says: boolean): void => {
    const say = (text: string): void => {
      if (says) found.add(`${at}: ${text}`)
    }
    const registers = [...before.registers]
    const stack = new Uint8Array(before.stack)
    let unseen = before.unseen
    const next = (to: number): void => {
      if (!says) flow(at, to, { registers, stack, unseen })
    }
    const read = (register: number): Held => {
      const held = registers[register] ?? nothing
      if (held.is === "nothing") say(`R${register} is read before it is written`)
      return held
    }
    const write = (register: number, held: Held): void => {
      if (register > 9) say("writes to R10")
      else registers[register] = held
    }
    /** Checks an access to memory; `access` says how. */
    const memory = (base: Held, offset: number, size: number, access: "read" | "write" | "both", who: string): void => {
      // What helpers are handed is bytes, whatever there are of them.
      const isWord = !who.startsWith("R")
      const outside = (start: number, limit: number): boolean => start < 0 || start + size > limit
      switch (base.is) {
        case "context":
          if (outside(offset, contextSize)) say(`${who} leaves the context`)
          if (isWord && offset % size !== 0) say(`${who} is not aligned`)
          return
        case "map":
          if (access !== "read" || outside(offset, DIGEST)) say(`${who} leaves the digest of the map`)
          if (isWord && offset % size !== 0) say(`${who} is not aligned`)
          return
        case "data": {
          const start = base.offset + offset
          if (outside(start, data.length)) say(`${who} leaves the data`)
          if (isWord && start % size !== 0) say(`${who} is not aligned`)
          return
        }
        case "frame": {
          const start = STACK + base.offset + offset
          if (outside(start, STACK)) return say(`${who} leaves the stack`)
          if (isWord && start % size !== 0) say(`${who} is not aligned`)
          for (let byte = start; byte < start + size; byte++) {
            if (access === "read" && stack[byte] === 0) return say(`${who} reads stack that was not written`)
            if (access !== "read") stack[byte] = 1
          }
          return
        }
        default:
          return say(`${who} has no address`)
      }
    }
    const constant = (register: number): number => {
      const held = read(register)
      if (held.is === "number" && held.value !== undefined && held.value >= 0) return held.value
      say(`R${register} must be a number that is known`)
      return 0
    }
    const text = (register: number, sizeIn: number): void => {
      const held = read(register)
      const size = constant(sizeIn)
      memory(held, 0, size, "read", `R${register}`)
      if (held.is !== "data" || size < 2) return say(`R${register} is no text`)
      const bytes = data.subarray(held.offset, held.offset + size)
      if (bytes.indexOf(0) !== size - 1) say(`R${register} is no text that ends with a NUL`)
    }
    const call = (): void => {
      const id = Insn.imm(insns, at)
      if (!Insn.isHelperCall(insns, at)) say("calls what is no helper")
      switch (id) {
        case Helper.TRACE_PRINTK:
          text(1, 2)
          break
        case Helper.PROBE_READ_KERNEL:
        case Helper.COPY_FROM_USER:
          read(3)
          memory(read(1), 0, constant(2), "write", "R1")
          break
        case Helper.SYS_BPF:
          constant(1)
          memory(read(2), 0, constant(3), "both", "R2")
          if (read(2).is !== "data") say("bpf_attr must be in the data")
          break
        case Helper.BTF_FIND_BY_NAME_KIND:
          text(1, 2)
          if (constant(3) === 0) say("looks for types of no kind")
          if (constant(4) !== 0) say("R4 must be 0")
          break
        case Helper.SYS_CLOSE:
          if (read(1).is !== "number") say("closes what is no number")
          break
        case Helper.KALLSYMS_LOOKUP_NAME:
          text(1, 2)
          if (constant(3) !== 0) say("R3 must be 0")
          memory(read(4), 0, 8, "write", "R4")
          break
        default:
          say(`calls helper ${id}`)
      }
      if (isAsked(id)) {
        if (unseen) say("asks again before the last answer was looked at")
        unseen = true
      }
      for (let register = 1; register <= 5; register++) registers[register] = nothing
      registers[0] = unknown
    }

    const opcode = Insn.opcode(insns, at)
    const [dst, src, offset, imm] = [
      Insn.dst(insns, at),
      Insn.src(insns, at),
      Insn.offset(insns, at),
      Insn.imm(insns, at)
    ]
    if (Insn.isLdImm64(insns, at)) {
      if (src === 5 && imm === 0) write(dst, { is: "map" })
      else if (src === 6 && imm === 0) write(dst, { is: "data", offset: Insn.nextImm(insns, at) >>> 0 })
      else if (src === 0) write(dst, unknown)
      else say("loads something else than its data")
      return next(at + 2)
    }
    const size = Insn.sizeInBytes(insns, at)
    switch (Insn.insnClass(insns, at)) {
      case 1:
        memory(read(src), offset, size, "read", "a load")
        write(dst, unknown)
        return next(at + 1)
      case 2:
        memory(read(dst), offset, size, "write", "a store")
        return next(at + 1)
      case 3: {
        const stored = read(src)
        // Addresses of the data go into its structures, whole.
        const isAddress = stored.is === "data" && size === 8 && read(dst).is === "data"
        if (stored.is !== "number" && !isAddress) say("stores what is no number where others may see it")
        memory(read(dst), offset, size, "write", "a store")
        return next(at + 1)
      }
      case 5: {
        if (opcode === Insn.EXIT) {
          if (read(0).is !== "number") say("returns what is no number")
          if (unseen) say("returns before the last answer was looked at")
          return
        }
        if (opcode === Insn.CALL) {
          call()
          return next(at + 1)
        }
        if (opcode === Insn.JA) return next(at + 1 + offset)
        if (!Insn.isConditionalJump(insns, at)) return say(`opcode ${opcode} is none of a loader's`)
        if (read(dst).is !== "number") say("compares what is no number")
        if (Insn.source(insns, at) !== 0) read(src)
        if (dst === 7) unseen = false
        next(at + 1)
        return next(at + 1 + offset)
      }
      case 7: {
        const operand: Held = Insn.source(insns, at) === 0 ? { is: "number", value: imm } : read(src)
        if (Insn.op(insns, at) === 0xb0) {
          write(dst, operand)
          return next(at + 1)
        }
        const before = read(dst)
        const isAdded = Insn.op(insns, at) === 0 && operand.is === "number" && operand.value !== undefined
        if ((before.is === "frame" || before.is === "data") && isAdded) {
          write(dst, { is: before.is, offset: before.offset + (operand.value ?? 0) })
        } else {
          if (before.is !== "number") say("counts with what is no number")
          write(dst, unknown)
        }
        return next(at + 1)
      }
      default:
        return say(`opcode ${opcode} is none of a loader's`)
    }
  }

  const begin: ReadonlyArray<Held> = Array.from(
    { length: 11 },
    (_, register) => register === 1 ? { is: "context" } : register === 10 ? { is: "frame", offset: 0 } : nothing
  )
  flow(-1, 0, { registers: begin, stack: new Uint8Array(STACK), unseen: false })
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const state = states.get(at)
    if (state !== undefined) follow(at, state, false)
  }
  for (const at of starts) {
    const state = states.get(at)
    if (state === undefined) found.add(`${at}: is never reached`)
    else follow(at, state, true)
  }
  if (isCyclic(edges)) found.add("some code could run again and again")
  return [...found]
}

/** Whether some way through the code leads back to where it was. */
const isCyclic = (edges: ReadonlyMap<number, ReadonlyArray<number>>): boolean => {
  const arriving = new Map<number, number>()
  for (const targets of edges.values()) for (const to of targets) arriving.set(to, (arriving.get(to) ?? 0) + 1)
  const nodes = new Set([...edges.keys(), ...arriving.keys()])
  const free = [...nodes].filter((node) => !arriving.has(node))
  let left = nodes.size
  for (let node = free.pop(); node !== undefined; node = free.pop()) {
    left--
    for (const to of edges.get(node) ?? []) {
      const others = (arriving.get(to) ?? 0) - 1
      arriving.set(to, others)
      if (others === 0) free.push(to)
    }
  }
  return left > 0
}
