/** What procfs says of a process's numbers in nested namespaces. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as PidNamespace from "../../../src/attach/PidNamespace.ts"

const status = (line: string): string => `Name:\tsh\nPid:\t12\n${line}\nNSpgid:\t12\nThreads:\t1\n`

describe("the numbers of a process", () => {
  it("are those of the line, outermost first", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 2 ** 31 - 1 }), { minLength: 1, maxLength: 33 }), (pids) => {
        assert.deepStrictEqual(PidNamespace.numbersIn(status(`NSpid:\t${pids.join("\t")}`)), pids)
      })
    )
  })

  it("are not known where the line is absent or says nothing that a kernel writes", () => {
    for (
      const line of [
        "",
        "NSpid:",
        "NSpid:\t",
        "NSpid:\t0",
        "NSpid:\t-1",
        "NSpid:\t1 x",
        `NSpid:\t${2 ** 31}`,
        "NSpid:\t1e3"
      ]
    ) {
      assert.isUndefined(PidNamespace.numbersIn(status(line)), line)
    }
    assert.isUndefined(PidNamespace.numbersIn(status(`NSpid:${"\t1".repeat(34)}`)))
  })
})
