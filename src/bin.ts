/**
 * The command's entry: `effect-bpf`.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import { run } from "./cli/Main.ts"
import { version } from "./cli/Version.ts"

// A reader that leaves early (`effect-bpf … | head`) is no failure: what is written after it is thrown away.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") return
    process.exitCode = 1
    if (stream === process.stdout) process.stderr.write(`error: standard output: ${error.message}\n`)
  })
}

NodeRuntime.runMain(Effect.provide(run(version)(process.argv.slice(2)), NodeServices.layer))
