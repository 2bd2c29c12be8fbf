/**
 * The calls of a plan that a loader makes: what executing the plan on a recording kernel comes to, without a session.
 *
 * A plan of hundreds of calls is recorded in a tenth of the time. It is a shortcut for plans that go through: where anything
 * would fail, there is no answer, and the session of a recording says what is wrong.
 */
import type { KernelCall, MapAttributes } from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { CallStep, LoadPlan } from "../load/LoadPlan.ts"
import * as Recordable from "./assemble/Recordable.ts"

/** What of a plan a loader makes, and what it leaves out, for people. */
export interface PlanCalls {
  readonly calls: ReadonlyArray<KernelCall>
  readonly notes: ReadonlyArray<string>
}

/** What is open at a point of the plan, and what was found so far. */
interface Walk {
  readonly calls: Array<KernelCall>
  readonly notes: Array<string>
  readonly open: Set<string>
  readonly maps: Map<number, MapAttributes>
}

/** Notes what a call opens and closes; `false` where a session would refuse that. */
const take = ({ calls, maps, open }: Walk, call: KernelCall): boolean => {
  const made = call._tag === "BtfLoad" || call._tag === "MapCreate" || call._tag === "ProgLoad" ? call.as : undefined
  if (made !== undefined) {
    const key = Ref.key(made)
    if (open.has(key) || made.session !== undefined) return false
    open.add(key)
    if (call._tag === "MapCreate") maps.set(call.as.index, call.attr)
  }
  if (call._tag === "Close") {
    if (!open.delete(Ref.key(call.ref))) return false
    if (call.ref._tag === "Map") maps.delete(call.ref.index)
  }
  calls.push(call)
  return true
}

const one = (walk: Walk, { call, mustEqual, otherwise, required }: CallStep): boolean => {
  if (mustEqual !== undefined) return false
  const complaint = Recordable.complaint(call, (ref) => walk.maps.get(ref.index))
  if (complaint === undefined) return take(walk, call)
  if (complaint.reason === "Unsupported") {
    // A kernel that cannot do this at all has not refused it: no branch is for that.
    walk.notes.push(`left out: ${complaint.message}`)
    return !required
  }
  const branch = otherwise.find(({ on }) => on === "any" || on.includes("EINVAL"))
  return branch === undefined ? !required : all(walk, branch.steps)
}

const all = (walk: Walk, plan: LoadPlan): boolean => {
  for (const step of plan) if (step._tag === "Ensure" || !one(walk, step)) return false
  return true
}

/** The calls of a plan; `undefined` where a recording would fail. */
export const of = (plan: LoadPlan): PlanCalls | undefined => {
  const walk: Walk = { calls: [], notes: [], open: new Set(), maps: new Map() }
  return all(walk, plan) ? walk : undefined
}
