/** Machine code taken apart and listed: whole, whatever the bytes are. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as fc from "fast-check"
import { jitedJson } from "../../../src/cli/json/JitedDocument.ts"
import { type Disassemble, make, operandsOf } from "../../../src/cli/prog/Disassembler.ts"
import * as Jited from "../../../src/cli/prog/Jited.ts"
import { jitedText } from "../../../src/cli/text/JitedText.ts"
import { plain, render } from "../../../src/cli/text/Text.ts"
import type { MachineCode, ProgInfo } from "../../../src/services/Kernel/KernelCall.ts"

const none = { recordSize: 0, records: new Uint8Array() }

const infoOf = (machineCode: MachineCode, jitedSymbols: ReadonlyArray<bigint>): ProgInfo => ({
  id: 1,
  type: 6,
  name: "p",
  tag: "0011223344556677",
  gplCompatible: true,
  xlatedLength: 8,
  jitedLength: machineCode.bytes.length,
  mapIds: [],
  btfId: 0,
  funcInfo: none,
  lineInfo: none,
  verifiedInstructions: 1,
  loadTime: 0n,
  createdByUid: 0,
  ifindex: 0,
  runTime: 0n,
  runCount: 0n,
  recursionMisses: 0n,
  attachBtfObjectId: 0,
  attachBtfId: 0,
  jitedSymbols,
  machineCode
})

const scope = Scope.makeUnsafe()
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const made = new Map<string, Promise<Disassemble | undefined>>()

/** Takes code of a processor apart; loaded once, which takes longer than a test. */
const taking = async <A>(architecture: string, body: (disassemble: Disassemble) => A): Promise<A> => {
  const loading = made.get(architecture) ?? Effect.runPromise(Scope.provide(make(architecture), scope))
  made.set(architecture, loading)
  return body(await loading ?? assert.fail("@alexaltea/capstone-js is not installed"))
}

const listed = (disassemble: Disassemble, code: ReadonlyArray<number>, address = 0xffff_ffff_c000_1000n) =>
  disassemble(Uint8Array.from(code), address).map(({ operands, operation, pc }) =>
    `${pc} ${operation} ${operands.join(", ")}`.trim()
  )

describe("machine code", () => {
  it("of x86-64 is told in the order of AT&T", () =>
    taking("x64", (disassemble) => {
      assert.deepStrictEqual(
        listed(disassemble, [0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5, 0xf0, 0x48, 0x0f, 0xc1, 0x0f, 0xeb, 0xfe]),
        ["0 endbr64", "4 pushq %rbp", "5 movq %rsp, %rbp", "8 lock xaddq %rcx, (%rdi)", "13 jmp 0xffffffffc000100d"]
      )
      // 06 is no instruction of 64-bit code, and e8 goes on beyond the end.
      assert.deepStrictEqual(listed(disassemble, [0x06, 0xc3, 0xe8]), ["0 .byte 0x06", "1 retq", "2 .byte 0xe8"])
    }))

  it("of arm64 is told, too, and of others not", async () => {
    await taking("arm64", (disassemble) => {
      assert.deepStrictEqual(listed(disassemble, [0xfd, 0x7b, 0xbf, 0xa9, 0xc0, 0x03, 0x5f, 0xd6]), [
        "0 stp x29, x30, [sp, #-0x10]!",
        "4 ret"
      ])
    })
    assert.isUndefined(await Effect.runPromise(Effect.scoped(make("riscv64"))))
  })

  const covers = (disassemble: Disassemble): void =>
    fc.assert(
      fc.property(
        fc.oneof({ weight: 20, arbitrary: fc.uint8Array({ maxLength: 200 }) }, {
          weight: 1,
          arbitrary: fc.uint8Array({ minLength: 2000, maxLength: 3000 })
        }),
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        (code, address) => {
          let pc = 0
          for (const insn of disassemble(code, address)) {
            assert.strictEqual(insn.pc, pc)
            assert.isAtLeast(insn.length, 1)
            pc += insn.length
          }
          assert.strictEqual(pc, code.length)
        }
      ),
      { numRuns: 60 }
    )

  for (const architecture of ["x64", "arm64"]) {
    it(`any bytes of ${architecture} are taken apart to the last, each once`, () => taking(architecture, covers))
  }

  it("named fault: what ends at bytes that are no instruction is told", () =>
    taking("x64", (disassemble) => {
      assert.throws(() =>
        covers((code, address) => {
          const insns = disassemble(code, address)
          const end = insns.findIndex(({ operation }) => operation === ".byte")
          return end < 0 ? insns : insns.slice(0, end)
        })
      )
    }))

  it("instructions at the seams of what is taken apart at once are whole", () =>
    taking("x64", (disassemble) => {
      // Ten bytes each, which no power of two is a multiple of.
      const one = [0x49, 0xbb, 1, 2, 3, 4, 5, 6, 7, 8]
      const insns = disassemble(Uint8Array.from(Array.from({ length: 500 }, () => one).flat()), 0n)
      assert.lengthOf(insns, 500)
      assert.isTrue(insns.every(({ operation }) => operation === "movabsq"))
    }))

  it("operands end at the commas between them", () => {
    assert.deepStrictEqual(operandsOf("%rax, 8(%rbx, %rcx, 4)"), ["%rax", "8(%rbx, %rcx, 4)"])
    assert.deepStrictEqual(operandsOf("{v0.16b, v1.16b}, [x0], #32"), ["{v0.16b, v1.16b}", "[x0]", "#32"])
    assert.deepStrictEqual(operandsOf(""), [])
  })
})

describe("a listing of machine code", () => {
  const address = 0xffff_ffff_c000_0000n
  const bytes = Uint8Array.of(0xeb, 0xfe, 0xc3, 0xc3)
  const info = infoOf({ bytes, functionLengths: [3, 1], lineAddresses: [] }, [address, address + 64n])
  const hostile = "evil\u001b[2J"

  it("has the functions by their symbols; jumps by where they lead to", () =>
    taking("x64", (disassemble) => {
      const symbols = { callBase: undefined, names: new Map([[address, hostile]]) }
      const functions = Jited.list(info, { btf: undefined, symbols, disassemble })
      assert.deepStrictEqual(jitedJson(functions, { opcodes: true, linum: false }), [
        {
          name: hostile,
          insns: [
            { pc: "0x0", operation: "jmp", operands: ["0xffffffffc0000000"], opcodes: ["0xeb", "0xfe"] },
            { pc: "0x2", operation: "retq", operands: [null], opcodes: ["0xc3"] }
          ]
        },
        {
          name: "0xffffffffc0000040",
          insns: [{ pc: "0x0", operation: "retq", operands: [null], opcodes: ["0xc3"] }]
        }
      ])
      const text = render(jitedText(functions, { opcodes: false, linum: false }), plain)
      assert.include(text, "evil\\x1b[2J:\n   0: jmp 0xffffffffc0000000 <+0x0>\n")
      assert.notInclude(text, "\u001b")
    }))

  it("has bytes where nothing takes them apart, and unknown names where they are hidden", () => {
    const symbols = { callBase: undefined, names: new Map<bigint, string>() }
    const functions = Jited.list({ ...info, jitedSymbols: [] }, { btf: undefined, symbols, disassemble: undefined })
    assert.deepStrictEqual(jitedJson(functions, { opcodes: false, linum: false }), [
      { name: "unknown", opcodes: ["0xeb", "0xfe", "0xc3"] },
      { name: "unknown", opcodes: ["0xc3"] }
    ])
    assert.match(
      render(jitedText(functions, { opcodes: false, linum: false }), plain),
      /^unknown:\n {2}00000000 {2}eb fe c3/
    )
    const whole = infoOf({ bytes, functionLengths: [], lineAddresses: [] }, [])
    assert.lengthOf(Jited.list(whole, { btf: undefined, symbols, disassemble: undefined }), 1)
    const { machineCode: _, ...without } = info
    assert.deepStrictEqual(Jited.list(without, { btf: undefined, symbols, disassemble: undefined }), [])
  })
})
