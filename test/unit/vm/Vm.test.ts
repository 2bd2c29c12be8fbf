import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Encode from "../../../src/insn/Encode.ts"
import * as C from "../../../src/insn/InsnConstants.ts"
import * as Vm from "../../../src/vm/Vm.ts"

/** Decodes, starts and completes a program. */
const runs = (insns: ReadonlyArray<Uint8Array>, args: ReadonlyArray<bigint> = [], host: Vm.Host = Vm.noHost) => {
  const program = Result.getOrThrow(Vm.decode(Encode.program(...insns)))
  const machine = Vm.make({ host })
  assert.isDefined(machine)
  Vm.start(machine, program, args)
  return { machine, result: Vm.complete(machine, 1_000_000) }
}

describe("Vm", () => {
  it("runs a loop to its end and counts its instructions", () => {
    const { machine, result } = runs([
      Encode.mov64Imm(0, 0),
      Encode.alu64Reg(C.BPF_ADD, 0, 1),
      Encode.alu64Imm(C.BPF_SUB, 1, 1),
      Encode.jmpImm(C.BPF_JNE, 1, 0, -3),
      Encode.exit()
    ], [10n])
    assert.deepStrictEqual(result, Result.succeed(55n))
    assert.strictEqual(machine.executed, 1 + 10 * 3 + 1)
  })
})
