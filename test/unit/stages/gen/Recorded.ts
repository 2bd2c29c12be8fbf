/** Recorded plans of fixtures, for tests of loaders. */
import * as Effect from "effect/Effect"
import { Kernel } from "../../../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../../../src/services/Kernel/KernelCall.ts"
import * as KernelRecording from "../../../../src/services/Kernel/KernelRecording.ts"
import type { LoaderProgram } from "../../../../src/stages/gen/LoaderProgram.ts"
import * as LoadPlan from "../../../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../../../src/stages/load/Plan.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import { opened } from "../Pipeline.ts"

/** The plan of a fixture for a kernel that nothing is known of. */
export const deferred = (name: string): Effect.Effect<Plan.PlannedObject, Error> =>
  Effect.flatMap(
    KernelRecording.make,
    ({ kernel }) =>
      Effect.flatMap(Relocate.relocate.run(opened(name)), (relocated) => Plan.plan.run(relocated)).pipe(
        Effect.provideService(Kernel, kernel)
      )
  )

/** The loader of a fixture. */
export const recorded = (name: string): Effect.Effect<LoaderProgram, Error> =>
  Effect.flatMap(deferred(name), KernelRecording.record)

/** The calls of a plan that a loader makes. */
export const loaderCalls = (planned: Plan.PlannedObject): ReadonlyArray<KernelCall> =>
  LoadPlan.mainCalls(planned.plan).filter((call) => call._tag !== "ProgBindMap")

/** Fixtures that loaders can be recorded of. */
export const recordable: ReadonlyArray<string> = [
  "xdp_firewall.bpf.o",
  "global_data.bpf.o",
  "tracepoint.bpf.o",
  "subprograms.bpf.o",
  "test_run.bpf.o",
  "core_reads.bpf.o"
]
