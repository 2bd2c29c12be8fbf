/**
 * Arithmetic, jumps, memory and atomics by the words of the instruction set's specification (RFC 9669, sections 4 and 5), on
 * any machine.
 *
 * The public conformance cases (bpf_conformance) try each of these instructions on a few operands; here each meets all pairs
 * of edge operands, as a register and as an immediate, and the expected values come from a reference of big integers that is
 * written from the specification. The comparison with the kernel (`test/live/VmConformance.test.ts`) covers the rest.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Encode from "../../../src/insn/Encode.ts"
import * as C from "../../../src/insn/InsnConstants.ts"
import * as Vm from "../../../src/vm/Vm.ts"

const operands: ReadonlyArray<bigint> = [
  0n,
  1n,
  2n,
  7n,
  31n,
  32n,
  63n,
  64n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x1_0000_0000n,
  0x1234_5678_9abc_def0n,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0xffff_ffff_8000_0000n,
  0xffff_ffff_ffff_fff9n,
  0xffff_ffff_ffff_ffffn
]

/** Immediates: 32 bits, extended by their sign to 64. */
const immediates: ReadonlyArray<number> = [0, 1, 2, 7, 31, 32, 63, 0x7fffffff, -0x80000000, -7, -1]

type Reference = (dst: bigint, src: bigint, bits: 32 | 64) => bigint

/** Results are cut to the width by the caller; operands come as unsigned numbers of that width. */
const signed = (value: bigint, bits: number): bigint => BigInt.asIntN(bits, value)

const arithmetic: Readonly<Record<string, { readonly op: Encode.AluOperation; readonly result: Reference }>> = {
  ADD: { op: C.BPF_ADD, result: (dst, src) => dst + src },
  SUB: { op: C.BPF_SUB, result: (dst, src) => dst - src },
  MUL: { op: C.BPF_MUL, result: (dst, src) => dst * src },
  DIV: { op: C.BPF_DIV, result: (dst, src) => src === 0n ? 0n : dst / src },
  MOD: { op: C.BPF_MOD, result: (dst, src) => src === 0n ? dst : dst % src },
  OR: { op: C.BPF_OR, result: (dst, src) => dst | src },
  AND: { op: C.BPF_AND, result: (dst, src) => dst & src },
  XOR: { op: C.BPF_XOR, result: (dst, src) => dst ^ src },
  LSH: { op: C.BPF_LSH, result: (dst, src, bits) => dst << (src & BigInt(bits - 1)) },
  RSH: { op: C.BPF_RSH, result: (dst, src, bits) => dst >> (src & BigInt(bits - 1)) },
  ARSH: { op: C.BPF_ARSH, result: (dst, src, bits) => signed(dst, bits) >> (src & BigInt(bits - 1)) }
}

const signedDivisions: Readonly<
  Record<string, { readonly op: Encode.SignedAluOperation; readonly result: Reference }>
> = {
  SDIV: { op: C.BPF_DIV, result: (dst, src, bits) => src === 0n ? 0n : signed(dst, bits) / signed(src, bits) },
  SMOD: { op: C.BPF_MOD, result: (dst, src, bits) => src === 0n ? dst : signed(dst, bits) % signed(src, bits) }
}

const jumps: Readonly<
  Record<
    string,
    { readonly op: Encode.Comparison; readonly taken: (dst: bigint, src: bigint, bits: number) => boolean }
  >
> = {
  JEQ: { op: C.BPF_JEQ, taken: (dst, src) => dst === src },
  JNE: { op: C.BPF_JNE, taken: (dst, src) => dst !== src },
  JGT: { op: C.BPF_JGT, taken: (dst, src) => dst > src },
  JGE: { op: C.BPF_JGE, taken: (dst, src) => dst >= src },
  JLT: { op: C.BPF_JLT, taken: (dst, src) => dst < src },
  JLE: { op: C.BPF_JLE, taken: (dst, src) => dst <= src },
  JSET: { op: C.BPF_JSET, taken: (dst, src) => (dst & src) !== 0n },
  JSGT: { op: C.BPF_JSGT, taken: (dst, src, bits) => signed(dst, bits) > signed(src, bits) },
  JSGE: { op: C.BPF_JSGE, taken: (dst, src, bits) => signed(dst, bits) >= signed(src, bits) },
  JSLT: { op: C.BPF_JSLT, taken: (dst, src, bits) => signed(dst, bits) < signed(src, bits) },
  JSLE: { op: C.BPF_JSLE, taken: (dst, src, bits) => signed(dst, bits) <= signed(src, bits) }
}

const machine = Vm.make()

/** What code leaves in r0 when r1 and r2 are these. */
const outcome = (code: Uint8Array, r1: bigint, r2: bigint): bigint => {
  if (machine === undefined) throw new Error("no memory for the stack")
  Vm.start(machine, Result.getOrThrow(Vm.decode(code)), [r1, r2])
  return Result.getOrThrow(Vm.complete(machine, 100))
}

const returnsFirst = (insn: Uint8Array): Uint8Array => Encode.program(insn, Encode.mov64Reg(0, 1), Encode.exit())

/** Compares an instruction on r1 and r2, or on r1 and an immediate, with the reference. */
const compare = (
  name: string,
  bits: 32 | 64,
  result: Reference,
  byRegister: Uint8Array,
  byImmediate: (imm: number) => Uint8Array
): void => {
  const expected = (dst: bigint, src: bigint): bigint =>
    BigInt.asUintN(bits, result(BigInt.asUintN(bits, dst), BigInt.asUintN(bits, src), bits))
  for (const dst of operands) {
    for (const src of operands) {
      assert.strictEqual(
        outcome(returnsFirst(byRegister), dst, src),
        expected(dst, src),
        `${name}${bits} ${dst}, ${src}`
      )
    }
    for (const imm of immediates) {
      const code = returnsFirst(byImmediate(imm))
      assert.strictEqual(outcome(code, dst, 0n), expected(dst, BigInt(imm)), `${name}${bits} ${dst}, imm ${imm}`)
    }
  }
}

describe("RFC 9669", () => {
  for (const [name, { op, result }] of Object.entries(arithmetic)) {
    it(`${name} of 64 and 32 bits; division by zero gives 0, and a remainder by zero leaves the operand`, () => {
      compare(name, 64, result, Encode.alu64Reg(op, 1, 2), (imm) => Encode.alu64Imm(op, 1, imm))
      compare(name, 32, result, Encode.alu32Reg(op, 1, 2), (imm) => Encode.alu32Imm(op, 1, imm))
    })
  }

  for (const [name, { op, result }] of Object.entries(signedDivisions)) {
    it(`${name} truncates towards zero, the smallest number by -1 included`, () => {
      compare(name, 64, result, Encode.signed64Reg(op, 1, 2), (imm) => Encode.signed64Imm(op, 1, imm))
      compare(name, 32, result, Encode.signed32Reg(op, 1, 2), (imm) => Encode.signed32Imm(op, 1, imm))
    })
  }

  for (const [name, { op, taken }] of Object.entries(jumps)) {
    it(`${name} of 64 and 32 bits`, () => {
      const branch = (jump: Uint8Array) =>
        Encode.program(Encode.mov64Imm(0, 1), jump, Encode.mov64Imm(0, 0), Encode.exit())
      const check = (bits: 32 | 64, jump: Uint8Array, dst: bigint, src: bigint): void => {
        const expected = taken(BigInt.asUintN(bits, dst), BigInt.asUintN(bits, src), bits) ? 1n : 0n
        assert.strictEqual(outcome(branch(jump), dst, src), expected, `${name}${bits} ${dst}, ${src}`)
      }
      for (const dst of operands) {
        for (const src of operands) {
          check(64, Encode.jmpReg(op, 1, 2, 1), dst, src)
          check(32, Encode.jmp32Reg(op, 1, 2, 1), dst, src)
        }
        for (const imm of immediates) {
          check(64, Encode.jmpImm(op, 1, imm, 1), dst, BigInt(imm))
          check(32, Encode.jmp32Imm(op, 1, imm, 1), dst, BigInt(imm))
        }
      }
    })
  }

  it("moves with sign extension, negation and byte swaps", () => {
    const swapped = (value: bigint, bytes: number): bigint => {
      let result = 0n
      for (let at = 0; at < bytes; at++) result = (result << 8n) | ((value >> BigInt(8 * at)) & 0xffn)
      return result
    }
    for (const value of operands) {
      const of = (insn: Uint8Array) => outcome(returnsFirst(insn), value, value)
      for (const bits of [8, 16, 32] as const) {
        assert.strictEqual(of(Encode.movsx64(bits, 1, 2)), BigInt.asUintN(64, signed(value, bits)))
      }
      for (const bits of [8, 16] as const) {
        assert.strictEqual(of(Encode.movsx32(bits, 1, 2)), BigInt.asUintN(32, signed(value, bits)))
      }
      assert.strictEqual(of(Encode.neg64(1)), BigInt.asUintN(64, -value))
      assert.strictEqual(of(Encode.neg32(1)), BigInt.asUintN(32, -value))
      for (const bits of [16, 32, 64] as const) {
        assert.strictEqual(of(Encode.bswap(bits, 1)), swapped(value, bits / 8))
        assert.strictEqual(of(Encode.be(bits, 1)), swapped(value, bits / 8))
        assert.strictEqual(of(Encode.le(bits, 1)), BigInt.asUintN(bits, value))
      }
    }
  })

  const widths = [
    { size: C.BPF_B, bits: 8 },
    { size: C.BPF_H, bits: 16 },
    { size: C.BPF_W, bits: 32 },
    { size: C.BPF_DW, bits: 64 }
  ] as const

  it("loads and stores of every width, with and without sign", () => {
    for (const value of operands) {
      for (const { bits, size } of widths) {
        const store = (insn: Uint8Array) => [Encode.st(C.BPF_DW, 10, -8, -1), insn]
        const kept = BigInt.asUintN(bits, value)
        const whole = ((1n << 64n) - 1n) - ((1n << BigInt(bits)) - 1n) + kept
        const program = (insn: Uint8Array, load: Uint8Array) => Encode.program(...store(insn), load, Encode.exit())
        const stored = Encode.stx(size, 10, 1, -8)
        assert.strictEqual(outcome(program(stored, Encode.ldx(C.BPF_DW, 0, 10, -8)), value, 0n), whole)
        assert.strictEqual(outcome(program(stored, Encode.ldx(size, 0, 10, -8)), value, 0n), kept)
        assert.strictEqual(
          outcome(program(Encode.storeRelease(size, 10, 1, -8), Encode.loadAcquire(size, 0, 10, -8)), value, 0n),
          kept
        )
        if (size === C.BPF_DW) continue
        const extended = BigInt.asUintN(64, signed(value, bits))
        assert.strictEqual(outcome(program(stored, Encode.ldxSigned(size, 0, 10, -8)), value, 0n), extended)
      }
    }
    for (const imm of immediates) {
      const code = Encode.program(Encode.st(C.BPF_DW, 10, -8, imm), Encode.ldx(C.BPF_DW, 0, 10, -8), Encode.exit())
      assert.strictEqual(outcome(code, 0n, 0n), BigInt.asUintN(64, BigInt(imm)))
    }
  })

  it("atomics change memory, and those that fetch give what was there", () => {
    const operations = [
      { plain: Encode.atomicAdd, fetch: Encode.atomicFetchAdd, result: (old: bigint, src: bigint) => old + src },
      { plain: Encode.atomicOr, fetch: Encode.atomicFetchOr, result: (old: bigint, src: bigint) => old | src },
      { plain: Encode.atomicAnd, fetch: Encode.atomicFetchAnd, result: (old: bigint, src: bigint) => old & src },
      { plain: Encode.atomicXor, fetch: Encode.atomicFetchXor, result: (old: bigint, src: bigint) => old ^ src },
      { plain: undefined, fetch: Encode.atomicXchg, result: (_: bigint, src: bigint) => src }
    ]
    const memory = (insn: Uint8Array, result: 0 | 2 | "memory", expected: bigint, old: bigint, src: bigint): void => {
      const load = result === "memory" ? Encode.ldx(C.BPF_DW, 0, 10, -8) : Encode.mov64Reg(0, result)
      const code = Encode.program(Encode.stx(C.BPF_DW, 10, 1, -8), Encode.mov64Imm(0, 7), insn, load, Encode.exit())
      assert.strictEqual(outcome(code, old, src), expected)
    }
    for (const { bits, size } of [{ size: C.BPF_W, bits: 32 }, { size: C.BPF_DW, bits: 64 }] as const) {
      for (const old of operands) {
        const above = old - BigInt.asUintN(bits, old)
        const was = BigInt.asUintN(bits, old)
        for (const src of operands) {
          for (const { fetch, plain, result } of operations) {
            const after = above + BigInt.asUintN(bits, result(was, BigInt.asUintN(bits, src)))
            if (plain !== undefined) memory(plain(size, 10, 2, -8), "memory", after, old, src)
            memory(fetch(size, 10, 2, -8), "memory", after, old, src)
            memory(fetch(size, 10, 2, -8), 2, was, old, src)
          }
          // r0 is 7: only memory that holds 7 is exchanged, and r0 has what was there in the end.
          const exchange = Encode.atomicCmpxchg(size, 10, 2, -8)
          memory(exchange, "memory", was === 7n ? above + BigInt.asUintN(bits, src) : old, old, src)
          memory(exchange, 0, was, old, src)
        }
      }
    }
  })

  it("(fault: a reference that shifts by more than the width) is seen", () => {
    const wrong: Reference = (dst, src) => dst << (src & 0xffn)
    assert.throws(() =>
      compare("LSH", 64, wrong, Encode.alu64Reg(C.BPF_LSH, 1, 2), (imm) => Encode.alu64Imm(C.BPF_LSH, 1, imm))
    )
  })
})
