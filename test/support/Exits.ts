/** Ends of processes that wait, or have waited: run as a program, this module is such a process. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { mapCreate } from "./LiveKernel.ts"

/** What the process does. */
export type Way =
  /** Waits for 300 ms, and nothing else keeps it alive. */
  | "waits"
  /** Never closes the session in which it has waited. */
  | "leaves"
  /** Calls `process.exit` while it waits. */
  | "exits"

/** Starts such a process; answers its exit status and what it printed. It has 20 seconds. */
export const exitOf = (way: Way): Promise<string> =>
  new Promise((resolve) => {
    execFile(process.execPath, [fileURLToPath(import.meta.url), way], { timeout: 20_000 }, (error, stdout) => {
      resolve(`${error === null ? 0 : error.code ?? error.signal ?? "?"} ${stdout.trim()}`)
    })
  })

const run = (way: Way) =>
  Effect.gen(function*() {
    const kernel = yield* Kernel
    const scope = yield* Scope.make()
    const session = yield* Scope.provide(kernel.session(), scope)
    yield* session.call(
      mapCreate(0, { type: MapType.BPF_MAP_TYPE_RINGBUF, keySize: 0, valueSize: 0, maxEntries: 4096 })
    )
    const wait = (timeout: number) => session.call({ _tag: "Wait", refs: [Ref.map(0)], for: "Read", timeout })
    if (way === "exits") {
      setTimeout(() => {
        console.log("exiting")
        process.exit(3)
      }, 200)
    }
    yield* wait(way === "exits" ? 60_000 : 300)
    console.log(way === "waits" ? "answered" : "left")
    if (way === "waits") yield* Scope.close(scope, yield* Effect.exit(Effect.void))
  }).pipe(Effect.provide(KernelLive.layer))

const way = process.argv[2]
if (process.argv[1] === fileURLToPath(import.meta.url) && way !== undefined) {
  void Effect.runPromise(run(way as Way))
}
