/** Refusals explained: the place, what was known, the way there; and what becomes of logs that are no logs. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as VerifierLogExplanation from "../../../src/diagnostics/VerifierLogExplanation.ts"
import * as VerifierLogParse from "../../../src/diagnostics/VerifierLogParse.ts"
import * as VerifierLogPath from "../../../src/diagnostics/VerifierLogPath.ts"
import * as VerifierLogState from "../../../src/diagnostics/VerifierLogState.ts"
import * as VerifierLogWords from "../../../src/diagnostics/VerifierLogWords.ts"
import { cpuTime } from "../../support/CpuTime.ts"

const nullPointer = `0: R1=ctx() R10=fp0
; int key = 7; @ count.bpf.c:19
0: (b7) r1 = 7                        ; R1_w=7
1: (63) *(u32 *)(r10 -4) = r1         ; R1_w=7 R10=fp0 fp-8=7????
2: (bf) r2 = r10                      ; R2_w=fp0 R10=fp0
3: (07) r2 += -4                      ; R2_w=fp-4
; struct entry *e = bpf_map_lookup_elem(&entries, &key); @ count.bpf.c:21
4: (18) r1 = 0xffff888100ab2000       ; R1_w=map_ptr(map=entries,ks=4,vs=16)
6: (85) call bpf_map_lookup_elem#1    ; R0_w=map_value_or_null(id=1,map=entries,ks=4,vs=16)
; if (mode) @ count.bpf.c:22
7: (15) if r6 == 0x0 goto pc+1        ; R6=scalar()
; e->count++; @ count.bpf.c:23
8: (79) r1 = *(u64 *)(r0 +8)
R0 invalid mem access 'map_value_or_null'
processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0
`

const words = (value: string, name = "R1"): string => VerifierLogWords.describe(VerifierLogState.register(name, value))

describe("VerifierLogExplanation.of", () => {
  it("tells place, instruction, what was known and the way there", () => {
    const explanation = VerifierLogExplanation.of({
      program: "count",
      log: nullPointer,
      instruction: 8,
      file: "count.bpf.c",
      line: 23,
      column: 6,
      indent: 2,
      source: "e->count++;"
    })
    assert.deepStrictEqual(explanation, {
      program: "count",
      cause: { id: "NullPointer", title: "pointer that may be NULL", subject: "map_value_or_null" },
      complaint: "R0 invalid mem access 'map_value_or_null'",
      place: { file: "count.bpf.c", line: 23, column: 6, text: "e->count++;", caret: { start: 3, end: 8 } },
      instruction: { at: 8, text: "r1 = *(u64 *)(r0 +8)" },
      known: [{
        name: "r0",
        words: "NULL or a value of map entries of 16 bytes",
        text: "map_value_or_null(id=1,map=entries,ks=4,vs=16)"
      }],
      related: [],
      path: [{
        at: 7,
        condition: "r6 != 0x0",
        taken: false,
        source: { text: "if (mode)", file: "count.bpf.c", line: 22 }
      }],
      pathBefore: 0,
      advice: "the pointer may be NULL: compare it with NULL before it is used"
    })
  })

  it("believes what the complaint says of a packet pointer, which a check of its copy has changed", () => {
    const log = `2: (61) r1 = *(u32 *)(r1 +0)          ; R1=pkt(r=0)
3: (bf) r3 = r1                       ; R1=pkt(r=0) R3=pkt(r=0)
4: (07) r3 += 14                      ; R3=pkt(off=14,r=0)
5: (2d) if r3 > r2 goto pc+4          ; R2=pkt_end() R3=pkt(off=14,r=14)
6: (71) r1 = *(u8 *)(r1 +23)
invalid access to packet, off=23 size=1, R1(id=0,off=23,r=14)
R1 offset is outside of the packet
`
    assert.deepStrictEqual(VerifierLogExplanation.of({ program: "parse", log }).known, [
      { name: "r1", words: "the packet, of which 14 bytes are known to be there", text: "pkt(r=0)" }
    ])
  })

  it("takes the line from the log where the object has none, then without a caret", () => {
    const { place } = VerifierLogExplanation.of({ program: "count", log: nullPointer })
    assert.deepStrictEqual(place, { file: "count.bpf.c", line: 23, text: "e->count++;" })
  })

  it("takes the reason, the place and what to do from the report of newer kernels", () => {
    const explanation = VerifierLogExplanation.of({
      program: "reader",
      log: `7: (79) r0 = *(u64 *)(r6 +0)
R6 invalid mem access 'map_value_or_null'

Verification failed: Register Type Safety: Invalid dereference

Reason:
  R6 may be NULL here.

At:
  reader @ prog.bpf.c:12:9
  Source context:
  >>> 12 |   return *value;
  Instruction context:
  >>> 7 | (79) r0 = *(u64 *)(r6 +0)

Suggestion:
  Add a NULL check before the access.
`
    })
    assert.deepInclude(explanation, { reason: "R6 may be NULL here.", advice: "Add a NULL check before the access." })
    assert.deepStrictEqual(explanation.place, { file: "prog.bpf.c", line: 12, column: 9, text: "return *value;" })
  })

  it("puts the caret on the word, the call or the operator of the column, which counts bytes", () => {
    const meant = (source: string, column: number, indent = 0): string => {
      const { place } = VerifierLogExplanation.of({ program: "p", log: "", source, column, indent, line: 1 })
      return place?.caret === undefined ? "" : place.text.slice(place.caret.start, place.caret.end)
    }
    assert.strictEqual(meant("flow->packets++;", 7), "packets")
    assert.strictEqual(meant("x = lookup(&map, (int *)&key) + 1;", 5), "lookup(&map, (int *)&key)")
    assert.strictEqual(meant("x = lookup(&map,", 5), "lookup")
    assert.strictEqual(meant("a += b;", 3), "+=")
    assert.strictEqual(meant("return x;", 3, 2), "return")
    // Columns count bytes; a letter may have several.
    assert.strictEqual(meant("größe = länge + 1;", 11), "länge")
    assert.strictEqual(meant("/* 𝔸 */ f(x);", 12), "f(x)")
    for (const column of [0, -1, 1e9, Number.NaN]) assert.strictEqual(meant("return x;", column), "")
    assert.strictEqual(meant("return x;", 1, 7), "")
  })

  it("names what was never written, what a call took away, and where a reference came from", () => {
    const known = (log: string) =>
      VerifierLogExplanation.of({ program: "p", log }).known.map(({ name, words }) => [name, words])
    assert.deepStrictEqual(known("0: R1=ctx() R10=fp0\n0: (95) exit\nR0 !read_ok\n"), [[
      "r0",
      "never written on this path"
    ]])
    assert.deepStrictEqual(
      known(
        "0: R1=ctx() R6=sock(ref_obj_id=2) R10=fp0 refs=2\n1: (85) call bpf_sk_release#86        ; R0_w=scalar()\n" +
          "2: (61) r0 = *(u32 *)(r6 +0)\nR6 invalid mem access 'scalar'\n"
      ),
      [["r6", "no longer a socket"]]
    )
    // What was handed to a call is nobody's any more behind it.
    assert.deepStrictEqual(
      known(
        "0: (b7) r1 = 7 ; R1_w=7\n1: (85) call bpf_ktime_get_ns#5 ; R0_w=scalar()\n2: (0f) r0 += r1\nR1 !read_ok\n"
      ),
      [["r1", "never written on this path"], ["r0", "any number"]]
    )
    const leak = VerifierLogExplanation.of({
      program: "p",
      log:
        "; e = bpf_ringbuf_reserve(&r, 8, 0); @ p.c:4\n4: (85) call bpf_ringbuf_reserve#131 ; R0_w=ringbuf_mem_or_null\n" +
        "; return 0; @ p.c:9\n9: (95) exit\nUnreleased reference id=2 alloc_insn=4\n"
    })
    assert.deepStrictEqual(leak.related, [{
      what: "the reference was acquired here",
      at: 4,
      place: { file: "p.c", line: 4, text: "e = bpf_ringbuf_reserve(&r, 8, 0);" }
    }])
  })

  it("tells of the stack that a call reads", () => {
    const { known } = VerifierLogExplanation.of({
      program: "p",
      log: "0: (bf) r2 = r10 ; R2_w=fp0 R10=fp0 fp-16=????mmmm\n1: (07) r2 += -16 ; R2_w=fp-16\n" +
        "2: (85) call bpf_map_lookup_elem#1\ninvalid read from stack R2 off -16+4 size 8\n"
    })
    assert.deepStrictEqual(known.map(({ name, words }) => [name, words]), [
      ["r2", "the address of the stack, 16 bytes below its top"],
      ["fp-16", "a slot of which 4 of 8 bytes were never written"]
    ])
  })

  it("takes no more of a text than people read, and no more time than the end of a log takes", () => {
    const start = cpuTime()
    const long = "a".repeat(100_000)
    const flood = `${nullPointer.split("\n").slice(0, 4).join("\n")}\n`.repeat(200_000) + nullPointer
    assert.isAbove(flood.length, 20_000_000)
    const explanation = VerifierLogExplanation.of({ program: long, log: flood, source: long, hint: long })
    assert.strictEqual(explanation.cause?.id, "NullPointer")
    assert.strictEqual(explanation.known[0]?.name, "r0")
    assert.isBelow(JSON.stringify(explanation).length, 20_000)
    // Lines that are no log, and one line of all of them.
    for (const text of ["nothing that is known\n", "nothing that is known "]) {
      const nothing = VerifierLogExplanation.of({ program: "p", log: text.repeat(500_000) })
      assert.isBelow(JSON.stringify(nothing).length, 20_000)
    }
    assert.isBelow((cpuTime() - start) / 1000, 10)
    assert.isAtMost(VerifierLogParse.parse("word\n".repeat(200_000)).complaint.length, 2000)
  })

  it("explains any text", () => {
    const pieces = [
      ...nullPointer.split(/(?<=\n)|(?<=[ =(),])/),
      "\u001b[2J",
      "\u202e",
      "\0",
      "frame1:",
      "from 7 to 9: "
    ]
    fc.assert(fc.property(
      fc.array(fc.constantFrom(...pieces), { maxLength: 40 }),
      fc.array(fc.constantFrom("e", "(", ")", " ", "+", "ö", "漢", "𝔸", "\ud800", "\t", "\u202e"), { maxLength: 20 }),
      fc.integer(),
      fc.integer({ min: -5, max: 50 }),
      (parts, letters, column, indent) => {
        const source = letters.join("")
        const { place } = VerifierLogExplanation.of({ program: "p", log: parts.join(""), source, column, indent })
        if (place?.caret === undefined) return
        assert.isBelow(place.caret.start, place.caret.end)
        assert.isAtMost(place.caret.end, place.text.length)
      }
    ))
  })
})

/** A program of jumps as the verifier walks through it: straight on first, then back for the other sides, the last one first. */
const walk = (jumps: ReadonlyArray<number>, steps: number) => {
  const lines: Array<string> = []
  type Way = ReadonlyArray<readonly [at: number, taken: boolean]>
  const left: Array<{ readonly from: number; readonly to: number; readonly way: Way }> = []
  let at = 0
  let way: Way = []
  for (let step = 0; step < steps; step++) {
    const offset = jumps[at]
    if (offset === undefined) {
      lines.push(`${at}: (95) exit`)
      const next = left.pop()
      if (next === undefined) break
      lines.push(`from ${next.from} to ${next.to}: R1=ctx() R10=fp0`)
      at = next.to
      way = next.way
      continue
    }
    if (offset === 0) {
      lines.push(`${at}: (b7) r0 = ${at} ; R0_w=${at}`)
      at++
      continue
    }
    lines.push(`${at}: (15) if r${at % 5} == 0x0 goto pc+${offset} ; R0_w=0`)
    left.push({ from: at, to: at + 1 + offset, way: [...way, [at, true]] })
    way = [...way, [at, false]]
    at++
  }
  lines.push(`${at}: (79) r0 = *(u64 *)(r9 +0)`)
  return { log: lines.join("\n"), way }
}

describe("VerifierLogPath.of", () => {
  const told = (log: string) =>
    VerifierLogPath.of(VerifierLogParse.parse(log).entries).map(({ at, taken }) => [at, taken] as const)
  const program = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 25 })

  it("is the way that the verifier went", () => {
    fc.assert(fc.property(program, fc.integer({ min: 0, max: 200 }), (jumps, steps) => {
      const { log, way } = walk(jumps, steps)
      assert.deepStrictEqual(told(log), way)
    }))
  })

  it("is another one for who takes returns for what follows", () => {
    // Named fault: without the returns all jumps that were seen would be on the way.
    const { log, way } = walk([1, 0, 2, 0, 0], 9)
    const naive = told(log.split("\n").filter((line) => !line.startsWith("from")).join("\n"))
    assert.notDeepEqual(naive, way)
    assert.deepStrictEqual(told(log), way)
  })

  it("says what held", () => {
    const conditions = (words: string, taken: boolean) =>
      VerifierLogPath.of(
        VerifierLogParse.parse(`3: (15) if ${words} goto pc+2\n${taken ? 6 : 4}: (95) exit\n`).entries
      ).map(({ condition }) => condition)
    assert.deepStrictEqual(conditions("r0 == 0x0", false), ["r0 != 0x0"])
    assert.deepStrictEqual(conditions("w1 s> 0xff", true), ["w1 s> 0xff"])
    assert.deepStrictEqual(conditions("w1 s> 0xff", false), ["w1 s<= 0xff"])
    assert.deepStrictEqual(conditions("r2 & 0x4", false), ["(r2 & 0x4) == 0x0"])
    assert.deepStrictEqual(conditions("r2 what r3 is", false), ["not r2 what r3 is"])
  })
})

describe("VerifierLogWords.describe", () => {
  it("says what a value is, in the words of all kernels", () => {
    assert.strictEqual(words("7"), "the number 7")
    assert.strictEqual(words("0xffffffffffffffff"), "the number 0xffffffffffffffff")
    assert.strictEqual(words("scalar()"), "any number")
    assert.strictEqual(
      words("scalar(smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))"),
      "a number between 0 and 255"
    )
    assert.strictEqual(words("inv(id=0,umax_value=255,var_off=(0x0; 0xff))"), "a number between 0 and 255")
    assert.strictEqual(words("scalar(smin=-5,smax=3)"), "a number between -5 and 3")
    assert.strictEqual(words("scalar(smin=0xffffffff80000000,smax=smax32=15)"), "a number between -2147483648 and 15")
    assert.strictEqual(words("scalar(umin=1)"), "a number of at least 1")
    assert.strictEqual(words("scalar(smax=9)"), "a number of at most 9, which may be negative")
    assert.strictEqual(words("scalar(umax32=15)"), "a number whose lower 32 bits are at most 15")
    assert.strictEqual(words("ctx()"), "the context")
    assert.strictEqual(words("ctx(off=8)"), "the context, 8 bytes behind its start")
    assert.strictEqual(words("fp-8"), "the address of the stack, 8 bytes below its top")
    assert.strictEqual(
      words("fp(off=-16,smin=0,smax=umax=255,var_off=(0x0; 0xff))"),
      "the address of the stack, 16 bytes below its top, moved by a number between 0 and 255"
    )
    assert.strictEqual(words("fp[0]-16"), "the address of the stack, 16 bytes below its top")
    assert.strictEqual(words("fp0xfffffffffffffff0"), "the address of the stack, 16 bytes below its top")
    assert.strictEqual(words("map_ptr(map=flows,ks=4,vs=8)"), "map flows")
    assert.strictEqual(
      words("map_value(map=flows,ks=4,vs=8,smin=umin=0,smax=umax=255,var_off=(0x0; 0xff))"),
      "a value of map flows of 8 bytes, moved by a number between 0 and 255"
    )
    assert.strictEqual(
      words("map_value(off=-8,ks=4,vs=8)"),
      "a value of a map of 8 bytes, 8 bytes in front of its start"
    )
    assert.strictEqual(
      words("pkt(off=14,r=0)"),
      "the packet, 14 bytes behind its start, of which no byte is known to be there"
    )
    assert.strictEqual(words("pkt(r=1)"), "the packet, of which 1 byte is known to be there")
    assert.strictEqual(words("ptr_or_null_sock(id=1)"), "NULL or a struct sock of the kernel")
    assert.strictEqual(words("rcu_ptr_or_null_cgroup(id=1)"), "NULL or a struct cgroup of the kernel under RCU")
    assert.strictEqual(words("trusted_ptr_task_struct()"), "a struct task_struct of the kernel")
    assert.strictEqual(words("ringbuf_mem_or_null(id=2,ref_obj_id=2,sz=8)"), "NULL or memory of 8 bytes")
    assert.strictEqual(words("tcp_sock(id=1)"), "a TCP socket")
    assert.strictEqual(words("mmmmmmmm", "fp-8"), "bytes of which nothing is known")
    assert.strictEqual(words("????????", "fp-8"), "a slot of which 8 of 8 bytes were never written")
    assert.strictEqual(words("what_is_new(x=1)"), "what the kernel calls what_is_new(x=1)")
  })

  it("has words for any value, and not too many", () => {
    const value = fc.array(
      fc.constantFrom(
        "map_value",
        "_or_null",
        "scalar",
        "(",
        ")",
        "umax=",
        "smin=",
        "0x",
        "-",
        "ff",
        ",",
        "map=",
        "pkt",
        "fp",
        "?",
        "m",
        "P",
        "\u001b"
      ),
      { maxLength: 30 }
    ).map((parts) => parts.join(""))
    fc.assert(fc.property(value, fc.constantFrom("R3", "fp-16"), (value, name) => {
      assert.isBelow(words(value, name).length, 500)
    }))
  })
})
