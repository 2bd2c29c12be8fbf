/**
 * Explanations of what the running kernel says of the programs that its own tests mean to be refused: there is something to say
 * of nearly all, in words, and nothing that is made of their logs breaks them or gets through to a terminal.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { explanationText } from "../../src/cli/text/ExplanationText.ts"
import { plain, render } from "../../src/cli/text/Text.ts"
import * as VerifierLogExplanation from "../../src/diagnostics/VerifierLogExplanation.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as FailingLogs from "../support/failing/FailingLogs.ts"
import { describeWith } from "../support/Require.ts"

const shown = (program: string, log: string, columns: number): string =>
  render(
    explanationText(
      VerifierLogExplanation.of({ program, log, source: log.slice(0, 90), column: 9, indent: 0 }),
      columns
    ),
    plain
  )

const actedUpon = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/u

describeWith({ kind: "live", root: true, ...FailingLogs.needs }, "explanations of refusals", () => {
  it.live(
    "tell the cause, the instruction and what was known in words, of any log and what is made of it",
    () =>
      Effect.gen(function*() {
        const kernel = yield* KernelLive.make
        const failing = [...FailingLogs.ofInstructions(), ...(yield* FailingLogs.ofObjects(kernel))]
          .filter(({ log }) => log !== "")
        assert.isAbove(failing.length, 200)
        const explanations = failing.map(({ log, name }) => VerifierLogExplanation.of({ program: name, log }))
        const known = explanations.flatMap(({ known }) => known)
        const unknown = known.filter(({ words }) => words.includes("what the kernel calls"))
        const share = (count: number, of: number): string => `${count} of ${of}`
        const withKnown = explanations.filter(({ known }) => known.length > 0)
        const withInstruction = explanations.filter(({ instruction }) => instruction?.text !== undefined)
        process.stderr.write(
          `count: explanations: what was known in ${
            share(withKnown.length, explanations.length)
          }, in the kernel's words alone ` +
            `${share(unknown.length, known.length)}: ${
              [...new Set(unknown.map(({ text }) => text))].slice(0, 20).join(" ")
            }\n`
        )
        assert.isAbove(withInstruction.length / explanations.length, 0.75)
        assert.isAbove(withKnown.length / explanations.length, 0.5)
        assert.isBelow(unknown.length / known.length, 0.05)
        const logs = failing.map(({ log }) => log)
        const nasty = fc.constantFrom("\u001b[2J", "\u202e", "\0", "\r", "\u009b1m", "; ", "R0", "from 1 to 2: ", "\n")
        const log = fc.tuple(
          fc.constantFrom(...logs),
          fc.constantFrom(...logs),
          fc.double({ min: 0, max: 1, noNaN: true }),
          fc.double({ min: 0, max: 1, noNaN: true }),
          fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), nasty), { maxLength: 6 })
        ).map(([one, other, from, to, puts]) =>
          puts.reduce(
            (text, [at, put]) =>
              `${text.slice(0, Math.floor(text.length * at))}${put}${text.slice(Math.floor(text.length * at))}`,
            one.slice(0, Math.floor(one.length * from)) + other.slice(Math.floor(other.length * to))
          )
        )
        fc.assert(
          fc.property(log, nasty, fc.integer({ min: 1, max: 200 }), (log, name, columns) => {
            const text = shown(`p${name}`, log, columns)
            assert.isFalse(text.split("\n").some((line) => actedUpon.test(line)), JSON.stringify(text))
            assert.isBelow(text.length, 30_000)
          }),
          { numRuns: 500 }
        )
      }),
    60_000
  )
})
