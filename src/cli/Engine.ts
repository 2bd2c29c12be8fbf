/**
 * How the engine compiles while a command does one thing, for a fraction of a second, to a kernel's worth of types.
 *
 * By itself V8 spends more time on optimizing such work than the work takes, on other threads, where it costs nothing
 * until the machine has other things to do: of a dump of vmlinux in C it is the half. Its fastest optimizing compiler
 * alone, without inlining, gives nearly the same code at once.
 */
import * as Effect from "effect/Effect"

/** Flags for work that is short, and what they are set back to. Both only choose between compilers. */
const flags: ReadonlyArray<readonly [short: string, usual: string]> = [
  ["--no-turbofan", "--turbofan"],
  ["--no-maglev-inlining", "--maglev-inlining"]
]

/**
 * The version of V8 that this was measured on, Node 24's. Older ones come without the fast compiler switched on; of newer
 * ones nobody knows, so they are left as they are.
 */
const known = /^13\.6\./

const setAll = (which: 0 | 1) =>
  Effect.map(Effect.promise(() => import("node:v8")), (v8) => {
    for (const flag of flags) v8.setFlagsFromString(flag[which])
  })

/**
 * Runs short work. The flags are set back when it ends: the compile cache is written under those that are set at the
 * process's end, and is read under the usual ones.
 */
export const short = <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  known.test(process.versions.v8) ? Effect.acquireUseRelease(setAll(0), () => work, () => setAll(1)) : work
