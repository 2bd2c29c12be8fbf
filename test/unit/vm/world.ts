/**
 * A machine with a region of every kind around it, inside a buffer whose other bytes must never change; and programs for it,
 * made of random bytes.
 */
import { assert } from "@effect/vitest"
import type * as Result from "effect/Result"
import * as Encode from "../../../src/insn/Encode.ts"
import * as C from "../../../src/insn/InsnConstants.ts"
import * as Vm from "../../../src/vm/Vm.ts"

/** What untouched bytes hold. */
const CANARY = 0xa5

/** A memory with regions of every kind, and the machine that sees it. */
export interface World {
  readonly machine: Vm.Machine
  readonly regions: ReadonlyArray<Vm.Memory.Region>
  /** Decodes with the regions as what 64-bit immediate loads refer to. */
  readonly decode: (insns: Uint8Array) => Result.Result<Vm.Program, Vm.VmError>
  /** Starts a program with the context as its argument. */
  readonly start: (program: Vm.Program) => void
  /** Runs to the end, giving numbers for calls; undefined when the budget is spent first. */
  readonly finish: (budget: number, chunk?: number) => Vm.Outcome
  /** All bytes that programs may write, and what was loaded and stored through the accessor. */
  readonly state: () => string
  /** Bytes that nobody may write, but somebody did: their places. */
  readonly damage: () => ReadonlyArray<number>
}

/** What a world is made with; `fault` widens the packet's region by so many bytes: a judge must see it. */
export interface WorldOptions {
  readonly coverage?: Map<Vm.Program, Uint32Array>
  readonly trace?: (machine: Vm.Machine, slot: number) => void
  readonly fault?: number
}

const region = (memory: Vm.Memory.Memory, options: Vm.Memory.RegionOptions): Vm.Memory.Region => {
  const added = Vm.Memory.add(memory, options)
  assert.isDefined(added)
  return added
}

/** Makes a world; equal options make equal ones. */
export const makeWorld = (options: WorldOptions = {}): World => {
  const buffer = new Uint8Array(1024).fill(CANARY)
  const packet = buffer.subarray(67, 67 + 61)
  const readOnly = buffer.subarray(200, 264)
  const values = buffer.subarray(301, 301 + 7 * 20)
  for (const bytes of [packet, readOnly, values]) bytes.forEach((_, at) => bytes[at] = at * 7 + 1)
  const before = Uint8Array.from(buffer)
  let accesses = 0
  const memory = Vm.Memory.make()
  const packetRegion = region(memory, { name: "packet", bytes: packet })
  const gone = region(memory, { name: "gone", bytes: new Uint8Array(64) })
  const elements = Vm.Memory.addElements(memory, { name: "values", bytes: values }, 16, 20, 7)
  assert.isDefined(elements)
  const context = region(memory, {
    name: "context",
    accessor: {
      load: (offset, size, out) => {
        accesses = (accesses * 31 + offset + size) | 0
        if (offset % 4 !== 0 || offset > 64) return false
        out[0] = offset === 0 ? 3 : offset
        out[1] = offset === 0 ? packetRegion.id : 0
        return true
      },
      store: (offset, size, low, high) => {
        accesses = (accesses * 31 + offset + size + low + high) | 0
        return offset >= 16 && offset <= 32
      }
    }
  })
  const regions = [
    packetRegion,
    region(memory, { name: "read-only", bytes: readOnly, writable: false }),
    elements,
    context,
    region(memory, { name: "secret", bytes: buffer.subarray(600, 664), readable: false, writable: false }),
    gone
  ]
  Vm.Memory.remove(memory, gone)
  // A region that is larger than it says: what a wrong bounds check would come to.
  if (options.fault !== undefined) Vm.Memory.rebind(packetRegion, buffer.subarray(67, 67 + 61 + options.fault))
  const machine = Vm.make({
    memory,
    host: hostOf(regions),
    ...(options.coverage === undefined ? {} : { coverage: options.coverage }),
    ...(options.trace === undefined ? {} : { trace: options.trace })
  })
  assert.isDefined(machine)
  const isOpen = (at: number): boolean =>
    [packet, values].some((bytes) => {
      const from = bytes.byteOffset - buffer.byteOffset
      return at >= from && at < from + bytes.length
    })
  return {
    machine,
    regions,
    decode: (insns) =>
      Vm.decode(insns, {
        resolve: ({ imm, nextImm }) => {
          const of = regions[Math.abs(imm) % regions.length]
          return of === undefined ? undefined : Vm.Memory.address(of, nextImm & 15)
        }
      }),
    start: (program) => Vm.start(machine, program, [Vm.Memory.address(context)]),
    finish: (budget, chunk = budget) => {
      let calls = 0
      let outcome = Vm.run(machine, Math.min(chunk, budget))
      for (;;) {
        const left = budget - machine.executed
        if (outcome._tag === "Calls" && left > 0) {
          outcome = Vm.resume(machine, BigInt(++calls % 5), Math.min(chunk, left))
        } else if (outcome._tag === "OutOfBudget" && left > 0) outcome = Vm.run(machine, Math.min(chunk, left))
        else return outcome
      }
    },
    state: () =>
      `${buffer.join()} ${accesses} ${machine.low.subarray(0, 11).join()} ${machine.high.subarray(0, 11).join()}`,
    damage: () => [...buffer.keys()].filter((at) => !isOpen(at) && buffer[at] !== before[at])
  }
}

/** Helpers of every behaviour that a helper may have. */
const hostOf = (regions: ReadonlyArray<Vm.Memory.Region>): Vm.Host => {
  const again: Vm.Continuation = (machine) => {
    const left = (machine.low[0] ?? 0) & 3
    if (left === 0) return Vm.returnNumber(machine, 1)
    return Vm.enter(machine, machine.low[6] ?? 0, Vm.Memory.CODE_REGION, again)
  }
  const helpers: ReadonlyArray<Vm.Helper> = [
    (machine) => Vm.returnNumber(machine, -2),
    (machine) => {
      const elements = regions[2]
      if (elements === undefined) return Vm.refuse(machine, "no values")
      return Vm.returnAddress(machine, elements, Vm.Memory.elementOffset(elements, (machine.low[1] ?? 0) & 7))
    },
    (machine) => Vm.enter(machine, machine.low[1] ?? 0, machine.high[1] ?? 0, again),
    (machine) => Vm.tailCall(machine, machine.program) ? Vm.ENTERED : Vm.returnNumber(machine, -1),
    (machine) => Vm.suspend(machine),
    (machine) => {
      const bytes = Vm.writable(machine, 1, (machine.low[2] ?? 0) & 31)
      if (bytes === undefined) return Vm.FAULTED
      bytes.fill(1)
      return Vm.returnBigint(machine, -1n)
    },
    (machine) => {
      Vm.charge(machine, 3)
      return Vm.returnNumber(machine, 2 ** 52)
    },
    (machine) => Vm.finish(machine),
    (machine) => Vm.unwind(machine, machine.low[1] ?? 0, machine.high[1] ?? 0),
    (machine) => Vm.refuse(machine, "never")
  ]
  return {
    helpers,
    kfuncs: new Map([[3, (machine) => Vm.returnNumber(machine, 3)]]),
    packetLoad: (_, offset, size) => offset < 0 || offset > 64 ? undefined : offset * size
  }
}

const DW = C.BPF_DW
const loads = [C.BPF_B, C.BPF_H, C.BPF_W, DW].flatMap((
  size
) => [C.BPF_LDX | C.BPF_MEM | size, C.BPF_STX | C.BPF_MEM | size])
const signed = [C.BPF_B, C.BPF_H, C.BPF_W].map((size) => C.BPF_LDX | C.BPF_MEMSX | size)
const alu = [0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xa0, 0xb0, 0xc0]
const comparisons = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0]
const atomicOperations = [0x00, 0x40, 0x50, 0xa0, 0x01, 0x41, 0x51, 0xa1, 0xe1, 0xf1]

type Placed = (slot: number, slotOf: (insn: number) => number) => Uint8Array

const fixed = (insn: Uint8Array): Placed => () => insn

/** One instruction that decoding accepts, made of 8 bytes. */
const insnOf = (bytes: Uint8Array): { readonly slots: number; readonly place: Placed } => {
  const [kind = 0, which = 0, registers = 0, a = 0, b = 0, c = 0, d = 0, e = 0] = bytes
  const dst = registers % 10
  const src = (registers >> 4) % 11
  const near = (a & 31) - 8
  const imm = (b & 3) === 0 ? (b | (c << 8) | (d << 16) | (e << 24)) : (c % 40) - 8
  const one = (place: Placed) => ({ slots: 1, place })
  const jump = (make: (distance: number) => Uint8Array) => one((slot, slotOf) => make(slotOf(a | (e << 8)) - slot - 1))
  const raw = (opcode: number, offset: number, value: number, source = src) =>
    one(fixed(Encode.raw(opcode, dst, source, offset, value)))
  switch (kind % 16) {
    case 0:
    case 1: {
      const op = alu[which % alu.length] ?? 0
      const wide = (which & 0x80) === 0 ? C.BPF_ALU64 : C.BPF_ALU
      const offset = (op === C.BPF_DIV || op === C.BPF_MOD) ? a & 1 : 0
      return (which & 0x40) === 0 ? raw(wide | op | C.BPF_X, offset, 0) : raw(wide | op, offset, imm, 0)
    }
    case 2: {
      const bits = [8, 16, 32][a % 3] ?? 8
      const width = [16, 32, 64][a % 3] ?? 16
      switch (which % 5) {
        case 0:
          return raw(0xbf, bits, 0)
        case 1:
          return raw(0xbc, bits & 24, 0)
        case 2:
          return raw(which & 0x40 ? 0x87 : 0x84, 0, 0, 0)
        case 3:
          return raw(which & 0x40 ? 0xd7 : 0xdc, 0, width, 0)
        default:
          return raw(0xd4, 0, width, 0)
      }
    }
    case 3:
    case 4: {
      const op = comparisons[which % comparisons.length] ?? 0x10
      const cls = (which & 0x80) === 0 ? C.BPF_JMP : C.BPF_JMP32
      return (which & 0x40) === 0
        ? jump((distance) => Encode.raw(cls | op | C.BPF_X, dst, src, distance, 0))
        : jump((distance) => Encode.raw(cls | op, dst, 0, distance, imm))
    }
    case 5:
      return which < 40
        ? jump(Encode.ja)
        : which < 80
        ? jump(Encode.gotol)
        : which < 120
        ? jump(Encode.mayGoto)
        : one(fixed(Encode.mov64Imm(0, imm)))
    case 6:
    case 7:
    case 8:
      return raw(loads[which % loads.length] ?? 0x61, near, 0)
    case 9:
      return raw(signed[which % signed.length] ?? 0x81, near, 0)
    case 10:
      return raw((loads[which % loads.length] ?? 0x63) & 0x18 | C.BPF_ST | C.BPF_MEM, near, imm, 0)
    case 11:
      return raw(which & 1 ? 0xc3 : 0xdb, near, atomicOperations[a % atomicOperations.length] ?? 0, src % 10)
    case 12:
      return {
        slots: 2,
        place: (slot, slotOf) =>
          which < 160
            ? Encode.ldMapValue(dst as Encode.Register, a, b)
            : which < 200
            ? Encode.ldFunc(dst as Encode.Register, slotOf(a) - slot - 1)
            : Encode.ldImm64(dst as Encode.Register, (BigInt(a) << 56n) | BigInt(b))
      }
    case 13:
      return which < 100
        ? jump(Encode.callSubprogram)
        : one(fixed(which < 240 ? Encode.callHelper(a % 11) : Encode.callKfunc(a % 5)))
    case 14:
      return which < 128
        ? one(fixed(Encode.ldAbs(C.BPF_H, near)))
        : one(fixed(Encode.ldInd(C.BPF_W, src as Encode.Register, near)))
    default:
      return which < 60 ? one(fixed(Encode.exit())) : raw(0xbf, 0, 0)
  }
}

/** Code that decoding accepts, made of any bytes; eight make an instruction. It starts with pointers in r6 to r9. */
export const wellFormed = (bytes: Uint8Array): Uint8Array => {
  const prelude = [6, 7, 8, 9].map((register, at) => ({
    slots: 2,
    place: fixed(Encode.ldMapValue(register as Encode.Register, at, at * 3))
  }))
  const insns = [...prelude]
  for (let at = 0; at + 8 <= bytes.length; at += 8) insns.push(insnOf(bytes.subarray(at, at + 8)))
  insns.push({ slots: 1, place: fixed(Encode.exit()) })
  const starts: Array<number> = []
  let slots = 0
  for (const insn of insns) {
    starts.push(slots)
    slots += insn.slots
  }
  // Calls of the prelude would be calls of the program's start: as good as any.
  const slotOf = (insn: number): number => starts[insn % starts.length] ?? 0
  return Encode.program(...insns.map((insn, at) => insn.place(starts[at] ?? 0, slotOf)))
}
