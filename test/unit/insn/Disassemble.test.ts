import { assert, describe, it } from "@effect/vitest"
import { disassemble, disassembleInsn } from "../../../src/insn/Disassemble.ts"
import * as Encode from "../../../src/insn/Encode.ts"
import { BPF_ADD, BPF_DIV, BPF_DW, BPF_H, BPF_JGT, BPF_JSLE, BPF_LSH, BPF_W } from "../../../src/insn/InsnConstants.ts"

const text = (code: Uint8Array): string => disassembleInsn(code, 0)

describe("disassemble", () => {
  it("prints each form", () => {
    const forms: ReadonlyArray<readonly [Uint8Array, string]> = [
      [Encode.mov64Imm(0, 0), "(b7) r0 = 0"],
      [Encode.alu64Imm(BPF_ADD, 2, -4), "(07) r2 += -4"],
      [Encode.alu32Reg(BPF_LSH, 2, 3), "(6c) w2 <<= w3"],
      [Encode.signed32Imm(BPF_DIV, 0, 3), "(34) w0 s/= 3"],
      [Encode.movsx64(8, 2, 0), "(bf) r2 = (s8)r0"],
      [Encode.neg32(4), "(84) w4 = -w4"],
      [Encode.be(16, 1), "(dc) r1 = be16 r1"],
      [Encode.bswap(64, 1), "(d7) r1 = bswap64 r1"],
      [Encode.addrSpaceCast(1, 2, 0, 1), "(bf) r1 = addr_space_cast(r2, 0, 1)"],
      [Encode.ldx(BPF_W, 1, 6, 16), "(61) r1 = *(u32 *)(r6 +16)"],
      [Encode.ldxSigned(BPF_H, 1, 6, -16), "(89) r1 = *(s16 *)(r6 -16)"],
      [Encode.st(BPF_DW, 10, -24, 1), "(7a) *(u64 *)(r10 -24) = 1"],
      [Encode.stx(BPF_W, 10, 1, -4), "(63) *(u32 *)(r10 -4) = r1"],
      [Encode.ldAbs(BPF_H, 12), "(28) r0 = *(u16 *)skb[12]"],
      [Encode.ldInd(BPF_H, 2, 0), "(48) r0 = *(u16 *)skb[r2 + 0]"],
      [Encode.atomicAdd(BPF_DW, 7, 1, 0), "(db) lock *(u64 *)(r7 +0) += r1"],
      [Encode.atomicFetchXor(BPF_W, 7, 1, 0), "(c3) r1 = atomic_fetch_xor((u32 *)(r7 +0), r1)"],
      [Encode.atomicXchg(BPF_DW, 7, 1, 0), "(db) r1 = atomic64_xchg((u64 *)(r7 +0), r1)"],
      [Encode.atomicCmpxchg(BPF_W, 7, 1, 0), "(c3) r0 = atomic_cmpxchg((u32 *)(r7 +0), r0, r1)"],
      [Encode.loadAcquire(BPF_DW, 3, 10, -8), "(db) r3 = load_acquire((u64 *)(r10 -8))"],
      [Encode.storeRelease(BPF_H, 10, 3, -8), "(cb) store_release((u16 *)(r10 -8), r3)"],
      [Encode.ja(-2), "(05) goto pc-2"],
      [Encode.gotol(70000), "(06) gotol pc+70000"],
      [Encode.gotox(3), "(0d) gotox r3"],
      [Encode.mayGoto(0), "(e5) may_goto pc+0"],
      [Encode.jmpImm(BPF_JGT, 1, 5, 3), "(25) if r1 > 0x5 goto pc+3"],
      [Encode.jmp32Imm(BPF_JSLE, 1, -1, 3), "(d6) if w1 s<= 0xffffffff goto pc+3"],
      [Encode.jmpReg(BPF_JGT, 1, 5, 3), "(2d) if r1 > r5 goto pc+3"],
      [Encode.callHelper(1), "(85) call bpf_map_lookup_elem#1"],
      [Encode.callHelper(212), "(85) call unknown#212"],
      [Encode.callSubprogram(5), "(85) call pc+5"],
      [Encode.callKfunc(65472), "(85) call kernel-function#65472"],
      [Encode.exit(), "(95) exit"],
      [Encode.ldImm64(1, -1), "(18) r1 = 0xffffffffffffffff"]
    ]
    for (const [code, expected] of forms) assert.strictEqual(text(code), expected)
  })

  it("prints what is none as the kernel does", () => {
    const odd: ReadonlyArray<readonly [Uint8Array, string]> = [
      [Encode.raw(0xdb, 1, 2, 3, 0x33), "BUG_db"],
      [Encode.raw(0x23, 1, 2, 3, 0), "BUG_23"],
      [Encode.raw(0x22, 1, 2, 3, 0), "BUG_st_22"],
      [Encode.raw(0x39, 1, 2, 3, 0), "BUG_ldx_39"],
      [Encode.raw(0x99, 1, 2, 3, 0), "BUG_ldx_99"],
      [Encode.raw(0x00, 1, 2, 3, 0), "BUG_ld_00"],
      [Encode.raw(0x18, 1, 2, 3, 0), "BUG_ld_18"],
      [Encode.raw(0xc2, 0, 0, 0, 0), "(c2) nospec"],
      [Encode.raw(0xbf, 1, 2, -1, 0), "(bf) r1 = &(void __percpu *)(r2)"],
      [Encode.raw(0xe7, 1, 2, 3, 5), "(e7) r1 (null) 5"],
      [Encode.raw(0x0e, 1, 2, 3, 5), "(0e) if w1 jmp w2 goto pc+3"],
      [Encode.raw(0x85, 0, 3, 0, 1), "(85) call unknown#1"]
    ]
    for (const [code, expected] of odd) assert.strictEqual(text(code), expected)
  })

  it("keeps slots and bytes beside the text", () => {
    const code = Encode.program(Encode.ldImm64(1, 5), Encode.exit())
    assert.deepEqual(disassemble(code), [
      { slot: 0, bytes: code.subarray(0, 16), text: "(18) r1 = 0x5" },
      { slot: 2, bytes: code.subarray(16), text: "(95) exit" }
    ])
  })

  it("takes what references stand for from the caller", () => {
    const code = Encode.program(
      Encode.ldMapFd(1, 0),
      Encode.ldMapValue(2, 0, 4),
      Encode.ldFunc(3, 5),
      Encode.callSubprogram(5),
      Encode.callKfunc(7),
      Encode.callHelper(1)
    )
    const names = new Map([
      [0, "map[stats]"],
      [2, "map[.data][0]+4"],
      [4, "subprog[+5] step"],
      [6, "mix"],
      [7, "bpf_rcu_read_lock"]
    ])
    const asked: Array<number> = []
    const annotate = (slot: number): string | undefined => {
      asked.push(slot)
      return names.get(slot)
    }
    assert.deepEqual(disassemble(Encode.program(code, Encode.exit()), { annotate }).map(({ text }) => text), [
      "(18) r1 = map[stats]",
      "(18) r2 = map[.data][0]+4",
      "(18) r3 = subprog[+5] step",
      "(85) call pc+5#mix",
      "(85) call bpf_rcu_read_lock#7",
      "(85) call bpf_map_lookup_elem#1",
      "(95) exit"
    ])
    assert.deepEqual(asked, [0, 2, 4, 6, 7, 8])
  })

  it("shows code from the kernel as bpftool does", () => {
    const code = Encode.program(
      Encode.ldMapFd(1, 3),
      Encode.ldMapValue(1, 3, 4),
      Encode.ldMapIdx(1, 0),
      Encode.ldMapIdxValue(1, 0, 4),
      Encode.ldFunc(1, 5),
      Encode.ldBtfId(1, 7),
      Encode.ldImm64(1, 7),
      Encode.raw(0x85, 0, 1, 34, 1)
    )
    assert.deepEqual(disassemble(code, { style: "xlated" }).map(({ text }) => text), [
      "(18) r1 = map[id:3]",
      "(18) r1 = map[id:3][0]+4",
      "(18) r1 = map[idx:0]",
      "(18) r1 = map[idx:0]+4",
      "(18) r1 = subprog[+5]",
      "(18) r1 = 0x7",
      "(18) r1 = 0x7",
      "(85) call pc+34"
    ])
  })

  it("names jump targets, those outside the code too", () => {
    const code = Encode.program(Encode.jmpImm(BPF_JGT, 1, 5, 1), Encode.gotol(-2), Encode.ja(100), Encode.mayGoto(-3))
    const labels = (target: number): string | undefined => (target === 1 ? undefined : `at${target}`)
    assert.deepEqual(disassemble(code, { labels }).map(({ text }) => text), [
      "(25) if r1 > 0x5 goto at2",
      "(06) gotol at0",
      "(05) goto at103",
      "(e5) may_goto pc-3"
    ])
  })

  it("has no text for what follows the last whole slot", () => {
    assert.deepEqual(disassemble(new Uint8Array(7)), [])
    assert.strictEqual(disassemble(Encode.program(Encode.exit(), new Uint8Array(3))).length, 1)
  })
})
