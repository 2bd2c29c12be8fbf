/**
 * The calls on perf events that programs send records by. Other events do not happen in a simulated kernel.
 */
import * as Result from "effect/Result"
import * as Memory from "../../../vm/maps/Memory.ts"
import * as PerfEvents from "../../../vm/maps/PerfEvents.ts"
import type { Cpus } from "../calls/EventCalls.ts"
import type { Handlers } from "../Session.ts"
import type { Context } from "./Context.ts"
import { type EventObject, type Handle, hold } from "./Objects.ts"
import * as Refuse from "./Refuse.ts"

type Tags = "PerfEventOpen" | "PerfEventSwitch" | "EventMmap" | "PerfEventRead" | "CpusGet"

/** All that there may be are there. */
const cpusOf = ({ world }: Context): Cpus => {
  const all = Array.from({ length: world.possibleCpus }, (_, cpu) => cpu)
  return { possible: all, online: all }
}

/** By how much an event has run longer at each reading, nanoseconds: it is seen to run. */
const step = 1000n

/** The handlers of the calls on perf events. */
export const handlers = (context: Context): Pick<Handlers<Handle>, Tags> => ({
  PerfEventOpen: (call, bound) =>
    Refuse.once(bound, () => {
      const { cpu, pid, source } = call
      if (source._tag !== "BpfOutput") {
        return Result.fail(
          Refuse.unsupported(
            "PerfEventOpen",
            "has nothing that programs could be attached to: no events happen in it",
            "run programs with ProgTestRun, or attach them on the live kernel"
          )
        )
      }
      const name = `output of programs on CPU ${cpu}`
      if (!(source.wakeup.value >= 1 && source.wakeup.value < 2 ** 32)) {
        const hint = "whoever waits is woken after at least one record or byte"
        return Result.fail(Refuse.invalid("PerfEventOpen", name, hint))
      }
      if (!Number.isInteger(cpu) || cpu < 0 || pid !== -1) {
        const hint = "output of programs is that of one CPU, and of every process"
        return Result.fail(Refuse.invalid("PerfEventOpen", name, hint))
      }
      if (cpu >= context.world.possibleCpus) return Result.fail(Refuse.refused("PerfEventOpen", name, "ENODEV"))
      const handle: EventObject = {
        _tag: "Event",
        id: 0,
        name,
        perf: PerfEvents.make(cpu, source.wakeup),
        countsLost: source.countLost,
        running: 0n,
        references: 1,
        users: 1
      }
      return Result.succeed({ result: undefined, handle })
    }),

  PerfEventSwitch: (call, bound) =>
    Refuse.once(bound, () =>
      Result.map(Refuse.handleOf(bound, "PerfEventSwitch", call.event), ({ perf }) => {
        perf.isOn = call.on
        return { result: undefined }
      })),

  EventMmap: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const event = yield* Refuse.handleOf(bound, "EventMmap", call.event)
        const { length } = call
        const { memoryLimit, pageSize } = context.world
        if (!Number.isSafeInteger(length) || length <= 0 || length % pageSize !== 0) {
          const hint = `the length must be a multiple of the page size, ${pageSize}`
          return yield* Result.fail(Refuse.invalid("EventMmap", event.name, hint))
        }
        if (length > memoryLimit) return yield* Result.fail(Refuse.refused("EventMmap", event.name, "ENOMEM"))
        const bytes = PerfEvents.map(event.perf, length, pageSize)
        if (bytes === "EINVAL") return yield* Result.fail(Refuse.refused("EventMmap", event.name, "EINVAL"))
        const { close, view } = Memory.window(bytes, 0, length, true, () => {})
        // A mapping keeps its event alive.
        hold(event, "kernel")
        return { result: view, handle: { _tag: "View", map: event, view, writable: true, close } satisfies Handle }
      })),

  PerfEventRead: (call, bound) =>
    Refuse.once(bound, () =>
      Result.map(Refuse.handleOf(bound, "PerfEventRead", call.event), (event) => {
        event.running += step
        const lost = BigInt(event.perf.allLost)
        return { result: event.countsLost ? { count: 0n, running: event.running, lost } : { count: 0n } }
      })),

  CpusGet: (_call, bound) => Refuse.once(bound, () => Result.succeed({ result: cpusOf(context) }))
})
