/**
 * Which steps of a plan depend on which.
 *
 * Two steps that touch the same kernel object depend on each other unless both only read it. Steps are sorted into
 * levels: all steps of a level may run at once, after all those of the levels before.
 */
import { footprint } from "../../services/Kernel/KernelCall.ts"
import { key } from "../../services/Kernel/Ref.ts"
import type { LoadPlan, Step } from "./LoadPlan.ts"

/** What a step touches, with all that its branches may touch. */
interface Touched {
  readonly writes: Set<string>
  readonly reads: Set<string>
}

const touch = (step: Step, touched: Touched): Touched => {
  if (step._tag === "Ensure") {
    touched.writes.add(key(step.map))
    for (const each of step.otherwise) touch(each, touched)
    return touched
  }
  const { changes, defines, reads } = footprint(step.call)
  if (defines !== undefined) touched.writes.add(key(defines))
  for (const ref of changes) touched.writes.add(key(ref))
  for (const ref of reads) touched.reads.add(key(ref))
  for (const branch of step.otherwise) for (const each of branch.steps) touch(each, touched)
  return touched
}

/** The steps by level, in listed order within each. */
export const levels = (plan: LoadPlan): ReadonlyArray<ReadonlyArray<Step>> => {
  /** The first level at which an object may be read, and at which it may be written. */
  const readable = new Map<string, number>()
  const writable = new Map<string, number>()
  const sorted: Array<Array<Step>> = []
  for (const step of plan) {
    const { reads, writes } = touch(step, { writes: new Set(), reads: new Set() })
    let level = 0
    for (const name of reads) level = Math.max(level, readable.get(name) ?? 0)
    for (const name of writes) level = Math.max(level, writable.get(name) ?? 0)
    for (const name of reads) writable.set(name, Math.max(writable.get(name) ?? 0, level + 1))
    for (const name of writes) {
      readable.set(name, level + 1)
      writable.set(name, Math.max(writable.get(name) ?? 0, level + 1))
    }
    const steps = sorted[level] ?? []
    sorted[level] = steps
    steps.push(step)
  }
  return sorted
}
