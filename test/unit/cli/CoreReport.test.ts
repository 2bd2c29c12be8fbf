import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { coreJson } from "../../../src/cli/json/CoreDocument.ts"
import { planDocument } from "../../../src/cli/json/PlanDocument.ts"
import { coreReportText } from "../../../src/cli/text/CoreReportText.ts"
import { planText } from "../../../src/cli/text/PlanText.ts"
import { plain, render } from "../../../src/cli/text/Text.ts"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../src/btf/BtfEdit.ts"
import * as KernelInfo from "../../../src/services/Kernel/KernelInfo.ts"
import { type PlannedObject, toPlan } from "../../../src/stages/load/Plan.ts"
import { Core as CoreEngine } from "../../../src/index.ts"
import * as CoreReport from "../../../src/stages/relocate/CoreReport.ts"
import { toObject } from "../../../src/stages/relocate/Relocate.ts"
import { allFeatures } from "../../support/AllFeatures.ts"
import { opened } from "../stages/Pipeline.ts"

const editor = BtfEdit.make()
const int = editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
editor.addStruct("task_struct", 16, [
  { name: "pid", type: int, bitOffset: 0, bitfieldSize: 0 },
  { name: "tgid", type: int, bitOffset: 64, bitfieldSize: 0 }
])
const types = Result.getOrThrow(editor.finish())

const planned = ((): PlannedObject => {
  const info = KernelInfo.add(KernelInfo.make({ release: "6.99", architecture: "x64", byteOrder: "little" }), {
    vmlinuxTypes: KernelInfo.known(types),
    moduleTypes: KernelInfo.known([]),
    features: allFeatures()
  })
  const relocated = Result.getOrThrow(toObject(opened("core_reads.bpf.o"), info))
  if (relocated._tag !== "Done") return assert.fail("asks")
  const plan = Result.getOrThrow(toPlan(relocated.value, info))
  return plan._tag === "Done" ? plan.value : assert.fail("asks")
})()

const textOf = (core: boolean): string => render(planText(planned, "live", "core_reads.bpf.o", { core }), plain)

describe("the relocations of a plan", () => {
  it("are counted, and those listed that the load may fail for", () => {
    const text = textOf(false)
    assert.match(text, /^CO-RE relocations$/m)
    assert.match(
      text,
      /^ {2}read_task: 26 relocations: \d+ changed, .*absent and checked, 3 missing and guarded, .*, \d+ missing and reachable$/m
    )
    assert.match(
      text,
      /^ {6}core_reads\.bpf\.c:69 {2}byte_off struct task_struct\.real_parent: missing, reachable$/m
    )
    assert.match(text, /^ {8}struct task_struct \[2\] has no member real_parent$/m)
    assert.notMatch(text, /there_is_no_such_struct\.member/)
    assert.notMatch(text, /task_struct\.pid/)
  })

  it("are all listed on request", () => {
    const text = textOf(true)
    assert.match(text, /core_reads\.bpf\.c:67 {2}byte_off struct task_struct\.pid: 0, right already$/m)
    assert.match(text, /core_reads\.bpf\.c:68 {2}byte_off struct task_struct\.tgid: 4 -> 8$/m)
    assert.match(text, /type_exists struct there_is_no_such_struct: 0: absent, and the program is told so$/m)
    assert.match(text, /byte_off struct there_is_no_such_struct\.member: missing, guarded$/m)
    assert.match(text, /the kernel has no struct there_is_no_such_struct$/m)
  })

  it("are not spoken of where there are none", () => {
    assert.deepStrictEqual(coreReportText([{ position: 0, program: "p", entries: [] }], true), [])
    assert.deepStrictEqual(coreJson([{ position: 0, program: "p", entries: [] }]), { core: [], core_relocations: [] })
  })

  it("are data, with the same keys for each", () => {
    const document = JSON.parse(JSON.stringify(planDocument(planned, "live", "core_reads.bpf.o")))
    const [counts] = document.core
    assert.deepInclude(counts, { program: "read_task", relocations: 26, guarded: 3, failed: 0, deferred: 0 })
    assert.strictEqual(
      counts.values + counts.unchanged + counts.absent + counts.guarded + counts.reachable + counts.unknown,
      26
    )
    const keys = Object.keys(document.core_relocations[0])
    for (const entry of document.core_relocations) assert.deepStrictEqual(Object.keys(entry).sort(), [...keys].sort())
    const tgid = document.core_relocations[1]
    assert.deepInclude(tgid, {
      program: "read_task",
      function: "read_task",
      file: "./core_reads.bpf.c",
      line: 68,
      source: "tgid = BPF_CORE_READ(task, tgid);",
      kind: "byte_off",
      path: "struct task_struct.tgid",
      access: "0:1",
      local_value: "4",
      outcome: "value",
      value: "8",
      verdict: null,
      candidate_count: 1
    })
    assert.deepStrictEqual(tgid.candidates, [{
      module: null,
      type: "struct task_struct",
      type_id: 2,
      matches: true,
      path: "struct task_struct.tgid",
      bit_offset: 64,
      value: "8",
      reason: null,
      at: null
    }])
    const missing = document.core_relocations.find((each: { readonly path: string }) =>
      each.path.endsWith("real_parent")
    )
    assert.deepInclude(missing, { outcome: "poisoned", why: "Missing", verdict: "reachable", value: null })
    assert.deepInclude(missing.candidates[0], { matches: false, reason: "NoMember", at: "real_parent", value: null })
  })

  it("stay of bounded length, and control no terminal, whatever names say", () => {
    const [entry] = CoreReport.of(planned.relocated)[0]?.entries.filter(({ outcome }) => outcome._tag === "Poisoned") ??
      []
    if (entry === undefined) return assert.fail("nothing is missing")
    const nasty = `\u001b[2J${"x".repeat(100_000)}`
    const candidate: CoreReport.CoreEntry["candidates"][number] = {
      module: nasty,
      typeId: 1,
      typeName: nasty,
      verdict: { _tag: "Refusal", reason: "NoMember", at: nasty }
    }
    const hostile: CoreReport.CoreEntry = {
      ...entry,
      path: nasty,
      source: { file: nasty, line: 1, column: 1, text: nasty, indent: 0 },
      candidates: Array.from({ length: 1000 }, () => candidate)
    }
    const entries = Array.from({ length: 1000 }, () => hostile)
    const text = render(coreReportText([{ position: 0, program: "p", entries }], false), plain)
    assert.isBelow(text.length, 200_000)
    assert.match(text, /and 980 more; --core lists all$/m)
    assert.notInclude(text, "\u001b")
    assert.isBelow(JSON.stringify(coreJson([{ position: 0, program: "p", entries: [hostile] }])).length, 60_000)
  })

  it("of every outcome have words and keys", () => {
    const [entry] = CoreReport.of(planned.relocated)[0]?.entries ?? []
    if (entry === undefined) return assert.fail("there are none")
    const error = new CoreEngine.CoreError({ reason: "Ambiguous", detail: "two answers" })
    const outcomes: ReadonlyArray<CoreReport.Outcome> = [
      { _tag: "Value", value: 5n, size: 2 },
      { _tag: "Unchanged", value: 0xffff_ffff_ffff_ffffn },
      { _tag: "Absent" },
      { _tag: "Poisoned", why: "Resized", verdict: "unknown" },
      { _tag: "Failed", error },
      { _tag: "Deferred" }
    ]
    const entries = outcomes.map((outcome) => ({ ...entry, outcome, sizes: { local: 4, kernel: 8 } }))
    const text = render(coreReportText([{ position: 0, program: "p", entries }], true), plain)
    const words = [
      /: 0 -> 5, 2 bytes$/m,
      /: -1, right already$/m,
      /: 0: absent/,
      /: missing, unknown$/m,
      /in 8 bytes instead of 4/,
      /: two answers$/m,
      /: left to the kernel$/m
    ]
    for (const word of words) assert.match(text, word)
    const document = JSON.parse(JSON.stringify(coreJson([{ position: 0, program: "p", entries }])))
    assert.deepStrictEqual(
      document.core_relocations.map((each: { readonly outcome: string }) => each.outcome),
      ["value", "unchanged", "absent", "poisoned", "failed", "deferred"]
    )
    assert.deepInclude(document.core_relocations[4], { why: "Ambiguous", error: "two answers" })
  })
})
