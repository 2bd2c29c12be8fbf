/**
 * What a long command is doing, on one line of standard error that comes and goes. Only where that is a terminal, and the
 * result goes somewhere else: nothing of it is ever in a file.
 */
import * as Effect from "effect/Effect"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { escape } from "./text/Text.ts"

/** Says what is being done; the next call, or `clear`, takes its place. */
export interface Progress {
  readonly say: (text: string) => Effect.Effect<void>
  readonly clear: Effect.Effect<void>
}

/** To the start of the line, and nothing behind it. */
const ERASE = "\r\u001b[K"

const quiet: Progress = { say: () => Effect.void, clear: Effect.void }

const makeWhere = (beside: boolean): Effect.Effect<Progress, never, Stdio.Stdio> =>
  Effect.gen(function*() {
    const stdio = yield* Stdio.Stdio
    const { canAnimate } = yield* TerminalCapabilities
    if (!canAnimate || !(yield* stdio.stderrIsTerminal) || (!beside && (yield* stdio.stdoutIsTerminal))) return quiet
    // What cannot be said is not missed.
    const write = (text: string): Effect.Effect<void> =>
      Effect.ignore(Stream.run(Stream.make(text), stdio.stderr({ endOnDone: false })))
    return { say: (text) => write(`${ERASE}${escape(text)}…`), clear: write(ERASE) }
  })

/** The progress line of this process; one that says nothing where nobody would read it. */
export const make: Effect.Effect<Progress, never, Stdio.Stdio> = makeWhere(false)

/** The same for a command that prints nothing before all is done: its results may go to the same terminal. */
export const makeBeforeOutput: Effect.Effect<Progress, never, Stdio.Stdio> = makeWhere(true)
