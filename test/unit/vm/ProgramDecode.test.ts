import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Decode from "../../../src/insn/Decode.ts"
import * as Encode from "../../../src/insn/Encode.ts"
import * as Insn from "../../../src/insn/Insn.ts"
import * as C from "../../../src/insn/InsnConstants.ts"
import * as Vm from "../../../src/vm/Vm.ts"
import { allBlocks, programOf } from "./blocks.ts"

const refusal = (insns: ReadonlyArray<Uint8Array>, options: Vm.DecodeOptions = {}): Vm.VmError => {
  const decoded = Vm.decode(Encode.program(...insns), options)
  return Result.isFailure(decoded) ? decoded.failure : assert.fail("it decodes")
}

describe("ProgramDecode", () => {
  it("refuses what is no instruction stream", () => {
    assert.strictEqual(refusal([]).reason, "Form")
    assert.strictEqual(refusal([Uint8Array.of(0x95, 0, 0)]).reason, "Form")
    assert.strictEqual(refusal([Encode.raw(0x06, 0, 0, 0, 0), Encode.raw(0xff, 0, 0, 0, 0)]).slot, 1)
  })

  it("refuses registers that do not exist, and writes of the frame pointer", () => {
    const refused: ReadonlyArray<Uint8Array> = [
      Encode.raw(0xbf, 11, 0, 0, 0),
      Encode.raw(0xbf, 0, 11, 0, 0),
      Encode.raw(0x61, 0, 15, 0, 0),
      Encode.raw(0x63, 12, 0, 0, 0),
      Encode.raw(0x1d, 11, 0, 0, 0),
      Encode.raw(0x40, 0, 11, 0, 0),
      Encode.raw(0xdb, 0, 11, 0, 0),
      Encode.mov64Imm(10, 0),
      Encode.ldx(C.BPF_DW, 10, 1, 0),
      Encode.atomicFetchAdd(C.BPF_DW, 1, 10, 0),
      Encode.atomicXchg(C.BPF_W, 1, 10, 0),
      Encode.loadAcquire(C.BPF_W, 10, 1, 0),
      Encode.neg64(10),
      Encode.le(16, 10)
    ]
    for (const insn of refused) assert.strictEqual(refusal([insn, Encode.exit()]).reason, "Register", insn.join())
    assert.strictEqual(refusal([Encode.ldImm64(10, 0n), Encode.exit()]).reason, "Register")
    const fine = Encode.program(Encode.stx(C.BPF_DW, 10, 10, -8), Encode.atomicAdd(C.BPF_DW, 10, 10, -8), Encode.exit())
    assert.isTrue(Result.isSuccess(Vm.decode(fine)))
  })

  it("refuses reserved fields that are set, and variants that do not exist", () => {
    const refused: ReadonlyArray<readonly [number, number, number, number, number]> = [
      [0x0f, 0, 1, 0, 5],
      [0x07, 0, 1, 0, 5],
      [0x0f, 0, 1, 1, 0],
      [0x3f, 0, 1, 2, 0],
      [0xbf, 0, 1, 24, 0],
      [0xbc, 0, 1, 32, 0],
      [0xbc, 0, 1, 1, 1],
      [0x87, 0, 1, 0, 0],
      [0xd7, 0, 0, 0, 8],
      [0xdc, 0, 1, 0, 16],
      [0x05, 1, 0, 0, 0],
      [0x06, 0, 0, 1, 0],
      [0x1d, 0, 1, 0, 1],
      [0x15, 0, 1, 0, 1],
      [0xe5, 0, 1, 0, 0],
      [0x95, 0, 0, 0, 1],
      [0x85, 1, 0, 0, 1],
      [0x85, 0, 0, 1, 1],
      [0x85, 0, 3, 0, 1],
      [0x61, 0, 1, 0, 1],
      [0x62, 1, 1, 0, 1],
      [0x63, 1, 1, 0, 1],
      [0xdb, 1, 1, 0, 2],
      [0xdb, 1, 1, 0, 0x30],
      [0x20, 1, 0, 0, 0],
      [0x20, 0, 1, 0, 0]
    ]
    for (const fields of refused) {
      assert.strictEqual(refusal([Encode.raw(...fields), Encode.exit()]).reason, "Reserved", fields.join())
    }
    const pseudo = Encode.program(Encode.ldMapFd(1, 0))
    Insn.setSrc(pseudo, 0, 7)
    assert.strictEqual(refusal([pseudo, Encode.exit()]).reason, "Reserved")
  })

  it("refuses jumps and calls that lead outside the code or into the middle of an instruction", () => {
    // Slot 0 is the jump, 1 and 2 are a load, 3 is the exit: distances 0 and 2 lead to instructions.
    const around = (jump: Uint8Array) => [jump, Encode.ldImm64(1, 0n), Encode.exit()]
    const jumps: ReadonlyArray<(distance: number) => Uint8Array> = [
      Encode.ja,
      Encode.gotol,
      Encode.mayGoto,
      Encode.callSubprogram,
      (distance) => Encode.jmpImm(C.BPF_JEQ, 1, 0, distance),
      (distance) => Encode.jmp32Reg(C.BPF_JEQ, 1, 2, distance)
    ]
    for (const jump of jumps) {
      for (const distance of [0, 2, -1]) {
        assert.isTrue(Result.isSuccess(Vm.decode(Encode.program(...around(jump(distance))))))
      }
      for (const distance of [1, 3, 4, -2, -32768, 32767]) {
        const error = refusal(around(jump(distance)))
        assert.deepStrictEqual([error.reason, error.slot, error.value], ["Target", 0, String(distance + 1)])
      }
    }
    for (const jump of [Encode.gotol, Encode.callSubprogram]) {
      for (const distance of [0x7fff_ffff, -0x8000_0000]) {
        assert.strictEqual(refusal(around(jump(distance))).reason, "Target")
      }
    }
    assert.strictEqual(refusal([Encode.ldFunc(1, 0), Encode.exit()]).reason, "Target")
    assert.strictEqual(refusal([Encode.ldFunc(1, 2), Encode.exit()]).reason, "Target")
  })

  it("refuses what this machine does not have, by name", () => {
    assert.match(refusal([Encode.gotox(1)]).message, /a jump through a register is not supported/)
    assert.match(refusal([Encode.addrSpaceCast(1, 2, 2, 3)]).message, /address spaces is not supported/)
    assert.match(refusal([Encode.raw(0xd3, 1, 1, 0, 0)]).message, /less than 4 bytes/)
  })

  it("asks for the value of every reference, with what the instruction says of it", () => {
    const asked: Array<Vm.Reference> = []
    const insns = Encode.program(
      Encode.ldMapFd(1, 7),
      Encode.ldMapValue(2, 8, 16),
      Encode.ldMapIdx(3, 9),
      Encode.ldMapIdxValue(4, 10, 24),
      Encode.ldBtfId(5, 11, 12),
      Encode.ldImm64(6, 1n),
      Encode.ldFunc(7, 1),
      Encode.exit()
    )
    const resolve = (reference: Vm.Reference) => {
      asked.push(reference)
      return 0n
    }
    assert.isTrue(Result.isSuccess(Vm.decode(insns, { resolve })))
    assert.deepStrictEqual(asked, [
      { kind: "MapFd", slot: 0, imm: 7, nextImm: 0 },
      { kind: "MapValue", slot: 2, imm: 8, nextImm: 16 },
      { kind: "MapIdx", slot: 4, imm: 9, nextImm: 0 },
      { kind: "MapIdxValue", slot: 6, imm: 10, nextImm: 24 },
      { kind: "BtfId", slot: 8, imm: 11, nextImm: 12 }
    ])
    const error = refusal([Encode.ldMapIdxValue(4, 10, 24), Encode.exit()], { name: "p", lineAt: () => "a.c:3" })
    assert.strictEqual(
      error.message,
      "program p, instruction 0, a.c:3: nothing is known of byte 24 of map 10 of the descriptor array"
    )
  })

  it("asks for kernel functions", () => {
    const insns = [Encode.callKfunc(70_000, 2), Encode.exit()]
    assert.strictEqual(refusal(insns, { resolveKfunc: () => undefined }).reason, "UnknownKfunc")
    const calls: Array<unknown> = []
    Vm.decode(Encode.program(...insns), {
      resolveKfunc: (call) => {
        calls.push(call)
        return 1
      }
    })
    assert.deepStrictEqual(calls, [{ slot: 0, id: 70_000, fdIndex: 2 }])
  })

  it("knows every opcode of the instruction set: the blocks compared with the kernel, and a few others, have them all", () => {
    const insns = programOf(allBlocks, Encode.ldMapValue(6, 0, 0))
    const have = new Set<number>()
    for (let slot = 0; slot < Insn.count(insns); slot = Insn.nextSlot(insns, slot)) have.add(Insn.opcode(insns, slot))
    // Compared by tests of their own: calls and packet loads.
    for (const opcode of [Insn.CALL, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50]) have.add(opcode)
    const absent = Array.from({ length: 256 }, (_, opcode) => opcode).filter((opcode) =>
      Decode.isKnownOpcode(opcode) && !have.has(opcode)
    )
    // A jump through a register is refused.
    assert.deepStrictEqual(absent, [Insn.JA_INDIRECT])
  })
})
