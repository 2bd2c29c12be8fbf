/**
 * What `prog stats` measured, as data. Keys are bpftool's where it has them: `run_cnt`, `run_time_ns`.
 */
import { progTypeName, ProgType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Measured, Ran } from "../prog/Stats.ts"
import { exact } from "./Exact.ts"
import type { Json } from "./Json.ts"

const known: ReadonlySet<number> = new Set(Object.values(ProgType))

const ranJson = ({ gone, id, misses, name, runs, tag, time, type }: Ran): Json => ({
  id,
  type: known.has(type) ? progTypeName(type) : type,
  name,
  tag,
  run_cnt: exact(runs),
  run_time_ns: exact(time),
  average_ns: runs === 0n ? null : Number(time) / Number(runs),
  recursion_misses: exact(misses),
  gone
})

/** The document. */
export const statsJson = ({ programs, watched }: Measured, alwaysOn: boolean | undefined): Json => ({
  watched_ns: exact(watched),
  bpf_stats_enabled: alwaysOn ?? null,
  programs: programs.map(ranJson)
})
