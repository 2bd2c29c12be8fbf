/** Typed maps on the simulated kernel. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import { strike } from "../support/MapFaults.ts"
import { typedMapSuite } from "../support/TypedMapSuite.ts"

const make = Effect.map(KernelSimulated.make({ possibleCpus: 3 }), ({ kernel }) => kernel)

describe("typed maps on the simulated kernel", () => {
  typedMapSuite(make)

  it.live("whose calls fail or are interrupted say what failed", () =>
    Effect.gen(function*() {
      const { found } = yield* strike(yield* make, () => "", 3)
      assert.deepStrictEqual(found, [])
    }))
})
