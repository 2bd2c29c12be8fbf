/**
 * Clang's BPF assembler as the judge of our encoder and, the other way round, of our text; bpftool and the kernel's BTF
 * as the judges of the helper table.
 */
import { assert, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { disassemble } from "../../src/insn/Disassemble.ts"
import * as Encode from "../../src/insn/Encode.ts"
import { helperCount, helperId, helperName } from "../../src/insn/Helpers.ts"
import * as Insn from "../../src/insn/Insn.ts"
import { describeWith, run, runs, temporaryFolder } from "../support/Require.ts"
import { insn } from "../support/arbitrary/Insn.ts"
import type { Sample } from "../support/arbitrary/Insn.ts"

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

describeWith({ kind: "oracle", tools: ["clang", "llvm-objcopy"] }, "clang's assembler", () => {
  /** The code that clang makes of lines of assembler text, in the byte order of the target. */
  const assembled = (lines: ReadonlyArray<string>, order: Insn.ByteOrder): Uint8Array => {
    const folder = temporaryFolder()
    const [source, object, text] = ["a.s", "a.o", "a.bin"].map((name) => Path.join(folder, name)) as [
      string,
      string,
      string
    ]
    Fs.writeFileSync(source, `.text\n${lines.join("\n")}\n`)
    const target = order === "little" ? "bpfel" : "bpfeb"
    const clang = run("clang", ["-target", target, "-mcpu=v4", "-c", source, "-o", object])
    assert.strictEqual(clang.status, 0, clang.stderr)
    const copy = run("llvm-objcopy", ["-O", "binary", "--only-section=.text", object, text])
    assert.strictEqual(copy.status, 0, copy.stderr)
    return new Uint8Array(Fs.readFileSync(text))
  }

  const known = (samples: ReadonlyArray<Sample>): ReadonlyArray<Sample & { readonly llvm: string }> =>
    samples.flatMap((sample) => (sample.llvm === undefined ? [] : [{ ...sample, llvm: sample.llvm }]))

  const compare = (
    samples: ReadonlyArray<{ readonly code: Uint8Array; readonly llvm: string }>,
    order: Insn.ByteOrder
  ): void => {
    const theirs = assembled(samples.map(({ llvm }) => llvm), order)
    let at = 0
    for (const { code, llvm } of samples) {
      const ours = Insn.toByteOrder(code, order)
      assert.strictEqual(hex(ours), hex(theirs.subarray(at, at + ours.length)), llvm)
      at += ours.length
    }
    assert.strictEqual(at, theirs.length)
  }

  const many = fc.array(insn, { minLength: 500, maxLength: 600 })

  for (const order of ["little", "big"] as const) {
    it(`makes the bytes that our constructors make, ${order}-endian`, () => {
      fc.assert(fc.property(many, (samples) => compare(known(samples), order)), { numRuns: runs(4) })
    })
  }

  it("named fault: a constructor whose registers changed places is noticed", () => {
    assert.throws(() => compare([{ code: Encode.mov64Reg(1, 2), llvm: "r2 = r1" }], "little"))
    assert.throws(() =>
      compare([{ code: Encode.mov64Reg(1, 2), llvm: "r1 = r2" }, { code: Encode.exit(), llvm: "" }], "little")
    )
  })

  it("knows an instruction of every opcode that our constructors make, but the newest", () => {
    const all = fc.sample(insn, { numRuns: 20_000, seed: 1 })
    const opcodes = (samples: ReadonlyArray<Sample>) => new Set(samples.map(({ fields }) => fields.opcode))
    const judged = opcodes(known(all))
    // gotox; atomic loads and stores of one and two bytes.
    assert.deepEqual(new Set([...opcodes(all)].filter((opcode) => !judged.has(opcode))), new Set([0x0d, 0xcb, 0xd3]))
    assert.strictEqual(judged.size, 126)
  })

  /** Our text in LLVM's notation: the differences between the two are these and no more. */
  const translated = (text: string): string => {
    let line = text.replace(/^\([0-9a-f]{2}\) /, "")
    line = line.replace(/(goto|gotol|may_goto) pc/, "$1 ")
    line = line.replace(/^call .*#(-?\d+)$/, "call $1")
    line = line.replace(/^(r\d+ = 0x[0-9a-f]+)$/, "$1 ll")
    line = line.replace(
      /^r0 = atomic64_cmpxchg\(\(u64 \*\)\((r\d+ [+-]\d+)\), r0, (r\d+)\)/,
      "r0 = cmpxchg_64($1, r0, $2)"
    )
    line = line.replace(
      /^r0 = atomic_cmpxchg\(\(u32 \*\)\((r\d+ [+-]\d+)\), r0, r(\d+)\)/,
      "w0 = cmpxchg32_32($1, w0, w$2)"
    )
    line = line.replace(/^(r\d+) = atomic64_xchg\(\(u64 \*\)\((r\d+ [+-]\d+)\), .*/, "$1 = xchg_64($2, $1)")
    line = line.replace(/^r(\d+) = atomic_xchg\(\(u32 \*\)\((r\d+ [+-]\d+)\), .*/, "w$1 = xchg32_32($2, w$1)")
    line = line.replace("atomic64_fetch", "atomic_fetch")
    line = line.replace(/^r(\d+) = (atomic_fetch_\w+\(\(u32 \*\).*), r\d+\)/, "w$1 = $2, w$1)")
    line = line.replace(/^(lock \*\(u32 \*\).*) r(\d+)$/, "$1 w$2")
    // Legacy loads with a register: the assembler has no immediate.
    return line.replace(/(skb\[r\d+) \+ 0\]/, "$1]")
  }

  it("makes of our text the bytes that we disassembled", () => {
    const plain = insn.filter(({ fields, llvm }) => llvm !== undefined && !(fields.opcode === 0x18 && fields.src !== 0))
    fc.assert(
      fc.property(fc.array(plain, { minLength: 500, maxLength: 600 }), (samples) => {
        const code = Encode.program(...samples.map((sample) => sample.code))
        const theirs = assembled(disassemble(code).map(({ text }) => translated(text)), "little")
        assert.strictEqual(hex(theirs), hex(code))
      }),
      { numRuns: runs(4) }
    )
  })
})

describeWith({ kind: "oracle", tools: ["bpftool"], files: ["/sys/kernel/btf/vmlinux"] }, "the kernel's BTF", () => {
  it("has our helpers under our ids", () => {
    const dump = run("bpftool", ["btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "raw"])
    assert.strictEqual(dump.status, 0, dump.stderr)
    const values = /ENUM 'bpf_func_id'.*\n((?:\t'.*\n)+)/.exec(dump.stdout)?.[1] ?? ""
    const theirs = new Map<string, number>()
    for (const [, name, id] of values.matchAll(/'(\w+)' val=(\d+)/g)) theirs.set(name ?? "", Number(id))
    const limit = theirs.get("__BPF_FUNC_MAX_ID") ?? 0
    assert.isAtLeast(limit, 200)
    // An older kernel has fewer, never others.
    assert.isAtMost(limit, helperCount)
    for (const [name, id] of theirs) {
      if (name === "__BPF_FUNC_MAX_ID") continue
      const ours = name.replace("BPF_FUNC_", "bpf_")
      assert.strictEqual(helperName(id), ours)
      assert.strictEqual(helperId(ours), id)
    }
  })
})
