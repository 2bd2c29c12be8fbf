import * as Result from "effect/Result"
import * as Encode from "../../src/insn/Encode.ts"
import * as C from "../../src/insn/InsnConstants.ts"
import * as Vm from "../../src/vm/Vm.ts"
import type { Case } from "../Harness.ts"

/** Instructions of each case: a time of 5 ms is 200 million a second. */
const INSTRUCTIONS = 1_000_000

const DW = C.BPF_DW

/** A loop around a body, which r1 counts down to make `INSTRUCTIONS` in all. */
const loop = (body: ReadonlyArray<Uint8Array>): ReadonlyArray<Uint8Array> => {
  const slots = body.reduce((sum, insn) => sum + insn.length / 8, 0)
  return [
    Encode.mov64Imm(0, 1),
    Encode.mov64Imm(2, 7),
    Encode.ldMapValue(6, 0, 0),
    Encode.mov64Imm(1, Math.round(INSTRUCTIONS / (body.length + 2))),
    ...body,
    Encode.alu64Imm(C.BPF_SUB, 1, 1),
    Encode.jmpImm(C.BPF_JNE, 1, 0, -2 - slots),
    Encode.exit()
  ]
}

/** The loop, then a function that returns 1. */
const calling = (): ReadonlyArray<Uint8Array> => {
  const body = (distance: number) => [
    Encode.mov64Reg(7, 1),
    Encode.callSubprogram(distance),
    Encode.mov64Reg(1, 7),
    Encode.alu64Reg(C.BPF_ADD, 0, 2)
  ]
  return [...loop(body(5)), Encode.mov64Imm(0, 1), Encode.exit()]
}

const programs: Readonly<Record<string, ReadonlyArray<Uint8Array>>> = {
  "ALU loop": loop([
    Encode.alu64Reg(C.BPF_ADD, 0, 2),
    Encode.alu64Reg(C.BPF_XOR, 0, 1),
    Encode.alu64Imm(C.BPF_ADD, 0, 0x1234),
    Encode.alu32Imm(C.BPF_AND, 2, 0xff)
  ]),
  "memory loop": loop([
    Encode.stx(DW, 10, 1, -8),
    Encode.ldx(DW, 3, 10, -8),
    Encode.ldx(C.BPF_W, 4, 6, 16),
    Encode.alu64Reg(C.BPF_ADD, 4, 3),
    Encode.stx(C.BPF_W, 6, 4, 16),
    Encode.ldx(C.BPF_B, 5, 6, 3)
  ]),
  "multiplication and shifts": loop([
    Encode.alu64Imm(C.BPF_MUL, 0, 0x0100_0193),
    Encode.mov64Reg(3, 0),
    Encode.alu64Imm(C.BPF_RSH, 3, 29),
    Encode.alu64Reg(C.BPF_XOR, 0, 3)
  ]),
  "atomic additions": loop([Encode.atomicAdd(DW, 6, 2, 8)]),
  "atomic exchanges": loop([Encode.atomicXchg(DW, 6, 2, 8)]),
  "subprogram calls": calling(),
  "helper calls": loop([Encode.mov64Reg(7, 1), Encode.callHelper(5), Encode.mov64Reg(1, 7)])
}

const host: Vm.Host = {
  ...Vm.noHost,
  helpers: Array.from(
    { length: 6 },
    (_, id): Vm.Helper | undefined => id === 5 ? (machine) => Vm.returnNumber(machine, 42) : undefined
  )
}

/** The interpreter, about a million instructions at a time: a case of 5 ms runs 200 million a second. */
export default function(): ReadonlyArray<Case> {
  return Object.entries(programs).map(([name, insns]) => {
    const machine = Vm.make({ host })
    const bytes = new Uint8Array(64)
    const region = machine === undefined ? undefined : Vm.Memory.add(machine.memory, { name: "value", bytes })
    if (machine === undefined || region === undefined) throw new Error("the memory is full")
    const code = Encode.program(...insns)
    const program = Result.getOrThrow(Vm.decode(code, { resolve: () => Vm.Memory.address(region) }))
    const ours = () => {
      Vm.start(machine, program)
      return Result.getOrThrow(Vm.complete(machine, 2 * INSTRUCTIONS))
    }
    ours()
    const millions = (machine.executed / 1e6).toFixed(2)
    return { name: `vm ${name}, ${millions} M instructions`, inputBytes: code.length, ours }
  })
}
