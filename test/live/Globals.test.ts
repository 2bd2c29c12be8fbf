import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Os from "node:os"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Globals from "../../src/stages/load/Globals.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import { globalsSuite } from "../support/GlobalsSuite.ts"
import { mappings, openDescriptors } from "../support/LiveKernel.ts"
import { loadFixture } from "../support/LoadFixture.ts"
import { bpffs, describeWith } from "../support/Require.ts"

describeWith({ kind: "live" }, "global variables on the live kernel", () => {
  globalsSuite(KernelLive.make)

  it.live("leave neither memory nor descriptors behind", () =>
    Effect.gen(function*() {
      const before = [openDescriptors().length, mappings()]
      const kernel = yield* KernelLive.make
      yield* Effect.gen(function*() {
        const loaded = yield* loadFixture("global_data.bpf.o", { kernel })
        yield* Globals.open(loaded)
        assert.isAbove(mappings(), before[1] ?? 0)
      }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
      assert.deepStrictEqual([openDescriptors().length, mappings()], before)
    }))

  it.live("of the kernel's configuration are read", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      yield* Effect.gen(function*() {
        const globals = yield* Globals.open(yield* loadFixture("externs.bpf.o", { kernel }))
        const version = yield* globals.get("LINUX_KERNEL_VERSION")
        assert.strictEqual(Number(version) >> 16, Number(Os.release().split(".")[0]))
        const failed = yield* Effect.flip(globals.set("LINUX_KERNEL_VERSION", 1))
        assert.isTrue(failed instanceof Globals.GlobalsError && failed.reason === "ReadOnly")
      }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
    }))

  it.live("of a pinned map are those that everybody sees", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const path = `${bpffs()}/shared_data`
      const load = loadFixture("global_data.bpf.o", {
        kernel,
        edits: [(object) => Edit.setMap(object, ".data", { pinPath: path })]
      })
      yield* Effect.gen(function*() {
        const first = yield* Globals.open(yield* load)
        const second = yield* Globals.open(yield* load)
        yield* first.set("answer", 1234)
        assert.strictEqual(yield* second.get("answer"), 1234)
      }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
    }))
})
