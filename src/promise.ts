/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The library for those who write promises: objects are opened, loaded and attached, their maps, variables and events read and
 * written, all by the same programs as in the rest of the library. What is acquired is released by `close()`, or by
 * `await using`; every request takes an `AbortSignal`; what comes one after another is an `AsyncIterable`; errors are
 * the library's own classes.
 *
 * ```ts
 * await using firewall = await Bpf.load("xdp_firewall.bpf.o", { globals: { blocked_ports: [23] } })
 * await firewall.program("xdp_firewall").attach({ kind: "xdp", device: "eth0" })
 * for await (const event of firewall.events("events")) console.log(event)
 * ```
 */

/** Opens and loads objects, and opens kernels. */
export * as Bpf from "./promise/Bpf.ts"
export * from "./promise/Errors.ts"
export type * from "./promise/Events.ts"
export type * from "./promise/Kernel.ts"
export type * from "./promise/Links.ts"
export type * from "./promise/Loaded.ts"
export type * from "./promise/Maps.ts"
export type * from "./promise/Opened.ts"
export type * from "./promise/Resource.ts"
