/** The command line, run in this process: its exit status, and what it prints. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as TestConsole from "effect/testing/TestConsole"
import { Failed } from "../../src/cli/Failed.ts"
import { run } from "../../src/cli/Main.ts"
import { check } from "./Documents.ts"

/** What a command left behind. */
export interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs the command with these arguments, as for no terminal. What is no failure of the command's own is a defect, and so is a
 * document of `--json` that is not as the command's schema says.
 */
export const command = (...args: ReadonlyArray<string>): Effect.Effect<Ended> =>
  Effect.gen(function*() {
    const exit = yield* Effect.exit(run("1.2.3")(args))
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
    if (error !== undefined && !(error instanceof Failed)) return yield* Effect.die(error)
    return check(args, {
      status: error === undefined ? 0 : error.status,
      stdout: (yield* TestConsole.logLines).join("\n"),
      stderr: (yield* TestConsole.errorLines).join("\n")
    })
  }).pipe(
    Effect.provideService(TerminalCapabilities, { canColor: false, canAnimate: false, canPrompt: false }),
    Effect.provide([NodeServices.layer, TestConsole.layer])
  )
