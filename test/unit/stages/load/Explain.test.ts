/** What is missing, explained: complaints as Linux 6.18 makes them, about programs that are relocated here. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../../src/btf/BtfEdit.ts"
import type { ProgLoad, ProgTestRun } from "../../../../src/services/Kernel/KernelCall.ts"
import { fromErrno, ProgramFault, VerifierError } from "../../../../src/services/Kernel/KernelError.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import { Kernel } from "../../../../src/services/Kernel/Kernel.ts"
import * as Execute from "../../../../src/stages/load/Execute.ts"
import * as Explain from "../../../../src/stages/load/Explain.ts"
import * as Plan from "../../../../src/stages/load/Plan.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import * as SourceLines from "../../../../src/stages/relocate/SourceLines.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"
import { allFeatures } from "../../../support/AllFeatures.ts"
import { opened } from "../Pipeline.ts"

const editor = BtfEdit.make()
const int = editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
editor.addStruct("task_struct", 4, [{ name: "pid", type: int, bitOffset: 0, bitfieldSize: 0 }])
const types = Result.getOrThrow(editor.finish())

const info = KernelInfo.add(KernelInfo.make({ release: "6.99", architecture: "x64", byteOrder: "little" }), {
  vmlinuxTypes: KernelInfo.known(types),
  moduleTypes: KernelInfo.known([]),
  features: allFeatures()
})

const relocated = (() => {
  const asked = Result.getOrThrow(Relocate.toObject(opened("core_reads.bpf.o"), info))
  return asked._tag === "Done" ? asked.value : assert.fail("asks")
})()

const [program] = relocated.programs
const position = program?.program ?? -1
const missing = program?.core?.find(({ path, result }) => result._tag === "Poisoned" && path.endsWith(".tgid"))
const slot = missing?.slot ?? -1

const planned = (() => {
  const asked = Result.getOrThrow(Plan.toPlan(relocated, info))
  return asked._tag === "Done" ? asked.value : assert.fail("asks")
})()

const load = ((): ProgLoad => {
  for (const step of planned.plan) if (step._tag === "Call" && step.call._tag === "ProgLoad") return step.call
  return assert.fail("no program is loaded")
})()

const complaint = (helper: number, at: number) =>
  new VerifierError({
    program: "read_task",
    errno: "EINVAL",
    errnoNumber: 22,
    log:
      `; a line @ core_reads.bpf.c:68\n${at}: (85) call unknown#${helper}\ninvalid func unknown#${helper}\nprocessed 9 insns\n`,
    summary: "",
    hint: "a hint"
  })

describe("a refusal", () => {
  it("names the C line of the last instruction, in whatever function that is", () => {
    const object = opened("subprograms.bpf.o")
    const asked = Result.getOrThrow(Relocate.toObject(object, info))
    const laidOut = asked._tag === "Done" ? asked.value : assert.fail("asks")
    const caller = laidOut.programs.find(({ layout }) => layout.length > 1) ??
      assert.fail("no program calls a function")
    const [own, called] = caller.layout
    if (own === undefined || called === undefined) return assert.fail("no layout")
    const call = { ...load, as: Ref.prog(caller.program) }
    const lineOf = (log: string) => {
      const { file, instruction, line, source } = Explain.refusal(
        laidOut,
        call,
        new VerifierError({ program: "p", errno: "EACCES", errnoNumber: 13, log, summary: "" })
      )
      return { file, instruction, line, source }
    }
    const find = SourceLines.of(object)
    for (const { program, slot } of [own, called]) {
      const expected = find(program, 0)
      assert.isAbove(expected?.line ?? 0, 0)
      assert.deepStrictEqual(
        lineOf(`0: R1=ctx()\n${slot}: (bf) r6 = r1   ; R6=1\nR9 !read_ok\nprocessed 5 insns (limit 1000000)\n`),
        { file: expected?.file, instruction: slot, line: expected?.line, source: expected?.text }
      )
    }
    const none = { file: undefined, instruction: undefined, line: undefined, source: undefined }
    assert.deepStrictEqual(lineOf("func_info BTF section doesn't match subprog layout\n"), none)
    assert.deepStrictEqual(lineOf(""), none)
    // Behind the program's end there is nothing to name, and far from the log's end nothing is looked for.
    assert.deepStrictEqual(lineOf("99999: (95) exit\nno\n"), none)
    assert.deepStrictEqual(lineOf(`0: (95) exit\n${"more\n".repeat(100)}`), none)
  })

  it("of a poisoned instruction becomes the relocation, its line, what the kernel has, and what to do", () => {
    const error = Explain.refusal(relocated, load, complaint(195_896_080, slot))
    assert.deepInclude(error, {
      program: "read_task",
      errno: "EINVAL",
      instruction: slot,
      relocation: "byte_off struct task_struct.tgid",
      file: "./core_reads.bpf.c",
      source: "tgid = BPF_CORE_READ(task, tgid);"
    })
    assert.match(
      error.message,
      /^program read_task was refused \(EINVAL\): failed to resolve CO-RE relocation byte_off struct task_struct\.tgid at /
    )
    assert.include(error.log, "the kernel's struct task_struct [2] has no member tgid")
    assert.include(error.log, "processed 9 insns")
    assert.match(error.hint ?? "", /bpf_core_field_exists\(struct task_struct, tgid\)/)
  })

  it("of a map or kernel function that is missing names it", () => {
    const maps = Explain.refusal(relocated, load, complaint(2_001_000_000, 3))
    assert.match(maps.summary, new RegExp(`^BPF map '${relocated.object.maps[0]?.name}' is referenced`))
    const kfunc = {
      _tag: "Ksym",
      name: "f___other",
      kernelName: "f",
      weak: true,
      isFunction: true,
      typeId: 1
    } as const
    const withExtern = { ...relocated, object: { ...relocated.object, externs: [kfunc, kfunc] } }
    const functions = Explain.refusal(withExtern, load, complaint(2_002_000_001, 3))
    assert.match(functions.summary, /^kfunc 'f___other' is referenced but wasn't resolved/)
    assert.match(functions.hint ?? "", /bpf_ksym_exists\(f___other\)/)
    assert.isUndefined(functions.relocation)
  })

  it("names the whole program, of which the kernel knows 15 characters", () => {
    const long = "read_task_and_much_more"
    const programs = relocated.object.programs.map((each) => ({ ...each, name: long }))
    const whole = { ...relocated, object: { ...relocated.object, programs } }
    const cut = { ...load, attr: { ...load.attr, name: long.slice(0, 15) } }
    const verifier = complaint(1, 3)
    assert.strictEqual(Explain.refusal(whole, cut, verifier).program, long)
    const kernel = fromErrno("ProgLoad", cut.attr.name, 3, { hint: "none" })
    assert.deepInclude(Explain.named(whole, cut, kernel), { subject: long, errno: "ESRCH", hint: "none" })
    // What the error is about is not the program: it stays.
    const other = fromErrno("ProgLoad", "something else", 3)
    assert.strictEqual(Explain.named(whole, cut, other), other)
  })

  it("of anything else stays as it is", () => {
    const nowhere = complaint(195_896_080, 100_000)
    assert.strictEqual(Explain.refusal(relocated, load, nowhere), nowhere)
    for (const error of [complaint(2_001_000_999, 3), complaint(2_002_000_999, 3), complaint(17, 3)]) {
      // But for the C line of its instruction.
      const { hint, instruction, log, relocation, summary } = Explain.refusal(relocated, load, error)
      assert.deepStrictEqual({ hint, log, summary }, { hint: error.hint, log: error.log, summary: error.summary })
      assert.deepStrictEqual([instruction, relocation], [3, undefined])
    }
    const other = { ...load, as: Ref.prog(77) }
    const error = complaint(195_896_080, slot)
    assert.strictEqual(Explain.refusal(relocated, other, error), error)
  })

  it("is explained by an execution, whoever reports it", () => {
    const ledger = LedgerKernel.make()
    const refusing: Kernel["Service"] = {
      ...ledger.kernel,
      session: (options) =>
        Effect.map(ledger.kernel.session(options), (session) => ({
          ...session,
          call: (call) => call._tag === "ProgLoad" ? Effect.fail(complaint(195_896_080, slot)) : session.call(call)
        }))
    }
    const error = Effect.runSync(
      Effect.flip(Effect.scoped(Execute.toLoaded(planned))).pipe(Effect.provideService(Kernel, refusing))
    )
    assert.strictEqual(error._tag === "VerifierError" && error.relocation, "byte_off struct task_struct.tgid")
  })
})

describe("a fault", () => {
  const run: ProgTestRun = {
    _tag: "ProgTestRun",
    prog: Ref.prog(position),
    dataOutSize: 0,
    contextOutSize: 0,
    repeat: 1,
    flags: 0,
    cpu: 0,
    batchSize: 0
  }
  const fields = { call: "ProgTestRun", program: "read_task", detail: "it is missing", instruction: slot }

  it("at a poisoned instruction names the relocation", () => {
    const fault = Explain.fault(relocated, run, new ProgramFault({ ...fields, reason: "Missing", line: "a.c:1" }))
    assert.deepInclude(fault, { reason: "Missing", line: "a.c:1", instruction: slot })
    assert.match(
      fault.detail,
      /^it is missing: byte_off struct task_struct\.tgid at core_reads\.bpf\.c:\d+; the kernel's/
    )
    assert.match(fault.hint ?? "", /bpf_core_field_exists/)
  })

  it("of another kind, elsewhere or in another program stays as it is", () => {
    const others = [
      new ProgramFault({ ...fields, reason: "OutOfBounds" }),
      new ProgramFault({ ...fields, reason: "Missing", running: "other" }),
      new ProgramFault({ ...fields, reason: "Missing", instruction: 100_000 })
    ]
    for (const other of others) assert.strictEqual(Explain.fault(relocated, run, other), other)
  })
})
