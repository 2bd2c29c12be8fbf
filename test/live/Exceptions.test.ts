/** Programs that throw, on the running kernel: with a callback of their own and without. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Os from "node:os"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { testRun } from "../support/LiveKernel.ts"
import { describeWith, fixture, isOlder } from "../support/Require.ts"

describeWith({ kind: "live" }, "exceptions", () => {
  it.live("end a program, by its callback where it has one", () =>
    Effect.gen(function*() {
      const object = yield* Effect.fromResult(Open.fromBytes(fixture("exceptions.bpf.o"), { path: "exceptions.bpf.o" }))
      const relocated = yield* Effect.result(Relocate.relocate.run(object))
      // Kernels before 6.7 have no exceptions, and the object says by name what they lack.
      if (Result.isFailure(relocated)) {
        assert.match(relocated.failure.message, /bpf_throw/)
        return assert.isTrue(isOlder(Os.release(), "6.7"), Os.release())
      }
      const loaded = yield* Execute.toLoaded(yield* Plan.plan.run(relocated.success))
      const run = (name: string, length: number) => {
        const prog = loaded.program(name) ?? assert.fail(`${name} was not loaded`)
        const call = testRun(0, { prog, dataIn: new Uint8Array(length) })
        return Effect.map(loaded.session.call(call), ({ retval }) => retval)
      }
      assert.strictEqual(yield* run("throw_when_short", 100), 0)
      assert.strictEqual(yield* run("throw_when_short", 60), 42, "what the callback returns")
      assert.strictEqual(yield* run("throw_to_default", 100), 3)
      assert.strictEqual(yield* run("throw_to_default", 60), 7, "the cookie")
      const map = loaded.map(".bss") ?? assert.fail("no .bss")
      const value = yield* loaded.session.call({
        _tag: "MapLookup",
        map,
        key: new Uint8Array(4),
        valueSize: object.maps.find((map) => map.origin === "Bss")?.attr.valueSize ?? 0,
        flags: 0n
      })
      assert.strictEqual(new DataView((value ?? new Uint8Array(8)).slice().buffer).getBigUint64(0, true), 41n)
    }).pipe(Effect.scoped, Effect.provide(KernelLive.layer)))
})
