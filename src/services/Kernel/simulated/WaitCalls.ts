/**
 * Waiting for simulated ring buffers and perf events: whoever waits is woken when a program commits a record, or has drained
 * one, under the rules by which the kernel wakes (`BPF_RB_NO_WAKEUP`, `BPF_RB_FORCE_WAKEUP`, the event's `wakeup`). Time is that of Effect's clock.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as PerfEvents from "../../../vm/maps/PerfEvents.ts"
import * as RingBuffer from "../../../vm/maps/RingBuffer.ts"
import * as Maps from "../../../vm/maps/SimulatedMap.ts"
import { mapTypeName } from "../abi/BpfConstants.ts"
import type { Wait } from "../calls/WaitCalls.ts"
import type { CallError } from "../KernelError.ts"
import type { Bound, Handlers } from "../Session.ts"
import type { Context } from "./Context.ts"
import type { Handle } from "./Objects.ts"
import * as Refuse from "./Refuse.ts"

/** The longest time that can be waited, milliseconds, as on the live kernel. */
const longest = 0x7fff_ffff

/** Whether what a call names is ready now, each; a perf event says once that it is. */
const readinessOf = (call: Wait, bound: Bound<Handle>): Result.Result<ReadonlyArray<() => boolean>, CallError> =>
  Result.gen(function*() {
    const { refs, timeout } = call
    if (timeout !== undefined && !(timeout >= 0 && timeout <= longest)) {
      const hint = `a time to wait is 0 to ${longest} milliseconds`
      return yield* Result.fail(Refuse.invalid("Wait", `${timeout} ms`, hint))
    }
    if (refs.length === 0 && timeout === undefined) {
      const hint = "there is nothing to wait for, and no time after which to stop"
      return yield* Result.fail(Refuse.invalid("Wait", "nothing", hint))
    }
    const ready: Array<() => boolean> = []
    for (const ref of refs) {
      if (ref._tag === "Event") {
        const { name, perf } = yield* Refuse.handleOf(bound, "Wait", ref)
        if (call.for === "Write") return yield* Result.fail(Refuse.invalid("Wait", name, "perf events are only read"))
        ready.push(() => PerfEvents.poll(perf))
        continue
      }
      const { map, name } = yield* Refuse.handleOf(bound, "Wait", ref)
      const ring = Maps.ringOf(map)
      if (ring === undefined || ring.isUser !== (call.for === "Write")) {
        const verb = call.for === "Read" ? "read from" : "written to"
        const hint = `a map of type ${mapTypeName(map.shape.attr.type)} cannot be waited for to be ${verb}`
        return yield* Result.fail(Refuse.invalid("Wait", name, hint))
      }
      ready.push(() => isReady(ring))
    }
    return ready
  })

/** Whether poll(2) would call it ready. */
const isReady = (ring: RingBuffer.RingStore): boolean => {
  const used = RingBuffer.producerPosition(ring) - RingBuffer.consumerPosition(ring)
  return ring.isUser ? used < ring.mask + 1 : used !== 0
}

/** The handler of the call that waits. */
export const handlers = (context: Context): Pick<Handlers<Handle>, "Wait"> => ({
  Wait: (call, bound) => {
    const wait = Effect.suspend(() => {
      const found = readinessOf(call, bound)
      if (Result.isFailure(found)) return Effect.fail(found.failure)
      const asked = found.success
      const ready = (): ReadonlyArray<number> => asked.flatMap((isReady, index) => isReady() ? [index] : [])
      const now = ready()
      if (now.length > 0 || call.timeout === 0) return Effect.succeed(now)
      const woken = Effect.callback<ReadonlyArray<number>>((resume) => {
        const look = (): void => {
          const positions = ready()
          if (positions.length === 0) return
          context.sleepers.delete(look)
          resume(Effect.succeed(positions))
        }
        context.sleepers.add(look)
        return Effect.sync(() => context.sleepers.delete(look))
      })
      return call.timeout === undefined
        ? woken
        : Effect.raceFirst(woken, Effect.as(Effect.sleep(call.timeout), []))
    })
    return Effect.map(bound.attempt(0, undefined, wait), (result) => ({ result }))
  }
})
