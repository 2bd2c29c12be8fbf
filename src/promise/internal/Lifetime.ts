/**
 * Runs the library's effects for callers of promises, and holds what they acquire until it is closed.
 *
 * A lifetime is a scope with those fibers that run in it. They form a tree: a kernel, the objects in it, their links and
 * readers. Closing one ends the fibers of everything below it first, each of which releases what it was about to acquire, and
 * then closes its scope, which releases the rest, last first.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { Kernel } from "../../services/Kernel/Kernel.ts"
import { ClosedError } from "../Errors.ts"
import type { Resource } from "../Resource.ts"

/** What effects of the promise face may need: the kernel, and a scope to acquire in. */
export type Needs = Kernel | Scope.Scope

/** A scope, and what runs in it. */
export interface Lifetime {
  /** What it is the lifetime of, for errors: `the object xdp_firewall`. */
  readonly subject: string
  readonly isClosed: () => boolean
  /** Runs an effect in this scope. The promise rejects with the error itself, the signal's reason, or a `ClosedError`. */
  readonly run: <A, E>(effect: Effect.Effect<A, E, Needs>, signal?: AbortSignal) => Promise<A>
  /** A lifetime that ends with this one, or before. */
  readonly child: (subject: string) => Lifetime
  /** Runs an effect in a lifetime of its own below this one, which is closed at once where the effect does not succeed. */
  readonly acquire: <A, E>(
    subject: string,
    effect: Effect.Effect<A, E, Needs>,
    signal?: AbortSignal
  ) => Promise<{ readonly value: A; readonly own: Lifetime }>
  readonly close: () => Promise<void>
}

/** Ends what is below a lifetime, without waiting for what is done about it. */
interface Below {
  readonly halt: () => void
  readonly close: () => Promise<void>
}

/** What a promise rejects with. */
const reasonOf = <E>(cause: Cause.Cause<E>, subject: string, signal: AbortSignal | undefined): unknown =>
  Cause.hasInterruptsOnly(cause)
    ? signal?.aborted === true ? signal.reason : new ClosedError({ subject })
    : Cause.squash(cause)

/** Fibers that have not ended. */
interface Fibers {
  readonly start: <A, E>(fiber: Fiber.Fiber<A, E>, signal?: AbortSignal) => Promise<Exit.Exit<A, E>>
  readonly interrupt: () => void
  readonly ended: () => Promise<unknown>
}

const fibersOf = (): Fibers => {
  const running = new Map<Fiber.Fiber<unknown, unknown>, Promise<unknown>>()
  const start = <A, E>(fiber: Fiber.Fiber<A, E>, signal?: AbortSignal): Promise<Exit.Exit<A, E>> => {
    const end = new Promise<Exit.Exit<A, E>>((resolve) => {
      const abort = () => fiber.interruptUnsafe()
      signal?.addEventListener("abort", abort, { once: true })
      fiber.addObserver((exit) => {
        signal?.removeEventListener("abort", abort)
        running.delete(fiber)
        resolve(exit)
      })
    })
    // An effect without a pause has ended already.
    if (fiber.pollUnsafe() === undefined) running.set(fiber, end)
    return end
  }
  return {
    start,
    interrupt: () => {
      for (const fiber of running.keys()) fiber.interruptUnsafe()
    },
    ended: () => Promise.all(running.values())
  }
}

const lifetimeIn = (
  subject: string,
  context: Context.Context<Kernel>,
  scope: Scope.Closeable,
  above: Set<Below>
): Lifetime => {
  const fork = Effect.runForkWith(context)
  const fibers = fibersOf()
  const below = new Set<Below>()
  let closing: Promise<void> | undefined
  let halted = false
  const halt = (): void => {
    halted = true
    for (const each of below) each.halt()
    fibers.interrupt()
  }
  const finish = async (): Promise<void> => {
    halt()
    await fibers.ended()
    for (const each of [...below].reverse()) await each.close()
    above.delete(me)
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
  const close = (): Promise<void> => closing ??= finish()
  const me: Below = { halt, close }
  above.add(me)
  const child = (name: string): Lifetime => {
    const own = lifetimeIn(name, context, Scope.forkUnsafe(scope), below)
    if (halted) void own.close()
    return own
  }
  const run = async <A, E>(effect: Effect.Effect<A, E, Needs>, signal?: AbortSignal): Promise<A> => {
    if (halted) throw new ClosedError({ subject })
    signal?.throwIfAborted()
    const exit = await fibers.start(fork(Scope.provide(effect, scope)), signal)
    if (Exit.isSuccess(exit)) return exit.value
    throw reasonOf(exit.cause, subject, signal)
  }
  return {
    subject,
    isClosed: () => halted,
    run,
    child,
    acquire: async (name, effect, signal) => {
      if (halted) throw new ClosedError({ subject })
      const own = child(name)
      try {
        return { value: await own.run(effect, signal), own }
      } catch (error) {
        await own.close()
        throw error
      }
    },
    close
  }
}

/** A lifetime with a kernel, which is built for it and closed with it. */
export const root = async <R, E>(
  subject: string,
  layer: Layer.Layer<Kernel | R, E>,
  signal?: AbortSignal
): Promise<Lifetime & { readonly context: Context.Context<Kernel | R> }> => {
  signal?.throwIfAborted()
  const scope = Scope.makeUnsafe()
  const exit = await Effect.runPromiseExit(Layer.buildWithScope(layer, scope), signal === undefined ? {} : { signal })
  if (Exit.isFailure(exit)) {
    await Effect.runPromise(Scope.close(scope, exit))
    throw reasonOf(exit.cause, subject, signal)
  }
  return { ...lifetimeIn(subject, exit.value, scope, new Set()), context: exit.value }
}

/** The part of a lifetime that its owner sees. */
export const resource = (lifetime: Pick<Lifetime, "close" | "isClosed">): Resource => ({
  get closed() {
    return lifetime.isClosed()
  },
  close: lifetime.close,
  [Symbol.asyncDispose]: lifetime.close
})

/** Adds to a resource; properties that are computed stay so, which a spread would make values of. */
export const extend = <R extends Resource, M extends object>(to: R, more: M): R & M =>
  Object.defineProperties(to, Object.getOwnPropertyDescriptors(more)) as R & M
