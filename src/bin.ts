/**
 * The command's entry: `effect-bpf`.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import { run } from "./cli/Main.ts"
import * as Platform from "./cli/Platform.ts"
import { version } from "./cli/Version.ts"

NodeRuntime.runMain(Effect.provide(run(version)(process.argv.slice(2)), Platform.layer))
