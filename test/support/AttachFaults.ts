/**
 * Law 7 for attaching: whichever attempt fails or is interrupted, nothing of what was attached before stays: no descriptor, no
 * event in tracefs, no program that still runs. Looked at as soon as attaching has failed, with the object still loaded.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Attach from "../../src/attach/Attach.ts"
import * as Uprobe from "../../src/attach/Uprobe.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import { attaching, leftovers, load, type Loaded, opened } from "./Attaching.ts"

const object = opened(
  "attach/events.bpf.o",
  "on_tracepoint",
  "on_raw_tracepoint",
  "on_typed_tracepoint",
  "on_uprobe",
  "each_task"
)

/** Everything that sections say, and a uprobe by an event of tracefs. */
const attachMany = (loaded: Loaded) =>
  Effect.gen(function*() {
    yield* Uprobe.attach(loaded, "on_uprobe", { path: "libc.so.6", symbol: "getuid", mode: "tracefs" })
    yield* Attach.attachAll(loaded)
  })

/** How many attempts a load takes, and a load with everything attached. */
export const counts = Effect.gen(function*() {
  const traced = yield* KernelTraced.make(yield* KernelLive.make)
  return yield* attaching(
    Effect.gen(function*() {
      const loaded = yield* load(object)
      const before = (yield* traced.attempts).length
      const scope = yield* Scope.make()
      yield* Scope.provide(attachMany(loaded), scope)
      const after = (yield* traced.attempts).length
      yield* Scope.close(scope, Exit.void)
      return { before, after }
    }),
    Effect.succeed(traced.kernel)
  )
})

/** Attaches with a fault at one attempt; what is left then, and whether it failed. */
export const strike = (at: number, fault: KernelFaulty.Fault, keep: boolean) =>
  attaching(
    Effect.gen(function*() {
      const loaded = yield* load(object)
      const before = leftovers()
      const scope = yield* Scope.make()
      yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
      const attached = yield* Effect.exit(
        Effect.scoped(keep ? Scope.provide(attachMany(loaded), scope) : attachMany(loaded))
      )
      const left = leftovers().filter((each) => !before.includes(each))
      const hits = yield* loaded.count("tracepoint_hits")
      process.getuid?.()
      return { failed: Exit.isFailure(attached), left, ran: (yield* loaded.count("tracepoint_hits")) - hits }
    }),
    Effect.flatMap(KernelLive.make, (kernel) => KernelFaulty.make(kernel, at, fault))
  )

/** Sees that nothing is left, whichever attempt of attaching meets with any of these faults. */
export const leavesNothing = (faults: ReadonlyArray<KernelFaulty.Fault>) =>
  Effect.gen(function*() {
    const { after, before } = yield* counts
    assert.isAtLeast(after - before, 12)
    for (let at = before; at < after; at++) {
      for (const fault of faults) {
        const { failed, left, ran } = yield* strike(at, fault, false)
        const where = `attempt ${at - before} of ${after - before}, ${JSON.stringify(fault)}`
        // A signal is no reason to give up: the call is tried again.
        assert.strictEqual(failed, fault._tag !== "Answer" || fault.errno !== "EINTR", where)
        assert.deepStrictEqual(left, [], where)
        assert.strictEqual(ran, 0, where)
      }
    }
  })
