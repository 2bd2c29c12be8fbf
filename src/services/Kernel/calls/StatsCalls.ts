/**
 * The call that has the kernel count how programs run.
 */
import type { Footprint } from "../KernelCall.ts"
import type { StatsRef } from "../Ref.ts"

/**
 * Has the kernel measure how often and how long each program runs (`runCount` and `runTime` of `ProgInfo`) until this is closed,
 * and everybody else's too: those that are open are counted. Each run takes some nanoseconds more meanwhile. Needs `CAP_SYS_ADMIN`;
 * kernels from 5.8 on have it.
 *
 * Source: `BPF_ENABLE_STATS` of `include/uapi/linux/bpf.h`.
 */
export interface StatsEnable {
  readonly _tag: "StatsEnable"
  readonly as: StatsRef
  /** What is measured: `RunTime` is all that there is. */
  readonly what: "RunTime"
}

/** Which refs the call touches. */
export const statsFootprint = (call: StatsEnable): Footprint => ({ defines: call.as, changes: [], reads: [] })
