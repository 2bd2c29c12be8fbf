/**
 * Loaders that were recorded for the running kernel's own profile, beside direct loads: what is fixed in them is what a load
 * decides, and nobody has to be told anything.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Kernels from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import * as Snapshot from "../../src/services/Kernel/live/Snapshot.ts"
import * as LoaderInput from "../../src/stages/gen/LoaderInput.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { type Beside, beside, reasonOf, summary } from "../support/LoadersBeside.ts"
import { allFixtures, describeWith } from "../support/Require.ts"

// Identifiers are root's, and so is the list of them that tells whether anything is left.
describeWith({ kind: "live", root: true, files: ["/sys/kernel/btf/vmlinux"] }, "loaders for the running kernel", () => {
  it.live("make what a direct load makes, of a few objects that depend on the kernel", () =>
    Effect.gen(function*() {
      const profile = yield* Snapshot.take({ modules: true, symbols: true })
      const record = (object: BpfObject) =>
        Effect.gen(function*() {
          const { kernel } = yield* KernelRecording.makeWith({ profile })
          const planned = yield* Effect.flatMap(Relocate.relocate.run(object), (relocated) => Plan.plan.run(relocated))
            .pipe(Effect.provideService(Kernels.Kernel, kernel))
          const loader = yield* KernelRecording.record(planned)
          assert.deepStrictEqual(loader.inputs.filter(LoaderInput.isRequired), [])
          return loader
        })
      const live = yield* KernelLive.make
      const before = openDescriptors()
      const outcomes = new Map<string, Beside>()
      const chosen = /^(core_|events|externs|ksyms|map_kinds|struct_ops|tracepoint|usdt|old_kernels).*[.]bpf[.]o$/
      for (const name of allFixtures().filter((each) => chosen.test(each))) {
        outcomes.set(name, yield* beside(name, live, { record }))
        assert.deepStrictEqual(openDescriptors(), before, name)
      }
      console.log(summary(outcomes))
      const differences = [...outcomes].flatMap(([name, each]) =>
        each._tag === "Loaded"
          ? each.differences.filter((difference) => reasonOf(name, difference) === undefined).map((one) =>
            `${name}: ${one}`
          )
          : []
      )
      assert.deepStrictEqual(differences, [])
      assert.isAtLeast([...outcomes.values()].filter(({ _tag }) => _tag === "Loaded").length, 5)
    }))
})
