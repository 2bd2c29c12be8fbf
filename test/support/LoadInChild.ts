/**
 * Loads objects in a process of their own, each within a time limit.
 */
import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import type { LoadOptions, OurLoad } from "./LoadOurs.ts"

/** What became of a load: its outcome, or the end of the process that tried. */
export type ChildLoad =
  | { readonly _tag: "Load"; readonly load: OurLoad; readonly leaked: number }
  /** `exit 1`, `SIGSEGV`, `more than 60000 ms` */
  | { readonly _tag: "Ended"; readonly how: string }

/** A process that loads objects, one after another. It is started anew after a crash or a timeout. */
export interface Loader {
  readonly load: (options: LoadOptions) => Promise<ChildLoad>
  readonly close: () => void
}

/** Starts a loader; a load that takes longer than the limit is ended with its process. */
export const make = (limitMilliseconds: number): Loader => {
  let child: ChildProcess.ChildProcess | undefined
  const start = (): ChildProcess.ChildProcess => {
    const started = ChildProcess.fork(Path.join(import.meta.dirname, "loadChild.ts"), [], {
      // Not those of the test runner.
      execArgv: [],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      serialization: "advanced"
    })
    started.once("exit", () => {
      if (child === started) child = undefined
    })
    return started
  }
  return {
    load: (options) =>
      new Promise((resolve) => {
        const own = child ??= start()
        const done = (outcome: ChildLoad): void => {
          clearTimeout(timer)
          own.removeAllListeners("message")
          own.removeListener("exit", ended)
          resolve(outcome)
        }
        const ended = (code: number | null, signal: string | null): void =>
          done({ _tag: "Ended", how: signal ?? `exit ${code}` })
        const timer = setTimeout(() => {
          child = undefined
          done({ _tag: "Ended", how: `more than ${limitMilliseconds} ms` })
          own.kill("SIGKILL")
        }, limitMilliseconds)
        own.on("message", (answer: { readonly load: OurLoad; readonly leaked: number }) =>
          done({ _tag: "Load", ...answer }))
        own.once("exit", ended)
        own.send(options)
      }),
    close: () => {
      child?.kill()
      child = undefined
    }
  }
}
