import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../../src/btf/BtfEdit.ts"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as Core from "../../../../src/stages/relocate/core/Core.ts"
import * as CoreReport from "../../../../src/stages/relocate/CoreReport.ts"
import * as CoreText from "../../../../src/stages/relocate/CoreText.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import type { RelocatedObject } from "../../../../src/stages/relocate/RelocatedObject.ts"
import { fixture } from "../../../support/Require.ts"
import { opened } from "../Pipeline.ts"

const name = "core_reads.bpf.o"

const succeed = <A, E>(result: Result.Result<A, E>): A => Result.getOrThrow(result)

interface Field {
  readonly name: string
  readonly type: "int" | "long" | "ptr" | "short"
}

/** A kernel of these structs, and of the two enums that the fixture knows. */
const kernel = (
  structs: ReadonlyArray<readonly [string, ReadonlyArray<Field>]>,
  byteOrder: Btf.ByteOrder = "little"
): Btf.Btf => {
  const editor = BtfEdit.make({ byteOrder })
  const types = {
    int: editor.addInt("int", 4, Btf.BTF_INT_SIGNED),
    long: editor.addInt("long", 8, Btf.BTF_INT_SIGNED),
    short: editor.addInt("short", 2, Btf.BTF_INT_SIGNED),
    ptr: editor.addPtr(0)
  }
  for (const [struct, fields] of structs) {
    const members = fields.map((field, index) => ({
      name: field.name,
      type: types[field.type],
      bitOffset: index * 64,
      bitfieldSize: 0
    }))
    editor.addStruct(struct, 8 * fields.length, members)
  }
  return succeed(editor.finish())
}

/** A kernel that has little: of `task_struct` only some fields. */
const poor = kernel([["task_struct", [{ name: "pid", type: "int" }, { name: "tgid", type: "int" }]]])

const relocatedFor = (types: Btf.Btf, object = opened(name)): RelocatedObject => {
  const info = KernelInfo.add(KernelInfo.make({ release: "6.99", architecture: "x64", byteOrder: "little" }), {
    vmlinuxTypes: KernelInfo.known(types),
    moduleTypes: KernelInfo.known([])
  })
  const asked = succeed(Relocate.toObject(object, info))
  return asked._tag === "Done" ? asked.value : assert.fail("asks")
}

const entriesOf = (relocated: RelocatedObject) => CoreReport.of(relocated).flatMap(({ entries }) => entries)

describe("CoreReport.of", () => {
  it("tells of each record where it stands, what it accesses and what became of it", () => {
    const entries = entriesOf(relocatedFor(poor))
    assert.strictEqual(entries.length, 26)
    const [pid, tgid] = entries
    assert.deepInclude(pid, {
      program: "read_task",
      function: "read_task",
      kind: "byte_off",
      path: "struct task_struct.pid",
      access: "0:0",
      local: 0n,
      outcome: { _tag: "Unchanged", value: 0n }
    })
    assert.deepInclude(pid?.source, { file: "./core_reads.bpf.c", text: "pid = BPF_CORE_READ(task, pid);" })
    assert.isAbove(pid?.source?.line ?? 0, 60)
    assert.isAbove(pid?.source?.column ?? 0, 0)
    assert.deepStrictEqual(tgid?.outcome, { _tag: "Value", value: 8n, size: undefined })
    assert.deepStrictEqual(tgid?.candidates.map(({ typeName, verdict }) => [typeName, verdict._tag]), [
      ["struct task_struct", "Match"]
    ])
  })

  it("finds the line that wants a value, not the one before it to which compilers count it", () => {
    const lines = entriesOf(relocatedFor(poor)).map(({ source }) => source?.line ?? 0)
    const source = new TextDecoder().decode(fixture("core_reads.bpf.c")).split("\n")
    const expected = [
      "BPF_CORE_READ(task, pid)",
      "BPF_CORE_READ(task, tgid)"
    ].map((text) => source.findIndex((line) => line.includes(text)) + 1)
    assert.deepStrictEqual(lines.slice(0, 2), expected)
    const last = [
      "bpf_core_field_size(task->pid)",
      "bpf_core_field_offset(struct task_struct, comm)",
      "bpf_core_type_size(struct task_struct)",
      "bpf_core_type_size(struct there_is_no_such_struct)",
      "bpf_core_type_id_kernel(",
      "bpf_core_type_id_local(",
      "bpf_core_enum_value_exists(",
      "bpf_core_enum_value("
    ].map((text) => source.findIndex((line) => line.includes(text)) + 1)
    assert.deepStrictEqual(lines.slice(-8), last)
  })

  it("tells what is absent, and what is missing: guarded or not", () => {
    const entries = entriesOf(relocatedFor(poor))
    const outcomes = new Map(entries.map((entry) => [`${entry.kind} ${entry.path}`, entry]))
    assert.deepStrictEqual(outcomes.get("type_exists struct there_is_no_such_struct")?.outcome, { _tag: "Absent" })
    assert.deepStrictEqual(outcomes.get("type_size struct there_is_no_such_struct")?.outcome, { _tag: "Absent" })
    assert.deepStrictEqual(outcomes.get("field_exists struct task_struct___since_5_14.__state")?.outcome, {
      _tag: "Absent"
    })
    const verdict = (path: string) => {
      const outcome = outcomes.get(path)?.outcome
      return outcome?._tag === "Poisoned" ? outcome.verdict : outcome?._tag
    }
    assert.strictEqual(verdict("byte_off struct there_is_no_such_struct.member"), "guarded")
    assert.strictEqual(verdict("byte_off struct task_struct___since_5_14.__state"), "guarded")
    assert.strictEqual(verdict("byte_off struct task_struct___before_5_14.state"), "guarded")
    assert.strictEqual(verdict("byte_off struct task_struct.real_parent"), "reachable")
    // Behind a switch on the size of the bit field, which is missing too.
    assert.strictEqual(verdict("enumval_value enum pid_type::PIDTYPE_TGID"), "unknown")
    const { poisoned, ...counts } = CoreReport.summarise(entries)
    assert.deepStrictEqual(
      counts.values + counts.unchanged + counts.absent + poisoned.guarded + poisoned.reachable + poisoned.unknown,
      counts.relocations
    )
    assert.strictEqual(poisoned.guarded, 3)
    assert.isAbove(poisoned.reachable, 5)
  })

  it("leaves verdicts open where there is no budget to follow the program", () => {
    const entries = CoreReport.of(relocatedFor(poor), { steps: 10, cells: 1000 }).flatMap(({ entries }) => entries)
    const { poisoned } = CoreReport.summarise(entries)
    assert.deepInclude(poisoned, { guarded: 0, reachable: 0 })
    assert.isAbove(poisoned.unknown, 5)
  })

  it("knows of records that are left to the kernel what they access", () => {
    const info = KernelInfo.add(KernelInfo.make({ release: "6.99", architecture: "x64", byteOrder: "little" }), {
      vmlinuxTypes: KernelInfo.deferred
    })
    const asked = succeed(Relocate.toObject(opened(name), info))
    if (asked._tag !== "Done") return assert.fail("asks")
    const entries = entriesOf(asked.value)
    assert.strictEqual(entries.length, 26)
    assert.isTrue(entries.every(({ candidates, outcome }) => outcome._tag === "Deferred" && candidates.length === 0))
    assert.strictEqual(entries[0]?.path, "struct task_struct.pid")
    assert.strictEqual(CoreReport.summarise(entries).deferred, 26)
  })

  it("says nothing of objects without records, and of instructions that an edit put in their place", () => {
    assert.deepStrictEqual(entriesOf(relocatedFor(poor, opened("xdp_firewall.bpf.o"))), [])
    const program = opened(name).programs.find((each) => each.entry)
    const shorter = succeed(
      Edit.setInstructions(opened(name), program?.name ?? "", Encode.program(Encode.mov64Imm(0, 0), Encode.exit()), [])
    )
    assert.deepStrictEqual(entriesOf(relocatedFor(poor, shorter)), [])
  })
})

describe("CoreReport.at", () => {
  it("finds the relocation of an instruction", () => {
    const relocated = relocatedFor(poor)
    const [program] = relocated.programs
    const missing = program?.core?.find(({ result }) => result._tag === "Poisoned")
    const [entry, ...others] = CoreReport.at(relocated, program?.program ?? -1, missing?.slot ?? -1)
    assert.deepStrictEqual(others, [])
    assert.strictEqual(entry?.path, missing?.path)
    assert.deepStrictEqual(CoreReport.at(relocated, program?.program ?? -1, 100_000), [])
    assert.deepStrictEqual(CoreReport.at(relocated, 1000, missing?.slot ?? -1), [])
  })
})

describe("CoreReport.examine", () => {
  const twice = kernel([
    ["task_struct", [{ name: "pid", type: "int" }, { name: "tgid", type: "int" }]],
    ["task_struct", [{ name: "tgid", type: "int" }, { name: "pid", type: "int" }]]
  ])

  it("goes on behind records that cannot be applied, and tells what was looked at", () => {
    const [report] = succeed(CoreReport.examine(opened(name), Core.target(twice)))
    assert.strictEqual(report?.program, "read_task")
    assert.strictEqual(report?.entries.length, 26)
    const [pid] = report?.entries ?? []
    if (pid?.outcome._tag !== "Failed") return assert.fail(pid?.outcome._tag)
    assert.strictEqual(pid.outcome.error.reason, "Ambiguous")
    assert.deepInclude(pid, { kind: "byte_off", path: "struct task_struct.pid", function: "read_task" })
    assert.strictEqual(pid.source?.text, "pid = BPF_CORE_READ(task, pid);")
    assert.deepStrictEqual(pid.candidates.map(CoreText.candidate), [
      "struct task_struct [5] gives 0",
      "struct task_struct [6] gives 8"
    ])
    const { failed, poisoned } = CoreReport.summarise(report?.entries ?? [])
    assert.isAbove(failed, 1)
    assert.isAbove(poisoned.guarded, 0)
  })

  it("says the same as a relocation where everything can be applied", () => {
    const [report] = succeed(CoreReport.examine(opened(name), Core.target(poor)))
    assert.deepStrictEqual(report?.entries, entriesOf(relocatedFor(poor)))
  })

  it("is where errors are from", () => {
    const info = KernelInfo.add(KernelInfo.make({ release: "6.99", architecture: "x64", byteOrder: "little" }), {
      vmlinuxTypes: KernelInfo.known(twice),
      moduleTypes: KernelInfo.known([])
    })
    const refused = Relocate.toObject(opened(name), info)
    if (Result.isSuccess(refused)) return assert.fail("is taken")
    const error = refused.failure
    assert.deepInclude(error, {
      reason: "Core",
      name: "read_task",
      relocation: "byte_off struct task_struct.pid",
      file: "./core_reads.bpf.c",
      source: "pid = BPF_CORE_READ(task, pid);"
    })
    assert.strictEqual(error.candidates?.length, 2)
    assert.match(
      error.message,
      /^read_task at instruction \d+ \(\.\/core_reads\.bpf\.c:\d+\): CO-RE relocation byte_off struct/
    )
    assert.match(error.message, /\(and \d+ other records of the program cannot be applied either\)/)
    assert.include(error.message, "\ncandidate: struct task_struct [6] gives 8\n")
    assert.match(error.message, /\nhint: the kernel has several types of this name/)
  })

  it("says the same of an object of the other byte order", () => {
    const big = kernel([["task_struct", [{ name: "pid", type: "int" }, { name: "tgid", type: "int" }]]], "big")
    const [report] = succeed(CoreReport.examine(opened("core_reads.eb.o"), Core.target(big)))
    const [little] = succeed(CoreReport.examine(opened(name), Core.target(poor)))
    const brief = (entries: ReadonlyArray<CoreReport.CoreEntry> = []) =>
      entries.map(({ kind, outcome, path, source }) =>
        `${kind} ${path} ${source?.line} ${outcome._tag === "Poisoned" ? outcome.verdict : outcome._tag}`
      )
    // Which loads and shifts a bit field takes differs.
    const others = (lines: ReadonlyArray<string>) => lines.filter((line) => !line.includes("in_execve"))
    assert.deepStrictEqual(others(brief(report?.entries)), others(brief(little?.entries)))
    assert.isAbove(brief(report?.entries).length, 20)
  })

  it("refuses a kernel of the other byte order", () => {
    const big = succeed(BtfEdit.make({ byteOrder: "big" }).finish())
    const refused = CoreReport.examine(opened(name), Core.target(big))
    assert.strictEqual(Result.isFailure(refused) && refused.failure.reason, "Core")
  })
})

describe("CoreText", () => {
  const entries = entriesOf(relocatedFor(poor))
  const missing = (path: string) => {
    const entry = entries.find((each) => each.path === path && each.outcome._tag === "Poisoned")
    return entry ?? assert.fail(`nothing is missing at ${path}`)
  }

  it("says what the kernel has instead, and what to do", () => {
    const field = missing("struct task_struct.real_parent")
    assert.strictEqual(CoreText.instead(field), "the kernel's struct task_struct [5] has no member real_parent")
    assert.match(
      CoreText.missing(field),
      /^byte_off struct task_struct\.real_parent at core_reads\.bpf\.c:\d+; the kernel's struct task_struct \[5\] has/
    )
    assert.match(
      CoreText.advice(field),
      /^guard it with if \(bpf_core_field_exists\(struct task_struct, real_parent\)\)/
    )
    const type = missing("struct there_is_no_such_struct.member")
    assert.strictEqual(CoreText.instead(type), "the kernel has no struct there_is_no_such_struct")
    assert.match(CoreText.advice(type), /bpf_core_type_exists\(struct there_is_no_such_struct\)/)
    const value = missing("enum pid_type::PIDTYPE_TGID")
    assert.match(CoreText.advice(value), /bpf_core_enum_value_exists\(enum pid_type, PIDTYPE_TGID\)/)
    assert.match(CoreText.advice(missing("struct task_struct.comm[1]")), /\(struct task_struct, comm\[1\]\)/)
    assert.match(
      CoreText.advice(missing("struct task_struct___before_5_14.state")),
      /flavor, struct task_struct___other/
    )
  })

  it("lists few of many candidates, and cuts long names", () => {
    const many = Array.from({ length: 1000 }, (_, typeId): Core.CoreCandidate => ({
      module: "m",
      typeId,
      typeName: "struct ".padEnd(100_000, "x"),
      verdict: { _tag: "Refusal", reason: "NoMember", at: "y".repeat(100_000) }
    }))
    const listed = CoreText.candidates(many)
    assert.strictEqual(listed.length, 9)
    assert.strictEqual(listed.at(-1), "and 992 more")
    assert.isBelow(listed.join("").length, 10_000)
    const field = missing("struct task_struct.real_parent")
    const long: CoreReport.CoreEntry = { ...field, path: `struct ${"x".repeat(100_000)}.y`, candidates: many }
    for (const text of [CoreText.missing(long), CoreText.advice(long), CoreText.instead(long)]) {
      assert.isBelow(text.length, 2000)
    }
  })

  it("names each way to be refused", () => {
    const reasons: ReadonlyArray<Core.RefusalReason> = [
      "NoMember",
      "IncompatibleMember",
      "NotComposite",
      "NotArray",
      "ShortArray",
      "NotEnum",
      "NoEnumerator",
      "IncompatibleType",
      "DifferentType"
    ]
    const texts = reasons.map((reason) =>
      CoreText.candidate({
        module: undefined,
        typeId: 1,
        typeName: "struct s",
        verdict: { _tag: "Refusal", reason, at: "x" }
      })
    )
    assert.strictEqual(new Set(texts).size, reasons.length)
    for (const text of texts) assert.match(text, /^struct s \[1\] (has|is) /)
  })
})
