/**
 * Law 7 for the operations on an object's life, over all fixtures that a simulated kernel loads.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import { fresh, live, planOf } from "../support/Life.ts"
import { allFixtures } from "../support/Require.ts"

const faults: ReadonlyArray<KernelFaulty.Fault> = [
  { _tag: "Answer", errno: "EPERM" },
  { _tag: "InterruptBefore" },
  { _tag: "InterruptAfter" }
]

/** Without its types an object lives on; but CO-RE records that are left to the kernel need them. */
const needsTypes = /its CO-RE records need the object's BTF/

/** From so many attempts on, not each is struck. */
const many = 500

describe("law 7, operation after operation, over the fixtures", () => {
  it("holds for each that the simulated kernel loads", async () => {
    const lived: Array<string> = []
    let points = 0
    for (const name of allFixtures().filter((each) => each.endsWith(".bpf.o"))) {
      const planned = await planOf(name).catch(() => undefined)
      if (planned === undefined) continue
      const context = fresh()
      const traced = await Effect.runPromise(KernelTraced.make(KernelSimulated.fromContext(context).kernel))
      const whole = await Effect.runPromise(live(planned, context, traced.kernel))
      // What the simulated kernel does not load is told by other tests.
      if (whole.struck.length > 0) continue
      lived.push(name)
      const attempts = (await Effect.runPromise(traced.attempts)).length
      for (const fault of faults) {
        for (let at = 0; at < attempts; at += attempts > many ? 7 : 1) {
          const struck = fresh()
          const kernel = await Effect.runPromise(
            KernelFaulty.make(KernelSimulated.fromContext(struck).kernel, at, fault)
          )
          const { found } = await Effect.runPromise(live(planned, struck, kernel))
          if (found.some((text) => needsTypes.test(text))) continue
          assert.deepStrictEqual(found, [], `${name}: ${JSON.stringify(fault)} at attempt ${at} of ${attempts}`)
          points++
        }
      }
    }
    console.log(`${lived.length} fixtures, ${points} injection points`)
    assert.isAtLeast(lived.length, 20)
    assert.isAtLeast(points, 4000)
  })
})
