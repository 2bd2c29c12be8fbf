// Runs an application on the kernel of this machine until it ends or is interrupted (Ctrl-C): what it has loaded and attached
// is released before the process ends.
//
// In a project of your own, import from "effect-bpf" and "effect-bpf/node".
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { Kernel } from "../src/index.ts"
import { KernelLive } from "../src/node.ts"

/**
 * An array of `char` for people. What is no text is bytes in it: a name that somebody else has chosen may have any, and what
 * would move the cursor of a terminal is not printed as it is.
 */
export const printable = (text: string | Uint8Array): string => {
  if (typeof text === "string") return text
  const end = text.indexOf(0)
  return new TextDecoder().decode(end < 0 ? text : text.subarray(0, end)).replaceAll(/[\p{Cc}\p{Cf}]/gu, "?")
}

/** Runs an application; exits 1 where it fails, and 0 where it ends or is interrupted. */
export const run = async <E>(application: Effect.Effect<void, E, Kernel.Kernel | Scope.Scope>): Promise<void> => {
  const stop = new AbortController()
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort())
  // A reader of our lines that leaves (`| head`) ends us, too.
  process.stdout.once("error", () => stop.abort())
  // Node ends a process in which nothing is under way; an application may wait for nothing but its end.
  const alive = setInterval(() => {}, 2 ** 30)
  const exit = await Effect.runPromiseExit(
    application.pipe(Effect.scoped, Effect.provide(KernelLive.layer)),
    { signal: stop.signal }
  )
  clearInterval(alive)
  if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return
  const error = Cause.squash(exit.cause)
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
