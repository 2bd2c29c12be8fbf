/**
 * Records of ring buffers and perf buffers for callers of promises.
 */
import * as Result from "effect/Result"
import type { LoadedObject } from "../../stages/load/Execute.ts"
import { ClosedError } from "../Errors.ts"
import type { EventOptions, Events } from "../Events.ts"
import type { Loaded } from "../Loaded.ts"
import * as Buffers from "./Buffers.ts"
import * as Feed from "./Feed.ts"
import { iterable } from "./Iteration.ts"
import { extend, type Lifetime, resource } from "./Lifetime.ts"
import * as Loop from "./Loop.ts"
import type { Created } from "./Maps.ts"

/** All records that are there, up to the first that cannot be converted: its failure is told when it is the first. */
const batch = <A>(feed: Feed.Feed, convert: (record: Uint8Array) => A): ReadonlyArray<A> => {
  const values: Array<A> = []
  for (let record = feed.peek(); record !== undefined; record = feed.peek()) {
    try {
      values.push(convert(record))
    } catch (error) {
      if (values.length > 0) return values
      feed.shift()
      throw error
    }
    feed.shift()
  }
  return values
}

const one = <A>(feed: Feed.Feed, convert: (record: Uint8Array) => A): A => {
  const record = feed.peek() ?? new Uint8Array(0)
  feed.shift()
  return convert(record)
}

/** How the events of an object are read. */
export const events = (
  object: Lifetime,
  loaded: LoadedObject,
  created: (name: string) => Created
): Loaded["events"] => {
  const feeds = new Map<string, Feed.Feed>()
  const feedOf = ({ definition, ref }: Created): Feed.Feed => {
    const { name } = definition
    const feed = feeds.get(name) ?? Feed.make(object, Buffers.open(loaded, definition, ref))
    feeds.set(name, feed)
    return feed
  }
  return <A>(name: string, { as, signal, type }: EventOptions<A> = {}): Events<A> => {
    const map = created(name)
    const feed = feedOf(map)
    const decoder = Buffers.decoder(loaded, map.definition, type)
    const convert = (record: Uint8Array): A => {
      if (Result.isFailure(decoder)) throw decoder.failure
      const value = decoder.success(record)
      // Without a conversion A is the type of the values themselves, by its default.
      return as === undefined ? value as A : as(value)
    }
    let closed = false
    const check = (): void => {
      if (object.isClosed()) throw new ClosedError({ subject: object.subject })
      if (closed) throw new ClosedError({ subject: `the events of ${name}` })
      if (Result.isFailure(decoder)) throw decoder.failure
    }
    const isClosed = () => closed || object.isClosed()
    const loops = Loop.make(feed, { check, isClosed }, signal)
    const close = () => {
      closed = true
      return loops.end()
    }
    return extend(
      resource({ isClosed, close }),
      {
        [Symbol.asyncIterator]: () => loops.begin(() => one(feed, convert)),
        batches: () => iterable(() => loops.begin(() => batch(feed, convert))),
        counters: async (options = {}) => {
          check()
          const lost = await feed.lost(options.signal)
          return { taken: feed.taken(), waiting: feed.waiting(), lost }
        }
      } satisfies Pick<Events<A>, "batches" | "counters"> & AsyncIterable<A>
    )
  }
}
