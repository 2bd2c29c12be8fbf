/**
 * What can be seen of a simulated kernel, as a service of its own: asking whether there is one does not load the kernel.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { LineCount } from "../../../vm/Lines.ts"

/** How often the lines of a program ran. */
export interface ProgramCoverage {
  readonly program: string
  /** Every line that has code, in the order of files and lines. Empty where the program came without line records. */
  readonly lines: ReadonlyArray<LineCount>
}

/** What can be seen of a simulated kernel beyond what a kernel says. */
export interface SimulationShape {
  /** The lines that programs have printed since the last look (`bpf_printk`), the newest 10,000. */
  readonly printk: Effect.Effect<ReadonlyArray<string>>
  /** Where programs redirected packets since the last look; nothing was sent. */
  readonly redirects: Effect.Effect<ReadonlyArray<SimulatedRedirect>>
  /** What ran of each program that was loaded, in order; `undefined` where the option `coverage` is not set. */
  readonly coverage: Effect.Effect<ReadonlyArray<ProgramCoverage> | undefined>
}

/** Where a program sent a packet. */
export interface SimulatedRedirect {
  readonly helper: "bpf_redirect" | "bpf_redirect_map" | "bpf_clone_redirect"
  /** The interface, or the key of the map. */
  readonly target: number
  readonly flags: bigint
  /** The name of the map that the target is a key of. */
  readonly map: string | undefined
  /** The packet as it was cloned. */
  readonly packet: Uint8Array | undefined
}

/** A service beside `Kernel`, where that is a simulated one. */
export class Simulation extends Context.Service<Simulation, SimulationShape>()("effect-bpf/Simulation") {}
