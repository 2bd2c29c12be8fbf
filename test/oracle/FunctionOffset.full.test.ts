/** Offsets of all functions of a binary of more than a hundred megabytes: Node's own, with its table of local symbols. */
import { assert, it } from "@effect/vitest"
import * as Path from "node:path"
import * as Judge from "../support/Offsets.ts"
import { describeWith, run, temporaryFolder } from "../support/Require.ts"

describeWith({ kind: "oracle", tools: ["readelf", "clang"] }, "functions of more sections than 16 bits number", () => {
  it("are those that readelf shows", () => {
    const path = Path.join(temporaryFolder(), "many.o")
    const source = Array.from(
      { length: 65_600 },
      (_, index) => `.section .text.f${index},"ax",@progbits\n.type f${index},@function\nf${index}:\nret\n`
    ).join("")
    const { status, stderr } = run("clang", ["-target", "x86_64-linux-gnu", "-c", "-x", "assembler", "-", "-o", path], {
      input: source
    })
    assert.strictEqual(status, 0, stderr)
    assert.strictEqual(Judge.assertSameFunctions(path), 65_600)
  })
})

describeWith({ kind: "oracle", tools: ["readelf"] }, "functions of node", () => {
  it("has those that readelf shows", () => {
    assert.isAbove(Judge.assertSameFunctions(process.execPath), 50_000)
  })

  it("chooses among them by precedence: namesakes that are local to their sources are ambiguous", () => {
    const answers = [...Judge.assertPrecedence(process.execPath).values()]
    assert.isAbove(answers.filter((answer) => /^\d+$/.test(answer)).length, 50_000)
    assert.isAbove(answers.filter((answer) => answer === "Ambiguous").length, 10)
  })
})
