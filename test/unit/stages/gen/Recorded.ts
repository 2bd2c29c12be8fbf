/** Recorded plans of fixtures, for tests of loaders. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Kernel } from "../../../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../../../src/services/Kernel/KernelCall.ts"
import * as KernelRecording from "../../../../src/services/Kernel/KernelRecording.ts"
import type { LoaderProgram } from "../../../../src/stages/gen/LoaderProgram.ts"
import * as LoadPlan from "../../../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../../../src/stages/load/Plan.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import { allFixtures } from "../../../support/Require.ts"
import { opened } from "../Pipeline.ts"

/** The plan of a fixture for a kernel that nothing is known of. */
export const deferred = (name: string): Effect.Effect<Plan.PlannedObject, Error> =>
  Effect.suspend(() => {
    const object = opened(name)
    return Effect.flatMap(
      KernelRecording.makeWith({ byteOrder: object.byteOrder }),
      ({ kernel }) =>
        Effect.flatMap(Relocate.relocate.run(object), (relocated) => Plan.plan.run(relocated)).pipe(
          Effect.provideService(Kernel, kernel)
        )
    )
  })

/** The loader of a fixture. */
export const recorded = (name: string): Effect.Effect<LoaderProgram, Error> =>
  Effect.flatMap(deferred(name), (planned) => KernelRecording.record(planned))

/** The calls of a plan that a loader makes. */
export const loaderCalls = (planned: Plan.PlannedObject): ReadonlyArray<KernelCall> =>
  LoadPlan.mainCalls(planned.plan).filter((call) => call._tag !== "ProgBindMap")

/** Fixtures that loaders can be recorded of, of both byte orders. */
export const recordableAll: ReadonlyArray<string> = allFixtures().filter((name) =>
  Exit.isSuccess(Effect.runSyncExit(recorded(name)))
)

/** Some of them, whose loaders need not be told anything. */
export const recordable: ReadonlyArray<string> = [
  "xdp_firewall.bpf.o",
  "global_data.bpf.o",
  "tracepoint.bpf.o",
  "subprograms.bpf.o",
  "test_run.bpf.o",
  "core_reads.bpf.o",
  "map_in_map.bpf.o",
  "prog_array.bpf.o"
]
