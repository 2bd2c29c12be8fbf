/**
 * Spreads the work of `core check` over threads.
 *
 * This thread works, too; the others join it when they have come up. Each opens all objects, of which they share the bytes,
 * and takes one kernel after another from a counter that they share, so that each kernel is read and indexed once and
 * nobody waits for anybody. A thread that dies, of memory above all, costs the kernel that it was at.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Worker } from "node:worker_threads"
import type * as Compatibility from "../../diagnostics/Compatibility.ts"
import * as Checker from "./Checker.ts"

/** Hears how many items are done. */
export type Told = (done: number) => Effect.Effect<void>

/** Does work. */
export interface Threads {
  readonly rows: ReadonlyArray<Compatibility.ObjectRow>
  /** What each kernel came to, in their order. */
  readonly columns: (told: Told) => Effect.Effect<ReadonlyArray<Checker.Column>>
  /** The answers to questions. */
  readonly names: (
    questions: ReadonlyArray<Compatibility.Question>,
    told: Told
  ) => Effect.Effect<ReadonlyArray<Checker.Answers["Names"]>>
}

/** In the bundled command the threads' code is a file beside it. */
const source = new URL(import.meta.url.endsWith(".ts") ? "./Worker.ts" : "./effect-bpf-worker.js", import.meta.url)

/** The other threads. */
interface Helpers {
  /** Those that live. */
  readonly workers: Set<Worker>
  /** Why one died, the last one that did. */
  death: string | undefined
  /** Hears of answers, and with nothing of deaths. */
  heard: (message?: unknown) => void
}

const isAnswer = (value: unknown): value is { readonly position: number; readonly answer: unknown } =>
  typeof value === "object" && value !== null && "position" in value && typeof value.position === "number" &&
  "answer" in value

const isColumn = (value: unknown): value is Checker.Column =>
  typeof value === "object" && value !== null && "problem" in value && "checked" in value

const isNames = (value: unknown): value is Checker.Answers["Names"] => Array.isArray(value)

const start = (helpers: Helpers, setup: Checker.Setup): Worker => {
  const worker = new Worker(source, { workerData: setup })
  const die = (why: string): void => {
    if (!helpers.workers.delete(worker)) return
    helpers.death = why
    helpers.heard()
  }
  worker.on("message", (message: unknown) => helpers.heard(message))
  worker.on("error", (error: unknown) => die(error instanceof Error ? error.message : String(error)))
  worker.on("exit", (status) => die(`it ended with status ${status}`))
  helpers.workers.add(worker)
  return worker
}

/** Does all items of a work; those that a thread died at stay `undefined`. */
const all = <A>(
  setup: Checker.Setup,
  checker: Checker.Checker,
  helpers: Helpers,
  work: Checker.Work,
  is: (value: unknown) => value is A,
  told: Told
): Effect.Effect<ReadonlyArray<A | undefined>> =>
  Effect.gen(function*() {
    const count = Checker.itemsOf(setup, work)
    const answers = Array.from({ length: count }, (): A | undefined => undefined)
    const next = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
    let done = 0
    let settled = (): void => {}
    const put = (position: number, answer: unknown): void => {
      if (!is(answer)) return
      answers[position] = answer
      done += 1
    }
    helpers.heard = (message) => {
      if (isAnswer(message)) put(message.position, message.answer)
      settled()
    }
    for (const worker of helpers.workers) worker.postMessage({ work, next }, [])
    for (let position = Checker.take(next, count); position !== undefined; position = Checker.take(next, count)) {
      put(position, checker.answer(work, position))
      // What the others say is heard in between, and so is an interruption.
      yield* Effect.yieldNow
      yield* told(done)
    }
    // All are taken; what is still open some other thread is at.
    while (done < count && helpers.workers.size > 0) {
      yield* Effect.callback<void>((resume) => {
        settled = () => resume(Effect.void)
      })
      yield* told(done)
    }
    return answers
  })

/** Starts `count` threads, of which this one is the first. They end with the scope. */
export const make = (setup: Checker.Setup, count: number): Effect.Effect<Threads, never, Scope.Scope> =>
  Effect.gen(function*() {
    const helpers: Helpers = { workers: new Set(), death: undefined, heard: () => {} }
    for (let position = 1; position < count; position++) {
      yield* Effect.acquireRelease(Effect.sync(() => start(helpers, setup)), (worker) => {
        helpers.workers.delete(worker)
        return Effect.promise(() => worker.terminate())
      })
    }
    const checker = Checker.make(setup)
    const died = (): Checker.Column => ({
      problem: `the thread that was at it died: ${helpers.death ?? "nobody knows why"}`,
      checked: undefined
    })
    return {
      rows: checker.rows,
      columns: (told) =>
        Effect.map(
          all(setup, checker, helpers, { _tag: "Columns" }, isColumn, told),
          (columns) => columns.map((column) => column ?? died())
        ),
      names: (questions, told) =>
        Effect.map(
          all(setup, checker, helpers, { _tag: "Names", questions }, isNames, told),
          (names) => names.map((each) => each ?? [])
        )
    }
  })
