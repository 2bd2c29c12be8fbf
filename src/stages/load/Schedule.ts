/**
 * Which steps of a plan depend on which, and which to take next.
 *
 * Two steps that touch the same kernel object depend on each other unless both only read it: the one that is listed
 * later waits for the other. Everything else may happen at once.
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

/** What a step waits for. Steps are named by their position in the plan. */
export interface Dependencies {
  /** How many steps each step waits for; one counts as often as it is among the dependents of another. */
  readonly waitsFor: ReadonlyArray<number>
  /** The steps, all of them listed later, that wait for each step. */
  readonly dependents: ReadonlyArray<ReadonlyArray<number>>
}

/** The dependencies of a plan; what follows from others is left out. */
export const dependencies = (plan: LoadPlan): Dependencies => {
  const waitsFor = plan.map(() => 0)
  const dependents = plan.map((): Array<number> => [])
  /** By object: the step that wrote it last, and those that have read it since. */
  const lastWriter = new Map<string, number>()
  const readers = new Map<string, Array<number>>()
  const wait = (step: number, on: number): void => {
    dependents[on]?.push(step)
    waitsFor[step] = (waitsFor[step] ?? 0) + 1
  }
  plan.forEach((step, position) => {
    const { reads, writes } = touch(step, { writes: new Set(), reads: new Set() })
    for (const name of reads) {
      if (writes.has(name)) continue
      const writer = lastWriter.get(name)
      if (writer !== undefined) wait(position, writer)
      const others = readers.get(name)
      if (others === undefined) readers.set(name, [position])
      else others.push(position)
    }
    for (const name of writes) {
      const others = readers.get(name) ?? []
      const writer = lastWriter.get(name)
      if (others.length === 0 && writer !== undefined) wait(position, writer)
      for (const other of others) wait(position, other)
      readers.delete(name)
      lastWriter.set(name, position)
    }
  })
  return { waitsFor, dependents }
}

/** Hands out the steps of a plan, one that is ready at a time. A mutable value for one execution. */
export interface Agenda {
  /** The first listed step that waits for nothing and was not taken yet, below the limit; `undefined` where none is ready. */
  readonly take: () => number | undefined
  /** A step is over: those that waited for it may be ready. */
  readonly finish: (step: number) => void
  /** Steps from this one on are no longer to be taken. The limit only ever falls. */
  readonly limitTo: (step: number) => void
}

/** The agenda of a plan of which nothing has been done. */
export const agenda = (plan: LoadPlan): Agenda => {
  const { dependents, waitsFor } = dependencies(plan)
  const waiting = [...waitsFor]
  const ready = heap()
  let limit = plan.length
  waiting.forEach((count, step) => {
    if (count === 0) ready.push(step)
  })
  return {
    take: () => {
      const step = ready.pop()
      // All others that are ready are listed even later.
      return step !== undefined && step < limit ? step : undefined
    },
    finish: (step) => {
      for (const dependent of dependents[step] ?? []) {
        const left = (waiting[dependent] ?? 0) - 1
        waiting[dependent] = left
        if (left === 0) ready.push(dependent)
      }
    },
    limitTo: (step) => {
      limit = Math.min(limit, step)
    }
  }
}

/** Numbers of which the smallest comes out first. */
const heap = () => {
  const items: Array<number> = []
  const at = (index: number): number => items[index] ?? Infinity
  const swap = (one: number, other: number): void => {
    const kept = at(one)
    items[one] = at(other)
    items[other] = kept
  }
  return {
    push: (item: number): void => {
      let index = items.push(item) - 1
      while (index > 0) {
        const parent = (index - 1) >> 1
        if (at(parent) <= at(index)) return
        swap(parent, index)
        index = parent
      }
    },
    pop: (): number | undefined => {
      const [smallest] = items
      const last = items.pop()
      if (last === undefined || items.length === 0) return smallest
      items[0] = last
      for (let index = 0;;) {
        const left = 2 * index + 1
        const child = at(left + 1) < at(left) ? left + 1 : left
        if (at(index) <= at(child)) return smallest
        swap(index, child)
        index = child
      }
    }
  }
}
