/**
 * A kernel that a profile describes: what is asked of it the profile answers, and loads and runs go to a simulated kernel
 * that is like it.
 *
 * Plans for another kernel are made with it, on any machine and in a browser. What the profile does not know is an error
 * when it is asked for, `ENODATA` with the reason, where a simulated kernel without a profile would answer with a default.
 * Plans can be made of kernels that are not simulated, of another byte order above all: opening a session is then the error.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Kernel } from "./Kernel.ts"
import * as KernelInfo from "./KernelInfo.ts"
import * as KernelProfile from "./KernelProfile.ts"
import * as KernelSimulated from "./KernelSimulated.ts"

/** How the machine behaves that takes the loads, as far as the profile does not decide it. */
export type ProfiledOptions = Omit<KernelSimulated.SimulatedOptions, keyof KernelProfile.ProfileOptions>

/** The kernel of a profile. The machine that takes loads is made when the first session is opened. */
export const make = (
  profile: KernelProfile.KernelProfile,
  options: ProfiledOptions = {}
): Effect.Effect<KernelSimulated.Simulated> =>
  Effect.gen(function*() {
    const { architecture, byteOrder, release } = profile
    const answers = KernelProfile.answers(profile)
    const supplied = new Set([...Object.keys(options.kfuncs ?? {}), ...Object.keys(options.variables ?? {})])
    const machine = yield* Effect.cached(
      Effect.suspend(() => KernelSimulated.make({ ...options, ...KernelProfile.toSimulatedOptions(profile) }))
    )
    /** What can be seen of the machine; nothing of one that cannot be made. */
    const seen = <A>(look: (machine: KernelSimulated.Simulated) => Effect.Effect<A>, nothing: A): Effect.Effect<A> =>
      Effect.matchEffect(machine, { onFailure: () => Effect.succeed(nothing), onSuccess: look })
    return {
      kernel: {
        name: "profiled",
        loaders: "Replayed",
        info: Effect.succeed(KernelInfo.make({ release, architecture, byteOrder, supplied })),
        ask: (requirements) => Effect.suspend(() => Effect.fromResult(answers(requirements))),
        session: (session) => Effect.flatMap(machine, ({ kernel }) => kernel.session(session))
      },
      simulation: {
        printk: seen(({ simulation }) => simulation.printk, []),
        redirects: seen(({ simulation }) => simulation.redirects, []),
        coverage: seen(({ simulation }) => simulation.coverage, undefined)
      }
    }
  })

/** The kernel of a profile as a service, with the service that looks into its machine. */
export const layer = (
  profile: KernelProfile.KernelProfile,
  options: ProfiledOptions = {}
): Layer.Layer<Kernel | KernelSimulated.Simulation> =>
  Layer.effectContext(
    Effect.map(
      make(profile, options),
      ({ kernel, simulation }) => Context.make(Kernel, kernel).pipe(Context.add(KernelSimulated.Simulation, simulation))
    )
  )
