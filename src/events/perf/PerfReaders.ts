/**
 * The perf events of a perf buffer, one for each CPU: opened, replaced when a CPU comes back, and closed.
 *
 * CPUs come and go. One that is offline has no event, and is opened when it comes. When one goes, the kernel takes its event
 * away for good, and says so to nobody: what it had written is still read, and when the CPU is back it gets a new event.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Session } from "../../services/Kernel/Kernel.ts"
import type { PerfEventOpen } from "../../services/Kernel/calls/EventCalls.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import type { EventRef, MapRef } from "../../services/Kernel/Ref.ts"
import type { PerfBufferError } from "./PerfError.ts"
import * as PerfRing from "./PerfRing.ts"

/** A CPU, and its slot in the map: the index that programs write to. */
export interface Place {
  readonly cpu: number
  readonly key: number
}

/** The event of one CPU, and what is known of its losses. */
export interface Reader extends Place {
  readonly event: EventRef
  readonly ring: PerfRing.PerfRing
  readonly scope: Scope.Closeable
  /** The CPU has gone or has another event: this one is closed as soon as it is read to its end. */
  retired: boolean
  /** For how long the event has run, nanoseconds, when it was last looked at; absent where the kernel was not asked. */
  running: bigint | undefined
  /** Records that were lost by the kernel's count. */
  counted: bigint
  /** Records that were lost by the records of lost ones that were read. */
  recorded: bigint
  /** Records that were lost and told to whoever reads. */
  told: bigint
}

/** What all readers of a buffer have in common. */
export interface Plan {
  readonly session: Session
  readonly map: MapRef
  readonly name: string
  readonly pageSize: number
  readonly pages: number
  readonly wakeup: Extract<PerfEventOpen["source"], { readonly _tag: "BpfOutput" }>["wakeup"]
  /** Kernels before 6.0 count no losses, beyond what they write into the buffer. */
  countsLost: boolean
}

const key4 = (index: number): Uint8Array => new Uint8Array(Uint32Array.of(index).buffer)

const isErrno = (error: CallError, errno: string): boolean => error._tag === "KernelError" && error.errno === errno

/** Opens the event of a CPU; nothing where the CPU is offline. */
const openEvent = (plan: Plan, cpu: number): Effect.Effect<EventRef | undefined, CallError, Scope.Scope> => {
  const { session } = plan
  const open = (countLost: boolean) => {
    const as = session.fresh("Event")
    return Effect.as(
      session.call({
        _tag: "PerfEventOpen",
        as,
        source: { _tag: "BpfOutput", wakeup: plan.wakeup, countLost },
        pid: -1,
        cpu
      }),
      as
    )
  }
  const opened = Effect.suspend(() => open(plan.countsLost)).pipe(
    Effect.catch((error) =>
      plan.countsLost && isErrno(error, "EINVAL")
        ? Effect.tap(open(false), () =>
          Effect.sync(() => {
            plan.countsLost = false
          }))
        : Effect.fail(error)
    ),
    Effect.catch((error) => isErrno(error, "ENODEV") ? Effect.succeed(undefined) : Effect.fail(error))
  )
  return Effect.acquireRelease(
    opened,
    (ref) => ref === undefined ? Effect.void : Effect.ignore(session.call({ _tag: "Close", ref }))
  )
}

/** Whether another reader has taken the slot of this one since. */
export type Replaced = (place: Place) => boolean

/** Maps the event's memory, starts it, and puts it into its slot. */
const start = Effect.fnUntraced(function*(plan: Plan, place: Place, event: EventRef, replaced: Replaced) {
  const { session } = plan
  const view = session.fresh("View")
  const length = (plan.pages + 1) * plan.pageSize
  const memory = yield* Effect.acquireRelease(
    session.call({ _tag: "EventMmap", event, as: view, length }),
    () => Effect.ignore(session.call({ _tag: "Close", ref: view }))
  )
  const ring = yield* Effect.fromResult(PerfRing.make(memory, { ...plan, map: plan.name, cpu: place.cpu }))
  yield* Effect.acquireRelease(
    session.call({ _tag: "PerfEventSwitch", event, on: true }),
    () => Effect.ignore(session.call({ _tag: "PerfEventSwitch", event, on: false }))
  )
  yield* Effect.acquireRelease(
    session.call({
      _tag: "MapUpdate",
      map: plan.map,
      key: key4(place.key),
      value: { bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to: event }] },
      flags: 0n
    }),
    () =>
      Effect.suspend(() =>
        replaced(place)
          ? Effect.void
          : Effect.ignore(session.call({ _tag: "MapDelete", map: plan.map, key: key4(place.key) }))
      )
  )
  return ring
})

/** Opens what reads a CPU; nothing where the CPU is offline. It lives until its scope, or the one of the buffer, is closed. */
export const open = Effect.fnUntraced(function*(
  plan: Plan,
  place: Place,
  replaced: (reader: Reader) => boolean
): Effect.fn.Return<Reader | undefined, CallError | PerfBufferError, Scope.Scope> {
  const scope = yield* Scope.fork(yield* Effect.scope)
  let made: Reader | undefined
  const opening = Effect.gen(function*() {
    const event = yield* openEvent(plan, place.cpu)
    if (event === undefined) return undefined
    const ring = yield* start(plan, place, event, () => made !== undefined && replaced(made))
    made = {
      ...place,
      event,
      ring,
      scope,
      retired: false,
      running: undefined,
      counted: 0n,
      recorded: 0n,
      told: 0n
    }
    return made
  })
  const close = Effect.suspend(() => made === undefined ? Scope.close(scope, Exit.void) : Effect.void)
  return yield* Effect.ensuring(Effect.provideService(opening, Scope.Scope, scope), close)
})

/** Closes what read a CPU. */
export const close = (reader: Reader): Effect.Effect<void> => Scope.close(reader.scope, Exit.void)

/**
 * Asks the kernel for what a reader has lost, and whether its event still runs. One that cannot be asked does not: the CPU has
 * gone.
 */
export const look = Effect.fnUntraced(function*(plan: Plan, reader: Reader) {
  if (!plan.countsLost) return { isRunning: true }
  const asked = plan.session.call({ _tag: "PerfEventRead", event: reader.event })
  const counters = yield* Effect.catch(
    asked,
    (error) => error._tag === "KernelError" ? Effect.succeed(undefined) : Effect.fail(error)
  )
  if (counters === undefined) return { isRunning: false }
  const before = reader.running
  if (counters.lost !== undefined) reader.counted = counters.lost
  reader.running = counters.running
  return { isRunning: before === undefined || counters.running === undefined || counters.running > before }
})
