/**
 * What of effect-bpf needs Node: the kernel that this machine runs.
 */

/** The running kernel through bpf(2), as a layer of the Kernel service; and whether this process may use it. */
export * as KernelLive from "./services/Kernel/KernelLive.ts"
