/**
 * Loaders really run: for every fixture that a direct load takes here, its loader makes the same maps and programs. What this
 * kernel refuses is loaded by other kernels, in virtual machines, where this test runs as well.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { type Beside, beside, reasonOf, summary } from "../support/LoadersBeside.ts"
import { allFixtures, describeWith } from "../support/Require.ts"

// Identifiers are root's, and so is the list of them that tells whether anything is left.
describeWith({ kind: "live", root: true }, "loaders beside direct loads", () => {
  it.live("make the same maps and programs, for each fixture that the kernel loads", () =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const before = openDescriptors()
      const outcomes = new Map<string, Beside>()
      for (const name of allFixtures().filter((each) => /^[^/]*[.]bpf[.]o$/.test(each))) {
        outcomes.set(name, yield* beside(name, live))
        assert.deepStrictEqual(openDescriptors(), before, name)
      }
      console.log(summary(outcomes))
      const found = [...outcomes].flatMap(([name, each]) =>
        each._tag === "Loaded"
          ? each.differences.flatMap((difference) =>
            reasonOf(name, difference) === undefined ? [`${name}: ${difference}`] : []
          )
          : []
      )
      assert.deepStrictEqual(found, [])
      assert.isAtLeast([...outcomes.values()].filter(({ _tag }) => _tag === "Loaded").length, 10)
    }))
})
