/** Diagnostics: rules that stay, and what becomes of each failure and finding. */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import * as Budget from "../../../src/diagnostics/Budget.ts"
import * as Diagnostic from "../../../src/diagnostics/Diagnostic.ts"
import * as Rules from "../../../src/diagnostics/diagnostic/Rules.ts"
import { causes } from "../../../src/diagnostics/VerifierLogCauses.ts"
import { LinkError } from "../../../src/linker/LinkError.ts"
import { ElfError } from "../../../src/services/Elf/ElfError.ts"
import { fromErrno, UnsupportedCall, VerifierError } from "../../../src/services/Kernel/KernelError.ts"
import { reasons as refusalReasons } from "../../../src/services/Kernel/RefusalCause.ts"
import { PinnedMapError } from "../../../src/stages/load/PinnedMap.ts"
import { PlanError } from "../../../src/stages/load/PlanError.ts"
import { OpenError } from "../../../src/stages/open/OpenError.ts"
import { RelocateError } from "../../../src/stages/relocate/RelocateError.ts"
import { runs } from "../../support/Require.ts"

const only = (error: object, about: Diagnostic.About = {}): Diagnostic.Diagnostic => {
  const [first, ...more] = Diagnostic.ofError(error, about)
  if (first === undefined || more.length > 0) throw new Error("one diagnostic is expected")
  return first
}

describe("rules", () => {
  it("have names and words that tools take", () => {
    assert.strictEqual(Diagnostic.rules.size, Rules.list.length)
    for (const [id, { help, summary, ...rule }] of Diagnostic.rules) {
      assert.strictEqual(rule.id, id)
      assert.match(id, /^[a-z]+(-[a-z]+)*$/)
      assert.match(summary, /^[A-Z].*[.?]$/s, id)
      assert.match(help, /^[A-Z`].*[.?;)]$/s, id)
    }
  })

  it("are there for every reason that errors have, and for every cause", () => {
    const reasons: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
      ["OpenError", OpenError.fields.reason.literals],
      ["RelocateError", RelocateError.fields.reason.literals],
      ["PlanError", PlanError.fields.reason.literals],
      ["LinkError", LinkError.fields.reason.literals]
    ]
    const found = reasons.flatMap(([tag, literals]) => literals.map((reason) => Rules.ofError(tag, reason)))
    assert.notInclude(found, "failure")
    assert.strictEqual(new Set(found).size, found.length)
    const refusals = causes.map(({ id }) => Rules.ofCause(id))
    assert.notInclude(refusals, "verifier")
    assert.strictEqual(new Set(refusals).size, causes.length)
    const calls = refusalReasons.map((reason) => Rules.ofCall("MapCreate", reason))
    assert.notInclude(calls, "map-refused")
    assert.strictEqual(new Set(calls).size, refusalReasons.length)
  })

  it("named fault: a reason that has none is of the rule for all others", () => {
    assert.strictEqual(Rules.ofError("OpenError", "NoSuchReason"), "failure")
    assert.strictEqual(Rules.ofError("NoSuchError", undefined), "failure")
    assert.strictEqual(Rules.ofError("constructor", "__proto__"), "failure")
    assert.strictEqual(Rules.ofCause("NoSuchCause"), "verifier")
  })

  it("stay: others look for them by these names", () => {
    const kept = [
      "open-map-definition",
      "relocate-kconfig",
      "plan-attach-target",
      "linker-duplicate",
      "verifier-null-pointer",
      "verifier-poisoned-co-re",
      "map-refused",
      "program-refused",
      "pinned-map",
      "budget-exceeded",
      "field-missing"
    ]
    assert.includeMembers([...Diagnostic.rules.keys()], kept)
  })
})

describe("a failure's diagnostic", () => {
  it("has the rule of its reason, and where it is", () => {
    const opened = only(
      new OpenError({
        reason: "MapDefinition",
        section: ".maps",
        name: "counts",
        detail: "it has no type",
        hint: "give it one"
      }),
      { object: "a.bpf.o" }
    )
    assert.deepInclude(opened, {
      level: "error",
      rule: "open-map-definition",
      message: "section .maps: counts: it has no type",
      hint: "give it one",
      path: "a.bpf.o",
      subject: "counts"
    })
    const relocated = only(
      new RelocateError({
        reason: "Core",
        name: "prog",
        function: "helper",
        slot: 7,
        file: "a.bpf.c",
        line: 12,
        column: 3,
        source: "x = t->gone;",
        candidates: ["struct t has no member gone"],
        detail: "no such field"
      })
    )
    assert.deepInclude(relocated, {
      rule: "relocate-core",
      function: "helper",
      instruction: 7,
      place: { file: "a.bpf.c", line: 12, column: 3, text: "x = t->gone;" },
      details: ["candidate: struct t has no member gone"]
    })
    assert.strictEqual(only(new PlanError({ reason: "Slot", name: "m", detail: "no" })).rule, "plan-slot")
    assert.strictEqual(only(new ElfError({ reason: "NotElf" })).rule, "elf-malformed")
    assert.strictEqual(only(new LinkError({ reason: "Duplicate", detail: "twice" })).rule, "linker-duplicate")
    assert.strictEqual(
      only(new PinnedMapError({ map: "m", path: "/p", differences: ["type"] })).rule,
      "pinned-map"
    )
    assert.strictEqual(
      only(new UnsupportedCall({ call: "MapCreate", kernel: "k", detail: "cannot" })).rule,
      "kernel-unsupported"
    )
  })

  it("of the kernel is of the rule of what it refused", () => {
    const ruleOf = (call: string): string => only(fromErrno(call, "it", 22)).rule
    assert.strictEqual(ruleOf("MapCreate"), "map-refused")
    assert.strictEqual(ruleOf("ProgLoad"), "program-refused")
    assert.strictEqual(ruleOf("BtfLoad"), "types-refused")
    assert.strictEqual(ruleOf("ObjPin"), "pin-refused")
    assert.strictEqual(ruleOf("LinkCreate"), "link-refused")
    assert.strictEqual(ruleOf("Wait"), "kernel-refused")
    assert.strictEqual(only(fromErrno("MapCreate", "it", 22)).properties["errno"], "EINVAL")
  })

  it("of the verifier has its cause, the line of C, and what to change", () => {
    const log = `0: R1=ctx() R10=fp0
; __u64 *v = bpf_map_lookup_elem(&m, &k); @ bad.c:6
5: (85) call bpf_map_lookup_elem#1    ; R0_w=map_value_or_null(id=1,map=m,ks=4,vs=8)
; return *v; @ bad.c:7
6: (79) r0 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`
    const refused = only(
      new VerifierError({
        program: "prog",
        errno: "EACCES",
        errnoNumber: 13,
        log,
        summary: "R0 invalid mem access 'map_value_or_null'",
        instruction: 6,
        file: "bad.c",
        line: 7,
        column: 9,
        source: "return *v;"
      }),
      { object: "bad.o" }
    )
    assert.deepInclude(refused, {
      rule: "verifier-null-pointer",
      subject: "prog",
      instruction: 6,
      path: "bad.o",
      place: { file: "bad.c", line: 7, column: 9, text: "return *v;" }
    })
    assert.match(refused.hint ?? "", /compare it with NULL/)
    assert.match(refused.details.join(), /invalid mem access/)
    // A log of which nothing is known is still a refusal, at the place where the program begins.
    const unknown = only(
      new VerifierError({ program: "prog", errno: "EINVAL", errnoNumber: 22, log: "", summary: "" }),
      { placeOf: (name) => ({ file: `${name}.c`, line: 3 }) }
    )
    assert.deepInclude(unknown, { rule: "program-refused", place: { file: "prog.c", line: 3 } })
  })

  it("of anything else is its message", () => {
    assert.deepInclude(only(new Error("no such thing\nand more")), {
      rule: "failure",
      message: "no such thing",
      details: ["and more"]
    })
    assert.strictEqual(only({}).message, "Something failed.")
    class Odd extends Schema.TaggedError<Odd>()("Odd", { reason: Schema.Number }) {}
    assert.strictEqual(only(new Odd({ reason: 1 })).rule, "failure")
  })
})

describe("any failure", () => {
  const text = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("x:1", "\n\n", "a\nhint: b", "b".repeat(5000)))
  const number = fc.oneof(fc.integer(), fc.double())
  const value = fc.oneof(text, number, fc.constant(null), fc.array(fc.dictionary(text, text)))
  const refusal = fc.record({
    _tag: fc.constant("VerifierError"),
    program: text,
    errno: text,
    log: text,
    summary: text,
    hint: text,
    file: text,
    line: number,
    column: number,
    indent: number,
    source: text,
    instruction: number
  }, { requiredKeys: ["_tag", "program", "errno", "log", "summary"] })
  const keys = ["message", "reason", "call", "file", "line", "column", "source", "hint", "name", "attributes"]
  const other = fc.tuple(
    fc.constantFrom("KernelError", "OpenError", "RelocateError", "LinkError", "Other", "__proto__"),
    fc.dictionary(fc.constantFrom(...keys), value)
  ).map(([_tag, fields]) => ({ ...fields, _tag }))
  const error = fc.oneof(refusal, other)

  it("has one diagnostic, of bounded length, by a rule that is known", () => {
    fc.assert(
      fc.property(error, (error) => {
        const { details, hint = "", message, place, rule } = only(error, { object: "a.o" })
        assert.isTrue(Diagnostic.rules.has(rule))
        assert.isNotEmpty(message)
        assert.isAtMost(details.length, 20)
        for (const each of [message, hint, ...details]) assert.isAtMost(each.length, 1001)
        assert.notMatch(message, /[\r\n]/)
        if (place?.line !== undefined) assert.isAtLeast(place.line, 1)
        if (place?.column !== undefined) assert.isAtLeast(place.column, 1)
      }),
      { numRuns: runs(300) }
    )
  })
})

describe("a place", () => {
  const columnOf = (column: number, indent?: number): number | undefined =>
    Diagnostic.make({
      rule: "failure",
      message: "m",
      place: { file: "a.c", line: 1, column, text: "/* ä€😀 */ x;", indent }
    }).place?.column

  it("has its column in UTF-16 units, as tools count, where compilers count bytes", () => {
    // Two blanks, then 3 + 2 + 3 + 4 + 4 bytes, or 3 + 1 + 1 + 2 + 4 units, in front of the x.
    assert.strictEqual(columnOf(2 + 16 + 1, 2), 2 + 11 + 1)
    assert.strictEqual(columnOf(3, 2), 3)
    assert.strictEqual(columnOf(1, 2), 1)
    assert.strictEqual(columnOf(19), 19)
    // Beyond the line nothing is known of.
    assert.strictEqual(columnOf(2 ** 31, 2), 2 + 13 + 1)
  })
})

describe("a budget's diagnostics", () => {
  const numbers = (stack: number) => new Map([["stack", stack]] as const)
  const budget: Budget.Budget = {
    kernel: "6.1.9",
    thresholds: new Map(),
    programs: new Map([
      ["p", { values: numbers(8), stackDepths: [], thresholds: new Map() }],
      ["gone", { values: numbers(8), stackDepths: [], thresholds: new Map() }]
    ])
  }
  const measured = (name: string, stack: number): Budget.Measurement => ({
    name,
    values: numbers(stack),
    stackDepths: []
  })

  it("are errors for growth, at the program's first line, and notes for the rest", () => {
    const comparison = Budget.compare(budget, [measured("p", 100), measured("q", 8)], {
      kernel: "6.1.20",
      programs: ["p", "q"]
    })
    const found = Diagnostic.ofBudget(comparison, {
      object: "a.o",
      placeOf: (name) => ({ file: `${name}.c`, line: 1 })
    })
    assert.deepStrictEqual(found.map(({ level, message, rule }) => [level, rule, message]), [
      ["error", "budget-exceeded", "program p has 100 bytes of stack, were 8; 40 are allowed"],
      ["note", "budget-new", "program q is not in the budget"],
      ["note", "budget-removed", "program gone is in the budget, and not in the object"]
    ])
    assert.deepStrictEqual(found[0]?.place, { file: "p.c", line: 1 })
    assert.lengthOf(Diagnostic.ofError(Budget.errorOf(comparison) ?? {}), 0)
  })

  it("warn of a budget that is of another series of kernels", () => {
    const comparison = Budget.compare(budget, [measured("p", 8)], { kernel: "6.12.1", programs: ["p", "gone"] })
    assert.deepStrictEqual(Diagnostic.ofBudget(comparison).map(({ level, rule }) => [level, rule]), [
      ["warning", "budget-kernel"]
    ])
  })
})
