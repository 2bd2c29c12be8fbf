/**
 * The two parts of a load plan: what comes before any program, and what belongs to programs.
 *
 * Which is which follows from what the steps touch, not from where they stand: a step belongs to the programs that it
 * loads, binds or names in a slot, and to those of the steps that it waits for; whatever belongs to none is of the first
 * part.
 */
import type { KernelCall } from "../../services/Kernel/KernelCall.ts"
import { footprint } from "../../services/Kernel/KernelCall.ts"
import type { Ref } from "../../services/Kernel/Ref.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import { calls, type LoadPlan, type Step } from "./LoadPlan.ts"
import * as Schedule from "./Schedule.ts"

/** A step that belongs to programs. */
export interface ProgramStep {
  readonly step: Step
  /** Positions in `object.programs`, each once. */
  readonly programs: ReadonlyArray<number>
}

/** A plan in two. */
export interface Parts {
  /** The object's types and its maps. */
  readonly before: LoadPlan
  /** The rest, in listed order. */
  readonly programs: ReadonlyArray<ProgramStep>
}

/**
 * The program that a ref is for. Refs behind those of the object's own programs name the programs of the user's that
 * they attach to, one for each.
 */
const programOf = (object: BpfObject, ref: Ref): number | undefined => {
  if (ref._tag !== "Prog") return undefined
  const count = object.programs.length
  return ref.index < count ? ref.index : ref.index < 2 * count ? ref.index - count : undefined
}

/** The refs by which a call belongs to programs. A program does not belong to the one that it is for. */
const refsOf = (call: KernelCall): ReadonlyArray<Ref> => {
  if (call._tag === "ProgLoad") return [call.as]
  const { changes, defines, reads } = footprint(call)
  return [...(defines === undefined ? [] : [defines]), ...changes, ...reads]
}

/** Divides a plan. */
export const of = (object: BpfObject, plan: LoadPlan): Parts => {
  const { dependents } = Schedule.dependencies(plan)
  /** What a step inherits from those that it waits for. */
  const inherited = plan.map(() => new Set<number>())
  const before: Array<Step> = []
  const programs: Array<ProgramStep> = []
  plan.forEach((step, position) => {
    const named = calls([step]).flatMap(refsOf).flatMap((ref) => programOf(object, ref) ?? [])
    const own = new Set(named.length > 0 ? named : inherited[position])
    if (own.size === 0) {
      before.push(step)
      return
    }
    programs.push({ step, programs: [...own] })
    for (const dependent of dependents[position] ?? []) for (const each of own) inherited[dependent]?.add(each)
  })
  return { before, programs }
}
