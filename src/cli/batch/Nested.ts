/**
 * The whole command line, for the command that runs others.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Command from "effect/cli/Command"

/** The command line: runs a command with these arguments. */
export type CommandLine = (args: ReadonlyArray<string>) => Effect.Effect<void, object, Command.Environment>

/** Runs a command with these arguments; `undefined` where it is run within another one already. */
export const Nested = Context.Reference<CommandLine | undefined>("effect-bpf/cli/Nested", {
  defaultValue: () => undefined
})
