/**
 * What programs cost as a document: of `prog budget`, and in `budget` of a load that was measured.
 */
import * as Budget from "../../diagnostics/Budget.ts"
import type { Json } from "./Json.ts"

/** Where a comparison is from. */
export interface Compared {
  readonly comparison: Budget.Comparison
  readonly measurements: ReadonlyArray<Budget.Measurement>
  /** The budget's file; `undefined` where none was given. */
  readonly path: string | undefined
  /** Whether the file was written anew. */
  readonly written: boolean
}

/** The document. What does not apply is `null`. */
export const budgetJson = (
  { comparison, measurements, path, written }: Compared
): { readonly [key: string]: Json } => {
  const depths = new Map(measurements.map(({ name, stackDepths }) => [name, stackDepths]))
  return {
    budget: path ?? null,
    kernel: comparison.kernels.now ?? null,
    budget_kernel: comparison.kernels.before ?? null,
    exceeded: comparison.exceeded,
    written,
    programs: comparison.programs.map(({ metrics, name, status }) => ({
      name,
      status,
      stack_depths: [...depths.get(name) ?? []],
      metrics: metrics.map(({ allowed, before, metric, now, status }) => ({
        metric,
        before: before ?? null,
        now: now ?? null,
        allowed: allowed ?? null,
        percent: Budget.percent(before, now) ?? null,
        status
      }))
    }))
  }
}
