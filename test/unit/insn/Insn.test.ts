import { assert, describe, it } from "@effect/vitest"
import * as Encode from "../../../src/insn/Encode.ts"
import * as Insn from "../../../src/insn/Insn.ts"
import { BPF_ADD, BPF_B, BPF_DW, BPF_H, BPF_JEQ, BPF_W } from "../../../src/insn/InsnConstants.ts"

describe("Insn", () => {
  it("reads the example of the instruction set's document in both byte orders", () => {
    const little = Uint8Array.of(0x07, 0x01, 0x00, 0x00, 0x44, 0x33, 0x22, 0x11)
    const big = Uint8Array.of(0x07, 0x10, 0x00, 0x00, 0x11, 0x22, 0x33, 0x44)
    assert.strictEqual(Insn.imm(little, 0), 0x11223344)
    assert.strictEqual(Insn.dst(little, 0), 1)
    assert.strictEqual(Insn.src(little, 0), 0)
    assert.deepEqual(Insn.fromByteOrder(big, "big"), little)
    assert.deepEqual(Insn.toByteOrder(little, "big"), big)
  })

  it("hands back little-endian code itself and copies big-endian code, a Buffer's too", () => {
    const code = Buffer.from([0x07, 0x10, 0, 1, 0, 0, 0, 2])
    assert.strictEqual(Insn.fromByteOrder(code, "little"), code)
    Insn.fromByteOrder(code, "big")
    assert.deepEqual([...code], [0x07, 0x10, 0, 1, 0, 0, 0, 2])
  })

  it("counts whole slots and steps over second ones", () => {
    const code = Encode.program(Encode.mov64Imm(0, 0), Encode.ldImm64(1, 5), Encode.exit())
    assert.strictEqual(Insn.count(code), 4)
    assert.strictEqual(Insn.count(code.subarray(1)), 3)
    assert.strictEqual(Insn.nextSlot(code, 0), 1)
    assert.strictEqual(Insn.nextSlot(code, 1), 3)
    assert.deepEqual(Insn.bytes(code, 1), Encode.ldImm64(1, 5))
  })

  it("reads code that begins anywhere in its buffer", () => {
    const code = new Uint8Array(19)
    code.set(Encode.jmpImm(BPF_JEQ, 4, -7, -9), 3)
    assert.strictEqual(Insn.imm(code.subarray(3), 0), -7)
    assert.strictEqual(Insn.offset(code.subarray(3), 0), -9)
  })

  it("knows the size of an access", () => {
    for (const [size, length] of [[BPF_B, 1], [BPF_H, 2], [BPF_W, 4], [BPF_DW, 8]] as const) {
      const code = Encode.ldx(size, 1, 2, 3)
      assert.strictEqual(Insn.size(code, 0), size)
      assert.strictEqual(Insn.sizeInBytes(code, 0), length)
      Insn.setSize(code, 0, BPF_H)
      assert.deepEqual(code, Encode.ldx(BPF_H, 1, 2, 3))
    }
  })

  it("tells the kinds of call and reference apart", () => {
    const predicates = [
      Insn.isHelperCall,
      Insn.isSubprogramCall,
      Insn.isKfuncCall,
      Insn.isMapReference,
      Insn.isBtfIdReference,
      Insn.isFunctionReference
    ]
    const kinds: ReadonlyArray<readonly [Uint8Array, number]> = [
      [Encode.callHelper(1), 0],
      [Encode.callSubprogram(1), 1],
      [Encode.callKfunc(1), 2],
      [Encode.ldMapFd(1, 1), 3],
      [Encode.ldMapValue(1, 1, 1), 3],
      [Encode.ldMapIdx(1, 1), 3],
      [Encode.ldMapIdxValue(1, 1, 1), 3],
      [Encode.ldBtfId(1, 1), 4],
      [Encode.ldFunc(1, 1), 5],
      [Encode.ldImm64(1, 1), -1],
      [Encode.exit(), -1],
      [Encode.ja(1), -1]
    ]
    for (const [code, kind] of kinds) {
      assert.deepEqual(
        predicates.map((predicate) => predicate(code, 0)),
        predicates.map((_, index) => index === kind)
      )
      assert.strictEqual(Insn.isCall(code, 0), kind >= 0 && kind <= 2)
    }
    assert.isTrue(Insn.isExit(Encode.exit(), 0))
    assert.isTrue(Insn.isAtomic(Encode.atomicAdd(BPF_W, 1, 2, 0), 0))
    assert.isFalse(Insn.isAtomic(Encode.stx(BPF_W, 1, 2, 0), 0))
    assert.isTrue(Insn.isAlu(Encode.alu32Imm(BPF_ADD, 1, 2), 0))
    assert.isFalse(Insn.isAlu(Encode.ja(0), 0))
  })

  it("knows what fits a field", () => {
    assert.deepEqual([-32769, -32768, 32767, 32768, 0.5, NaN].map(Insn.fitsOffset), [
      false,
      true,
      true,
      false,
      false,
      false
    ])
    assert.deepEqual(
      [-0x80000001, -0x80000000, 0x7fffffff, 0x80000000, 0.5, NaN].map(Insn.fitsImm),
      [false, true, true, false, false, false]
    )
  })
})
