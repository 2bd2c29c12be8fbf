import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelSimulated from "../../../../src/services/Kernel/KernelSimulated.ts"
import { globalsSuite } from "../../../support/GlobalsSuite.ts"

describe("global variables on the simulated kernel", () => {
  globalsSuite(Effect.map(KernelSimulated.make(), ({ kernel }) => kernel))
})

describe("global variables on a simulated kernel without mapped arrays", () => {
  globalsSuite(
    Effect.map(KernelSimulated.make({ features: { ArrayMmap: false } }), ({ kernel }) => kernel),
    false
  )
})
