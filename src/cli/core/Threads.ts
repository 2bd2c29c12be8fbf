/**
 * Spreads the work of `core check` over threads.
 *
 * A thread opens all objects, which threads share the bytes of, and takes kernel after kernel, so that each kernel is read
 * and indexed once. A thread that dies, of memory above all, costs the kernel that it was at, and another one goes on.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { Worker } from "node:worker_threads"
import type * as Compatibility from "../../diagnostics/Compatibility.ts"
import type * as Checker from "./Checker.ts"

/** Answers requests, as many at a time as there are threads. */
export interface Threads {
  readonly count: number
  readonly column: (kernel: number) => Effect.Effect<Checker.Column>
  readonly names: (question: Compatibility.Question) => Effect.Effect<Checker.Answers["Names"]>
}

/** In the bundled command the thread's code is a file beside it. */
const source = new URL(import.meta.url.endsWith(".ts") ? "./Worker.ts" : "./effect-bpf-worker.js", import.meta.url)

/** This thread alone; between two requests it does what else there is to do. */
const alone = (checker: Checker.Checker): Threads => ({
  count: 1,
  column: (kernel) => Effect.andThen(Effect.yieldNow, Effect.sync(() => checker.column(kernel))),
  names: (question) => Effect.andThen(Effect.yieldNow, Effect.sync(() => checker.names(question)))
})

/** A place for a thread, which is started when it gets something to do. */
interface Seat {
  worker: Worker | undefined
}

const start = (seat: Seat, setup: Checker.Setup): Worker => {
  const worker = new Worker(source, { workerData: setup })
  // One that dies while it has nothing to do is replaced when there is something again.
  worker.on("error", () => {
    if (seat.worker === worker) seat.worker = undefined
  })
  return worker
}

type Answered = { readonly _tag: "Answer"; readonly value: unknown } | { readonly _tag: "Died"; readonly why: string }

const ask = (seat: Seat, setup: Checker.Setup, request: Checker.Request): Effect.Effect<Answered> =>
  Effect.callback<Answered>((resume) => {
    const worker = seat.worker ??= start(seat, setup)
    const finish = (answered: Answered): void => {
      worker.off("message", onMessage).off("error", onError).off("exit", onExit)
      if (answered._tag === "Died") seat.worker = undefined
      resume(Effect.succeed(answered))
    }
    const onMessage = (value: unknown): void => finish({ _tag: "Answer", value })
    const onError = (error: unknown): void =>
      finish({ _tag: "Died", why: error instanceof Error ? error.message : String(error) })
    const onExit = (status: number): void => finish({ _tag: "Died", why: `it ended with status ${status}` })
    worker.on("message", onMessage).on("error", onError).on("exit", onExit)
    worker.postMessage(request, [])
    // Nobody waits for the answer any more; the next one must not be taken for it.
    return Effect.promise(() => {
      seat.worker = undefined
      return worker.terminate()
    })
  })

const isColumn = (value: unknown): value is Checker.Column =>
  typeof value === "object" && value !== null && "problem" in value && "checked" in value

const isNames = (value: unknown): value is Checker.Answers["Names"] => Array.isArray(value)

const stop = ({ worker }: Seat): Effect.Effect<void> =>
  worker === undefined ? Effect.void : Effect.promise(() => worker.terminate())

/** Starts `count` threads, or answers on this one where that is 1. They end with the scope. */
export const make = (
  setup: Checker.Setup,
  checker: Checker.Checker,
  count: number
): Effect.Effect<Threads, never, Scope.Scope> =>
  Effect.gen(function*() {
    if (count <= 1) return alone(checker)
    const free = yield* Queue.unbounded<Seat>()
    for (let position = 0; position < count; position++) {
      const seat = yield* Effect.acquireRelease(Effect.sync((): Seat => ({ worker: undefined })), stop)
      yield* Queue.offer(free, seat)
    }
    const request = (request: Checker.Request): Effect.Effect<Answered> =>
      Effect.acquireUseRelease(
        Queue.take(free),
        (seat) => ask(seat, setup, request),
        (seat) => Queue.offer(free, seat)
      )
    return {
      count,
      column: (kernel) =>
        Effect.map(request({ _tag: "Column", kernel }), (answered): Checker.Column =>
          answered._tag === "Answer" && isColumn(answered.value)
            ? answered.value
            : {
              problem: `the thread that read it died: ${answered._tag === "Died" ? answered.why : "it said nothing"}`,
              checked: undefined
            }),
      names: (question) =>
        Effect.map(
          request({ _tag: "Names", question }),
          (answered) =>
            answered._tag === "Answer" && isNames(answered.value) ? answered.value : []
        )
    }
  })
