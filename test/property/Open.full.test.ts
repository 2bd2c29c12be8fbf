/** The property of `Open.test.ts`, twenty times as often, and with objects that are damaged further and further. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Mutate from "../support/Mutate.ts"
import { corpus, corpusFolder, describeWith, runs } from "../support/Require.ts"
import * as BadInput from "../unit/stages/BadInput.ts"
import { assertQuick } from "../support/CpuTime.ts"

const subjects = BadInput.subjects()

describe("damaged objects", () => {
  it("end in a value or a tagged error, soon", () => {
    fc.assert(
      fc.property(fc.constantFrom(...subjects), Mutate.edits, (subject, edits) => {
        assertQuick(BadInput.judge(Mutate.apply(subject, edits, subjects)).milliseconds, 4000)
      }),
      { numRuns: runs(400_000) }
    )
    assert.isBelow(process.resourceUsage().maxRSS, 4 * 1024 * 1024)
  })

  it("that are accepted are damaged again, until they are not", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...subjects),
        fc.array(Mutate.edits, { minLength: 5, maxLength: 30 }),
        (subject, rounds) => {
          let current = subject
          for (const edits of rounds) {
            const bytes = Mutate.apply(current, edits, subjects)
            const verdict = BadInput.judge(bytes)
            assertQuick(verdict.milliseconds, 4000)
            if (verdict.reached === "nothing") continue
            current = { ...subject, bytes }
          }
        }
      ),
      { numRuns: runs(10_000) }
    )
  })
})

describeWith({ kind: "oracle", files: [corpusFolder] }, "damaged objects of the corpus", () => {
  // Some of the corpus are no ELF files on purpose; large ones only take longer.
  const found = corpus().flatMap((path) => {
    const bytes = new Uint8Array(Fs.readFileSync(path))
    return bytes.length > 200_000 || BadInput.judge(bytes).error?.startsWith("ElfError") === true
      ? []
      : [Mutate.subject(path, bytes)]
  })

  it("end in a value or a tagged error, soon", () => {
    fc.assert(
      fc.property(fc.constantFrom(...found), Mutate.edits, (subject, edits) => {
        assertQuick(BadInput.judge(Mutate.apply(subject, edits, found)).milliseconds, 4000)
      }),
      { numRuns: runs(100_000) }
    )
  })
})
