import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Encode from "../../../src/insn/Encode.ts"
import * as Insn from "../../../src/insn/Insn.ts"
import { BPF_ADD, BPF_DW, BPF_REG_1, BPF_REG_10 } from "../../../src/insn/InsnConstants.ts"
import { InsnError } from "../../../src/insn/InsnError.ts"

describe("Encode", () => {
  it("joins instructions in order", () => {
    assert.deepEqual(Encode.program(), new Uint8Array(0))
    assert.deepEqual(
      [...Encode.program(Encode.mov64Imm(0, 1), Encode.exit())],
      [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]
    )
  })

  it("takes the names of the kernel's header", () => {
    assert.deepEqual(
      [...Encode.stx(BPF_DW, BPF_REG_10, BPF_REG_1, -8)],
      [0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0]
    )
  })

  it("takes immediates signed and unsigned", () => {
    assert.deepEqual(Encode.mov64Imm(1, 0xffffffff), Encode.mov64Imm(1, -1))
    assert.deepEqual(Encode.ldImm64(1, (1n << 64n) - 1n), Encode.ldImm64(1, -1))
    assert.strictEqual(Insn.imm64(Encode.ldImm64(1, 2 ** 40), 0), 1n << 40n)
  })

  const refused: ReadonlyArray<readonly [string, () => Uint8Array, string]> = [
    ["an offset of 16 bits unsigned", () => Encode.ja(32768), "32768 does not fit offset, 16 signed bits"],
    ["a fraction of an offset", () => Encode.ja(0.5), "0.5 does not fit offset, 16 signed bits"],
    ["an immediate of 33 bits", () => Encode.alu64Imm(BPF_ADD, 1, 0x100000000), "4294967296 does not fit imm, 32 bits"],
    ["an immediate below", () => Encode.gotol(-0x80000001), "-2147483649 does not fit imm, 32 bits"],
    ["no number", () => Encode.callHelper(NaN), "NaN does not fit imm, 32 bits"],
    [
      "a second immediate of 33 bits",
      () => Encode.ldMapValue(1, 1, 2 ** 32),
      "4294967296 does not fit next_imm, 32 bits"
    ],
    ["65 bits", () => Encode.ldImm64(1, 1n << 64n), "18446744073709551616 does not fit imm64, 64 bits"],
    ["65 bits below", () => Encode.ldImm64(1, -(1n << 63n) - 1n), "-9223372036854775809 does not fit imm64, 64 bits"],
    [
      "an unsafe number",
      () => Encode.ldImm64(1, 2 ** 60),
      "1152921504606847000 does not fit imm64, 64 bits (give a number beyond 2^53 as a bigint)"
    ],
    [
      "an address space of 17 bits",
      () => Encode.addrSpaceCast(1, 2, 0x10000, 0),
      "65536 does not fit address space, 16 bits"
    ],
    ["an opcode of 9 bits", () => Encode.raw(256, 0, 0, 0, 0), "256 does not fit opcode, 8 bits"],
    ["register 16", () => Encode.raw(0, 16, 0, 0, 0), "16 does not fit dst, 4 bits"],
    ["source 16", () => Encode.raw(0, 0, 16, 0, 0), "16 does not fit src, 4 bits"]
  ]
  for (const [what, body, message] of refused) {
    it(`refuses ${what}`, () => {
      const result = Encode.assemble(() => Encode.program(Encode.exit(), body()))
      assert.isTrue(Result.isFailure(result))
      if (Result.isFailure(result)) {
        assert.strictEqual(result.failure._tag, "InsnError")
        assert.strictEqual(result.failure.reason, "Operand")
        assert.strictEqual(result.failure.message, message)
      }
      assert.throws(body, InsnError)
    })
  }

  it("refuses a register that came from untyped code", () => {
    const eleven = JSON.parse("11") as Encode.Register
    assert.throws(() => Encode.mov64Imm(eleven, 0), "11 does not fit dst, a register")
    assert.throws(() => Encode.mov64Reg(0, eleven), "11 does not fit src, a register")
    assert.throws(() => Encode.ldImm64(eleven, 0), "11 does not fit dst, a register")
  })

  it("assemble lets other errors through", () => {
    assert.throws(() =>
      Encode.assemble(() => {
        throw new TypeError("mine")
      }), "mine")
  })

  it("assemble gives back what the body made", () => {
    const result = Encode.assemble(() => Encode.program(Encode.mov64Imm(0, 0), Encode.exit()))
    assert.strictEqual(Insn.count(Result.getOrThrow(result)), 2)
  })
})
