/**
 * What `run` found out, as data. Keys and their order are those of `bpftool prog run`; bytes are arrays of numbers there.
 */
import type { TestRunResult } from "../../services/Kernel/KernelCall.ts"
import { byFile, percent } from "../../testing/Coverage.ts"
import type { ProgramCoverage } from "../../services/Kernel/KernelSimulated.ts"
import type * as Documents from "../schemas/Run.ts"

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

const runJson = ({ action, frame, result }: RunDocument): typeof Documents.Packet.Type => ({
  ...(frame === undefined ? {} : { frame }),
  ...(result.dataOut.length === 0 ? {} : { data_out: [...result.dataOut] }),
  ...(result.contextOut.length === 0 ? {} : { ctx_out: [...result.contextOut] }),
  retval: result.retval,
  ...(action === undefined ? {} : { action }),
  duration: result.duration
})

/** What a simulated kernel has seen beside the runs. */
export interface Seen {
  /** Lines that the programs printed. */
  readonly printk: ReadonlyArray<string>
  /** What ran; `undefined` where nobody asked. */
  readonly coverage: ReadonlyArray<ProgramCoverage> | undefined
}

/** Nothing but the runs. */
export const nothingSeen: Seen = { printk: [], coverage: undefined }

const seenJson = ({ coverage, printk }: Seen): typeof Documents.Seen.Type => ({
  ...(printk.length === 0 ? {} : { printk: [...printk] }),
  ...(coverage === undefined ? {} : {
    coverage: byFile(coverage).map(({ covered, file, lines }) => ({
      file,
      covered,
      total: lines.length,
      percent: percent(covered, lines.length),
      lines: lines.map(({ count, line, text }) => ({ line, count, text }))
    }))
  })
})

/** The document: one run by itself, or those of a capture under `packets`. */
export const runsJson = (runs: ReadonlyArray<RunDocument>, seen: Seen = nothingSeen): typeof Documents.Run.Type => {
  const [only] = runs
  return runs.length === 1 && only !== undefined && only.frame === undefined
    ? { ...runJson(only), ...seenJson(seen) }
    : { packets: runs.map(runJson), ...seenJson(seen) }
}
