/**
 * What a command prints on standard output, kept instead of printed.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"

const isConsole = (value: unknown): value is Console.Console =>
  typeof value === "object" && value !== null && "log" in value

/** The text that an effect prints, and what it answers. */
export const captured = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const stdio = yield* Stdio.Stdio
    const console = yield* Console.Console
    const decoder = new TextDecoder()
    const parts: Array<string> = []
    const log = (...values: ReadonlyArray<unknown>): void => void parts.push(`${values.map(String).join(" ")}\n`)
    const keeping: unknown = Object.create(console, { log: { value: log } })
    if (!isConsole(keeping)) return yield* Effect.die(new Error("a console has lost its methods"))
    const answer = yield* Effect.provideService(
      Effect.provideService(effect, Console.Console, keeping),
      Stdio.Stdio,
      Stdio.make({
        ...stdio,
        stdoutIsTerminal: Effect.succeed(false),
        stdout: () =>
          Sink.forEach((part: string | Uint8Array) =>
            Effect.sync(() => void parts.push(typeof part === "string" ? part : decoder.decode(part, { stream: true })))
          )
      })
    )
    return { answer, text: parts.join("") }
  })
