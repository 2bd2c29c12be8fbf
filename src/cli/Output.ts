/**
 * Where the command writes: results to standard output, as text or as one JSON document; messages to standard error.
 */
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Option from "effect/Option"
import type { PlatformError } from "effect/PlatformError"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import { type Json, jsonText } from "./json/Json.ts"
import { escape, type Line, partsWithoutCommands, render, type Rendering, withoutCommands } from "./text/Text.ts"

/** `--json`: results, and failures, as one JSON document on standard output. */
export const JsonFlag = GlobalFlag.Setting("json")({
  flag: Flag.Boolean("json").pipe(
    Flag.withAlias("j"),
    Flag.withDescription("Print the result as one JSON document"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
})

/** `--pretty`: JSON with line breaks. */
export const PrettyFlag = GlobalFlag.Setting("pretty")({
  flag: Flag.Boolean("pretty").pipe(
    Flag.withAlias("p"),
    Flag.withDescription("Print JSON with line breaks; includes --json"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
})

/** `--sarif`: what was found as a log for tools. */
export const SarifFlag = GlobalFlag.Setting("sarif")({
  flag: Flag.String("sarif").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "Also write what is wrong as a SARIF 2.1.0 log, for tools that show it beside the source; - prints it in place of the " +
        "result"
    ),
    Flag.optional
  )
})

/** `--github`: what was found as annotations. */
export const GithubFlag = GlobalFlag.Setting("github")({
  flag: Flag.Boolean("github").pipe(
    Flag.withDescription("Also print what is wrong as annotations of GitHub, on standard error"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
})

/** Whether results are JSON, and how it is laid out. */
export const jsonMode = Effect.gen(function*() {
  const pretty = yield* PrettyFlag
  return pretty ? "pretty" : (yield* JsonFlag) ? "compact" : "text"
})

/** Removes the newline that the console adds again. */
const body = (text: string): string => text.endsWith("\n") ? text.slice(0, -1) : text

/** How text for standard output is rendered. */
export const renderingOfOutput = Effect.gen(function*() {
  const { canColor } = yield* TerminalCapabilities
  const stdio = yield* Stdio.Stdio
  const columns = (yield* stdio.stdoutIsTerminal) ? yield* (yield* Terminal.Terminal).columns : 0
  return { colors: canColor, ...(columns > 0 ? { width: columns } : {}) } satisfies Rendering
})

/** Whether messages go to a terminal of which the width is known: that of standard output. */
const bothAreTerminals = Effect.gen(function*() {
  const stdio = yield* Stdio.Stdio
  return (yield* stdio.stderrIsTerminal) && (yield* stdio.stdoutIsTerminal)
})

/** The columns that there are for messages; `undefined` where they go to no terminal. */
export const columnsOfErrors = Effect.gen(function*() {
  const columns = (yield* bothAreTerminals) ? yield* (yield* Terminal.Terminal).columns : 0
  return columns > 0 ? columns : undefined
})

/** How text for standard error is rendered: colours there do not depend on where standard output leads. */
const renderingOfErrors = Effect.gen(function*() {
  const { canColor } = yield* TerminalCapabilities
  const width = yield* columnsOfErrors
  return {
    colors: canColor && (yield* bothAreTerminals),
    ...(width === undefined ? {} : { width })
  } satisfies Rendering
})

/** Whether GitHub's runner reads what is printed: what runs within another command does not have that one's flags. */
export const ForRunner = Context.Reference<boolean>("effect-bpf/cli/ForRunner", { defaultValue: () => false })

const isForRunner = Effect.gen(function*() {
  // Help and wrong usage come before there are any flags.
  const flag = yield* Effect.serviceOption(GithubFlag)
  return (yield* ForRunner) || (Option.isSome(flag) && flag.value)
})

/** Text that GitHub's runner takes for no command, whatever is in it, where it reads what is printed. */
const guarded = Effect.fnUntraced(function*(text: string) {
  return (yield* isForRunner) ? withoutCommands(text) : text
})

/** Prints text on standard output as it is, with a newline at its end. */
export const verbatim = (text: string): Effect.Effect<void> =>
  Effect.flatMap(guarded(text), (text) => Console.log(text))

/** Prints text on standard output. */
export const print = Effect.fnUntraced(function*(lines: ReadonlyArray<Line>) {
  if (lines.length > 0) yield* Console.log(yield* guarded(body(render(lines, yield* renderingOfOutput))))
})

/** Prints text on standard error. */
export const message = Effect.fnUntraced(function*(lines: ReadonlyArray<Line>) {
  if (lines.length > 0) yield* Console.error(yield* guarded(body(render(lines, yield* renderingOfErrors))))
})

/** Prints commands for GitHub's runner on standard error, a line each, as they are. */
export const commands = (lines: ReadonlyArray<string>): Effect.Effect<void> =>
  lines.length === 0 ? Effect.void : Console.error(lines.join("\n"))

/** Prints a result: its text for people, or its document with `--json`. Only the one that is wanted is made. */
export const result = Effect.fnUntraced(function*(
  document: () => Json,
  text: () => ReadonlyArray<Line>
) {
  const mode = yield* jsonMode
  const sarif = yield* SarifFlag
  if (Option.isSome(sarif) && sarif.value === "-") return
  if (mode === "text") yield* print(text())
  else yield* verbatim(body(jsonText(document(), mode === "pretty")))
})

/** Prints texts on standard output, a line each, as they are. */
export const lines = (texts: ReadonlyArray<string>): Effect.Effect<void> =>
  texts.length === 0 ? Effect.void : verbatim(texts.join("\n"))

/** Whether the reader of standard output has left, as `head` does: no failure, there is just nobody left to write for. */
const isClosedPipe = (error: PlatformError): boolean => {
  const cause: unknown = error.reason.cause
  return typeof cause === "object" && cause !== null && Reflect.get(cause, "code") === "EPIPE"
}

/** Text with everything that a terminal would act upon made visible, but for the ends of lines. */
const forTerminal = (): (bytes: Uint8Array) => string => {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })
  return (bytes) => utf8.decode(bytes, { stream: true }).split("\n").map(escape).join("\n")
}

/**
 * Writes bytes of text to standard output as they are made: the next ones are asked for when the last ones have gone, so
 * that large results take no memory. A pipe gets the bytes as they are. `written` is told after each part how many bytes
 * there were.
 */
export const stream = Effect.fnUntraced(function*(
  parts: Iterable<Uint8Array>,
  written: (bytes: number) => Effect.Effect<void> = () => Effect.void
) {
  const stdio = yield* Stdio.Stdio
  let total = 0
  const given = (yield* isForRunner) ? partsWithoutCommands(parts) : parts
  const bytes = Stream.fromIterable(given, { chunkSize: 1 }).pipe(
    Stream.tap((part) => {
      total += part.length
      return written(total)
    })
  )
  const shown = (yield* stdio.stdoutIsTerminal) ? Stream.map(bytes, forTerminal()) : bytes
  yield* Effect.catchIf(Stream.run(shown, stdio.stdout()), isClosedPipe, () => Effect.void)
})
