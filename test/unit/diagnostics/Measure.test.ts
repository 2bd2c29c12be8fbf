/** Loads that are measured, on a kernel that says less than others. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Measure from "../../../src/diagnostics/Measure.ts"
import { Kernel, type KernelShape, type Session } from "../../../src/services/Kernel/Kernel.ts"
import { type CallError, fromErrno, VerifierError } from "../../../src/services/Kernel/KernelError.ts"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import { plan } from "../../../src/stages/load/Plan.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import { relocateWith } from "../../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../../src/stages/Stage.ts"
import { fixture } from "../../support/Require.ts"

/** Loads an object on a kernel that refuses logs of some levels; what was measured, and the levels that were asked for. */
const measured = (
  refused: (level: number) => boolean,
  logLevel = 0,
  refusal = (program: string, _level: number): CallError => fromErrno("ProgLoad", program, 22)
) =>
  Effect.gen(function*() {
    const object = Result.getOrThrow(Open.fromBytes(fixture("subprograms.bpf.o"), { logLevel }))
    const levels: Array<number> = []
    const simulated = yield* Kernel
    const choosy = (session: Session): Session => ({
      ...session,
      call: (call) => {
        if (call._tag !== "ProgLoad") return session.call(call)
        levels.push(call.log.level)
        return refused(call.log.level) ? Effect.fail(refusal(call.attr.name, call.log.level)) : session.call(call)
      }
    })
    const kernel: KernelShape = {
      ...simulated,
      session: (options) => Effect.map(simulated.session(options), choosy)
    }
    const executed = Stage.pipeline(relocateWith({}), plan).run(object).pipe(
      Effect.flatMap(Measure.execute),
      Effect.provideService(Kernel, kernel),
      Effect.result
    )
    return { result: yield* executed, levels }
  }).pipe(Effect.scoped, Effect.provide(KernelSimulated.layer()))

describe("a measured load", () => {
  it.effect("asks for statistics of each program", () =>
    Effect.gen(function*() {
      const { levels, result } = yield* measured(() => false)
      const { measurements, origin } = Result.getOrThrow(result)
      assert.deepStrictEqual(measurements.map(({ name }) => name), [
        "nested_calls",
        "shared_calls",
        "static_callback",
        "global_callback",
        "no_calls"
      ])
      assert.includeMembers([...origin.programs], measurements.map(({ name }) => name))
      assert.deepStrictEqual(levels, measurements.map(() => 4))
      const { levels: more } = yield* measured(() => false, 1)
      assert.deepStrictEqual(more, measurements.map(() => 5))
    }))

  it.effect("does without where the kernel refuses them, and tells what is known all the same", () =>
    Effect.gen(function*() {
      const { levels, result } = yield* measured((level) => (level & 4) !== 0)
      const { measurements } = Result.getOrThrow(result)
      assert.deepStrictEqual(levels, measurements.flatMap(() => [4, 0]))
      const last = measurements.at(-1)
      assert.strictEqual(last?.values.get("instructions"), 2)
      assert.isUndefined(last?.values.get("total_states"))
    }))

  it.effect("has the whole log of a program that is refused, which statistics leave out", () =>
    Effect.gen(function*() {
      const complaint = "R0 invalid mem access 'map_value_or_null'\n"
      const refusal = (program: string, level: number) =>
        new VerifierError({
          program,
          errno: "EACCES",
          errnoNumber: 13,
          log: level === 4 ? complaint : `7: (79) r1 = *(u64 *)(r0 +0)\n${complaint}`,
          summary: ""
        })
      const { levels, result } = yield* measured(() => true, 0, refusal)
      assert.deepStrictEqual(levels, [4, 0])
      const error = Result.isFailure(result) ? result.failure : undefined
      assert.isTrue(error?._tag === "VerifierError" && error.log.startsWith("7: (79)"))
      // With a log of instructions asked for, there is one already.
      assert.deepStrictEqual((yield* measured(() => true, 1, refusal)).levels, [5])
    }))

  it.effect("named fault: what is refused for another reason is refused", () =>
    Effect.gen(function*() {
      const { levels, result } = yield* measured(() => true)
      assert.isTrue(Result.isFailure(result))
      assert.deepStrictEqual(levels, [4, 0])
    }))
})
