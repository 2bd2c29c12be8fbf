/**
 * Kernels, as objects are loaded into them.
 */
import type { SimulatedOptions } from "../services/Kernel/simulated/Options.ts"
import type { ProgramCoverage, SimulatedRedirect } from "../services/Kernel/simulated/Simulation.ts"
import type { LiveOptions } from "../services/Kernel/KernelLive.ts"
import type { RequestOptions, Resource } from "./Resource.ts"

export type { ProgramCoverage, SimulatedRedirect } from "../services/Kernel/simulated/Simulation.ts"

/**
 * A kernel that objects are loaded into. What it has learned of types and features serves all of them; closing it closes them.
 */
export interface Kernel extends Resource {
  /** `live` or `simulated`. */
  readonly name: string
}

/** How the kernel of this machine is used. */
export interface LiveKernelOptions extends LiveOptions, RequestOptions {}

/** A simulated kernel, and what can be seen of it. */
export interface SimulatedKernel extends Kernel {
  /** The lines that programs have printed since the last look (`bpf_printk`), the newest 10,000. */
  readonly printk: (options?: RequestOptions) => Promise<ReadonlyArray<string>>
  /** Where programs redirected packets since the last look; nothing was sent. */
  readonly redirects: (options?: RequestOptions) => Promise<ReadonlyArray<SimulatedRedirect>>
  /** What ran of each program that was loaded, in order; `undefined` where the option `coverage` is not set. */
  readonly coverage: (options?: RequestOptions) => Promise<ReadonlyArray<ProgramCoverage> | undefined>
}

/** What stands in for a helper or a kernel function: gets five arguments as they are in registers, answers what it returns. */
export type StandIn = (args: ReadonlyArray<bigint>) => bigint | number

/** What a simulated kernel is like. */
export interface SimulatedKernelOptions extends Omit<SimulatedOptions, "helpers" | "kfuncs">, RequestOptions {
  /** Replaces helpers by name (`bpf_ktime_get_ns`), or supplies those that are not simulated. */
  readonly helpers?: Readonly<Record<string, StandIn>>
  /** Supplies kernel functions by name. */
  readonly kfuncs?: Readonly<Record<string, StandIn>>
}
