/**
 * BPF objects by promises: opened, changed, loaded, attached; their maps, variables and events.
 */
import * as Kernels from "./internal/Kernels.ts"
import * as Opening from "./internal/Opening.ts"
import type { Kernel, LiveKernelOptions, SimulatedKernel, SimulatedKernelOptions } from "./Kernel.ts"
import type { Loaded } from "./Loaded.ts"
import type { LoadOptions, Opened, OpenOptions, Source } from "./Opened.ts"

/** Opens an object file: what is in it. Nothing is loaded, and no kernel is asked. */
export const open = (source: Source, options?: OpenOptions): Promise<Opened> => Opening.open(source, options)

/** Opens and loads an object file. */
export const load = async (source: Source, options: LoadOptions & OpenOptions = {}): Promise<Loaded> =>
  (await Opening.open(source, options)).load(options)

/** The kernel of this machine. Nothing is asked of it before something is loaded into it. */
export const live = (options?: LiveKernelOptions): Promise<Kernel> => Kernels.live(options)

/** A kernel in this process, where objects are loaded and run without root and without Linux. */
export const simulated = (options?: SimulatedKernelOptions): Promise<SimulatedKernel> => Kernels.simulated(options)
