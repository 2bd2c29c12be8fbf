import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Argument from "../../../src/usdt/Argument.ts"
import { assertQuick, cpuTime } from "../../support/CpuTime.ts"

const read = (text: string, architecture: Argument.Architecture = "x86-64") =>
  Result.getOrThrow(Argument.parse(architecture, text))

const refused = (text: string, architecture: Argument.Architecture = "x86-64") => {
  const result = Argument.parse(architecture, text)
  if (Result.isSuccess(result)) throw new Error(`${text} was understood`)
  return result.failure
}

const memory = (base: string, offset: bigint) => ({ _tag: "Memory", base, offset }) as const
const register = (register: string) => ({ _tag: "Register", register }) as const
const constant = (value: bigint) => ({ _tag: "Constant", value }) as const

describe("arguments", () => {
  it("are none where the text is empty or begins with a colon", () => {
    for (const text of ["", "   ", ":", ":8@%rax"]) assert.deepStrictEqual(read(text), [])
  })

  it("on x86-64 are registers, memory, constants, and sums of registers", () => {
    assert.deepStrictEqual(read("-4@%eax 8@-24(%rbp) 4@$-7 1@(%rsp) 2@16(%rax,%r9,8) 8@(%rdi,%rsi)"), [
      { size: 4, signed: true, location: register("eax") },
      { size: 8, signed: false, location: memory("rbp", -24n) },
      { size: 4, signed: false, location: constant(-7n) },
      { size: 1, signed: false, location: memory("rsp", 0n) },
      { size: 2, signed: false, location: { _tag: "Indexed", base: "rax", index: "r9", scale: 8, offset: 16n } },
      { size: 8, signed: false, location: { _tag: "Indexed", base: "rdi", index: "rsi", scale: 1, offset: 0n } }
    ])
  })

  it("on x86-64 are variables, too, at their distance from the probe", () => {
    const parts = read("-4@counter(%rip) 8@table+16(%rip) 1@-3+table(%rip) 8@%rax")
    assert.deepStrictEqual(parts.map(({ location }) => location), [
      { _tag: "Symbol", symbol: "counter", offset: 0n },
      { _tag: "Symbol", symbol: "table", offset: 16n },
      { _tag: "Symbol", symbol: "table", offset: -3n },
      register("rax")
    ])
    const symbols = new Map<string, bigint | "ambiguous">([["counter", 0x4010n], ["table", 0x1000n]])
    const placed = Result.getOrThrow(Argument.relativeTo(0x1200n, parts, symbols))
    assert.deepStrictEqual(placed.map(({ location }) => location), [
      memory("rip", 0x2e10n),
      memory("rip", -0x1f0n),
      memory("rip", -0x203n),
      register("rax")
    ])
    for (const known of [new Map(), new Map([...symbols, ["table", "ambiguous" as const]])]) {
      const result = Argument.relativeTo(0x1200n, parts, known)
      assert.isTrue(Result.isFailure(result) && result.failure.reason === "Argument")
    }
  })

  // libbpf takes these for one argument of a register named "rsp) 8@(%rax".
  it("do not swallow their neighbours", () => {
    assert.deepStrictEqual(read("8@(%rsp) 8@(%rax,%rbx,1)").map(({ location }) => location._tag), ["Memory", "Indexed"])
    assert.deepStrictEqual(read("-4@-20(%rbp) 4@(%rax,%rbx)").map(({ location }) => location._tag), [
      "Memory",
      "Indexed"
    ])
  })

  it("on the other architectures follow their assemblers", () => {
    assert.deepStrictEqual(read("4@[x1, -8] 8@[sp] 8@5 8@x30 4@w3", "arm64").map(({ location }) => location), [
      memory("x1", -8n),
      memory("sp", 0n),
      constant(5n),
      register("x30"),
      register("w3")
    ])
    assert.deepStrictEqual(read("4@[fp, #-8] -1@#3 4@r0 4@[r3]", "arm").map(({ location }) => location), [
      memory("fp", -8n),
      constant(3n),
      register("r0"),
      memory("r3", 0n)
    ])
    assert.deepStrictEqual(read("8@%r2 -4@164(%r15) 4@5", "s390x").map(({ location }) => location), [
      register("r2"),
      memory("r15", 164n),
      constant(5n)
    ])
    assert.deepStrictEqual(read("8@a0 -4@-20(s0) 4@5", "riscv64").map(({ location }) => location), [
      register("a0"),
      memory("s0", -20n),
      constant(5n)
    ])
  })

  it("tolerate blanks where they divide nothing", () => {
    assert.deepStrictEqual(read("  8 @ %rax\t4@( %rbp , %rax , 4 )\n", "x86-64"), read("8@%rax 4@(%rbp,%rax,4)"))
    assert.lengthOf(read("4@[ x1 ,  8 ] 8@x2", "arm64"), 2)
  })

  it("are refused by their place and with the reason", () => {
    assert.strictEqual(
      refused("8@%rax 8@%zmm0").message,
      "argument 1, \"8@%zmm0\": zmm0 is no register that BPF programs can read on x86-64"
    )
    const cases: ReadonlyArray<readonly [string, string, Argument.Architecture?]> = [
      ["3@%rax", "Argument"],
      ["16@%rax", "Argument"],
      ["8f@%xmm0", "Argument"],
      ["8@(%rax", "Argument"],
      ["8@%rax)", "Argument"],
      ["8@(,%rax,8)", "Argument"],
      ["8@(%rax,%rbx,3)", "Argument"],
      ["8@counter@GOTPCREL(%rip)", "Argument"],
      ["8@counter(%rax)", "Argument"],
      ["8@counter+counter(%rip)", "Argument"],
      ["4@counter(%rip)", "Argument", "i386"],
      ["8@$0x10", "Argument"],
      ["8@$18446744073709551616", "Argument"],
      ["8@%fs:16", "Argument"],
      ["%rax", "Argument"],
      ["8%rax", "Argument"],
      ["8@", "Argument"],
      ["8@%ip", "Register"],
      ["8@%ah", "Register"],
      ["8@(%ah)", "Register"],
      ["8@%r16", "Register"],
      ["8@%r08", "Register"],
      ["8@%rax", "Register", "i386"],
      ["4@%r8d", "Register", "i386"],
      ["8@w0", "Register", "arm64"],
      ["8@x31", "Register", "arm64"],
      ["8@x3foo", "Register", "arm64"],
      ["8@[w3]", "Register", "arm64"],
      ["8@[x3], 4", "Argument", "arm64"],
      ["8@%r16", "Register", "s390x"],
      ["8@(%r1)", "Argument", "s390x"],
      ["8@pc", "Register", "riscv64"],
      ["8@x5", "Register", "riscv64"],
      ["4@r16", "Register", "arm"],
      ["4@constructor", "Argument", "arm"],
      ["4@valueof", "Register", "arm"]
    ]
    for (const [text, reason, architecture] of cases) {
      assert.strictEqual(refused(text, architecture).reason, reason, `${text} on ${architecture ?? "x86-64"}`)
    }
  })

  it("in the second byte of a register are there for arguments of one byte", () => {
    assert.deepStrictEqual(read("-1@%ah"), [{ size: 1, signed: true, location: register("ah") }])
    assert.strictEqual(Argument.registerOffset("x86-64", "ah", 1), 81)
  })

  it("are in registers where the kernel saves them", () => {
    const places: ReadonlyArray<readonly [Argument.Architecture, string, number]> = [
      ["x86-64", "rdi", 112],
      ["x86-64", "edi", 112],
      ["x86-64", "dil", 112],
      ["x86-64", "r15b", 0],
      ["x86-64", "esp", 152],
      ["i386", "esp", 60],
      ["i386", "ebx", 0],
      ["arm64", "x30", 240],
      ["arm64", "sp", 248],
      ["arm", "pc", 60],
      ["s390x", "r15", 144],
      ["riscv64", "ra", 8],
      ["riscv64", "a0", 80],
      ["riscv64", "t6", 248]
    ]
    for (const [architecture, register, offset] of places) {
      assert.strictEqual(Argument.registerOffset(architecture, register, 4), offset, `${register} on ${architecture}`)
    }
  })

  it("of hostile texts cost no more than reading them", () => {
    const megabyte = 1 << 20
    for (const part of ["(", "[", " ", "8@ ", "@", "8@( ", "8@(%rax,", "1", "8@%rax "]) {
      const text = part.repeat(megabyte / part.length)
      const start = cpuTime()
      Argument.parse("x86-64", text)
      Argument.parse("arm64", `${text}]`)
      assertQuick(cpuTime() - start, 8000, JSON.stringify(part))
    }
    assert.strictEqual(refused("8@%rax ".repeat(65)).reason, "TooManyArguments")
    assert.isBelow(refused(`8@${"x".repeat(megabyte)}`).message.length, 300)
  })
})
