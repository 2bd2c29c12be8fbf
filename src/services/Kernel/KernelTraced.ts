/**
 * A kernel that remembers what was asked of it: a decorator of any other.
 *
 * It sees every attempt, those that a session makes again for one call included, and takes calls in listed order so that
 * two traces of one plan are equal.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Result from "effect/Result"
import { type Attempt, bothObservers, Kernel, type KernelShape, type Observer } from "./Kernel.ts"
import type { CallError } from "./KernelError.ts"

/** An attempt with what the kernel answered. */
export interface TracedAttempt extends Attempt {
  readonly answer: Result.Result<unknown, CallError>
}

/** A decorated kernel, and what it has seen so far. */
export interface Traced {
  readonly kernel: KernelShape
  /** The attempts in order; a new array at each call. */
  readonly attempts: Effect.Effect<ReadonlyArray<TracedAttempt>>
}

/** The kernel with an observer of ours around every session. */
export const observe = (
  kernel: KernelShape,
  observer: Observer,
  more: { readonly listedOrder?: boolean } = {}
): KernelShape => ({
  ...kernel,
  session: (options) => kernel.session({ ...options, ...more, observer: bothObservers(options?.observer, observer) })
})

/** Decorates a kernel. */
export const make = (kernel: KernelShape): Effect.Effect<Traced> =>
  Effect.sync(() => {
    const seen: Array<TracedAttempt> = []
    const observer: Observer = {
      before: () => Effect.void,
      after: (attempt, answer) =>
        Effect.sync(() => {
          seen.push({ ...attempt, answer })
        })
    }
    return { kernel: observe(kernel, observer, { listedOrder: true }), attempts: Effect.sync(() => [...seen]) }
  })

/** Decorates the kernel that a layer provides; `onAttempt` is told every attempt when it is over. */
export const layer = <E, R>(
  decorated: Layer.Layer<Kernel, E, R>,
  onAttempt: (attempt: TracedAttempt) => Effect.Effect<void>
): Layer.Layer<Kernel, E, R> =>
  Layer.effect(
    Kernel,
    Effect.map(Kernel, (kernel) =>
      observe(kernel, {
        before: () => Effect.void,
        after: (attempt, answer) => onAttempt({ ...attempt, answer })
      }, { listedOrder: true }))
  ).pipe(Layer.provide(decorated))
