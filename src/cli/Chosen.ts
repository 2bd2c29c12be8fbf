/**
 * Commands that are loaded when they are chosen: of the others their name and what they are in a few words is known, which
 * is all that help needs of them.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"

/** A command that may be chosen. */
export interface Choice<C extends Command.Command.Any> {
  readonly name: string
  /** The command's short description. */
  readonly summary: string
  /** Loads it, for the arguments of the whole command line. */
  readonly load: (args: ReadonlyArray<string>) => Effect.Effect<C>
}

/** The command of a module that is imported now. */
export const from = <M, C extends Command.Command.Any>(load: () => Promise<M>, command: (module: M) => C) => () =>
  Effect.map(Effect.promise(load), command)

const loadedOf = <C extends Command.Command.Any>(
  { load, name, summary }: Choice<C>,
  args: ReadonlyArray<string>,
  all: boolean
) =>
  all || args.includes(name)
    ? load(args)
    : Effect.succeed(Command.make(name).pipe(Command.withShortDescription(summary)))

/** Scripts that complete words know the words of all commands. */
const wantsAll = (args: ReadonlyArray<string>): boolean => args.some((arg) => arg.startsWith("--completions"))

/**
 * The commands for these arguments. One that is chosen is an argument by its name, so those whose names are no arguments
 * stay unloaded; that a name may be an argument for other reasons, too, costs nothing but time.
 */
export const commands = <const Commands extends ReadonlyArray<Command.Command.Any>>(
  choices: { readonly [Index in keyof Commands]: Choice<Commands[Index]> },
  args: ReadonlyArray<string>
) => {
  const all = wantsAll(args)
  const list: ReadonlyArray<Choice<Commands[number]>> = choices
  return Effect.forEach(list, (choice) => loadedOf(choice, args, all))
}
