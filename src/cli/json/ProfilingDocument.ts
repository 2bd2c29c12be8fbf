/**
 * What `prog profile` counted, as data, with bpftool's keys.
 */
import type { Profile } from "../prog/Profile.ts"
import { exact } from "./Exact.ts"
import type { Json } from "./Json.ts"

/** The document: a metric each. */
export const profilingJson = ({ readings, runs }: Profile): Json =>
  readings.map(({ counter, enabled, metric, running }) => ({
    metric: metric.name,
    run_cnt: exact(runs),
    value: exact(counter),
    enabled: exact(enabled),
    running: exact(running)
  }))
