import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Encode from "../../../../../src/insn/Encode.ts"
import * as Insn from "../../../../../src/insn/Insn.ts"
import {
  BPF_B,
  BPF_DW,
  BPF_H,
  BPF_LSH,
  BPF_MEM,
  BPF_MEMSX,
  BPF_RSH,
  BPF_W
} from "../../../../../src/insn/InsnConstants.ts"
import * as Core from "../../../../../src/stages/relocate/core/Core.ts"
import * as Info from "../../../../../src/stages/relocate/Info.ts"
import * as B from "../../../../support/arbitrary/BtfBlob.ts"
import { opened } from "../../Pipeline.ts"
import { hex, outcome, recorded, type RecordSpec, refused, relocate, show } from "./Records.ts"

const POISON = "850000001023ad0b"

/** `rN = value`, the form in which compilers ask for sizes, signs and existence. */
const mov = (value: number): Uint8Array => Encode.mov64Imm(1, value)

// The worked examples of the reference: `struct s___loc` in the object, `struct s` in the kernel.
const localTypes: ReadonlyArray<B.Rec> = [
  B.int("int", 4, 1),
  B.int("unsigned int", 4),
  B.array(1, 1, 4),
  B.struct("", 20, [["x", 2, 0], ["arr", 3, 32]]),
  B.struct("s___loc", 24, [["a", 1, 0], ["", 4, 32]])
]
const kernelTypes: ReadonlyArray<B.Rec> = [
  B.int("int", 4, 1),
  B.int("unsigned long", 8),
  B.int("long", 8, 1),
  B.array(1, 1, 8),
  B.struct("", 40, [["x", 2, 0], ["arr", 4, 64]]),
  B.union("", 40, [["", 5, 0]]),
  B.struct("s", 56, [["pad", 2, 0], ["", 6, 64], ["a", 3, 384]])
]

describe("what the reference works out", () => {
  const rows: ReadonlyArray<readonly [string, RecordSpec["kind"], string, string, string]> = [
    ["a load of another size", "byte_off", "0:1:0", "6112040000000000", "7912080000000000"],
    ["an element", "byte_off", "0:1:1:2", "6112100000000000", "6112180000000000"],
    ["a signed field of another size", "byte_off", "0:0", "6112000000000000", POISON],
    ["an offset taken as a number", "byte_off", "0:0", "b702000000000000", "b702000030000000"],
    ["a field of the second element", "byte_off", "1:0", "b702000018000000", "b702000068000000"],
    ["the size of a field", "byte_sz", "0:1:1", "b702000010000000", "b702000020000000"],
    ["the size of a type", "type_size", "0", "b702000018000000", "b702000038000000"],
    ["whether a type matches", "type_matches", "0", "b702000001000000", "b702000000000000"],
    ["whether a type exists", "type_exists", "0", "b702000001000000", "b702000001000000"],
    [
      "the kernel's type",
      "target_type_id",
      "0",
      "1802000063000000 0000000000000000",
      "1802000007000000 0000000000000000"
    ],
    [
      "the object's type",
      "local_type_id",
      "0",
      "1802000063000000 0000000000000000",
      "1802000005000000 0000000000000000"
    ]
  ]
  for (const [name, kind, access, before, after] of rows) {
    it(name, () => {
      const done = outcome(localTypes, { insn: hex(before), type: 5, access, kind }, kernelTypes)
      assert.strictEqual(done.insns, after)
      assert.strictEqual(done.outcome.found, kind !== "type_matches")
    })
  }

  it("an instruction that does not have the object's value", () => {
    const error = refused(
      localTypes,
      { insn: hex("6112140000000000"), type: 5, access: "0:1:1:2", kind: 0 },
      kernelTypes
    )
    assert.strictEqual(error.reason, "Mismatch")
    assert.strictEqual(error.slot, 0)
    assert.strictEqual(error.relocation, "byte_off struct s___loc.arr[2]")
    assert.include(error.message, "the instruction has 20, and by the object's types it should have 16")
  })

  const bitLocal = [B.int("unsigned int", 4), B.struct("bf", 4, [["f", 1, 0, 3], ["g", 1, 3, 4]])]
  const bitKernel = [
    B.int("unsigned int", 4),
    B.int("unsigned long", 8),
    B.struct("bf", 16, [["f", 1, 45, 7], ["g", 2, 60, 9]])
  ]
  const bits = (kind: Core.CoreKind, insn: Uint8Array, access = "0:0") => ({ insn, type: 2, access, kind })

  it("a bit field", () => {
    const all = relocate(bitLocal, [
      bits("byte_off", mov(0)),
      bits("byte_sz", mov(4)),
      bits("signed", mov(0)),
      bits("lshift_u64", Encode.alu64Imm(BPF_LSH, 1, 61)),
      bits("rshift_u64", Encode.alu64Imm(BPF_RSH, 1, 61))
    ], bitKernel)
    const { insns } = B.expectSuccess(all)
    assert.deepStrictEqual([0, 1, 2, 3, 4].map((slot) => Insn.imm(insns, slot)), [4, 4, 0, 44, 57])
  })

  it("shifts of bit fields are compared with the instruction where they cannot differ", () => {
    const left = bits("lshift_u64", Encode.alu64Imm(BPF_LSH, 1, 13))
    assert.strictEqual(outcome(bitLocal, left, bitKernel).outcome.result._tag, "Value")
    const right = bits("rshift_u64", Encode.alu64Imm(BPF_RSH, 1, 60))
    assert.strictEqual(refused(bitLocal, right, bitKernel).reason, "Mismatch")
  })

  it("a bit field that no load covers exists and cannot be read", () => {
    for (const kind of ["byte_off", "byte_sz", "signed", "lshift_u64", "rshift_u64"] as const) {
      const insn = kind === "rshift_u64" ? mov(60) : kind === "byte_sz" ? mov(4) : mov(0)
      assert.strictEqual(refused(bitLocal, bits(kind, insn, "0:1"), bitKernel).reason, "TooWide")
    }
    const exists = outcome(bitLocal, bits("field_exists", mov(1), "0:1"), bitKernel)
    assert.deepStrictEqual(exists.outcome.result, { _tag: "Unchanged", value: 1n })
  })
})

describe("essential names", () => {
  const finds = (local: string, kernel: string): boolean => {
    const types = (name: string) => [B.int("int", 4, 1), B.struct(name, 4, [["x", 1, 0]])]
    return outcome(types(local), { insn: mov(1), type: 2, access: "0", kind: "type_exists" }, types(kernel)).outcome
      .found
  }
  it("end at the last three underscores between other characters", () => {
    assert.isTrue(finds("a___b", "a"))
    assert.isTrue(finds("a", "a___b"))
    assert.isTrue(finds("a___x", "a___y"))
    assert.isTrue(finds("a___b___c", "a___b___d"))
    assert.isFalse(finds("a___b___c", "a___b"))
    assert.isFalse(finds("a___b___c", "a"))
    assert.isFalse(finds("a____b", "a"))
    assert.isTrue(finds("a____b", "a____b"))
    assert.isFalse(finds("___b", "b"))
    assert.isTrue(finds("___b", "___b"))
    assert.isFalse(finds("a___", "a"))
    assert.isTrue(finds("x_y___z", "x_y"))
    assert.isFalse(finds("ab", "a"))
  })
})

describe("candidates", () => {
  const int = B.int("int", 4, 1)
  const one = (name: string, offset: number): B.Rec => B.struct(name, 16, [["x", 1, offset]])
  const ask = (kind: Core.CoreKind, insn: Uint8Array): RecordSpec => ({ insn, type: 2, access: "0:0", kind })

  it("must agree", () => {
    const kernel = [int, one("s", 0), one("s___2", 32), one("s___3", 64)]
    for (const [kind, insn] of [["byte_off", mov(0)], ["field_exists", mov(1)]] as const) {
      const error = refused([int, one("s", 0)], ask(kind, insn), kernel)
      assert.strictEqual(error.reason, "Ambiguous")
      assert.include(error.message, "struct s.x of type 2 is at bit 0, struct s___2.x of type 3 at bit 32")
    }
    const same = outcome([int, one("s", 0)], ask("byte_off", mov(0)), [int, one("s", 64), one("s___2", 64)])
    assert.strictEqual(same.insns, show(mov(8)))
    assert.deepStrictEqual(
      same.outcome.candidates.map(({ typeId, typeName, verdict }) => [typeId, typeName, verdict]),
      [
        [2, "struct s", { _tag: "Match", path: "struct s.x", bitOffset: 64, value: 8n }],
        [3, "struct s___2", { _tag: "Match", path: "struct s___2.x", bitOffset: 64, value: 8n }]
      ]
    )
  })

  it("that do not have the field do not count, whatever came before", () => {
    // libbpf drops them for all later records, and so lets the order of records decide.
    const x = B.struct("s", 8, [["x", 1, 0]])
    const y = B.struct("s___2", 8, [["y", 1, 32]])
    const local = [int, B.struct("s", 8, [["x", 1, 0], ["y", 1, 32]])]
    const existsX: RecordSpec = { insn: mov(1), type: 2, access: "0:0", kind: "field_exists" }
    const existsY: RecordSpec = { ...existsX, access: "0:1" }
    for (const order of [[existsX, existsY], [existsY, existsX]]) {
      const { insns } = B.expectSuccess(relocate(local, order, [int, x, y]))
      assert.deepStrictEqual([Insn.imm(insns, 0), Insn.imm(insns, 1)], [1, 1])
    }
  })

  it("of which several are meant give no type id", () => {
    const kernel = [int, one("s", 0), one("s", 0)]
    const spec: RecordSpec = { insn: Encode.ldImm64(1, 0n), type: 2, access: "0", kind: "target_type_id" }
    const error = refused([int, one("s", 0)], spec, kernel)
    assert.strictEqual(error.reason, "Ambiguous")
    assert.include(error.message, "2 for struct s of type 2 and 3 for struct s of type 3")
  })

  it("are of the same kind; enums of both widths are", () => {
    const spec: RecordSpec = { insn: mov(1), type: 2, access: "0", kind: "type_exists" }
    const local = (type: B.Rec) => [int, type]
    const found = (mine: B.Rec, theirs: B.Rec) => outcome(local(mine), spec, [int, theirs]).outcome.found
    const values = [["A", 1]] as const
    assert.isFalse(found(B.struct("s", 4, []), B.union("s", 4, [])))
    assert.isFalse(found(B.struct("s", 4, []), B.fwd("s", false)))
    assert.isFalse(found(B.struct("s", 4, []), B.typedef("s", 1)))
    assert.isTrue(found(B.enumeration("e", 4, false, values), B.enum64("e", 8, false, [["A", 1n]])))
    assert.isTrue(found(B.typedef("t", 1), B.typedef("t", 1)))
    // libbpf has no rule for floating-point types, and so finds none.
    assert.isTrue(found(B.float("double", 8), B.float("double", 8)))
  })

  it("come from modules only where the kernel has none of the name", () => {
    const base = B.btfOf([int, one("s", 64)])
    const inModule = (types: ReadonlyArray<B.Rec>) => B.btfOf(types, { base })
    const modules = [
      { name: "first", btf: inModule([one("t", 32), one("s", 0)]) },
      { name: "second", btf: inModule([one("u", 32)]) }
    ]
    const answer = (name: string) => {
      const { insns, local, records } = recorded([int, one(name, 0)], [ask("byte_off", mov(0))])
      const { outcomes } = B.expectSuccess(Core.relocate(insns, records, local, Core.target(base, modules)))
      return outcomes[0]?.candidates.map(({ module, typeId, verdict }) => [
        module,
        typeId,
        verdict._tag === "Match" ? verdict.value : verdict.reason
      ])
    }
    assert.deepStrictEqual(answer("s"), [[undefined, 2, 8n]])
    assert.deepStrictEqual(answer("t"), [["first", 3, 4n]])
    assert.deepStrictEqual(answer("u"), [["second", 3, 4n]])
    assert.deepStrictEqual(answer("v"), [])
  })

  it("more than a thousand of one name are refused", () => {
    const kernel = [int, ...Array.from({ length: 1025 }, () => one("s", 0))]
    assert.strictEqual(refused([int, one("s", 0)], ask("byte_off", mov(0)), kernel).reason, "TooManyCandidates")
  })
})

describe("what is not found", () => {
  const types = [B.int("int", 4, 1), B.struct("s", 4, [["x", 1, 0]]), B.enumeration("e", 4, false, [["A", 7]])]
  const field = (kind: Core.CoreKind, insn: Uint8Array): RecordSpec => ({ insn, type: 2, access: "0:0", kind })
  const kernel = [B.int("int", 4, 1), B.struct("s", 4, [["y", 1, 0]]), B.enumeration("e", 4, false, [["B", 7]])]

  it("poisons what reads it", () => {
    for (
      const spec of [
        field("byte_off", mov(0)),
        field("byte_sz", mov(4)),
        field("signed", mov(1)),
        field("lshift_u64", mov(32)),
        field("rshift_u64", mov(32)),
        field("byte_off", Encode.ldx(BPF_W, 1, 2, 0))
      ]
    ) {
      const done = outcome(types, spec, kernel)
      assert.strictEqual(done.insns, POISON)
      assert.deepStrictEqual(done.outcome.result, { _tag: "Poisoned", why: "Missing" })
      assert.deepStrictEqual(done.outcome.candidates.map(({ verdict }) => verdict), [
        { _tag: "Refusal", reason: "NoMember", at: "x" }
      ])
    }
    const value: RecordSpec = { insn: Encode.ldImm64(1, 7n), type: 3, access: "0", kind: "enumval_value" }
    assert.strictEqual(outcome(types, value, kernel).insns, `${POISON} ${POISON}`)
  })

  it("is 0 for what asks whether it is there", () => {
    assert.strictEqual(outcome(types, field("field_exists", mov(1)), kernel).insns, show(mov(0)))
    const value: RecordSpec = { insn: mov(1), type: 3, access: "0", kind: "enumval_exists" }
    assert.strictEqual(outcome(types, value, kernel).insns, show(mov(0)))
    for (const kind of ["type_exists", "type_matches"] as const) {
      const done = outcome(types, { insn: mov(1), type: 2, access: "0", kind }, [])
      assert.strictEqual(done.insns, show(mov(0)))
      assert.isFalse(done.outcome.found)
    }
    assert.strictEqual(
      outcome(types, { insn: mov(4), type: 2, access: "0", kind: "type_size" }, []).insns,
      show(mov(0))
    )
    const id: RecordSpec = { insn: Encode.ldImm64(1, 99n), type: 2, access: "0", kind: "target_type_id" }
    assert.strictEqual(outcome(types, id, []).insns, show(Encode.ldImm64(1, 0n)))
  })
})

describe("enumerators", () => {
  const value = (insn: Uint8Array): RecordSpec => ({ insn, type: 1, access: "0", kind: "enumval_value" })
  const imm = (insn: bigint, local: B.Rec, kernel: B.Rec): bigint => {
    const { insns } = B.expectSuccess(relocate([local], [value(Encode.ldImm64(2, insn))], [kernel]))
    return Insn.imm64(insns, 0)
  }
  const wide = (signed: boolean, of: bigint) => B.enum64("e", 8, signed, [["V___old", of]])
  const narrow = (signed: boolean, of: number) => B.enumeration("e", 4, signed, [["Z", 7], ["V", of]])
  const first = (signed: boolean, of: number) => B.enumeration("e", 4, signed, [["V", of]])

  it("are found by their essential name, in enums of either width", () => {
    assert.strictEqual(imm(0x1_ffff_ffffn, wide(false, 0x1_ffff_ffffn), narrow(false, 5)), 5n)
    assert.strictEqual(imm(7n, first(false, 7), wide(true, -2n)), 0xffff_ffff_ffff_fffen)
  })
  it("of 32 bits keep their sign, which libbpf takes all to have", () => {
    assert.strictEqual(imm(0x1_ffff_ffffn, wide(false, 0x1_ffff_ffffn), narrow(false, 0x8000_0001)), 0x8000_0001n)
    assert.strictEqual(imm(5n, first(false, 5), narrow(true, -1)), 0xffff_ffff_ffff_ffffn)
    assert.strictEqual(imm(0x8000_0000n, first(false, 0x8000_0000), narrow(false, 3)), 3n)
  })
  it("of a compiler that did not know of signs are those of a kernel that did not", () => {
    const minusOne = 0xffff_ffff_ffff_ffffn
    assert.strictEqual(imm(minusOne, first(false, 0xffff_ffff), narrow(false, 0xffff_fffe)), minusOne - 1n)
    assert.strictEqual(imm(minusOne, first(false, 0xffff_ffff), narrow(false, 0xffff_ffff)), minusOne)
  })
  it("that have another value in the instruction are refused", () => {
    assert.strictEqual(refused([first(false, 5)], value(Encode.ldImm64(2, 6n)), [narrow(false, 1)]).reason, "Mismatch")
  })
})

describe("instructions", () => {
  const local = [
    B.int("u32", 4),
    B.int("char", 1, 3),
    B.ptr(0),
    B.struct("s", 16, [["x", 1, 0], ["c", 2, 32], ["p", 3, 64]])
  ]
  const kernel = (more: number) => [
    B.int("u64", 8),
    B.int("short", 2, 3),
    B.ptr(0),
    B.int("word", 4),
    B.int("c8", 8, 3),
    B.struct("s", 0x2_0000, [["x", 1, more], ["c", more === 0 ? 2 : 5, more + 64], ["p", 3, more + 128]])
  ]
  const at = (insn: Uint8Array, access = "0:0"): RecordSpec => ({ insn, type: 4, access, kind: "byte_off" })

  it("of every size become those of the field's size", () => {
    assert.strictEqual(
      outcome(local, at(Encode.ldx(BPF_W, 1, 2, 0)), kernel(64)).insns,
      show(Encode.ldx(BPF_DW, 1, 2, 8))
    )
    assert.strictEqual(
      outcome(local, at(Encode.stx(BPF_W, 1, 2, 0)), kernel(64)).insns,
      show(Encode.stx(BPF_DW, 1, 2, 8))
    )
    assert.strictEqual(
      outcome(local, at(Encode.st(BPF_W, 1, 0, 9)), kernel(64)).insns,
      show(Encode.st(BPF_DW, 1, 8, 9))
    )
    assert.strictEqual(
      outcome(local, at(Encode.ldx(BPF_B, 1, 2, 4), "0:1"), kernel(0)).insns,
      show(Encode.ldx(BPF_H, 1, 2, 8))
    )
  })
  it("of a kernel with smaller pointers load those", () => {
    const small = [B.int("unsigned long", 4), B.ptr(0), B.struct("s", 8, [["p", 2, 0]])]
    const done = outcome(local, at(Encode.ldx(BPF_DW, 1, 2, 8), "0:2"), small)
    assert.strictEqual(done.insns, show(Encode.ldx(BPF_W, 1, 2, 0)))
    assert.deepStrictEqual(done.outcome.result, { _tag: "Value", value: 0n, size: 4 })
  })
  it("that extend the sign go on to do so, up to 8 bytes", () => {
    const load = (size: 0 | 8 | 16, offset: number): Uint8Array => {
      const insn = Encode.ldx(size, 1, 2, offset)
      insn[0] = (insn[0] ?? 0) & ~0xe0 | BPF_MEMSX
      return insn
    }
    assert.strictEqual(outcome(local, at(load(BPF_B, 4), "0:1"), kernel(0)).insns, show(load(BPF_H, 8)))
    const eight = outcome(local, at(load(BPF_B, 4), "0:1"), kernel(64))
    assert.strictEqual(eight.insns, show(Encode.ldx(BPF_DW, 1, 2, 16)))
    assert.strictEqual(Insn.mode(hex(eight.insns), 0), BPF_MEM)
  })
  it("that access another size than the field's are not resized", () => {
    assert.strictEqual(refused(local, at(Encode.ldx(BPF_H, 1, 2, 0)), kernel(64)).reason, "Instruction")
    assert.strictEqual(
      outcome(local, at(Encode.ldx(BPF_H, 1, 2, 8), "0:2"), kernel(64)).insns,
      show(Encode.ldx(BPF_H, 1, 2, 24))
    )
  })
  it("have room for offsets of 15 bits", () => {
    const largest = kernel(0x7ff8 * 8)
    assert.strictEqual(Insn.offset(hex(outcome(local, at(Encode.ldx(BPF_W, 1, 2, 0)), largest).insns), 0), 0x7ff8)
    assert.strictEqual(refused(local, at(Encode.ldx(BPF_W, 1, 2, 0)), kernel(0x8000 * 8)).reason, "OutOfRange")
    const added = outcome(local, at(Encode.alu64Imm(0, 1, 0)), kernel(0x8000 * 8))
    assert.strictEqual(added.insns, show(Encode.alu64Imm(0, 1, 0x8000)))
  })
  it("of other forms are refused", () => {
    const reasons = [
      Encode.mov64Reg(1, 2),
      Encode.exit(),
      Encode.callHelper(5),
      Encode.ldMapFd(1, 3),
      Encode.ldImm64(1, 0n).subarray(0, 8),
      hex("0000000000000000")
    ].map((insn) => refused(local, at(insn), kernel(64)).reason)
    assert.deepStrictEqual(reasons, reasons.map(() => "Instruction"))
    const cut: RecordSpec = { ...at(Encode.ldImm64(1, 0n).subarray(0, 8)), access: "0:0" }
    assert.strictEqual(refused(local, cut, []).reason, "Instruction")
  })
  it("are left alone in what was given", () => {
    const { insns, local: types, records } = recorded(local, [at(Encode.ldx(BPF_W, 1, 2, 0))])
    const before = show(insns)
    const done = B.expectSuccess(Core.relocate(insns, records, types, Core.target(B.btfOf(kernel(64)))))
    assert.notStrictEqual(show(done.insns), before)
    assert.strictEqual(show(insns), before)
  })
})

describe("fields of types", () => {
  const fields = (local: B.Rec, kernel: B.Rec, more: ReadonlyArray<B.Rec> = []): string => {
    const types = (
      type: B.Rec
    ) => [B.int("int", 4, 1), B.ptr(1), ...more, type, B.struct("s", 8, [["x", 3 + more.length, 0]])]
    const spec: RecordSpec = { insn: mov(1), type: 4 + more.length, access: "0:0", kind: "field_exists" }
    const { candidates, found } = outcome(types(local), spec, types(kernel)).outcome
    const [verdict] = candidates.map((candidate) => candidate.verdict)
    return found ? "yes" : verdict?._tag === "Refusal" ? verdict.reason : "no"
  }
  it("that may stand for each other", () => {
    assert.strictEqual(fields(B.struct("a", 8, []), B.union("b", 8, [])), "yes")
    assert.strictEqual(fields(B.int("a", 4), B.int("b", 8, 1)), "yes")
    assert.strictEqual(fields(B.ptr(1), B.ptr(0)), "yes")
    assert.strictEqual(fields(B.float("float", 4), B.float("double", 8)), "yes")
    assert.strictEqual(fields(B.array(1, 1, 4), B.array(1, 1, 9)), "yes")
    assert.strictEqual(fields(B.enumeration("a___1", 4, false, []), B.enum64("a", 8, false, [])), "yes")
    assert.strictEqual(fields(B.enumeration("", 4, false, []), B.enum64("a", 8, false, [])), "yes")
    assert.strictEqual(fields(B.constant(1), B.typedef("i", 1)), "yes")
  })
  it("that may not", () => {
    assert.strictEqual(fields(B.int("a", 4), B.ptr(1)), "IncompatibleMember")
    assert.strictEqual(fields(B.enumeration("a", 4, false, []), B.enumeration("b", 4, false, [])), "IncompatibleMember")
    assert.strictEqual(fields(B.int("a", 4), B.int("b", 4, 0, 3, 5)), "IncompatibleMember")
    assert.strictEqual(fields(B.array(1, 1, 4), B.array(2, 1, 4)), "IncompatibleMember")
    assert.strictEqual(fields(B.int("a", 4), B.enumeration("b", 4, false, [])), "IncompatibleMember")
  })
  it("an incompatible one in an anonymous struct does not hide one behind it", () => {
    const kernel = [
      B.int("int", 4, 1),
      B.ptr(1),
      B.struct("", 16, [["y", 1, 0], ["x", 2, 64]]),
      B.struct("s", 24, [["", 3, 0], ["x", 1, 128]])
    ]
    const spec: RecordSpec = { insn: mov(0), type: 2, access: "0:0", kind: "byte_off" }
    assert.strictEqual(
      outcome([B.int("int", 4, 1), B.struct("s", 4, [["x", 1, 0]])], spec, kernel).insns,
      show(mov(16))
    )
  })
  it("one that is found does not stand in for another of its name, of a type that fits better, whoever asks first", () => {
    const kernel = B.btfOf([
      B.int("int", 4, 1),
      B.ptr(1),
      B.struct("", 16, [["y", 1, 0], ["x", 2, 64]]),
      B.struct("s", 24, [["", 3, 0], ["x", 1, 128]])
    ])
    const place = (type: number): number => {
      const types = [B.int("int", 4, 1), B.ptr(1), B.struct("s", 8, [["x", type, 0]])]
      const { insns, local, records } = recorded(types, [{ insn: mov(0), type: 3, access: "0:0", kind: "byte_off" }])
      return Insn.imm(B.expectSuccess(Core.relocate(insns, records, local, Core.target(kernel))).insns, 0)
    }
    const [INT, PTR] = [1, 2]
    assert.deepStrictEqual([INT, PTR, INT, PTR].map(place), [16, 8, 16, 8])
  })
  it("elements of arrays are there up to the array's length, or without one at the end", () => {
    const struct = (length: number, last = true): ReadonlyArray<B.Rec> => [
      B.int("int", 4, 1),
      B.array(1, 1, length),
      B.struct("s", 64, last ? [["a", 2, 0]] : [["a", 2, 0], ["z", 1, 256]])
    ]
    const spec: RecordSpec = { insn: mov(1), type: 3, access: "0:0:5", kind: "field_exists" }
    const found = (mine: ReadonlyArray<B.Rec>, theirs: ReadonlyArray<B.Rec>) =>
      outcome(mine, spec, theirs).outcome.found
    assert.isTrue(found(struct(6), struct(6)))
    assert.isFalse(found(struct(6), struct(5)))
    assert.isTrue(found(struct(6), struct(0)))
    assert.isTrue(found(struct(0), struct(6)))
    assert.isFalse(found(struct(6), struct(0, false)))
    assert.strictEqual(refused(struct(5), spec, struct(6)).reason, "BadAccess")
    assert.strictEqual(refused(struct(0, false), spec, struct(6)).reason, "BadAccess")
  })
})

describe("comparing whole types", () => {
  /** Type 1 is `int`; the last type is the one that is compared. */
  const compared = (kind: "type_exists" | "type_matches", local: ReadonlyArray<B.Rec>, kernel: ReadonlyArray<B.Rec>) =>
    outcome([B.int("int", 4, 1), ...local], { insn: mov(1), type: local.length + 1, access: "0", kind }, [
      B.int("int", 4, 1),
      ...kernel
    ]).outcome.found
  const matches = (local: ReadonlyArray<B.Rec>, kernel: ReadonlyArray<B.Rec>) => compared("type_matches", local, kernel)
  const exists = (local: ReadonlyArray<B.Rec>, kernel: ReadonlyArray<B.Rec>) => compared("type_exists", local, kernel)

  it("loosely goes through pointers, arrays and prototypes", () => {
    const typedef = (...types: ReadonlyArray<B.Rec>) => [...types, B.typedef("t", types.length + 1)]
    const proto = (result: number, ...params: ReadonlyArray<number>) =>
      B.funcProto(result, params.map((type) => ["", type] as const))
    assert.isTrue(exists(typedef(B.ptr(1)), typedef(B.ptr(1))))
    assert.isFalse(exists(typedef(B.ptr(1)), typedef(B.ptr(0))))
    assert.isTrue(exists(typedef(B.array(1, 1, 2)), typedef(B.array(1, 1, 3))))
    assert.isTrue(exists(typedef(B.struct("a", 4, [])), typedef(B.struct("b", 8, []))))
    assert.isFalse(exists(typedef(B.struct("a", 4, [])), typedef(B.union("a", 4, []))))
    assert.isTrue(exists(typedef(B.ptr(1), proto(1, 1, 2)), typedef(B.ptr(1), proto(1, 1, 2))))
    assert.isFalse(exists(typedef(B.ptr(1), proto(1, 1, 2)), typedef(B.ptr(1), proto(1, 1, 1))))
    assert.isFalse(exists(typedef(B.ptr(1), proto(1, 1)), typedef(B.ptr(1), proto(1, 1, 1))))
    assert.isFalse(exists(typedef(B.ptr(1), proto(2)), typedef(B.ptr(1), proto(1))))
  })
  it("strictly goes through members", () => {
    const s = (...members: ReadonlyArray<B.MemberRec>) => B.struct("s", 32, members)
    assert.isTrue(matches([s(["a", 1, 0])], [s(["b", 1, 0], ["a", 1, 64])]))
    assert.isTrue(matches([s(["a___v2", 1, 0])], [s(["a", 1, 64])]))
    assert.isFalse(matches([s(["a", 1, 0])], [s(["b", 1, 0])]))
    assert.isFalse(matches([s(["a", 1, 0], ["b", 1, 32])], [s(["a", 1, 0])]))
    assert.isFalse(matches([B.int("int", 8, 1), s(["a", 2, 0])], [B.int("int", 4, 1), s(["a", 2, 0])]))
    assert.isFalse(matches([B.int("int", 4, 0), s(["a", 2, 0])], [B.int("int", 4, 1), s(["a", 2, 0])]))
    assert.isFalse(matches([B.struct("s", 4, [])], [B.union("s", 4, [])]))
    // Any member without a name will do, and any of several of the same essential name.
    const inner = (name: string) => B.struct("", 4, [[name, 1, 0]])
    assert.isTrue(matches([inner("y"), s(["", 2, 0])], [inner("x"), inner("y"), s(["", 2, 0], ["", 3, 32])]))
    assert.isFalse(matches([inner("z"), s(["", 2, 0])], [inner("x"), inner("y"), s(["", 2, 0], ["", 3, 32])]))
  })
  it("strictly stops at pointers to structs, of which names and kinds count", () => {
    const via = (
      ...types: ReadonlyArray<B.Rec>
    ) => [...types, B.ptr(types.length + 1), B.struct("s", 8, [["p", types.length + 2, 0]])]
    assert.isTrue(matches(via(B.struct("a", 4, [["x", 1, 0]])), via(B.struct("a", 4, []))))
    assert.isFalse(matches(via(B.struct("a", 4, [])), via(B.struct("b", 4, []))))
    assert.isTrue(matches(via(B.struct("a", 4, [])), via(B.fwd("a", false))))
    assert.isFalse(matches(via(B.struct("a", 4, [])), via(B.fwd("a", true))))
    assert.isTrue(matches(via(B.fwd("a", true)), via(B.union("a", 4, []))))
    assert.isFalse(matches(via(B.fwd("a", true)), via(B.struct("a", 4, []))))
    assert.isFalse(matches(via(B.fwd("a", true)), via(B.fwd("a", false))))
    assert.isTrue(matches(via(B.int("int", 4, 1)), via(B.int("int", 4, 1))))
  })
  it("strictly compares enums by size and names", () => {
    const e = (size: number, ...names: ReadonlyArray<string>) =>
      B.enumeration("e", size, false, names.map((name, index) => [name, index] as const))
    assert.isTrue(matches([e(4, "A")], [e(4, "B", "A")]))
    assert.isFalse(matches([e(4, "A")], [e(8, "A")]))
    assert.isFalse(matches([e(4, "A", "C")], [e(4, "A", "B")]))
    assert.isFalse(matches([e(4, "A", "B")], [e(4, "A")]))
    assert.isTrue(matches([e(8, "A___x")], [B.enum64("e", 8, false, [["A", 5n]])]))
  })
  it("strictly compares arrays by length, floating-point types by size", () => {
    const holder = (type: B.Rec) => [type, B.struct("s", 64, [["x", 2, 0]])]
    assert.isTrue(matches(holder(B.array(1, 1, 3)), holder(B.array(1, 1, 3))))
    assert.isFalse(matches(holder(B.array(1, 1, 3)), holder(B.array(1, 1, 4))))
    assert.isTrue(matches(holder(B.float("f", 8)), holder(B.float("f", 8))))
    assert.isFalse(matches(holder(B.float("f", 8)), holder(B.float("f", 4))))
  })
})

describe("what is accessed", () => {
  it("is told as C writes it", () => {
    const types = [
      B.int("int", 4, 1),
      B.array(1, 1, 4),
      B.array(2, 1, 2),
      B.struct("", 32, [["rows", 3, 0]]),
      B.struct("s", 40, [["n", 1, 0], ["", 4, 32]]),
      B.typedef("s_t", 5),
      B.enumeration("e", 4, false, [["A", 1], ["B", 2]])
    ]
    const path = (type: number, access: string, kind: Core.CoreKind, value: number): string =>
      outcome(types, { insn: mov(value), type, access, kind }, types).outcome.path
    assert.strictEqual(path(5, "0:1:0:1:2", "byte_off", 28), "struct s.rows[1][2]")
    assert.strictEqual(path(5, "2:0", "byte_off", 80), "struct s[2].n")
    assert.strictEqual(path(6, "0", "type_size", 40), "s_t")
    assert.strictEqual(path(6, "0:0", "field_exists", 1), "s_t.n")
    assert.strictEqual(path(7, "1", "enumval_value", 2), "enum e::B")
  })
})

describe("bad records", () => {
  const types = [B.int("int", 4, 1), B.struct("s", 4, [["x", 1, 0]]), B.struct("", 4, [["x", 1, 0]]), B.fwd("f", false)]
  const reason = (type: number, access: string, kind: Core.CoreKind | number): Core.CoreErrorReason =>
    refused(types, { insn: mov(0), type, access, kind }, types).reason

  it("with a bad access string", () => {
    const bad = ["", ":", ":0", "0:", "0::0", "x", "0:x", "-1", "0 0", " 0", "0:-1", "99999999999", "0:1", "0:0:0"]
    for (const access of bad) assert.strictEqual(reason(2, access, "byte_off"), "BadAccess", access)
    for (const access of ["1", "0:0"]) assert.strictEqual(reason(2, access, "type_size"), "BadAccess", access)
    assert.strictEqual(reason(2, Array(65).fill("0").join(":"), "byte_off"), "TooDeep")
  })
  it("with a bad type", () => {
    assert.strictEqual(reason(5, "0", "byte_off"), "BadType")
    assert.strictEqual(reason(0xffff_ffff, "0", "byte_off"), "BadType")
    assert.strictEqual(reason(3, "0", "type_exists"), "BadType")
    assert.strictEqual(reason(0, "0", "type_exists"), "BadType")
    assert.strictEqual(reason(2, "0", "enumval_value"), "BadType")
    assert.strictEqual(reason(4, "0", "byte_off"), "NoSize")
  })
  it("of an unknown kind", () => {
    for (const kind of [13, 16, 0xffff_ffff]) assert.strictEqual(reason(2, "0", kind), "UnknownKind")
  })
  it("that go with a member at an element", () => {
    const array = [B.int("int", 4, 1), B.array(1, 1, 4), B.struct("s", 16, [["a", 2, 0]])]
    for (const kind of ["signed", "lshift_u64", "rshift_u64"] as const) {
      const spec: RecordSpec = { insn: mov(0), type: 3, access: "0:0:1", kind }
      assert.strictEqual(refused(array, spec, array).reason, "BadAccess")
    }
  })
  it("that shift what is no number", () => {
    const array = [B.int("int", 4, 1), B.array(1, 1, 4), B.struct("s", 16, [["a", 2, 0]])]
    assert.strictEqual(
      refused(array, { insn: mov(0), type: 3, access: "0:0", kind: "rshift_u64" }, array).reason,
      "TooWide"
    )
  })
  it("for no instruction, or of no size", () => {
    const { insns, local, records } = recorded(types, [{ insn: mov(1), type: 2, access: "0", kind: "type_exists" }])
    const target = Core.target(local)
    const at = (offset: number) => {
      const moved = records.records.slice()
      new DataView(moved.buffer).setUint32(0, offset, true)
      return B.expectFailure(Core.relocate(insns, { recordSize: 16, records: moved }, local, target)).reason
    }
    assert.deepStrictEqual([4, 8, 0xffff_fff8].map(at), ["BadOffset", "BadOffset", "BadOffset"])
    for (const recordSize of [0, 8, 15, Number.NaN, 12.5]) {
      const error = B.expectFailure(Core.relocate(insns, { ...records, recordSize }, local, target))
      assert.strictEqual(error.reason, "BadRecords")
    }
    const wide = new Uint8Array(24)
    wide.set(records.records)
    const done = B.expectSuccess(Core.relocate(insns, { recordSize: 24, records: wide }, local, target))
    assert.strictEqual(done.outcomes.length, 1)
  })
  it("of types in the other byte order", () => {
    const { insns, local, records } = recorded(types, [])
    const error = B.expectFailure(Core.relocate(insns, records, local, Core.target(B.btfOf(types, { order: "big" }))))
    assert.strictEqual(error.reason, "BadRecords")
    assert.include(error.message, "big-endian")
  })
  it("do not keep a report from telling of the others", () => {
    const { insns, local, records } = recorded(types, [
      { insn: mov(1), type: 2, access: "0", kind: "type_exists" },
      { insn: mov(1), type: 2, access: "x", kind: "field_exists" },
      { insn: mov(1), type: 2, access: "0:0", kind: "field_exists" }
    ])
    assert.strictEqual(B.expectFailure(Core.relocate(insns, records, local, Core.target(local))).record, 1)
    const { outcomes } = B.expectSuccess(Core.examine(insns, records, local, Core.target(local)))
    assert.deepStrictEqual(outcomes.map((each) => Result.isSuccess(each)), [true, false, true])
  })
})

describe("objects of a machine of either byte order", () => {
  // A kernel of which everything is known.
  const kernel: ReadonlyArray<B.Rec> = [
    B.int("int", 4, 1),
    B.int("long unsigned int", 8),
    B.int("unsigned int", 4),
    B.int("char", 1, 3),
    B.array(4, 1, 16),
    B.struct("list_head", 16, [["next", 7, 0], ["prev", 7, 64]]),
    B.ptr(6),
    B.struct("mm_struct", 24, [["pgd", 2, 0], ["", 9, 64]]),
    B.struct("", 16, [["end_code", 2, 0], ["start_code", 2, 64]]),
    B.ptr(8),
    B.struct("task_struct", 128, [
      ["__state", 3, 0],
      ["flags", 3, 32],
      ["other", 3, 64, 5],
      ["in_execve", 3, 69, 1],
      ["pid", 1, 96],
      ["tgid", 1, 128],
      ["mm", 10, 192],
      ["real_parent", 12, 256],
      ["children", 6, 320],
      ["comm", 5, 448]
    ]),
    B.ptr(11),
    B.enumeration("pid_type", 4, false, [["PIDTYPE_PID", 0], ["PIDTYPE_TGID", 1]]),
    B.enumeration("bpf_map_type", 4, false, [["BPF_MAP_TYPE_UNSPEC", 0]])
  ]

  const results = (name: string, order: B.Order) => {
    const object = opened(`${name}.${order === "little" ? "bpf" : "eb"}.o`)
    const insns = object.programs[0]?.insns ?? new Uint8Array()
    const index = Info.index(object.btfExt?.coreRelocations, object.byteOrder)
    const { records } = Info.pick(object, index, [{ program: 0, slot: 0, slots: Insn.count(insns) }], "bytes")
    if (object.btf === undefined || records === undefined) return assert.fail("no records")
    const target = Core.target(B.btfOf(kernel, { order }))
    return B.expectSuccess(Core.relocate(insns, records, object.btf, target)).outcomes.map(({ kind, path, result }) =>
      `${kind} ${path}: ${result._tag === "Poisoned" ? result.why : result.value}`
    )
  }

  it("core_reads", () => {
    const shared = [
      "byte_off struct task_struct.pid: 12",
      "byte_off struct task_struct.tgid: 16",
      "byte_off struct task_struct.real_parent: 32",
      "byte_off struct task_struct.mm: 24",
      "byte_off struct mm_struct.start_code: 16",
      "byte_off struct task_struct.comm[1]: 57",
      "byte_off struct task_struct.in_execve: 8",
      "byte_sz struct task_struct.in_execve: 4",
      "signed struct task_struct.in_execve: 0",
      "rshift_u64 struct task_struct.in_execve: 63",
      "field_exists struct task_struct___since_5_14.__state: 1",
      "byte_off struct task_struct___since_5_14.__state: 0",
      "field_exists struct task_struct___before_5_14.state: 0",
      "byte_off struct task_struct___before_5_14.state: Missing",
      "type_exists struct there_is_no_such_struct: 0",
      "byte_off struct there_is_no_such_struct.member: Missing",
      "byte_sz struct task_struct.pid: 4",
      "byte_off struct task_struct.comm: 56",
      "type_size struct task_struct: 128",
      "type_size struct there_is_no_such_struct: 0",
      "target_type_id struct task_struct: 11",
      "enumval_exists enum bpf_map_type___other::BPF_MAP_TYPE_NOT_THERE: 0",
      "enumval_value enum pid_type::PIDTYPE_TGID: 1"
    ]
    // The word that holds the bit: bit 5 from below, or the sixth from above.
    const shift = { little: 64 - 6, big: 32 + 5 }
    for (const order of ["little", "big"] as const) {
      const told = new Set(results("core_reads", order))
      const expected = [...shared, `lshift_u64 struct task_struct.in_execve: ${shift[order]}`]
      assert.deepStrictEqual(expected.filter((line) => !told.has(line)), [], [...told].join("\n"))
      const others = [...told].filter((line) => !expected.includes(line))
      assert.deepStrictEqual(others.filter((line) => !line.startsWith("local_type_id struct task_struct: ")), [])
    }
  })

  it("core_matches", () => {
    const expected = ["type_matches struct task_struct: 1", "type_matches struct list_head: 1"]
    assert.deepStrictEqual(results("core_matches", "little"), expected)
    assert.deepStrictEqual(results("core_matches", "big"), expected)
  })
})
