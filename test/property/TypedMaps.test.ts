/** Typed maps on the simulated kernel. */
import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import { typedMapSuite } from "../support/TypedMapSuite.ts"

describe("typed maps on the simulated kernel", () => {
  typedMapSuite(Effect.map(KernelSimulated.make({ possibleCpus: 3 }), ({ kernel }) => kernel))
})
