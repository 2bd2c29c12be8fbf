/** Refusals as text: the caret under what is meant, nothing that a terminal acts upon, lines that narrow terminals take. */
import { assert, describe, it } from "@effect/vitest"
import { displayWidth } from "effect/cli/CliOutput"
import * as fc from "fast-check"
import { explanationText } from "../../../src/cli/text/ExplanationText.ts"
import { errorText, reportOf } from "../../../src/cli/text/ErrorText.ts"
import { escape, plain, render } from "../../../src/cli/text/Text.ts"
import * as VerifierLogExplanation from "../../../src/diagnostics/VerifierLogExplanation.ts"
import { VerifierError } from "../../../src/services/Kernel/KernelError.ts"

const log = `0: R1=ctx() R10=fp0
; struct entry *e = bpf_map_lookup_elem(&entries, &key); @ count.bpf.c:21
6: (85) call bpf_map_lookup_elem#1    ; R0_w=map_value_or_null(id=1,map=entries,ks=4,vs=16)
; if (mode) @ count.bpf.c:22
7: (15) if r6 == 0x0 goto pc+1        ; R6=scalar()
; e->count++; @ count.bpf.c:23
8: (79) r1 = *(u64 *)(r0 +8)
R0 invalid mem access 'map_value_or_null'
processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0
`

const refusal = {
  program: "count",
  log,
  instruction: 8,
  file: "count.bpf.c",
  line: 23,
  column: 6,
  indent: 2,
  source: "e->count++;"
}

const shown = (more: Partial<VerifierLogExplanation.Refusal> = {}, columns?: number): string =>
  render(explanationText(VerifierLogExplanation.of({ ...refusal, ...more }), columns), plain)

/** The two lines of source and caret. */
const caretLines = (more: Partial<VerifierLogExplanation.Refusal>, columns?: number): readonly [string, string] => {
  const lines = shown(more, columns).split("\n")
  const at = lines.findIndex((line) => /^ *\| +\^|^ *\| \^/.test(line))
  return [lines[at - 1] ?? "", lines[at] ?? ""]
}

/** What stands above the carets, by the columns of a terminal. */
const underlined = ([source, carets]: readonly [string, string]): string => {
  const start = carets.indexOf("^")
  const end = carets.lastIndexOf("^") + 1
  let column = 0
  let text = ""
  for (const { segment } of new Intl.Segmenter("en").segment(source)) {
    if (column >= start && column < end) text += segment
    column += displayWidth(segment)
  }
  return text
}

const actedUpon = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/u

describe("explanationText", () => {
  it("shows the line of C, the caret, what was known and the way there", () => {
    assert.strictEqual(
      shown(),
      [
        "  --> count.bpf.c:23:6",
        "23 | e->count++;",
        "   |    ^^^^^",
        "  cause: pointer that may be NULL",
        "  instruction: 8: r1 = *(u64 *)(r0 +8)",
        "  known: r0 is NULL or a value of map entries of 16 bytes",
        "  path: r6 != 0x0 at instruction 7, count.bpf.c:22: if (mode)",
        ""
      ].join("\n")
    )
  })

  it("puts the caret under what is meant behind tabs, wide letters and what is escaped", () => {
    const at = (source: string, word: string) => {
      const column = new TextEncoder().encode(source.slice(0, source.indexOf(word))).length + 1
      return underlined(caretLines({ source, column, indent: 0 }))
    }
    assert.strictEqual(at("x =\t\tflow->count;", "count"), "count")
    assert.strictEqual(at("/* 漢字 */ flow->count;", "count"), "count")
    assert.strictEqual(at("漢 = 字体;", "字体"), "字体")
    assert.strictEqual(at("/*\u001b[2J\u202e*/ count++;", "count"), "count")
    // Named fault: a caret that is put by the number of characters is elsewhere.
    const [source, carets] = caretLines({ source: "/* 漢字 */ count++;", column: 14, indent: 0 })
    assert.strictEqual(underlined([source, carets]), "count")
    assert.notStrictEqual(underlined([source, carets.replace("  ", "")]), "count")
  })

  it("shows of long lines the part with the caret, on narrow terminals, too", () => {
    const source = `${"a + ".repeat(200)}count(x)${" + 漢".repeat(200)};`
    for (const columns of [1, 24, 40, 80, 200]) {
      const lines = caretLines({ source, column: 801, indent: 0 }, columns)
      for (const line of lines) assert.isAtMost(displayWidth(line), Math.max(columns, 30))
      assert.strictEqual(underlined(lines), "count(x)")
    }
    // What is meant may be longer than the terminal is wide.
    const [, carets] = caretLines({ source: "f".repeat(500), column: 1, indent: 0 }, 40)
    assert.match(carets, /^ +\| \^{20,36}$/)
  })

  it("never echoes what a terminal acts upon, and breaks what it is told", () => {
    const nasty = fc.constantFrom(
      "\u001b]0;title\u0007",
      "\u001b[2J",
      "\r",
      "\u202e",
      "\u2066",
      "\u009b31m",
      "\0",
      "\b",
      "\u2028",
      "漢",
      "\ufeff"
    )
    const lines = log.split("\n")
    const mutated = fc.array(
      fc.tuple(
        fc.nat(log.length),
        fc.oneof(nasty, fc.constantFrom(...lines), fc.string({ maxLength: 20 }))
      ),
      { maxLength: 12 }
    ).map((changes) =>
      changes.reduce((text, [at, put]) => text.slice(0, at) + put + text.slice(at + put.length % 7), log)
    )
    const name = fc.array(fc.oneof(nasty, fc.string({ maxLength: 5 })), { maxLength: 6 }).map((parts) => parts.join(""))
    const cutLog = fc.tuple(mutated, fc.nat(log.length), fc.nat(log.length)).map(([text, from, to]) =>
      text.slice(Math.min(from, to), Math.max(from, to) + 100)
    )
    fc.assert(fc.property(
      fc.oneof(mutated, cutLog),
      name,
      fc.integer({ min: 0, max: 60 }),
      fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
      (log, name, column, columns) => {
        const error = new VerifierError({
          program: name,
          errno: "EACCES",
          errnoNumber: 13,
          log,
          summary: log,
          file: name,
          line: 3,
          column,
          indent: 0,
          source: `${name} ${log.slice(0, 60)}`,
          hint: name
        })
        const details = explanationText(VerifierLogExplanation.of(error), columns)
        const text = render(errorText({ ...reportOf(error), details }), {
          colors: false,
          ...(columns === undefined ? {} : { width: columns })
        })
        for (const line of text.split("\n")) {
          const seen = actedUpon.exec(line)?.[0]
          assert.isUndefined(seen, JSON.stringify(seen))
        }
        assert.isBelow(text.length, 60_000)
      }
    ))
    assert.match("\u001b[2J", actedUpon)
    assert.notMatch(escape("\u001b[2J\u202e"), actedUpon)
  })
})
