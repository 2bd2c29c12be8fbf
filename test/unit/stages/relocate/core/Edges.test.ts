/** Each edge of CO-RE's rules, by our engine; `test/oracle/CoreEdges.test.ts` has libbpf's answers. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { edges } from "../../../../support/CoreEdges.ts"
import { relocate, show } from "./Records.ts"

for (const [section, list] of Object.entries(edges)) {
  describe(section, () => {
    for (const { kernel, local, name, ours, specs } of list) {
      it(name, () => {
        const done = relocate(local, specs, kernel)
        const answer = Result.isFailure(done) ? { error: done.failure.reason } : { insns: show(done.success.insns) }
        assert.deepStrictEqual(answer, ours, Result.isFailure(done) ? done.failure.message : undefined)
      })
    }
  })
}
