/**
 * What processes trace by programs: tracepoints, probes and raw tracepoints, by the descriptors that they have open.
 */
import * as Effect from "effect/Effect"
import type { TracedFd } from "../../services/Kernel/calls/EventCalls.ts"
import * as Holders from "../objects/Holders.ts"
import type { Objects } from "../objects/Objects.ts"

/** A descriptor that traces something. */
export interface TracedBy extends TracedFd {
  readonly pid: number
  readonly fd: number
  /** The name of the process. */
  readonly comm: string
}

/** `enum bpf_task_fd_type`, by bpftool's names. */
const typeNames = ["raw_tracepoint", "tracepoint", "kprobe", "kretprobe", "uprobe", "uretprobe"] as const

/** What a descriptor traces, `undefined` for a kind that is not known here. */
export type TracedKind = (typeof typeNames)[number]

/** The name of a kind. */
export const kindOf = ({ type }: Pick<TracedFd, "type">): TracedKind | undefined => typeNames[type]

/** Everything that processes trace. Only what is no file of a file system is asked about. */
export const all = Effect.fnUntraced(function*({ session }: Objects, proc: Holders.Proc = Holders.machine) {
  const found: Array<TracedBy> = []
  for (const { fd, pid, target } of Holders.descriptors(proc)) {
    if (!target.startsWith("anon_inode:")) continue
    const traced = yield* session.call({ _tag: "TaskFdQuery", pid, fd })
    if (traced !== undefined) found.push({ pid, fd, comm: Holders.commOf(pid, proc) ?? "", ...traced })
  }
  return found
})
