/**
 * Loaders really run: for every fixture that a direct load takes here, its loader makes the same maps and programs. What this
 * kernel refuses is loaded by other kernels, in virtual machines, where this test runs as well.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Snapshot from "../../src/services/Kernel/live/Snapshot.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { type Beside, beside, reasonOf, recordObject, summary } from "../support/LoadersBeside.ts"
import { allFixtures, describeWith } from "../support/Require.ts"

/** Loads all fixtures both ways; what of them differs, and is not meant to. */
const differences = Effect.fnUntraced(function*(
  what: string,
  record: (object: BpfObject) => Effect.Effect<LoaderProgram, unknown>
) {
  const live = yield* KernelLive.make
  const before = openDescriptors()
  const outcomes = new Map<string, Beside>()
  for (const name of allFixtures().filter((each) => /^[^/]*[.]bpf[.]o$/.test(each))) {
    outcomes.set(name, yield* beside(name, live, { record }))
    assert.deepStrictEqual(openDescriptors(), before, name)
  }
  // Also in virtual machines, whose standard output nobody sees.
  process.stderr.write(summary(outcomes).split("\n").map((line) => `count: ${what}: ${line.slice(0, 300)}\n`).join(""))
  const equal = [...outcomes.values()].filter((each) => each._tag === "Loaded" && each.differences.length === 0)
  return {
    equal: equal.length,
    found: [...outcomes].flatMap(([name, each]) =>
      each._tag === "Loaded"
        ? each.differences.flatMap((difference) =>
          reasonOf(name, difference) === undefined ? [`${name}: ${difference}`] : []
        )
        : []
    )
  }
})

// Identifiers are root's, and so is the list of them that tells whether anything is left.
describeWith({ kind: "live", root: true }, "loaders beside direct loads", () => {
  it.live("make the same maps and programs, for each fixture that the kernel loads", () =>
    Effect.gen(function*() {
      const { equal, found } = yield* differences("decided when they run", (object) => recordObject(object))
      assert.deepStrictEqual(found, [])
      assert.isAtLeast(equal, 20)
    }), 240_000)

  it.live(
    "make the same maps and programs where all was decided for this kernel beforehand",
    () =>
      Effect.gen(function*() {
        const profile = yield* Snapshot.take()
        const { equal, found } = yield* differences("decided beforehand", (object) => recordObject(object, { profile }))
        assert.deepStrictEqual(found, [])
        assert.isAtLeast(equal, 20)
      }),
    240_000
  )
})
