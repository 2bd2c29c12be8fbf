/** Documents of real objects and of the running kernel's types, held against their schemas by ajv. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Command from "../support/Command.ts"
import { command } from "../support/InProcess.ts"
import { corpus, corpusFolder, describeWith } from "../support/Require.ts"

describeWith({ kind: "oracle", files: [corpusFolder] }, "documents of the corpus", () => {
  it.live("are as the schemas say: inspect with instructions, and plan for two kernels", () =>
    Effect.gen(function*() {
      let inspected = 0
      let plans = 0
      for (const path of corpus()) {
        // What is wrong with a document is a defect of the command here.
        if ((yield* command("inspect", path, "--insns", "--json")).status === 0) inspected++
        for (const kernel of ["live", "simulated"]) {
          if ((yield* command("plan", path, "--kernel", kernel, "--json")).status === 0) plans++
        }
      }
      // Some of the corpus are made to be refused.
      assert.isAbove(inspected, 0.9 * corpus().length)
      assert.isAbove(plans, corpus().length)
    }))
})

describeWith({ kind: "oracle", files: ["/sys/kernel/btf/vmlinux"] }, "the running kernel's types", () => {
  it("are dumped as the schema says", () => {
    const { status, stdout } = Command.run(["btf", "dump", "vmlinux", "--json"])
    assert.strictEqual(status, 0)
    assert.isAbove(stdout.length, 1_000_000)
  })
})
