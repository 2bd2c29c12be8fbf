/**
 * Law 7 on the running kernel for objects that no simulated kernel loads: nothing is left of a struct that the kernel calls, of
 * an arena, of a pin, whichever attempt of their load fails or is interrupted. The full run does it for all fixtures.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import type * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { loadable, type Mistake, strike } from "../support/LiveFaults.ts"
import { bpffs, describeWith } from "../support/Require.ts"

const faults: ReadonlyArray<KernelFaulty.Fault> = [
  { _tag: "Answer", errno: "EPERM" },
  { _tag: "Answer", errno: "EINTR" },
  { _tag: "InterruptBefore" },
  { _tag: "InterruptAfter" }
]

const pinRoot = (): string => Path.join(bpffs(), "faults")

describeWith({ kind: "live", root: true, linux: "6.12" }, "a load of which any attempt fails or is interrupted", () => {
  for (const name of ["arena.bpf.o", "pinned_map.bpf.o", "struct_ops.bpf.o"]) {
    it.live(`leaves nothing of ${name}`, () =>
      Effect.gen(function*() {
        const live = yield* KernelLive.make
        const { planned } = yield* loadable(name, live, pinRoot())
        const { attempts, found, objects, points } = yield* strike(planned, live, { faults, pinRoot: pinRoot() })
        console.log(`${name}: ${points} injection points, ${faults.length} faults at ${attempts} attempts`)
        assert.deepStrictEqual(found, [])
        assert.strictEqual(points, faults.length * attempts)
        // Each of these acquires a map and a program at least.
        assert.isAbove(objects, 2 * faults.length)
      }))
  }

  const mistakes: ReadonlyArray<readonly [Mistake, RegExp]> = [
    ["forgets to close", /descriptors.* became /],
    ["forgets to close", /Map \d+ is still there/],
    ["forgets to close", /Prog \d+ is still there/],
    ["commits too early", /pins are left: shared_counters/]
  ]
  for (const [mistake, seen] of mistakes) {
    it.live(`named fault: a load that ${mistake} is noticed: ${seen.source}`, () =>
      Effect.gen(function*() {
        const live = yield* KernelLive.make
        const { planned } = yield* loadable("pinned_map.bpf.o", live, pinRoot())
        const few = faults.filter(({ _tag }) => _tag === "InterruptAfter")
        const { found } = yield* strike(planned, live, { faults: few, pinRoot: pinRoot(), mistake })
        assert.isTrue(found.some((text) => seen.test(text)), found.join("\n"))
      }))
  }
})
