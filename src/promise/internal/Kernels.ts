/**
 * Kernels as promises give them: layers of the Kernel service, built and held.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as KernelLive from "../../services/Kernel/KernelLive.ts"
import * as KernelSimulated from "../../services/Kernel/KernelSimulated.ts"
import type { Kernel, LiveKernelOptions, SimulatedKernel, SimulatedKernelOptions } from "../Kernel.ts"
import type { RequestOptions } from "../Resource.ts"
import { extend, type Lifetime, resource, root } from "./Lifetime.ts"

/** The lifetimes of kernels: an object that is given a kernel lives in the lifetime of it. */
const lifetimes = new WeakMap<Kernel, Lifetime>()

/** The lifetime of a kernel of ours; `undefined` for what is none. */
export const lifetimeOf = (kernel: Kernel): Lifetime | undefined => lifetimes.get(kernel)

const handle = <M extends object>(name: string, lifetime: Lifetime, more: M): Kernel & M => {
  const kernel = extend(resource(lifetime), { name, ...more })
  lifetimes.set(kernel, lifetime)
  return kernel
}

/** The kernel of this machine. */
export const live = async ({ signal, ...options }: LiveKernelOptions = {}): Promise<Kernel> =>
  handle("live", await root("the live kernel", KernelLive.layerWith(options), signal), {})

/** A kernel in this process. */
export const simulated = async ({ signal, ...options }: SimulatedKernelOptions = {}): Promise<SimulatedKernel> => {
  const lifetime = await root("the simulated kernel", KernelSimulated.layer(options), signal)
  const simulation = Context.get(lifetime.context, KernelSimulated.Simulation)
  const asking = <A>(effect: Effect.Effect<A>) => ({ signal }: RequestOptions = {}) => lifetime.run(effect, signal)
  const seen = {
    printk: asking(simulation.printk),
    redirects: asking(simulation.redirects),
    coverage: asking(simulation.coverage)
  }
  return handle("simulated", lifetime, seen)
}
