/**
 * One type after the other: order, then emission of what was queued.
 *
 * Source: reference page `btf-dump`, section A.
 */
import type { BtfError } from "../BtfError.ts"
import { emit } from "./Emit.ts"
import { isPending, order } from "./Order.ts"
import type { State } from "./State.ts"

/** Writes type `id` and all that it needs and that is not written yet. Problems are added to `state.problems`. */
export const dumpInto = (state: State, id: number): void => {
  const { problems, queue } = state
  queue.length = 0
  const impossible: BtfError | undefined = order(state, id)
  for (let index = 0; index < queue.length; index++) emit(state, queue[index] ?? 0)
  if (impossible !== undefined) problems.push(impossible)
}

export { isPending }
