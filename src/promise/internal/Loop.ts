/**
 * Loops over a feed: iterators that end when they are left, when their signal is aborted, and when what they read is closed.
 */
import type { Feed } from "./Feed.ts"

/** Loops that are under way, of one reader. */
export interface Loops {
  /** An iterator; `take` answers its next value out of what is there, which is at least one record. */
  readonly begin: <A>(take: () => A) => AsyncIterableIterator<A>
  /** Ends them all. */
  readonly end: () => Promise<void>
}

const done = { done: true, value: undefined } as const

/** What a loop asks of who owns it. */
export interface Owner {
  /** Throws where no loop can begin. */
  readonly check: () => void
  /** Whether loops are to end. */
  readonly isClosed: () => boolean
}

/** Loops over a feed. */
export const make = (feed: Feed, { check, isClosed }: Owner, signal: AbortSignal | undefined): Loops => {
  const running = new Set<() => Promise<void>>()
  const begin = <A>(take: () => A): AsyncIterableIterator<A> => {
    const stopped = Promise.withResolvers<false>()
    let state: "new" | "reading" | "ended" = "new"
    let leaving: Promise<void> = Promise.resolve()
    let last: Promise<unknown> = leaving
    const stop = (): Promise<void> => {
      if (state === "reading") leaving = feed.leave()
      state = "ended"
      signal?.removeEventListener("abort", abort)
      running.delete(stop)
      stopped.resolve(false)
      return leaving
    }
    const abort = (): void => void stop()
    const start = (): void => {
      check()
      state = "reading"
      feed.enter()
      running.add(stop)
      signal?.addEventListener("abort", abort, { once: true })
    }
    const step = async (): Promise<IteratorResult<A, undefined>> => {
      signal?.throwIfAborted()
      try {
        if (state === "new") start()
        while (state === "reading") {
          if (isClosed()) await stop()
          else if (feed.peek() !== undefined) return { done: false, value: take() }
          else if (!await Promise.race([feed.more(), stopped.promise])) await stop()
        }
      } catch (error) {
        await stop()
        throw error
      }
      await leaving
      signal?.throwIfAborted()
      return done
    }
    return {
      next: () => {
        const result = last.then(step)
        last = result.catch(() => undefined)
        return result
      },
      return: async () => {
        await stop()
        return done
      },
      [Symbol.asyncIterator]() {
        return this
      }
    }
  }
  return {
    begin,
    end: async () => {
      await Promise.all([...running].map((stop) => stop()))
    }
  }
}
