/** The logs are what Linux 6.18 said of small programs, shortened. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as VerifierLog from "../../../src/diagnostics/VerifierLog.ts"
import { runs } from "../../support/Require.ts"
import { assertQuick, cpuTime } from "../../support/CpuTime.ts"

const processed = "processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"

const nullPointer = `0: R1=ctx() R10=fp0
; long *v = bpf_map_lookup_elem(&m, &k); @ bad.c:5
0: (b7) r1 = 1                        ; R1=1
6: (85) call bpf_map_lookup_elem#1    ; R0=map_value_or_null(id=1,map=m,ks=4,vs=8)
; return *v; @ bad.c:6
7: (79) r0 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
${processed}`

const packet = `0: R1=ctx() R10=fp0
0: (61) r1 = *(u32 *)(r1 +0)          ; R1=pkt(r=0)
1: (71) r0 = *(u8 *)(r1 +12)
invalid access to packet, off=12 size=1, R1(id=0,off=12,r=0)
R1 offset is outside of the packet
${processed}`

const loop = `2: (61) r1 = *(u32 *)(r10 -4)         ; R1=scalar(smin=0,smax=umax=0xffffffff) R10=fp0 fp-8=mmmm????
5: (05) goto pc-4
infinite loop detected at insn 2
cur state: R1=scalar(smin=umin=1,smax=umax=0x100000000,var_off=(0x0; 0x1ffffffff)) R10=fp0 fp-8=mmmm????
old state: R1=scalar(smin=umin=1,smax=umax=0x100000000,var_off=(0x0; 0x1ffffffff)) R10=fp0 fp-8=mmmm????
${processed}`

const tooLarge = `8: (77) r1 >>= 32                     ; R1=0x970fe0
9: (bf) r7 = r0
BPF program is too large. Processed 1000001 insn
processed 1000001 insns (limit 1000000) max_states_per_insn 4 total_states 14288 peak_states 14288 mark_read 0
`

const stack = `combined stack size of 2 calls is 704. Too large
verification time 42 usec
stack depth 304+400
${processed}`

const leak = `8: (b7) r0 = 0                        ; R0=0 refs=2
9: (95) exit
Unreleased reference id=2 alloc_insn=4
BPF_EXIT instruction in main prog would lead to reference leak
${processed}`

describe("VerifierLog.summarise", () => {
  it("names the complaint, the instruction and its source line", () => {
    assert.strictEqual(
      VerifierLog.summarise(nullPointer),
      "R0 invalid mem access 'map_value_or_null'\nat 7: (79) r0 = *(u64 *)(r0 +0)\nin return *v; @ bad.c:6"
    )
  })

  it("keeps complaints of several lines, and does without a source line", () => {
    assert.strictEqual(
      VerifierLog.summarise(packet),
      "invalid access to packet, off=12 size=1, R1(id=0,off=12,r=0); R1 offset is outside of the packet\n" +
        "at 1: (71) r0 = *(u8 *)(r1 +12)"
    )
    assert.match(
      VerifierLog.summarise(leak),
      /^Unreleased reference id=2 alloc_insn=4; BPF_EXIT .*leak\nat 9: \(95\) exit$/
    )
  })

  it("leaves out states and statistics", () => {
    assert.strictEqual(VerifierLog.summarise(loop), "infinite loop detected at insn 2\nat 5: (05) goto pc-4")
    assert.strictEqual(
      VerifierLog.summarise(tooLarge),
      "BPF program is too large. Processed 1000001 insn\nat 9: (bf) r7 = r0"
    )
    assert.strictEqual(VerifierLog.summarise(stack), "combined stack size of 2 calls is 704. Too large")
  })

  it("says something of logs that it cannot read, and nothing of empty ones", () => {
    assert.strictEqual(VerifierLog.summarise(""), "")
    assert.strictEqual(VerifierLog.summarise("\n\n"), "")
    assert.strictEqual(
      VerifierLog.summarise("attach_btf_id 1 is not a function\n"),
      "attach_btf_id 1 is not a function"
    )
    assert.strictEqual(VerifierLog.summarise("0: (95) exit\n"), "at 0: (95) exit")
    assert.strictEqual(VerifierLog.summarise(processed), processed.trimEnd())
  })

  it("law: any text gives a text of bounded length, empty only where the log is", () => {
    const line = fc.oneof(
      fc.string({ maxLength: 2000 }),
      fc.constantFrom(...nullPointer.split("\n"), ...loop.split("\n"), "; x", "12: (85) call unknown#2001000000")
    )
    fc.assert(
      fc.property(fc.array(line, { maxLength: 30 }), (lines) => {
        const log = lines.join("\n")
        const summary = VerifierLog.summarise(log)
        assert.isAtMost(summary.length, 1001)
        assert.strictEqual(summary === "", log.trim() === "")
      }),
      { numRuns: runs(300) }
    )
  })

  it("takes time in proportion to the log", () => {
    const spaces = `0: (95) exit${" ".repeat(200_000)}\n`.repeat(5)
    const noise = "from 1 to 2: R0=1\n".repeat(200_000)
    const started = cpuTime()
    VerifierLog.summarise(spaces + noise)
    VerifierLog.explain(spaces + noise, () => undefined)
    VerifierLog.meaning(spaces + noise)
    assertQuick(cpuTime() - started, 10_000)
  })
})

describe("VerifierLog.meaning", () => {
  it("explains common complaints, the most specific first", () => {
    assert.match(VerifierLog.meaning(nullPointer) ?? "", /NULL/)
    assert.match(VerifierLog.meaning(packet) ?? "", /data_end/)
    assert.match(VerifierLog.meaning(loop) ?? "", /loop/)
    assert.match(VerifierLog.meaning(tooLarge) ?? "", /too many steps/)
    assert.match(VerifierLog.meaning(stack) ?? "", /512 bytes/)
    assert.match(VerifierLog.meaning(leak) ?? "", /released on every path/)
    assert.match(
      VerifierLog.meaning("1: (61) r0 = *(u32 *)(r1 +0)\nR1 invalid mem access 'scalar'\n") ?? "",
      /a number/
    )
  })

  it("is silent on others, and does not look at the rest of the log", () => {
    assert.isUndefined(VerifierLog.meaning(""))
    assert.isUndefined(VerifierLog.meaning("something new\n"))
    assert.isUndefined(
      VerifierLog.meaning(`R0 invalid mem access 'scalar'\n${"0: (95) exit\n".repeat(3)}something new\n`)
    )
  })
})

describe("VerifierLog.explain", () => {
  const poisoned = (helper: number) =>
    `0: R1=ctx() R10=fp0\n3: (85) call unknown#${helper}\ninvalid func unknown#${helper}\n${processed}`

  it("translates a missing map, kernel function and CO-RE relocation, and keeps the rest", () => {
    const named = (poison: VerifierLog.Poison) => `${poison.kind}/${poison.index}/${poison.at}`
    assert.strictEqual(
      VerifierLog.explain(poisoned(2_001_000_005), named),
      "0: R1=ctx() R10=fp0\n3: <invalid BPF map reference>\n" +
        `BPF map 'Map/5/3' is referenced but wasn't created\n${processed}`
    )
    assert.include(
      VerifierLog.explain(poisoned(2_002_000_000), named),
      "3: <invalid kfunc call>\nkfunc 'KernelFunction/0/3' is referenced but wasn't resolved\n"
    )
    assert.include(
      VerifierLog.explain(poisoned(195_896_080), () => "byte_off struct s.x"),
      "3: <invalid CO-RE relocation>\nfailed to resolve CO-RE relocation byte_off struct s.x\n"
    )
    assert.strictEqual(
      VerifierLog.summarise(VerifierLog.explain(poisoned(2_001_000_005), () => "events")),
      "BPF map 'events' is referenced but wasn't created\nat 3: <invalid BPF map reference>"
    )
  })

  it("leaves what nobody can name, and says which it is", () => {
    const log = poisoned(2_001_000_007)
    assert.strictEqual(VerifierLog.explain(log, () => undefined), log)
    assert.deepStrictEqual(VerifierLog.poisonIn(log), { kind: "Map", index: 7, at: 3 })
    assert.deepStrictEqual(VerifierLog.poisonIn(poisoned(2_002_000_041)), { kind: "KernelFunction", index: 41, at: 3 })
    assert.deepStrictEqual(VerifierLog.poisonIn(poisoned(195_896_080)), { kind: "CoreRelocation", index: 0, at: 3 })
    assert.isUndefined(VerifierLog.poisonIn(poisoned(195_896_081)))
    assert.isUndefined(VerifierLog.poisonIn(""))
  })

  it("means the same before and after", () => {
    const expected: ReadonlyArray<readonly [number, RegExp]> = [
      [2_001_000_007, /a map that was not created/],
      [2_002_000_007, /bpf_ksym_exists/],
      [195_896_080, /bpf_core_field_exists/]
    ]
    for (const [helper, words] of expected) {
      const log = poisoned(helper)
      assert.match(VerifierLog.meaning(log) ?? "", words)
      assert.match(VerifierLog.meaning(VerifierLog.explain(log, () => "x")) ?? "", words)
    }
  })

  it("law: a log without such a complaint near its end comes back as it is", () => {
    const other = fc.array(fc.oneof(fc.string(), fc.constantFrom(...packet.split("\n"))), { maxLength: 20 })
    fc.assert(
      fc.property(other, fc.integer({ min: 0, max: 1_999_999_999 }), (lines, helper) => {
        fc.pre(helper !== 195_896_080)
        const log = `${lines.join("\n")}\n3: (85) call unknown#${helper}\ninvalid func unknown#${helper}\n`
        assert.strictEqual(VerifierLog.explain(log, () => "x"), log)
      }),
      { numRuns: runs(200) }
    )
    const distant = poisoned(2_001_000_001) + "more\n".repeat(10)
    assert.strictEqual(VerifierLog.explain(distant, () => "x"), distant)
  })

  it("named fault: a complaint of another call than the line before is not translated", () => {
    const log = "3: (85) call unknown#2001000001\ninvalid func unknown#2001000002\n"
    assert.strictEqual(VerifierLog.explain(log, () => "x"), log)
    assert.notStrictEqual(VerifierLog.explain(log.replace("0002", "0001"), () => "x"), log)
  })
})
