/**
 * Text that is drawn again and again on one place of a terminal, as `top` does.
 */
import * as Effect from "effect/Effect"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Stdio from "effect/Stdio"
import * as Terminal from "effect/Terminal"
import * as Output from "./Output.ts"
import { type Line, render } from "./text/Text.ts"

/** Where text is drawn. */
export interface Screen {
  /** How many lines there is room for; infinitely many where the output is no terminal. */
  readonly rows: Effect.Effect<number>
  /** Draws these lines in the place of the last ones. They must not be more than there is room for. */
  readonly draw: (lines: ReadonlyArray<Line>) => Effect.Effect<void>
}

/** Up so many lines, and nothing from there on. */
const back = (lines: number): string => `\u001b[${lines}A\u001b[J`

/** The screen of this process; `undefined` where standard output is none. */
export const make = Effect.gen(function*() {
  const stdio = yield* Stdio.Stdio
  const { canAnimate } = yield* TerminalCapabilities
  if (!canAnimate || !(yield* stdio.stdoutIsTerminal)) return undefined
  const terminal = yield* Terminal.Terminal
  const rendering = yield* Output.renderingOfOutput
  let drawn = 0
  const screen: Screen = {
    rows: terminal.rows,
    draw: (lines) =>
      Effect.gen(function*() {
        // What cannot be drawn is not missed.
        if (drawn > 0) yield* Effect.ignore(terminal.display(back(drawn)))
        const text = render(lines, rendering)
        yield* Output.lines([text.trimEnd()])
        drawn = text.trimEnd().split("\n").length
      })
  }
  return screen
})
