/**
 * Arguments of probes: what is written is read again, on every architecture; whatever stands in a note is arguments or an error.
 * Beside the law stand faults that its check must find.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { isDeepStrictEqual } from "node:util"
import * as Argument from "../../src/usdt/Argument.ts"
import { UsdtError } from "../../src/usdt/UsdtError.ts"
import { runs } from "../support/Require.ts"
import { almostArguments, argumentList } from "../support/arbitrary/Usdt.ts"

type Writer = typeof Argument.format

const survives = (architecture: Argument.Architecture, write: Writer) => (parts: ReadonlyArray<Argument.Argument>) => {
  const text = Result.getOrThrow(write(architecture, parts))
  const back = Argument.parse(architecture, text)
  return Result.isSuccess(back) && isDeepStrictEqual(back.success, parts)
}

const changed = (change: (text: string) => string): Writer => (architecture, parts) =>
  Result.map(Argument.format(architecture, parts), change)

const writerFaults: Readonly<Record<string, Writer>> = {
  "forgets signs": changed((text) => text.replaceAll(/(^| )-/g, "$1")),
  "puts nothing between arguments": changed((text) => text.replaceAll(/ (?=-?\d+@)/g, "")),
  "drops offsets": changed((text) => text.replaceAll(/(@|, #?)-?\d+(?=\(|\])/g, (_, before: string) => before)),
  "cuts constants to 32 bits": (architecture, parts) =>
    Argument.format(
      architecture,
      parts.map((part) =>
        part.location._tag === "Constant"
          ? { ...part, location: { _tag: "Constant", value: BigInt.asIntN(32, part.location.value) } }
          : part
      )
    )
}

describe("parse(format(arguments)) = arguments", () => {
  for (const architecture of Argument.architectures) {
    it(`on ${architecture}`, () => {
      fc.assert(fc.property(argumentList(architecture), survives(architecture, Argument.format)), {
        numRuns: runs(500)
      })
    })

    it(`on ${architecture} with more blanks`, () => {
      const blanks = fc.constantFrom(" ", "  ", "\t", " \n ")
      fc.assert(fc.property(argumentList(architecture), blanks, (parts, blank) => {
        const spread = changed((text) =>
          `${blank}${
            text.replaceAll(" ", blank).replaceAll(
              /([,()[\]])/g,
              (mark) => /[([,]/.test(mark) ? `${mark}${blank}` : mark
            )
          }${blank}`
        )
        // A bracket that opens after blanks would begin an argument of its own, and a place begins right behind its offset.
        return survives(architecture, spread)(parts)
      }))
    })
  }

  for (const [fault, write] of Object.entries(writerFaults)) {
    it(`would fail for a writer that ${fault}`, () => {
      assert.isTrue(fc.check(fc.property(argumentList("x86-64"), survives("x86-64", write)), { numRuns: 2000 }).failed)
    })
  }
})

describe("text that is no arguments", () => {
  it("is refused with an error that says where", () => {
    const text = fc.oneof(almostArguments, fc.string(), fc.string({ unit: "binary" }))
    fc.assert(
      fc.property(fc.constantFrom(...Argument.architectures), text, (architecture, text) => {
        const read = Argument.parse(architecture, text)
        if (Result.isFailure(read)) {
          assert.instanceOf(read.failure, UsdtError)
          assert.isNotEmpty(read.failure.message)
          return
        }
        // What was understood can be said again, and means the same.
        const again = Argument.parse(architecture, Result.getOrThrow(Argument.format(architecture, read.success)))
        assert.deepStrictEqual(Result.getOrThrow(again), read.success)
      }),
      { numRuns: runs(2000) }
    )
  })
})
