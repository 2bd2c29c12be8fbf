/**
 * A kernel in this process: maps, programs and their runs in memory, with no root, no Linux and no privileges.
 *
 * It makes every call of the contract as the live kernel makes it, with the same answers and error numbers, as far as the
 * rules of maps, contexts and helpers are simulated (see `vm/maps`, `vm/contexts`, `vm/helpers`, which list what is left
 * out). Programs run in the virtual machine. It has no verifier: what that would have proved is checked while a program
 * runs, and what it would have refused is a `ProgramFault` that names program, instruction and source line.
 *
 * Two runs on two kernels of the same options are the same: time, random numbers, task and CPU come from the options, and
 * their defaults are fixed. The one exception is `duration` of a test run, which is measured.
 *
 * What differs from the live kernel besides: nothing has a descriptor, so `adopt` is refused (pins are shared by the
 * sessions of one layer instead); programs cannot be attached; programs of kinds that only the kernel can run are loaded,
 * and `ProgTestRun` of them is an `UnsupportedCall`; tags are those of Linux 6.18.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { lineCounts } from "../../vm/Lines.ts"
import type { FeatureReport } from "./FeatureReport.ts"
import { Kernel, type KernelShape } from "./Kernel.ts"
import * as Errno from "./abi/Errno.ts"
import { refusing } from "./calls/Attaching.ts"
import { fromErrno, type KernelError } from "./KernelError.ts"
import * as KernelInfo from "./KernelInfo.ts"
import * as Session from "./Session.ts"
import { ask } from "./simulated/Answers.ts"
import * as BtfCalls from "./simulated/BtfCalls.ts"
import * as Kernels from "./simulated/Context.ts"
import * as ElementCalls from "./simulated/ElementCalls.ts"
import * as Features from "./simulated/Features.ts"
import * as IdCalls from "./simulated/IdCalls.ts"
import * as MapCalls from "./simulated/MapCalls.ts"
import { drop, type Handle } from "./simulated/Objects.ts"
import type { SimulatedOptions } from "./simulated/Options.ts"
import * as PerfCalls from "./simulated/PerfCalls.ts"
import * as PinCalls from "./simulated/PinCalls.ts"
import * as ProgCalls from "./simulated/ProgCalls.ts"
import * as ProgLoad from "./simulated/ProgLoad.ts"
import * as Refuse from "./simulated/Refuse.ts"
import { Simulation, type SimulationShape } from "./simulated/Simulation.ts"
import * as WaitCalls from "./simulated/WaitCalls.ts"

export type {
  ArgumentType,
  Call,
  Clock,
  Device,
  Override,
  OverrideFunction,
  Redirect,
  Task
} from "../../vm/helpers/Environment.ts"
export type { LineCount } from "../../vm/Lines.ts"
export type { SimulatedOptions } from "./simulated/Options.ts"
export { Simulation } from "./simulated/Simulation.ts"
export type { ProgramCoverage, SimulatedRedirect, SimulationShape } from "./simulated/Simulation.ts"

/** A simulated kernel, and what can be seen of it. */
export interface Simulated {
  readonly kernel: KernelShape
  readonly simulation: SimulationShape
}

const release = (context: Kernels.Context, handle: Handle): Effect.Effect<void> =>
  Effect.sync(() => {
    if (handle._tag !== "View") return drop(context.environment, handle, "user")
    handle.close()
    drop(context.environment, handle.map, "kernel")
  })

const backendOf = (context: Kernels.Context): Session.Backend<Handle> => ({
  handlers: {
    ...BtfCalls.handlers(context),
    ...MapCalls.handlers(context),
    ...ElementCalls.handlers(context),
    ...ProgLoad.handlers(context),
    ...ProgCalls.handlers(context),
    ...IdCalls.handlers(context),
    ...PinCalls.handlers(context),
    ...WaitCalls.handlers(context),
    ...refusing((call) =>
      Effect.fail(
        Refuse.unsupported(
          call._tag,
          "has nothing that programs could be attached to: no events happen in it",
          "run programs with ProgTestRun, or attach them on the live kernel"
        )
      )
    ),
    // Behind the refusals: some perf events happen.
    ...PerfCalls.handlers(context)
  },
  release: (handle) => release(context, handle),
  borrow: ({ fd }) =>
    Effect.fail(
      Refuse.unsupported(
        "adopt",
        `has no descriptor ${fd}, for nothing in it has one`,
        "pin the object, and open it with ObjGet in another session of the same layer"
      )
    ),
  // One after another: runs are then the same every time.
  concurrency: 1
})

const simulationOf = (context: Kernels.Context): SimulationShape => ({
  printk: Effect.sync(() => context.printk.splice(0)),
  redirects: Effect.sync(() =>
    context.environment.redirects.splice(0).map(({ flags, helper, map, packet, target }) => ({
      helper,
      target,
      flags,
      map: map?.name,
      packet
    }))
  ),
  coverage: Effect.sync(() =>
    context.world.coverage
      ? context.covered.map(({ lines, name, program }) => ({
        program: name,
        lines: lines === undefined
          ? []
          : lineCounts(lines, context.coverage.get(program) ?? new Uint32Array(program.slots))
      }))
      : undefined
  )
})

/** A simulated kernel on this state; tests look into it. */
export const fromContext = (context: Kernels.Context): Simulated => {
  const { architecture, kfuncs, release, variables } = context.world
  const supplied = new Set([...Object.keys(kfuncs), ...Object.keys(variables)])
  return {
    kernel: {
      name: Refuse.kernelName,
      info: Effect.succeed(KernelInfo.make({ release, architecture, byteOrder: "little", supplied })),
      ask: (requirements) => ask(context.world, requirements),
      loaders: "Replayed",
      session: (options) =>
        options?.token === undefined || options.token === "default"
          ? Session.make(backendOf(context), options)
          : Effect.fail(
            fromErrno("session", "the simulated kernel", Errno.numbers.EOPNOTSUPP, {
              hint: "the simulated kernel permits everything: leave the BPF token out"
            })
          )
    },
    simulation: simulationOf(context)
  }
}

/** A simulated kernel in which nothing is loaded. Options that make no machine are `EINVAL`, with a hint that says why. */
export const make = (options: SimulatedOptions = {}): Effect.Effect<Simulated, KernelError> =>
  Effect.suspend(() => Effect.map(Effect.fromResult(Kernels.make(options)), fromContext))

/** What a simulated kernel of these options supports. */
export const features = (options: SimulatedOptions = {}): Effect.Effect<FeatureReport, KernelError> =>
  Effect.suspend(() => Effect.map(Effect.fromResult(Kernels.make(options)), Features.report))

/** A simulated kernel as a service, with the service that looks into it. */
export const layer = (options: SimulatedOptions = {}): Layer.Layer<Kernel | Simulation, KernelError> =>
  Layer.effectContext(
    Effect.map(
      make(options),
      ({ kernel, simulation }) => Context.make(Kernel, kernel).pipe(Context.add(Simulation, simulation))
    )
  )
