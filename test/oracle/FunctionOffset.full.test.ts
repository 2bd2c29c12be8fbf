/** Offsets of all functions of a binary of more than a hundred megabytes: Node's own, with its table of local symbols. */
import { assert, it } from "@effect/vitest"
import * as Judge from "../support/Offsets.ts"
import { describeWith } from "../support/Require.ts"

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
