/**
 * What `run` found out, as data. Keys and their order are those of `bpftool prog run`; bytes are arrays of numbers there.
 */
import type { TestRunResult } from "../../services/Kernel/KernelCall.ts"
import type { Json } from "./Json.ts"

/** One run. */
export interface RunDocument {
  /** Which packet of a capture it was on; counts from 0. */
  readonly frame: number | undefined
  /** Bytes of the packet. */
  readonly length: number | undefined
  readonly result: TestRunResult
  /** What the return value means to the program's hook: `XDP_PASS`. */
  readonly action: string | undefined
}

const runJson = ({ action, frame, result }: RunDocument): { readonly [key: string]: Json } => ({
  ...(frame === undefined ? {} : { frame }),
  ...(result.dataOut.length === 0 ? {} : { data_out: [...result.dataOut] }),
  ...(result.contextOut.length === 0 ? {} : { ctx_out: [...result.contextOut] }),
  retval: result.retval,
  ...(action === undefined ? {} : { action }),
  duration: result.duration
})

/** The document: one run by itself, or those of a capture under `packets`. */
export const runsJson = (runs: ReadonlyArray<RunDocument>): Json => {
  const [only] = runs
  return runs.length === 1 && only !== undefined && only.frame === undefined
    ? runJson(only)
    : { packets: runs.map(runJson) }
}
