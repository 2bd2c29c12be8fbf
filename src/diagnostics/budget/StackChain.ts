/**
 * How deep the stack of a program gets: the functions of its instructions, who calls whom, and the chain of calls whose
 * functions together take most.
 */
import * as Insn from "../../insn/Insn.ts"

/** The functions of a program: where each starts, in slots, and which of them it calls or hands on as a callback. */
interface Functions {
  readonly starts: ReadonlyArray<number>
  readonly calls: ReadonlyArray<ReadonlyArray<number>>
}

const functionsOf = (insns: Uint8Array): Functions => {
  const count = Insn.count(insns)
  const sites: Array<{ readonly at: number; readonly target: number }> = []
  const found = new Set([0])
  for (let slot = 0; slot < count; slot = Insn.nextSlot(insns, slot)) {
    const target = Insn.subprogramTarget(insns, slot)
    if (target === undefined || target < 0 || target >= count) continue
    found.add(target)
    sites.push({ at: slot, target })
  }
  const starts = [...found].sort((one, other) => one - other)
  const positions = new Map(starts.map((start, position) => [start, position]))
  const calls: Array<Set<number>> = starts.map(() => new Set<number>())
  let position = 0
  for (const { at, target } of sites) {
    while ((starts[position + 1] ?? count) <= at) position++
    calls[position]?.add(positions.get(target) ?? 0)
  }
  return { starts, calls: calls.map((called) => [...called]) }
}

/**
 * Bytes of the deepest chain of calls, without what the kernel rounds each function up to; `undefined` where the depths are
 * not those of the functions in these instructions, as where the verifier removed some or has added its own, and where a
 * function calls itself.
 *
 * `insns` are the instructions as they were loaded, `depths` what the verifier says of each function, in order.
 */
export const deepest = (insns: Uint8Array, depths: ReadonlyArray<number>): number | undefined => {
  // One function has one depth, whatever its calls.
  const { calls, starts } = functionsOf(insns)
  if (depths.length !== starts.length) return undefined
  const below = new Array<number | undefined>(starts.length).fill(undefined)
  const active = new Set([0])
  // Depth first, without recursion: what a function calls is known before the function is.
  const path: Array<{ readonly at: number; next: number; deepest: number }> = [{ at: 0, next: 0, deepest: 0 }]
  for (;;) {
    const top = path.at(-1)
    if (top === undefined) return below[0]
    const callee = calls[top.at]?.[top.next]
    if (callee === undefined) {
      below[top.at] = (depths[top.at] ?? 0) + top.deepest
      active.delete(top.at)
      path.pop()
      continue
    }
    const known = below[callee]
    if (known !== undefined) {
      top.deepest = Math.max(top.deepest, known)
      top.next++
    } else if (active.has(callee)) return undefined
    else {
      active.add(callee)
      path.push({ at: callee, next: 0, deepest: 0 })
    }
  }
}
