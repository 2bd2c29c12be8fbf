/**
 * What commands do with the objects of the kernel of this machine: those of other kernels do not outlive a command.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Kernel } from "../../services/Kernel/Kernel.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import * as KernelChoice from "../KernelChoice.ts"
import type { UsageError } from "../Usage.ts"
import * as Objects from "./Objects.ts"

/** Does something in a session on the kernel of this machine. */
export const onKernel = <A, R, E extends object = CallError | UsageError>(
  verb: (objects: Objects.Objects) => Effect.Effect<A, E, R | Kernel | Scope.Scope>
) =>
  Effect.scoped(Effect.flatMap(Objects.open, verb)).pipe(
    KernelChoice.explaining("live"),
    Effect.provide(KernelChoice.layer("live"))
  )
