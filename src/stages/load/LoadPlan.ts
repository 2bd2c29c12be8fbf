/**
 * A load plan: the kernel calls that load an object, as data.
 *
 * It is a tree. Fallbacks for older kernels and the reuse of pinned maps are branches of it, not code somewhere else, so
 * printing a plan shows all that a load may do.
 */
import type { Errno } from "../../services/Kernel/abi/Errno.ts"
import type { KernelCall, MapAttributes } from "../../services/Kernel/KernelCall.ts"
import type { MapRef } from "../../services/Kernel/Ref.ts"

/** What to do instead when a call fails in one of these ways; `"any"` is every answer of the kernel. */
export interface Otherwise {
  readonly on: ReadonlyArray<Errno> | "any"
  readonly steps: LoadPlan
}

/** A call to make. */
export interface CallStep {
  readonly _tag: "Call"
  readonly call: KernelCall
  /** What the call is for, for people: `map counters`. */
  readonly why: string
  readonly notes: ReadonlyArray<string>
  /** Whether the load fails when the call fails and nothing is to be done instead. */
  readonly required: boolean
  readonly otherwise: ReadonlyArray<Otherwise>
  /** Of a call that takes a map of the user's: what the map must be like, or the load fails. */
  readonly mustEqual?: MapShape
}

/** What a map must be like to be used in place of one of our own. */
export type MapShape = Pick<MapAttributes, "type" | "keySize" | "valueSize" | "maxEntries" | "flags" | "extra">

/** A map that is shared by its pin: used when it is there, else created, filled and pinned. */
export interface EnsureStep {
  readonly _tag: "Ensure"
  readonly map: MapRef
  readonly pinnedAt: string
  readonly mustEqual: MapShape
  readonly why: string
  readonly notes: ReadonlyArray<string>
  /** Creates, fills and pins the map. Pinning may find that another process was faster: then the first look is repeated. */
  readonly otherwise: LoadPlan
}

/** A step of a plan. */
export type Step = CallStep | EnsureStep

/** Steps in the order in which they are listed, printed and recorded. */
export type LoadPlan = ReadonlyArray<Step>

/** A step that must succeed. */
export const required = (
  call: KernelCall,
  why: string,
  more: Partial<Pick<CallStep, "notes" | "otherwise" | "mustEqual">> = {}
): CallStep => ({ _tag: "Call", call, why, notes: [], required: true, otherwise: [], ...more })

/** A step that may fail; what it should have made is then absent. */
export const optional = (
  call: KernelCall,
  why: string,
  more: Partial<Pick<CallStep, "notes" | "otherwise">> = {}
): CallStep => ({ _tag: "Call", call, why, notes: [], required: false, otherwise: [], ...more })

/** Every call of a plan, those of branches included, in listed order. */
export const calls = (plan: LoadPlan): ReadonlyArray<KernelCall> => {
  const found: Array<KernelCall> = []
  const visit = (steps: LoadPlan): void => {
    for (const step of steps) {
      if (step._tag === "Ensure") visit(step.otherwise)
      else {
        found.push(step.call)
        for (const branch of step.otherwise) visit(branch.steps)
      }
    }
  }
  visit(plan)
  return found
}

/** The calls of a load where nothing fails and no pin exists yet, in listed order. */
export const mainCalls = (plan: LoadPlan): ReadonlyArray<KernelCall> =>
  plan.flatMap((step) => step._tag === "Ensure" ? mainCalls(step.otherwise) : [step.call])
