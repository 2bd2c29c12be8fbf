/**
 * Waiting for the kernel: until memory that it shares has something to read, or room to write.
 *
 * Source: poll(2), epoll(7); `ringbuf_map_poll_kern` and `ringbuf_map_poll_user` in `kernel/bpf/ringbuf.c`, `perf_poll` in
 * `kernel/events/core.c`.
 */
import type { Footprint } from "../KernelCall.ts"
import type { EventRef, MapRef } from "../Ref.ts"

/**
 * Waits until one of the refs is ready, without holding up anything else in this process; it can be interrupted at any
 * moment, and is the only call that can. Answers the positions in `refs` of those that are ready, in rising order: none when
 * the time is over.
 *
 * Ready means for `Read` that a ring buffer has bytes that its consumer's position has not passed (a record that is still
 * being written counts), or that a perf event has called for its reader; for `Write` that a user ring buffer has a free byte.
 * Other maps, and the other direction of these, are `EINVAL`: they would never be ready.
 *
 * Whoever reads looks first and waits then: what was committed with `BPF_RB_NO_WAKEUP` while somebody waits wakes nobody. A
 * perf event tells each call for its reader once.
 */
export interface Wait {
  readonly _tag: "Wait"
  readonly refs: ReadonlyArray<MapRef | EventRef>
  readonly for: "Read" | "Write"
  /** Milliseconds, 0 to look without waiting; absent to wait for as long as it takes. */
  readonly timeout?: number
}

/** The refs that a `Wait` touches. */
export const waitFootprint = (call: Wait): Footprint => ({ defines: undefined, changes: [], reads: call.refs })
