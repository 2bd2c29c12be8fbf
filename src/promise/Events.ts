/**
 * What programs send: records of ring buffers and of perf buffers, as values.
 */
import type { BtfValue } from "../btf/BtfValue.ts"
import type { RequestOptions, Resource } from "./Resource.ts"

/** How records are read. */
export interface EventOptions<A> extends RequestOptions {
  /**
   * The name of the type of the records (`exec_event`), where the map does not name it (see `event:` in docs/events.md). Where
   * neither does, records are bytes.
   */
  readonly type?: string
  /** Makes yours of a record: the `parse` of a schema, or a function of your own. What it throws ends the loop. */
  readonly as?: (value: BtfValue) => A
}

/** What has become of records until now. */
export interface EventCounters {
  /** Records that were taken out of the buffer, by all who read the map by this object. */
  readonly taken: number
  /** Those of them that no loop has got yet: the next one gets them. They are gone when the object is closed. */
  readonly waiting: number
  /**
   * Records that found no room in the buffer: of a perf buffer since it was first read, as the kernel counts them; of a ring
   * buffer since the object was loaded, as its programs count them (`lost:` in docs/events.md), and `undefined` where they do not.
   */
  readonly lost: bigint | undefined
}

/**
 * The records that programs send through a map, as they come: `for await (const event of events)`. A loop ends when it is left,
 * and when the events or their object are closed. It throws the signal's reason when that is aborted. A record that is no value
 * of its type, and one at which a conversion throws, ends the loop, too; the next loop goes on behind it.
 *
 * Loops over the same map share its records: each goes to one of them. What a loop has left, the next one gets.
 */
export interface Events<A> extends Resource, AsyncIterable<A> {
  /** The records in arrays, each of those that were there at once: for many events a second. */
  readonly batches: () => AsyncIterable<ReadonlyArray<A>>
  /** What has become of records until now. */
  readonly counters: (options?: RequestOptions) => Promise<EventCounters>
}
