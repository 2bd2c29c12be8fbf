import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import { suite } from "../../support/UserRingSuite.ts"

describe("a producer of a user ring buffer on the simulated kernel", () =>
  suite(Effect.map(KernelSimulated.make(), ({ kernel }) => kernel)))
