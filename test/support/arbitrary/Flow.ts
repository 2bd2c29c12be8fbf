/**
 * Random programs that use memory as a verifier wants it used, for the virtual machine to run and for reachability to
 * follow: constants and inputs in registers and on the stack, branches on them, functions, callbacks, constant maps,
 * poisoned instructions.
 */
import * as fc from "fast-check"
import * as Encode from "../../../src/insn/Encode.ts"
import * as Insn from "../../../src/insn/Insn.ts"
import * as C from "../../../src/insn/InsnConstants.ts"
import type { Code } from "../../../src/stages/relocate/reachability/Flow.ts"
import { POISON } from "../../../src/stages/relocate/core/Core.ts"
import * as Vm from "../../../src/vm/Vm.ts"

/** Bytes of the constant map, which loads of one number or another read. */
export const constants: Uint8Array = Uint8Array.from({ length: 32 }, (_, at) => [0, 1, 0, 0, 0, 0, 0, 0][at % 8] ?? 0)

const { BPF_DW, BPF_W } = C

/** One instruction, or a few that belong together; a jump leads to the statement `by` further (or back, below zero). */
export type Statement =
  | { readonly _tag: "Plain"; readonly code: Uint8Array }
  | { readonly _tag: "Poison"; readonly code: Uint8Array }
  | {
    readonly _tag: "Jump"
    readonly by: number
    readonly before?: Uint8Array
    readonly code: (offset: number) => Uint8Array
  }
  | { readonly _tag: "Call"; readonly to: number; readonly before: Uint8Array }
  | { readonly _tag: "Loop"; readonly before: Uint8Array; readonly after: Uint8Array }

/** The functions of a program: the first is its entry, the last the callback of loops. */
export interface Program {
  readonly functions: ReadonlyArray<ReadonlyArray<Statement>>
  /** Positions of functions that count as global. */
  readonly global: ReadonlyArray<number>
  /** Whether functions begin by clearing the words of the stack that they use, as verifiers want it. */
  readonly clears: boolean
}

/** What programs may be made of. */
export interface Choice {
  /** Jumps back, callbacks, writes through pointers, poisoned instructions, global functions. */
  readonly everything: boolean
}

type Register = Encode.Register

const scratch: fc.Arbitrary<Register> = fc.constantFrom<Array<Register>>(0, 2, 3, 6, 7, 8, 9)
const small = fc.constantFrom(0, 1, 5, -1)
const imm: fc.Arbitrary<number> = fc.oneof(
  { weight: 4, arbitrary: small },
  { weight: 1, arbitrary: fc.constantFrom(4, 32, 63, 255, 0x7fff_ffff, -0x8000_0000) }
)
const word = fc.integer({ min: 1, max: 6 }).map((index) => -8 * index)

const plain = (...code: ReadonlyArray<Uint8Array>): Statement => ({ _tag: "Plain", code: Encode.program(...code) })

const operations = [
  C.BPF_ADD,
  C.BPF_SUB,
  C.BPF_MUL,
  C.BPF_DIV,
  C.BPF_OR,
  C.BPF_AND,
  C.BPF_LSH,
  C.BPF_RSH,
  C.BPF_MOD,
  C.BPF_XOR,
  C.BPF_ARSH
] as const

const comparisons = [
  C.BPF_JEQ,
  C.BPF_JNE,
  C.BPF_JGT,
  C.BPF_JGE,
  C.BPF_JLT,
  C.BPF_JLE,
  C.BPF_JSET,
  C.BPF_JSGT,
  C.BPF_JSGE,
  C.BPF_JSLT,
  C.BPF_JSLE
] as const

const arithmetic: fc.Arbitrary<Statement> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(scratch, imm).map(([dst, value]) => plain(Encode.mov64Imm(dst, value))) },
  { weight: 2, arbitrary: fc.tuple(scratch, scratch).map(([dst, src]) => plain(Encode.mov64Reg(dst, src))) },
  fc.tuple(scratch, imm).map(([dst, value]) => plain(Encode.mov32Imm(dst, value))),
  fc.tuple(scratch, scratch).map(([dst, src]) => plain(Encode.mov32Reg(dst, src))),
  fc.tuple(fc.constantFrom(...operations), scratch, imm, fc.boolean()).map(([op, dst, value, wide]) =>
    plain(wide ? Encode.alu64Imm(op, dst, value) : Encode.alu32Imm(op, dst, value))
  ),
  fc.tuple(fc.constantFrom(...operations), scratch, scratch, fc.boolean()).map(([op, dst, src, wide]) =>
    plain(wide ? Encode.alu64Reg(op, dst, src) : Encode.alu32Reg(op, dst, src))
  ),
  fc.tuple(fc.constantFrom(C.BPF_DIV, C.BPF_MOD), scratch, imm, fc.boolean()).map(([op, dst, value, wide]) =>
    plain(wide ? Encode.signed64Imm(op, dst, value) : Encode.signed32Imm(op, dst, value))
  ),
  fc.tuple(fc.constantFrom<Array<8 | 16 | 32>>(8, 16, 32), scratch, scratch).map(([bits, dst, src]) =>
    plain(Encode.movsx64(bits, dst, src))
  ),
  fc.tuple(fc.constantFrom<Array<8 | 16>>(8, 16), scratch, scratch).map(([bits, dst, src]) =>
    plain(Encode.movsx32(bits, dst, src))
  ),
  fc.tuple(scratch, fc.boolean()).map(([dst, wide]) => plain(wide ? Encode.neg64(dst) : Encode.neg32(dst))),
  fc.tuple(fc.constantFrom<Array<16 | 32 | 64>>(16, 32, 64), scratch, fc.nat(2)).map(([bits, dst, form]) =>
    plain(form === 0 ? Encode.le(bits, dst) : form === 1 ? Encode.be(bits, dst) : Encode.bswap(bits, dst))
  )
)

/** Arithmetic on inputs of which it can be enumerated what comes of them. */
const masks: fc.Arbitrary<Statement> = fc.oneof(
  fc.tuple(scratch, imm).map(([dst, value]) => plain(Encode.mov64Imm(dst, value))),
  fc.tuple(scratch, scratch, fc.boolean()).map(([dst, src, wide]) =>
    plain(wide ? Encode.mov64Reg(dst, src) : Encode.mov32Reg(dst, src))
  ),
  fc.tuple(fc.constantFrom(C.BPF_LSH, C.BPF_RSH, C.BPF_ARSH), scratch).map(([op, dst]) =>
    plain(Encode.alu64Imm(op, dst, 32))
  ),
  fc.tuple(scratch, fc.constantFrom(1, 255, -1)).map(([dst, mask]) => plain(Encode.alu64Imm(C.BPF_AND, dst, mask))),
  fc.tuple(scratch, small).map(([dst, value]) => plain(Encode.alu64Imm(C.BPF_ADD, dst, value)))
)

/** Words of the stack, as wholes and in parts, and numbers of the constant map. */
const memory: fc.Arbitrary<Statement> = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(word, scratch).map(([at, src]) => plain(Encode.stx(BPF_DW, 10, src, at))) },
  { weight: 3, arbitrary: fc.tuple(word, scratch).map(([at, dst]) => plain(Encode.ldx(BPF_DW, dst, 10, at))) },
  fc.tuple(word, imm).map(([at, value]) => plain(Encode.st(BPF_DW, 10, at, value))),
  fc.tuple(word, scratch, fc.constantFrom(0, 4)).map(([at, src, by]) => plain(Encode.stx(BPF_W, 10, src, at + by))),
  fc.tuple(word, scratch, fc.constantFrom(0, 4)).map(([at, dst, by]) => plain(Encode.ldx(BPF_W, dst, 10, at + by))),
  fc.tuple(word, scratch).map(([at, src]) => plain(Encode.atomicFetchAdd(BPF_DW, 10, src, at))),
  fc.tuple(scratch, fc.constantFrom(0, 1, 8, 9), fc.constantFrom(C.BPF_B, BPF_W, BPF_DW)).map(([dst, at, size]) =>
    plain(Encode.ldMapValue(dst, 0, 0), Encode.alu64Imm(C.BPF_ADD, dst, at), Encode.ldx(size, dst, dst, 0))
  )
)

/** Ids of the helpers that hosts of `run` have. */
const Helper = { RANDOM: 7, READ: 4, WRITES_UPWARDS: 26, LOOP: 181 } as const

const input: fc.Arbitrary<Statement> = fc.oneof(
  fc.constant(plain(Encode.callHelper(Helper.RANDOM))),
  word.map((at) =>
    plain(
      Encode.mov64Reg(1, 10),
      Encode.alu64Imm(C.BPF_ADD, 1, at),
      Encode.mov64Imm(2, 8),
      Encode.callHelper(Helper.READ)
    )
  )
)

/** The context is kept below the words that programs use. */
const CONTEXT = -72

const dangerous: fc.Arbitrary<Statement> = fc.oneof(
  word.map((at) =>
    plain(Encode.mov64Reg(1, 10), Encode.alu64Imm(C.BPF_ADD, 1, at), Encode.callHelper(Helper.WRITES_UPWARDS))
  ),
  fc.tuple(scratch, fc.constantFrom(0, 4)).map(([dst, at]) =>
    plain(Encode.ldx(BPF_DW, 2, 10, CONTEXT), Encode.ldx(BPF_W, dst, 2, at))
  ),
  scratch.map((dst): Statement => ({ _tag: "Poison", code: Encode.mov64Imm(dst, 1) })),
  fc.tuple(word, fc.nat(2)).map(([at, turns]): Statement => ({
    _tag: "Loop",
    before: Encode.mov64Imm(1, turns),
    after: Encode.program(
      Encode.mov64Reg(3, 10),
      Encode.alu64Imm(C.BPF_ADD, 3, at),
      Encode.mov64Imm(4, 0),
      Encode.callHelper(Helper.LOOP)
    )
  }))
)

/** The pointer that functions and callbacks are handed: into the stack of their caller. */
const LENT = -80

const throughPointer: fc.Arbitrary<Statement> = fc.tuple(scratch, fc.constantFrom(0, -8)).map(([src, at]) =>
  plain(Encode.ldx(BPF_DW, 5, 10, LENT), Encode.stx(BPF_DW, 5, src, at))
)

const jump = (back: boolean): fc.Arbitrary<Statement> => {
  const by = back
    ? fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 1, max: 5 }) }, fc.integer({ min: -4, max: -1 }))
    : fc.integer({ min: 1, max: 5 })
  return fc.oneof(
    fc.tuple(by, fc.constantFrom(...comparisons), scratch, imm, fc.boolean()).map((
      [by, op, dst, value, wide]
    ): Statement => ({
      _tag: "Jump",
      by,
      code: (offset) => wide ? Encode.jmpImm(op, dst, value, offset) : Encode.jmp32Imm(op, dst, value, offset)
    })),
    fc.tuple(by, fc.constantFrom(...comparisons), scratch, scratch, fc.boolean()).map((
      [by, op, dst, src, wide]
    ): Statement => ({
      _tag: "Jump",
      by,
      code: (offset) => wide ? Encode.jmpReg(op, dst, src, offset) : Encode.jmp32Reg(op, dst, src, offset)
    })),
    by.map((by): Statement => ({ _tag: "Jump", by, code: Encode.ja })),
    // Decided by a number that was moved, was kept on the stack while something is called, or is a constant variable.
    fc.tuple(by, fc.constantFrom(...comparisons), scratch, small, small, fc.nat(back ? 4 : 0), word).map((
      [by, op, dst, value, other, way, at]
    ): Statement => {
      const pointer = Encode.program(Encode.mov64Reg(1, 10), Encode.alu64Imm(C.BPF_ADD, 1, at), Encode.mov64Imm(2, 8))
      const kept = (...calls: ReadonlyArray<Uint8Array>) =>
        Encode.program(
          Encode.mov64Imm(dst, value),
          Encode.stx(BPF_DW, 10, dst, at),
          ...calls,
          Encode.ldx(BPF_DW, dst, 10, at)
        )
      const before = [
        Encode.mov64Imm(dst, value),
        kept(),
        kept(pointer, Encode.callHelper(Helper.READ)),
        kept(pointer, Encode.callHelper(Helper.WRITES_UPWARDS)),
        Encode.program(Encode.ldMapValue(dst, 0, 0), Encode.ldx(BPF_DW, dst, dst, value === 0 ? 0 : 1))
      ]
      return {
        _tag: "Jump",
        by,
        before: before[way] ?? new Uint8Array(),
        code: (offset) => Encode.jmpImm(op, dst, other, offset)
      }
    })
  )
}

const call = (to: number): fc.Arbitrary<Statement> =>
  fc.tuple(word, small).map(([at, value]): Statement => ({
    _tag: "Call",
    to,
    before: Encode.program(Encode.mov64Reg(1, 10), Encode.alu64Imm(C.BPF_ADD, 1, at), Encode.mov64Imm(2, value))
  }))

/** Programs of a main function, one that it calls, and a callback. */
export const programs = ({ everything }: Choice): fc.Arbitrary<Program> => {
  const statement = (position: number): fc.Arbitrary<Statement> =>
    fc.oneof(
      { weight: 6, arbitrary: everything ? arithmetic : masks },
      { weight: 4, arbitrary: jump(everything) },
      { weight: everything ? 4 : 1, arbitrary: memory },
      { weight: 2, arbitrary: input },
      ...(position === 0 ? [{ weight: 1, arbitrary: call(1) }] : []),
      ...(everything ? [{ weight: 2, arbitrary: position === 0 ? dangerous : throughPointer }] : [])
    )
  const body = (position: number) => fc.array(statement(position), { minLength: 1, maxLength: position === 0 ? 20 : 8 })
  return fc.record({
    functions: fc.tuple(body(0), body(1), everything ? body(2) : fc.constant([])),
    global: everything ? fc.subarray([1]) : fc.constant([]),
    clears: everything ? fc.boolean() : fc.constant(true)
  })
}

/** A program assembled: for the machine, and for reachability. */
export const assemble = ({ clears, functions, global }: Program): Code => {
  const starts: Array<number> = []
  const parts: Array<Uint8Array> = []
  const fixes: Array<
    { readonly part: number; readonly at: number; readonly function: number; readonly load: boolean }
  > = []
  const poisoned = new Set<number>()
  const loads = new Map<number, { readonly _tag: "MapValue"; readonly map: number; readonly offset: number }>()
  let slots = 0
  const put = (code: Uint8Array): void => {
    parts.push(code)
    for (let at = 0; at < Insn.count(code); at = Insn.nextSlot(code, at)) {
      if (Insn.isMapReference(code, at)) loads.set(slots + at, { _tag: "MapValue", map: 0, offset: 0 })
    }
    slots += Insn.count(code)
  }
  for (const [position, statements] of functions.entries()) {
    starts.push(slots)
    put(
      position === 0
        ? Encode.stx(BPF_DW, 10, 1, CONTEXT)
        : Encode.stx(BPF_DW, 10, position === 1 ? 1 : 2, LENT)
    )
    if (clears) {
      put(Encode.mov64Imm(0, 0))
      for (let at = -48; at < 0; at += 8) put(Encode.stx(BPF_DW, 10, 0, at))
    }
    const places: Array<number> = []
    const jumps: Array<{ readonly part: number; readonly at: number; readonly statement: number }> = []
    for (const [index, each] of statements.entries()) {
      places.push(slots)
      switch (each._tag) {
        case "Plain":
          put(each.code)
          break
        case "Poison":
          poisoned.add(slots)
          put(each.code)
          break
        case "Jump":
          if (each.before !== undefined) put(each.before)
          jumps.push({ part: parts.length, at: slots, statement: index })
          put(Encode.ja(0))
          break
        case "Call":
          put(each.before)
          fixes.push({ part: parts.length, at: slots, function: each.to, load: false })
          put(Encode.callSubprogram(0))
          break
        case "Loop":
          put(each.before)
          fixes.push({ part: parts.length, at: slots, function: 2, load: true })
          put(Encode.ldFunc(2, 0))
          put(each.after)
      }
    }
    const end = slots
    for (const { at, part, statement } of jumps) {
      const each = statements[statement]
      if (each?._tag !== "Jump") continue
      const target = statement + each.by
      const to = target >= places.length ? end : places[Math.max(0, target)] ?? end
      parts[part] = each.code(to - at - 1)
    }
    put(Encode.exit())
  }
  for (const { at, function: to, load, part } of fixes) {
    const distance = (starts[to] ?? 0) - at - 1
    parts[part] = load ? Encode.ldFunc(2, distance) : Encode.callSubprogram(distance)
  }
  const compiled = Encode.program(...parts)
  const insns = new Uint8Array(compiled)
  for (const slot of poisoned) Insn.setSlot(insns, slot, Insn.CALL, 0, 0, 0, POISON)
  return {
    insns,
    compiled,
    poisoned,
    loads,
    littleEndian: true,
    functions: starts.map((slot, position) => ({
      slot,
      slots: (starts[position + 1] ?? slots) - slot,
      global: global.includes(position)
    })),
    exceptionCallback: undefined,
    kfuncs: new Map(),
    isConstant: () => true,
    constantAt: (_, offset, size) => {
      let value = 0n
      for (let index = size - 1; index >= 0; index--) value = (value << 8n) | BigInt(constants[offset + index] ?? 0)
      return offset < 0 || offset + size > constants.length ? undefined : value
    }
  }
}

/** How many numbers the helper of this id takes from the inputs. */
export const inputsOf = (helper: number): number => helper === Helper.RANDOM ? 1 : helper === Helper.READ ? 2 : 0

/** The slots that the virtual machine executes, where helpers answer with these numbers, in turn. */
export const run = (code: Code, inputs: ReadonlyArray<bigint>, budget: number): ReadonlySet<number> => {
  const executed = new Set<number>()
  const memory = Vm.Memory.make()
  const rodata = Vm.Memory.add(memory, { name: "rodata", bytes: new Uint8Array(constants), writable: false })
  const bytes = new Uint8Array(8)
  inputs.forEach((value, index) => bytes[index % 8] = Number(value & 0xffn))
  const context = Vm.Memory.add(memory, { name: "context", bytes })
  if (rodata === undefined || context === undefined) throw new Error("no room")
  let taken = 0
  const next = (): bigint => inputs.length === 0 ? 0n : inputs[taken++ % inputs.length] ?? 0n
  const write = (machine: Vm.Machine, words: number): void => {
    const region = Vm.Memory.regionAt(memory, machine.high[1] ?? 0)
    if (region === undefined) return
    const at = (machine.low[1] ?? 0) >>> 0
    for (let word = 0; word < words; word++) {
      if (at + word * 8 + 8 <= region.writeLength) region.view.setBigUint64(at + word * 8, next(), true)
    }
  }
  const helpers: Array<Vm.Helper | undefined> = []
  helpers[Helper.RANDOM] = (machine) => Vm.returnBigint(machine, next())
  helpers[Helper.READ] = (machine) => {
    write(machine, 1)
    return Vm.returnBigint(machine, next())
  }
  helpers[Helper.WRITES_UPWARDS] = (machine) => {
    write(machine, 2)
    return Vm.returnBigint(machine, next())
  }
  helpers[Helper.LOOP] = (machine) => {
    const turns = machine.low[1] ?? 0
    const low = machine.low[2] ?? 0
    const high = machine.high[2] ?? 0
    const lent = [machine.low[3] ?? 0, machine.high[3] ?? 0] as const
    const turn = (left: number): Vm.Handled => {
      if (left <= 0) return Vm.returnNumber(machine, turns)
      Vm.setNumber(machine, 1, turns - left)
      machine.low[2] = lent[0]
      machine.high[2] = lent[1]
      return Vm.enter(machine, low, high, () => turn(left - 1))
    }
    return turn(turns)
  }
  const host: Vm.Host = { helpers, kfuncs: new Map() }
  const machine = Vm.make({ memory, host, trace: (_, slot) => executed.add(slot) })
  const program = Vm.decode(code.insns, { resolve: () => Vm.Memory.address(rodata) })
  if (machine === undefined || program._tag !== "Success") throw new Error("does not decode")
  Vm.start(machine, program.success, [Vm.Memory.address(context)])
  const outcome = Vm.run(machine, budget)
  const { fault } = machine
  if (outcome._tag === "Fault" && fault !== undefined && fault.reason !== "UnknownHelper") throw fault
  return executed
}
