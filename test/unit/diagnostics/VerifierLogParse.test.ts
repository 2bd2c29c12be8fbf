/** Logs as data, in the words of kernels of different years. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as VerifierLog from "../../../src/diagnostics/VerifierLog.ts"
import * as VerifierLogCause from "../../../src/diagnostics/VerifierLogCause.ts"
import { causes } from "../../../src/diagnostics/VerifierLogCauses.ts"
import * as VerifierLogParse from "../../../src/diagnostics/VerifierLogParse.ts"
import * as VerifierLogState from "../../../src/diagnostics/VerifierLogState.ts"
import { cpuTime } from "../../support/CpuTime.ts"

const classic = `func#0 @0
0: R1=ctx() R10=fp0
; struct entry *e = bpf_map_lookup_elem(&entries, &key); @ count.bpf.c:21
0: (bf) r2 = r10                      ; R2_w=fp0 R10=fp0
1: (07) r2 += -4                      ; R2_w=fp-4
2: (62) *(u32 *)(r10 -4) = 7          ; R10=fp0 fp-8=????7
3: (18) r1 = 0xffff888100ab2000       ; R1_w=map_ptr(map=entries,ks=4,vs=16)
5: (85) call bpf_map_lookup_elem#1    ; R0_w=map_value_or_null(id=1,map=entries,ks=4,vs=16)
; e->count++; @ count.bpf.c:23
6: (79) r1 = *(u64 *)(r0 +8)
R0 invalid mem access 'map_value_or_null'
verification time 71 usec
stack depth 4
processed 6 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 2 mark_read 3
`

/** Seconds of the processor that something takes. */
const seconds = (work: () => void): number => {
  const start = cpuTime()
  work()
  return (cpuTime() - start) / 1000
}

const causeIn = (log: string): string | undefined => VerifierLogCause.causeOf(VerifierLogParse.parse(log))?.id

describe("VerifierLogParse.parse", () => {
  it("reads instructions, what is known, lines of C, the complaint and what was counted", () => {
    const parsed = VerifierLogParse.parse(classic)
    assert.strictEqual(parsed.raw, classic)
    assert.deepStrictEqual(parsed.complaint, ["R0 invalid mem access 'map_value_or_null'"])
    assert.deepStrictEqual(parsed.instruction, { at: 6, text: "r1 = *(u64 *)(r0 +8)" })
    assert.deepStrictEqual(parsed.source, { text: "e->count++;", file: "count.bpf.c", line: 23 })
    assert.deepStrictEqual(parsed.statistics, {
      instructions: 6,
      limit: 1000000,
      maxStatesPerInstruction: 0,
      totalStates: 1,
      peakStates: 2,
      markRead: 3,
      microseconds: 71,
      stackDepths: [4]
    })
    assert.isFalse(parsed.isCut)
    assert.deepStrictEqual(
      parsed.registers.map(({ name, type }) => [name, type]),
      [["R10", "fp"], ["fp-8", "scalar"], ["R0", "map_value_or_null"]]
    )
    const cause = VerifierLogCause.causeOf(parsed)
    assert.deepInclude(cause, { id: "NullPointer", subject: "map_value_or_null" })
    assert.strictEqual(cause?.register?.known.get("vs"), "16")
  })

  it("reads the words of older kernels", () => {
    const parsed = VerifierLogParse.parse(`0: (b7) r2 = 5
1: (0f) r1 += r2
last_idx 1 first_idx 0
regs=4 stack=0 before 0: (b7) r2 = 5
 R0=invP(id=0,umax_value=255,var_off=(0x0; 0xff)) R1=inv5 R2=ctx(id=0,off=0,imm=0) R10=fp0
2: (61) r3 = *(u32 *)(r1 +0)
R1 invalid mem access 'inv'
processed 3 insns (limit 131072), stack depth 0
`)
    assert.deepStrictEqual(
      parsed.registers.map(({ constant, name, type }) => [name, type, constant]),
      [["R0", "scalar", undefined], ["R1", "scalar", 5n], ["R2", "ctx", undefined], ["R10", "fp", undefined]]
    )
    assert.strictEqual(parsed.registers[0]?.known.get("umax_value"), "255")
    assert.strictEqual(parsed.registers[0]?.known.get("var_off"), "(0x0; 0xff)")
    assert.strictEqual(VerifierLogCause.causeOf(parsed)?.id, "NotAPointer")
    assert.deepStrictEqual(parsed.entries.filter(({ _tag }) => _tag === "Precision").length, 2)
  })

  it("follows branches: what another path knew is forgotten", () => {
    const parsed = VerifierLogParse.parse(`0: R1=ctx() R10=fp0
0: (15) if r1 == 0x0 goto pc+1        ; R1=ctx()
1: (b7) r3 = 1                        ; R3_w=1
2: (95) exit
from 0 to 2: R1=ctx() R10=fp0
2: (95) exit
R0 !read_ok
`)
    assert.deepStrictEqual(parsed.registers.map(({ name }) => name), ["R1", "R10"])
    assert.deepStrictEqual(parsed.entries.find(({ _tag }) => _tag === "Branch"), {
      _tag: "Branch",
      from: 0,
      to: 2,
      safe: false,
      state: VerifierLogState.parse("R1=ctx() R10=fp0")!
    })
  })

  it("reads complaints behind a jump, and what is known there", () => {
    const parsed = VerifierLogParse.parse(
      "3: (15) if r0 == 0x0 goto pc-3 1: R0=0 R6=ctx() R10=fp0\n" +
        "3: (15) if r0 == 0x0 goto pc-3 infinite loop detected at insn 1\n" +
        "cur state: R0=0 R6=ctx() R10=fp0\nold state: R0=0 R6=ctx() R10=fp0\n"
    )
    assert.deepStrictEqual(parsed.complaint, ["infinite loop detected at insn 1"])
    assert.deepStrictEqual(parsed.instruction, { at: 3, text: "if r0 == 0x0 goto pc-3" })
    assert.strictEqual(parsed.registers.find(({ name }) => name === "R0")?.constant, 0n)
    assert.strictEqual(VerifierLogCause.causeOf(parsed)?.id, "UnboundedLoop")
  })

  it("knows what a call has made of a pointer", () => {
    const released = `0: R1=ctx() R6=sock(ref_obj_id=2) R10=fp0 refs=2
0: (bf) r1 = r6                       ; R1_w=sock(ref_obj_id=2) R6=sock(ref_obj_id=2) refs=2
1: (85) call bpf_sk_release#86        ; R0_w=scalar()
2: (61) r0 = *(u32 *)(r6 +0)
R6 invalid mem access 'scalar'
`
    assert.strictEqual(causeIn(released), "InvalidatedPointer")
    const moved = `0: R1=ctx() R6=pkt(r=8) R10=fp0
0: (85) call pc+2
caller:
 R6=pkt(r=8) R10=fp0
callee:
 frame1: R1=ctx() R10=fp0
3: (85) call bpf_xdp_adjust_head#44   ; frame1: R0=scalar()
4: (95) exit
returning from callee:
 frame1: R0=scalar() R10=fp0
to caller at 1:
 R0=scalar() R6=scalar() R10=fp0
1: (79) r0 = *(u64 *)(r6 +0)
R6 invalid mem access 'scalar'
`
    const parsed = VerifierLogParse.parse(moved)
    assert.strictEqual(VerifierLogCause.causeOf(parsed)?.subject, "pkt")
    assert.strictEqual(parsed.frame, 0)
    // A number that an instruction made is no pointer that was lost.
    const made = moved.replace("1: (79)", "1: (b7) r6 = 8                        ; R6_w=8\n2: (79)")
    assert.strictEqual(causeIn(made), "NotAPointer")
  })

  it("reads counts that stand in the line of a complaint", () => {
    const log = `3: (85) call bpf_tail_call#12
expected prog array map for tail callprocessed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`
    const parsed = VerifierLogParse.parse(log)
    assert.deepStrictEqual(parsed.complaint, ["expected prog array map for tail call"])
    assert.strictEqual(parsed.statistics?.instructions, 3)
    assert.strictEqual(VerifierLog.summarise(log).split("\n")[0], "expected prog array map for tail call")
  })

  it("says whether the beginning is missing, and goes on at any place", () => {
    for (let at = 0; at < classic.length; at++) {
      const end = VerifierLogParse.parse(classic.slice(at))
      assert.strictEqual(end.raw.length, classic.length - at)
      const start = VerifierLogParse.parse(classic.slice(0, at))
      assert.isAtMost(start.entries.length, classic.split("\n").length)
    }
    const tail = VerifierLogParse.parse(classic.slice(classic.indexOf("5: (85)")))
    assert.isTrue(tail.isCut)
    assert.strictEqual(VerifierLogCause.causeOf(tail)?.id, "NullPointer")
  })

  it("keeps the last entries of long logs, and reads all", () => {
    const long = "1: (b7) r0 = 0                        ; R0_w=0\n".repeat(50_000) + classic
    const used = seconds(() => {
      const parsed = VerifierLogParse.parse(long, { keep: 20 })
      assert.lengthOf(parsed.entries, 20)
      assert.strictEqual(parsed.dropped + 20, VerifierLogParse.parse(long, { keep: 1e6 }).entries.length)
      assert.deepStrictEqual(parsed.complaint, ["R0 invalid mem access 'map_value_or_null'"])
    })
    assert.isBelow(used, 10)
  })

  it("reads any text in time that its length allows", () => {
    const pieces = [
      "(",
      ")",
      "R0=",
      "fp-8=",
      " ",
      ",",
      "=",
      "0: (79) ",
      "; ",
      "\n",
      "from 1 to 2: ",
      "frame1:",
      "a",
      "  | ^-- e: "
    ]
    fc.assert(fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 300 }), (parts) => {
      const text = parts.join("")
      const parsed = VerifierLogParse.parse(text)
      assert.strictEqual(parsed.raw, text)
      VerifierLogCause.causeOf(parsed)
      VerifierLog.summarise(text)
    }))
    for (const piece of pieces) {
      const used = seconds(() => VerifierLogParse.parse(piece.repeat(300_000)))
      assert.isBelow(used, 5, piece)
    }
  })
})

const report = `0: R1=ctx() R10=fp0
; return *value; @ prog.bpf.c:12
7: (79) r0 = *(u64 *)(r6 +0)
R6 invalid mem access 'map_value_or_null'

Verification failed: Register Type Safety: Invalid dereference

Reason:
  R6 may be NULL here (a nullable map value pointer). The program could dereference NULL on this path,
  so the verifier cannot prove this access is safe.

At:
  reader @ prog.bpf.c:12:9
  Source context:
      11 |   value = bpf_map_lookup_elem(&map, &key);
  >>> 12 |   return *value;
         |   ^-- error: invalid dereference of R6 (a nullable map value
         |       pointer)
      13 | }
  Instruction context:
      6 | r6 = r0
  >>> 7 | (79) r0 = *(u64 *)(r6 +0)
      8 | (95) exit

Causal path:
  reader @ prog.bpf.c:11:11
  Source context:
  >>> 11 |   value = bpf_map_lookup_elem(&map, &key);
         |   ^-- update: R0 changed from uninitialized value to nullable map value from map at offset 0
  Instruction context:
  >>> 5 | (85) call bpf_map_lookup_elem#1

  insn 6
        | ^-- branch: took the false branch of this conditional, goto not followed
  Instruction context:
  >>> 6 | (15) if r0 == 0x5 goto pc+1

Suggestion:
  Add a NULL check before the access and dereference the pointer only on the non-NULL path.

processed 8 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`

describe("the report of newer kernels", () => {
  it("is read whole: the reason, the place, the path and the suggestion", () => {
    const parsed = VerifierLogParse.parse(report)
    assert.deepStrictEqual(parsed.complaint, ["R6 invalid mem access 'map_value_or_null'"])
    assert.strictEqual(parsed.statistics?.instructions, 8)
    assert.deepStrictEqual(parsed.report, {
      category: "Register Type Safety",
      problem: "Invalid dereference",
      reason:
        "R6 may be NULL here (a nullable map value pointer). The program could dereference NULL on this path, so the verifier cannot prove this access is safe.",
      at: {
        function: "reader",
        file: "prog.bpf.c",
        line: 12,
        column: 9,
        source: "return *value;",
        label: "error",
        remark: "invalid dereference of R6 (a nullable map value pointer)",
        instruction: 7,
        disassembly: "(79) r0 = *(u64 *)(r6 +0)"
      },
      path: [
        {
          function: "reader",
          file: "prog.bpf.c",
          line: 11,
          column: 11,
          source: "value = bpf_map_lookup_elem(&map, &key);",
          label: "update",
          remark: "R0 changed from uninitialized value to nullable map value from map at offset 0",
          instruction: 5,
          disassembly: "(85) call bpf_map_lookup_elem#1"
        },
        {
          instruction: 6,
          label: "branch",
          remark: "took the false branch of this conditional, goto not followed",
          disassembly: "(15) if r0 == 0x5 goto pc+1"
        }
      ],
      suggestion: "Add a NULL check before the access and dereference the pointer only on the non-NULL path.",
      others: new Map()
    })
    assert.deepInclude(VerifierLogCause.causeOf(parsed), {
      id: "NullPointer",
      advice: "Add a NULL check before the access and dereference the pointer only on the non-NULL path."
    })
    assert.strictEqual(
      VerifierLog.summarise(report).split("\n").slice(1).join("\n"),
      "at 7: (79) r0 = *(u64 *)(r6 +0)\nin return *value;"
    )
  })

  it("is read as far as it is there", () => {
    const beginning = report.indexOf("Verification failed")
    for (let end = beginning; end <= report.length; end++) {
      const parsed = VerifierLogParse.parse(report.slice(0, end))
      assert.strictEqual(VerifierLogCause.causeOf(parsed)?.id, "NullPointer")
    }
  })
})

describe("the table of causes", () => {
  it("tells apart what has nearly the same words", () => {
    const of = (complaint: string, state = ""): string | undefined =>
      causeIn(`5: (85) call bpf_map_lookup_elem#1    ${state}\n6: (61) r0 = *(u32 *)(r0 +0)\n${complaint}\n`)
    // A key of one byte, of which the helper reads four.
    assert.strictEqual(of("invalid read from stack R2 off=-1 size=4"), "StackBounds")
    assert.strictEqual(of("invalid read from stack R2 off -8+4 size 8"), "UninitialisedStack")
    assert.strictEqual(of("invalid read from stack off -8+0 size 8"), "UninitialisedStack")
    // NULL is a number to the verifier once it is known to be NULL.
    const followed = (value: string) =>
      VerifierLogCause.causeOf(
        VerifierLogParse.parse(
          `5: (b7) r0 = x    ; R0=${value}\n6: (61) r0 = *(u32 *)(r0 +0)\nR0 invalid mem access 'scalar'\n`
        )
      )
    assert.match(String(followed("0")?.advice), /the pointer is NULL on this path/)
    assert.match(String(followed("8")?.advice), /follows a number/)
    assert.strictEqual(of("map 'flows' has no valid bpf_spin_lock"), "MapTypeForHelper")
    assert.strictEqual(of("callback function not allowed for map"), "MapTypeForHelper")
    const held = "BPF_EXIT instruction in main prog cannot be used inside"
    assert.strictEqual(of(`${held} bpf_spin_lock-ed region`), "LockHeld")
    assert.strictEqual(of(`${held} bpf_rcu_read_lock-ed region`), "LockHeld")
    assert.strictEqual(of("unmatched rcu read unlock (kernel function bpf_rcu_read_unlock)"), "LockHeld")
    assert.strictEqual(of("cannot overwrite referenced dynptr"), "ReferenceLeak")
    assert.strictEqual(of("arg 1 is an unacquired reference"), "ReleaseOfUnowned")
  })

  it("has each name once, and a sentence of what to do", () => {
    assert.strictEqual(new Set(causes.map(({ id }) => id)).size, causes.length)
    for (const { advice, id, title } of causes) {
      assert.match(advice, /^[a-z].*[^.]$/, id)
      assert.match(title, /^[a-zA-Z].*[^.]$/, id)
    }
  })
})
