/** A jump table on the running kernel. No clang at hand writes them yet: the object is made here. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { describeWith } from "../support/Require.ts"
import { open, spec } from "../unit/stages/load/JumpTableObject.ts"

describeWith({ kind: "live" }, "a jump table on the running kernel", () => {
  it.live("is loaded where there are such maps, and else refused by the name of the map's type", () =>
    Effect.gen(function*() {
      const object = Result.getOrThrow(open(spec()))
      const result = yield* Effect.result(Effect.scoped(Effect.gen(function*() {
        return yield* Execute.toLoaded(yield* Plan.plan.run(yield* Relocate.relocate.run(object)))
      })))
      if (Result.isSuccess(result)) return
      const error = result.failure
      if (error._tag === "VerifierError") return assert.strictEqual(error.program, "prog")
      if (error._tag !== "KernelError") return assert.fail(error.message)
      assert.deepStrictEqual([error.call, error.errno, error.subject], ["MapCreate", "EINVAL", ".jumptables"])
      assert.match(error.hint ?? "", /does not know insn_array maps/)
    }).pipe(Effect.provide(KernelLive.layer)))
})
