/**
 * The compatibility matrix, held against kernels: what it calls guarded is loaded, what it calls fatal is refused, where a
 * CO-RE relocation is why at its instruction.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Cells from "../support/CellLoads.ts"
import { describeWith } from "../support/Require.ts"

describeWith({ kind: "live", root: true, files: [Cells.objectPath("core_kern.o")] }, "cells of the matrix", () => {
  it.live("are what a load comes to", () =>
    Effect.gen(function*() {
      const { counts, text, wrong } = yield* Cells.judge(yield* KernelLive.make, Cells.cases())
      Fs.writeSync(2, `count: ${text}\n`)
      assert.deepStrictEqual(wrong, [])
      assert.isAbove(counts.guarded, 10)
      assert.isAbove(counts.atInstruction, 15)
    }), 280_000)
})
