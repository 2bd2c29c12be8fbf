/**
 * What attaching needs of a loaded object, and of the kernel.
 */
import * as Effect from "effect/Effect"
import { hasIt } from "../services/Kernel/Feature.ts"
import { Kernel } from "../services/Kernel/Kernel.ts"
import type { KernelError } from "../services/Kernel/KernelError.ts"
import type { Feature } from "../services/Kernel/KernelInfo.ts"
import type { ProgRef } from "../services/Kernel/Ref.ts"
import { type BpfObject, entryPrograms, findProgram, type Program } from "../stages/open/BpfObject.ts"
import type { LoadedObject } from "../stages/load/Execute.ts"
import { type AttachError, refuse, type What } from "./AttachError.ts"

/** A loaded object, as far as its programs are attached. */
export type Loaded = Pick<LoadedObject, "object" | "session" | "program">

/** A program of a loaded object. */
export interface LoadedProgram {
  readonly ref: ProgRef
  readonly program: Program
}

const known = (object: BpfObject): string => {
  const names = entryPrograms(object).map(({ name }) => name)
  return names.length === 0 ? "the object has no programs" : `the object has ${names.join(", ")}`
}

/** The program of this name, which the load must have taken. */
export const programOf = (loaded: Loaded, what: What): Effect.Effect<LoadedProgram, AttachError> =>
  Effect.suspend(() => {
    const program = findProgram(loaded.object, what.program)
    if (program === undefined) {
      return Effect.fail(refuse(what, "NoSuchProgram", "there is no such program", known(loaded.object)))
    }
    const ref = loaded.program(what.program)
    return ref === undefined
      ? Effect.fail(
        refuse(what, "NotLoaded", "the program is not loaded", "turn its autoload on (Edit) and load again")
      )
      : Effect.succeed({ ref, program })
  })

/** Whether the kernel has a feature; where it does not tell, it is taken to have it: the kernel then says no by itself. */
export const supports = (feature: Feature): Effect.Effect<boolean, KernelError, Kernel> =>
  Effect.gen(function*() {
    const kernel = yield* Kernel
    const { features } = yield* kernel.ask([{ _tag: "Feature", feature }])
    const fact = features?.get(feature)
    return fact?._tag !== "Known" || hasIt(fact.value) !== false
  })
