/**
 * Attaching to a probe where one attempt after another fails or is interrupted: nothing stays of it, and all that it had taken is
 * free for the next.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Usdt from "../../src/attach/Usdt.ts"
import type { KernelShape, Observer } from "../../src/services/Kernel/Kernel.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Spec from "../../src/usdt/Spec.ts"
import { live, probe, type Setting, traces } from "./UsdtLive.ts"
import { start, type Target } from "./UsdtTarget.ts"

/** As many records as the probe `many` needs: one that is lost is missed. */
const records = 2

const edits = [
  (object: Parameters<typeof Edit.setMap>[0]) => Edit.setMap(object, Spec.specsMap, { maxEntries: records })
]

/** How many addresses programs are told. */
const addressesIn = (loaded: LoadedObject) =>
  Effect.gen(function*() {
    const map = loaded.map(Spec.addressMap)
    if (map === undefined) return yield* Effect.die("no map")
    let count = 0
    for (let key: Uint8Array | undefined;; count++) {
      key = yield* loaded.session.call({
        _tag: "MapNextKey",
        map,
        keySize: 8,
        ...(key === undefined ? {} : { key })
      })
      if (key === undefined) return count
    }
  })

/** Counts the attempts of a kernel. */
const counting = (kernel: KernelShape, count: { attempts: number }): KernelShape => {
  const observer: Observer = {
    before: () => Effect.sync(() => void count.attempts++),
    after: () => Effect.void
  }
  return KernelTraced.observe(kernel, observer, { listedOrder: true })
}

const attach = (loaded: LoadedObject, target: Target) => Usdt.attach(loaded, "any", probe("many", { pid: target.pid }))

/** From which attempt to which an attachment goes. */
const attempts = (setting: Setting, target: Target) =>
  Effect.gen(function*() {
    const count = { attempts: 0 }
    const found = { first: 0, end: 0 }
    yield* live({ ...setting, edits, kernel: (kernel) => Effect.succeed(counting(kernel, count)) }, ({ loaded }) =>
      Effect.gen(function*() {
        found.first = count.attempts
        yield* attach(loaded, target)
        found.end = count.attempts
      }))
    return found
  })

const faults: ReadonlyArray<KernelFaulty.Fault> = [
  { _tag: "Answer", errno: "ENOMEM" },
  { _tag: "InterruptBefore" },
  { _tag: "InterruptAfter" }
]

/** Disturbs an attachment at each of its attempts, with one fault after the other. */
export const disturb = (setting: Setting): Effect.Effect<void, unknown> =>
  Effect.scoped(Effect.gen(function*() {
    const target = yield* start(probe("many").path)
    const { end, first } = yield* attempts(setting, target)
    assert.isAtLeast(end - first, 4)
    let disturbed = 0
    for (let at = first; at < end; at++) {
      const fault = faults[at % faults.length] ?? { _tag: "InterruptAfter" }
      const where = `${fault._tag} at attempt ${at}`
      const kernel = (running: KernelShape) => KernelFaulty.make(running, at, fault)
      yield* live({ ...setting, edits, kernel }, ({ events, loaded }) =>
        Effect.gen(function*() {
          const exit = yield* Fiber.await(yield* Effect.forkChild(Effect.scoped(attach(loaded, target))))
          if (Exit.isFailure(exit)) disturbed++
          assert.deepStrictEqual(yield* traces, [], where)
          assert.strictEqual(yield* addressesIn(loaded), 0, where)
          yield* target.round
          assert.deepStrictEqual(yield* events, [], where)
          yield* attach(loaded, target)
          yield* target.round
          assert.lengthOf(yield* events, 3, where)
        }))
    }
    // What is asked of the kernel beside its calls may be done without.
    assert.isAbove(disturbed, (end - first) / 2)
  }))
