import { assert, describe, it } from "@effect/vitest"
import { errorText, reportOf } from "../../../src/cli/text/ErrorText.ts"
import { plain, render } from "../../../src/cli/text/Text.ts"
import { btfError } from "../../../src/btf/BtfError.ts"
import { ElfError } from "../../../src/services/Elf/ElfError.ts"
import { KernelError, VerifierError } from "../../../src/services/Kernel/KernelError.ts"
import { OpenError } from "../../../src/stages/open/OpenError.ts"

describe("ErrorText", () => {
  it("takes the hint out of the message, however the error carries it", () => {
    const errors = [
      new ElfError({ reason: "NotElf", hint: "do this" }),
      btfError("BadMagic", "the magic number is missing", { hint: "do this" }),
      new OpenError({ reason: "NotBpf", detail: "not BPF", hint: "do this" }),
      new KernelError({ call: "MapCreate", errno: "EPERM", errnoNumber: 1, subject: "stats", hint: "do this" })
    ]
    for (const error of errors) {
      const { hints, message } = reportOf(error)
      assert.deepStrictEqual(hints, ["do this"])
      assert.notInclude(message, "do this")
      assert.notMatch(message, /hint|[;(\s]$/)
    }
  })

  it("says what an OpenError is about only where it is about something", () => {
    assert.strictEqual(reportOf(new OpenError({ reason: "NotBpf", detail: "not BPF" })).message, "not BPF")
    assert.strictEqual(
      reportOf(new OpenError({ reason: "Extern", name: "schedule", detail: "is not declared" })).message,
      "schedule: is not declared"
    )
  })

  it("puts one thing on each line, the verifier's words indented", () => {
    const error = new VerifierError({
      program: "bad",
      errno: "EACCES",
      errnoNumber: 13,
      log: "all of it",
      summary: "invalid access\nat 1: (71) r0 = *(u8 *)(r1 +3)",
      hint: "compare with data_end"
    })
    assert.strictEqual(
      render(errorText(reportOf(error)), plain),
      "error: program bad was refused (EACCES): invalid access\n" +
        "  at 1: (71) r0 = *(u8 *)(r1 +3)\n" +
        "hint: compare with data_end\n"
    )
  })

  it("survives what is no error of ours", () => {
    assert.deepStrictEqual(reportOf({}), { message: "something failed, and did not say what", hints: [] })
    assert.deepStrictEqual(reportOf(new Error("boom")), { message: "boom", hints: [] })
  })
})
