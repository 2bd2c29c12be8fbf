/**
 * Streams as what `for await` reads.
 */
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import { ClosedError } from "../Errors.ts"
import type { Lifetime, Needs } from "./Lifetime.ts"

/** Reads a stream chunk by chunk. */
export interface Chunks<A> {
  /** The next chunk; `undefined` at the end, and when the lifetime in which it is read was closed. */
  readonly next: () => Promise<ReadonlyArray<A> | undefined>
  /** Stops reading, and releases what the stream holds. */
  readonly stop: () => Promise<void>
}

/**
 * Begins to read a stream in a lifetime of its own. Nothing is acquired before the first `next`. Calls of `next` may overlap: they
 * are answered in order.
 */
export const chunks = <A, E>(
  parent: Lifetime,
  subject: string,
  stream: Stream.Stream<A, E, Needs>,
  signal?: AbortSignal
): Chunks<A> => {
  let own: Lifetime | undefined
  let pull: Pull.Pull<ReadonlyArray<A>, E, void, Needs> | undefined
  let ended = false
  let last: Promise<unknown> = Promise.resolve()
  const stop = async (): Promise<void> => {
    ended = true
    signal?.removeEventListener("abort", abort)
    await own?.close()
  }
  /** What is held is let go of when the signal comes, not only when somebody asks for more. */
  const abort = (): void => void stop()
  const begin = (): Lifetime => {
    if (parent.isClosed()) throw new ClosedError({ subject: parent.subject })
    signal?.addEventListener("abort", abort, { once: true })
    return parent.child(subject)
  }
  const read = async (): Promise<ReadonlyArray<A> | undefined> => {
    signal?.throwIfAborted()
    if (ended) return undefined
    try {
      own ??= begin()
      pull ??= await own.run(Stream.toPull(stream), signal)
      const chunk = await own.run(Pull.catchDone(pull, () => Effect.succeed(undefined)), signal)
      if (chunk === undefined) await stop()
      return chunk
    } catch (error) {
      const closed = own?.isClosed() === true && error instanceof ClosedError
      await stop()
      signal?.throwIfAborted()
      if (closed) return undefined
      throw error
    }
  }
  return {
    next: () => {
      const next = last.then(read)
      last = next.catch(() => undefined)
      return next
    },
    stop
  }
}

/** An iterator over single elements of what comes in chunks, each converted when it is asked for. */
export const elements = <A, B>(
  { next, stop }: Chunks<A>,
  convert: (element: A) => B
): AsyncIterableIterator<B, undefined> => {
  let chunk: ReadonlyArray<A> = []
  let at = 0
  let stopped = false
  let last: Promise<unknown> = Promise.resolve()
  const done = { done: true, value: undefined } as const
  const end = async (): Promise<void> => {
    stopped = true
    await stop()
  }
  const step = async (): Promise<IteratorResult<B, undefined>> => {
    while (!stopped && at >= chunk.length) {
      const more = await next()
      if (more === undefined) return done
      chunk = more
      at = 0
    }
    if (stopped) return done
    try {
      return { done: false, value: convert(chunk[at++] as A) }
    } catch (error) {
      await end()
      throw error
    }
  }
  return {
    next: () => {
      const result = last.then(step)
      last = result.catch(() => undefined)
      return result
    },
    return: async () => {
      await end()
      return done
    },
    [Symbol.asyncIterator]() {
      return this
    }
  }
}

/** What can be looped over again and again, each time from the beginning. */
export const iterable = <A>(begin: () => AsyncIterator<A>): AsyncIterable<A> => ({ [Symbol.asyncIterator]: begin })
